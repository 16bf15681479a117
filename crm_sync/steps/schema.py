"""Schema drift: before a stream is read, its object as the CRM describes it now is compared with what is expected.

The describe is the one that the reading needs anyway, remembered for a quarter of an hour; no call is made for this.
While it says the same as the last time, that is all: one row is read.
"""

import logging
from dataclasses import replace

from psycopg import Connection

from crm_sync.connectors.crm import Crm
from crm_sync.core import drift
from crm_sync.core.drift import Change, Kind
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.looks import looks
from crm_sync.core.spec import StreamSpec
from crm_sync.core.window import Reading
from crm_sync.hub import frozen, schema
from crm_sync.hub.store import Store

log = logging.getLogger(__name__)


def begin(store: Store, crm: Crm, stream: StreamSpec, window: Reading) -> tuple[Reading, set[str]]:
    """Look at the object before a window is read. What was lost, or may be damaged, is frozen; changes are journaled.

    Returns the window with all that was modified since the first of the fields that can be seen again was lost, and
    those fields. Raises CrmError if the object cannot be described.
    """
    lost = frozen.fields(store.conn, stream)
    if lost and window.moves:
        crm.forget(stream.object)
    shown, held = _observe(store, crm, stream, window)
    if not lost or not window.moves:
        return window, set()
    back = {f for f in lost if f not in held and shown.issuperset(_read_from(stream, f))}
    if not back:
        return window, back
    since = [window.start, *(lost[field] for field in back)]
    start = None if None in since else min(moment for moment in since if moment is not None)
    return replace(window, start=start, full=start is None), back


def _read_from(stream: StreamSpec, field: str) -> tuple[str, ...]:
    """The vendor's fields; none if the mapping does not have the field any more: then it thaws."""
    return stream.read_from(field) if any(spec.name == field for spec in stream.fields) else ()


def _observe(store: Store, crm: Crm, stream: StreamSpec, window: Reading) -> tuple[set[str], frozenset[str]]:
    """The vendor fields that can be seen, and those of ours whose values may be damaged by another type."""
    try:
        info = crm.describe(stream.object)
    except CrmError as error:
        if error.error_class is ErrorClass.PERMISSION:
            _object_lost(store, stream)
        raise
    now = looks(info.fields, info.record_types, stream)
    digest = drift.digest(now, stream)
    told, held = schema.known(store.conn, stream)
    if told == digest:
        return set(info.fields), held

    def noted(conn: Connection) -> tuple[list[Change], frozenset[str]]:
        """The changes that nobody has accepted, and the fields that they hold."""
        before = schema.expected(conn, stream)
        found = drift.changes(before, now, stream) if before is not None else []
        accepted = [n.change for n in schema.open_changes(conn, [stream]) if n.acknowledged_at is not None]
        known = {change.key for change in accepted}
        left = [c for c in found if c.kind is Kind.REMOVED or c.key not in known]
        lost = frozenset(name for c in left if c.kind is Kind.RETYPED for name in c.freezes)
        schema.note(conn, stream, left)
        schema.save(conn, stream, drift.expected(before or {}, now, found, accepted), digest, lost)
        frozen.freeze(conn, stream, {name for c in left for name in c.freezes}, window.start)
        return left, lost

    changes, held = store.committed(noted)
    for change in changes:
        _tell(stream, change)
    return set(info.fields), held


def _object_lost(store: Store, stream: StreamSpec) -> None:
    """The whole object is away, so that no field of it is looked at; what else was noted stays as it is."""
    if schema.known(store.conn, stream)[0] is None:
        return  # it was never seen

    def noted(conn: Connection) -> None:
        others = [n.change for n in schema.open_changes(conn, [stream]) if n.held]
        gone = Change("*", Kind.OBJECT_REMOVED, held=True, fatal=True)
        schema.note(conn, stream, [*(c for c in others if c.kind is not Kind.OBJECT_REMOVED), gone])
        schema.compare_anew(conn, stream)

    store.committed(noted)


def _tell(stream: StreamSpec, change: Change) -> None:
    level = logging.WARNING if change.held else logging.INFO
    log.log(level, "%s: %s of %s: %s", stream.name, change.field, stream.object, change.kind)
