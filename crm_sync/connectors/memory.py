"""The smallest CRM that obeys the port fully; it ships with the package to develop and test the engine without a
network, and passes the same contract suite as every connector.

Here belong how a client reads and writes, and what goes wrong on the way; the records and their rules are in
`memory_account.py`. Several clients may share one account. Protocols of real vendors have simulators over HTTPS.
"""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any, Literal

import pyarrow as pa

from crm_sync.connectors.crm import (
    CRM_ID,
    DELETED,
    HUB_ID,
    MERGED_INTO,
    MODIFIED_AT,
    BatchPage,
    Crm,
    FieldInfo,
    Health,
    Hint,
    JobLog,
    ObjectInfo,
    Operation,
    ReadRequest,
    Result,
    Window,
)
from crm_sync.connectors.memory_account import RECORD_TYPE, MemoryAccount, Row, converted, stamp
from crm_sync.connectors.memory_part import MemoryTakingPart, fulfils
from crm_sync.core.errors import CrmError, ErrorClass, RecordError
from crm_sync.core.spec import StreamSpec

SIGNATURE = "x-memory-signature"  # header of a webhook: hexadecimal HMAC-SHA256 of its body


@dataclass(slots=True)
class Knobs:
    """How this CRM answers; every knob may be turned at any time.

    page_size: records a page. write_size: operations a call. job_size: from so many operations on, a write is a
    job that can be resumed (None: never). returns_values: answers of writes hold the values and the stamp.
    deletions_in_changed: else only `deleted` lists them. unauthorised: every call is refused.
    """

    page_size: int = 100
    write_size: int = 100
    job_size: int | None = None
    returns_values: bool = True
    deletions_in_changed: bool = True
    unauthorised: bool = False


@dataclass(slots=True)
class Faults:
    """What goes wrong. `timeout`: the next writing call gets no answer, before or after it took effect, once.
    `read_error`: raised by the next reading call, once. `reject`: operations with these keys are refused until
    removed. `before_write`: called between the look at a record and its write, to let a person edit at that moment."""

    timeout: Literal["before", "after"] | None = None
    read_error: CrmError | None = None
    reject: dict[str, RecordError] = field(default_factory=dict)
    before_write: Callable[[Operation], None] | None = None


class MemoryCrm(MemoryTakingPart, Crm):
    """One client of a `MemoryAccount`, which holds the records and lets people edit them."""

    kind = "memory"

    def __init__(
        self,
        account: MemoryAccount | None = None,
        *,
        name: str = "memory",
        knobs: Knobs | None = None,
        webhook_secret: str = "",
    ) -> None:
        self.name = name
        self.account = account or MemoryAccount()
        self.knobs = knobs or Knobs()
        self.faults = Faults()
        self._calls: Counter[str] = Counter()
        self._jobs: dict[str, list[Result]] = {}
        self._secret = webhook_secret.encode()

    @property
    def deletions_apart(self) -> bool:  # type: ignore[override]  # a knob here, a fact elsewhere
        return not self.knobs.deletions_in_changed

    @property
    def calls(self) -> Mapping[str, int]:
        return dict(self._calls)

    @property
    def limits(self) -> Mapping[str, str]:
        return {"calls made": str(self._calls.total())}

    def now(self) -> datetime:
        return self.account.clock().astimezone(UTC).replace(microsecond=0)  # a Date header has whole seconds

    def check(self) -> Health:
        self._calls["check"] += 1
        problems = ("the token is not accepted: connect again",) if self.knobs.unauthorised else ()
        return Health(not problems, f"memory {self.name}", "nobody", self.limits, problems)

    def describe(self, object_name: str) -> ObjectInfo:
        self._call("describe")
        known = self.account.fields_of(object_name)
        if known is None and self.account.fields:
            raise CrmError(
                ErrorClass.PERMISSION, f"{self.name}: there is no object {object_name}", status=404
            )
        if known is None:
            names = sorted(
                {name for row in self.account.rows(object_name) for name in row.values} - {RECORD_TYPE}
            )
            known = {name: FieldInfo(name, name, "string", True, True, False) for name in names}
        return ObjectInfo(object_name, known)

    def setup(self, streams: Sequence[StreamSpec], *, dry_run: bool) -> list[str]:
        done = []
        for stream in streams:
            known, name = self.account.fields.get(stream.object), stream.external_id
            if known is not None and name is not None and name not in known:
                done.append(f"{stream.object}: unique field {name}")
                if not dry_run:
                    known[name] = FieldInfo(name, name, "string", True, True, False, unique=True)
        return done

    # Reading.

    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[BatchPage]:  # noqa: ARG002 - no long jobs
        left, state = request.limit, request.job
        after = None if state is None else (datetime.fromisoformat(state["at"]), str(state["id"]))
        while left is None or left > 0:
            self._call("changed", read=True)
            found = (
                row
                for row in self.account.listed(request.stream.object, request.window)
                if (after is None or (row.modified, row.id) > after) and self._belongs(request.stream, row)
            )
            size = self.knobs.page_size if left is None else min(left, self.knobs.page_size)
            rows = nsmallest(size, found, key=lambda row: (row.modified, row.id))
            after = (rows[-1].modified, rows[-1].id) if rows else after
            for page in self._pages(request.stream, rows):  # one, or none
                yield replace(page, progress={"at": rows[-1].modified.isoformat(), "id": rows[-1].id})
            if len(rows) < size:
                return
            left = None if left is None else left - len(rows)

    def deleted(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        self._call("deleted", read=True)
        if not self.knobs.deletions_in_changed:
            rows = [row for row in self.account.listed(stream.object, window) if row.deleted]
            for page in self._pages(stream, rows):
                yield BatchPage(page.batch.select([CRM_ID, MODIFIED_AT, DELETED, MERGED_INTO]))

    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        self._call("by_ids", read=True)
        rows = []
        for crm_id in dict.fromkeys(crm_ids):
            try:
                rows.append(self.account.row(stream.object, crm_id))
            except KeyError:
                continue  # never there: absent from the answer, as at every vendor
        yield from self._pages(stream, rows)

    def by_hub_ids(self, stream: StreamSpec, hub_ids: Sequence[str]) -> Iterator[BatchPage]:
        self._call("by_hub_ids", read=True)
        wanted, name = set(hub_ids), stream.external_id
        if name is not None:
            rows = [row for row in self.account.rows(stream.object) if row.values.get(name) in wanted]
            yield from self._pages(stream, rows)

    def _call(self, family: str, *, read: bool = False) -> None:
        self._calls[family] += 1
        if self.knobs.unauthorised:
            raise CrmError(
                ErrorClass.AUTH, f"{self.name}: the token is not accepted: connect again", status=401
            )
        error = self.faults.read_error
        if read and error is not None:
            self.faults.read_error = None
            raise error

    def _belongs(self, stream: StreamSpec, row: Row) -> bool:
        if row.deleted:
            return self.knobs.deletions_in_changed  # to every stream: it may have known the record
        return fulfils(stream, row)

    def _pages(self, stream: StreamSpec, rows: Sequence[Row]) -> Iterator[BatchPage]:
        known = self.account.fields_of(stream.object)
        hidden = self.account.habits.hidden
        names = [n for n in stream.vendor_fields if n not in hidden and (known is None or n in known)]
        for start in range(0, len(rows), self.knobs.page_size):
            page = rows[start : start + self.knobs.page_size]
            columns: dict[str, list[str | None]] = {
                CRM_ID: [row.id for row in page],
                MODIFIED_AT: [stamp(row.modified) for row in page],
                DELETED: ["true" if row.deleted else "false" for row in page],
                MERGED_INTO: [row.merged_into for row in page],
            }
            if stream.external_id is not None:
                columns[HUB_ID] = [row.values.get(stream.external_id) for row in page]
            columns |= converted(page) | {name: [row.values.get(name) for row in page] for name in names}
            yield BatchPage(pa.record_batch({name: pa.array(c, pa.string()) for name, c in columns.items()}))

    # Writing.

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        if self.knobs.job_size is not None and len(operations) >= self.knobs.job_size:
            number = f"job-{len(self._jobs) + 1}"
            self._jobs[number] = []
            job.save({"job": number})  # before it takes effect: a crash between the two must be resumable
            self._send(stream, operations, self._jobs[number])
            yield self._jobs[number]
            job.clear()
            return
        size = min(batch_size or self.knobs.write_size, self.knobs.write_size)
        for start in range(0, len(operations), size):
            yield self._send(stream, operations[start : start + size], [])

    def cost(self, stream: StreamSpec, operations: Sequence[Operation]) -> Mapping[str, int]:  # noqa: ARG002
        return {"write": -(-len(operations) // self.knobs.write_size)} if operations else {}

    def resume_write(
        self, stream: StreamSpec, operations: Sequence[Operation], state: Mapping[str, Any], job: JobLog
    ) -> Iterator[list[Result]]:
        self._call("job_results", read=True)
        results = self._jobs.get(str(state.get("job")), [])
        if {result.key for result in results} != {operation.key for operation in operations}:
            job.clear()
            text = f"{stream.name}: the job has no results; look at the records before writing them again"
            raise CrmError(ErrorClass.UNKNOWN_OUTCOME, text)
        yield results
        job.clear()

    def _send(
        self, stream: StreamSpec, operations: Sequence[Operation], results: list[Result]
    ) -> list[Result]:
        self._call("write")
        timeout, self.faults.timeout = self.faults.timeout, None
        if timeout != "before":  # backwards: whoever joins answers by position instead of by key is found out
            results.extend([self._apply(stream, operation) for operation in operations][::-1])
        if timeout is not None:
            raise CrmError(
                ErrorClass.UNKNOWN_OUTCOME, f"{stream.name}: no answer to {len(operations)} operations"
            )
        return results

    def _apply(self, stream: StreamSpec, operation: Operation) -> Result:
        moved = self.account.moved(stream, operation)
        if moved is not None:
            return moved
        if self.faults.before_write is not None:
            self.faults.before_write(operation)
        rejection = self.faults.reject.get(operation.key)
        if rejection is not None:
            return Result.refused(operation, rejection)
        result = self.account.apply(stream, operation)
        return result if self.knobs.returns_values else replace(result, returned=None, modified_at=None)

    # Webhooks.

    def parse_webhook(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> list[Hint]:  # noqa: ARG002
        given = {name.lower(): value for name, value in headers.items()}.get(SIGNATURE, "")
        if not hmac.compare_digest(given.encode(), self.sign(body).encode()):
            raise CrmError(ErrorClass.AUTH, "the webhook's signature is not genuine")
        try:
            return [
                Hint(e["event_id"], e["object"], e["id"], e["change"], datetime.fromisoformat(e["at"]))
                for e in json.loads(body)
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise CrmError(ErrorClass.VALIDATION, "the webhook's body cannot be read") from error

    def sign(self, body: bytes) -> str:
        """Signature of a webhook, whose body is JSON: a list of {"event_id", "object", "id", "change", "at"}."""
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest()

    def close(self) -> None:
        """Nothing to close."""
