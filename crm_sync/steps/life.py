"""Deletions and returns in the hub step: what the CRM's word makes of hub records; the rest is left to others.

Before any field is looked at: a record that is gone on one side has no fields to decide about, and one that came back
has.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import psycopg

from crm_sync.core.decide import Kind, Verdict
from crm_sync.core.life import Here
from crm_sync.core.spec import Direction
from crm_sync.hub import life, life_take, references_gone, rules
from crm_sync.hub.refusals import REFUSED
from crm_sync.steps.gate import Gate
from crm_sync.steps.reasons import invalid_value, refused_by_hub
from crm_sync.steps.work import Work

_COUNTED = {Here.ARCHIVED: "archived", Here.DELETED: "deleted", Here.PRESENT: "restored"}


def by_person(v: Verdict) -> bool:
    """Whether a person has decided exactly this."""
    d = v.difference
    return d.decision in ("use_hub", "use_crm") and not (d.decided_by or "").startswith("auto_resolve ")


class Watch(Protocol):
    """Who is told how many records are about to be deleted or archived, and may stop it."""

    def deletions(self, hub_ids: Sequence[UUID]) -> None: ...

    def archivals(self, hub_ids: Sequence[UUID]) -> None: ...


class Life:
    """One chunk's records. open: those about which something remains to be done elsewhere. unsettled: these, and those that
    are parked: their conflicts, and what was decided about them, stay. took: whether hub rows are held."""

    def __init__(self, work: Work, watch: Watch, gate: Gate) -> None:
        self.work = work
        self.watch = watch
        self.gate = gate
        self.open: set[UUID] = set()
        self.unsettled: set[UUID] = set()
        self.took = False

    def look(self, hub_ids: Sequence[UUID]) -> None:
        """Decide about these linked records, and apply what the hub has to do."""
        work = self.work
        verdicts = life.verdicts(work.conn, work.stream, hub_ids)
        if not verdicts:
            return
        takes = self.gate.takes(work, [v for v in verdicts if v.kind is Kind.TAKE])
        unasked = [v for v in takes if not by_person(v)]
        self.watch.deletions([v.difference.hub_id for v in unasked if v.value == Here.DELETED])
        self.watch.archivals([v.difference.hub_id for v in unasked if v.value == Here.ARCHIVED])
        done = self._apply(takes)
        returned = [
            d.hub_id for d in (v.difference for v in verdicts) if d.crm_now == Here.PRESENT != d.crm_then
        ]
        references_gone.back(work.conn, work.stream, returned)
        rules.note(work.conn, work.stream, verdicts)
        agreed = [v for v in verdicts if v.kind is Kind.CONVERGED]
        life.agree(
            work.conn, work.stream, [(d.hub_id, d.hub_now, d.crm_now) for d in (v.difference for v in agreed)]
        )
        settled = done | {v.difference.hub_id for v in agreed}
        self.unsettled = {v.difference.hub_id for v in verdicts} - settled
        if work.stream.direction is Direction.INBOUND:  # nobody sends
            self.unsettled -= {v.difference.hub_id for v in verdicts if v.kind is Kind.PUSH}
        self.open = self.unsettled - {p.hub_id for p in work.failed if p.hub_id is not None}
        self._count(verdicts, [v for v in takes if v.difference.hub_id in done])

    def _apply(self, takes: Sequence[Verdict]) -> set[UUID]:
        """Apply; if the hub refuses, halve until the record is alone, and park it."""
        work = self.work
        if not takes:
            return set()
        try:
            with work.conn.transaction() as applying:
                done, refused = life_take.apply(work.conn, work.stream, takes, work.store.run_id)
                if work.options.dry_run:  # it lasts, and an application must not wait for these rows
                    raise psycopg.Rollback(applying)
        except REFUSED as error:
            if len(takes) == 1:
                d = takes[0].difference
                work.failed.append(refused_by_hub(error, d.crm_id, hub_id=d.hub_id))
                return set()
            middle = len(takes) // 2
            return self._apply(takes[:middle]) | self._apply(takes[middle:])
        by_crm = {v.difference.crm_id: v.difference.hub_id for v in takes}
        for crm_id, value in refused:
            work.failed.append(invalid_value("crm", crm_id, value, crm_id=crm_id, hub_id=by_crm[crm_id]))
        self.took = self.took or (bool(done) and not work.options.dry_run)
        return done

    def _count(self, verdicts: Sequence[Verdict], done: Sequence[Verdict]) -> None:
        work = self.work
        for v in done:
            here = Here(v.value or "")
            work.report.add(_COUNTED[here])
            work.report.show(
                record=str(v.difference.hub_id), action=f"{_COUNTED[here]} in the hub: {v.reason}"
            )
            if work.options.dry_run:
                work.take(v)
        for kind, name in ((Kind.DISPUTE, "disputes"), (Kind.PUSH, "to_push"), (Kind.CONVERGED, "converged")):
            work.report.add(name, sum(v.kind is kind for v in verdicts))
