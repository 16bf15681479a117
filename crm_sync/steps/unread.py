"""Streams that were never read to their end: nothing is created in their CRM.

What the hub has and the CRM seems not to have may be in the part that nobody has read, and would be there twice: only a
CRM record that was read can be matched. So hub records without a link wait in the queue for the first whole read, and are
not planned again and again meanwhile. Whatever leaves something out (a limit, a start date, a day's partition, a backfill,
a killed run) does not set the watermark, and whatever reads all sets it: it is what tells.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from crm_sync.core.guard import OFF
from crm_sync.core.spec import Direction, StreamSpec
from crm_sync.hub import dirty, watermark
from crm_sync.hub.store import Store
from crm_sync.steps.options import Report

NOT_CREATED = "not created: "


def creates_wait(store: Store, stream: StreamSpec) -> bool:
    """Whether the stream, to which something is sent, was never read to its end."""
    return stream.direction is not Direction.INBOUND and watermark.position(store, stream) is None


def counted(store: Store, stream: StreamSpec) -> StreamSpec:
    """The stream for the guard, which does not count creates that wait."""
    if not creates_wait(store, stream):
        return stream
    return replace(stream, guard=replace(stream.guard, creates=OFF))


def note(store: Store, stream: StreamSpec, report: Report, only: Sequence[UUID] | None = None) -> None:
    """Say how many records (of these only, if given) wait for the first read, if any does."""
    report.add("waiting", dirty.unlinked(store.conn, stream, only))
    if report.counts["waiting"]:
        report.notes.append(_said(stream))


def told(store: Store, streams: Sequence[StreamSpec]) -> list[str]:
    """The same for streams that were planned, a sentence each."""
    waiting = (s for s in streams if creates_wait(store, s) and dirty.unlinked(store.conn, s))
    return [_said(stream) for stream in waiting]


def _said(stream: StreamSpec) -> str:
    return f"{NOT_CREATED}{stream.name} was never read to its end; run crm-sync sync {stream.name}"
