"""The part of the port about taking part: which records a stream's filter leaves out, and references that change without
a trace.

What a connector says here is what its own listing (`Crm.changed`) would say: the vendor's query language decides, not we.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from crm_sync.core.spec import Operator, StreamSpec

if TYPE_CHECKING:
    from crm_sync.connectors.crm import BatchPage, Window


OPPOSITE = {
    Operator.EQ: Operator.NEQ,
    Operator.NEQ: Operator.EQ,
    Operator.LT: Operator.GTE,
    Operator.LTE: Operator.GT,
    Operator.GT: Operator.LTE,
    Operator.GTE: Operator.LT,
    Operator.IN: Operator.NOT_IN,
    Operator.NOT_IN: Operator.IN,
    Operator.IS_BLANK: Operator.IS_NOT_BLANK,
    Operator.IS_NOT_BLANK: Operator.IS_BLANK,
}
"""For values that are there."""


def is_filtered(stream: StreamSpec) -> bool:
    """Whether the CRM may have records of the stream's object that do not take part in it."""
    return bool(stream.filters) or stream.record_type is not None


class TakingPart(ABC):
    """What `Crm` says of a stream with a filter or a record type, and of references."""

    references_every: timedelta | None = None
    """Within what time `references` is to be asked about every linked record, apart from full reads, which show all; None:
    not at all. For vendors whose references can change without moving the record's modification time."""

    @abstractmethod
    def left(self, stream: StreamSpec, window: "Window") -> Iterator["BatchPage"]:
        """CRM_ID, MODIFIED_AT and DELETED of at least those records modified in the window that do not fulfil the
        stream's conditions, blank values minded; there may be others among them. No call if it has no conditions."""

    @abstractmethod
    def fulfilling(self, stream: StreamSpec, crm_ids: Sequence[str]) -> set[str]:
        """Those of these records that are there and fulfil the stream's conditions, by the words of the listing."""

    def references(
        self,
        stream: StreamSpec,  # noqa: ARG002 - most vendors have no such references
        crm_ids: Sequence[str],  # noqa: ARG002
    ) -> Mapping[str, Mapping[str, str | None]]:
        """What these live records refer to: our field name → CRM id → the other's CRM id. Only fields whose changes leave
        no trace in the record's modification time."""
        return {}
