"""The part of the in-memory CRM about filters: what fulfils a stream's conditions, what does not, and references."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from crm_sync.connectors.crm import CRM_ID, DELETED, MODIFIED_AT, BatchPage, Window
from crm_sync.connectors.memory_account import RECORD_TYPE, MemoryAccount, Row, holds, stamp
from crm_sync.connectors.taking_part import TakingPart, is_filtered
from crm_sync.core.spec import FieldType, StreamSpec


def fulfils(stream: StreamSpec, row: Row) -> bool:
    """Whether a record fulfils the stream's conditions, deleted or not."""
    if stream.record_type is not None and row.values.get(RECORD_TYPE) != stream.record_type:
        return False
    return all(holds(condition, row.values.get(condition.vendor)) for condition in stream.filters)


class MemoryTakingPart(TakingPart):
    """The part of `MemoryCrm` about filters."""

    account: MemoryAccount

    @abstractmethod
    def _call(self, family: str, *, read: bool = False) -> None: ...

    def left(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        if not is_filtered(stream):
            return
        self._call("left", read=True)
        rows = [row for row in self.account.listed(stream.object, window) if not fulfils(stream, row)]
        if rows:
            yield BatchPage(
                pa.record_batch(
                    {
                        CRM_ID: pa.array([row.id for row in rows]),
                        MODIFIED_AT: pa.array([stamp(row.modified) for row in rows]),
                        DELETED: pa.array(["true" if row.deleted else "false" for row in rows]),
                    }
                )
            )

    def fulfilling(self, stream: StreamSpec, crm_ids: Sequence[str]) -> set[str]:
        self._call("fulfilling", read=True)
        wanted = set(crm_ids)
        return {
            row.id for row in self.account.rows(stream.object) if row.id in wanted and fulfils(stream, row)
        }

    def references(
        self, stream: StreamSpec, crm_ids: Sequence[str]
    ) -> Mapping[str, Mapping[str, str | None]]:
        self._call("references", read=True)
        rows = {row.id: row for row in self.account.rows(stream.object)}
        return {
            spec.name: {i: rows[i].values.get(spec.vendor.name) if i in rows else None for i in crm_ids}
            for spec in stream.fields
            if spec.type is FieldType.REFERENCE
        }
