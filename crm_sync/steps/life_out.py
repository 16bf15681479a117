"""Deletions on their way to a CRM, and what is to be created there once more.

    decide ─▶ guard ─▶ look at the records ─▶ decide again ─▶ intents ─▶ calls ─▶ record each answer

The look is the compare-and-set of a deletion: what somebody has edited in the CRM since we last read it is not deleted,
but asked about. Few at a time, so that little time passes between the look and the calls. Before a record is created once
more there is a look too: what somebody has taken out of the recycle bin, and no listing shows yet, is there already.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from psycopg import Connection

from crm_sync.connectors.crm import CRM_ID, BatchPage, Crm, Result
from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.deletes import PRESENCE
from crm_sync.core.errors import RULES, ErrorClass, RecordState
from crm_sync.core.life import Here
from crm_sync.core.spec import StreamSpec
from crm_sync.hub import intents, life, life_sent, mirror, parked, review
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.hub.parked import Parked
from crm_sync.hub.store import Store
from crm_sync.steps.gate import Gate
from crm_sync.steps.life import Watch, by_person
from crm_sync.steps.options import Options, Report
from crm_sync.steps.planning import Plan
from crm_sync.steps.sending import operations_of

AT_ONCE = 2_000
"""Records between a look and their deletion: what Salesforce shows in one call."""

SLICE = 5_000
"""Records decided about at once."""


@dataclass(slots=True)
class Parting:
    """What a chunk's records are to their CRM. open: records that somebody still has to look at. again: those that are to
    be created once more, and why. told: those that were parked just now."""

    open: set[UUID] = field(default_factory=set)
    told: set[UUID] = field(default_factory=set)
    again: dict[UUID, Verdict] = field(default_factory=dict)


class NoLog:
    """Deletions are few: no job of the vendor's is gone on with after a crash, the records are looked at."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Forget it."""

    def clear(self) -> None:
        """There is nothing."""


class Deleting:
    """Sends the deletions of one stream."""

    def __init__(
        self,
        store: Store,
        crm: Crm,
        stream: StreamSpec,
        options: Options,
        report: Report,
        watch: Watch,
        gate: Gate,
        show: Callable[[Sequence[Intent]], None],
    ) -> None:
        self.store = store
        self.crm = crm
        self.stream = stream
        self.options = options
        self.report = report
        self.watch = watch
        self.gate = gate
        self.show = show

    def off(self, entries: Sequence[Entry], left: int | None) -> Parting:
        """Decide about the linked records of a chunk, and send its deletions, at most `left`."""
        ids = sorted({e.hub_id for e in entries if e.hub_id is not None and e.crm_id is not None})
        doubted = intents.in_doubt(self.store.conn, self.stream, ids) if ids else set()
        parting = Parting()
        deletes: list[Verdict] = []
        for some in _parts([hub_id for hub_id in ids if hub_id not in doubted], SLICE):
            deletes += self._sorted(life.verdicts(self.store.conn, self.stream, some), parting)
        made = Plan([_intent(v) for v in deletes])
        self.gate.writes(self.stream, made)
        passed = {i.hub_id for i in made.intents[:left]}
        parting.open |= {v.difference.hub_id for v in deletes} - passed
        if self.options.dry_run and passed:
            self.show(made.intents[:left])
        self.report.add("records", len(passed))
        reasons = {i.hub_id: i.reasons for i in made.intents}
        for part in _parts(
            [] if self.options.dry_run else [v for v in deletes if v.difference.hub_id in passed], AT_ONCE
        ):
            self._delete(part, reasons, parting)
        return parting

    def look_again(self, made: Plan, parting: Parting) -> None:
        """Leave out of `made` what need not be created once more, because the CRM has the old record again: a second one
        would be made beside it, or, where an external id finds it, what it says by now overwritten unseen."""
        again = [i for i in made.intents if i.hub_id in parting.again and i.crm_id is not None]
        if not again:
            return
        self._see([i.crm_id for i in again if i.crm_id is not None])
        verdicts = life.verdicts(self.store.conn, self.stream, [i.hub_id for i in again])
        due = {v.difference.hub_id for v in verdicts if v.kind is Kind.PUSH and v.value == Here.PRESENT}
        back = {i.hub_id for i in again} - due
        made.intents = [i for i in made.intents if i.hub_id not in back]
        made.open |= back
        self.report.add("moved", len(back))

    def settle(self, waiting: Sequence[Intent]) -> None:
        """Deletions without an answer: those whose record is gone took effect; the others are decided anew."""
        if not waiting:
            return
        self._see([i.crm_id for i in waiting if i.crm_id is not None])

        def settled(conn: Connection) -> int:
            still = intents.locked(conn, self.stream, [i.hub_id for i in waiting])
            there = life_sent.gone_of(conn, self.stream, [i.crm_id for i in still if i.crm_id is not None])
            done = [i for i in still if i.crm_id in there]
            life_sent.confirm(conn, self.stream, done, "seen to be gone", self.store.run_id)
            intents.forget(conn, self.stream, [i.hub_id for i in still])
            return len(done)

        self.report.add("settled", self.store.committed(settled))

    def _sorted(self, verdicts: Sequence[Verdict], parting: Parting) -> list[Verdict]:
        """The deletions among the verdicts; the others go into `parting`."""
        disputes = [v for v in verdicts if v.kind is Kind.DISPUTE]
        known = (
            review.recorded(self.store.conn, self.stream, [v.difference.hub_id for v in disputes])
            if disputes
            else {}
        )
        deletes: list[Verdict] = []
        for v in verdicts:
            d = v.difference
            if v.kind is Kind.PUSH and v.value == Here.DELETED:
                deletes.append(v)
            elif v.kind is Kind.PUSH:
                parting.again[d.hub_id] = v
            elif v.kind is not Kind.DISPUTE or known.get((d.hub_id, PRESENCE)) != (d.hub_now, d.crm_now):
                parting.open.add(d.hub_id)
        self.report.add("disputes", len(disputes))
        return deletes

    def _delete(
        self, part: Sequence[Verdict], reasons: Mapping[UUID, Mapping[str, str]], parting: Parting
    ) -> None:
        self.watch.deletions([v.difference.hub_id for v in part if not by_person(v)])
        self._see([v.difference.crm_id for v in part])
        decided = life.verdicts(self.store.conn, self.stream, [v.difference.hub_id for v in part])
        sure = self._sorted(decided, parting)
        self.report.add("moved", len(decided) - len(sure))
        planned = [replace(_intent(v), reasons=reasons[v.difference.hub_id]) for v in sure]
        if not planned:
            return
        self.store.committed(lambda conn: intents.note(conn, self.stream, planned, self.store.run_id))
        by_key = {str(i.hub_id): i for i in planned}
        operations = operations_of(self.stream, planned)
        answers = self.crm.write(self.stream, operations, NoLog(), batch_size=self.options.batch_size)
        for results in self.store.fenced(answers):
            record = partial(self._record, by_key, [r for r in results if r.key in by_key])
            again, told = self.store.committed(record)
            parting.open |= again
            parting.told |= told
            self.report.add("retry", len(again))
            self.report.add("parked", len(told))
            deleted = sum(_is_gone(r) for r in results)
            self.report.add("deleted", deleted)
            for r in results:
                if _is_gone(r):
                    self.report.show(record=r.crm_id or "", action="deleted in the CRM")

    def _record(
        self, by_key: Mapping[str, Intent], results: Sequence[Result], conn: Connection
    ) -> tuple[set[UUID], set[UUID]]:
        """What was deleted is confirmed, what was refused is parked; returns what is to be tried again, and what is
        parked."""
        done = [by_key[r.key] for r in results if _is_gone(r)]
        life_sent.confirm(conn, self.stream, done, "by this call", self.store.run_id)
        parked.replace(conn, self.stream, "hub", [str(i.hub_id) for i in done], [], self.store.run_id)
        again: set[UUID] = set()
        refused: list[Parked] = []
        answered: list[UUID] = []
        for r in results:
            if _is_gone(r) or r.error is None:
                continue
            if r.error.error_class is not ErrorClass.UNKNOWN_OUTCOME:  # nothing was done
                answered.append(UUID(r.key))
            if RULES[r.error.error_class].record is RecordState.PARKED:
                refused.append(
                    Parked("hub", r.key, "", r.error.error_class, r.error.code, f"not deleted: {r.error.message}",
                           None, UUID(r.key), by_key[r.key].crm_id)
                )  # fmt: skip
            else:
                again.add(UUID(r.key))
        parked.park(conn, self.stream, refused, self.store.run_id)
        intents.forget(conn, self.stream, answered)
        return again, {p.hub_id for p in refused if p.hub_id is not None}

    def _see(self, crm_ids: Sequence[str]) -> None:
        """Bring the mirror up to date about these records. What a look by id does not show is not there any more."""
        seen: set[str] = set()
        for page in self.crm.by_ids(self.stream, crm_ids) if crm_ids else ():
            seen |= {crm_id for crm_id in page.batch.column(CRM_ID).to_pylist() if crm_id}
            self.store.committed(partial(self._merge, page))
        lost = [crm_id for crm_id in crm_ids if crm_id not in seen]
        if lost:
            self.store.committed(lambda conn: life_sent.gone(conn, self.stream, lost))

    def _merge(self, page: BatchPage, conn: Connection) -> None:
        mirror.merge(conn, self.stream, page, looked_up=True)


def _intent(v: Verdict) -> Intent:
    d = v.difference
    return life_sent.intent(d.hub_id, d.crm_id, d.hub_now, v.reason)


def _is_gone(result: Result) -> bool:
    """Whether the record is not there any more: to delete what is gone is done."""
    return result.ok or (result.error is not None and result.error.error_class is ErrorClass.GONE)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
