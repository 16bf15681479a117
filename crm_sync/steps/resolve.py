"""Resolve: what people decide about conflicts, and everything that follows from it at once.

A decision is noted, then the hub step and the outbound step look at the records it concerns, as they would at the
next sync. The Dagster job, the command line and the web all come through here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from crm_sync.connectors.crm import Crm
from crm_sync.core.errors import BusyError, SyncError
from crm_sync.core.spec import Policy, StreamSpec, System
from crm_sync.hub import review
from crm_sync.hub.review import Conflict, Decision
from crm_sync.hub.store import Store
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound


@dataclass(frozen=True, slots=True)
class Selection:
    """Which open conflicts: those that match everything given. Empty means "any", but not everything may be empty."""

    ids: tuple[int, ...] = ()
    connection: str = ""
    entity: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Resolved:
    """How many conflicts were decided and which way, those a policy could not settle, what each stream did, and the
    streams that a sync was working on: there the next sync applies the decisions."""

    decided: dict[str, int]
    left: tuple[int, ...]
    reports: dict[str, Report]
    later: tuple[str, ...] = ()


def parse_ids(text: str) -> tuple[int, ...]:
    """Ids of conflicts separated by commas or blanks. Raises SyncError for anything else."""
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError:
        raise SyncError("ids: whole numbers separated by commas, as the review table shows them") from None


def select(store: Store, system: System, selection: Selection) -> list[Conflict]:
    """The open conflicts that match. Raises SyncError if nothing is selected by, or by a name that does not exist."""
    if selection == Selection():
        raise SyncError("say which conflicts: give ids, or at least one of connection, entity, field")
    if selection.connection and selection.connection not in {c.name for c in system.connections}:
        raise SyncError(f"there is no connection {selection.connection!r}")
    if selection.entity and selection.entity not in system.entities:
        raise SyncError(f"there is no entity {selection.entity!r}")
    return review.find(
        store.conn,
        entity=selection.entity or None,
        connection=selection.connection or None,
        field=selection.field or None,
        ids=selection.ids or None,
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
) -> Resolved:
    """Decide these conflicts, one way or each by a policy, and bring the decisions to the hub and the CRMs.

    `crm` gives the connector of a connection. Raises CrmError if a CRM cannot be reached; the decisions are noted
    all the same and take effect in the next sync.
    """
    choices: dict[Decision, list[Conflict]] = {}
    left: list[int] = []
    for conflict in conflicts:
        chosen = choice(conflict, decision) if isinstance(decision, Policy) else decision
        if chosen is None:
            left.append(conflict.id)
        else:
            choices.setdefault(chosen, []).append(conflict)
    with store.transaction() as conn:
        for chosen, group in choices.items():
            review.decide(conn, group, chosen, person)
    reports, later = _apply(
        store, system, crm, [c for chosen, group in choices.items() if chosen != "skip" for c in group]
    )
    return Resolved({chosen: len(group) for chosen, group in choices.items()}, tuple(left), reports, later)


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
        stream: StreamSpec = system.stream(connection, entity)
        hub_ids = sorted({conflict.hub_id for conflict in group})
        try:
            report = hub(store, stream, Options(), only=hub_ids)
            report.include(outbound(store, crm(connection), stream, Options(), only=hub_ids))
        except BusyError:
            later.append(stream.name)
        else:
            reports[stream.name] = report
    return reports, tuple(later)
