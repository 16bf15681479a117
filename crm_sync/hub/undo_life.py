"""Undo of deletions: which records come back, and what forbids it.

    archived   the hub record is taken out of the archive        the CRM whose deletion it was stays without it
    deleted    the row is inserted again, with the same id       likewise
    removed    the CRM's record is created once more             by the ordinary outbound step, once the hub has it again

Conditions in SQL about `undo_record` (alias r), see `undo_records.py`; how it is done: `undo_life_now.py`.
"""

from psycopg import sql

from crm_sync.core.deletes import DeletePolicy
from crm_sync.core.spec import Direction, StreamSpec
from crm_sync.core.undo import Fate
from crm_sync.hub.sql import base_table, hub_table, mirror_table

_LIFE = "x.entity = r.entity and x.hub_id = r.hub_id and x.side = 'hub' and x.kind in ('archive', 'delete', 'restore')"
_SELECTED = "exists (select from undo_row u where u.id = x.id)"
_LINKED = "exists (select from {base} b where b.hub_id = r.hub_id and b.crm_id = r.crm_id)"
_HERE = "exists (select from {hub} h where h.id = r.hub_id)"
_ALIVE = "exists (select from {hub} h where h.id = r.hub_id and h.archived_at is null)"


def of_gone(stream: StreamSpec) -> list[tuple[Fate, str, sql.Composable]]:
    """What speaks against bringing a hub record back that a deletion in this CRM archived or deleted."""
    name = stream.connection
    archived, deleted = "r.kind = 'archived'", "r.kind = 'deleted'"
    both = "r.kind in ('archived', 'deleted')"
    first = f"(select x.kind from sync.change x where {_LIFE} and {_SELECTED} order by x.id limit 1)"
    merged = "exists (select from {mirror} m where m.crm_id = r.crm_id and m.merged_into is not null)"
    again = (
        "exists (select from sync.provenance p where p.entity = r.entity and p.hub_id = r.hub_id"
        " and p.field = 'archived_at' and p.changed_by <> r.connection)"
    )
    by_it = (
        "exists (select from sync.tombstone t where t.entity = r.entity and t.hub_id = r.hub_id"
        " and t.deleted_by = r.connection)"
    )
    empty = "exists (select from sync.change x where x.id = r.id and x.old_value is null)"
    conditions = [
        (Fate.ALREADY, "not archived any more", f"{archived} and {_ALIVE}"),
        (Fate.ALREADY, "there again", f"{deleted} and {_HERE}"),
        (Fate.LEFT, "the hub record is gone", f"{archived} and not {_HERE}"),
        (Fate.ALREADY, "was gone before, too", f"{both} and {first} = 'restore'"),
        (Fate.EDITED, "archived, deleted or brought back since",
         f"{both} and exists (select from sync.change x where {_LIFE} and x.id > r.id and not {_SELECTED})"),
        (Fate.ALREADY, "a later one counts",
         f"{both} and exists (select from sync.change x where {_LIFE} and x.id > r.id)"),
        (Fate.EDITED, "archived in the hub by an application since", f"{archived} and {again}"),
        (Fate.EDITED, "deleted in the hub by an application since", f"{deleted} and not {by_it}"),
        (Fate.LEFT, f"not linked with that record of {name} any more", f"{both} and not {_LINKED}"),
        (Fate.LEFT, f"merged in {name} by now", f"{both} and {merged}"),
        (Fate.LEFT, "the journal does not have its values", f"{deleted} and {empty}"),
    ]  # fmt: skip
    return _with_tables(stream, conditions)


def of_removed(stream: StreamSpec) -> list[tuple[Fate, str, sql.Composable]]:
    """What speaks against creating a record once more that was deleted in this CRM. To be asked when it is known which hub
    records come back."""
    name = stream.connection
    comes = (
        "exists (select from undo_record d where d.kind in ('archived', 'deleted') and d.fate in ('undo', 'done')"
        " and d.entity = r.entity and d.hub_id = r.hub_id)"
    )
    there = "exists (select from {mirror} m where m.crm_id = r.crm_id and not m.deleted)"
    apart = "exists (select from {base} b where b.hub_id = r.hub_id and b.hub_state = 'present')"
    conditions = [
        (Fate.ALREADY, "replaced by another record, or not linked any more", f"not {_LINKED}"),
        (Fate.ALREADY, f"there again in {name}", there),
        (Fate.LEFT, f"the hub has deleted it: bring it back in the hub, or take it out of the recycle bin of {name}",
         f"not {_ALIVE} and not {comes}"),
        (Fate.LEFT, f"hub and {name} agree that only the hub has it: take it out of the recycle bin of {name}", apart),
    ]  # fmt: skip
    why = _not_sent(stream)
    if why:
        conditions.append((Fate.LEFT, why, "true"))
    return _with_tables(
        stream, [(fate, why, f"r.kind = 'removed' and {text}") for fate, why, text in conditions]
    )


def _not_sent(stream: StreamSpec) -> str:
    """Why the next sync does not create once more what is back in the hub; empty if it does."""
    name = stream.connection
    if stream.direction is Direction.INBOUND:
        return f"inbound stream: nothing is sent to {name}"
    match stream.deletes.outbound:
        case DeletePolicy.REVIEW:
            return f"whether {name} gets it once more is asked for review (deletes: outbound: review)"
        case DeletePolicy.IGNORE:
            return f"stays deleted in {name} (deletes: outbound: ignore)"
        case _:
            return ""


def _with_tables(
    stream: StreamSpec, conditions: list[tuple[Fate, str, str]]
) -> list[tuple[Fate, str, sql.Composable]]:
    tables = {
        "base": base_table(stream),
        "mirror": mirror_table(stream),
        "hub": hub_table(stream.entity),
    }
    return [(fate, why, sql.SQL(text).format(**tables)) for fate, why, text in conditions]
