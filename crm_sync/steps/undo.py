"""Undo: put back what the sync wrote in a run or a period, in the hub and the CRMs; what was edited since stays.

    plan:  journal ─▶ whole records; touched fields ─▶ look at their records in the CRMs ─▶ judge (core.undo) ─▶ plan
    apply: whole records first (undo_made.py, undo_records.py), then fields
           batch by batch, each a transaction: look again, judge again, put the hub back, note it in the journal;
           then the ordinary outbound step sends it to the CRMs, which it looks at before it writes

Killed at any moment and run again it ends the same: what is back already is found to be so. Why it works this way:
docs/decisions/0014-undo.md.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeAlias
from uuid import UUID

import psycopg

from crm_sync.connectors.crm import CRM_ID, Crm
from crm_sync.core.errors import LostLeaseError, StorageError, SyncError
from crm_sync.core.spec import Direction, StreamSpec, System
from crm_sync.core.undo import Fate, Judged, Known, Place, Terms, judge
from crm_sync.hub import history, mirror, undo, undo_life_now, undo_made, undo_now, undo_records
from crm_sync.hub.refusals import REFUSED
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Selection
from crm_sync.steps import identity
from crm_sync.steps import undo_made as made
from crm_sync.steps import undo_records as records
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from crm_sync.steps.reasons import refused_by_hub
from crm_sync.steps.undo_references import resolved, targets_of
from crm_sync.steps.undo_told import Applied, Planned

log = logging.getLogger(__name__)

BATCH = 2_000  # records; what a transaction holds, and what is in memory
SENT_AT_ONCE = 100_000  # records that outbound is told of at a time

Looked: TypeAlias = Mapping[str, tuple[set[str], set[str]]]
"""By connection: the CRM ids that were just seen, and the fields that they lacked."""


class Undo:
    """One undo, in the session of `store`; `crm` gives the connector of a connection."""

    def __init__(
        self, store: Store, system: System, crm: Callable[[str], Crm], *, batch: int = BATCH
    ) -> None:
        self.store = store
        self.conn = store.conn
        self.system = system
        self.crm = crm
        self.batch = batch

    def plan(self, selection: Selection, *, created: bool = False) -> Planned:
        """Find out what would be done; `created`: records that were created in a CRM are deleted there. Nothing is written
        but what is seen of the CRMs.

        Raises BusyError while a sync works on a stream concerned, CrmError if a CRM cannot be looked at.
        """
        number = undo.collect(self.conn, selection, self.system.entities)
        undo_records.collect(self.conn, made=created)
        if created:
            made.read_referring(self.store, self.system, self.crm)
        for entity in self.system.entities if created else ():
            with self._leases(entity):
                for stream in self.system.of_entity(entity):
                    if ids := undo_made.crm_ids(self.conn, stream):
                        made.look(self.store, self.crm(stream.connection), stream, ids)
        undo_records.judge(self.conn, self.system)
        undo_records.settle(self.conn)
        undo.pick(self.conn)
        for entity, spans in self._spans(planned=False).items():
            with self._leases(entity):
                for first, last in spans:
                    looked = self._look(entity, first, last)
                    self.store.committed(partial(self._note, entity, first, last, looked))
        return self.planned(number)

    def apply(self, selection: Selection, person: str) -> Applied:
        """Do what `plan` has found, as far as nothing was edited since; `person` is named in the journal.

        Raises BusyError and CrmError as `plan` does; what was put back until then stays, and is sent by the next
        sync. What goes wrong with sending is told in `Applied.failures`.
        """
        done = Applied()
        made.read_referring(self.store, self.system, self.crm)  # once more: a person may have thought long
        configuration = {"direction": "hub", "undo_of": str(selection), "by": person}
        referring = tuple(reversed(self.system.entities))  # what refers to others before what it refers to
        for entities, kinds in (
            (referring, ("made",)),
            (referring, records.GOING),
            (self.system.entities, records.COMING),
        ):
            for entity in entities:
                if undo_records.any_of(self.conn, entity, kinds):
                    self._apply_records(entity, kinds, selection, person, configuration, done)
        undo_records.settle(self.conn)
        for entity, spans in self._spans(planned=True).items():
            with (
                self._leases(entity),
                history.running(self.store, "hub", entity, "undo", configuration) as progress,
            ):
                for first, last in spans:
                    looked = self._look(entity, first, last)
                    reason = f"undo of {selection} by {person}"
                    back, refused = self.store.committed(
                        partial(self._put_back_batch, entity, first, last, looked, reason)
                    )
                    done.fields += back
                    progress.processed += back + refused
                    progress.updated += back
                    progress.failed += refused
        for entity in self.system.entities:
            self._send(entity, done)
        if some := undo_life_now.look_again(self.conn):
            undo_records.judge(self.conn, self.system, some)
        return done

    def _apply_records(
        self,
        entity: str,
        kinds: Sequence[str],
        selection: Selection,
        person: str,
        configuration: Mapping[str, str],
        done: Applied,
    ) -> None:
        with (
            self._leases(entity),
            history.running(self.store, "hub", entity, "undo", configuration) as progress,
        ):
            reason = f"undo of {selection} by {person}"
            went: dict[str, int] = {}
            if "made" in kinds:
                for stream in self.system.of_entity(entity):
                    crm = self.crm(stream.connection)
                    number = made.apply(self.store, self.system, crm, stream, reason)
                    went[stream.name] = number
                    done.deleted_in_crms += number
            else:
                went = records.apply(self.store, self.system, entity, kinds, person, reason, batch=self.batch)
            done.links += went.get("link", 0)
            done.deleted += went.get("created", 0)
            done.back += sum(went.get(kind, 0) for kind in records.COMING)
            progress.processed = progress.updated = sum(went.values())

    def planned(self, journal_rows: int) -> Planned:
        """The plan as it is now; after `apply`, with what was left after all."""
        return Planned(
            journal_rows,
            undo.totals(self.conn),
            undo.by_system(self.conn),
            undo.left(self.conn),
            undo_records.totals(self.conn),
        )

    def _spans(self, *, planned: bool) -> dict[str, list[tuple[int, int]]]:
        """First and last record of each batch, by entity."""
        spans: dict[str, list[tuple[int, int]]] = {}
        for entity, first, last in undo.batches(self.conn, self.batch, planned=planned):
            spans.setdefault(entity, []).append((first, last))
        return spans

    def _leases(self, entity: str) -> ExitStack:
        """No merge of the entity, and no read or write of its streams, beside us."""
        stack = ExitStack()
        try:
            stack.enter_context(self.store.exclusive(f"hub {entity}"))
            for stream in self.system.of_entity(entity):
                stack.enter_context(self.store.exclusive(stream.name))
        except BaseException:
            stack.close()
            raise
        return stack

    def _look(self, entity: str, first: int, last: int) -> Looked:
        """Bring the mirror up to date about these records; what has changed is marked for the next sync."""
        looked: dict[str, tuple[set[str], set[str]]] = {}
        for stream in self.system.of_entity(entity):
            crm = self.crm(stream.connection)
            identity.check(self.store, stream.connection, Options(), Report(), crm)
            seen: set[str] = set()
            absent: set[str] = set()
            ids = undo_now.linked(self.conn, stream, first, last)
            for page in crm.by_ids(stream, ids) if ids else ():
                merge = partial(mirror.merge, stream=stream, page=page, looked_up=True)
                absent |= self.store.committed(merge).absent
                seen |= {crm_id for crm_id in page.batch.column(CRM_ID).to_pylist() if crm_id}
            looked[stream.connection] = (seen, absent)
        return looked

    def _note(self, entity: str, first: int, last: int, looked: Looked, conn: psycopg.Connection) -> None:
        undo.note(conn, self._judged(entity, first, last, looked))

    def _judged(
        self, entity: str, first: int, last: int, looked: Looked, *, lock: bool = False
    ) -> list[Judged]:
        """The fate of what was touched of these records, as things stand now."""
        fields = self.system.hub_fields(entity)
        found = undo_now.touched(self.conn, entity, list(fields.values()), first, last, lock=lock)
        streams = {stream.connection: stream for stream in self.system.of_entity(entity)}
        places: dict[int, list[Place]] = {}
        for name, stream in streams.items():
            seen, absent = looked[name]
            there = undo_now.places(self.conn, stream, first, last, seen=seen, absent=absent)
            for n, place in there.items():
                places.setdefault(n, []).append(place)
        specs = {(name, spec.name): spec for name, s in streams.items() for spec in s.columns}
        found = resolved(self.conn, found, streams, specs)
        targets = targets_of(self.conn, self.system, found, streams, fields)
        known = Known(
            hub=fields,
            specs=specs,
            computed={spec.name for s in streams.values() for spec in s.fields if spec.computed is not None},
            as_crm=lambda connection, spec, value: targets.get((connection, spec.entity or ""), {}).get(
                value
            ),
        )
        terms = Terms()
        return [judge(t, places.get(t.n, ()), known, terms) for t in found]

    def _put_back_batch(
        self, entity: str, first: int, last: int, looked: Looked, reason: str, _: psycopg.Connection
    ) -> tuple[int, int]:
        """Put back what the plan has promised and still can be; how many fields went through, and how many the hub
        refused."""
        promised = undo.promised(self.conn, first, last)
        judged = [j for j in self._judged(entity, first, last, looked, lock=True) if j.touched.n in promised]
        turned = [j for j in judged if j.fate is not Fate.UNDO]
        refused: list[Judged] = []
        wanted = [j for j in judged if j.fate is Fate.UNDO and j.value == promised[j.touched.n]]
        back = sum(len(part) for part in self._put_back(entity, wanted, reason, refused))
        undo.renote(self.conn, [*turned, *refused])
        return back, len(refused)

    def _put_back(
        self, entity: str, judged: Sequence[Judged], reason: str, refused: list[Judged]
    ) -> Iterator[Sequence[Judged]]:
        """Put back at once; if the hub table refuses, halve until the value is alone."""
        if not judged:
            return
        fields = list(self.system.hub_fields(entity).values())
        try:
            with self.conn.transaction():
                undo_now.put_back(self.conn, entity, fields, judged, self.store.run_id or "", reason)
        except REFUSED as error:
            if len(judged) == 1:
                why = refused_by_hub(error, "").reason
                refused.append(
                    replace(judged[0], fate=Fate.LEFT, about="the hub refuses the old value", detail=why)
                )
                return
        else:
            yield judged
            return
        middle = _middle(judged)
        yield from self._put_back(entity, judged[:middle], reason, refused)
        yield from self._put_back(entity, judged[middle:], reason, refused)

    def _send(self, entity: str, done: Applied) -> None:
        """Let outbound send what is back in the hub."""
        self._send_some(entity, undo_life_now.to_send(self.conn, entity), done)
        after = 0
        while some := undo_now.to_send(self.conn, entity, after=after, limit=SENT_AT_ONCE):
            after = some[-1][0]
            self._send_some(entity, [hub_id for _, hub_id in some], done)

    def _send_some(self, entity: str, only: Sequence[UUID], done: Applied) -> None:
        for stream in self.system.of_entity(entity) if only else ():
            if stream.direction is not Direction.INBOUND and stream.name not in done.failures:
                self._send_to(stream, only, done)

    def _send_to(self, stream: StreamSpec, only: Sequence[UUID], done: Applied) -> None:
        try:
            report = outbound(self.store, self.crm(stream.connection), stream, Options(), only=only)
        except (LostLeaseError, StorageError):
            raise
        except SyncError as error:
            log.warning("%s: undone in the hub, not sent: %s", stream.name, error)
            done.failures[stream.name] = str(error)
        else:
            done.reports.setdefault(stream.name, Report()).include(report)


def _middle(judged: Sequence[Judged]) -> int:
    """Where to halve: between two records, as long as there is more than one."""
    middle = len(judged) // 2
    for at in range(middle, len(judged)):
        if at and judged[at].touched.hub_id != judged[at - 1].touched.hub_id:
            return at
    for at in range(middle, 0, -1):
        if judged[at].touched.hub_id != judged[at - 1].touched.hub_id:
            return at
    return middle
