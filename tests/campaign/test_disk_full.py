"""The disk of the database fills up in the middle of the first sync; with room again, the end is as if it had not."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from crm_sync.hub import embedded
from tests.campaign import state
from tests.campaign.ground import Server, server, world

RECORDS = 80
SIZE = "64m"
LEFT = 700_000  # bytes: enough to begin with, not enough to end


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own, which takes the right to mount one."""
    place = Path(tempfile.mkdtemp(prefix="crm_sync-small-"))
    mount = shutil.which("mount")
    done = (
        subprocess.run(
            [mount, "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True, check=False
        )
        if mount
        else None
    )
    if done is None or done.returncode != 0:
        place.rmdir()
        pytest.skip("no file system can be mounted here (it takes root), so no disk can be filled")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)
        place.rmdir()


class _Small(Server):
    """A server whose databases lie on the small disk; its write-ahead log does not."""

    def __init__(self, home: Path, place: Path) -> None:
        super().__init__(home)
        with psycopg.connect(self.url, autocommit=True) as conn:
            row = conn.execute("select current_setting('data_directory')").fetchone()
            assert row is not None
            owner = Path(row[0]).stat()
            folder = place / "data"
            folder.mkdir(mode=0o700)
            os.chown(folder, owner.st_uid, owner.st_gid)
            place.chmod(0o755)
            conn.execute(f"create tablespace small location '{folder}'")

    def database(self) -> str:
        name = f"campaign_{secrets.token_hex(4)}"
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"create database {name} template template0 tablespace small")
        return embedded.with_database(self.url, name)


def _fill(place: Path) -> Path:
    ballast = place / "ballast"
    room = os.statvfs(place)
    with ballast.open("wb") as file:
        file.write(b"\0" * max(room.f_bavail * room.f_frsize - LEFT, 0))
    return ballast


def test_a_full_disk_stops_the_run_and_nothing_is_half_done(small_disk: Path) -> None:
    with server() as postgres:
        calm = world(postgres, RECORDS, 5, bulk=40)
        try:
            calm.until_quiet()
            expected = state.read(calm)
        finally:
            calm.close()
        cramped = world(_Small(postgres.home, small_disk), RECORDS, 5, bulk=40)
        try:
            ballast = _fill(small_disk)
            said = cramped.child(rounds=1, name="cramped").result()
            assert said["kind"] == "StorageError", said
            assert "disk of the database is full" in said["error"]
            assert "No space left on device" in said["error"]
            again = cramped.child(rounds=1, name="again").result()  # still full: no worse than before
            assert again["kind"] == "StorageError", again
            ballast.unlink()
            cramped.until_quiet()
            assert not state.differences(state.read(cramped), expected)
        finally:
            cramped.close()
