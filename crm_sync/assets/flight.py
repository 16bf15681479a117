"""What schedules and sensors look at before they ask for a run: which connections a run is working on already, and
whether the pools exist.
"""

import logging

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from crm_sync.assets import names
from crm_sync.core.spec import System

log = logging.getLogger(__name__)

UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def busy(instance: dg.DagsterInstance, system: System) -> frozenset[str]:
    """Connections with a sync or reconcile that is queued or running; all of them during `sync_all`."""
    connections = frozenset(connection.name for connection in system.connections)
    if _any(instance, dg.RunsFilter(job_name=names.SYNC_ALL, statuses=UNFINISHED)):
        return connections
    return frozenset(
        name
        for name in connections
        if _any(instance, dg.RunsFilter(tags={names.CONNECTION_TAG: name}, statuses=UNFINISHED))
    )


def make_pools(instance: dg.DagsterInstance, system: System) -> None:
    """Create the pools that are missing, one by one.

    Dagster makes a pool when the first step asks for it. On Postgres two runs that begin at once then collide, and
    one of them fails; so they are made before.
    """
    if instance.global_op_concurrency_default_limit is None:
        return
    wanted = [connection.name for connection in system.connections]
    wanted += [names.hub_pool(entity) for entity in system.entities]
    storage = instance.event_log_storage
    for pool in sorted(set(wanted) - set(storage.get_concurrency_keys())):
        try:
            storage.initialize_concurrency_limit_to_default(pool)
        except SQLAlchemyError as error:  # somebody else has made it at this very moment
            log.debug("pool %s: %s", pool, type(error).__name__)


def _any(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> bool:
    return bool(instance.get_run_ids(filters=filters, limit=1))
