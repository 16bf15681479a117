"""A process of the limits campaign: reads streams again and again until the time is up, or no call may be made.

    python -m tests.campaign.reader SECONDS STREAM...

Each stream has a thread and a database connection of its own; settings come from the environment. The first line on
standard output says that it has begun, the last, as JSON, how often each stream was read and what went wrong.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from contextlib import closing

from crm_sync.core.errors import HeldError, SyncError
from crm_sync.hub.store import Store
from crm_sync.mapping.load import load
from crm_sync.resources.connections import from_settings
from crm_sync.settings import Settings
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options


def main() -> None:
    names = sys.argv[2:]
    settings = Settings.from_env(os.environ)
    system = load(settings.connections)
    read: Counter[str] = Counter()
    wrong: list[str] = []

    until = time.monotonic() + float(sys.argv[1])

    def again_and_again(name: str) -> None:
        connection, entity = name.split("/")
        with closing(from_settings(settings)(system.connection(connection))) as crm:
            while time.monotonic() < until:
                try:
                    with Store(os.environ["CRM_SYNC_DATABASE_URL"]) as store:
                        inbound(store, crm, system.stream(connection, entity), Options(full=True))
                except HeldError as error:
                    wrong.append(f"{error.code}: {error}")
                    return
                except SyncError as error:
                    wrong.append(f"{name}: {error}")
                    time.sleep(0.2)
                else:
                    read[name] += 1

    threads = [threading.Thread(target=again_and_again, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    print("begun", flush=True)
    for thread in threads:
        thread.join()
    print(json.dumps({"read": read, "wrong": wrong}))


if __name__ == "__main__":
    main()
