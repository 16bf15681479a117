"""Rules made from decisions, decisions withdrawn, conflicts settled because nobody looked at them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from threading import Thread

import psycopg
import pytest

from crm_sync.core.errors import BusyError, CrmError, SyncError
from crm_sync.core.guard import Guard, Limit
from crm_sync.core.rules import When
from crm_sync.core.spec import AutoResolve, Policy, System
from crm_sync.hub import review, rules
from crm_sync.hub.store import Store
from crm_sync.steps import resolve as steps
from crm_sync.steps import ruling, unattended
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options
from crm_sync.steps.resolve import Selection
from tests.steps.world import World

OURS, THEIRS = "+14155550002", "+14155550001"


def disputes(
    world: World, count: int = 1, *, ours: str | None = OURS, theirs: str | None = THEIRS
) -> list[str]:
    """People whose phone was changed on both sides, as conflicts; their CRM ids."""
    known = len(world.accounts["acme"].rows("Contact"))
    ids = [
        world.accounts["acme"].person_create(
            "Contact", {"LastName": f"P{n}", "Email": f"p{n}@x.example", "Phone": "+14155552671"}
        )
        for n in range(known, known + count)
    ]
    world.sync()
    world.wait(minutes=5)
    again(world, ids, ours=ours, theirs=theirs)
    return ids


def again(world: World, ids: list[str], *, ours: str | None, theirs: str | None) -> None:
    for crm_id in ids:
        world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": theirs})
    world.conn.execute(
        "update hub.contact set phone = %s from acme.contact_base b where b.hub_id = id and b.crm_id = any(%s)",
        [ours, ids],
    )
    world.wait(minutes=1)
    world.sync()
    world.wait(minutes=1)


@pytest.fixture
def store(world: World) -> Iterator[Store]:
    with Store(world.url, run_id="resolve") as store:
        yield store


def decide(
    world: World, store: Store, selection: Selection, decision: object, **more: object
) -> steps.Resolved:
    found = steps.select(store, world.system, selection)
    return steps.resolve(
        store,
        world.system,
        lambda name: world.crms[name],
        found,
        decision,
        "anna",
        **more,  # type: ignore[arg-type]
    )


def phone(world: World, crm_id: str) -> str | None:
    return world.accounts["acme"].row("Contact", crm_id).values["Phone"]


def states(world: World) -> dict[int, str]:
    return dict(world.conn.execute("select id, status from review.conflict order by id").fetchall())


def test_a_rule_decides_the_open_ones_now_and_later_disputes_by_itself(world: World, store: Store) -> None:
    first, second, other = disputes(world, 3)
    one, two, three = sorted(states(world))
    review.decide(world.conn, review.find(world.conn, ids=[three]), "skip", "mina")
    found = steps.select(store, world.system, Selection(ids=(one,)))
    shown = ruling.preview(store.conn, world.system, found, "use_hub", When.ANY)
    assert [(c.id, end) for c, end in shown] == [(two, "use_hub")]
    done = decide(world, store, Selection(ids=(one,)), "use_hub", always=When.ANY)
    assert done.rule is not None
    assert (phone(world, first), phone(world, second), phone(world, other)) == (OURS, OURS, THEIRS)
    assert states(world) == {
        one: "applied",
        two: "applied",
        three: "skipped",
    }  # who skipped meant these two values
    row = world.conn.execute(
        "select decided_by, decision from review.conflict where id = %s", [two]
    ).fetchone()
    assert row == (f"rule #{done.rule.id} by anna", "use_hub")
    written = world.conn.execute(
        "select reason from sync.change where field = 'phone' and side = 'crm' order by id"
    )
    assert {reason for (reason,) in written} == {
        f"decided by anna (conflict {one})",
        f"decided by rule #{done.rule.id} by anna (conflict {two})",
    }
    # A dispute of tomorrow never becomes a conflict; a clean change of either side is none of the rule's business.
    again(world, [first, other], ours="+14155550004", theirs="+14155550003")
    assert (phone(world, first), phone(world, other)) == ("+14155550004", "+14155550004")
    assert review.find(world.conn) == []
    reason = world.one(
        "select reason from sync.change where new_value = '+14155550004' and side = 'crm' limit 1"
    )
    assert reason == f"rule #{done.rule.id} by anna: use_hub"
    world.accounts["acme"].person_edit("Contact", first, {"Phone": "+14155550009"})
    world.wait(minutes=1)
    world.sync()
    assert world.one("select count(*) from hub.contact where phone = '+14155550009'") == 1
    rules.end(world.conn, done.rule.id, "mina")
    again(world, [second], ours="+14155550006", theirs="+14155550005")
    assert [c.hub_value for c in review.find(world.conn)] == ["+14155550006"]
    with pytest.raises(SyncError, match="no rule #"):
        rules.end(world.conn, done.rule.id, "mina")


def test_a_new_rule_takes_the_place_of_the_old_one(world: World, store: Store) -> None:
    (crm_id,) = disputes(world)
    decide(world, store, Selection(field="phone"), "use_hub", always=When.ANY)
    with store.transaction() as conn:
        rules.make(conn, "acme", "contact", "phone", "use_crm", When.ANY, "mina")
    held = rules.find(world.conn)
    assert [(row.decision, row.made_by) for row in held] == [("use_crm", "mina")]
    assert [row.ended_by for row in rules.find(world.conn, ended=True)] == ["mina", None]
    again(world, [crm_id], ours="+14155550004", theirs="+14155550003")
    assert world.one("select phone from hub.contact") == "+14155550003"


def test_a_rule_may_hold_for_blanks_only(world: World, store: Store) -> None:
    full = disputes(world)
    (blank,) = disputes(world, ours=None)
    done = decide(world, store, Selection(blank="hub"), "use_crm", always=When.HUB_BLANK)
    assert done.decided == {"use_crm": 1}
    assert [c.crm_id for c in review.find(world.conn)] == full
    again(world, [blank], ours=None, theirs="+14155550008")
    assert world.one("select count(*) from hub.contact where phone = '+14155550008'") == 1
    again(world, [blank], ours="+14155550007", theirs=None)
    assert {c.crm_id for c in review.find(world.conn)} == {*full, blank}


def test_what_no_rule_can_be_made_of_changes_nothing(world: World, store: Store) -> None:
    disputes(world)
    with pytest.raises(SyncError, match="skip is to decide nothing"):
        decide(world, store, Selection(field="phone"), "skip", always=When.ANY)
    world.conn.execute(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, suggestion, reason)"
        " values ('acme', 'contact', gen_random_uuid(), 'x', 'email', 'use_hub', 'manual'),"
        " ('acme', 'contact', gen_random_uuid(), 'x', 'full_name', 'use_hub', 'manual')"
    )
    with pytest.raises(SyncError, match="about 3; give connection, entity and field"):
        decide(world, store, Selection(entity="contact"), "use_hub", always=When.ANY)
    with pytest.raises(SyncError, match=r"contact\.full_name of acme is outbound"):
        decide(world, store, Selection(field="full_name"), "use_hub", always=When.ANY)
    assert set(states(world).values()) == {"open"}
    assert rules.find(world.conn, ended=True) == []
    assert decide(world, store, Selection(field="nobody"), "use_hub", always=When.ANY).rule is None


def test_a_conflict_of_a_stream_that_is_gone_says_so(world: World, store: Store) -> None:
    world.conn.execute(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, suggestion, reason)"
        " values ('gone', 'contact', gen_random_uuid(), 'x', 'phone', 'use_hub', 'manual')"
    )
    with pytest.raises(SyncError, match="no connection file maps gone/contact any more"):
        decide(world, store, Selection(field="phone"), "use_hub")


def test_a_rule_made_while_a_run_records_disputes_reaches_them(world: World) -> None:
    """The run has decided without the rule; the rule has not seen the conflict: the record stays in the queue."""
    (crm_id,) = disputes(world)
    world.conn.execute("delete from review.conflict")
    world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550003"})
    world.wait(minutes=1)
    stream = world.system.stream("acme", "contact")
    from crm_sync.steps import conflicts as step
    from crm_sync.steps.inbound import inbound

    def made() -> None:
        with psycopg.connect(world.url) as conn:
            rules.make(conn, "acme", "contact", "phone", "use_hub", When.ANY, "anna")

    with Store(world.url) as store:
        inbound(store, world.crms["acme"], stream, Options())
        hub(store, stream, Options())
        record = _between(step.review.record, made)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(step.review, "record", record)
            conflicts(store, stream)
    assert world.one("select count(*) from sync.dirty") == 1
    world.sync()
    assert phone(world, crm_id) == OURS


def _between(record: Callable[..., None], made: Callable[[], None]) -> Callable[..., None]:
    def wrapped(*args: object) -> None:
        made()  # after the run has read the rules, before it records
        record(*args)

    return wrapped


def test_making_a_rule_waits_for_a_run_that_is_recording(world: World) -> None:
    disputes(world)
    done: list[bool] = []

    def made() -> None:
        with psycopg.connect(world.url) as conn:
            rules.make(conn, "acme", "contact", "phone", "use_hub", When.ANY, "anna")
            done.append(bool(rules.covered(conn, "acme", "contact", "phone", When.ANY)))

    with psycopg.connect(world.url) as run:
        run.execute("update review.conflict set crm_value = 'x'")
        thread = Thread(target=made)
        thread.start()
        thread.join(0.3)
        assert done == []
        run.commit()
        thread.join()
    assert done == [True]


# Filters --------------------------------------------------------------------------------------------------------


def test_filters_by_age_side_and_moment(world: World, store: Store) -> None:
    _, second = disputes(world, 2)
    one, two = sorted(states(world))
    world.conn.execute(
        "update review.conflict set values_at = now() - interval '8 days' where id = %s", [one]
    )
    world.conn.execute(
        "update review.conflict set crm_changed_at = hub_changed_at + interval '1s' where id = %s", [two]
    )

    def ids(**more: object) -> list[int]:
        return [c.id for c in steps.select(store, world.system, Selection(**more))]  # type: ignore[arg-type]

    assert ids(older_than=timedelta(days=7)) == [one]
    assert ids(older_than=timedelta(days=9)) == []
    assert ids(newer="crm") == [two]
    assert ids(newer="hub") == [one]
    assert ids(blank="hub") == []
    seen = steps.moment(store)
    world.accounts["acme"].person_edit("Contact", second, {"Phone": "+14155550009"})
    world.wait(minutes=1)
    world.sync()
    assert ids(entity="contact", as_of=seen) == [one]  # the other one has values that nobody has seen
    assert ids(entity="contact") == [one, two]
    for wrong in ({"newer": "both"}, {"blank": "x"}, {"entity": "nobody"}, {"connection": "x"}, {}):
        with pytest.raises(SyncError):
            ids(**wrong)
    for age in ("7", "-1d", "7d; drop table review.conflict", "0h", "٧d"):
        with pytest.raises(SyncError):
            steps.parse_age(age)


def test_the_evidence_and_the_times_of_a_conflict_stay_those_of_its_values(world: World) -> None:
    """What we write into other fields of the record makes the person's edit no newer."""
    (crm_id,) = disputes(world)
    (before,) = review.find(world.conn)
    assert before.evidence == "hub field time, CRM record time"
    world.conn.execute("update hub.contact set last_name = 'Other'")
    for _ in range(2):
        world.wait(minutes=5)
        world.sync()
    assert world.accounts["acme"].row("Contact", crm_id).values["LastName"] == "Other"
    (after,) = review.find(world.conn)
    assert after == before
    from crm_sync.hub import differences

    stream = world.system.stream("acme", "contact")
    (d,) = [d for d in differences.read(world.conn, stream, [before.hub_id]) if d.field == "phone"]
    assert (d.crm_at, d.conflict) == (before.crm_changed_at, before.id)


def test_a_decision_is_about_the_values_that_were_read(world: World, store: Store) -> None:
    """Values that a sync wrote between somebody's look and the decision were decided about unseen."""
    crm_id, _ = disputes(world, 2)
    seen = review.find(world.conn)
    world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550009"})
    world.wait(minutes=1)
    world.sync()
    changed, same = (c.id for c in seen)
    assert review.decide(world.conn, seen, "use_hub", "mina") == {same}
    assert states(world) == {changed: "open", same: "decided"}
    done = steps.resolve(store, world.system, lambda name: world.crms[name], seen, "use_hub", "mina")
    assert (done.decided, done.changed) == ({"use_hub": 0}, (changed, same))
    with pytest.raises(SyncError, match="no rule was made"):
        steps.resolve(
            store, world.system, lambda name: world.crms[name], seen, "use_hub", "mina", always=When.ANY
        )
    assert rules.find(world.conn, ended=True) == []
    known, gone = steps.missed(store, Selection(ids=(changed, same, 99), as_of=seen[0].values_at), [])
    assert known == {
        changed: "has had other values since",
        same: "was decided by mina",
        99: "is none there is",
    }
    assert [c.id for c in gone] == [changed, same]


# Withdrawing ----------------------------------------------------------------------------------------------------


def test_a_decision_is_withdrawn_until_it_is_applied(world: World, store: Store) -> None:
    (crm_id,) = disputes(world)
    (conflict,) = review.find(world.conn)
    review.decide(world.conn, [conflict], "use_hub", "mina")
    with Store(world.url) as other, other.exclusive("hub contact"), pytest.raises(BusyError):
        steps.reopen(store, world.system, conflict.id)
    steps.reopen(store, world.system, conflict.id)
    world.sync()
    assert (phone(world, crm_id), states(world)) == (THEIRS, {conflict.id: "open"})
    with pytest.raises(SyncError, match="is open already"):
        steps.reopen(store, world.system, conflict.id)
    review.decide(world.conn, [conflict], "skip", "mina")
    steps.reopen(store, world.system, conflict.id)
    review.decide(world.conn, [conflict], "use_hub", "mina")
    world.wait(minutes=1)
    world.sync()
    with pytest.raises(SyncError, match="was applied"):
        steps.reopen(store, world.system, conflict.id)
    (applied,) = review.find(world.conn, status="applied")
    assert (applied.hub_value, applied.crm_value, applied.decided_by) == (OURS, THEIRS, "mina")
    with pytest.raises(SyncError, match="no conflict 999"):
        steps.reopen(store, world.system, 999)


def test_a_decision_whose_write_is_in_doubt_is_not_withdrawn(world: World, store: Store) -> None:
    disputes(world)
    (conflict,) = review.find(world.conn)
    review.decide(world.conn, [conflict], "use_hub", "mina")
    world.crms["acme"].faults.timeout = "after"
    with pytest.raises(CrmError):
        world.sync("acme", "contact")
    with pytest.raises(SyncError, match="has no answer yet"):
        steps.reopen(store, world.system, conflict.id)


def test_what_a_rule_would_decide_again_is_not_withdrawn(world: World, store: Store) -> None:
    disputes(world)
    (conflict,) = review.find(world.conn)
    with store.transaction() as conn:
        rule = rules.make(conn, "acme", "contact", "phone", "use_hub", When.ANY, "anna")
    review.decide(world.conn, [conflict], "use_crm", "mina")
    with pytest.raises(SyncError, match=f"rule #{rule.id} by anna decides conflict {conflict.id} again"):
        steps.reopen(store, world.system, conflict.id)


# Nobody looks ---------------------------------------------------------------------------------------------------


def _automatic(world: World, policy: Policy) -> None:
    (connection,) = world.system.connections
    option = AutoResolve(timedelta(days=7), policy)
    world.system = replace(world.system, connections=(replace(connection, auto_resolve=option),))


def test_what_nobody_looked_at_is_settled_and_says_so(world: World, store: Store) -> None:
    def settle() -> steps.Resolved | None:
        return unattended.automatic(
            store, world.system, lambda name: world.crms[name], "acme", now=steps.moment(store)
        )

    disputes(world, 3)
    one, two, three = sorted(states(world))
    assert settle() is None  # off by default
    _automatic(world, Policy.CRM_WINS)
    assert settle() is None  # nothing is old enough
    review.decide(world.conn, review.find(world.conn, ids=[three]), "skip", "mina")
    world.conn.execute(
        "update review.conflict set values_at = now() - interval '8 days' where id <> %s", [two]
    )
    done = settle()
    assert done is not None
    assert done.decided == {"use_crm": 1}
    assert states(world) == {one: "applied", two: "open", three: "skipped"}
    reason = world.one("select reason from sync.change where side = 'hub' and field = 'phone'")
    assert reason == f"decided by auto_resolve after 1w, crm_wins (conflict {one})"
    assert settle() is None


def test_equal_times_go_on_waiting(world: World, store: Store) -> None:
    disputes(world)
    _automatic(world, Policy.MOST_RECENT_WINS)
    for times, settled in (
        ("values_at = 'epoch', crm_changed_at = hub_changed_at", False),
        ("crm_changed_at = null", False),
        ("crm_changed_at = hub_changed_at + interval '1s'", True),
        ("crm_changed_at = hub_changed_at - interval '1s'", True),
        ("values_at = now() - interval '6 days'", False),
        ("values_at = 'epoch', entity = 'gone'", False),
    ):
        world.conn.execute(f"update review.conflict set {times}")
        assert _overdue(world, store) is settled, times


def _overdue(world: World, store: Store) -> bool:
    """Whether the schedule would start a run; there is then something that it settles."""
    now = steps.moment(store)
    found = unattended.overdue(store.conn, world.system, "acme", now)
    assert unattended.due(store.conn, world.system, "acme", now) is bool(found)
    return bool(found)


def test_what_nobody_looked_at_does_not_pass_the_guard(world: World, store: Store) -> None:
    """Decisions by the clock ran without the guard's limits, as if a person had looked at each."""
    disputes(world, 3)
    _automatic(world, Policy.CRM_WINS)
    world.conn.execute("update review.conflict set values_at = 'epoch'")
    world.system = _guarded(world.system, blanks=1)
    ids = sorted(states(world))
    for c in review.find(world.conn, ids=ids[:2]):  # what the CRM has is blank
        world.accounts["acme"].person_edit("Contact", c.crm_id, {"Phone": None})
    world.wait(minutes=1)
    world.sync()
    world.conn.execute("update review.conflict set values_at = 'epoch'")

    def settle() -> steps.Resolved:
        done = unattended.automatic(
            store, world.system, lambda name: world.crms[name], "acme", now=steps.moment(store)
        )
        assert done is not None
        return done

    done = settle()
    assert done.decided == {}
    (said,) = done.held
    assert "acme/contact: nothing was decided: 2 records would lose phone (blanks: 1 may pass)" in said
    assert set(states(world).values()) == {"open"}
    assert world.one("select count(phone) from hub.contact") == 3
    world.system = _guarded(world.system, blanks=2)
    done = settle()
    assert (done.decided, done.held) == ({"use_crm": 3}, ())
    assert world.one("select count(phone) from hub.contact") == 1


def _guarded(system: System, *, blanks: int) -> System:
    (connection,) = system.connections
    guard = Guard(blanks=Limit(number=blanks))
    streams = tuple(replace(stream, guard=guard) for stream in connection.streams)
    return replace(system, connections=(replace(connection, streams=streams),))
