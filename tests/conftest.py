"""Fixtures for the whole project: one database server for all tests, a fresh database for each worker.

The server is an embedded one in a temporary home, or the one that CRM_SYNC_TEST_DATABASE_URL (or
CRM_SYNC_DATABASE_URL) points at. The developer's own CRM_SYNC_* variables are taken out of the environment, so
that no test, and no process that a test starts, can reach a real database or account through them.
"""

import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

from crm_sync.hub import embedded

# The contract suite's asserts explain themselves like those of test modules, whoever imports it first.
pytest.register_assert_rewrite(
    "tests.contract.account", "tests.contract.kit", "tests.contract.reading", "tests.contract.writing"
)

# The same examples every time, and no verdict from a clock: the machine may be busy with something else.
hypothesis.settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")

_SERVER = "CRM_SYNC_TEST_DATABASE_URL"  # a server of the developer's, on which we may create databases
_HOME = "CRM_SYNC_TEST_HOME"  # ours, shared with the workers of pytest-xdist through the environment


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    server = os.environ.get(_SERVER) or os.environ.get("CRM_SYNC_DATABASE_URL")
    for name in [name for name in os.environ if name.startswith("CRM_SYNC_")]:
        del os.environ[name]
    if server:
        os.environ[_SERVER] = server
    home = Path(tempfile.mkdtemp(prefix="crm_sync-test-"))
    home.chmod(0o711)  # as root, the server's own account has to pass through
    os.environ[_HOME] = str(home)
    signal.signal(signal.SIGTERM, _leave)  # so that a cancelled build stops the server as well
    # A shell starts background jobs with SIGINT ignored, which every process below would inherit, and Dagster
    # makes SIGTERM whatever SIGINT is: nothing could be ended any more, and ending things is tested.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _HOME in os.environ:
        home = Path(os.environ.pop(_HOME))
        embedded.remove(home)
        (home / "postgres.lock").unlink(missing_ok=True)
        home.rmdir()


def _leave(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


@pytest.fixture(scope="session")
def server_url() -> str:
    """A server on which the tests may create databases."""
    own = os.environ.get(_SERVER)
    if own:
        return own
    url = embedded.ensure_running(Path(os.environ[_HOME]))
    with psycopg.connect(url, autocommit=True) as conn:
        # These data are thrown away: a power cut may take them. A killed server still recovers.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            conn.execute(f"ALTER SYSTEM SET {setting} = off")
        conn.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    """The address of an empty database of this worker's own, dropped at the end of the session."""
    yield from _database(server_url)


@pytest.fixture
def fresh_database_url(server_url: str) -> Iterator[str]:
    """The address of an empty database for this test alone (about 30 ms)."""
    yield from _database(server_url)


@pytest.fixture(scope="module")
def module_database_url(server_url: str) -> Iterator[str]:
    """The address of an empty database for the tests of one module: no other module's rows are in it."""
    yield from _database(server_url)


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to the worker's database. What a test does not commit is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


def _database(server_url: str) -> Iterator[str]:
    name = f"crm_sync_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield embedded.with_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
