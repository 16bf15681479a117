"""Merges in a CRM: links move, two hub records of one are shown and settled by a person, nothing is lost or made twice."""

import pytest

from crm_sync.hub import dirty, merges
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from crm_sync.steps.undo import Undo
from tests.steps.world import World

LEE = {"LastName": "Lee", "Email": "lee@x.example"}
LI = {"LastName": "Li", "Email": "li@x.example", "FirstName": "Bo"}


def _decide(world: World, decision: merges.Decision) -> None:
    with Store(world.url) as store, store.transaction() as conn:
        for merge in merges.find(conn):
            merges.decide(conn, merge, decision, "ann")


def _two(world: World) -> tuple[str, str]:
    acme = world.accounts["acme"]
    kept, lost = acme.person_create("Contact", LEE), acme.person_create("Contact", LI)
    world.sync("acme")
    return kept, lost


def _quiet(world: World, name: str = "acme") -> None:
    """One more sync writes nothing, and nothing waits."""
    before = world.writes(name)
    world.sync(name)
    world.sync(name)
    assert world.writes(name) == before
    assert world.one("select count(*) from sync.mark") == 0


def _linked(world: World, crm_id: str, name: str = "acme") -> str:
    return str(world.one(f"select hub_id from {name}.contact_base where crm_id = %s", crm_id))


class TestTheSurvivorIsNotLinked:
    def test_the_link_moves_with_what_was_agreed_on(self, world: World) -> None:
        acme = world.accounts["acme"]
        lost = acme.person_create("Contact", LI)
        world.sync()
        hub_id = _linked(world, lost)
        kept = acme.person_create("Contact", {"LastName": "Lee", "Phone": "+14155552671"})
        acme.person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        reports = world.sync()
        assert reports["hub contact acme"].counts["merged"] == 1
        assert _linked(world, kept) == hub_id
        (row,) = world.hub("contact")
        # What the merge changed is the CRM's change; what it left as it was is no difference.
        assert (row["last_name"], row["first_name"], row["phone"]) == ("Lee", "Bo", "+14155552671")
        assert (
            world.one("select reason from sync.change where kind = 'merge'")
            == f"merged: {lost} is {kept} now"
        )
        _quiet(world)

    def test_hub_edits_that_wait_are_sent_to_the_survivor_or_disputed(self, world: World) -> None:
        acme = world.accounts["acme"]
        lost = acme.person_create("Contact", {**LI, "Phone": "+14155552671"})
        world.sync()
        world.conn.execute("update hub.contact set first_name = 'Beau', phone = '+14155552672'")
        kept = acme.person_create("Contact", {"LastName": "Li", "FirstName": "Bo", "Phone": "+14155552673"})
        acme.person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        assert acme.row("Contact", kept).values["FirstName"] == "Beau"
        assert acme.row("Contact", kept).values["Phone"] == "+14155552673"  # policy manual: disputed
        assert world.one("select crm_value from review.conflict where status = 'open'") == "+14155552673"

    def test_a_chain_ends_at_the_last_one(self, world: World) -> None:
        acme = world.accounts["acme"]
        first = acme.person_create("Contact", LI)
        world.sync()
        hub_id = _linked(world, first)
        second, third = (acme.person_create("Contact", {"LastName": f"L{i}"}) for i in range(2))
        acme.person_merge("Contact", second, first)
        acme.person_merge("Contact", third, second)
        world.wait(minutes=1)
        world.sync()
        assert _linked(world, third) == hub_id
        assert len(world.hub("contact")) == 1
        found = world.conn.execute("select crm_id, survivor from sync.alias order by crm_id").fetchall()
        assert found == [(first, third), (second, third)]
        _quiet(world)


class TestBothAreLinked:
    def test_the_loser_waits_and_is_not_created_anew(self, world: World) -> None:
        kept, lost = _two(world)
        loser = _linked(world, lost)
        world.accounts["acme"].person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        world.conn.execute("update hub.contact set first_name = 'Beau' where id = %s", [loser])
        world.wait(minutes=1)
        world.sync()
        assert len(world.accounts["acme"].rows("Contact")) == 1
        assert world.one("select code from sync.parked where side = 'hub'") == "MERGE_WAITS"
        with Store(world.url) as store:
            (merge,) = merges.find(store.conn)
        assert (str(merge.hub_id), str(merge.kept_id)) == (loser, _linked(world, kept))
        assert (merge.crm_id, merge.survivor) == (lost, kept)
        _quiet(world)

    def test_they_become_one(self, world: World) -> None:
        acme = world.accounts["acme"]
        kept, lost = _two(world)
        loser, stays = _linked(world, lost), _linked(world, kept)
        world.conn.execute(
            "create table app_note (contact uuid not null references hub.contact on delete cascade)"
        )
        world.conn.execute("insert into app_note values (%s)", [loser])
        world.conn.execute("update hub.contact set born = '1990-02-03' where id = %s", [loser])
        acme.person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        _decide(world, "merge")
        assert world.sync(dry_run=True)["hub contact acme"].counts["joined"] == 1
        assert len(world.hub("contact")) == 2
        assert world.sync()["hub contact acme"].counts["joined"] == 1
        (row,) = world.hub("contact")
        assert str(row["id"]) == stays
        assert (row["last_name"], row["first_name"], str(row["born"])) == ("Lee", "Bo", "1990-02-03")
        assert str(world.one("select contact from app_note")) == stays
        world.wait(minutes=1)
        world.sync()
        assert acme.row("Contact", kept).values["Born"] == "1990-02-03"  # what was not sent yet is sent
        told = "select old_value::jsonb ->> 'email', reason from sync.change where kind = 'delete'"
        assert world.conn.execute(told).fetchone() == ("li@x.example", f"merged into {stays}: decided by ann")
        assert world.one("select status from review.merge") == "applied"
        _quiet(world)

    def test_they_are_kept_apart(self, world: World) -> None:
        acme = world.accounts["acme"]
        kept, lost = _two(world)
        acme.person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        _decide(world, "apart")
        world.sync()
        assert sorted(str(r.values["LastName"]) for r in acme.rows("Contact")) == ["Lee", "Li"]
        assert len(world.hub("contact")) == 2
        assert world.one("select count(*) from sync.parked") == 0
        _quiet(world)

    @pytest.mark.parametrize("how", ["apart", "deleted"])
    def test_a_survivor_that_carries_the_losers_id_is_not_overwritten(self, world: World, how: str) -> None:
        """The create by external id found it, and wrote one person's values over another's."""
        acme = world.accounts["acme"]
        loser = str(
            world.one("insert into hub.contact (last_name, email) values ('Li', 'li@x.example') returning id")
        )
        world.sync("acme")
        (lost,) = (row.id for row in acme.rows("Contact"))
        kept = acme.person_create("Contact", LEE)
        world.sync("acme")
        if how == "deleted":  # it asks whether the CRM's is to be deleted too
            world.conn.execute("delete from hub.contact where id = %s", [loser])
            world.sync("acme")
        acme.person_merge("Contact", kept, lost)
        assert acme.row("Contact", kept).values["Hub_Id"] == loser
        world.wait(minutes=1)
        world.sync("acme")
        if how == "deleted":
            world.conn.execute(
                "insert into hub.contact (id, last_name, email) values (%s, 'Li', 'li@x.example')", [loser]
            )
        else:
            _decide(world, "apart")
        world.sync("acme")
        (row,) = acme.rows("Contact")
        assert (row.values["LastName"], row.values["Email"]) == ("Lee", "lee@x.example")
        assert world.one("select code from sync.parked") == "EXTERNAL_ID_CARRIED"
        assert kept in str(world.one("select reason from sync.parked"))
        _quiet(world)

        acme.person_edit("Contact", kept, {"Hub_Id": None})
        world.wait(minutes=1)
        dirty.mark_parked(world.conn, world.system.stream("acme", "contact"))
        world.sync("acme")
        assert sorted(str(r.values["LastName"]) for r in acme.rows("Contact")) == ["Lee", "Li"]
        assert len(world.hub("contact")) == 2
        assert world.one("select count(*) from sync.parked") == 0
        _quiet(world)

    def test_what_cannot_become_one_says_so_and_waits(self, world: World) -> None:
        kept, lost = _two(world)
        world.conn.execute("create table app_owner (contact uuid primary key references hub.contact)")
        world.conn.execute("insert into app_owner select id from hub.contact")
        world.accounts["acme"].person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        _decide(world, "merge")
        (note,) = world.sync()["hub contact acme"].notes
        assert "app_owner_pkey" in note
        assert len(world.hub("contact")) == 2
        assert world.one("select status from review.merge") == "open"

    def test_a_decision_that_cannot_be_followed_is_open_again(self, world: World) -> None:
        kept, lost = _two(world)
        stays = _linked(world, kept)
        world.accounts["acme"].person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        _decide(world, "merge")
        world.conn.execute("delete from hub.contact where id = %s", [stays])
        world.sync()
        assert world.one("select status from review.merge") == "open"
        assert len(world.hub("contact")) == 1
        _quiet(world)

    @pytest.mark.parametrize("decision", ["apart", "merge"])
    def test_a_hub_record_that_comes_back_waits_for_the_decision_again(
        self, world: World, decision: merges.Decision
    ) -> None:
        """The question was withdrawn when the hub record was deleted; brought back, it was sent to the CRM as a new one."""
        acme = world.accounts["acme"]
        kept, lost = _two(world)
        loser, stays = _linked(world, lost), _linked(world, kept)
        acme.person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        world.conn.execute("delete from hub.contact where id = %s", [loser])
        world.sync()
        assert world.one("select status from review.merge") == "superseded"
        assert world.one("select count(*) from sync.parked") == 0
        world.conn.execute(
            "insert into hub.contact (id, last_name, email) values (%s, 'Li', 'li@x.example')", [loser]
        )
        world.sync(dry_run=True)
        assert world.one("select status from review.merge") == "superseded"
        world.sync()
        assert [row.id for row in acme.rows("Contact")] == [kept]
        assert world.one("select code from sync.parked where side = 'hub'") == "MERGE_WAITS"
        found = world.conn.execute("select status, decision, hub_id::text, kept_id::text from review.merge")
        assert found.fetchall() == [("open", None, loser, stays)]
        _quiet(world)

        _decide(world, decision)
        world.sync()
        there = sorted(str(r.values["LastName"]) for r in acme.rows("Contact"))
        assert there == (["Lee", "Li"] if decision == "apart" else ["Lee"])
        assert len(world.hub("contact")) == len(there)
        assert world.one("select count(*) from sync.parked") == 0
        _quiet(world)

    def test_a_question_about_a_deleted_hub_record_parks_nothing(self, world: World) -> None:
        """Deleted after the hub step has looked: the outbound step parked a record that is gone, and nothing took it back."""
        kept, lost = _two(world)
        loser = _linked(world, lost)
        world.accounts["acme"].person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        world.conn.execute("delete from hub.contact where id = %s", [loser])
        with Store(world.url) as store:
            outbound(store, world.crms["acme"], world.system.stream("acme", "contact"), Options())
        assert world.one("select count(*) from sync.parked") == 0
        _quiet(world)

    def test_taken_out_of_the_bin_it_is_a_record_of_its_own(self, world: World) -> None:
        acme = world.accounts["acme"]
        kept, lost = _two(world)
        loser = _linked(world, lost)
        acme.person_merge("Contact", kept, lost)
        world.wait(minutes=1)
        world.sync()
        acme.person_restore("Contact", lost)
        world.wait(minutes=1)
        world.sync()
        assert _linked(world, lost) == loser
        assert world.one("select count(*) from sync.alias") == 0
        assert world.one("select status from review.merge") == "superseded"
        assert len(world.hub("contact")) == 2
        _quiet(world)


def test_an_unlinked_loser_leaves_only_its_alias(world: World) -> None:
    acme = world.accounts["acme"]
    kept = acme.person_create("Contact", LEE)
    world.sync()
    lost = acme.person_create("Contact", LI)
    acme.person_merge("Contact", kept, lost)
    world.wait(minutes=1)
    world.sync()
    assert world.conn.execute("select crm_id, survivor from sync.alias").fetchall() == [(lost, kept)]
    assert len(world.hub("contact")) == 1
    _quiet(world)


def test_a_moved_record_that_comes_back_is_another_one(world: World) -> None:
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LI)
    world.sync()
    kept = acme.person_create("Contact", {"LastName": "Lee"})
    acme.person_merge("Contact", kept, lost)
    world.wait(minutes=1)
    world.sync()
    hub_id = _linked(world, kept)
    acme.person_restore("Contact", lost)
    world.wait(minutes=1)
    world.sync()
    assert _linked(world, lost) != hub_id
    assert len(world.hub("contact")) == 2
    _quiet(world)


def test_references_to_a_loser_mean_the_survivor(world: World) -> None:
    acme = world.accounts["acme"]
    lost = acme.person_create("Account", {"Name": "Acme"})
    world.sync()
    kept = acme.person_create("Account", {"Name": "Acme Inc"})
    acme.person_merge("Account", kept, lost)
    world.wait(minutes=1)
    # An index that lags, or an export: the record still names the loser.
    acme.person_create("Contact", {**LEE, "AccountId": lost})
    ann = acme.person_create("Contact", LI)
    world.sync()
    firm = world.one("select id from hub.company")
    assert {row["company"] for row in world.hub("contact")} == {firm, None}
    acme.person_edit("Contact", ann, {"AccountId": lost})
    world.wait(minutes=1)
    world.sync()
    assert {row["company"] for row in world.hub("contact")} == {firm}
    _quiet(world)


def test_a_write_to_a_loser_is_settled(world: World) -> None:
    """Merged between the look and the write: the refusal parks nothing for good."""
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LI)
    world.sync()
    kept = acme.person_create("Contact", {"LastName": "Lee"})
    world.sync()
    world.conn.execute("delete from hub.contact where last_name = 'Lee'")
    world.conn.execute("delete from acme.contact_base where crm_id = %s", [kept])
    world.conn.execute("update hub.contact set first_name = 'Beau'")
    world.crms["acme"].faults.before_write = lambda _: (
        acme.person_merge("Contact", kept, lost) if not acme.row("Contact", lost).deleted else None
    )
    report = world.sync("acme", "contact")["outbound contact"]
    assert report.counts["parked"] == 1
    world.crms["acme"].faults.before_write = None
    world.wait(minutes=1)
    world.sync()
    assert acme.row("Contact", kept).values["FirstName"] == "Beau"
    assert world.one("select count(*) from sync.parked") == 0
    _quiet(world)


class TestOtherCrms:
    @pytest.fixture
    def both(self, two: World) -> tuple[World, str, str]:
        """Two contacts, merged in acme, and their hub records made one."""
        kept, lost = _two(two)
        two.sync("beta")
        two.accounts["acme"].person_merge("Contact", kept, lost)
        two.wait(minutes=1)
        two.sync("acme")
        _decide(two, "merge")
        two.sync("acme")
        two.sync("beta")
        return two, kept, lost

    def test_the_other_record_there_is_a_double_and_stays(self, both: tuple[World, str, str]) -> None:
        world, _, _ = both
        rows = world.accounts["beta"].rows("Contact")
        assert sorted(str(r.values["LastName"]) for r in rows) == ["Lee", "Li"]
        assert len(world.hub("contact")) == 1
        assert (
            world.one("select code from sync.parked where connection = 'beta' and side = 'crm'") == "DOUBLE"
        )
        _quiet(world, "beta")
        world.accounts["beta"].person_merge("Contact", *(row.id for row in rows))
        world.wait(minutes=1)
        world.sync("beta")
        assert world.one("select count(*) from sync.parked") == 0
        assert len(world.hub("contact")) == 1
        _quiet(world, "beta")


def test_what_another_crm_brings_back_into_the_hub_is_not_made_again_where_it_was_merged(two: World) -> None:
    acme, beta = (two.accounts[name] for name in ("acme", "beta"))
    _, lost = _two(two)
    two.sync("beta")
    theirs = {str(row.values["LastName"]): row.id for row in beta.rows("Contact")}
    loser = _linked(two, lost)
    beta.person_merge("Contact", theirs["Lee"], theirs["Li"])
    two.wait(minutes=1)
    two.sync("beta")
    two.conn.execute("delete from hub.contact where id = %s", [loser])
    acme.person_delete("Contact", lost)
    two.wait(minutes=1)
    two.sync("beta")
    two.sync("acme")
    acme.person_restore("Contact", lost)
    two.wait(minutes=1)
    two.sync("acme")
    assert len(two.hub("contact")) == 2
    two.sync("beta")
    assert [row.id for row in beta.rows("Contact")] == [theirs["Lee"]]
    assert two.one("select status from review.merge") == "open"
    _quiet(two, "beta")
    beta.person_restore("Contact", theirs["Li"])  # nothing is to be decided any more
    two.wait(minutes=1)
    two.sync("beta")
    assert two.one("select status from review.merge") == "superseded"
    assert _linked(two, theirs["Li"], "beta") == loser
    assert len(beta.rows("Contact")) == 2
    _quiet(two, "beta")


def test_undo_leaves_what_people_merged(world: World) -> None:
    acme = world.accounts["acme"]
    lost = acme.person_create("Contact", LI)
    world.sync()
    kept = acme.person_create("Contact", {"LastName": "Lee"})
    acme.person_merge("Contact", kept, lost)
    world.wait(minutes=1)
    world.sync()
    with Store(world.url, run_id="undo") as store:
        work, run = Undo(store, world.system, world.crms.__getitem__), Selection(run_id="run-120100")
        work.plan(run)
        work.apply(run, "ann")
    world.sync()
    assert _linked(world, kept)
    assert len(world.hub("contact")) == 1
    assert len(acme.rows("Contact")) == 1
