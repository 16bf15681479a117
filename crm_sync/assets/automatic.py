"""The job `auto_resolve`: conflicts that nobody looked at for as long as their connection's file says. There is one
only if a file has the key `auto_resolve`.
"""

import dagster as dg

from crm_sync.assets import checks, names, resolve, tables
from crm_sync.assets.failures import told
from crm_sync.core.errors import HeldBackError, SyncError
from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.resources.connections import Connections
from crm_sync.resources.hub import Hub
from crm_sync.settings import Settings
from crm_sync.steps.resolve import moment
from crm_sync.steps.unattended import automatic, overdue


def willing(system: System) -> list[ConnectionSpec]:
    """The connections whose conflicts are settled some day."""
    return [connection for connection in system.connections if connection.auto_resolve is not None]


def auto_jobs(system: System, settings: Settings) -> list[dg.JobDefinition]:
    """The job, if any connection wants it."""
    if not willing(system):
        return []

    @dg.op(name="settle", out=dg.Out(dg.Nothing), description="Settle the conflicts that are overdue.")
    def settle(
        context: dg.OpExecutionContext, hub: dg.ResourceParam[Hub], connections: dg.ResourceParam[Connections]
    ) -> None:
        shown: tables.Metadata = {}
        with told(names.AUTO_RESOLVE):
            store = hub.store(dry_run=False)
            failed: list[SyncError] = []
            for connection in willing(system):
                now = moment(store)
                found = overdue(store.conn, system, connection.name, now)
                try:
                    done = automatic(store, system, connections.crm, connection.name, now=now)
                except SyncError as error:  # one CRM that cannot be reached holds no other up
                    failed.append(error)
                else:
                    if done is not None:
                        if done.held:
                            failed.append(HeldBackError("; ".join(done.held)))
                        told_of = resolve.metadata(store, len(found), done).items()
                        shown |= {f"{connection.name}/{name}": value for name, value in told_of}
                for entity in sorted({conflict.entity for conflict in found}):
                    checks.report(context, hub, system, entity, settings)
            context.add_output_metadata(shown)
            if failed:
                raise failed[0]

    @dg.job(
        name=names.AUTO_RESOLVE,
        description="Settle conflicts that nobody looked at for as long as `auto_resolve` of their connection says.",
    )
    def auto_resolve() -> None:
        settle()

    return [auto_resolve]
