"""One embedded PostgreSQL data directory: create it, start a server on it, recognise that server, stop it.

Nothing here decides when: `embedded` calls these functions while it holds the lock of the home directory.

How a server is recognised. A server counts as ours only if it answers on our socket, to our password, for our
data directory. A server that does not answer (yet) counts as alive only if the process named in postmaster.pid
is no zombie, was started with this data directory, and started when we noted it. Whether it is *safe to start*
one is a different question: every server inherits an open, locked file from us, so the lock is held as long as
any of its processes lives, be it an orphan of a killed server or a server in another container that shares
our volume, whose process ids mean nothing here.

Who may connect. The socket lies in a directory of mode 0700 and asks for a password (scram-sha-256); there is
no TCP port. `trust` is never used.
"""

import fcntl
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import make_conninfo

from crm_sync.hub.pg_install import Account, EmbeddedError, Install
from crm_sync.hub.processes import look_up

NAME = "crm_sync"  # of the database and of its owner
_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 103  # of sockaddr_un, without the closing NUL; Linux would take four more than macOS
_PATIENCE = 60.0  # seconds for a server to come up (recovery after a crash included) or to go down
_UNQUOTABLE = re.compile(r"[\"'$`\\\n]")  # pg_ctl pastes the path into a shell command between double quotes

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # A first load writes log by the gigabyte, and after every checkpoint each page is logged whole once more.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",  # pglz: the carrier's build has no lz4
    "random_page_cost": "1.1",  # no turning disk; at 4, a hundred records are found by reading whole tables
    "autovacuum_naptime": "15s",  # the queue is emptied as fast as it is filled
    "jit": "off",  # compiling costs more than our short statements take
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",  # a week of logs, each day overwriting the one of a week ago
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    # Personal data stays out of the log: no statements, no DETAIL lines with the values of a row.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
if sys.platform == "linux":
    # Containers give /dev/shm 64 MB, too little for a parallel hash join; System V memory has no such limit.
    _SETTINGS["dynamic_shared_memory_type"] = "sysv"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory with what is needed to run it. `place` belongs to `account`, mode 0700."""

    place: Path
    account: Account
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def major(self) -> int | None:
        """The PostgreSQL version that wrote the data, None if there are none yet."""
        marker = self.data / "PG_VERSION"
        return int(marker.read_text()) if marker.exists() else None

    @property
    def socket_dir(self) -> Path | None:
        """The directory that holds the socket, None before the first start."""
        note = self.place / "socket_dir"
        return Path(os.fsdecode(note.read_bytes())) if note.exists() else None

    def url(self) -> str:
        """The address of our database on this server, password included."""
        password = quote((self.place / "password").read_text(), safe="")
        return f"postgresql://{NAME}:{password}@/{NAME}?host={quote(str(self.socket_dir))}"

    def initialise(self, install: Install) -> None:
        """Create the data directory. An interrupted attempt leaves nothing that looks finished."""
        if _UNQUOTABLE.search(str(self.place)):
            raise EmbeddedError(
                f"The embedded database cannot live in {self.place}: PostgreSQL cannot be started in a path "
                "with a quote, dollar sign, backslash or line break. Set CRM_SYNC_HOME to another folder."
            )
        fresh = self.place / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        self._write("password", secrets.token_urlsafe(32).encode())
        # One collation everywhere, of PostgreSQL's own where it has one: the same order on every machine.
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        locale = builtin if install.major >= 17 else ("--locale=C.UTF-8",)
        self._run(
            install,
            "initdb",
            *("-D", fresh, "-U", NAME, "--pwfile", self.place / "password", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--data-checksums", *locale),
        )
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude = 'crm_sync.conf'\n")
        fresh.rename(self.data)

    def start(self, install: Install) -> None:
        """Start a server on the data and wait until it answers."""
        held = self._lock_for_server()
        try:
            socket_dir = self._ready_socket_dir()
            self._clear_stale_files(socket_dir)
            settings = _SETTINGS | {"unix_socket_directories": f'"{socket_dir}"'}
            lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
            self._write("data/crm_sync.conf", f"# written by crm_sync at every start\n{lines}".encode())
            where = ("-D", self.data, "-l", self.place / "start.log")
            self._run(install, "pg_ctl", "start", "-w", "-t", str(int(_PATIENCE)), *where, pass_fds=(held,))
        finally:
            os.close(held)  # not unlocked: the server's copy of the descriptor keeps the lock
        pid = self._pid()
        process = look_up(pid) if pid else None
        if process:
            self._write("postmaster.started", f"{pid} {process.started}".encode())
        self._create_database()

    def stop(self, install: Install) -> None:
        """Stop the server, open transactions rolled back, and wait until it has gone."""
        command = ("pg_ctl", "stop", "-w", "-D", self.data)
        try:
            self._run(install, *command, "-t", str(int(_PATIENCE)), "-m", "fast")
        except EmbeddedError:
            if self.alive():  # not merely gone by itself meanwhile
                self._run(install, *command, "-t", "10", "-m", "immediate")

    def answers(self) -> bool:
        """Whether the server at our socket takes our password and serves our data directory."""
        if not self.socket_dir or not (self.socket_dir / _SOCKET).exists():
            return False
        try:
            with psycopg.connect(self.url(), connect_timeout=5) as conn:
                row = conn.execute("SELECT current_setting('data_directory')").fetchone()
        except psycopg.OperationalError:
            return False
        return row is not None and Path(row[0]) == self.data

    def alive(self) -> bool:
        """Whether the process named in postmaster.pid is the server of this data directory."""
        pid = self._pid()
        process = look_up(pid) if pid else None
        if process is None or not process.argv[0].endswith("postgres"):
            return False
        if not " ".join(process.argv).endswith(f" -D {self.data}"):
            return False
        try:
            noted_pid, _, noted_start = (self.place / "postmaster.started").read_text().partition(" ")
        except FileNotFoundError:
            return True  # whoever started it died before it could note the time
        return noted_pid != str(pid) or noted_start == process.started

    def settle(self) -> bool:
        """Wait while a living server does not answer yet; True if it answers, False if there is none.

        Raises EmbeddedError for a server that lives but stays silent.
        """
        deadline = self.clock() + _PATIENCE
        while not self.answers():
            if not self.alive():
                return False
            if self.clock() > deadline:
                raise EmbeddedError(
                    f"The embedded server (process {self._pid()}) has been running for {_PATIENCE:.0f} seconds "
                    f"without answering. Its log is in {self.data / 'log'}; stop it and try again."
                )
            self.sleep(0.05)
        return True

    def _pid(self) -> int | None:
        try:
            first = (self.data / "postmaster.pid").read_text().partition("\n")[0]
        except FileNotFoundError:
            return None
        return int(first) if first.strip().isdigit() else None

    def _ready_socket_dir(self) -> Path:
        """The socket's directory: beside the data if the path serves, else a private one in /tmp."""
        chosen = self.place / "socket"
        # Addresses separate hosts by commas, with no way to quote one.
        if len(os.fsencode(chosen / _SOCKET)) > _LONGEST_SOCKET_PATH or "," in str(chosen):
            chosen = self.socket_dir or chosen
            if not self._is_private(chosen):
                chosen = Path(tempfile.mkdtemp(prefix="crm_sync-", dir="/tmp"))
        chosen.mkdir(mode=0o700, exist_ok=True)
        if not self._is_private(chosen):
            os.chown(chosen, self.account.uid, self.account.gid)
        self._write("socket_dir", os.fsencode(chosen))
        return chosen

    def _is_private(self, folder: Path) -> bool:
        try:
            found = folder.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == self.account.uid and not found.st_mode & 0o077

    def _clear_stale_files(self, socket_dir: Path) -> None:
        """Remove what a dead server left. PostgreSQL itself would believe a zombie or a reused process id."""
        for left in (self.data / "postmaster.pid", socket_dir / _SOCKET, socket_dir / f"{_SOCKET}.lock"):
            left.unlink(missing_ok=True)
        (self.place / "postmaster.started").unlink(missing_ok=True)

    def _lock_for_server(self) -> int:
        """A locked descriptor for the server to inherit; refused while any older server process lives."""
        held = os.open(self.place / "running", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        deadline = self.clock() + _PATIENCE
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self.clock() > deadline:
                    os.close(held)
                    raise EmbeddedError(
                        f"Another server still works on {self.data}: processes of a killed server, or a server "
                        "in another container that shares this folder. Stop it, or use another CRM_SYNC_HOME."
                    ) from None
                self.sleep(0.05)
            else:
                return held

    def _create_database(self) -> None:
        with psycopg.connect(make_conninfo(self.url(), dbname="postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT FROM pg_database WHERE datname = %s", [NAME]).fetchall():
                conn.execute(f"CREATE DATABASE {NAME}")

    def _write(self, name: str, content: bytes) -> None:
        """Replace a small file of ours in one step, readable by the server's account only."""
        fresh = self.place / f"{name}.new"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        if self.account.uid != os.geteuid():
            os.chown(fresh, self.account.uid, self.account.gid)
        fresh.replace(self.place / name)

    def _run(
        self, install: Install, program: str, *arguments: str | Path, pass_fds: tuple[int, ...] = ()
    ) -> None:
        """Run a PostgreSQL program as the server's account, away from our terminal and our environment."""
        account = self.account if self.account.uid != os.geteuid() else None
        done = subprocess.run(  # noqa: S603 - programs found by pg_install, paths checked in initialise
            [install.bin_dir / program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.place,
            env=_environment(os.environ),
            umask=0o077,
            start_new_session=True,  # Ctrl-C is meant for us, not for a server that others use too
            pass_fds=pass_fds,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            last = " ".join(done.stdout.split("\n")[-6:]).strip()
            raise EmbeddedError(
                f"PostgreSQL's {program} failed (exit {done.returncode}) in {self.place}: {last} "
                f"See {self.place / 'start.log'} and {self.data / 'log'}."
            )


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment without what would steer PostgreSQL (PGDATA, PGOPTIONS, a foreign locale)."""
    return {k: v for k, v in ours.items() if not k.startswith(("PG", "LC_")) and k != "HOME"} | {
        "LC_ALL": "C"
    }
