"""What the guard counts beforehand is what `decide` then loses: never less, and no more where the times need not tell."""

from collections.abc import Iterator
from random import Random
from typing import Literal

import psycopg
import pytest
from psycopg import sql

from crm_sync.core.decide import Kind, decide_all
from crm_sync.core.guard import ARCHIVED, Guard, Limit, What
from crm_sync.core.spec import (
    ConnectionSpec,
    Direction,
    FieldSpec,
    FieldType,
    Policy,
    StreamSpec,
    System,
    VendorField,
)
from crm_sync.hub import differences, guard, tables
from crm_sync.hub.migrate import upgrade

RECORDS = 400
TYPES = {
    FieldType.STRING: "text",
    FieldType.NUMBER: "7",
    FieldType.DATE: "2024-02-29",
    FieldType.MULTIPICKLIST: "a;b",
}
FIELDS = tuple(
    FieldSpec(
        f"{kind}_{direction}_{policy}", VendorField(f"{kind}{direction}{policy}", kind), direction, policy
    )
    for kind in TYPES
    for direction in Direction
    for policy in Policy
)
STREAM = StreamSpec("acme", "memory", "thing", "Thing", FIELDS)
EVERYTHING = Guard(blanks=Limit(number=0))


@pytest.fixture(scope="module")
def marked(module_database_url: str) -> Iterator[psycopg.Connection]:
    """Linked records in every state: each side null or not, then and now, agreed or not."""
    upgrade(module_database_url)
    with psycopg.connect(module_database_url, autocommit=True) as conn:
        tables.ensure(conn, System((ConnectionSpec("acme", "memory", {}, (STREAM,), "x"),), ("thing",)))
        random = Random(4)

        def value(spec: FieldSpec) -> str | None:
            return TYPES[spec.type] if random.random() < 0.5 else None

        for i in range(RECORDS):
            columns: dict[str, list[object]] = {"hub": [], "mirror": [], "base": []}
            for spec in FIELDS:
                now, then = value(spec), value(spec)
                columns["hub"].append([now] if now and spec.type is FieldType.MULTIPICKLIST else now)
                columns["mirror"].append(value(spec))
                both = [[then] if then and spec.type is FieldType.MULTIPICKLIST else then, value(spec)]
                columns["base"] += [*both, random.random() < 0.8]
            (hub_id,) = conn.execute(
                _insert("hub", "thing", [f.name for f in FIELDS], "id"), columns["hub"]
            ).fetchone() or (None,)
            conn.execute(
                _insert("acme", "thing", ["crm_id", *(f.name for f in FIELDS)]), [f"c{i}", *columns["mirror"]]
            )
            names = [f"{f.name}_{half}" for f in FIELDS for half in ("hub", "crm", "agreed")]
            conn.execute(
                _insert("acme", "thing_base", ["hub_id", "crm_id", "linked_by", *names]),
                [hub_id, f"c{i}", "match", *columns["base"]],
            )
        yield conn


def _insert(schema: str, table: str, names: list[str], returning: str = "") -> sql.Composed:
    tail = f" returning {returning}" if returning else ""
    return sql.SQL("insert into {} ({}) values ({})" + tail).format(
        sql.Identifier(schema, table),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(sql.Placeholder() * len(names)),
    )


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("side", ["hub", "crm"])
def test_no_blank_is_missed(marked: psycopg.Connection, side: Literal["hub", "crm"], force: bool) -> None:
    ids = [row[0] for row in marked.execute("select hub_id from acme.thing_base")]
    kind, lost = (Kind.TAKE, "hub_now") if side == "hub" else (Kind.PUSH, "crm_now")
    expected: dict[str, int] = {}
    for verdict in decide_all(STREAM, differences.read(marked, STREAM, ids), force=force):
        d = verdict.difference
        if verdict.kind is kind and verdict.value is None and getattr(d, lost) is not None:
            expected[d.field] = expected.get(d.field, 0) + 1
    marks = guard.marked(marked, STREAM, 2**31 - 1)
    counted = guard.count(marked, STREAM, side, marks, EVERYTHING, force=force)
    found = {name: number for (what, name), number in counted.items() if what is What.BLANKS}
    for spec in FIELDS:
        mine, theirs = found.get(spec.name, 0), expected.get(spec.name, 0)
        if (
            spec.policy is Policy.MOST_RECENT_WINS and not force
        ):  # of two changes nobody knows here which is newer
            assert mine >= theirs, spec.name
        else:
            assert mine == theirs, spec.name
    assert sum(expected.values()) > 100
    keys = [key for key in counted if key[0] is What.BLANKS]
    with marked.transaction():
        assert guard.select(marked, STREAM, side, marks, EVERYTHING, keys, force=force) == {
            k: counted[k] for k in keys
        }


def test_only_what_is_marked_is_counted(marked: psycopg.Connection) -> None:
    with marked.transaction() as going:
        marked.execute("delete from sync.mark")
        marks = guard.marked(marked, STREAM, 100)
        assert marks.number == 0
        assert guard.count(marked, STREAM, "hub", marks, EVERYTHING) == {}
        raise psycopg.Rollback(going)


def test_a_frozen_field_is_not_counted(marked: psycopg.Connection) -> None:
    name = FIELDS[0].name
    marks = guard.marked(marked, STREAM, 100)
    with marked.transaction() as going:
        assert (What.BLANKS, name) in guard.count(marked, STREAM, "hub", marks, EVERYTHING)
        marked.execute(
            "insert into sync.frozen (connection, entity, field) values ('acme', 'thing', %s)", [name]
        )
        assert (What.BLANKS, name) not in guard.count(marked, STREAM, "hub", marks, EVERYTHING)
        raise psycopg.Rollback(going)


def test_deletions_and_creates_are_counted_by_record(marked: psycopg.Connection) -> None:
    with marked.transaction() as going:
        marked.execute("update acme.thing set deleted = true where crm_id in ('c1', 'c2', 'c3')")
        marked.execute("update acme.thing set merged_into = 'c9' where crm_id = 'c3'")  # not lost: merged
        marked.execute("insert into hub.thing default values")
        marked.execute(
            "insert into sync.mark (stream, by_hub, crm_id) select id, false, c from sync.stream, unnest(array['c1', 'c2', 'c3']) c"
        )
        every = Guard(creates=Limit(number=0), changes=Limit(number=0))
        marks = guard.marked(marked, STREAM, 100_000)
        assert guard.count(marked, STREAM, "hub", marks, every)[What.DELETIONS, ARCHIVED] == 2
        # Deleted long ago, and left as it is; edited here.
        marked.execute("update acme.thing_base set crm_state = 'deleted' where crm_id = 'c1'")
        assert guard.count(marked, STREAM, "hub", marks, every)[What.DELETIONS, ARCHIVED] == 1
        assert guard.count(marked, STREAM, "crm", marks, every)[What.CREATES, ""] == 1
        assert guard.count(marked, STREAM, "hub", marks, every)[What.CHANGES, ""] <= RECORDS - 3
        raise psycopg.Rollback(going)
