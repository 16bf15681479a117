"""Tables that were just filled, of which the planner knows nothing: what is asked of given records looks at these only."""

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from crm_sync.core.spec import (
    ConnectionSpec,
    Direction,
    FieldSpec,
    FieldType,
    StreamSpec,
    System,
    VendorField,
)
from crm_sync.hub import differences, dirty, plain, tables
from crm_sync.hub.migrate import upgrade

RECORDS = 2_000
ASKED = 400
FIELDS = tuple(
    FieldSpec(f"f{i}", VendorField(f"F{i}", FieldType.STRING), direction=direction)
    for i in range(60)
    for direction in [(Direction.TWO_WAY, Direction.INBOUND, Direction.OUTBOUND)[i % 3]]
)
"""Most are empty: the planner takes the rows for wide, and for fewer than they are."""
STREAM = StreamSpec("acme", "memory", "thing", "Thing", FIELDS)
Ask = Callable[[psycopg.Connection, Sequence[UUID]], object]
ASKS: dict[str, Ask] = {
    "read": lambda conn, ids: differences.read(conn, STREAM, ids),
    "still": lambda conn, ids: differences.still(conn, STREAM, ids),
    "stage": lambda conn, ids: plain._stage(conn, STREAM, ids),
    "mark": lambda conn, ids: dirty.mark_differing(conn, STREAM, ids),
}


@pytest.fixture(scope="module")
def filled(module_database_url: str) -> Iterator[psycopg.Connection]:
    """Linked records of which all differ in the field f1, none of the tables ever analyzed."""
    upgrade(module_database_url)
    with psycopg.connect(module_database_url) as conn:
        tables.ensure(conn, System((ConnectionSpec("acme", "memory", {}, (STREAM,), "x"),), ("thing",)))
        for table in ("hub.thing", "acme.thing", "acme.thing_base"):
            name = sql.Identifier(*table.split("."))
            conn.execute(sql.SQL("alter table {} set (autovacuum_enabled = off)").format(name))
        conn.execute(
            sql.SQL("insert into hub.thing (f1) select 'a' from generate_series(1, {})").format(RECORDS)
        )
        agreed = sql.SQL(", ").join(sql.Identifier(f"{spec.name}_agreed") for spec in FIELDS)
        conn.execute(
            sql.SQL(
                "insert into acme.thing_base (hub_id, crm_id, linked_by, f1_hub, f1_crm, {})"
                " select id, 'C' || row_number() over (), 'match', 'a', 'a', {} from hub.thing"
            ).format(agreed, sql.SQL(", ").join(sql.SQL("true") for _ in FIELDS))
        )
        conn.execute("insert into acme.thing (crm_id, f1) select crm_id, 'b' from acme.thing_base")
        conn.commit()
        yield conn


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_what_is_asked_of_some_records_reads_no_table_again_and_again(
    filled: psycopg.Connection, ask: Ask
) -> None:
    """Each table once at most: not each with each, of which the time that passes says nothing on a fast machine."""
    ids = [row[0] for row in filled.execute("select hub_id from acme.thing_base limit %s", [ASKED])]
    filled.rollback()
    with filled.transaction() as going:
        before = _looked_at(filled)  # of earlier transactions that were not reported yet
        ask(filled, ids)
        assert _looked_at(filled) - before <= 3 * RECORDS + 3 * ASKED
        raise psycopg.Rollback(going)


def _looked_at(conn: psycopg.Connection) -> int:
    """Rows of the three tables that this session has read."""
    row = conn.execute(
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::int from pg_stat_xact_user_tables"
        " where schemaname in ('hub', 'acme')"
    ).fetchone()
    return row[0] if row else 0
