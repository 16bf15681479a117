"""The embedded server: shared by many processes, found again after every kind of death, closed to everybody else.

Most tests share one server; each begins with `ensure_running`, because the one before may have killed it.
"""

import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy

from crm_sync.hub import embedded, pg_install
from crm_sync.hub.cluster import Cluster
from crm_sync.hub.pg_install import Account, EmbeddedError, Install
from crm_sync.hub.processes import look_up
from crm_sync.settings import Settings

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root hands the server to another account")


def new_home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="crm_sync-t-"))
    folder.chmod(0o711)
    yield folder
    embedded.remove(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    yield from new_home()


@pytest.fixture
def own_home() -> Iterator[Path]:
    yield from new_home()


def postmaster(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().split("\n", 1)[0])


def kill_hard(home: Path) -> int:
    pid = postmaster(home)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: look_up(pid) is None)
    return pid


def wait_until(happened, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def scalar(url: str, query: str):
    with psycopg.connect(url) as conn:
        return conn.execute(query).fetchone()[0]


def python(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


START = """
    import sys; from pathlib import Path; from crm_sync.hub.embedded import ensure_running
    print(ensure_running(Path(sys.argv[1])))
"""


# ------------------------------------------------------------------------------------------- many processes


def test_processes_that_start_at_once_share_one_server(own_home: Path) -> None:
    starters = [python(START, own_home) for _ in range(6)]
    urls = {starter.communicate(timeout=60)[0].strip() for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 6
    assert len(urls) == 1
    assert scalar(urls.pop(), "SELECT 1") == 1


def test_the_server_outlives_whoever_started_it_and_is_found_again(home: Path) -> None:
    url = embedded.ensure_running(home)
    pid = postmaster(home)
    assert os.getsid(pid) != os.getsid(0), "Ctrl-C in our terminal must not reach it"
    begun = time.monotonic()
    assert embedded.ensure_running(home) == url
    assert time.monotonic() - begun < 1
    assert postmaster(home) == pid


# ---------------------------------------------------------------------------------------------------- death


def test_nothing_committed_is_lost_when_the_server_is_killed(home: Path) -> None:
    with psycopg.connect(embedded.ensure_running(home), autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS kept")
        conn.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    old = kill_hard(home)
    url = embedded.ensure_running(home)
    assert scalar(url, "SELECT count(*) FROM kept") == 1000
    assert postmaster(home) != old


def test_a_zombie_is_not_taken_for_the_server(home: Path) -> None:
    embedded.ensure_running(home)
    kill_hard(home)
    zombie = subprocess.Popen(["true"])  # it ends, and stays unreaped until we ask for its status
    try:
        wait_until(lambda: look_up(zombie.pid) is None)
        os.kill(zombie.pid, 0)  # the system still knows it: this is what fools PostgreSQL
        believe_in(home, zombie.pid)
        assert scalar(embedded.ensure_running(home), "SELECT 1") == 1
    finally:
        zombie.wait()


def test_a_process_id_that_now_belongs_to_somebody_else_is_neither_believed_nor_stopped(home: Path) -> None:
    embedded.ensure_running(home)
    kill_hard(home)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        believe_in(home, stranger.pid)
        assert embedded.stop(home) is False
        assert scalar(embedded.ensure_running(home), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_started_at_another_time_is_not_the_server(home: Path) -> None:
    embedded.ensure_running(home)
    cluster = Cluster(home.resolve() / "postgres", pg_install.server_account(home / "postgres"))
    assert cluster.alive()
    note = home / "postgres/postmaster.started"
    kept = note.read_text()
    note.write_text(f"{postmaster(home)} another-boot:1")
    assert not cluster.alive()
    note.write_text(kept)
    assert cluster.alive()


def test_no_second_server_while_a_process_of_an_older_one_lives(home: Path) -> None:
    """As after a kill that left a busy backend, or with a server in another container on the same volume."""
    embedded.ensure_running(home)
    embedded.stop(home)
    now = iter(range(0, 10_000, 10))
    cluster = Cluster(
        home.resolve() / "postgres",
        pg_install.server_account(home / "postgres"),
        clock=lambda: float(next(now)),
        sleep=lambda _: None,
    )
    with (home / "postgres/running").open("a") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedError, match="Another server still works on"):
            cluster.start(pg_install.find_install(cluster.major))


def believe_in(home: Path, pid: int) -> None:
    """Leave the files of a dead server behind, naming this process."""
    left = home / "postgres/data/postmaster.pid"
    lines = left.read_text().split("\n")
    left.write_text("\n".join([str(pid), *lines[1:]]))
    (home / "postgres/socket/.s.PGSQL.5432.lock").write_text("\n".join([str(pid), *lines[1:]]))


def test_an_interrupted_first_start_is_begun_again(own_home: Path) -> None:
    embedded.ensure_running(own_home)
    embedded.stop(own_home)
    (own_home / "postgres/data").rename(own_home / "postgres/data.new")
    (own_home / "postgres/data.new/PG_VERSION").unlink()
    assert scalar(embedded.ensure_running(own_home), "SELECT 1") == 1


def test_stopping_twice_or_nothing_is_no_error(home: Path, tmp_path: Path) -> None:
    embedded.ensure_running(home)
    assert embedded.stop(home) is True
    assert embedded.stop(home) is False
    assert embedded.stop(tmp_path / "never") is False


# -------------------------------------------------------------------------------------------------- session


def test_a_session_stops_the_server_that_it_started_and_no_other(home: Path) -> None:
    embedded.stop(home)
    with embedded.session(home) as outer:
        with embedded.session(home) as inner:
            assert inner == outer
        assert scalar(outer, "SELECT 1") == 1
    assert not (home / "postgres/data/postmaster.pid").exists()


def test_a_session_ended_by_sigterm_leaves_no_server(home: Path) -> None:
    embedded.stop(home)
    script = """
        import sys, time; from pathlib import Path; from crm_sync.hub.embedded import session
        with session(Path(sys.argv[1])):
            print("up", flush=True)
            time.sleep(60)
    """
    with python(script, home) as child:
        assert child.stdout.readline() == "up\n"
        pid = postmaster(home)
        child.terminate()
        assert child.wait(timeout=30) == 128 + signal.SIGTERM
    assert look_up(pid) is None


# --------------------------------------------------------------------------------------------- closed doors


def test_only_the_password_opens_it_and_only_by_the_private_socket(home: Path) -> None:
    url = embedded.ensure_running(home)
    place = home / "postgres"
    for folder in (place, place / "data", place / "socket"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert stat.S_IMODE((place / "password").stat().st_mode) == 0o600
    assert scalar(url, "SHOW listen_addresses") == ""
    rules = (place / "data/pg_hba.conf").read_text().split("\n")
    assert {rule.split()[-1] for rule in rules if rule and not rule.startswith("#")} == {"scram-sha-256"}
    password = (place / "password").read_text()
    for wrong in (url.replace(f":{password}", ""), url.replace(password, "guess")):
        with pytest.raises(
            psycopg.OperationalError, match=r"no password supplied|password authentication failed"
        ):
            psycopg.connect(wrong)


@as_root
def test_another_account_cannot_reach_the_socket(home: Path) -> None:
    url = embedded.ensure_running(home)
    script = """
        import os, psycopg, sys
        try: psycopg.connect("host=/nowhere")
        except psycopg.OperationalError: pass
        os.setgroups([]); os.setgid(2); os.setuid(2)
        try: psycopg.connect(sys.argv[1])
        except psycopg.OperationalError as refused: print(refused)
    """
    assert "Permission denied" in python(script, url).communicate(timeout=30)[0]


def test_a_path_too_long_for_a_socket_gets_a_private_one_elsewhere(own_home: Path) -> None:
    deep = own_home / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    for folder in (deep.parent, deep):
        folder.chmod(0o711)
    try:
        url = embedded.ensure_running(deep)
        socket_dir = Path((deep / "postgres/socket_dir").read_text())
        assert socket_dir.parent == Path("/tmp")
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
        assert scalar(url, "SELECT 1") == 1
        embedded.stop(deep)
        socket_dir.rmdir()  # as cleaners of /tmp do
        assert scalar(embedded.ensure_running(deep), "SELECT 1") == 1
        socket_dir = Path((deep / "postgres/socket_dir").read_text())
    finally:
        embedded.remove(deep)
    assert not socket_dir.exists()


def test_values_of_rows_stay_out_of_the_log(home: Path) -> None:
    url = embedded.ensure_running(home)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TEMPORARY TABLE person (email text PRIMARY KEY)")
        conn.execute("INSERT INTO person VALUES ('ada@example.com')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("INSERT INTO person VALUES ('ada@example.com')")

    def logged() -> str:
        return "".join(file.read_text() for file in (home / "postgres/data/log").iterdir())

    wait_until(lambda: "duplicate key" in logged())  # a process of its own writes it
    log = logged()
    assert "ada@" not in log
    assert (home / "postgres/password").read_text() not in log


# ------------------------------------------------------------------------------------------ accounts, places


def modes(path: Path) -> list[int]:
    return [parent.stat().st_mode for parent in path.parents]


@as_root
def test_root_hands_the_data_to_an_account_that_exists(home: Path) -> None:
    accounts = pwd.getpwall()
    embedded.ensure_running(home)
    owner = (home / "postgres/data").stat().st_uid
    assert owner != 0
    assert (home.stat().st_uid, pwd.getpwall()) == (0, accounts)


@as_root
def test_where_the_account_cannot_go_the_data_are_kept_elsewhere_and_no_door_is_opened(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    tmp_path.chmod(0o700)
    before = modes(home)
    try:
        url = embedded.ensure_running(home)
        assert scalar(url, "SELECT 1") == 1
        assert embedded.ensure_running(home) == url
        place = Path((home / "postgres.location").read_text())
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert modes(home) == before
        embedded.stop(home)
        moved = place.rename(place.with_name(place.name + "-moved"))
        try:
            with pytest.raises(EmbeddedError, match="which is gone"):
                embedded.ensure_running(home)
        finally:
            moved.rename(place)
    finally:
        embedded.remove(home)
    assert not place.exists()


@as_root
def test_binaries_that_the_account_cannot_reach_are_copied_to_where_it_can(
    own_home: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    source = pg_install.find_install()
    package = source.bin_dir.parent.parent
    shutil.copytree(source.bin_dir.parent, tmp_path / package.name / source.bin_dir.parent.name)
    if (libraries := package.with_name(package.name + ".libs")).exists():
        shutil.copytree(libraries, tmp_path / libraries.name)
    hidden = Install(tmp_path / package.name / source.bin_dir.parent.name / "bin", source.version)
    place = own_home / "postgres"
    account = pg_install.server_account(place)
    place.mkdir(mode=0o700)
    os.chown(place, account.uid, account.gid)
    install = pg_install.within_reach(hidden, account, place)
    assert install.bin_dir.is_relative_to(place)
    cluster = Cluster(place.resolve(), account)
    cluster.initialise(install)
    cluster.start(install)
    assert cluster.answers()
    assert pg_install.within_reach(hidden, account, place) == install


@as_root
def test_an_ordinary_user_runs_the_server_itself(tmp_path: Path) -> None:
    person = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="crm_sync-t-"))
    os.chown(home, person.pw_uid, person.pw_gid)
    script = """
        import os, sys; from pathlib import Path; import psycopg; from crm_sync.hub import embedded
        try: psycopg.connect("host=/nowhere")  # loads what this account may not be allowed to read
        except psycopg.OperationalError: pass
        os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2])); os.chdir("/")
        with embedded.session(Path(sys.argv[1])) as url, psycopg.connect(url) as conn:
            print(conn.execute("SELECT current_user").fetchone()[0])
        embedded.remove(Path(sys.argv[1]))
    """
    child = python(script, home, person.pw_uid)
    out = child.communicate(timeout=60)[0]
    shutil.rmtree(home)
    assert (child.returncode, out) == (0, "crm_sync\n")


def test_a_home_of_somebody_else_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match=r"CRM_SYNC_HOME .* cannot be created"):
        embedded.ensure_running(tmp_path / "file" / "home")


def test_a_path_that_a_shell_would_misread_is_refused(own_home: Path) -> None:
    odd = own_home / "$(touch x)"
    with pytest.raises(EmbeddedError, match="Set CRM_SYNC_HOME to another folder"):
        embedded.ensure_running(odd)


def test_blanks_and_letters_of_any_alphabet_in_the_path(own_home: Path) -> None:
    odd = own_home / "Größe, наша 我们"
    try:
        url = embedded.ensure_running(odd)
        assert scalar(url, "SELECT 1") == 1
        assert embedded.ensure_running(odd) == url
        assert scalar_by_sqlalchemy(embedded.dagster_env(url)["CRM_SYNC_DAGSTER_URL"]) == "dagster"
    finally:
        embedded.remove(odd)


# ------------------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    "install", {i.major: i for i in reversed(list(pg_install._installs()))}.values(), ids=str
)
def test_every_postgresql_of_this_machine_serves(own_home: Path, install: Install) -> None:
    place = own_home / "postgres"
    account = pg_install.server_account(place)
    place.mkdir(mode=0o700)
    if ROOT:
        os.chown(place, account.uid, account.gid)
    cluster = Cluster(place.resolve(), account)
    usable = pg_install.within_reach(install, account, place)
    cluster.initialise(usable)
    cluster.start(usable)
    assert scalar(cluster.url(), "SHOW server_version_num")[:2] == str(install.major)
    assert scalar(cluster.url(), "SELECT lower('ÄÉ') || current_setting('server_encoding')") == "äéUTF8"
    # From here on the data decide which binaries are used, even where newer ones are at hand.
    kill_hard(own_home)
    assert scalar(embedded.ensure_running(own_home), "SHOW server_version_num")[:2] == str(install.major)


def test_data_of_a_version_that_is_not_installed(own_home: Path) -> None:
    embedded.ensure_running(own_home)
    embedded.stop(own_home)
    marker = own_home / "postgres/data/PG_VERSION"
    kept = marker.read_text()
    marker.write_text("12\n")
    with pytest.raises(EmbeddedError, match=r"written by PostgreSQL 12, but only version .* is installed"):
        embedded.ensure_running(own_home)
    marker.write_text(kept)


def test_accounts_do_not_reach_through_closed_folders(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert not pg_install.reachable(tmp_path / "x", Account(12345, 12345))
    assert pg_install.reachable(tmp_path / "x", Account(os.geteuid(), os.getegid()))


# ------------------------------------------------------------------------------------------------ addresses


def scalar_by_sqlalchemy(address: str) -> str:
    engine = sqlalchemy.create_engine(address)
    with engine.connect() as conn:
        found = conn.execute(sqlalchemy.text("SHOW search_path")).scalar_one()
    engine.dispose()
    return found


def test_the_users_own_database_comes_first() -> None:
    url = "postgresql://app@db.example/crm"
    assert embedded.database_url(Settings.from_env({"CRM_SYNC_DATABASE_URL": url})) == url


def test_dagsters_address_reaches_the_same_database_in_dagsters_schema(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(embedded.prepare_dagster_schema, [database_url] * 8))
    assert scalar_by_sqlalchemy(embedded.dagster_env(database_url)["CRM_SYNC_DAGSTER_URL"]) == "dagster"


def test_dagsters_address_keeps_what_the_users_address_says() -> None:
    url = "postgresql://u%40x:p%2Fw%25@db.example:6432/crm?sslmode=require&options=-cstatement_timeout%3D5"
    made = sqlalchemy.make_url(embedded.dagster_env(url)["CRM_SYNC_DAGSTER_URL"])
    assert (made.drivername, made.username, made.password, made.database) == (
        "postgresql+psycopg2",
        "u@x",
        "p/w%",
        "crm",
    )
    assert dict(made.query) == {
        "host": "db.example",
        "port": "6432",
        "sslmode": "require",
        "options": "-cstatement_timeout=5 -csearch_path=dagster",
    }
