"""Ruling: a decision about conflicts becomes a rule for all that are like them; what it would decide is shown before."""

from collections.abc import Sequence
from dataclasses import replace

from psycopg import Connection

from crm_sync.core.decide import Kind, Verdict, decide_all
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.errors import SyncError
from crm_sync.core.life import decide_all as decide_lives
from crm_sync.core.rules import POLICIES, Rule, When
from crm_sync.core.spec import Direction, Policy, StreamSpec, System
from crm_sync.hub import differences, life, rules
from crm_sync.hub.review import Conflict, Decision

_OUTCOMES = {Kind.TAKE: "use_crm", Kind.PUSH: "use_hub"}


def enact(
    conn: Connection,
    system: System,
    conflicts: Sequence[Conflict],
    decision: Decision | Policy,
    when: When,
    person: str,
) -> tuple[Rule, list[Conflict]]:
    """Make the rule, in the caller's transaction; returns it with the open conflicts that it covers.

    Raises SyncError if they are about several fields, or about one that only one side may change, or skipped.
    """
    stream, field = _subject(system, conflicts)
    said = outcome(decision)
    rule = rules.make(
        conn, stream.connection, stream.entity, field, said, when, person, conflict=conflicts[0].id
    )
    return rule, rules.covered(conn, stream.connection, stream.entity, field, when)


def preview(
    conn: Connection, system: System, conflicts: Sequence[Conflict], decision: Decision | Policy, when: When
) -> list[tuple[Conflict, str]]:
    """The other open conflicts that such a rule would cover, each with how it would end: use_hub, use_crm, or why not.

    Raises as `enact` does.
    """
    stream, field = _subject(system, conflicts)
    draft = Rule(0, outcome(decision), "", when)
    chosen = {c.id for c in conflicts}
    others = [
        c for c in rules.covered(conn, stream.connection, stream.entity, field, when) if c.id not in chosen
    ]
    hub_ids = sorted({c.hub_id for c in others})
    if field == PRESENCE:
        gone = life.read(conn, stream, hub_ids)
        ruled = [replace(p, difference=replace(p.difference, rules=(draft,))) for p in gone]
        verdicts = {v.difference.conflict: v for v in decide_lives(ruled, stream)}
    else:
        asked = [
            replace(d, rules=(draft,)) for d in differences.read(conn, stream, hub_ids) if d.field == field
        ]
        verdicts = {v.difference.conflict: v for v in decide_all(stream, asked)}
    return [(c, _ends(verdicts.get(c.id))) for c in others]


def _ends(verdict: Verdict | None) -> str:
    if verdict is None:
        return "a side has changed since"
    return _OUTCOMES.get(verdict.kind, "stays open" if verdict.kind is Kind.DISPUTE else str(verdict.kind))


def outcome(decision: Decision | Policy) -> str:
    """What a rule made from this decision says. Raises SyncError for skip."""
    if isinstance(decision, Policy):
        return next(word for word, policy in POLICIES.items() if policy is decision)
    if decision == "skip":
        raise SyncError("always: to skip is to decide nothing; make the field's policy manual instead")
    return decision


def _subject(system: System, conflicts: Sequence[Conflict]) -> tuple[StreamSpec, str]:
    """The one field of one stream that the conflicts are about."""
    subjects = sorted({(c.connection, c.entity, c.field) for c in conflicts})
    if len(subjects) != 1:
        raise SyncError(
            f"always: a rule is about one field of one connection, and these conflicts are about {len(subjects)}; give"
            " connection, entity and field"
        )
    connection, entity, field = subjects[0]
    try:
        stream = system.stream(connection, entity)
        direction = stream.direction if field == PRESENCE else stream.field(field).direction
    except KeyError:
        raise SyncError(f"always: no connection file maps {connection}/{entity} {field} any more") from None
    if direction is not Direction.TWO_WAY:
        raise SyncError(
            f"always: {entity}.{field} of {connection} is {direction}; only two-way fields have rules"
        )
    return stream, field
