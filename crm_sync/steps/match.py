"""The preview of matching: what a sync would link and create, before anything is written.

The CRMs are read and their records are linked by the real steps, in one transaction that is rolled back (as a dry
run's): afterwards the database is as it was, and no CRM was written to. While it lasts, a sync of the same streams
says that they are busy. Of the hub's own rows none is touched: what a linked CRM record would change in a hub record
is not applied, so that applications need not wait; a later stream is matched with the values of now.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.connectors.crm import Crm
from crm_sync.core.errors import SyncError
from crm_sync.core.spec import Direction, StreamSpec, System
from crm_sync.hub import candidates, dirty, doubles, link, parked
from crm_sync.hub.doubles import Count
from crm_sync.hub.link import Linked
from crm_sync.hub.sql import base_table, hub_table, ident, mirror_table, to_text
from crm_sync.hub.store import Store
from crm_sync.steps.inbound import inbound
from crm_sync.steps.linking import Linker
from crm_sync.steps.options import Options, Report
from crm_sync.steps.unread import creates_wait
from crm_sync.steps.work import Work

EXAMPLES = 3
"""Shown of each outcome and rule of a stream."""

CHUNK = 10_000

_UNDECIDED = ["AMBIGUOUS_MATCH", "MATCH_REVIEW"]

Outcome = Literal[
    "link",
    "create in the hub",
    "create in the CRM",
    "ambiguous",
    "review",
    "waits for its match",
    "cannot enter",
]


@dataclass(frozen=True, slots=True)
class Example:
    """One record and what would become of it. record: the CRM's id, or the hub's where the CRM does not have it; why:
    the match rule, or the reason; hub_ids: the hub record, or those that match; values: of the match rules' fields."""

    outcome: Outcome
    record: str
    why: str
    hub_ids: tuple[str, ...]
    values: dict[str, str | None]


@dataclass(slots=True)
class Preview:
    """What would become of the records of a stream. records: live ones that the CRM has, if it is read; linked: those
    that are linked already; link: how many are going to be, by the rule's name; create_hub: new hub records;
    ambiguous: several hub records match, a person decides; review: hub records are alike, a person decides; cannot_enter: a value is not acceptable; left: neither
    (outbound streams take no new records; a create without an answer); create_crm: hub records that the CRM gets;
    waits: hub records that it does not get, because a record there that matches could not be linked."""

    stream: str
    entity: str
    direction: str
    records: int = 0
    linked: int = 0
    link: dict[str, int] = field(default_factory=dict)
    create_hub: int = 0
    ambiguous: int = 0
    review: int = 0
    cannot_enter: int = 0
    left: int = 0
    create_crm: int = 0
    waits: int = 0
    doubles: list[Count] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    @property
    def will_link(self) -> int:
        return sum(self.link.values())

    @property
    def doubled(self) -> int:
        """Groups of doubles within the CRM, by all rules."""
        return sum(count.groups for count in self.doubles)


@dataclass(slots=True)
class Previews:
    """Streams in the order of a run, and the doubles that the hub tables would have."""

    streams: list[Preview]
    hub: list[Count]

    @property
    def clear(self) -> bool:
        """Whether no record needs a person."""
        return not any(one.ambiguous or one.review or one.cannot_enter or one.waits for one in self.streams)


def preview(
    store: Store,
    crm: Callable[[str], Crm],
    system: System,
    streams: Sequence[StreamSpec],
    *,
    read: bool = True,
    told: Callable[[str], None] = lambda _: None,
) -> Previews:
    """What a sync of these streams would link and create. `store` must be a dry run's, and is of no further use. As in
    a sync, what already waits in the other streams of their entities takes part. Without `read`, the CRMs are not
    asked: the mirror is taken as it stands. told: gets what is being done.

    Raises BusyError if a sync of one of them is going on, CrmError if a CRM cannot be read.
    """
    if not store.dry_run:
        raise SyncError("a preview needs a store whose transaction is rolled back")
    entities = [entity for entity in system.entities if any(s.entity == entity for s in streams)]
    with ExitStack() as held:
        for entity in entities:
            for stream in system.of_entity(entity):
                held.enter_context(store.exclusive(stream.name))
            held.enter_context(store.exclusive(f"hub {entity}"))
        for stream in streams if read else ():
            told(f"reading {stream.name}")
            inbound(store, crm(stream.connection), stream, Options(dry_run=True))
        found: list[Preview] = []
        for entity in entities:
            told(f"matching {entity}")
            for stream in system.of_entity(entity):
                one = _matched(store, stream)
                if stream in streams:
                    found.append(one)
        by_name = {stream.name: stream for stream in streams}
        for one in found:  # after all of them: a later stream's new records go to the earlier one's CRM
            told(f"counting {one.stream}")
            if not creates_wait(store, by_name[one.stream]):
                _outbound(store.conn, by_name[one.stream], one)
            one.doubles = doubles.count_in_crm(store.conn, by_name[one.stream])
        in_hub = [count for entity in entities for count in doubles.count_in_hub(store.conn, system, entity)]
        return Previews(found, in_hub)


def _matched(store: Store, stream: StreamSpec) -> Preview:
    """Link what waits of a stream, as the hub step would, and count."""
    one = Preview(stream.name, stream.entity, stream.direction)
    one.linked = _linked(store.conn, stream)
    shown: dict[tuple[str, str], int] = {}

    def watch(linked: Linked) -> None:
        for rule, number in linked.matched_by.items():
            one.link[rule] = one.link.get(rule, 0) + number
        one.create_hub += linked.created
        for found in candidates.examples(store.conn, stream, EXAMPLES):
            key = (found.outcome, found.rule)
            shown[key] = shown.get(key, 0) + 1
            if shown[key] <= EXAMPLES and (found.outcome != "create" or linked.created):
                one.examples.append(_example(found, linked))

    for entries in dirty.chunks(store.conn, stream, CHUNK):
        unlinked = sorted({e.crm_id for e in entries if e.hub_id is None and e.crm_id is not None})
        if unlinked:
            work = Work(store, stream, Options(), Report())
            with store.transaction() as conn:
                Linker(work, watch).link(unlinked)
                parked.replace(conn, stream, "crm", unlinked, work.failed, store.run_id)
    one.link = {rule: one.link[rule] for rule in candidates.rules(stream) if rule in one.link}
    _count(store.conn, stream, one)
    return one


def _example(found: candidates.Found, linked: Linked) -> Example:
    outcomes: dict[str, Outcome] = {"link": "link", "ambiguous": "ambiguous", "create": "create in the hub"}
    if review := linked.review.get(found.crm_id):
        best = [one.hub_id for one in review.candidates[:5]]
        why = f"the best score is {review.candidates[0].score}" if best else ""
        why = "; ".join(part for part in (why, review.note) if part)
        return Example("review", found.crm_id, why, _texts(best), dict(found.values))
    why = f"by {found.rule}" if found.rule else "nothing matches"
    return Example(outcomes[found.outcome], found.crm_id, why, _texts(found.hub_ids), dict(found.values))


def _texts(hub_ids: Iterable[UUID]) -> tuple[str, ...]:
    return tuple(str(hub_id) for hub_id in hub_ids)


def _linked(conn: Connection, stream: StreamSpec) -> int:
    row = conn.execute(
        sql.SQL("select count(*) from {} m join {} b on b.crm_id = m.crm_id where not m.deleted").format(
            mirror_table(stream), base_table(stream)
        )
    ).fetchone()
    return row[0] if row else 0


def _count(conn: Connection, stream: StreamSpec, one: Preview) -> None:
    """The figures that follow from what the tables say after linking; earlier failures that still hold count too."""
    unlinked = sql.SQL(
        "from {} m where not m.deleted and not exists (select from {} b where b.crm_id = m.crm_id)"
    ).format(mirror_table(stream), base_table(stream))
    waiting = sql.SQL(
        "select p.record_id, p.code, p.field, p.reason from sync.parked p where p.connection = %s and p.entity = %s"
        " and p.side = 'crm' and p.record_id in (select m.crm_id {})"
    ).format(unlinked)
    about = [stream.connection, stream.entity]
    row = conn.execute(
        sql.SQL(
            "select (select count(*) from {mirror} where not deleted), (select count(*) {unlinked}),"
            " count(distinct record_id) filter (where code = 'AMBIGUOUS_MATCH'),"
            " count(distinct record_id) filter (where code = 'MATCH_REVIEW'),"
            " count(distinct record_id) filter (where code <> all(%s)) from ({waiting}) w"
        ).format(mirror=mirror_table(stream), unlinked=unlinked, waiting=waiting),
        [_UNDECIDED, *about],
    ).fetchone()
    assert row is not None
    one.records, without, one.ambiguous, one.review, one.cannot_enter = row
    one.left = without - one.ambiguous - one.review - one.cannot_enter
    rows = conn.execute(
        sql.SQL("select * from ({}) w where code <> all(%s) order by 1, 3 limit %s").format(waiting),
        [*about, _UNDECIDED, EXAMPLES],
    ).fetchall()
    for crm_id, _, name, reason in rows:
        one.examples.append(Example("cannot enter", crm_id, f"{name}: {reason}" if name else reason, (), {}))


def _outbound(conn: Connection, stream: StreamSpec, one: Preview) -> None:
    """The hub records that outbound would create in the CRM, and those that it would keep back."""
    if stream.direction is Direction.INBOUND:
        return
    rows = conn.execute(
        sql.SQL(
            "select h.id from {hub} h join (select distinct m.hub_id from sync.mark m join sync.stream s on s.id = m.stream"
            " where s.connection = %s and s.entity = %s and m.by_hub) w on w.hub_id = h.id"
            " where not exists (select from {base} b where b.hub_id = h.id) order by h.id"
        ).format(hub=hub_table(stream.entity), base=base_table(stream)),
        [stream.connection, stream.entity],
    ).fetchall()
    ids = [row[0] for row in rows]
    waits: set[UUID] = set()
    for start in range(0, len(ids), CHUNK):
        waits |= link.waiting(conn, stream, ids[start : start + CHUNK]).keys()
    one.waits, one.create_crm = len(waits), len(ids) - len(waits)
    new = [hub_id for hub_id in ids if hub_id not in waits][:EXAMPLES]
    _show_hub(conn, stream, one, new, "create in the CRM", "the CRM does not have it")
    _show_hub(
        conn,
        stream,
        one,
        sorted(waits)[:EXAMPLES],
        "waits for its match",
        "a record there matches, and is not linked",
    )


def _show_hub(
    conn: Connection, stream: StreamSpec, one: Preview, hub_ids: Sequence[UUID], outcome: Outcome, why: str
) -> None:
    names = candidates.fields_of(stream)
    columns = [to_text(stream.field(name), ident("h", name)) for name in names]
    rows = conn.execute(
        sql.SQL("select h.id::text, {} from {} h where h.id = any(%s) order by h.id").format(
            sql.SQL(", ").join(columns), hub_table(stream.entity)
        ),
        [list(hub_ids)],
    ).fetchall()
    for hub_id, *values in rows:
        one.examples.append(Example(outcome, hub_id, why, (hub_id,), dict(zip(names, values, strict=True))))
