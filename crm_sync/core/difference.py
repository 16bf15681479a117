"""What a decision is made about: one field of a linked record on both sides, now and then. No decisions here."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crm_sync.core.rules import Rule


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a linked record whose now differs from its then, or that was never agreed on.

    Values are canonical text, each in its own side's terms. crm_at: the CRM record's modification time, the
    latest time at which the field can have changed there. hub_at / hub_by: when our field (or, if not
    hub_at_is_of_field, our record) was last changed, and by whom: "hub" or the connection whose value was taken.
    crm_as_hub / hub_as_crm: references translated through the links; unused for other types. decision: what a
    person decided about exactly these two values, in that conflict. overwrites: how often the CRM's changes of an
    outbound field were overwritten in a row, without a change in the hub; made_by_crm: one of these writes sent the
    same value over the CRM's present one, and reading it back showed that one again. landed: the CRM's value is what a
    write of ours was to set whose answer never came, and which was not there when we looked; maybe_landed: it is, but the
    record was written to after such a write can have landed, or people are being asked already.
    """

    hub_id: UUID
    crm_id: str
    hub_version: str
    field: str
    hub_now: str | None
    hub_then: str | None
    crm_now: str | None
    crm_then: str | None
    hub_changed: bool
    crm_changed: bool
    agreed: bool
    crm_at: datetime | None = None
    crm_as_hub: str | None = None
    hub_as_crm: str | None = None
    hub_at: datetime | None = None
    hub_by: str | None = None
    hub_at_is_of_field: bool = False
    decision: str | None = None
    decided_by: str | None = None
    conflict: int | None = None
    overwrites: int = 0
    made_by_crm: bool = False
    landed: bool = False
    maybe_landed: bool = False
    rules: tuple[Rule, ...] = ()
    hub_rules: tuple[Rule, ...] = ()

    @property
    def evidence(self) -> str:
        """How much the times tell: whether ours is the field's own or only its record's; a CRM has only the latter."""
        ours = (
            "unknown" if self.hub_at is None else "field time" if self.hub_at_is_of_field else "record time"
        )
        return f"hub {ours}, CRM {'unknown' if self.crm_at is None else 'record time'}"

    @property
    def decided(self) -> str:
        """A decision as the journal has it."""
        return self.named(f"decided by {self.decided_by}")

    def named(self, reason: str) -> str:
        """A reason with the number of the conflict, if there is one about these two values."""
        return reason if self.conflict is None else f"{reason} (conflict {self.conflict})"
