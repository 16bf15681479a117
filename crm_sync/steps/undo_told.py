"""What an undo would do, and what it did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crm_sync.core.undo import Fate
from crm_sync.hub.undo import Left, Total
from crm_sync.hub.undo_records import RecordTotal
from crm_sync.steps.options import Report


@dataclass(frozen=True, slots=True)
class Planned:
    """What an undo would do. journal_rows: how many the selection has; systems: values that each system would get;
    records: links, new records and deletions."""

    journal_rows: int
    totals: Sequence[Total]
    systems: Mapping[str, int]
    left: Sequence[Left]
    records: Sequence[RecordTotal] = ()

    def number(self, *fates: Fate) -> int:
        """How many fields have one of these fates."""
        return sum(total.number for total in self.totals if total.fate in fates)

    def records_to_undo(self) -> int:
        """How many links are pulled apart, and records deleted or brought back."""
        return sum(total.number for total in self.records if total.fate == Fate.UNDO)


@dataclass(slots=True)
class Applied:
    """What an undo did: fields put back in the hub, links pulled apart, hub records deleted and brought back, records deleted
    in CRMs; what each stream was sent, and why a stream was not."""

    fields: int = 0
    links: int = 0
    deleted: int = 0
    back: int = 0
    deleted_in_crms: int = 0
    reports: dict[str, Report] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
