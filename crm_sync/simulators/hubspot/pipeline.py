"""Pipelines and stages as values. Not here: the requests about them (pipelines.py)."""

from dataclasses import dataclass, field
from typing import Any

from crm_sync.simulators.hubspot.catalog import DEAL_STAGES, TICKET_STAGES
from crm_sync.simulators.hubspot.clock import iso


@dataclass(slots=True)
class Stage:
    id: str
    label: str
    order: int
    metadata: dict[str, str]
    at: int = 0
    changed: int = 0
    archived: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "displayOrder": self.order,
            "metadata": self.metadata,
            "createdAt": iso(self.at),
            "updatedAt": iso(self.changed or self.at),
            "archived": self.archived,
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        }


@dataclass(slots=True)
class Pipeline:
    """``stages`` by id, in the order in which they were made."""

    id: str
    label: str
    order: int
    stages: dict[str, Stage] = field(default_factory=dict)
    at: int = 0
    changed: int = 0
    archived: bool = False
    audit: list[dict[str, Any]] = field(default_factory=list)

    def sorted_stages(self) -> list[Stage]:
        return sorted(self.stages.values(), key=lambda s: s.order)

    def document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "displayOrder": self.order,
            "createdAt": iso(self.at),
            "updatedAt": iso(self.changed or self.at),
            "archived": self.archived,
            "stages": [stage.document() for stage in self.sorted_stages()],
        }


def standard(at: int) -> dict[str, dict[str, Pipeline]]:
    """The pipelines of a new portal: object type -> id -> pipeline."""
    deals = Pipeline("default", "Sales Pipeline", 0, at=at)
    for order, (name, label, probability) in enumerate(DEAL_STAGES):
        closed = "true" if name.startswith("closed") else "false"
        deals.stages[name] = Stage(name, label, order, {"isClosed": closed, "probability": probability}, at)
    tickets = Pipeline("0", "Support Pipeline", 0, at=at)
    for order, (name, label) in enumerate(TICKET_STAGES):
        state = "CLOSED" if label == "Closed" else "OPEN"
        tickets.stages[name] = Stage(
            name, label, order, {"ticketState": state, "isClosed": str(state == "CLOSED").lower()}, at
        )
    return {"deals": {"default": deals}, "tickets": {"0": tickets}}
