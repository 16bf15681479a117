"""Resolve: what people decide about conflicts, and everything that follows from it at once.

A decision is noted, then the hub step and the outbound step look at the records it concerns, as they would at the
next sync. The Dagster job, the command line and the web all come through here. What is to hold for others of the kind
(rules) is in `ruling.py`, what the clock decides in `unattended.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as part
from datetime import UTC, datetime, timedelta
from itertools import groupby

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.core import ages
from crm_sync.core.errors import BusyError, SyncError
from crm_sync.core.rules import Rule, When
from crm_sync.core.spec import Policy, System
from crm_sync.hub import review, rules
from crm_sync.hub.review import Conflict, Decision
from crm_sync.hub.store import Store
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from crm_sync.steps.ruling import enact

SIDES = ("hub", "crm")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which open conflicts: those that match everything given. Empty means "any", but not everything may be empty.

    older_than: they have had their values for so long. newer, blank: on which side the later change is, or nothing:
    "hub" or "crm". as_of: only with the values that they had then, on the database's clock."""

    ids: tuple[int, ...] = ()
    connection: str = ""
    entity: str = ""
    field: str = ""
    older_than: timedelta | None = None
    newer: str = ""
    blank: str = ""
    as_of: datetime | None = part(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """How many conflicts were decided and which way, those a policy could not settle, what each stream did, and the
    streams that a sync was working on: there the next sync applies the decisions. rule: the one that was made. held: what
    `automatic` has left to a person, because the guard does not let so much pass. changed: those that got other values, or
    an end, while they were being decided; nothing was decided about them."""

    decided: dict[str, int]
    left: tuple[int, ...]
    reports: dict[str, Report]
    later: tuple[str, ...] = ()
    rule: Rule | None = None
    held: tuple[str, ...] = ()
    changed: tuple[int, ...] = ()


def parse_ids(text: str) -> tuple[int, ...]:
    """Ids of conflicts separated by commas or blanks. Raises SyncError for anything else."""
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise SyncError("ids: whole numbers separated by commas, as the review table shows them") from None


def parse_age(text: str) -> timedelta | None:
    """An age such as 7d; None for nothing. Raises SyncError for anything else."""
    try:
        return ages.parse(text) if text else None
    except ValueError as error:
        raise SyncError(f"older than: {error}") from None


def age_text(age: timedelta | None) -> str:
    """An age as `parse_age` takes it."""
    return "" if age is None else ages.text(age)


def parse_moment(text: str) -> datetime | None:
    """A moment such as 2026-11-21T09:30:00Z, UTC unless it says otherwise; None for nothing. Raises SyncError for others."""
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise SyncError("as of: a time such as 2026-11-21T09:30:00Z") from None
    return found.replace(tzinfo=found.tzinfo or UTC) if found else None


def moment(store: Store) -> datetime:
    """Now, on the database's clock."""
    found: datetime
    ((found,),) = store.conn.execute("select clock_timestamp()").fetchall()
    return found


def select(
    store: Store, system: System, selection: Selection, *, status: str = "open", limit: int | None = None
) -> list[Conflict]:
    """The conflicts that match. Raises SyncError if nothing is selected by, or by a name that does not exist."""
    if selection == Selection() and status == "open" and limit is None:
        raise SyncError(
            "say which conflicts: give ids, or at least one of connection, entity, field, age, newer or blank side"
        )
    if selection.connection and selection.connection not in {c.name for c in system.connections}:
        raise SyncError(f"there is no connection {selection.connection!r}")
    if selection.entity and selection.entity not in system.entities:
        raise SyncError(f"there is no entity {selection.entity!r}")
    for name, side in (("newer", selection.newer), ("blank", selection.blank)):
        if side and side not in SIDES:
            raise SyncError(f"{name}: hub or crm, not {side!r}")
    until = selection.as_of
    if selection.older_than is not None:
        until = (until or moment(store)) - selection.older_than
    return review.find(
        store.conn,
        entity=selection.entity or None,
        connection=selection.connection or None,
        field=selection.field or None,
        ids=selection.ids or None,
        status=status,
        until=until,
        newer=selection.newer,
        blank=selection.blank,
        limit=limit,
    )


def missed(
    store: Store, chosen: Selection, found: Sequence[Conflict]
) -> tuple[Mapping[int, str], tuple[Conflict, ...]]:
    """Why conflicts that were chosen by their ids are not among those found, by id; and they themselves, those that exist."""
    gone = sorted(set(chosen.ids) - {conflict.id for conflict in found})
    known = {conflict.id: conflict for conflict in review.of(store.conn, gone)}
    return {number: _missed(known.get(number), chosen) for number in gone}, tuple(known.values())


def _missed(conflict: Conflict | None, chosen: Selection) -> str:
    if conflict is None:
        return "is none there is"
    if conflict.status != "open":
        by = f" by {conflict.decided_by}" if conflict.decided_by else ""
        return {"decided": f"was decided{by}", "skipped": f"was skipped{by}"}.get(conflict.status) or _STATES[
            conflict.status
        ]
    if chosen.as_of is not None and conflict.values_at > chosen.as_of:
        return "has had other values since"
    return "is not one of those that the rest selects"


def choice(conflict: Conflict, policy: Policy) -> Decision | None:
    """How `policy` ends a conflict; None if it cannot: it wants a person, or the times are equal or unknown. Pure."""
    match policy:
        case Policy.HUB_WINS:
            return "use_hub"
        case Policy.CRM_WINS:
            return "use_crm"
        case Policy.PREFER_CRM_UNLESS_BLANK:
            return "use_hub" if conflict.crm_value is None else "use_crm"
        case Policy.MOST_RECENT_WINS:
            if conflict.newer is None:
                return None
            return "use_crm" if conflict.newer == "crm" else "use_hub"
        case Policy.MANUAL:
            return None


def resolve(
    store: Store,
    system: System,
    crm: Callable[[str], Crm],
    conflicts: Sequence[Conflict],
    decision: Decision | Policy,
    person: str,
    *,
    always: When | None = None,
) -> Resolved:
    """Decide these conflicts, one way or each by a policy, and bring the decisions to the hub and the CRMs.

    `crm` gives the connector of a connection. always: make a rule of it, under this condition, for what is like them now
    and later. Raises CrmError if a CRM cannot be reached; the decisions are noted all the same and take effect in the
    next sync. Raises SyncError if no rule can be made of them, or if no connection file maps one any more; then nothing
    is decided.
    """
    choices: dict[Decision, list[Conflict]] = {}
    left: list[int] = []
    for conflict in conflicts:
        _mapped(system, conflict)
        chosen = choice(conflict, decision) if isinstance(decision, Policy) else decision
        if chosen is None:
            left.append(conflict.id)
        else:
            choices.setdefault(chosen, []).append(conflict)
    signed = f"{person}, {decision}" if isinstance(decision, Policy) else person

    def decided(conn: Connection) -> tuple[Rule | None, list[Conflict], dict[Decision, set[int]]]:
        made: tuple[Rule | None, list[Conflict]] = (None, [])
        if always is not None and conflicts:
            made = enact(conn, system, conflicts, decision, always, person)
        done = {c: review.decide(conn, group, c, signed) for c, group in choices.items()}
        if always is not None and choices and not any(done.values()):
            raise SyncError("nobody has seen what these conflicts are about by now: no rule was made of them")
        return *made, done

    rule, alike, done = store.committed(decided)
    concerned = {c.id: c for c in alike}
    concerned |= {
        c.id: c
        for chosen, group in choices.items()
        if chosen != "skip"
        for c in group
        if c.id in done[chosen]
    }
    reports, later = _apply(store, system, crm, list(concerned.values()))
    return Resolved(
        {chosen: len(ids) for chosen, ids in done.items()}, tuple(left), reports, later, rule,
        changed=tuple(c.id for chosen, group in choices.items() for c in group if c.id not in done[chosen]),
    )  # fmt: skip


def reopen(store: Store, system: System, number: int) -> None:
    """Withdraw the decision about a conflict, or its skipping, before it is applied.

    Raises SyncError if there is nothing to withdraw, or too late; BusyError while a sync may be applying it.
    """
    found = next(iter(review.of(store.conn, [number])), None)
    if found is None:
        raise SyncError(f"there is no conflict {number}")
    if found.status not in ("decided", "skipped"):
        raise SyncError(f"conflict {number} {_STATES[found.status]}")
    _mapped(system, found)
    held = rules.active(store.conn, found.entity).get((found.connection, found.field), ())
    for rule in held:
        if rule.holds(found.hub_value, found.crm_value):
            raise SyncError(f"{rule.name} decides conflict {number} again: end the rule first")
    with (
        store.exclusive(f"hub {found.entity}"),
        store.exclusive(f"{found.connection}/{found.entity}"),
    ):
        if not store.committed(lambda conn: review.reopen(conn, number)):
            raise SyncError(
                f"conflict {number}: the decision is being applied, or a write that carries it has no answer yet"
            )


_STATES = {
    "open": "is open already",
    "decided": "",
    "skipped": "",
    "applied": "was applied; `crm-sync undo` takes writes back",
    "superseded": "is over: one of the sides changed, and they agree",
}


def _mapped(system: System, conflict: Conflict) -> None:
    try:
        system.stream(conflict.connection, conflict.entity)
    except KeyError:
        raise SyncError(
            f"conflict {conflict.id}: no connection file maps {conflict.connection}/{conflict.entity} any more"
        ) from None


def _apply(
    store: Store, system: System, crm: Callable[[str], Crm], decided: Sequence[Conflict]
) -> tuple[dict[str, Report], tuple[str, ...]]:
    """Hub and outbound for the streams concerned, referenced entities first, of the records concerned only."""

    def stream_of(conflict: Conflict) -> tuple[int, str, str]:
        stream = system.stream(conflict.connection, conflict.entity)
        return stream.order, stream.connection, stream.entity

    reports: dict[str, Report] = {}
    later: list[str] = []
    for (_, connection, entity), group in groupby(sorted(decided, key=stream_of), key=stream_of):
        stream = system.stream(connection, entity)
        hub_ids = sorted({conflict.hub_id for conflict in group})
        try:
            report = hub(store, stream, Options(), only=hub_ids)
            report.include(outbound(store, crm(connection), stream, Options(), only=hub_ids))
        except BusyError:
            later.append(stream.name)
        else:
            reports[stream.name] = report
    return reports, tuple(later)
