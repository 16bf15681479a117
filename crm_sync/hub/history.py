"""Sync history: one row per stream and run in `sync.history`, from the moment it starts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from crm_sync.core.errors import SyncError
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
    """Keep the history of one stream and run: `running` now; `success`, `partial` (some records failed) or
    `failed` (an exception, which goes on) at the end. Error messages never hold values of records."""
    row = store.conn.execute(
        "insert into sync.history (run_id, entity, crm_source, sync_type, status, configuration)"
        " values (%s, %s, %s, %s, 'running', %s) returning id",
        [store.run_id, entity, connection, sync_type, Jsonb(dict(configuration))],
    ).fetchone()
    history_id = row[0] if row else None
    progress = Progress()
    try:
        yield progress
    except BaseException as error:
        message = str(error) if isinstance(error, SyncError) else type(error).__name__
        if not store.conn.closed and not store.dry_run:
            _end(store, history_id, progress, "failed", message)
        raise
    _end(store, history_id, progress, "partial" if progress.failed else "success", None)


def _end(store: Store, history_id: int | None, progress: Progress, status: str, message: str | None) -> None:
    store.conn.execute(
        "update sync.history set status = %s, end_time = clock_timestamp(), records_processed = %s, records_created = %s,"
        " records_updated = %s, records_failed = %s, error_message = %s,"
        " performance_metrics = %s || jsonb_build_object('seconds', extract(epoch from clock_timestamp() - start_time))"
        " where id = %s",
        [status, progress.processed, progress.created, progress.updated, progress.failed, message,
         Jsonb(progress.metrics), history_id],
    )  # fmt: skip
