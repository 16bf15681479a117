"""Undo: put back what the sync wrote in a run or a period, in the hub and the CRMs; what was edited since stays.

    plan:  journal ─▶ touched fields ─▶ look at their records in the CRMs ─▶ judge (core.undo) ─▶ plan
    apply: batch by batch, each a transaction: look again, judge again, put the hub back, note it in the journal;
           then the ordinary outbound step sends it to the CRMs, which it looks at before it writes

Killed at any moment and run again it ends the same: what is back already is found to be so. Why it works this way:
docs/decisions/0014-undo.md.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from uuid import UUID

import psycopg

from crm_sync.connectors.crm import CRM_ID, Crm
from crm_sync.core.errors import LostLeaseError, StorageError, SyncError
from crm_sync.core.spec import Direction, FieldSpec, FieldType, StreamSpec, System
from crm_sync.core.undo import Fate, Judged, Known, Place, Terms, Touched, judge
from crm_sync.hub import history, mirror, undo, undo_now
from crm_sync.hub.store import Store
from crm_sync.hub.undo import Left, Selection, Total
from crm_sync.steps import identity
from crm_sync.steps.options import Options, Report
from crm_sync.steps.outbound import outbound
from crm_sync.steps.reasons import refused_by_hub

log = logging.getLogger(__name__)

BATCH = 2_000  # records; what a transaction holds, and what is in memory
SENT_AT_ONCE = 100_000  # records that outbound is told of at a time

Looked: TypeAlias = Mapping[str, tuple[set[str], set[str]]]
"""By connection: the CRM ids that were just seen, and the fields that they lacked."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What an undo would do. journal_rows: how many the selection has; systems: values that each system would get."""

    journal_rows: int
    totals: Sequence[Total]
    systems: Mapping[str, int]
    left: Sequence[Left]

    def number(self, *fates: Fate) -> int:
        """How many fields have one of these fates."""
        return sum(total.number for total in self.totals if total.fate in fates)


@dataclass(slots=True)
class Applied:
    """What an undo did: fields put back in the hub, what each stream was sent, and why a stream was not."""

    fields: int = 0
    reports: dict[str, Report] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


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

    def plan(self, selection: Selection) -> Planned:
        """Find out what would be done. Nothing is written but what is seen of the CRMs.

        Raises BusyError while a sync works on a stream concerned, CrmError if a CRM cannot be looked at.
        """
        number = undo.pick(self.conn, selection, self.system.entities)
        for entity, spans in self._spans(planned=False).items():
            with self._leases(entity):
                for first, last in spans:
                    looked = self._look(entity, first, last)
                    with self.store.transaction():
                        undo.note(self.conn, self._judged(entity, first, last, looked))
        return self.planned(number)

    def apply(self, selection: Selection, person: str) -> Applied:
        """Do what `plan` has found, as far as nothing was edited since; `person` is named in the journal.

        Raises BusyError and CrmError as `plan` does; what was put back until then stays, and is sent by the next
        sync. What goes wrong with sending is told in `Applied.failures`.
        """
        done = Applied()
        for entity, spans in self._spans(planned=True).items():
            configuration = {"direction": "hub", "undo_of": str(selection), "by": person}
            with (
                self._leases(entity),
                history.running(self.store, "hub", entity, "undo", configuration) as progress,
            ):
                for first, last in spans:
                    looked = self._look(entity, first, last)
                    with self.store.transaction():
                        back, refused = self._put_back_batch(
                            entity, first, last, looked, f"undo of {selection} by {person}"
                        )
                    done.fields += back
                    progress.processed += back + refused
                    progress.updated += back
                    progress.failed += refused
        for entity in self.system.entities:
            self._send(entity, done)
        return done

    def planned(self, journal_rows: int) -> Planned:
        """The plan as it is now; after `apply`, with what was left after all."""
        return Planned(journal_rows, undo.totals(self.conn), undo.by_system(self.conn), undo.left(self.conn))

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
                with self.store.transaction() as conn:
                    merged = mirror.merge(conn, stream, page, looked_up=True)
                absent |= merged.absent
                seen |= {crm_id for crm_id in page.batch.column(CRM_ID).to_pylist() if crm_id}
            looked[stream.connection] = (seen, absent)
        return looked

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
        found = self._resolved(found, streams, specs)
        targets = self._targets(found, streams, fields)
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

    def _resolved(
        self,
        found: Sequence[Touched],
        streams: Mapping[str, StreamSpec],
        specs: Mapping[tuple[str, str], FieldSpec],
    ) -> list[Touched]:
        """Old references of a CRM in the hub's terms."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for t in found:
            spec = specs.get((t.first_connection, t.field))
            if (
                t.first_side == "crm"
                and t.first_old is not None
                and spec is not None
                and spec.entity is not None
            ):
                wanted.setdefault((t.first_connection, spec.entity), set()).add(t.first_old)
        known = {
            key: undo_now.hub_ids(self.conn, streams[key[0]], key[1], sorted(ids))
            for key, ids in wanted.items()
        }
        resolved = []
        for t in found:
            spec = specs.get((t.first_connection, t.field))
            ids = known.get((t.first_connection, spec.entity or ""), {}) if spec is not None else {}
            is_crm = t.first_side == "crm" and t.first_old is not None
            resolved.append(replace(t, first_as_hub=ids.get(t.first_old or "")) if is_crm and ids else t)
        return resolved

    def _targets(
        self, found: Sequence[Touched], streams: Mapping[str, StreamSpec], fields: Mapping[str, FieldSpec]
    ) -> dict[tuple[str, str], dict[str, str]]:
        """Hub ids that references go back to, in each CRM's terms: by connection and referenced entity."""
        wanted: dict[str, set[str]] = {}
        for t in found:
            spec = fields.get(t.field)
            if spec is not None and spec.type is FieldType.REFERENCE and spec.entity is not None:
                value = t.first_old if t.first_side == "hub" else t.first_as_hub
                wanted.setdefault(spec.entity, set()).update([value] if value else [])
        return {
            (name, entity): undo_now.crm_ids(self.conn, stream, entity, sorted(ids))
            for name, stream in streams.items()
            for entity, ids in wanted.items()
            if any(other.entity == entity for other in self.system.connection(name).streams)
        }

    def _put_back_batch(
        self, entity: str, first: int, last: int, looked: Looked, reason: str
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
        except (psycopg.IntegrityError, psycopg.DataError, psycopg.errors.RaiseException) as error:
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
        after = 0
        while some := undo_now.to_send(self.conn, entity, after=after, limit=SENT_AT_ONCE):
            after = some[-1][0]
            only: list[UUID] = [hub_id for _, hub_id in some]
            for stream in self.system.of_entity(entity):
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
