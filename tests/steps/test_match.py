"""The preview of matching and the doubles: what is said is what a sync then does, and nothing is written for it."""

from collections.abc import Callable

import psycopg
import pytest

from crm_sync.connectors.crm import Crm
from crm_sync.core.errors import BusyError, CrmError, ErrorClass, SyncError
from crm_sync.hub import doubles
from crm_sync.hub.store import Store
from crm_sync.steps.match import Previews, preview
from tests.steps.world import World

EVIL = "x'); drop table hub.contact; --%s{}\"\\"


def previewed(
    world: World, *names: str, read: bool = True, told: Callable[[str], None] | None = None
) -> Previews:
    streams = [
        s for e in world.system.entities for s in world.system.of_entity(e) if not names or s.name in names
    ]
    crm: Callable[[str], Crm] = world.crms.__getitem__
    with Store(world.url, dry_run=True) as store:
        return preview(store, crm, world.system, streams, read=read, told=told or (lambda _: None))


def state(world: World) -> list[object]:
    """Everything of the database that a sync could change, in figures."""
    tables = world.conn.execute(
        "select format('%I.%I', schemaname, relname) from pg_stat_user_tables where schemaname in"
        " ('hub', 'sync', 'review', 'acme', 'beta') order by 1"
    ).fetchall()
    return [(name, world.one(f"select count(*) from {name}")) for (name,) in tables]


def peopled(two: World) -> World:
    """Two accounts that know some of the same people, doubles and troubles, and a hub that knows one of them."""
    acme, beta = two.accounts["acme"], two.accounts["beta"]
    two.conn.execute("insert into hub.contact (last_name, email) values ('Known', 'known@x.example')")
    firm = acme.person_create("Account", {"Name": "Acme", "Website": "https://www.acme.example/x"})
    beta.person_create("Account", {"Name": "ACME Inc", "Website": "acme.example"})
    acme.person_create("Contact", {"LastName": "Known", "Email": "Known@x.example"})
    for n in range(5):
        acme.person_create("Contact", {"LastName": f"A{n}", "Email": f"p{n}@x.example", "AccountId": firm})
    for n in range(3, 8):
        beta.person_create("Contact", {"LastName": f"B{n}", "Email": f"p{n}@x.example"})
    acme.person_create("Contact", {"LastName": "Twice", "Email": "twice@x.example"})
    acme.person_create("Contact", {"LastName": EVIL, "Email": "TWICE@x.example"})
    beta.person_create("Contact", {"LastName": "Twice", "Email": "twice@x.example"})
    beta.person_create("Contact", {"LastName": "Odd", "Email": "odd@x.example", "Born": "yesterday"})
    beta.person_create("Contact", {"LastName": EVIL, "Email": None})
    return two


def test_the_preview_says_what_the_sync_then_does(two: World) -> None:
    """Records of one CRM that will be new in the hub are candidates for the other's."""
    peopled(two)
    before, calls = state(two), [two.writes("acme"), two.writes("beta")]
    said = {one.stream: one for one in previewed(two).streams}
    assert list(said) == ["acme/company", "beta/company", "acme/contact", "beta/contact"]
    acme, beta = said["acme/contact"], said["beta/contact"]
    assert (acme.records, acme.linked, acme.link, acme.create_hub) == (8, 0, {"email": 1}, 7)
    assert (beta.records, beta.link, beta.create_hub) == (8, {"email": 2}, 4)
    assert (beta.ambiguous, beta.cannot_enter, beta.left, beta.waits) == (1, 1, 0, 2)
    assert (acme.ambiguous, acme.create_crm, acme.waits) == (0, 4, 0)
    assert (said["beta/company"].link, said["beta/company"].create_crm) == ({"website": 1}, 0)
    assert [(c.rule, c.groups, c.records) for c in acme.doubles] == [(("email",), 1, 2)]
    assert state(two) == before
    assert [two.writes("acme"), two.writes("beta")] == calls

    for name in ("acme", "beta", "acme"):
        two.wait(minutes=1)
        two.sync(name)
    linked = dict(two.conn.execute("select linked_by, count(*) from beta.contact_base group by 1").fetchall())
    assert linked == {"match: email": 2, "create": 4, "push": beta.create_crm}
    assert two.one("select count(*) from acme.contact_base where linked_by = 'push'") == acme.create_crm
    assert dict(two.conn.execute("select code, count(*) from sync.parked group by 1").fetchall()) == {
        "AMBIGUOUS_MATCH": 1,
        "INVALID_VALUE": 1,
        "MATCH_WAITS": 2,
    }
    why = "select distinct reason from sync.change where kind = 'link' and connection = 'beta' and entity = 'contact'"
    assert ("matched by email",) in two.conn.execute(why).fetchall()
    again = {one.stream: one for one in previewed(two).streams}["beta/contact"]
    assert (again.linked, again.will_link, again.create_hub, again.create_crm) == (
        6 + beta.create_crm,
        0,
        0,
        0,
    )
    assert (again.ambiguous, again.cannot_enter) == (1, 1)  # they still need a person


def test_examples_show_the_record_its_match_and_why(two: World) -> None:
    peopled(two)
    shown = previewed(two).streams[-1].examples
    ambiguous = next(e for e in shown if e.outcome == "ambiguous")
    assert (ambiguous.why, ambiguous.values) == ("by email", {"email": "twice@x.example"})
    assert len(ambiguous.hub_ids) == 2
    assert {e.outcome for e in shown} == {
        "link",
        "create in the hub",
        "create in the CRM",
        "ambiguous",
        "cannot enter",
        "waits for its match",
    }
    assert len([e for e in shown if e.outcome == "create in the hub"]) == 3
    invalid = next(e for e in shown if e.outcome == "cannot enter")
    assert invalid.why.startswith("born: ")
    assert "yesterday" not in invalid.why


def test_nothing_there_is_nothing_to_do(two: World) -> None:
    found = previewed(two)
    assert found.clear
    assert [(s.records, s.will_link, s.create_hub, s.create_crm, s.examples) for s in found.streams] == [
        (0, 0, 0, 0, [])
    ] * 4
    assert list(doubles.in_crm(two.conn, two.system.stream("acme", "contact"), 10)) == []
    assert list(doubles.in_hub(two.conn, two.system, "contact", 10)) == []


def test_what_was_read_before_can_be_previewed_without_a_call(two: World) -> None:
    peopled(two)
    assert previewed(two, read=False).streams[-1].records == 0
    assert all(not crm.calls for crm in two.crms.values())


def test_a_failure_in_the_middle_leaves_nothing(two: World) -> None:
    peopled(two)
    before = state(two)

    def crm(name: str) -> Crm:
        if name == "beta":
            raise CrmError(ErrorClass.TRANSIENT, "beta is down")
        return two.crms[name]

    streams = two.system.of_entity("contact")
    with Store(two.url, dry_run=True) as store, pytest.raises(CrmError):
        preview(store, crm, two.system, streams)
    assert state(two) == before
    assert two.sync("acme", "contact")["hub contact acme"].counts["created"] == 7  # and no lease is left


def test_only_in_a_transaction_that_is_rolled_back(two: World) -> None:
    with Store(two.url) as store, pytest.raises(SyncError, match="rolled back"):
        preview(store, two.crms.__getitem__, two.system, two.system.streams)


def test_meanwhile_syncs_are_told_and_applications_do_not_wait(two: World) -> None:
    peopled(two)
    seen = []

    def told(what: str) -> None:
        if not what.startswith("counting") or seen:
            return
        seen.append(what)
        with pytest.raises(BusyError):
            two.sync("acme", "contact")
        with psycopg.connect(two.url, autocommit=True) as application:
            application.execute("set lock_timeout = '1s'")
            application.execute("update hub.contact set last_name = 'Edited', phone = '+14155552671'")
            application.execute("insert into hub.contact (last_name, email) values ('New', 'p1@x.example')")

    previewed(two, told=told)
    assert seen
    assert two.one("select count(*) from hub.contact") == 2


def test_a_preview_does_not_begin_while_a_sync_works(two: World) -> None:
    with Store(two.url) as store, store.exclusive("hub contact"), pytest.raises(BusyError):
        previewed(two)


def test_a_stream_that_only_sends_leaves_what_matches_nothing_alone(fresh_database_url: str) -> None:
    text = "kind: memory\nentities:\n  contact:\n    object: Contact\n    direction: outbound\n    match: email\n    fields: {last_name: LastName, email: {field: Email, type: email}}\n"
    world = World(fresh_database_url, text=text)
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('A', 'a@x.example'), ('B', 'b@x.example')"
    )
    for name in ("a", "c"):
        world.accounts["acme"].person_create("Contact", {"LastName": name, "Email": f"{name}@x.example"})
    (one,) = previewed(world).streams
    assert (one.link, one.create_hub, one.left, one.create_crm) == ({"email": 1}, 0, 1, 1)
    world.close()


def test_an_external_id_counts_before_every_rule(world: World) -> None:
    world.conn.execute(
        "insert into hub.contact (last_name, email) values ('A', 'a@x.example'), ('B', 'b@x.example')"
    )
    hub_id = world.one("select id from hub.contact where last_name = 'A'")
    world.accounts["acme"].person_create(
        "Contact", {"LastName": "A", "Email": "b@x.example", "Hub_Id": str(hub_id)}
    )
    world.accounts["acme"].person_create("Contact", {"LastName": "B", "Email": "b@x.example"})
    one = previewed(world).streams[-1]
    assert one.link == {"external id": 1, "email": 1}
    assert [e.hub_ids for e in one.examples if e.why == "by external id"] == [(str(hub_id),)]


def test_doubles_are_shown_with_what_they_are_linked_with(two: World) -> None:
    peopled(two)
    two.sync("acme")
    two.accounts["acme"].person_create("Contact", {"LastName": "Third", "Email": "twice@x.example"})
    two.wait(minutes=1)
    two.sync("acme")
    (group,) = doubles.in_crm(two.conn, two.system.stream("acme", "contact"), 10)
    assert (group.system, group.rule, group.records) == ("acme", ("email",), 3)
    assert {str(m.values["email"]).lower() for m in group.members} == {"twice@x.example"}
    assert len({m.links["hub"] for m in group.members}) == 3  # each is a hub record of its own
    (in_hub,) = doubles.in_hub(two.conn, two.system, "contact", 10)
    assert (in_hub.records, {m.record for m in in_hub.members}) == (
        3,
        {m.links["hub"] for m in group.members},
    )
    assert {m.links["acme"] for m in in_hub.members} == {m.record for m in group.members}
    (count,) = doubles.count_in_hub(two.conn, two.system, "contact")
    assert (count.groups, count.records) == (1, 3)
    two.conn.execute("update acme.contact set deleted = true where crm_id = %s", [group.members[0].record])
    (left,) = doubles.in_crm(two.conn, two.system.stream("acme", "contact"), 10)
    assert left.records == 2
