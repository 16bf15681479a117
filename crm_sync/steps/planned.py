"""What an outbound step is about to send, as rows of a plan."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core.approval import PlanRow
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.intents import Intent
from crm_sync.hub.sql import base_table, ident, to_text

_NEW = "new in the hub"
_Then = dict[tuple[UUID, str], tuple[str | None, str | None]]


def rows_of(conn: Connection, stream: StreamSpec, intents: Sequence[Intent]) -> list[PlanRow]:
    """The rows of these writes: one a field; of what is done to a record as such, one without a field."""
    then = _then(conn, stream, [i for i in intents if i.kind == "update"])
    policies = {spec.name: str(spec.policy) for spec in stream.fields}
    rows: list[PlanRow] = []
    for i in intents:
        hub_id = str(i.hub_id)
        if not i.sent:
            reason = i.reasons.get("", "")
            rows.append(
                PlanRow(
                    stream.name,
                    "crm",
                    i.kind,
                    hub_id,
                    "",
                    None,
                    None,
                    reason,
                    hub_id,
                    i.crm_id,
                    verdict=i.kind,
                )
            )
        for name, new in i.sent.items():
            if i.kind == "create" and new is None:
                continue
            was = then.get((i.hub_id, name), (None, None))
            rows.append(
                PlanRow(
                    stream.name, "crm", i.kind, hub_id, name, i.old_values.get(name), new,
                    i.reasons.get(name, _NEW), hub_id, i.crm_id, *was, "push", policies.get(name, ""),
                )
            )  # fmt: skip
    return rows


def _then(conn: Connection, stream: StreamSpec, updates: Sequence[Intent]) -> _Then:
    """Both halves of the base of what is updated: a query a field."""
    ids: dict[str, list[UUID]] = {}
    for i in updates:
        for name in i.sent:
            ids.setdefault(name, []).append(i.hub_id)
    found: _Then = {}
    for name, of_field in ids.items():
        rows = conn.execute(
            sql.SQL("select b.hub_id, {}::text, {} from {} b where b.hub_id = any(%s)").format(
                to_text(stream.field(name), ident("b", f"{name}_hub")),
                ident("b", f"{name}_crm"),
                base_table(stream),
            ),
            [of_field],
        )
        found |= {(hub_id, name): (hub, crm) for hub_id, hub, crm in rows}
    return found
