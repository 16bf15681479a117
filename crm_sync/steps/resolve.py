"""Resolve: what people decide about conflicts, and everything that follows from it at once.

A decision is noted, then the hub step and the outbound step look at the records it concerns, as they would at the
next sync. The Dagster job, the command line and the web all come through here. What is to hold for others of the kind
(rules) is in `ruling.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as part
from datetime import datetime, timedelta
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
from crm_sync.steps.unattended import beyond

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
    `automatic` has left to a person, because the guard does not let so much pass."""

    decided: dict[str, int]
    left: tuple[int, ...]
    reports: dict[str, Report]
    later: tuple[str, ...] = ()
    rule: Rule | None = None
    held: tuple[str, ...] = ()


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
            ours, theirs = conflict.hub_changed_at, conflict.crm_changed_at
            if ours is None or theirs is None or ours == theirs:
                return None
            return "use_crm" if theirs > ours else "use_hub"
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

    def decided(conn: Connection) -> tuple[Rule | None, list[Conflict]]:
        made: tuple[Rule | None, list[Conflict]] = (None, [])
        if always is not None and conflicts:
            made = enact(conn, system, conflicts, decision, always, person)
        for chosen, group in choices.items():
            review.decide(conn, group, chosen, signed)
        return made

    rule, alike = store.committed(decided)
    concerned = {c.id: c for c in alike}
    concerned |= {c.id: c for chosen, group in choices.items() if chosen != "skip" for c in group}
    reports, later = _apply(store, system, crm, list(concerned.values()))
    return Resolved(
        {chosen: len(group) for chosen, group in choices.items()}, tuple(left), reports, later, rule
    )


def automatic(
    store: Store, system: System, crm: Callable[[str], Crm], connection: str, *, now: datetime
) -> Resolved | None:
    """Settle the conflicts of a connection that nobody has looked at for as long as its file says; None without any. Of a
    stream of which the guard does not let so much pass, none is decided: they wait for a person.

    Raises as `resolve` does.
    """
    option = system.connection(connection).auto_resolve
    found = overdue(store, system, connection, now) if option is not None else []
    if option is None or not found:
        return None
    chosen = [(c, said) for c in found if (said := choice(c, option.policy)) is not None]
    too_many = beyond(store, system, chosen)
    few = [c for c in found if (c.connection, c.entity) not in too_many]
    done = resolve(store, system, crm, few, option.policy, f"auto_resolve after {ages.text(option.after)}")
    return replace(
        done,
        held=tuple(
            f"{connection}/{entity}: nothing was decided: {said}. If it is meant, decide:"
            f" crm-sync conflicts resolve --connection {connection} --entity {entity} --policy {option.policy}"
            for (connection, entity), said in too_many.items()
        ),
    )


def overdue(store: Store, system: System, connection: str, now: datetime) -> list[Conflict]:
    """The conflicts that `automatic` would settle."""
    option = system.connection(connection).auto_resolve
    if option is None:
        return []
    found = review.find(store.conn, connection=connection, until=now - option.after)
    known = {stream.entity for stream in system.connection(connection).streams}
    return [c for c in found if c.entity in known and choice(c, option.policy) is not None]


def reopen(store: Store, system: System, number: int) -> None:
    """Withdraw the decision about a conflict, or its skipping, before it is applied.

    Raises SyncError if there is nothing to withdraw, or too late; BusyError while a sync may be applying it.
    """
    found = next(
        (c for status in _STATES for c in review.find(store.conn, ids=[number], status=status)), None
    )
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
