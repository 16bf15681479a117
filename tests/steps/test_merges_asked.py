"""While a person is asked about a merge, other things happen to the two hub records: what was merged is not lost by them."""

from contextlib import suppress

import pytest

from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.hub import merges
from crm_sync.hub.store import Store
from tests.steps.test_merges import LI, _decide, _linked, _quiet, _two
from tests.steps.test_merges_join import _settle, _world
from tests.steps.world import World


@pytest.mark.parametrize("read", [True, False], ids=["asked already", "not read yet"])
@pytest.mark.parametrize("use", ["use_crm", "use_hub"])
def test_what_is_deleted_in_the_hub_takes_the_merged_record_along_only_if_a_person_says_so(
    fresh_database_url: str, use: str, read: bool
) -> None:
    """The survivor's hub record was deleted, and with it the survivor, which was the other hub record's too."""
    world = _world(fresh_database_url, deletes="{inbound: propagate, outbound: propagate}")
    acme = world.accounts["acme"]
    kept, lost = (
        acme.person_create("Contact", {"LastName": n, "Email": f"{n}@x.example"}) for n in ("Lee", "Li")
    )
    _settle(world, 2)
    loser, stays = _linked(world, lost), _linked(world, kept)
    acme.person_merge("Contact", kept, lost)
    if read:
        _settle(world)
    world.conn.execute("delete from hub.contact where id = %s", [stays])
    _settle(world, 2)
    assert [row.id for row in acme.rows("Contact")] == [kept]
    found = world.conn.execute(
        "select field, hub_value, crm_value from review.conflict where status = 'open'"
    )
    assert found.fetchall() == [("*", "deleted", "present")]
    world.conn.execute(
        "update review.conflict set status = 'decided', decision = %s, decided_by = 'ann'", [use]
    )
    world.conn.execute(
        "insert into sync.mark (stream, by_hub, hub_id) select id, true, %s from sync.stream where entity = 'contact'",
        [stays],
    )
    _settle(world, 2)
    _decide(world, "merge" if use == "use_crm" else "apart")
    _settle(world, 2)
    (row,) = world.hub("contact")
    assert str(row["id"]) == (stays if use == "use_crm" else loser)
    (there,) = acme.rows("Contact")
    assert _linked(world, there.id) == str(row["id"])
    assert world.one("select count(*) from sync.parked") == 0
    _quiet(world)
    world.close()


def test_a_question_in_another_crm_goes_over_to_the_record_that_stays(two: World) -> None:
    """It ended with the record that went: the one that stays was created there anew, beside the record it is merged into."""
    acme, beta = two.accounts["acme"], two.accounts["beta"]
    kept, lost = _two(two)
    acme.person_create("Contact", {"LastName": "Lo", "Email": "lo@x.example"})
    two.sync("acme")
    lee = _linked(two, kept)
    refused = RecordError(ErrorClass.VALIDATION, "NO", "not this one", ())
    two.crms["beta"].faults.reject[lee] = refused
    two.sync("beta")
    theirs = {str(row.values["LastName"]): row.id for row in beta.rows("Contact")}
    assert sorted(theirs) == ["Li", "Lo"]
    beta.person_merge("Contact", theirs["Lo"], theirs["Li"])
    acme.person_merge("Contact", kept, lost)
    _settle(two)
    with Store(two.url) as store, store.transaction() as conn:
        for merge in merges.find(conn):
            merges.decide(conn, merge, "merge" if merge.connection == "acme" else "apart", "ann")
    two.sync("acme")
    del two.crms["beta"].faults.reject[lee]
    _settle(two, 2)
    assert [row.id for row in beta.rows("Contact")] == [theirs["Lo"]]
    asked = two.conn.execute(
        "select hub_id::text, kept_id::text, survivor from review.merge where status = 'open'"
    )
    assert asked.fetchall() == [(lee, _linked(two, theirs["Lo"], "beta"), theirs["Lo"])]
    assert two.one("select code from sync.parked where connection = 'beta' and side = 'hub'") == "MERGE_WAITS"
    _decide(two, "apart")
    _settle(two, 2)
    assert sorted(str(row.values["LastName"]) for row in beta.rows("Contact")) == ["Lee", "Lo"]
    assert two.one("select count(*) from sync.parked") == 0
    _quiet(two, "beta")


@pytest.mark.parametrize("effect", ["before", "after"])
@pytest.mark.parametrize("decision", ["merge", "apart"])
def test_a_write_to_the_loser_without_an_answer(world: World, effect: str, decision: merges.Decision) -> None:
    acme = world.accounts["acme"]
    kept, lost = _two(world)
    _settle(world)
    world.conn.execute("update hub.contact set first_name = 'Hub' where id = %s", [_linked(world, lost)])
    world.crms["acme"].faults.timeout = effect  # type: ignore[assignment]
    with suppress(CrmError):
        world.sync()
    acme.person_merge("Contact", kept, lost)
    _settle(world)
    _decide(world, decision)
    _settle(world, 3)
    assert world.one("select count(*) from sync.intent") == 0
    assert world.one("select status from review.merge") == "applied"
    assert len(world.hub("contact")) == len(acme.rows("Contact")) == (1 if decision == "merge" else 2)
    _quiet(world)


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("decisions", [("merge", "merge"), ("merge", "apart"), ("apart", "merge")])
def test_a_chain_of_three_hub_records(
    world: World, decisions: tuple[merges.Decision, merges.Decision], pages: int
) -> None:
    acme = world.accounts["acme"]
    first, second, third = (
        acme.person_create("Contact", {**LI, "LastName": n, "Email": f"{n}@x.example"}) for n in "ABC"
    )
    _settle(world, 2)
    acme.person_merge("Contact", second, first)
    if pages == 2:
        _settle(world)
    acme.person_merge("Contact", third, second)
    _settle(world)
    with Store(world.url) as store, store.transaction() as conn:
        for merge, decision in zip(merges.find(conn), decisions, strict=True):
            merges.decide(conn, merge, decision, "ann")
    _settle(world, 3)
    left = 1 + decisions.count("apart")
    assert len(world.hub("contact")) == len(acme.rows("Contact")) == left
    assert world.one("select count(*) from acme.contact_base") == left
    assert world.one("select count(*) from review.merge where status <> 'applied'") == 0
    assert world.one("select count(*) from sync.parked") == 0
    _quiet(world)
