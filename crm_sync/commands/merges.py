"""`crm-sync merges`: hub records of which a CRM made one, in a terminal, and what a person decides about them."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection, sql

from crm_sync.commands import console
from crm_sync.commands.match import Mask, mask_of, streams_of
from crm_sync.commands.workspace import workspace
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import FieldSpec
from crm_sync.hub import merges
from crm_sync.hub.merges import Decision, Waiting
from crm_sync.hub.sql import hub_table, ident, to_text
from crm_sync.hub.store import Store
from crm_sync.steps.person import person


def listed(words: Sequence[str], *, limit: int, as_json: bool) -> int:
    """The open merges of these streams, with the values in which the two hub records differ. Returns 1 if there are any."""
    here = workspace()
    chosen = {(s.connection, s.entity) for s in streams_of(here, words)}
    mask = mask_of(here)
    with Store(here.database()) as store:
        found = [m for m in merges.find(store.conn) if (m.connection, m.entity) in chosen]
        shown = [_row(store.conn, here.system.hub_fields(m.entity), m, mask) for m in found[:limit]]
    if as_json:
        console.document(shown)
    elif not found:
        console.out.print("no merges to settle")
    else:
        table = console.table("id", "merged", "field", "stays", "to decide", numbers=("id",))
        for row in shown:
            merged = console.value(f"{row['stream']} {row['record']} → {row['survivor']}")
            kept, other = row["kept"], row["other"]
            table.add_row(str(row["id"]), merged, "hub record", kept["hub_id"], other["hub_id"])
            if row["note"]:
                table.add_row("", console.value(row["note"]), "", "", "")
            for name, value in kept["values"].items():
                table.add_row("", "", name, console.value(value), console.value(other["values"][name]))
        console.out.print(table)
        console.out.print(f"{len(shown)} of {len(found)} shown")
    return 1 if found else 0


def decide(words: Sequence[str], decision: Decision) -> int:
    """A person says what becomes of the two hub records. Raises SyncError for what cannot be."""
    if not words or not all(word.isdecimal() and len(word) < 19 for word in words):
        raise SyncError("which? Give numbers from `crm-sync merges`: crm-sync merges decide 3 --merge")
    ids = sorted({int(word) for word in words})
    here = workspace()
    with Store(here.database()) as store, store.transaction() as conn:
        found = merges.find(conn, ids=ids)
        if missing := sorted(set(ids) - {merge.id for merge in found}):
            raise SyncError(f"not open, or not there: {', '.join(map(str, missing))}; see `crm-sync merges`")
        for merge in found:
            if decision == "merge" and not _there(conn, merge):
                raise SyncError(
                    f"#{merge.id}: the hub record that was to stay, {merge.kept_id}, was deleted meanwhile;"
                    f" only --apart is possible: crm-sync merges decide {merge.id} --apart"
                )
            merges.decide(conn, merge, decision, person())
    console.out.print(f"decided: {len(found)}; the next sync follows")
    return 0


def _there(conn: Connection, merge: Waiting) -> bool:
    query = sql.SQL("select 1 from {} where id = %s").format(hub_table(merge.entity))
    return conn.execute(query, [merge.kept_id]).fetchone() is not None


def _row(conn: Connection, fields: Mapping[str, FieldSpec], merge: Waiting, mask: Mask) -> dict[str, Any]:
    """Both hub records, with the fields that are not the same in both."""
    values = _values(conn, merge, fields)
    kept, other = (values.get(str(hub_id), {}) for hub_id in (merge.kept_id, merge.hub_id))
    names = [name for name in fields if kept.get(name) != other.get(name)]

    def shown(mine: Mapping[str, str | None]) -> dict[str, str | None]:
        return {name: mask(merge.entity, name, mine.get(name)) for name in names}

    return {
        "id": merge.id,
        "stream": f"{merge.connection}/{merge.entity}",
        "record": merge.crm_id,
        "survivor": merge.survivor,
        "kept": {"hub_id": str(merge.kept_id), "values": shown(kept)},
        "other": {"hub_id": str(merge.hub_id), "values": shown(other)},
        "opened_at": merge.opened_at,
        "note": merge.note,
    }


def _values(
    conn: Connection, merge: Waiting, fields: Mapping[str, FieldSpec]
) -> dict[str, dict[str, str | None]]:
    rows = conn.execute(
        sql.SQL("select h.id::text, {} from {} h where h.id = any(%s)").format(
            sql.SQL(", ").join(to_text(spec, ident("h", name)) for name, spec in fields.items()),
            hub_table(merge.entity),
        ),
        [[merge.hub_id, merge.kept_id]],
    ).fetchall()
    return {row[0]: dict(zip(fields, row[1:], strict=True)) for row in rows}
