"""What an error means for the run: said in a sentence, tried again or not, without anybody's data.

Connectors have already waited and tried again for what passes within seconds; a step is only tried again for what
may pass in a minute. Where only the limits say "later", nothing has failed: the step ends without a result, what
depends on it is skipped, and the next scheduled run goes on. Errors from elsewhere (a driver, a bug) may quote values
of records in their text, so that of those only the type and the place are shown.
"""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg

from crm_sync.core.errors import BusyError, CrmError, HeldError, LostLeaseError, SyncError, sentences
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.history import left_for_later

RETRY = dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For failures that allow it: `Failure(allow_retries=False)` is final."""

QUIET = "passes by itself"
"""Metadata of a failure that nobody need be told about."""
STOPPED = "stopped"
"""Metadata of the observation of an asset whose step ended early: why, and when it goes on."""
PATIENCE = 60.0
"""Seconds: an error that is over later than that is left to the next scheduled run."""


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn every error of the block into a `dg.Failure` about `what` (a stream, a job)."""
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:  # noqa: BLE001 - nothing is swallowed
        raise failure(what, error) from None  # a chained error would bring its text along


@contextmanager
def later(context: dg.AssetExecutionContext, stream: StreamSpec) -> Iterator[None]:
    """End the block, and with it the asset, without a result if the limits allow no more for now.

    Only for what the next scheduled run goes on with. The asset must have `output_required=False`: what depends on it
    is then skipped, as it may only follow a whole step (a record that was not read yet could be created twice).
    """
    try:
        yield
    except HeldError as error:
        if not left_for_later(error):
            raise
        context.log.warning("%s: %s", stream.name, error)
        said = dg.MetadataValue.text(f"{stream.name}: {error}")
        context.log_event(dg.AssetObservation(context.asset_key, metadata={STOPPED: said}))


def failure(what: str, error: Exception) -> dg.Failure:
    """The failure that `error` means."""
    if isinstance(error, SyncError):
        advice = error.rule.advice if isinstance(error, CrmError) and not isinstance(error, HeldError) else ""
        return dg.Failure(
            sentences(f"{what}: {error}", advice), metadata=_facts(error), allow_retries=_may_pass(error)
        )
    facts: dict[str, dg.MetadataValue] = {
        "error": dg.MetadataValue.text(type(error).__name__),
        "where": _where(error),
    }
    if isinstance(error, psycopg.Error) and error.sqlstate:
        facts["sqlstate"] = dg.MetadataValue.text(error.sqlstate)
    return dg.Failure(
        f"{what}: {type(error).__name__}, see the metadata for the place; its text is left out, it may hold values"
        " of records",
        metadata=facts,
        allow_retries=_may_pass(error),
    )


def _may_pass(error: Exception) -> bool:
    """Whether the step may be run again. An unknown outcome too: the outbound step looks before it writes."""
    if isinstance(error, HeldError) and error.retry_after is not None:
        return False  # the limiter or the circuit breaker knows when it goes on; the next run will see
    if isinstance(error, CrmError):
        return error.rule.next_run and (error.retry_after or 0.0) <= PATIENCE
    return isinstance(error, (BusyError, LostLeaseError, psycopg.OperationalError))


def _facts(error: SyncError) -> Mapping[str, dg.MetadataValue]:
    if not isinstance(error, CrmError):
        return {"error": dg.MetadataValue.text(type(error).__name__)}
    facts: dict[str, dg.MetadataValue] = {"error": dg.MetadataValue.text(str(error.error_class))}
    if not error.rule.alert:
        facts[QUIET] = dg.MetadataValue.bool(True)
    if error.code is not None:
        facts["code"] = dg.MetadataValue.text(error.code)
    if error.status is not None:
        facts["status"] = dg.MetadataValue.text(str(error.status))
    return facts


def _where(error: Exception) -> dg.MetadataValue:
    """The calls that led here, without the error's text."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return dg.MetadataValue.md("```\n" + "\n".join(lines) + "\n```")
