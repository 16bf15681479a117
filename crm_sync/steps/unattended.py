"""What nobody looks at is counted as the guard counts: decisions that are made by the clock.

A person's decisions pass the guard, for somebody has looked. `auto_resolve` decides for nobody, so what it would blank,
rename or change is counted before it decides anything; what goes beyond the limits of a stream is left to a person.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from crm_sync.core.guard import What, judge, sentence
from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import guard as counting
from crm_sync.hub.review import Conflict, Decision
from crm_sync.hub.store import Store


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
