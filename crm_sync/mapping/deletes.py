"""The option `deletes` of an entity: what follows when one side deletes a record, or brings it back."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from crm_sync.core.deletes import DeletePolicy, Deletes
from crm_sync.core.spec import Direction
from crm_sync.mapping.limits import Strict
from crm_sync.mapping.nodes import Path
from crm_sync.mapping.values import DeleteChoice


class DeletesModel(Strict):
    """What follows from a deletion, and from taking one back, by the side on which it was made."""

    inbound: DeleteChoice | None = Field(
        None,
        description="A record is deleted in the CRM. `archive`: the hub keeps it and marks it (`archived_at`); `propagate`: it is "
        "deleted in the hub; `ignore`: nothing; `review`: a person decides. Default: archive.",
    )
    outbound: Literal["propagate", "ignore", "review"] | None = Field(
        None,
        description="A record is deleted, or archived, in the hub. `propagate`: it is deleted in the CRM; `ignore`: nothing; "
        "`review`: a person decides. Default: review.",
    )

    def deletes(self) -> Deletes:
        """As the engine takes it."""
        return Deletes(**{name: DeletePolicy(value) for name, value in self if value is not None})

    def complaints(self, direction: Direction) -> Iterator[tuple[Path, str]]:
        """What does not fit together, as (path, message)."""
        if direction is Direction.INBOUND and self.outbound not in (None, "ignore"):
            yield ("outbound",), "the entity is inbound, so no deletion is ever sent; remove the key"
        if direction is Direction.OUTBOUND and self.inbound not in (None, DeletePolicy.IGNORE):
            yield ("inbound",), "the entity is outbound, so no deletion is ever taken; remove the key"
