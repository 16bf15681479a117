"""Records that no exact rule finds: very alike ones are linked, of less alike ones a person decides, others are new."""

from collections.abc import Iterator
from uuid import UUID

import pytest

from crm_sync.hub import match_decisions, similar
from crm_sync.hub.store import Store
from crm_sync.steps.match import preview
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.steps.world import CONNECTION, World

SIMILAR = "    similar:\n      compare: {phone: 40, first_name + last_name: 40, company: 20}\n"


@pytest.fixture
def alike(fresh_database_url: str) -> Iterator[World]:
    world = World(
        fresh_database_url,
        text=CONNECTION.replace("    match: [[email]]\n", f"    match: [[email]]\n{SIMILAR}"),
    )
    yield world
    world.close()


def person(world: World, first: str | None, last: str, phone: str | None) -> UUID:
    """A hub record."""
    row = world.conn.execute(
        "insert into hub.contact (first_name, last_name, phone) values (%s, %s, %s) returning id",
        [first, last, phone],
    ).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def entered(world: World, first: str, last: str, phone: str) -> str:
    """A record that somebody entered in the CRM."""
    return world.accounts["acme"].person_create(
        "Contact", {"FirstName": first, "LastName": last, "Phone": phone}
    )


def links(world: World) -> dict[str, tuple[UUID, str]]:
    rows = world.conn.execute("select crm_id, hub_id, linked_by from acme.contact_base").fetchall()
    return {crm_id: (hub_id, by) for crm_id, hub_id, by in rows}


def decide(world: World, crm_id: str, hub_id: UUID | None) -> None:
    stream = world.system.stream("acme", "contact")
    (conflict,) = [c for c in match_decisions.find(world.conn) if c.crm_id == crm_id]
    match_decisions.decide(world.conn, stream, conflict, hub_id, "ann")
    world.wait(minutes=1)
    world.sync()


def parked(world: World) -> dict[str, str]:
    return dict(world.conn.execute("select record_id, code from sync.parked").fetchall())


def test_very_alike_is_linked_and_the_journal_says_the_score(alike: World) -> None:
    ours = person(alike, "Katherine", "Smith", "+14155552671")
    other = person(alike, "Zoe", "Quill", "+14155552671")  # the same switchboard
    crm_id = entered(alike, "Catherine", "Smith", "(415) 555-2671")
    alike.sync()
    assert links(alike)[crm_id] == (ours, "match: score 96.7%")
    assert (
        alike.one("select reason from sync.change where kind = 'link' and crm_id = %s", crm_id)
        == "matched by score 96.7%"
    )
    assert links(alike)[next(c for c in links(alike) if c != crm_id)] == (other, "push")
    assert alike.one("select count(*) from review.match") == 0


def test_what_is_archived_is_compared_with_nobody(alike: World) -> None:
    ours = person(alike, "Katherine", "Smith", "+14155552671")
    alike.conn.execute("update hub.contact set archived_at = now()")
    crm_id = entered(alike, "Catherine", "Smith", "(415) 555-2671")
    alike.sync()
    assert links(alike)[crm_id][0] != ours


def test_less_alike_waits_for_a_person_on_both_sides(alike: World) -> None:
    ours = person(alike, "Anna", "Rossi", "+14155552671")
    crm_id = entered(alike, "Anna Maria", "Rossi", "+14155552671")
    alike.sync()
    assert links(alike) == {}
    assert len(alike.accounts["acme"].rows("Contact")) == 1  # ours was not made there beside it
    assert parked(alike) == {crm_id: "MATCH_REVIEW", str(ours): "MATCH_WAITS"}
    (conflict,) = match_decisions.find(alike.conn)
    (candidate,) = conflict.candidates
    assert (candidate["hub_id"], candidate["score"]) == (str(ours), 0.885)
    assert candidate["alike"]["phone"] == 1
    assert alike.one("select count(*) from sync.dirty") == 0
    alike.wait(minutes=1)
    alike.sync()
    assert [c.id for c in match_decisions.find(alike.conn)] == [conflict.id]
    decide(alike, crm_id, ours)
    assert links(alike) == {crm_id: (ours, "match: decision of ann")}
    assert alike.one("select status from review.match") == "applied"
    assert parked(alike) == {}
    assert alike.one("select count(*) from sync.dirty") == 0


def test_a_person_says_that_it_is_a_new_one(alike: World) -> None:
    ours = person(alike, "Anna", "Rossi", "+14155552671")
    crm_id = entered(alike, "Anna Maria", "Rossi", "+14155552671")
    alike.sync()
    decide(alike, crm_id, None)
    assert links(alike)[crm_id][1] == "create"
    assert {hub_id for hub_id, _ in links(alike).values()} >= {ours}  # which the CRM has got now as well
    assert len(alike.accounts["acme"].rows("Contact")) == 2
    assert parked(alike) == {}
    assert alike.one("select count(*) from review.match where status <> 'applied'") == 0


def test_two_that_are_as_alike_are_shown_the_best_first(alike: World) -> None:
    first = person(alike, "Ann", "Lee", "+14155552671")
    second = person(alike, "Anne", "Lee", "+14155552671")
    crm_id = entered(alike, "Ann", "Lee", "+14155552671")
    alike.sync()
    (conflict,) = match_decisions.find(alike.conn)
    assert [one["hub_id"] for one in conflict.candidates] == [str(first), str(second)]
    stream = alike.system.stream("acme", "contact")
    assert "no record" in str(match_decisions.free(alike.conn, stream, UUID(int=1), conflict.id))
    assert match_decisions.free(alike.conn, stream, second, conflict.id) is None
    decide(alike, crm_id, second)
    assert links(alike)[crm_id][0] == second
    assert "linked with acme/contact" in str(match_decisions.free(alike.conn, stream, second, conflict.id))


def test_a_change_that_settles_it_closes_the_conflict(alike: World) -> None:
    ours = person(alike, "Anna", "Rossi", "+14155552671")
    crm_id = entered(alike, "Anna Maria", "Rossi", "+14155552671")
    alike.sync()
    alike.wait(minutes=1)
    alike.accounts["acme"].person_edit("Contact", crm_id, {"FirstName": "Anna"})
    alike.sync()
    assert links(alike) == {crm_id: (ours, "match: score 100.0%")}
    assert alike.one("select status from review.match") == "superseded"
    assert parked(alike) == {}


def test_a_record_deleted_meanwhile_lets_its_candidates_go(alike: World) -> None:
    person(alike, "Anna", "Rossi", "+14155552671")
    crm_id = entered(alike, "Anna Maria", "Rossi", "+14155552671")
    alike.sync()
    alike.wait(minutes=1)
    alike.accounts["acme"].person_delete("Contact", crm_id)
    alike.sync("acme", full=True)
    alike.wait(minutes=1)
    alike.sync()
    assert alike.one("select status from review.match") == "superseded"
    assert [by for _, by in links(alike).values()] == ["push"]


def test_hostile_and_blank_values_are_compared_too(alike: World) -> None:
    person(alike, None, "%s'); drop table hub.contact; --", "+14155552671")
    person(alike, "", "\u202e\U0001f600", "+14155552672")
    entered(alike, "", "%s'); drop table hub.contact; --", "+14155552671")
    entered(alike, "", "\u202e\U0001f600", "+14155552672")
    report = alike.sync()["hub contact acme"]
    assert (report.counts["linked"], report.counts["created"]) == (1, 1)


def test_the_preview_counts_them(alike: World) -> None:
    person(alike, "Ann", "Lee", "+14155552671")
    person(alike, "Anna", "Rossi", "+14155552672")
    for name, phone in ((("Ann", "Lee"), 1), (("Anna Maria", "Rossi"), 2), (("Bob", "Ray"), 3)):
        entered(alike, *name, f"+1415555267{phone}")
    with Store(alike.url, dry_run=True) as store:
        found = preview(store, alike.crms.__getitem__, alike.system, alike.system.of_entity("contact"))
    (one,) = found.streams
    assert (one.link, one.review, one.create_hub, one.waits, one.cannot_enter) == ({"score": 1}, 1, 1, 1, 0)
    assert not found.clear
    (example,) = [e for e in one.examples if e.outcome == "review"]
    assert example.why == "the best score is 88.5%"
    assert len(example.hub_ids) == 1
    assert alike.one("select count(*) from review.match") == 0


def test_candidates_are_looked_up_by_an_index(alike: World) -> None:
    """Ten thousand hub records, and no more of them are read than have the number."""
    alike.conn.execute(
        "insert into hub.contact (first_name, last_name, phone) select 'F' || i, 'L' || i, '+1415' || (1000000 + i)"
        " from generate_series(1, 10000) i"
    )
    alike.conn.execute("truncate sync.mark; analyze hub.contact")
    for i in range(1, 51):
        entered(alike, f"F{i}", f"L{i}", f"+1415{1000000 + i}")
    alike.conn.execute("select pg_stat_reset()")
    counts = alike.sync("acme", "contact")["hub contact acme"].counts
    assert (counts["linked"], counts["created"]) == (50, 0)
    read = "select seq_tup_read, idx_tup_fetch from pg_stat_user_tables where schemaname = 'hub' and relname = 'contact'"
    ((scanned, fetched),) = alike.conn.execute(read).fetchall()
    assert scanned == 0
    assert fetched < 1000


def test_a_double_of_somebody_linked_does_not_get_the_next_best(alike: World) -> None:
    first = person(alike, "Catherine", "Smith", "+14155552671")
    alike.conn.execute("update hub.contact set email = 'c@x.example'")
    other = person(alike, "Katherine", "Smith", "+14155552671")
    account = alike.accounts["acme"]
    mine = account.person_create(
        "Contact", {"LastName": "Smith", "Email": "c@x.example", "Phone": "+14155552671"}
    )
    alike.sync()
    assert links(alike)[mine][0] == first
    alike.conn.execute("delete from acme.contact_base where hub_id = %s", [other])  # it was never sent
    double = entered(alike, "Catherine", "Smith", "+14155552671")
    alike.wait(minutes=1)
    alike.sync()
    assert double not in links(alike)
    assert parked(alike)[double] == "MATCH_REVIEW"


def test_a_value_that_cannot_enter_meanwhile_leaves_the_conflict_open(alike: World) -> None:
    ours = person(alike, "Anna", "Rossi", "+14155552671")
    crm_id = entered(alike, "Anna Maria", "Rossi", "+14155552671")
    alike.sync()
    alike.accounts["acme"].person_edit("Contact", crm_id, {"Email": "no address"})
    alike.wait(minutes=1)
    alike.sync()
    assert alike.one("select status from review.match") == "open"
    assert len(alike.accounts["acme"].rows("Contact")) == 1  # ours still waits
    alike.accounts["acme"].person_edit("Contact", crm_id, {"Email": None})
    decide(alike, crm_id, ours)
    assert links(alike) == {crm_id: (ours, "match: decision of ann")}


def withdrawn(world: World) -> list[str]:
    rows = world.conn.execute("select reason from sync.change where kind = 'review' order by id").fetchall()
    return [row[0] for row in rows]


def reviewed(world: World) -> tuple[UUID, str]:
    """A hub record and a CRM record that may be the same."""
    ours = person(world, "Anna", "Rossi", "+14155552671")
    crm_id = entered(world, "Anna Maria", "Rossi", "+14155552671")
    world.sync()
    return ours, crm_id


def note(world: World, crm_id: str, hub_id: UUID | None) -> None:
    """A decision that no sync has followed yet."""
    (conflict,) = [c for c in match_decisions.find(world.conn) if c.crm_id == crm_id]
    match_decisions.decide(world.conn, world.system.stream("acme", "contact"), conflict, hub_id, "ann")


@pytest.mark.parametrize("link", [True, False])
def test_a_decision_counts_though_likeness_is_not_compared_any_more(alike: World, link: bool) -> None:
    ours, crm_id = reviewed(alike)
    plain = World(alike.url, text=CONNECTION)
    plain.time, plain.crms = alike.time, alike.crms
    plain.sync()
    assert links(plain) == {}  # ours waits still
    decide(plain, crm_id, ours if link else None)
    assert links(plain)[crm_id][1] == ("match: decision of ann" if link else "create")
    assert plain.one("select status from review.match") == "applied"
    assert parked(plain) == {}
    plain.close()


def test_the_chosen_one_is_not_created_in_the_crm_meanwhile(alike: World) -> None:
    """It was no candidate, and a run of outbound comes before the decision is followed."""
    _, crm_id = reviewed(alike)
    other = person(alike, "Zoe", "Quill", None)
    note(alike, crm_id, other)
    stream = alike.system.stream("acme", "contact")
    with Store(alike.url) as store:
        outbound(store, alike.crms["acme"], stream, Options())
    assert other not in {hub_id for hub_id, _ in links(alike).values()}
    assert parked(alike)[str(other)] == "MATCH_WAITS"
    alike.wait(minutes=1)
    alike.sync()
    assert links(alike)[crm_id] == (other, "match: decision of ann")
    assert parked(alike) == {}


@pytest.mark.parametrize("gone", [True, False])
def test_a_decision_that_cannot_be_followed_goes_back_with_its_reason(alike: World, gone: bool) -> None:
    _, crm_id = reviewed(alike)
    other = person(alike, "Zoe", "Quill", None)
    note(alike, crm_id, other)
    if gone:
        alike.conn.execute("delete from hub.contact where id = %s", [other])
        why = f"hub.contact has no record {other} any more"
    else:
        partner = alike.accounts["acme"].person_create("Contact", {"LastName": "Quill", "Hub_Id": str(other)})
        why = f"the hub record {other} is linked with acme/contact {partner} by now"
    alike.wait(minutes=1)
    alike.sync()
    assert crm_id not in links(alike)
    (conflict,) = match_decisions.find(alike.conn)
    assert (conflict.status, conflict.decision, conflict.note) == ("open", None, why)
    assert len(conflict.candidates) == 1  # who it may be still
    assert why in str(alike.one("select reason from sync.parked where record_id = %s", crm_id))
    assert withdrawn(alike) == [f"decision of ann (it is this hub record) withdrawn: {why}"]
    decide(alike, crm_id, None)
    assert links(alike)[crm_id][1] == "create"


def test_a_decision_is_withdrawn_by_a_person(alike: World) -> None:
    ours, crm_id = reviewed(alike)
    note(alike, crm_id, ours)
    (conflict,) = match_decisions.find(alike.conn, ids=[1])
    match_decisions.reopen(alike.conn, alike.system.stream("acme", "contact"), conflict, "bob")
    alike.wait(minutes=1)
    alike.accounts["acme"].person_edit("Contact", crm_id, {"Born": "1990-01-01"})
    alike.sync()
    assert links(alike) == {}
    note(alike, crm_id, ours)
    (conflict,) = match_decisions.find(alike.conn, ids=[1])
    match_decisions.decide(alike.conn, alike.system.stream("acme", "contact"), conflict, None, "bob")
    assert withdrawn(alike) == [
        "decision of ann (it is this hub record) withdrawn: by bob",
        "decision of ann (it is this hub record) withdrawn: bob decided anew",
    ]


def test_of_a_key_that_too_many_have_nobody_is_linked_by_score(alike: World) -> None:
    """The number of a switchboard: who else is behind it was not compared."""
    for i in range(60):
        person(alike, f"F{i}", f"L{i}", "+14155552671")
    person(alike, "Ann", "Lee", "+14155552672")
    alone = entered(alike, "Ann", "Lee", "+14155552672")
    crowd = {entered(alike, f"F{i}", f"L{i}", "+14155552671") for i in range(12)}
    alike.sync("acme", "contact")
    assert links(alike)[alone][1] == "match: score 100.0%"
    assert {by for crm_id, (_, by) in links(alike).items() if crm_id in crowd} <= {"create"}
    reasons = alike.conn.execute("select reason from sync.parked where code = 'MATCH_REVIEW'").fetchall()
    assert len(reasons) >= 12 - 9  # at most nine of the sixty were not compared
    assert all(
        "more than 50 hub records have a key of it, and not all of them were compared" in r
        for (r,) in reasons
    )
    assert {c.note for c in match_decisions.find(alike.conn)} == {similar._CROWDED}
