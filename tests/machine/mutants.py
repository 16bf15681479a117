"""Deliberate faults of the engine. A machine that does not find them proves nothing.

Each is one way in which a sync engine goes wrong in practice, put into the real code by `monkeypatch`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection, sql

import crm_sync.steps.hub as hub_step
import crm_sync.steps.inbound as inbound_step
import crm_sync.steps.outbound as outbound_step
from crm_sync.connectors.crm import Operation
from crm_sync.core import decide
from crm_sync.core.difference import Difference
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import FieldType, StreamSpec
from crm_sync.hub import (
    confirm,
    dirty,
    intents,
    landed,
    lease,
    link,
    merge,
    mirror,
    parked,
    review,
    watermark,
)
from crm_sync.hub.confirm import Accepted
from crm_sync.hub.intents import Intent
from crm_sync.hub.sql import base_table, hub_table, ident, mirror_table
from crm_sync.hub.store import Store
from crm_sync.steps import answers, holding, life, sending
from tests.machine.fragile import FragileCrm

Mutant = Callable[[pytest.MonkeyPatch], None]


def no_overlap(patch: pytest.MonkeyPatch) -> None:
    """Reading goes on exactly at the watermark."""
    reading = inbound_step.reading
    patch.setattr(inbound_step, "reading", lambda **a: reading(**{**a, "overlap": timedelta()}))


def watermark_from_now(patch: pytest.MonkeyPatch) -> None:
    """The watermark is the time at which the run began, not what was seen."""

    def next_watermark(*, started: datetime, newest: datetime | None, quiet: timedelta) -> datetime:
        return started

    patch.setattr(inbound_step, "next_watermark", next_watermark)


def base_moves_on_failure(patch: pytest.MonkeyPatch) -> None:
    """A refused write counts as agreed on."""
    refused = answers.Answers._refused

    def wrong(self, conn, by_key, results, *rest):  # type: ignore[no-untyped-def]
        keys = [UUID(r.key) for r in results if by_key[r.key].crm_id is not None]
        updates = intents.pending(conn, self.stream, keys) if keys else []
        again = refused(self, conn, by_key, results, *rest)
        confirm.confirm(conn, self.stream, [Accepted(i, i.crm_id or "", {}) for i in updates], None)
        return again

    patch.setattr(answers.Answers, "_refused", wrong)


def single_base(patch: pytest.MonkeyPatch) -> None:
    """One value for both sides: the hub's."""

    def both_halves(conn: Connection, stream: StreamSpec) -> None:
        texts = [s for s in stream.fields if s.type in (FieldType.PICKLIST, FieldType.PHONE)]
        if texts:
            conn.execute(
                sql.SQL("update {} set {}").format(
                    base_table(stream),
                    sql.SQL(", ").join(
                        sql.SQL("{} = {}").format(ident(f"{s.name}_crm"), ident(f"{s.name}_hub"))
                        for s in texts
                    ),
                )
            )

    for module in (merge, confirm):
        move = module._move_base

        def wrong(conn, stream, *rest, move=move):  # type: ignore[no-untyped-def]
            result = move(conn, stream, *rest)
            both_halves(conn, stream)
            return result

        patch.setattr(module, "_move_base", wrong)


def blind_create(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether it is there: a create without an answer is simply sent again."""
    patch.setattr(link, "waiting", lambda *a: {})
    patch.setattr(link.candidates, "_by_external_id", lambda *a: None)
    patch.setattr(FragileCrm, "by_hub_ids", lambda self, stream, hub_ids: iter(()))


def no_compare_and_set(patch: pytest.MonkeyPatch) -> None:
    """A take overwrites the hub row as it is, not as it was when it was decided about."""
    move = merge.move

    def wrong(conn, *rest, **flags):  # type: ignore[no-untyped-def]
        for entity in ("contact", "company"):
            conn.execute(
                sql.SQL("update moving m set version = h.xmin::text from {} h where h.id = m.hub_id").format(
                    hub_table(entity)
                )
            )
        return move(conn, *rest, **flags)

    patch.setattr(merge, "move", wrong)


def dispute_dropped(patch: pytest.MonkeyPatch) -> None:
    """A dispute is taken off the queue without being put before anybody."""
    patch.setattr(review, "record", lambda *a: None)


def intent_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What is being sent is not noted before the call."""
    patch.setattr(intents, "note", lambda *a: None)


def intent_without_payload(patch: pytest.MonkeyPatch) -> None:
    """It is noted that something was sent, but not what."""
    read = intents._intents

    def wrong(*a: object) -> list[Intent]:
        return [replace(i, sent={}, hub_values={}) for i in read(*a)]  # type: ignore[arg-type]

    patch.setattr(intents, "_intents", wrong)


def doubt_ignored(patch: pytest.MonkeyPatch) -> None:
    """The hub step decides about records whose last write has no answer yet."""
    patch.setattr(hub_step, "settle_seen", lambda work, hub_ids: set())


def settled_unseen(patch: pytest.MonkeyPatch) -> None:
    """A record that was marked again while it was worked on is taken off the queue."""

    def settle(conn: Connection, stream: StreamSpec, entries: Sequence[dirty.Entry]) -> None:
        for e in entries:
            conn.execute(
                "delete from sync.mark m using sync.stream s where s.id = m.stream and s.connection = %s and s.entity = %s"
                " and m.by_hub = %s and coalesce(m.hub_id::text, m.crm_id) = %s",
                [stream.connection, stream.entity, e.side == "hub", e.record_id],
            )

    patch.setattr(dirty, "settle", settle)


def mirror_goes_back(patch: pytest.MonkeyPatch) -> None:
    """A page that is older than what is known overwrites it."""
    older = "      and (i.modified_at is null or m.modified_at is null or i.modified_at >= m.modified_at))\n"
    assert older in mirror._MERGE
    patch.setattr(mirror, "_MERGE", mirror._MERGE.replace(older, ")\n"))


def listing_believed(patch: pytest.MonkeyPatch) -> None:
    """Of two states of one moment the one that a listing shows is taken for the newer."""
    unsure = (
        "coalesce(i.modified_at = m.modified_at and i.modified_at >= {unsure_from} and not ({enters}), false)"
    )
    assert unsure in mirror._MERGE
    patch.setattr(
        mirror, "_MERGE", mirror._MERGE.replace(unsure, "{unsure_from} is null and {enters} and false")
    )


def absent_is_null(patch: pytest.MonkeyPatch) -> None:
    """A field that is not in a page is taken to be blank."""
    value = mirror.value_of
    patch.setattr(mirror, "value_of", lambda spec, staged: value(spec, staged) or sql.SQL("null"))


def answer_believed(patch: pytest.MonkeyPatch) -> None:
    """Whatever reading back shows is taken to be what was sent."""
    patch.setattr(confirm, "_agrees", lambda spec, sent, meant, said: [True] * len(said))


def own_values_return(patch: pytest.MonkeyPatch) -> None:
    """A change is looked for only on the side that the mark came from: the CRM's change always counts as one."""
    decide_all = hub_step.decide_all

    def wrong(stream: StreamSpec, found: Sequence[Difference], **flags: bool) -> Iterator[decide.Verdict]:
        return decide_all(stream, [replace(d, hub_changed=False) for d in found], **flags)

    patch.setattr(hub_step, "decide_all", wrong)


def retry_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What a CRM refused for the moment is taken off the queue."""
    every = frozenset(ErrorClass)
    patch.setattr(answers, "_CERTAIN", every - {ErrorClass.UNKNOWN_OUTCOME})
    patch.setattr(answers.parked, "park", lambda *a: None)


def watermark_early(patch: pytest.MonkeyPatch) -> None:
    """The watermark moves when reading begins, not with the last page."""
    read = inbound_step._Inbound.read

    def wrong(self: Any, window: Any) -> None:
        newest = max((r.modified for r in self.crm.account.rows(self.stream.object)), default=None)
        if newest is not None:
            with self.store.transaction():
                watermark.advance(self.store, self.stream, newest, full=False)
        read(self, window)

    patch.setattr(inbound_step._Inbound, "read", wrong)


def base_before_answer(patch: pytest.MonkeyPatch) -> None:
    """What is about to be sent counts as agreed on before the CRM has answered."""
    intend = sending.Sender._intend

    def wrong(self: Any, parcel: Any) -> None:
        updates = [i for i in parcel.made.intents if i.kind == "update"]
        intend(self, parcel)
        with self._store.transaction() as conn:
            confirm.confirm(conn, self._stream, [Accepted(i, i.crm_id or "", {}) for i in updates], None)

    patch.setattr(sending.Sender, "_intend", wrong)


def intent_late(patch: pytest.MonkeyPatch) -> None:
    """The intents are committed when the answers come, not before the call."""
    note, forgotten = sending.intents.note, []

    def later(conn: Connection, stream: StreamSpec, noted: Iterable[Intent], run_id: str | None) -> None:
        forgotten.append((stream, list(noted), run_id))

    record = answers.Answers._record

    def wrong(self: Any, *rest: Any, **flags: Any) -> Any:
        with self.store.transaction() as conn:
            while forgotten:
                stream, noted, run_id = forgotten.pop()
                old = intents.in_doubt(conn, stream, {i.hub_id for i in noted})
                note(conn, stream, [i for i in noted if i.hub_id not in old], run_id)
        return record(self, *rest, **flags)

    patch.setattr(sending.intents, "note", later)
    patch.setattr(answers.Answers, "_record", wrong)


def retried_blindly(patch: pytest.MonkeyPatch) -> None:
    """A write without an answer is taken for one that failed: nobody looks."""

    def wrong(self: Any) -> None:
        waiting = [i.hub_id for i in intents.pending(self.store.conn, self.stream)]
        with self.store.transaction() as conn:
            intents.forget(conn, self.stream, waiting)
            dirty.mark_hub(conn, self.stream, waiting)

    patch.setattr(outbound_step._Work, "settle_pending", wrong)


def no_look(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks, just before a write, whether the record still says what was decided about."""
    made = sending.operations_of

    def wrong(*a: Any) -> list[Any]:
        return [replace(o, expected={}) for o in made(*a)]

    patch.setattr(sending, "operations_of", wrong)


def cas_same_second(patch: pytest.MonkeyPatch) -> None:
    """The look just before a write goes by the time of the last change, in whole seconds: an edit in the second of the last read is not seen."""
    begin = sending.Sender._begin

    def wrong(self: Any, parcel: Any) -> None:
        read = dict(
            self._store.conn.execute(
                sql.SQL("select crm_id, modified_at from {}").format(mirror_table(self._stream))
            ).fetchall()
        )

        def unmoved(operation: Operation) -> bool:
            known = read.get(operation.crm_id)
            if known is None or operation.crm_id is None:
                return False
            now = self._crm.account.row(self._stream.object, operation.crm_id).modified
            return bool(now.replace(microsecond=0) == known.replace(microsecond=0))

        parcel.operations = [replace(o, expected={}) if unmoved(o) else o for o in parcel.operations]
        begin(self, parcel)

    patch.setattr(sending.Sender, "_begin", wrong)


def landing_believed(patch: pytest.MonkeyPatch) -> None:
    """A write of ours that takes effect long after it was given up passes for somebody's edit."""
    patch.setattr(outbound_step.doubts, "note", lambda *a: None)


def no_lease(patch: pytest.MonkeyPatch) -> None:
    """Two processes may work on one stream at the same time."""
    patch.setattr(lease, "lock", lambda conn, name: True)
    patch.setattr(lease, "renew", lambda conn, leases: None)


def parked_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A record that cannot go on is put aside, and nobody is told."""
    patch.setattr(parked, "park", lambda *a: None)


def joined_by_position(patch: pytest.MonkeyPatch) -> None:
    """The n-th answer is taken for that of the n-th operation."""
    record_all = answers.Answers.record_all

    def wrong(self: Any, sent: Sequence[Any], heard: Iterable[Any], *rest: Any) -> Any:
        keys = [o.key for o in sent]

        def shifted() -> Iterator[list[Any]]:
            at = 0
            for results in heard:
                yield [replace(r, key=keys[at + n]) for n, r in enumerate(results)]
                at += len(results)

        return record_all(self, sent, shifted(), *rest)

    patch.setattr(answers.Answers, "record_all", wrong)


def bad_record_spoils_its_batch(patch: pytest.MonkeyPatch) -> None:
    """If a CRM refuses one record of a call, all of the call count as refused."""
    record_all = answers.Answers.record_all

    def wrong(self: Any, sent: Sequence[Any], heard: Iterable[Any], *rest: Any) -> Any:
        def spoiled() -> Iterator[list[Any]]:
            for results in heard:
                error = next((r.error for r in results if r.error is not None), None)
                yield [replace(r, ok=False, error=error) for r in results] if error else results

        return record_all(self, sent, spoiled(), *rest)

    patch.setattr(answers.Answers, "record_all", wrong)


def doubtful_match(patch: pytest.MonkeyPatch) -> None:
    """A record that matches one whose create has no answer yet is linked with it."""
    patch.setattr(link.candidates, "set_aside_in_doubt", lambda *a: [])


def freezing_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A field that cannot be read for a while is not noted: what changed meanwhile is never asked for again."""
    patch.setattr(inbound_step.frozen, "freeze", lambda *a: None)


def throttle_ignored(patch: pytest.MonkeyPatch) -> None:
    """When a CRM says that there are too many calls, the next step goes on calling."""
    call = FragileCrm._call

    def wrong(self: FragileCrm, family: str, *, read: bool = False) -> None:
        try:
            call(self, family, read=read)
        except CrmError as error:
            if error.error_class is not ErrorClass.RATE_LIMIT:
                raise
            call(self, family, read=read)

    patch.setattr(FragileCrm, "_call", wrong)


def dry_run_writes(patch: pytest.MonkeyPatch) -> None:
    """A dry run keeps what it noted."""
    patch.setattr(
        Store, "close", lambda self: (self.dry_run and self.conn.execute("commit"), self.conn.close())
    )


def settled_early(patch: pytest.MonkeyPatch) -> None:
    """Marks are taken off the queue in a transaction of their own, before the work is done."""
    work_off = hub_step._work_off

    def wrong(store: Store, stream: StreamSpec, options: Any, *rest: Any) -> Any:
        entries = next(each for each in rest if isinstance(each, list))
        if not options.dry_run:
            with psycopg.connect(store.url) as apart:
                dirty.settle(apart, stream, [e for e in entries if e.side == "crm"])
        return work_off(store, stream, options, *rest)

    patch.setattr(hub_step, "_work_off", wrong)


def deletion_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What one side has deleted stays on the other, and nobody is asked."""
    patch.setattr(life.Life, "look", lambda self, hub_ids: None)


def tombstone_ignored(patch: pytest.MonkeyPatch) -> None:
    """A page that says that a record is deleted is read as if it did not say so."""
    patch.setattr(mirror, "DELETED", "")


def merged_record_made_again(patch: pytest.MonkeyPatch) -> None:
    """A hub record that lost its CRM record in a merge is sent to the CRM as a new one, whoever carries its id there."""
    patch.setattr(holding, "held_by_merges", lambda *a: {})
    patch.setattr(landed, "held", lambda *a: {})


MUTANTS: dict[str, Mutant] = {
    mutant.__name__: mutant
    for mutant in (
        no_overlap, watermark_from_now, watermark_early, base_moves_on_failure, base_before_answer, single_base,
        blind_create, retried_blindly, no_compare_and_set, no_look, cas_same_second, dispute_dropped, intent_forgotten, intent_late,
        intent_without_payload, doubt_ignored, landing_believed, doubtful_match, settled_unseen, settled_early,
        mirror_goes_back, listing_believed, absent_is_null, freezing_forgotten, answer_believed, joined_by_position,
        own_values_return, retry_forgotten, parked_forgotten, bad_record_spoils_its_batch, no_lease, throttle_ignored,
        dry_run_writes, deletion_forgotten, tombstone_ignored, merged_record_made_again,
    )
}  # fmt: skip
