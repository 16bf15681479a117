"""What is taken without being fetched is what `decide` would take, with the same value and the same reason."""

from collections.abc import Iterator, Sequence
from random import Random
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from crm_sync.core.decide import Kind, decide_all
from crm_sync.core.spec import (
    ConnectionSpec,
    Direction,
    FieldSpec,
    FieldType,
    Policy,
    Rival,
    StreamSpec,
    System,
    VendorField,
)
from crm_sync.hub import differences, merge, plain, tables
from crm_sync.hub.migrate import upgrade

RECORDS = 1_200
POOLS: dict[FieldType, tuple[str, ...]] = {
    FieldType.STRING: ("Ann", "ann", " Ann ", "Zoé", "Zoe\u0301", "ﬁ", "a\r\nb", "a\nb", "x" * 40_000),
    FieldType.PICKLIST: ("Open", "open", "Won", " Won"),
    FieldType.EMAIL: ("ann@x-y.de", "Ann@X-y.de", "bob@x.com", "no address", "a..b@x.com", "zoé@x.com"),
    FieldType.DATE: ("2024-02-29", "2024-02-28", "2023-02-30", "2024-02-28T00:00:00Z"),
    FieldType.DATETIME: ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05.001Z", "2026-01-02T04:04:05+01:00"),
    FieldType.NUMBER: ("1", "1.0", "1.005", "1.00", "-0", "0", "1e3", "ten"),
    FieldType.BOOLEAN: ("true", "false", "yes"),
    FieldType.PHONE: ("+14155552671", "(415) 555-2671", "+14155552672"),
    FieldType.MULTIPICKLIST: ("a;b", "b;a", "a"),
}


def _field(name: str, kind: FieldType, **more: object) -> FieldSpec:
    return FieldSpec(name, VendorField(name.title(), kind), **more)  # type: ignore[arg-type]


FIRST = Rival(0, Direction.INBOUND, Policy.MOST_RECENT_WINS)
FIELDS = (
    *(_field(str(kind), kind) for kind in POOLS),
    _field("told", FieldType.STRING, direction=Direction.INBOUND),
    _field("told_number", FieldType.NUMBER, direction=Direction.INBOUND),
    _field("second", FieldType.STRING, direction=Direction.INBOUND, place=1, rivals={"beta": FIRST}),
    _field("ours", FieldType.STRING, direction=Direction.OUTBOUND),
    _field("rounded", FieldType.NUMBER, scale=2),
    _field("stage", FieldType.PICKLIST, to_hub={"Open": "a", "Won": "b"}, to_crm={"a": "Open", "b": "Won"}),
    _field("both", FieldType.STRING, computed="{string} {told}", direction=Direction.OUTBOUND),
)
STREAM = StreamSpec("acme", "memory", "thing", "Thing", FIELDS)


Row = dict[str, object]


@pytest.fixture
def filled(database_url: str, conn: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Linked records, agreed on in most fields; in the others each of the four values and the flag are anything."""
    upgrade(database_url)
    tables.ensure(conn, System((ConnectionSpec("acme", "memory", {}, (STREAM,), "acme.yaml"),), ("thing",)))
    random = Random(7)
    records = [_record(random, f"Thing-{number:05}") for number in range(RECORDS)]
    for i, table in enumerate((("hub", "thing"), ("acme", "thing_base"), ("acme", "thing"))):
        copy = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(*table), sql.SQL(", ").join(map(sql.Identifier, records[0][i]))
        )
        with conn.cursor() as cursor, cursor.copy(copy) as writer:
            for record in records:
                writer.write_row(list(record[i].values()))
    yield conn
    conn.execute("drop schema acme cascade")
    conn.execute("drop table hub.thing cascade")
    for table in ("sync.stream", "sync.provenance", "review.rule"):
        conn.execute(
            sql.SQL("delete from {} where entity = 'thing'").format(sql.Identifier(*table.split(".")))
        )
    conn.commit()


def _record(random: Random, crm_id: str) -> tuple[Row, Row, Row]:
    """Its rows in the hub, the base and the mirror."""
    hub_id = UUID(int=random.getrandbits(128))
    hub: Row = {"id": hub_id}
    base: Row = {"hub_id": hub_id, "crm_id": crm_id, "linked_by": "match"}
    crm: Row = {"crm_id": crm_id, "modified_at": "2026-01-01Z"}
    for spec in FIELDS:
        name, pool = spec.name, POOLS[spec.type]
        fitting = [_typed(spec, text) for text in (None, *pool) if _fits(spec, text)]
        now, theirs = random.choice(fitting), random.choice((None, *pool))
        then, theirs_then, agreed = now, theirs, True
        if spec.computed is not None:
            now = then = " ".join(f"{hub['string'] or ''} {hub['told'] or ''}".split()) or None
            then = then if random.random() < 0.9 else "something else"
        elif random.random() < 0.05:
            agreed = random.random() < 0.7
            then = now if random.random() < 0.7 else random.choice(fitting)
            theirs_then = random.choice((None, *pool))
        if spec.computed is None:
            hub[name] = now
        crm[name] = theirs
        base |= {f"{name}_hub": then, f"{name}_crm": theirs_then, f"{name}_agreed": agreed}
    return hub, base, crm


def _typed(spec: FieldSpec, text: str | None) -> object:
    return text.split(";") if text and spec.type is FieldType.MULTIPICKLIST else text


def _fits(spec: FieldSpec, text: str | None) -> bool:
    """Whether the hub's column takes the text."""
    bad = {FieldType.DATE: ("2023-02-30",), FieldType.NUMBER: ("ten",)}
    return text not in bad.get(spec.type, ())


@pytest.mark.parametrize("ruled", [False, True])
def test_what_is_plain_is_what_decide_takes(filled: psycopg.Connection, ruled: bool) -> None:
    """With rules too, which say something about disputes only; and where another connection goes before."""
    conn = filled
    conn.execute(
        "insert into sync.provenance (entity, hub_id, field, changed_at, changed_by)"
        " select 'thing', id, 'second', now(), 'beta' from hub.thing"
    )
    if ruled:
        conn.execute(
            "insert into review.rule (connection, entity, field, decision, made_by)"
            " select 'acme', 'thing', f, 'use_hub', 'anna' from unnest(%s::text[]) f",
            [[spec.name for spec in FIELDS]],
        )
    ids = [row[0] for row in conn.execute("select id from hub.thing").fetchall()]
    decided: dict[UUID, dict[str, tuple[Kind, str | None, str]]] = {}
    for verdict in decide_all(STREAM, differences.read(conn, STREAM, ids)):
        d = verdict.difference
        decided.setdefault(d.hub_id, {})[d.field] = (verdict.kind, verdict.value, verdict.reason)
    with conn.transaction():
        fields = plain._stage(conn, STREAM, ids)
        query = sql.SQL("select m.hub_id, v.field, v.value, v.reason from moving m {} where v.take")
        found: dict[UUID, dict[str, tuple[Kind, str | None, str]]] = {}
        for hub_id, name, value, reason in conn.execute(query.format(merge.values(fields))):
            found.setdefault(hub_id, {})[name] = (Kind.TAKE, value, reason)
    assert found == {hub_id: verdicts for hub_id, verdicts in decided.items() if hub_id in found}
    assert len(found) > 50, "too few are plain for this to say anything"
    assert {spec.name for spec in fields} >= {
        "string",
        "email",
        "date",
        "datetime",
        "number",
        "boolean",
        "told",
    }


def test_a_record_that_somebody_decided_about_is_not_plain(filled: psycopg.Connection) -> None:
    conn = filled
    with conn.transaction():
        plain._stage(conn, STREAM, [row[0] for row in conn.execute("select id from hub.thing").fetchall()])
        (hub_id, crm_id) = conn.execute("select hub_id, crm_id from moving").fetchone() or ("", "")
    conn.execute(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, suggestion, reason, status)"
        " values ('acme', 'thing', %s, %s, 'string', 'use_hub', 'manual', 'decided')",
        [hub_id, crm_id],
    )
    with conn.transaction():
        assert plain._stage(conn, STREAM, [hub_id]) == []


def test_a_frozen_field_moves_nothing(filled: psycopg.Connection) -> None:
    conn = filled
    ids = [row[0] for row in conn.execute("select id from hub.thing").fetchall()]
    conn.execute("insert into sync.frozen (connection, entity, field) values ('acme', 'thing', 'string')")
    with conn.transaction():
        assert "string" not in {spec.name for spec in plain._stage(conn, STREAM, ids)}
    conn.execute("delete from sync.frozen")


class _StopError(Exception):
    """Raised by who is told of the blanks."""


def test_who_is_told_of_blanks_can_stop_everything_before_it_is_written(filled: psycopg.Connection) -> None:
    ids = [row[0] for row in filled.execute("select id from hub.thing").fetchall()]
    before = filled.execute("select count(*), count(told), count(string) from hub.thing").fetchone()
    told: list[tuple[str, UUID]] = []

    def stop(rows: Sequence[tuple[str, UUID]]) -> None:
        told.extend(rows)
        raise _StopError

    with pytest.raises(_StopError), filled.transaction():
        plain.take(filled, STREAM, ids, None, blanks=stop)
    takes = {
        (v.difference.field, v.difference.hub_id)
        for v in decide_all(STREAM, differences.read(filled, STREAM, ids))
        if v.kind is Kind.TAKE and v.value is None and v.difference.hub_now is not None
    }
    assert told
    assert set(told) <= takes
    assert filled.execute("select count(*), count(told), count(string) from hub.thing").fetchone() == before
