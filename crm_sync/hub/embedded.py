"""The database without an installed server: one PostgreSQL per home directory, started when first needed.

Many processes share the server (Dagster alone is five), so none of them owns it: any may start it, it outlives
them all, and whoever finds it dead starts it again. State lives in files and locks, never in a process.

    <home>/postgres.lock        held while somebody looks, starts or stops
    <home>/postgres/            the data, the password, the socket; belongs to the account that runs the server
    <home>/postgres.location    instead of the folder above: where it is when that account cannot reach home

This module says when to do what; `cluster` knows how. Addresses of databases are turned into what Dagster's
storage reads here as well.
"""

import fcntl
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from crm_sync.hub.cluster import Cluster
from crm_sync.hub.pg_install import (
    Account,
    EmbeddedError,
    find_install,
    reachable,
    server_account,
    within_reach,
)
from crm_sync.settings import Settings

DAGSTER_SCHEMA = "dagster"

_log = logging.getLogger(__name__)


def database_url(settings: Settings) -> str:
    """The address of the hub's database: the user's own, else that of the embedded server, started if need be."""
    return settings.database_url or ensure_running(settings.home)


def ensure_running(home: Path) -> str:
    """Make sure that the server of `home` runs, and return its postgresql:// address, password included.

    Safe to call from many processes at once, and cheap (a few milliseconds) when the server is up.
    Raises EmbeddedError with what is in the way.
    """
    return _ensure_running(home)[0]


def stop(home: Path) -> bool:
    """Stop the server of `home` if it runs; whether it did. Open transactions are rolled back."""
    if not home.exists():
        return False
    with _locked(home):
        cluster = _existing_cluster(home)
        if cluster is None or cluster.major is None or not cluster.alive():
            return False
        cluster.stop(within_reach(find_install(cluster.major), cluster.account, cluster.place))
        return True


def remove(home: Path) -> None:
    """Stop the server of `home` and delete its data, wherever they lie. There is no way back."""
    stop(home)
    if not home.exists():
        return
    with _locked(home):
        cluster = _existing_cluster(home)
        if cluster is not None:
            if cluster.socket_dir:
                shutil.rmtree(cluster.socket_dir, ignore_errors=True)
            shutil.rmtree(cluster.place)
        _location(home).unlink(missing_ok=True)


@contextmanager
def session(home: Path) -> Iterator[str]:
    """The address of a running server, stopped at the end if it was this call that started it.

    For tests and one-off commands. A SIGTERM, which would otherwise end Python without any clean-up, becomes an
    ordinary exit for as long as the session lasts (in the main thread, unless the program handles it itself).
    """
    replaced = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        and signal.signal(signal.SIGTERM, _exit_on_signal) is signal.SIG_DFL
    )
    url, started = _ensure_running(home)
    try:
        yield url
    finally:
        if started:
            stop(home)
        if replaced:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def make_home(home: Path) -> Path:
    """Create the home directory if it is missing, and return it resolved.

    Only its owner may list it or write to it. Where the owner is root, others may pass through it to a folder
    that they own themselves, which the server's account has to.
    """
    try:
        home.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(
            f"CRM_SYNC_HOME {home} cannot be created: {error.strerror}. Name a folder that you may write to."
        ) from error
    return home.resolve()


def dagster_env(url: str) -> dict[str, str]:
    """What dagster.yaml reads from the environment to keep Dagster's storage in our database.

    `url` is any address that libpq takes. The driver is named, because a bare postgresql:// means psycopg 3 to
    SQLAlchemy 2.1 but psycopg 2 to dagster-postgres.
    """
    parts = _parts(url)
    parts["options"] = f"{parts.get('options', '')} -csearch_path={DAGSTER_SCHEMA}".strip()
    return {"CRM_SYNC_DAGSTER_URL": _address("postgresql+psycopg2", parts)}


def with_database(url: str, name: str) -> str:
    """The address of another database on the same server."""
    return _address("postgresql", _parts(url) | {"dbname": name})


def prepare_dagster_schema(url: str) -> None:
    """Create the schema of Dagster's own tables. Dagster creates the tables, but expects the schema to exist."""
    with psycopg.connect(url) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('crm_sync dagster schema'))")
        conn.execute(f"CREATE SCHEMA IF NOT EXISTS {DAGSTER_SCHEMA}")


def _parts(url: str) -> dict[str, str]:
    return {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}


def _address(scheme: str, parts: Mapping[str, str]) -> str:
    """A URL of libpq's parameters. Host and port go into the query, where a socket's directory is at home too."""
    rest = dict(parts)
    user, password, dbname = (quote(rest.pop(name, ""), safe="") for name in ("user", "password", "dbname"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    return f"{scheme}://{login}/{dbname or user}?{urlencode(rest, quote_via=quote)}"


def _ensure_running(home: Path) -> tuple[str, bool]:
    """The address, and whether this call started the server."""
    if sys.platform == "win32":
        raise EmbeddedError("The embedded database needs Unix sockets. On Windows set CRM_SYNC_DATABASE_URL.")
    home = make_home(home)
    try:
        with _locked(home):
            cluster = _existing_cluster(home) or _new_cluster(home)
            if cluster.settle():
                return cluster.url(), False
            install = within_reach(find_install(cluster.major), cluster.account, cluster.place)
            if cluster.major is None:
                _log.info("creating an embedded PostgreSQL %s in %s", install.version, cluster.place)
                cluster.initialise(install)
            cluster.start(install)
            _log.info("started the embedded PostgreSQL %s in %s", install.version, cluster.place)
            return cluster.url(), True
    except OSError as error:
        raise EmbeddedError(
            f"The embedded database in {home} cannot be used: {error.strerror} ({error.filename}). Run crm_sync as "
            "the account that created it, name another folder in CRM_SYNC_HOME, or set CRM_SYNC_DATABASE_URL."
        ) from error


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold the home's lock. The operating system releases it with the process, however that ends."""
    with (home / "postgres.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _location(home: Path) -> Path:
    return home / "postgres.location"


def _existing_cluster(home: Path) -> Cluster | None:
    home = home.resolve()
    place = home / "postgres"
    if _location(home).exists():
        place = Path(os.fsdecode(_location(home).read_bytes()))
        if not place.exists():
            raise EmbeddedError(
                f"The embedded database of {home} was kept in {place}, which is gone. Restore that folder, or "
                f"delete {_location(home)} to begin with an empty database."
            )
    return Cluster(place, server_account(place)) if place.exists() else None


def _new_cluster(home: Path) -> Cluster:
    """An empty place for a new cluster: in `home`, or where the server's account can reach it."""
    place = home / "postgres"
    account = server_account(place)
    if reachable(place, account):
        place.mkdir(mode=0o700)
    else:
        place = _place_outside(account)
        _location(home).write_bytes(os.fsencode(place))
        _log.warning(
            "the account that runs PostgreSQL for root cannot enter %s: its data are kept in %s. "
            "Set CRM_SYNC_HOME to a folder that every account may pass through to keep them together.",
            home,
            place,
        )
    if account.uid != os.geteuid():
        os.chown(place, account.uid, account.gid)
    return Cluster(place, account)


def _place_outside(account: Account) -> Path:
    """A new private folder below the system's folder for state, which no cleaner of temporary files visits."""
    for parent in (Path("/var/lib"), Path("/var/tmp"), Path("/tmp")):  # noqa: S108 - mkdtemp makes a private one
        if parent.is_dir() and reachable(parent / "x", account) and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="crm_sync-", dir=parent))
    raise EmbeddedError(
        "No folder found for the embedded database. Set CRM_SYNC_DATABASE_URL to a server instead."
    )


def _exit_on_signal(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)
