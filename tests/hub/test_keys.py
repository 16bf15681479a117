"""The key file that is made at the first start."""

import stat
import threading
from pathlib import Path

from crm_sync.hub.keys import FILE, token_keys
from crm_sync.settings import Settings


def test_threads_that_start_at_once_read_the_same_key(tmp_path: Path) -> None:
    settings = Settings.from_env({"CRM_SYNC_HOME": str(tmp_path / "home")})
    barrier, found = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        found.append(token_keys(settings))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({key for (key,) in found}) == 1
    assert [path.name for path in (tmp_path / "home").iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / "home" / FILE).stat().st_mode) == 0o600
