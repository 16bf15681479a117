"""Verify: read a CRM anew and compare it with what we hold, record by record; every difference with its explanation.

Nothing is written, neither to the CRM nor to any table that the sync uses, and no lease is taken: a sync may run
meanwhile. What seems to be unexplained is therefore looked up once more by its id before it is told.
"""

import logging
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from crm_sync.connectors.crm import Crm, Page, ReadRequest, Window
from crm_sync.core.parity import Found, Known, Record, Value, What, Why, explain
from crm_sync.core.spec import Direction, FieldSpec, StreamSpec
from crm_sync.hub import frozen, holds, parity, parity_facts, watermark
from crm_sync.hub.store import Store
from crm_sync.steps.allowance import Share, for_reading, look_ups, most
from crm_sync.steps.options import calls_since

log = logging.getLogger(__name__)

KEPT = 1_000
"""Differences that are told one by one, unexplained ones and explained ones each; all are counted."""
REPAIRED = 100_000
"""Records that one repair takes on; the next one takes the others."""
LOOKED_AGAIN = 10_000
"""Records that are looked up again at most."""
CHUNK = 2_000


@dataclass(slots=True)
class Parity:
    """What was found. compared: the share of the records we know that was compared (0 to 1). counts: differences by
    what they are and what explains them (None: nothing). hub_ids, crm_ids: records that a repair looks at; apart: by
    field those that differ though they were noted as agreed on."""

    stream: str
    compared: float = 0.0
    crm_records: int = 0
    linked: int = 0
    ranges: int = 0
    ranges_differing: int = 0
    needed: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    counts: Counter[tuple[What, Why | None]] = field(default_factory=Counter)
    unexplained: list[Found] = field(default_factory=list)
    explained: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hub_ids: set[UUID] = field(default_factory=set)
    crm_ids: set[str] = field(default_factory=set)
    apart: dict[str, set[UUID]] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """How many differences nothing explains."""
        return sum(number for (_, why), number in self.counts.items() if why is None)

    def add(self, found: Found, number: int = 1) -> None:
        """Count a difference (`number` of the same kind, of which this is one)."""
        self.counts[found.what, found.why] += number
        kept = self.unexplained if found.why is None else self.explained
        if len(kept) < KEPT:
            kept.append(found)
        if found.why is None and found.what not in _FOR_A_PERSON:
            if found.hub_id is not None and len(self.hub_ids) < REPAIRED:
                self.hub_ids.add(found.hub_id)
                if found.what is What.APART:
                    self.apart.setdefault(found.field, set()).add(found.hub_id)
            if found.crm_id is not None and len(self.crm_ids) < REPAIRED:
                self.crm_ids.add(found.crm_id)


_FOR_A_PERSON = frozenset({What.NO_HUB, What.SAME_HUB_ID, What.LINKED_TWICE})
"""Looking at such a record again changes nothing."""


class _NoJob:
    """Reading for a comparison is not gone on with by a later process."""

    def save(self, state: Mapping[str, Any]) -> None: ...

    def clear(self) -> None: ...


def parts(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """The ids in their order, so many at a time."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def known_records(store: Store, stream: StreamSpec) -> int:
    """How many records of the stream we know, by which calls are estimated."""
    return sum(parity.sizes(store.conn, stream, []).values())


def verify(store: Store, crm: Crm, stream: StreamSpec, share: Share, *, shift: float | None = None) -> Parity:
    """Compare a stream with its CRM, or as much of it as `share` allows. shift: see `allowance.most`.

    Raises CrmError if the CRM cannot be read.
    """
    before = dict(crm.calls)
    work = _Verify(store, crm, stream, share)
    try:
        if share.problem:
            work.found.notes.append(f"not compared: {share.problem}")
            return work.found
        parity.begin(store.conn, stream)
        begin = random.random() if shift is None else shift  # noqa: S311 - no secret
        only = None if share.whole else work.read_some(begin)
        if only is None:
            work.read_all()
        work.compare(only)
    finally:
        if not store.conn.closed:
            parity.end(store.conn)
        work.found.calls = calls_since(before, crm.calls)
    log.info("%s verify: %s", stream.name, work.found.counts)
    return work.found


class _Verify:
    """One comparison, from reading to the last look."""

    def __init__(self, store: Store, crm: Crm, stream: StreamSpec, share: Share) -> None:
        self.store = store
        self.conn = store.conn
        self.crm = crm
        self.stream = stream
        self.share = share
        self.found = Parity(stream.name, needed=share.needed)
        self.outside: set[str] = set()
        self.gone: set[str] = set()
        self.again: list[str] = []
        self._lows: list[str] = []
        self._absent: set[str] = set()
        self._pages = 0

    # Reading.

    def read_all(self) -> None:
        self._take(self.crm.changed(ReadRequest(self.stream, Window()), _NoJob()))
        self.found.compared = 1.0

    def read_some(self, shift: float) -> list[int]:
        """Look up the records of some ranges; returns the ranges."""
        self._lows = parity.cut(self.conn, self.stream, seen=False)
        sizes = parity.sizes(self.conn, self.stream, self._lows)
        left = for_reading(self.share)
        done = most(sizes, shift, lambda records: look_ups(self.stream, records) <= left)
        ids: list[str] = []
        for number in done:  # a call takes ids of several ranges
            ids += parity.ids_of(self.conn, self.stream, self._lows, number)
            while len(ids) >= CHUNK:
                self._take(self.crm.by_ids(self.stream, ids[:CHUNK]))
                del ids[:CHUNK]
        if ids:
            self._take(self.crm.by_ids(self.stream, ids))
        read = sum(sizes[number] for number in done)
        self.found.compared = read / max(sum(sizes.values()), 1)
        self.found.notes.append(
            f"compared {read:,} of {sum(sizes.values()):,} records, in {len(done)} of {len(sizes)} ranges of ids; what"
            " only the CRM has is seen by a comparison of everything"
        )
        return done

    def _take(self, pages: Iterable[Page], *, anew: bool = False) -> list[str]:
        ids: list[str] = []
        for page in pages:
            self._pages += 1
            with self.store.transaction() as conn:
                some, absent = parity.add(conn, self.stream, page, self._pages, anew=anew)
            self._absent |= absent
            ids += some
        return ids

    # Comparing.

    def compare(self, only: Sequence[int] | None) -> None:
        found, conn, stream = self.found, self.conn, self.stream
        found.crm_records = parity.ready(conn)
        if only is None:
            self._lows = parity.cut(conn, stream, seen=True)
        fields = self._fields()
        ranges = parity.digests(conn, stream, fields, self._lows, only)
        differing = [r.number for r in ranges if r.differs]
        found.ranges, found.ranges_differing = len(ranges), len(differing)
        found.linked = sum(r.linked for r in ranges)
        parity.suspect(conn, stream, fields, self._lows, differing)
        room = LOOKED_AGAIN if only is None else self._room()
        for ids in parity_facts.suspects(conn):
            self._explain(ids, fields, room)
        self._look_again(fields)
        self._only_in_hub()
        self._doubles()
        for hold in holds.of_stream(conn, stream):
            found.notes.append(f"no sync goes on before hold #{hold.id} is confirmed: {hold.sentence}")

    def _room(self) -> int:
        """How many records may be looked up again within the budget's reserve."""
        reserve = max(self.share.calls - for_reading(self.share), 0) // 2
        room = LOOKED_AGAIN
        while room and look_ups(self.stream, room) > reserve:
            room //= 2
        return room

    def _fields(self) -> list[FieldSpec]:
        """The fields that were in every page of values."""
        if self._absent:
            names = ", ".join(sorted(self._absent))
            self.found.notes.append(f"not compared, because the CRM does not show them: {names}")
        return [spec for spec in self.stream.fields if spec.name not in self._absent]

    def _known(self) -> Known:
        position = watermark.position(self.store, self.stream)
        since = None if position is None else position - self.crm.overlap
        return Known(since, frozenset(frozen.fields(self.conn, self.stream)), self.outside, self.gone)

    def _explain(self, ids: Sequence[str], fields: Sequence[FieldSpec], room: int) -> list[str]:
        """Explain the differences of these records. Those with something unexplained are put off as far as there is
        room, to be looked up again; returns the ids of the others that have something unexplained."""
        known = self._known()
        records: list[Record] = parity_facts.records(self.conn, self.stream, ids)
        values: list[Value] = parity_facts.values(self.conn, self.stream, fields, ids)
        by_record: dict[str, list[Found]] = {}
        for one in explain(self.stream, records, values, known):
            by_record.setdefault(one.crm_id or "", []).append(one)
        told = []
        for crm_id, differences in by_record.items():
            open_ones = any(one.why is None for one in differences)
            if open_ones and len(self.again) < room:
                self.again.append(crm_id)
                continue
            if open_ones:
                told.append(crm_id)
            for one in differences:
                self.found.add(one)
        return told

    def _look_again(self, fields: Sequence[FieldSpec]) -> None:
        """What seemed unexplained, as it is now: it may have changed while everything was read. If few are left, once
        more, for a sync may have taken them in between the look and the comparison."""
        few = CHUNK if look_ups(self.stream, CHUNK) == 1 else 100
        for last in (False, True):
            ids, self.again = self.again, []
            if not ids:
                return
            listed = parity_facts.listed(self.conn, ids)
            for some in parts(ids, CHUNK):
                there = set(self._take(self.crm.by_ids(self.stream, some), anew=True))
                self.gone.update(set(some) - there)
                parity_facts.forget(self.conn, sorted(self.gone.intersection(some)))
                if self.share.whole and (self.stream.filters or self.stream.record_type):
                    self.outside |= there.intersection(some) - listed
            room = 0 if last or len(ids) > few else few
            for some in parts(ids, parity_facts.BATCH):
                self._explain(some, fields, room)

    def _only_in_hub(self) -> None:
        one_way = self.stream.direction is Direction.INBOUND
        for state, code, number, ids in parity_facts.only_in_hub(self.conn, self.stream, REPAIRED):
            why, detail = (Why.ONE_WAY, "") if one_way else _WAITS[state]
            shown = ids if why is None else ids[:KEPT]
            for hub_id in shown:
                self.found.add(
                    Found(self.stream.name, What.NOT_IN_CRM, hub_id, None, why, code if code and not one_way else detail)
                )  # fmt: skip
            self.found.counts[What.NOT_IN_CRM, why] += number - len(shown)

    def _doubles(self) -> None:
        for what, hub_id, crm_ids in parity_facts.doubles(self.conn, self.stream, KEPT):
            kind = What.SAME_HUB_ID if what == "hub id" else What.LINKED_TWICE
            detail = f"{hub_id}: {', '.join(crm_ids[:5])}"
            self.found.add(Found(self.stream.name, kind, None, crm_ids[0], None, detail))


_WAITS: Mapping[str, tuple[Why | None, str]] = {
    "": (None, "nothing waits for it"),
    "marked": (Why.PENDING, "the next sync looks at it"),
    "in doubt": (Why.PENDING, "the answer to its creation never came; the next sync looks"),
    "parked": (Why.PARKED, ""),
    "archived": (Why.ARCHIVED, "the hub record takes no part in the sync"),
}
