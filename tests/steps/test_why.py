"""The story of a record: how it is now, and every value it had, when, from whom and by which rule."""

from datetime import UTC, datetime

import pytest

from crm_sync.core.decide import OVERWRITTEN
from crm_sync.core.errors import CrmError, ErrorClass, RecordError, SyncError
from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.hub import review
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.simulators.serve import Simulator
from crm_sync.steps import explained, why
from crm_sync.steps.story import FieldNow, Line, State, Story, masked
from crm_sync.steps.undo import Undo
from tests.steps.org import Place
from tests.steps.world import World

LEE = {"FirstName": "Ann", "LastName": "Lee", "Email": "lee@x.example", "Phone": "+14155552671"}


def _tell(world: World, text: str, field: str | None = None, **options: int) -> Story:
    with Store(world.url) as store:
        (found,) = why.find(store, world.system, "contact", text)
        return why.why(store, world.system, "contact", found, field=field, **options)


def _found(world: World, text: str, entity: str = "contact") -> list[str]:
    with Store(world.url) as store:
        return [hit.name for hit in why.find(store, world.system, entity, text)]


def _short(line: Line) -> tuple[object, ...]:
    return line.what, line.target, line.field, line.source, line.old, line.new


def _about(story: Story, field: str | None) -> list[tuple[object, ...]]:
    return [_short(line) for line in story.lines if line.field == field]


def _now(story: Story, name: str) -> FieldNow:
    (found,) = (f for f in story.fields if f.field == name)
    return found


def _states(story: Story, name: str) -> dict[str, State]:
    return {side.connection: side.state for side in _now(story, name).sides}


def _lee(two: World) -> str:
    """A contact typed in acme, which is by now in the hub and in beta."""
    crm_id = two.accounts["acme"].person_create("Contact", LEE)
    two.sync("acme")
    two.sync("beta")
    two.wait(minutes=5)
    return crm_id


def test_a_long_story(two: World) -> None:
    crm_id = _lee(two)
    acme, beta = two.accounts["acme"], two.accounts["beta"]
    hub_id = str(two.one("select id from hub.contact"))
    story = _tell(two, hub_id, "last_name")
    assert [_short(line) for line in story.lines] == [
        ("create", "hub", None, "acme", None, None),
        ("create", "hub", "last_name", "acme", None, "Lee"),
        ("create", "beta", None, "acme", None, None),
        ("create", "beta", "last_name", "acme", None, "Lee"),
    ]
    assert "acme had a record that none in the hub matched" in story.lines[0].why
    assert story.lines[3].said.startswith("created as Contact-")
    # An application changes it, with SQL; until it moves, only the provenance knows.
    two.conn.execute("update hub.contact set last_name = 'Li'")
    story = _tell(two, hub_id, "last_name")
    assert _short(story.lines[-1]) == ("update", "hub", "last_name", "application", None, "Li")
    assert not story.lines[-1].old_known
    assert _states(story, "last_name") == {"acme": State.TO_CRM, "beta": State.TO_CRM}
    two.sync("acme")
    two.sync("beta")
    two.wait(minutes=5)
    # Somebody in beta changes it; acme gets it through the hub.
    beta.person_edit("Contact", beta.rows("Contact")[0].id, {"LastName": "Ly"})
    two.sync("beta")
    two.wait(minutes=1)
    two.sync("acme")
    story = _tell(two, hub_id, "last_name")
    assert [_short(line) for line in story.lines[4:]] == [
        ("update", "acme", "last_name", "application", "Lee", "Li"),
        ("update", "beta", "last_name", "application", "Lee", "Li"),
        ("update", "hub", "last_name", "beta", "Li", "Ly"),
        ("update", "acme", "last_name", "beta", "Li", "Ly"),
    ]
    assert "changed in beta, and not in the hub" in story.lines[6].why
    assert story.lines[-1].said == f"accepted for {crm_id}"
    assert {line.run_id for line in story.lines} == {run.run_id for run in story.runs}
    assert all(
        line.at.tzinfo is not None and line.at.utcoffset() == UTC.utcoffset(None) for line in story.lines
    )
    now = _now(story, "last_name")
    assert (now.hub, now.changed_by, now.of_field) == ("Ly", "beta", True)
    assert now.changed_at == datetime(2026, 3, 1, 12, 10, tzinfo=UTC)  # by beta's clock
    assert "changed in beta" in now.because
    assert [(s.crm, s.agreed_hub, s.state) for s in now.sides] == [("Ly", "Ly", State.IN_SYNC)] * 2
    assert acme.row("Contact", crm_id).values["LastName"] == "Ly"


def test_a_dispute_and_who_decided_it(two: World) -> None:
    crm_id = _lee(two)
    hub_id = str(two.one("select id from hub.contact"))
    two.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550001"})
    two.conn.execute("update hub.contact set phone = '+14155550002'")
    two.wait(minutes=1)
    two.sync("acme")
    story = _tell(two, hub_id, "phone")
    (opened,) = (line for line in story.lines if line.what == "conflict")
    assert (opened.target, opened.hub_value, opened.crm_value) == ("acme", "+14155550002", "+14155550001")
    assert "a person decides" in opened.why
    assert _states(story, "phone") == {"acme": State.CONFLICT, "beta": State.TO_CRM}
    (side, _) = _now(story, "phone").sides
    assert (side.conflict, side.what.startswith("open conflict #")) == (opened.conflict, True)
    review.decide(two.conn, review.find(two.conn), "use_crm", "mina")
    two.wait(minutes=1)
    two.sync("acme")
    two.sync("beta")
    story = _tell(two, hub_id, "phone")
    decided, taken, sent = story.lines[-3:]
    assert (decided.what, decided.person, decided.conflict) == ("decision", "mina", opened.conflict)
    assert decided.why == "mina decided that the CRM's value holds"
    assert (*_short(taken), taken.person) == (
        "update", "hub", "phone", "acme", "+14155550002", "+14155550001", "mina",
    )  # fmt: skip
    assert _short(sent)[:4] == ("update", "beta", "phone", "acme")
    assert set(_states(story, "phone").values()) == {State.IN_SYNC}
    assert _now(story, "phone").because == f"as mina decided (conflict #{opened.conflict})"


def test_what_no_sync_creates_is_not_said_to_be_created(two: World) -> None:
    """Found by the demonstration: "the next sync creates it; parked: …", and of a record that the hub does not have."""
    two.conn.execute("insert into hub.contact (last_name) values ('Lee')")
    hub_id = str(two.one("select id from hub.contact"))
    two.crms["acme"].faults.reject[hub_id] = RecordError(ErrorClass.VALIDATION, "NO_A", "no A", ())
    two.sync("acme", "contact")
    assert [link.what for link in _tell(two, hub_id).links] == [
        "not in acme; parked: no A (NO_A)",
        "not in beta yet; the next sync creates it",
    ]
    two.conn.execute("update hub.contact set archived_at = now()")
    assert _tell(two, hub_id).links[1].what == "not in beta"


def test_what_is_parked_waits_is_frozen_or_in_doubt(world: World) -> None:
    world.conn.execute("insert into hub.company (name) values ('Acme Inc')")
    world.conn.execute(
        "insert into hub.contact (first_name, last_name, company) select 'Ann', 'Lee', id from hub.company"
    )
    hub_id = str(world.one("select id from hub.contact"))
    world.crms["acme"].faults.reject[hub_id] = RecordError(
        ErrorClass.VALIDATION, "NO_A", "no A", ("LastName",)
    )
    before = _tell(world, hub_id)
    assert [_short(line) for line in before.lines] == [("create", "hub", None, "application", None, None)]
    assert before.links[0].what == "not in acme yet; the next sync creates it"
    world.sync("acme", "contact")
    story = _tell(world, hub_id)
    parked = story.lines[-1]
    assert _short(parked) == ("parked", "acme", "last_name", "hub", None, None)
    assert "NO_A" in parked.why
    assert _states(story, "last_name") == {"acme": State.PARKED}
    world.crms["acme"].faults.reject.clear()
    world.crms["acme"].faults.timeout = "before"
    world.conn.execute("update hub.contact set first_name = 'Anne'")
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    story = _tell(world, hub_id)
    assert _states(story, "last_name") == {"acme": State.IN_DOUBT}
    assert ("sent", "acme", "first_name", "application", None, "Anne") in _about(story, "first_name")
    world.wait(minutes=1)
    world.sync("acme", "contact")  # without its company, which acme does not have yet
    story = _tell(world, hub_id)
    assert _states(story, "company") == {"acme": State.WAITS}
    assert _states(story, "last_name") == {"acme": State.IN_SYNC}
    assert "company" not in {line.field for line in story.lines}
    world.conn.execute(
        "insert into sync.frozen (connection, entity, field) values ('acme', 'contact', 'born')"
    )
    assert _states(_tell(world, hub_id), "born") == {"acme": State.FROZEN}


def test_a_deleted_record_still_has_its_story(world: World) -> None:
    crm_id = world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    hub_id = str(world.one("select id from hub.contact"))
    world.conn.execute("delete from hub.contact")
    for text in (hub_id, crm_id, f"acme/{crm_id}", "LEE@x.example"):
        assert _found(world, text) == [hub_id]
    story = _tell(world, hub_id)
    assert story.hub.startswith("deleted in the hub on 2")
    assert _short(story.lines[-1]) == ("deleted", "hub", None, "application", None, None)
    assert ("create", "hub", "email", "acme", None, "lee@x.example") in _about(story, "email")
    assert _states(story, "email") == {"acme": State.GONE}
    world.conn.execute("insert into hub.contact (last_name) values ('Lost')")
    lost = str(world.one("select id from hub.contact"))
    world.conn.execute("delete from hub.contact")
    assert [line.what for line in _tell(world, lost).lines] == ["create", "deleted"]


def test_what_the_crm_deleted_or_merged_says_so(world: World) -> None:
    acme = world.accounts["acme"]
    first = acme.person_create("Contact", LEE)
    second = acme.person_create("Contact", {"LastName": "Li", "Email": "li@x.example"})
    world.sync()
    acme.person_merge("Contact", first, second)
    world.wait(minutes=1)
    world.sync()
    assert _tell(world, second).links[0].what == f"merged into {first} in acme; no longer synced"


def test_records_are_found_by_hub_id_crm_id_and_match_key(two: World) -> None:
    crm_id = _lee(two)
    hub_id = str(two.one("select id from hub.contact"))
    assert _found(two, hub_id.upper()) == [hub_id]
    assert _found(two, f"acme/{crm_id}") == [hub_id]
    assert _found(two, " Lee@X.example ") == [hub_id]
    two.accounts["acme"].person_create("Account", {"Name": "One", "Website": "one.example"})
    two.accounts["acme"].person_create("Account", {"Name": "Same"})
    two.conn.execute("insert into hub.company (name) values ('Same'), ('same')")
    two.sync("acme", "company")
    assert len(_found(two, "https://www.one.example/about", "company")) == 1
    assert len(_found(two, "same", "company")) == 2  # the third is ambiguous, and not linked
    (parked,) = two.conn.execute("select crm_id from sync.parked").fetchone() or ("",)
    assert _found(two, parked, "company") == [f"acme/{parked}"]
    with Store(two.url) as store:
        (hit,) = why.find(store, two.system, "company", parked)
        story = why.why(store, two.system, "company", hit)
    assert story.hub_id is None
    assert [line.what for line in story.lines] == ["parked"]
    assert "2 hub records match" in story.links[0].what
    assert _now(story, "name").sides[0].crm == "Same"


def test_what_is_not_there_is_not_found(world: World) -> None:
    world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    texts = [
        "", " ", "'", "'; drop table hub.contact; --", "%", "_", "\\", "\0", "a\0b", "\ud800", "x" * 100_000, "acme/",
        "00000000-0000-0000-0000-000000000000", "{}", "null", "\N{COMBINING ACUTE ACCENT}" * 300, "%s", "lee@x.exampl_",
    ]  # fmt: skip
    assert [text for text in texts if _found(world, text)] == []
    assert world.one("select count(*) from hub.contact") == 1


def test_ids_of_a_crm_may_be_anything(world: World) -> None:
    world.conn.execute(
        "insert into acme.contact (crm_id, last_name, email) values ('''; select 1; --', '<b>%s\"', '{x}')"
    )
    story = _tell(world, "'; select 1; --")
    assert (story.links[0].crm_id, _now(story, "last_name").sides[0].crm) == ("'; select 1; --", '<b>%s"')


def test_unknown_entities_and_fields_are_named(world: World) -> None:
    world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    with Store(world.url) as store, pytest.raises(SyncError, match="there are: company, contact"):
        why.find(store, world.system, "contacts; drop", "x")
    with pytest.raises(SyncError, match="no field 'fone'; it has: first_name"):
        _tell(world, "lee@x.example", "fone")
    world.conn.execute(
        "insert into sync.change (connection, entity, hub_id, field, side, kind, new_value, reason) select 'acme',"
        " 'contact', id, 'once', 'hub', 'update', 'x', 'changed in the CRM' from hub.contact"
    )
    assert [line.new for line in _tell(world, "lee@x.example", "once").lines if line.field] == ["x"]


def test_masks_hide_every_value(two: World) -> None:
    crm_id = _lee(two)
    two.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550001", "LastName": "Geheim"})
    two.conn.execute("update hub.contact set phone = '+14155550002', first_name = 'Verborgen'")
    two.wait(minutes=1)
    two.sync("acme")
    two.crms["beta"].faults.timeout = "before"
    with pytest.raises(CrmError):
        two.sync("beta", "contact")
    story = _tell(two, str(two.one("select id from hub.contact")))
    seen = str(masked(story, lambda _entity, _field, value: value and "###"))
    assert "###" in seen
    for secret in ("Ann", "Verborgen", "Lee", "Geheim", "lee@x.example", "+1415555"):
        assert secret in str(story)
        assert secret not in seen


def test_odd_rows_of_the_journal_break_nothing(world: World) -> None:
    world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    for text in ("no json", "[1]", '{"last_name": 3, "gone": {"a": null}}', None):
        world.conn.execute(
            "insert into sync.change (connection, entity, hub_id, side, kind, new_value, reason, answer)"
            " select 'nobody', 'contact', id, 'crm', 'create', %s, 'something new', '{\"id\": 7}' from hub.contact",
            [text],
        )
    story = _tell(world, "lee@x.example")
    assert [line.why for line in story.lines[-1:]] == ["something new"]
    assert ("create", "nobody", "last_name", "hub", None, "3") in _about(story, "last_name")


def test_what_was_taken_back_is_no_applications_work(world: World) -> None:
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", LEE)
    world.sync()
    world.wait(minutes=5)
    acme.person_edit("Contact", crm_id, {"LastName": "Wrong"})
    world.sync()
    run = str(world.one("select run_id from sync.change where new_value = 'Wrong'"))
    world.wait(minutes=5)
    with Store(world.url, run_id="taking-back") as store:
        undo = Undo(store, world.system, world.crms.__getitem__)
        undo.plan(Selection(run_id=run))
        undo.apply(Selection(run_id=run), "mina")
    story = _tell(world, crm_id, "last_name")
    assert [(*_short(line), line.person) for line in story.lines[2:]] == [
        ("update", "hub", "last_name", "acme", "Lee", "Wrong", None),
        ("update", "hub", "last_name", "hub", "Wrong", "Lee", "mina"),
        ("update", "acme", "last_name", "hub", "Wrong", "Lee", None),
    ]
    now = _now(story, "last_name")
    assert (now.changed_by, now.because) == ("hub", f"mina took back the changes of run {run}")
    assert "taking-back" in {told.run_id for told in story.runs}


def test_dagster_tells_what_started_a_run(world: World) -> None:
    world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    assert [run.started_by for run in _tell(world, "lee@x.example").runs] == [None]
    world.conn.execute(
        "create schema dagster; create table dagster.runs (run_id text); insert into dagster.runs select distinct"
        " run_id from sync.history; create table dagster.run_tags (run_id text, key text, value text)"
    )
    assert [run.started_by for run in _tell(world, "lee@x.example").runs] == ["a person"]
    world.conn.execute(
        "insert into dagster.run_tags select run_id, 'dagster/schedule_name', 'often' from dagster.runs"
    )
    assert [run.started_by for run in _tell(world, "lee@x.example").runs] == ["schedule often"]


def test_a_long_journal_is_read_by_index(world: World) -> None:
    world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    world.conn.execute(
        "insert into sync.change (connection, entity, hub_id, side, kind, reason) select 'acme', 'contact',"
        " gen_random_uuid(), 'hub', 'link', 'matched' from generate_series(1, 20000)"
    )
    world.conn.execute(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, suggestion, reason, status) select"
        " 'acme', 'contact', gen_random_uuid(), i::text, 'phone', '', '', 'applied' from generate_series(1, 20000) i"
    )
    world.conn.execute("analyze")
    hub_id = world.one("select id from hub.contact")
    with Store(world.url) as store:
        (found,) = why.find(store, world.system, "contact", str(hub_id))
        store.conn.execute("set enable_seqscan = on; select pg_stat_force_next_flush()")
        before = _rows_read(world)
        why.why(store, world.system, "contact", found)
        store.conn.execute("select pg_stat_force_next_flush()")
    assert _rows_read(world) - before == 0


def _rows_read(world: World) -> int:
    """Rows of the two long tables that were read one after the other."""
    return int(
        str(
            world.one(
                "select sum(seq_tup_read) from pg_stat_all_tables where schemaname in ('sync', 'review')"
                " and relname in ('change', 'conflict')"
            )
        )
    )


def test_only_the_newest_rows_are_read(world: World) -> None:
    world.accounts["acme"].person_create("Contact", LEE)
    world.sync()
    world.conn.execute(
        "insert into sync.change (connection, entity, hub_id, field, side, kind, new_value, reason) select 'acme',"
        " 'contact', h.id, 'last_name', 'crm', 'update', i, 'changed in the hub' from hub.contact h,"
        " generate_series(1, 50) i"
    )
    story = _tell(world, "lee@x.example", limit=10)
    assert story.older
    assert [line.new for line in story.lines] == [str(i) for i in range(41, 51)]
    assert story.lines[0].source == "hub"  # who wrote it there is not known from these
    assert not _tell(world, "lee@x.example").older


def test_every_reason_has_its_words() -> None:
    reasons = [
        "new in the CRM", "new in the hub", "matched", "force: the CRM's value overwrites", "decided by mina",
        "inbound field: the CRM is the authority", "changed in the CRM", "changed in the hub", OVERWRITTEN,
        "first agreement: blank in the CRM", "first agreement: blank in the hub", "hub_wins", "crm_wins",
        "outbound field: changed in the CRM after 3 overwrites", "prefer_crm_unless_blank", "manual",
        "most_recent_wins (hub field time, CRM record time): crm is newer",
        "most_recent_wins (hub record time, CRM record time): hub is newer",
        "most_recent_wins: the times are equal or unknown", "outbound field: the hub is the authority",
        "outbound field: the CRM makes this of what is sent", "decided by mina: the CRM keeps its value",
        "the referenced record is not linked yet", "inbound field: beta is the authority before this CRM",
        "rule #3 by mina: use_hub (conflict 7)", "crm_wins against hub_wins of beta", "undo of run 1 by mina",
        "most_recent_wins against rule #3 by mina: use_crm of beta: the file of beta comes first",
    ]  # fmt: skip
    for text in reasons:
        words = explained.reason(text, "acme")
        assert words != text
        assert "{" not in words
    assert explained.reason("decided by {crm} {a}", "acme") == "as {crm} {a} decided"
    assert explained.reason("decided by mina (conflict 7)", "acme") == "as mina decided (conflict #7)"
    assert explained.person("decided by a: b (conflict 7): the CRM keeps its value") == "a: b"
    assert explained.person("undo of run 1 by mina") == explained.person("rule #3 by mina: use_hub") == "mina"
    assert explained.reason("not in the table", "acme") == "not in the table"


def test_the_story_of_a_contact_in_an_organisation(org: Simulator, fresh_database_url: str) -> None:
    """Over HTTPS: sent to Salesforce, and found by the short form of its id."""
    place = Place(org, fresh_database_url, above=500)
    place.people(1)
    place.sync()
    crm_id = str(place.one("select crm_id from salesforce.contact_base"))
    system = System(
        (ConnectionSpec("salesforce", "salesforce", {}, (place.stream,), "x.yaml"),), ("contact",)
    )
    with Store(fresh_database_url) as store:
        (found,) = why.find(store, system, "contact", crm_id[:15])
        story = why.why(store, system, "contact", found, field="email")
    assert _states(story, "email") == {"salesforce": State.IN_SYNC}
    created = story.lines[-1]
    assert (created.source, created.said) == ("application", f"created as {crm_id}")
    place.conn.close()
    place.crm.close()
