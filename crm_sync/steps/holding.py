"""Hub records that a CRM does not have and that must not be created there now, each with the reason."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection

from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import dirty, landed, link, parked
from crm_sync.hub.parked import Parked
from crm_sync.steps.conversion import held_by_conversions
from crm_sync.steps.merges import held_by_merges


def held_back(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, Parked]:
    """Those of these hub records, which have no link, whose creation would make a second one of the same, or write
    over another record."""
    waits = link.waiting(conn, stream, hub_ids)
    held = {hub_id: _match_waits(hub_id, waits[hub_id]) for hub_id in sorted(waits)}
    rest = [hub_id for hub_id in hub_ids if hub_id not in held]
    held |= landed.held(conn, stream, rest)
    return held | held_by_conversions(conn, stream, rest) | held_by_merges(conn, stream, rest)


def release(conn: Connection, stream: StreamSpec, crm_ids: Sequence[str]) -> None:
    """Have those hub records looked at again that wait for one of these CRM records to be linked, and do so no more: it is
    deleted, says something else, or is linked with another one."""
    waited = parked.waiting_for(conn, stream, _CODE, crm_ids)
    if waited:
        dirty.mark_hub(conn, stream, waited - link.waiting(conn, stream, sorted(waited)).keys())


_CODE = "MATCH_WAITS"


def _match_waits(hub_id: UUID, crm_id: str | None) -> Parked:
    return Parked(
        "hub",
        str(hub_id),
        "",
        ErrorClass.VALIDATION,
        _CODE,
        "a CRM record that matches this one, or carries its id, could not be linked yet (it is parked, still in the queue,"
        " or outside the mapping's filter); creating this one would make a second of the same, or overwrite it",
        None,
        hub_id,
        crm_id,
        looks=True,
    )
