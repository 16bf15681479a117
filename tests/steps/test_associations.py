"""References that change without moving the record's modification time are looked at in rounds, at a steady pace."""

from dataclasses import replace
from datetime import timedelta

from crm_sync.hub import rounds
from crm_sync.steps import references
from tests.steps.world import World


def silently(world: World, contact: str, company: str | None) -> None:
    """Another company, the same modification time."""
    versions = world.accounts["acme"]._versions["Contact"][contact]
    row = versions[-1]
    versions[-1] = replace(row, values={**row.values, "AccountId": company})


def test_what_changed_without_a_trace_is_read_within_its_time(world: World) -> None:
    acme, crm = world.accounts["acme"], world.crms["acme"]
    crm.references_every = timedelta(hours=6)
    first, second = (acme.person_create("Account", {"Name": name}) for name in ("First", "Second"))
    moved, gone, still = (
        acme.person_create("Contact", {"LastName": name, "AccountId": first})
        for name in ("Moved", "Gone", "Still")
    )
    for _ in range(2):
        world.sync()
        world.wait(hours=1)
    world.sync(full=True)
    before = dict(crm.calls)
    silently(world, moved, second)
    silently(world, gone, None)
    acme.person_purge("Contact", gone)  # its associations look as if they were removed: that blanks nothing
    for _ in range(5):
        world.wait(hours=1)
        world.sync()
    assert crm.calls.get("references", 0) == before.get("references", 0), "not enough for a call yet"
    world.wait(hours=1)
    world.sync()
    assert crm.calls["references"] == before.get("references", 0) + 1
    query = (
        "select h.last_name, c.name from hub.contact h left join hub.company c on c.id = h.company order by 1"
    )
    assert world.conn.execute(query).fetchall() == [
        ("Gone", "First"),
        ("Moved", "Second"),
        ("Still", "First"),
    ]
    assert (
        world.one("select modified_at from acme.contact where crm_id = %s", moved)
        == acme.row("Contact", moved).modified
    )
    silently(world, still, second)
    for _ in range(6):
        world.wait(hours=1)
        world.sync()
    assert crm.calls["references"] == before.get("references", 0) + 2
    assert world.conn.execute(query).fetchall()[-1] == ("Still", "Second")


def test_a_round_is_spread_over_its_time(world: World) -> None:
    """Of 12,500 linked records a quarter of an hour is worth 521: a call of a thousand every half an hour."""
    stream, every = world.system.stream("acme", "contact"), timedelta(hours=6)
    world.conn.execute(
        "insert into acme.contact_base (hub_id, crm_id, linked_by)"
        " select md5(i::text)::uuid, 'Contact-' || lpad(i::text, 8, '0'), 'match' from generate_series(1, 12500) i"
    )
    world.conn.execute("insert into acme.contact (crm_id) select crm_id from acme.contact_base")
    now = begun = world.time
    rounds.begin(world.conn, stream, now)
    looked, most = set[str](), 0
    while now < begun + every:
        now += timedelta(minutes=15)
        due = rounds.due(world.conn, stream, now, every, references.CALL)
        most = max(most, due)
        for _ in range(due):
            ids = rounds.following(world.conn, stream, references.CALL)
            assert not looked & set(ids)
            looked |= set(ids)
            rounds.done(world.conn, stream, ids)
    assert len(looked) == 12_500
    assert most <= 2
    assert rounds.is_over(world.conn, stream, now, every)
    late = now + timedelta(hours=1)
    rounds.begin(world.conn, stream, late, after=every)
    assert world.one("select begun_at from sync.round") == now, "the next one keeps the pace"
