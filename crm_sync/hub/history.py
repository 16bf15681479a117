"""Sync history: one row per stream and run in `sync.history`, from the moment it starts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from crm_sync.core.errors import ErrorClass, HeldError, SyncError
from crm_sync.hub import again
from crm_sync.hub.store import Store


@dataclass(slots=True)
class Progress:
    """What a running sync has done so far; the history row is written from it at the end."""

    processed: int = 0
    created: int = 0
    updated: int = 0
    failed: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)


@contextmanager
def running(
    store: Store, connection: str, entity: str, sync_type: str, configuration: Mapping[str, Any]
) -> Iterator[Progress]:
    """Keep the history of one stream and run: `running` now; `success`, `partial` (some records failed, or the limits
    left the rest to a later run) or `failed` (an exception) at the end. An exception goes on in either case. Error
    messages never hold values of records.

    Called by the holder of the stream's lease, so that a row of the stream that still says `running` belongs to a
    process that is gone; it becomes `failed`."""
    _bury(store, connection, entity, configuration)
    row = store.conn.execute(
        "insert into sync.history (run_id, entity, crm_source, sync_type, status, configuration)"
        " values (%s, %s, %s, %s, 'running', %s) returning id",
        [store.run_id, entity, connection, sync_type, Jsonb(dict(configuration))],
    ).fetchone()
    history_id = row[0] if row else None
    progress = Progress()
    try:
        with again.explained(store.conn, f"{connection}/{entity}"):
            yield progress
    except BaseException as error:
        message = str(error) if isinstance(error, SyncError) else type(error).__name__
        if not store.conn.closed and not store.dry_run:
            _end(store, history_id, progress, "partial" if left_for_later(error) else "failed", message)
        raise
    _end(store, history_id, progress, "partial" if progress.failed else "success", None)


def left_for_later(error: BaseException) -> bool:
    """Whether a run only ended because the limits allow no more for now: nothing failed, and another run goes on."""
    return isinstance(error, HeldError) and error.error_class is ErrorClass.RATE_LIMIT


def _bury(store: Store, connection: str, entity: str, configuration: Mapping[str, Any]) -> None:
    """End the rows of runs that were killed. The hub step has a lease of its own, so its rows are told apart."""
    store.conn.execute(
        "update sync.history set status = 'failed', end_time = clock_timestamp(),"
        " error_message = 'the process ended before it was done' where crm_source = %s and entity = %s and status = 'running'"
        " and (configuration ->> 'direction' = 'hub') is not distinct from %s",
        [connection, entity, configuration.get("direction") == "hub"],
    )


def _end(store: Store, history_id: int | None, progress: Progress, status: str, message: str | None) -> None:
    store.conn.execute(
        "update sync.history set status = %s, end_time = clock_timestamp(), records_processed = %s, records_created = %s,"
        " records_updated = %s, records_failed = %s, error_message = %s,"
        " performance_metrics = %s || jsonb_build_object('seconds', extract(epoch from clock_timestamp() - start_time))"
        " where id = %s",
        [status, progress.processed, progress.created, progress.updated, progress.failed, message,
         Jsonb(progress.metrics), history_id],
    )  # fmt: skip
