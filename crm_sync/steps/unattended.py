"""What nobody looks at: decisions that are made by the clock, and counted as the guard counts.

A person's decisions pass the guard, for somebody has looked. `auto_resolve` decides for nobody, so what it would blank,
rename or change is counted before it decides anything; what goes beyond the limits of a stream is left to a person.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.core import ages
from crm_sync.core.guard import What, judge, sentence
from crm_sync.core.spec import Policy, StreamSpec, System
from crm_sync.hub import guard as counting
from crm_sync.hub import review
from crm_sync.hub.review import Conflict, Decision
from crm_sync.hub.store import Store
from crm_sync.steps.resolve import SIDES, Resolved, choice, resolve


def automatic(
    store: Store, system: System, crm: Callable[[str], Crm], connection: str, *, now: datetime
) -> Resolved | None:
    """Settle the conflicts of a connection that nobody has looked at for as long as its file says; None without any. Of a
    stream of which the guard does not let so much pass, none is decided: they wait for a person.

    Raises as `resolve` does.
    """
    option = system.connection(connection).auto_resolve
    found = overdue(store.conn, system, connection, now) if option is not None else []
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


def overdue(conn: Connection, system: System, connection: str, now: datetime) -> list[Conflict]:
    """The conflicts that `automatic` would settle, without regard to the guard."""
    option = system.connection(connection).auto_resolve
    if option is None:
        return []
    found = review.find(conn, connection=connection, until=now - option.after)
    known = {stream.entity for stream in system.connection(connection).streams}
    return [c for c in found if c.entity in known and choice(c, option.policy) is not None]


def due(conn: Connection, system: System, connection: str, now: datetime) -> bool:
    """Whether there are any such conflicts, without reading them all."""
    spec = system.connection(connection)
    if spec.auto_resolve is None or spec.auto_resolve.policy is Policy.MANUAL:
        return False
    # By their times only those are settled of which one is later.
    sides = SIDES if spec.auto_resolve.policy is Policy.MOST_RECENT_WINS else ("",)
    until = now - spec.auto_resolve.after
    return any(
        review.find(conn, connection=connection, entity=stream.entity, until=until, newer=side, limit=1)
        for stream in spec.streams
        for side in sides
    )


def beyond(
    store: Store, system: System, decided: Sequence[tuple[Conflict, Decision]]
) -> Mapping[tuple[str, str], str]:
    """The streams, by connection and entity, in which these decisions would do more than the guard lets pass to one side,
    each with a sentence about it."""
    streams: dict[tuple[str, str], list[tuple[Conflict, Decision]]] = defaultdict(list)
    for conflict, decision in decided:
        streams[conflict.connection, conflict.entity].append((conflict, decision))
    found = {}
    for names, group in streams.items():
        stream = system.stream(*names)
        for decision in ("use_crm", "use_hub"):
            said = _excess(store, stream, [c for c, chosen in group if chosen == decision], decision)
            if said is not None:
                found[names] = said
    return found


def _excess(
    store: Store, stream: StreamSpec, conflicts: Sequence[Conflict], decision: Decision
) -> str | None:
    """Why these are too many; None if they may pass. Most are judged without a look at the database."""
    keys = {name for rule in stream.match for name in rule}
    records: dict[tuple[What, str], set[UUID]] = defaultdict(set)
    for c in conflicts:
        new, old = (c.crm_value, c.hub_value) if decision == "use_crm" else (c.hub_value, c.crm_value)
        records[What.CHANGES, ""].add(c.hub_id)
        if new is None and old is not None:
            records[What.BLANKS, c.field].add(c.hub_id)
        elif new is not None and old is not None and c.field in keys:
            records[What.KEYS, c.field].add(c.hub_id)
    counts = {key: len(ids) for key, ids in records.items()}
    if not judge(counts, 0, stream.guard):
        return None
    linked = counting.linked(store.conn, stream)
    excess = judge(counts, linked, stream.guard)
    return sentence(excess, linked) if excess else None
