"""Plans: what would be written is listed, and exactly that is written."""

import json

from crm_sync.hub import plan_rows
from tests.steps.plan_world import applied, nothing_planned, planned, read, refused, rows, settled
from tests.steps.world import World


def busy(world: World) -> None:
    """Something of every kind is to be done: new, changed, cleared, matched and referring records on both sides."""
    account = world.accounts["acme"]
    firm = account.person_create("Account", {"Name": "Lee Ltd", "Website": "https://lee.example"})
    for n in range(4):
        values = {
            "LastName": f"Lee {n}",
            "Email": f"lee{n}@x.example",
            "AccountId": firm,
            "Phone": "+14155550100",
        }
        account.person_create("Contact", values)
    settled(world)
    lees = sorted(row.id for row in account.rows("Contact"))
    account.person_edit("Contact", lees[0], {"LastName": "Li", "FirstName": "Ann"})
    account.person_edit("Contact", lees[1], {"Phone": None})
    world.conn.execute(
        "update hub.contact set first_name = 'Bo', stage = 'won' where email = 'lee2@x.example'"
    )
    world.conn.execute("update hub.contact set phone = null where email = 'lee3@x.example'")
    world.conn.execute("update hub.contact set stage = 'lead' where email = 'lee0@x.example'")
    other = account.person_create("Account", {"Name": "Roe Ltd", "Website": "https://roe.example"})
    account.person_create("Contact", {"LastName": "Roe", "Email": "roe@x.example", "AccountId": other})
    account.person_create("Contact", {"LastName": "Doe", "Email": "doe@x.example", "FirstName": "Jo"})
    world.conn.execute(
        "insert into hub.contact (last_name, email, stage) values ('Doe', 'doe@x.example', 'tour')"
    )
    world.conn.execute("insert into hub.company (name) values ('New Ltd')")
    world.conn.execute(
        "insert into hub.contact (last_name, email, company)"
        " select 'New', 'new@x.example', id from hub.company where name = 'New Ltd'"
    )
    world.wait(minutes=30)
    read(world)


def journaled(world: World, run: str) -> set[tuple[object, ...]]:
    """What the journal says a run wrote, a row a field, as a plan says it."""
    found: set[tuple[object, ...]] = set()
    for stream, side, kind, hub_id, crm_id, name, new in world.conn.execute(
        "select connection || '/' || entity, side, kind, hub_id::text, crm_id, field, new_value from sync.change where run_id = %s",
        [run],
    ):
        record = crm_id if side == "hub" and kind in ("create", "link") else hub_id
        if kind == "link":
            found.add((stream, side, kind, record, "", None))
            continue
        for key, value in {name: new}.items() if name else json.loads(new).items():
            if (
                key == "company" and side == "hub" and value is not None
            ):  # a plan gives references as the CRM's ids
                value = world.one("select crm_id from acme.company_base where hub_id = %s::uuid", value)
            if value is not None or kind == "update":
                found.add((stream, side, kind, record, key, value))
    return found


def test_what_is_applied_is_what_was_planned(world: World) -> None:
    busy(world)
    before = world.one("select count(*) from sync.change")
    plan = planned(world)
    listed = rows(world, plan)
    assert world.one("select count(*) from sync.change") == before, "a plan writes nothing"
    assert {(r.target, r.action) for r in listed} == {
        ("hub", "create"), ("hub", "update"), ("hub", "link"), ("crm", "create"), ("crm", "update"),
    }  # fmt: skip
    (taken,) = [r for r in listed if r.new == "Li"]
    assert (taken.old, taken.hub_then, taken.crm_then, taken.verdict) == ("Lee 0", "Lee 0", "Lee 0", "take")
    assert (taken.policy, taken.reason) == ("most_recent_wins", "changed in the CRM")
    (sent,) = [r for r in listed if r.field == "first_name" and r.target == "crm" and r.new == "Bo"]
    assert (sent.old, sent.hub_then, sent.crm_then, sent.verdict) == (None, None, None, "push")
    calls, writes = plan.calls["acme"], world.writes()
    done = applied(world, plan)
    assert (done.written, done.refused, done.waiting) == (len(listed), 0, 0), refused(world, plan)
    assert (done.failures, done.plan.status) == ({}, "applied")
    assert journaled(world, "apply") == {
        (r.stream, r.target, r.action, r.record, r.field, r.new) for r in listed
    }
    assert world.writes() - writes == calls["write"]
    reasons = world.conn.execute("select distinct reason from sync.change where run_id = 'apply'").fetchall()
    assert all(str(reason).endswith(f" (plan {plan.id}, approved by ann)") for (reason,) in reasons)

    last = world.one("select max(id) from sync.change")
    again = applied(world, done.plan)
    assert (again.written, world.one("select max(id) from sync.change")) == (len(listed), last)
    settled(world)
    assert nothing_planned(world)


def test_the_hash_is_of_the_content_alone(fresh_database_url: str) -> None:
    world = World(fresh_database_url)
    numbers = list(range(6))
    ids = {n: f"00000000-0000-7000-8000-{n:012d}" for n in numbers}
    hashes = []
    read(world)
    for order in (numbers, numbers[::-1], numbers[3:] + numbers[:3]):
        world.conn.execute("truncate hub.contact cascade; delete from sync.mark; delete from sync.plan")
        for n in order:
            world.conn.execute(
                "insert into hub.contact (id, last_name, email) values (%s, %s, %s)",
                [ids[n], f"Lee {n}", f"lee{n}@x.example"],
            )
        plan = planned(world)
        hashes.append(plan.hash)
        assert planned(world).id == plan.id, "the same content is the same plan"
        assert [r.record for r in plan_rows.read(world.conn, plan.id)] == sorted(
            r.record for r in plan_rows.read(world.conn, plan.id)
        )
    assert len(set(hashes)) == 1
    world.conn.execute("update hub.contact set last_name = 'Li' where id = %s", [ids[0]])
    assert planned(world).hash != hashes[0]
    world.close()
