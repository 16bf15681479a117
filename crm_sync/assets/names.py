"""The names of everything Dagster shows: asset keys, jobs, pools, tags. They are part of the interface: links,
schedules, the command line and people's bookmarks rely on them.
"""

import dagster as dg

from crm_sync.core.spec import StreamSpec

LOCATION = "crm_sync"  # as in workspace.yaml
CHECK = "conflicts"
GUARD = "guard"
APPROVAL = "approval"
PARITY = "parity"
PARKED = "parked"
SCHEMA = "schema"

RESOLVE = "resolve_conflicts"
RECHECK = "recheck_conflicts"
AUTO_RESOLVE = "auto_resolve"
SYNC_ALL = "sync_all"
VERIFY = "verify"
APPLY_PLAN = "apply_plan"
REQUEUE = "requeue_parked"

CONNECTION_TAG = "crm/connection"  # on runs; dagster.yaml lets one run with the same value go at a time
BACKFILL_TAG = "dagster/backfill"


def inbound_key(stream: StreamSpec) -> dg.AssetKey:
    return dg.AssetKey([stream.connection, "inbound", stream.entity])


def hub_key(entity: str) -> dg.AssetKey:
    return dg.AssetKey(["hub", entity])


def outbound_key(stream: StreamSpec) -> dg.AssetKey:
    return dg.AssetKey([stream.connection, "outbound", stream.entity])


def match_key(entity: str) -> dg.AssetKey:
    return dg.AssetKey(["match", entity])


def check_key(entity: str) -> dg.AssetCheckKey:
    return hub_check(entity, CHECK)


def parity_key(entity: str) -> dg.AssetCheckKey:
    return hub_check(entity, PARITY)


def hub_check(entity: str, name: str) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(hub_key(entity), name)


def parked_key(stream: StreamSpec) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(outbound_key(stream), PARKED)


def sync_job(connection: str) -> str:
    return f"sync_{connection}"


def reconcile_job(connection: str) -> str:
    return f"reconcile_{connection}"


def hub_pool(entity: str) -> str:
    return f"hub_{entity}"
