"""Cost follows change: a cycle over many linked records, of which few changed, reads about as many rows as changed.

Postgres itself counts (`pg_stat_user_tables`): inbound, hub, conflicts, outbound, what the sensors ask for, and a
decision in review. Reading through a table that grows with the records would show in any of them.
"""

import time
from collections import Counter
from datetime import timedelta

import pytest

from crm_sync.hub import dirty, inbox, review
from tests.steps.world import World

LINKED = 20_000
CHANGED = 100
GROWING = {
    *("hub.contact", "acme.contact", "acme.contact_base", "sync.mark", "sync.provenance", "sync.change"),
    *("sync.intent", "sync.parked", "sync.tombstone", "sync.inbox", "sync.history", "review.conflict"),
}
"""What grows with the number of records, of changes, or of troubles."""

_AGREED = ("first_name", "last_name", "email", "phone", "stage", "interests", "born", "next_call", "opted_out", "company", "full_name")  # fmt: skip
_FILL = f"""
create temporary table record as select i, md5('hub' || i)::uuid as hub_id, 'Contact-' || lpad(i::text, 8, '0') as crm_id, 'F' || i as first,
  'L' || i as last, 'p' || i || '@example.com' as email from generate_series(1, {LINKED}) i;
insert into hub.contact (id, first_name, last_name, email) select hub_id, first, last, email from record;
insert into acme.contact (crm_id, modified_at, hub_id, first_name, last_name, email, full_name)
  select crm_id, '2026-02-01Z', hub_id, first, last, email, first || ' ' || last from record;
insert into acme.contact_base (hub_id, crm_id, linked_by, first_name_hub, first_name_crm, last_name_hub, last_name_crm,
    email_hub, email_crm, full_name_hub, full_name_crm, {", ".join(f"{name}_agreed" for name in _AGREED)})
  select hub_id, crm_id, 'create', first, first, last, last, email, email, first || ' ' || last, first || ' ' || last,
    {", ".join("true" for _ in _AGREED)} from record;
insert into sync.parked (connection, entity, side, record_id, error_class, code, reason)
  select 'other', 'contact', 'hub', hub_id::text, 'validation', 'X', 'x' from record;
insert into sync.change (connection, entity, hub_id, side, kind, reason)
  select 'acme', 'contact', hub_id, 'hub', 'create', 'x' from record;
insert into sync.inbox (connection, event_id, entity, crm_id, change, done_at)
  select 'acme', i::text, 'contact', crm_id, 'update', now() from record;
insert into sync.history (entity, crm_source, sync_type, status)
  select 'contact', 'acme', 'incremental', 'success' from record;
insert into sync.intent (connection, entity, hub_id, kind, sent, hub_values, reasons, old_values)
  select 'other', 'contact', hub_id, 'update', '{{}}', '{{}}', '{{}}', '{{}}' from record;
insert into review.conflict (connection, entity, hub_id, crm_id, field, suggestion, reason, status)
  select 'acme', 'contact', hub_id, crm_id, 'phone', 'use_hub', 'x', 'superseded' from record;
truncate sync.mark;
"""


@pytest.fixture
def large(world: World) -> World:
    """Many linked records that agree, and as many old rows in everything that remembers. Only the first few are in
    the account: an incremental read asks for no others."""
    for i in range(1, 2 * CHANGED):
        values = {
            "FirstName": f"F{i}",
            "LastName": f"L{i}",
            "Email": f"p{i}@example.com",
            "FullName": f"F{i} L{i}",
        }
        assert world.accounts["acme"].person_create("Contact", values) == f"Contact-{i:08}"
    world.conn.execute(_FILL)
    world.conn.execute("analyze")
    world.wait(hours=1)
    world.conn.execute(
        "insert into sync.watermark (connection, entity, position) values ('acme', 'contact', %s)",
        [world.time],
    )
    return world


def _edit(world: World, word: str) -> None:
    """Half of the changes in the CRM, half in the hub, some to the same field; a few records that are new on a side."""
    world.wait(minutes=5)
    for i in range(1, CHANGED // 2):
        world.accounts["acme"].person_edit(
            "Contact", f"Contact-{i:08}", {"LastName": word, "Phone": "+14155550100"}
        )
    hub = "update hub.contact set {} where id = any(select hub_id from record where i between %s and %s)"
    world.conn.execute(hub.format(f"first_name = '{word}'"), [CHANGED // 2, CHANGED])
    world.conn.execute(hub.format("phone = '+14155550199'"), [1, 5])
    for i in range(5):
        new = {"LastName": word, "Email": f"new{word}{i}@example.com"}
        world.accounts["acme"].person_create("Contact", new)
        world.conn.execute(
            "insert into hub.contact (last_name, email) values (%s, %s)", [word, f"{i}{word}@example.com"]
        )


def _work(world: World) -> dict[str, dict[str, int]]:
    reports = world.sync("acme", "contact")
    with world.conn.transaction():
        dirty.marked_by_hub(world.conn, quiet=timedelta())
        inbox.waiting(world.conn)
        disputes = review.find(world.conn, entity="contact", limit=100)
        review.count(world.conn, "contact")
        review.decide(world.conn, disputes[:2], "use_crm", "somebody")
    return {name: dict(report.counts) for name, report in reports.items()}


def _others_are_gone(world: World) -> None:
    """A session tells what it has counted when it ends, which is a little after its client has left."""
    deadline = time.monotonic() + 30
    while world.one("select count(*) from pg_stat_activity where datname = current_database()"
                    " and backend_type = 'client backend' and pid <> pg_backend_pid()"):  # fmt: skip
        assert time.monotonic() < deadline, "a session is still there"
        time.sleep(0.01)


def _counted(world: World) -> Counter[str]:
    """Rows read so far, one after the other or by an index, of every table that grows."""
    _others_are_gone(world)
    world.conn.execute("select pg_stat_force_next_flush()")
    rows = world.conn.execute(
        "select schemaname || '.' || relname, seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
    ).fetchall()
    return Counter({name: int(count) for name, count in rows if name in GROWING})


def test_a_cycle_with_few_changes_reads_few_rows(large: World) -> None:
    _edit(large, "Warm")
    _work(large)
    _edit(large, "New")
    before = _counted(large)
    counts = _work(large)
    read = _counted(large) - before
    assert counts["inbound contact"]["updated"] >= CHANGED // 2 - 1
    assert counts["outbound contact"]["updated"] >= CHANGED // 2
    assert {name: count for name, count in read.items() if count > 30 * CHANGED} == {}


def test_an_idle_cycle_reads_next_to_nothing(large: World) -> None:
    _edit(large, "Warm")
    for _ in range(4):
        large.wait(minutes=30)
        _work(large)
    before = _counted(large)
    _work(large)
    assert (_counted(large) - before).total() <= CHANGED
