"""The gate of a plan: how the hub and outbound steps are watched, and what of their work is let through.

Here everything passes and nothing is noted; `proposal.py` notes what would be written, `admission.py` lets through what
was approved, `bookkeeping.py` nothing that waits for that.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from crm_sync.core.approval import PlanRow, Target
from crm_sync.core.decide import Verdict
from crm_sync.core.spec import StreamSpec
from crm_sync.hub.dirty import Entry
from crm_sync.hub.intents import Intent
from crm_sync.steps.options import Options, Report
from crm_sync.steps.planning import Plan
from crm_sync.steps.work import Work


class Gate:
    """One plan, made or applied; records that do not pass stay in the queue. narrow: whether nothing passes but what was
    approved."""

    narrow = False

    def waits_for_approval(
        self, stream: StreamSpec, target: Target, options: Options, report: Report
    ) -> bool:
        """Whether nothing of this step may be written, because the connection file says so and no plan was approved."""
        waits = target in stream.approval and not self.narrow and not options.dry_run
        if waits:
            report.notes.append(
                f"approval required: writes of {stream.name} to the {'hub' if target == 'hub' else 'CRM'} wait for an approved plan"
            )
        return waits

    @property
    def records(self) -> Sequence[UUID] | None:
        """For the guard, as if a person had asked for these: its limits do not count, and `entries` leaves out what it
        holds back. None where it counts as ever."""
        return (UUID(int=0),) if self.narrow else None

    def chosen(self, only: Sequence[UUID] | None) -> Sequence[UUID] | None:
        """The records that a walk through the queue is limited to beforehand."""
        return None if self.narrow else only

    def entries(self, stream: StreamSpec, entries: Sequence[Entry]) -> Sequence[Entry]:  # noqa: ARG002
        """Those of these marks that are worked off at all."""
        return entries

    def links(self, work: Work, crm_ids: Iterable[str]) -> set[str]:  # noqa: ARG002
        """Those of these CRM records without a link that may get one, or become a hub record."""
        return set(crm_ids)

    def takes(self, work: Work, movable: list[Verdict]) -> list[Verdict]:  # noqa: ARG002
        """The takes (and agreements) that may go into the hub."""
        return movable

    def carries(self, work: Work, planned: list[PlanRow]) -> list[PlanRow]:  # noqa: ARG002
        """Those of these converted leads whose references may go on to the contact."""
        return planned

    def writes(self, stream: StreamSpec, made: Plan) -> None:
        """Leave in `made` the writes that may be sent."""

    def parcels(self, stream: StreamSpec, planned: Sequence[Intent]) -> Iterable[Sequence[Intent]]:  # noqa: ARG002
        """These writes of a dry run as they will be sent together."""
        return (planned,)

    def planned(self, rows: list[PlanRow]) -> None:
        """A dry run has come to these rows."""


OPEN = Gate()
"""No plan: everything passes."""
