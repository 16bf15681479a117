"""`crm-sync dev`: the Dagster UI with its daemons, on a database that is ready. `crm-sync stop` ends the embedded one."""

import os
import signal

from crm_sync.commands import console
from crm_sync.commands.workspace import workspace
from crm_sync.hub import embedded
from crm_sync.settings import Settings


def dev(host: str, port: int) -> None:
    """Prepare database and storage, then become `dagster dev`: it gets every signal, and its exit status is ours."""
    here = workspace()
    with console.err.status("preparing the database and Dagster's storage"):
        url = here.database()
        from crm_sync.commands import instance

        home = instance.prepare(here.settings, url)
        os.environ.update(instance.environment(here.settings, url))
    os.environ.setdefault("CRM_SYNC_UI_URL", f"http://{host}:{port}")
    command = instance.user_interface(home, host, port)
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a background job of a script ignores it, and Dagster would too
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def stop() -> None:
    """Stop the embedded server of this home, if it runs."""
    settings = Settings.from_env(os.environ)
    stopped = embedded.stop(settings.home)
    console.out.print("the embedded database is stopped" if stopped else "no embedded database was running")
