"""The port: what the rest of the system knows about a CRM.

A connector is a plain class that implements `Crm` and speaks one vendor's protocol. It knows neither Dagster
nor the database; whatever must survive a crash (job ids, tokens) it hands to the caller through the two small
protocols at the end. Values cross the port as text or None, named by the vendor's field names, in the CRM's own
spelling: a boolean is "true" / "false", a datetime "2026-01-02T03:04:05.000Z", a date "2026-01-02", a number a
plain decimal, a multi-select "A;B" sorted, blank and null both None. Absent is absent: a column that is not in a
page is not known and changes nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, Self

import pyarrow as pa

from crm_sync.connectors.identity import Identity
from crm_sync.connectors.taking_part import TakingPart
from crm_sync.core.errors import RecordError
from crm_sync.core.spec import Condition, StreamSpec
from crm_sync.core.window import QUIET

# System columns of every page, beside the vendor's fields.
CRM_ID = "crm_id"  # the record's id, in its full form (Salesforce: 18 characters)
MODIFIED_AT = "modified_at"  # the vendor's modification time, text, UTC, "…T…Z"
DELETED = "deleted"  # "true" for a record that is deleted or archived, else "false" or None
MERGED_INTO = "merged_into"  # id of the record that survived a merge, or None
CONVERTED = (
    "converted_contact",
    "converted_company",
    "converted_deal",
)  # ids of what a lead has become, or None
HUB_ID = "hub_id"  # content of the external id field: our hub id as text, or None


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open interval of the vendor's modification time, UTC: start <= t < end; None is unbounded."""

    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class CsvPage:
    """CSV as the vendor sent it, with a header row: bytes pass untouched into COPY. `columns` are the header's
    names in order; `roles` maps system columns (CRM_ID, ...) to header names. An empty cell is null. The chunks can
    be read once, and only until the next page is asked for. progress: see BatchPage."""

    columns: tuple[str, ...]
    roles: Mapping[str, str]
    chunks: Iterable[bytes]
    progress: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Records as an Arrow batch, every column a string; system columns under their own names.

    progress: where the reading stands behind this page, as a JSON object, to be saved in the transaction that takes
    the page's records in: a read that is given it as `ReadRequest.job` goes on there. None: where it stood before."""

    batch: pa.RecordBatch
    progress: Mapping[str, Any] | None = None


Page = CsvPage | BatchPage


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What to read of a stream: the records modified in `window`, oldest first where the vendor can sort.

    limit: at most so many records (None: all). job: where an earlier read of the same stream and window stopped,
    because it was interrupted or had a limit (the last state saved, or the last page's progress); None: start anew."""

    stream: StreamSpec
    window: Window = field(default_factory=Window)
    limit: int | None = None
    job: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One write. `key` is the hub id and comes back in the result. `values` by vendor field name: only what has
    to change (update) or everything known (create); None clears. `crm_id` is None for a create. `expected`: what the
    CRM said in these fields when it was decided (update); a field without one is not compared."""

    key: str
    kind: Literal["create", "update", "delete"]
    crm_id: str | None
    values: Mapping[str, str | None]
    expected: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The CRM's answer for one operation. `returned` holds the fields the vendor sent back, None if it sends
    nothing (then the caller reads the record back). `modified_at` likewise."""

    key: str
    ok: bool
    crm_id: str | None = None
    created: bool = False
    error: RecordError | None = None
    returned: Mapping[str, str | None] | None = None
    modified_at: datetime | None = None

    @classmethod
    def refused(cls, operation: Operation, error: RecordError) -> Self:
        """Nothing of the operation was done."""
        return cls(operation.key, ok=False, crm_id=operation.crm_id, error=error)


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """What the vendor's describe says about one field; None where it does not say."""

    name: str
    label: str
    vendor_type: str
    createable: bool
    updateable: bool
    required: bool  # a create without it is refused
    max_length: int | None = None
    options: tuple[str, ...] | None = None  # allowed values of a restricted picklist
    scale: int | None = None
    unique: bool = False
    calculated: bool = False


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the vendor's describe says about an object that a token may see: fields by name, record types by
    developer name (id as value)."""

    name: str
    fields: Mapping[str, FieldInfo]
    record_types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """Answer of `check`: whether the connection works, as whom, and what is left of the limits."""

    ok: bool
    account: str  # organisation or portal id and name
    user: str
    detail: Mapping[str, str]  # e.g. {"daily calls left": "14998 of 15000"}
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hint:
    """One event of a webhook: look at this record. Values in a webhook are never trusted."""

    event_id: str
    entity_object: str
    crm_id: str
    change: Literal["create", "update", "delete", "merge", "restore"]
    occurred_at: datetime


class JobLog(Protocol):
    """Where a connector notes the vendor's long-running job, so that a restarted run can go on with it."""

    def save(self, state: Mapping[str, Any]) -> None: ...

    def clear(self) -> None: ...


class TokenStore(Protocol):
    """Where OAuth tokens live between processes, encrypted, one row a connection.

    `refresh` holds an exclusive lock on the row while it calls `renew(current)` (single flight across threads and
    processes) and saves what that returns before anybody sees it. If another process renewed since `stale` (the
    access token that was refused) was read, `renew` is not called and the newer tokens are returned.
    """

    def load(self, connection: str) -> Mapping[str, Any] | None: ...

    def refresh(self, connection: str, stale: str | None, renew: "Renew") -> Mapping[str, Any]: ...


class Renew(Protocol):
    def __call__(self, current: Mapping[str, Any] | None) -> Mapping[str, Any]: ...


class Crm(TakingPart, ABC):
    """One account of a CRM. Methods raise `CrmError` when a whole request fails; what concerns one record is
    said in its `Result`. One thread uses an instance, which may have threads of its own within a call; `close` ends them."""

    name: str  # of the connection
    kind: str
    overlap: timedelta = timedelta(minutes=10)
    """How far behind the watermark reading starts: so late after its stamp may a change become visible."""
    quiet: timedelta = QUIET
    """How long the watermark waits behind the vendor's clock while nothing new is seen: an index that stands still
    must not be outrun. What was modified last is read again as long, and the overlap."""
    plan: int = 20_000
    """How many records are best planned together: a job's worth, or so many that planning the next ones takes no longer
    than the calls that are on their way."""
    deletions_apart: bool = False
    """Whether a windowed `changed` leaves deletions out, so that `deleted` has to be asked for them."""

    @property
    @abstractmethod
    def calls(self) -> Mapping[str, int]:
        """Calls made so far by family ("query", "bulk_query", "collections", "search", "batch", ...)."""

    @property
    @abstractmethod
    def limits(self) -> Mapping[str, str]:
        """What the vendor last said about its limits, as text for people."""

    @abstractmethod
    def now(self) -> datetime:
        """The vendor's clock (UTC), from the Date header of its answers; asks it once if nothing was heard yet."""

    @abstractmethod
    def check(self) -> Health:
        """Whether the credentials work. Refusals are told in the answer, not raised."""

    def identity(self, before: str | None = None) -> Identity | None:  # noqa: ARG002 - not every vendor tells
        """Which account the login leads to; None if the vendor does not tell. `before`: the login's digest that was told
        last time. None too, without a call, if it is that still: then it is the same account."""
        return None

    @abstractmethod
    def describe(self, object_name: str) -> ObjectInfo:
        """Fields the token may see; cached for the life of the instance, and remembered for a while after it."""

    def forget(self, object_name: str) -> None:
        """Describe the object anew when it is asked for next."""

    @abstractmethod
    def setup(self, streams: Sequence[StreamSpec], *, dry_run: bool) -> list[str]:
        """Create what we need in the account (the external id fields); returns what was or would be done."""

    @abstractmethod
    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[Page]:
        """Records of the stream modified in the window, deleted and merged ones included where the vendor lists
        them with the others. A record may come twice; the later page holds the newer state.

        What must be known before a page comes (a job's id) is saved in `job`; then each page says how far reading
        has come. The caller clears the log when everything has been taken in."""

    @abstractmethod
    def deleted(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        """Deletions in the window that `changed` does not show: CRM_ID, MODIFIED_AT, DELETED, MERGED_INTO if known."""

    @abstractmethod
    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        """The records with these ids as they are now, deleted ones included where possible; before them perhaps those
        that were merged into one of them."""

    @abstractmethod
    def by_hub_ids(self, stream: StreamSpec, hub_ids: Sequence[str]) -> Iterator[BatchPage]:
        """The records whose external id field holds one of these hub ids; settles creates without an answer."""

    @abstractmethod
    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        """Send the operations in the cheapest way; one list of results per answer of the vendor, so that the
        caller can commit what is known. Every operation gets exactly one result, unless an error is raised: then
        those without one have an unknown outcome.

        Compare and set: right before an update leaves, its record is looked at. If a field to be written says neither
        what is `expected` nor what would be written, the update is not sent; its result has an error of class MOVED
        that names the fields. What the CRM does not show is not compared. Between that look and the write a moment
        remains (docs/decisions/0012-compare-and-set.md); a connection file may switch the look off."""

    def cost(self, stream: StreamSpec, operations: Sequence[Operation]) -> Mapping[str, int]:  # noqa: ARG002
        """Calls by family that `write` makes of these if all goes well, with the reading back of a small write."""
        return {}

    @abstractmethod
    def resume_write(
        self, stream: StreamSpec, operations: Sequence[Operation], state: Mapping[str, Any], job: JobLog
    ) -> Iterator[list[Result]]:
        """Collect the results of a job that an earlier process started with these operations (`JobLog.save`)."""

    @abstractmethod
    def parse_webhook(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> list[Hint]:
        """Verify a webhook's signature and read its events; CrmError(AUTH) if it is not genuine, CrmError
        (VALIDATION) if it cannot be read."""

    def matches(self, conditions: Sequence[Condition]) -> None:
        """Raise CrmError(VALIDATION) for a condition that the vendor's query language cannot express."""

    @abstractmethod
    def close(self) -> None: ...
