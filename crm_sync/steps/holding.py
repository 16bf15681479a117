"""Hub records that a CRM does not have and that must not be created there now, each with the reason."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection

from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import landed, link
from crm_sync.hub.parked import Parked
from crm_sync.steps.conversion import held_by_conversions
from crm_sync.steps.merges import held_by_merges


def held_back(conn: Connection, stream: StreamSpec, hub_ids: Sequence[UUID]) -> dict[UUID, Parked]:
    """Those of these hub records, which have no link, whose creation would make a second one of the same, or write
    over another record."""
    held = {hub_id: _match_waits(hub_id) for hub_id in sorted(link.waiting_matches(conn, stream, hub_ids))}
    rest = [hub_id for hub_id in hub_ids if hub_id not in held]
    held |= landed.held(conn, stream, rest)
    return held | held_by_conversions(conn, stream, rest) | held_by_merges(conn, stream, rest)


def _match_waits(hub_id: UUID) -> Parked:
    return Parked(
        "hub",
        str(hub_id),
        "",
        ErrorClass.VALIDATION,
        "MATCH_WAITS",
        "a CRM record that matches this one could not be linked yet (it is parked, or still in the queue);"
        " creating this one would make a second of the same",
        None,
        hub_id,
    )
