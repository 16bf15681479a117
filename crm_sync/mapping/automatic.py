"""The option that settles conflicts which nobody looks at. Part of the models in `models.py`."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from crm_sync.core import ages
from crm_sync.core.spec import AutoResolve, Policy
from crm_sync.mapping.limits import Strict
from crm_sync.mapping.values import PolicyChoice, wrong


def _age(value: Any) -> timedelta:
    try:
        return ages.parse(value) if isinstance(value, str) else ages.parse("")
    except ValueError as error:
        raise wrong(str(error)) from None


def _automatic(value: Any) -> Any:
    if value == Policy.MANUAL:
        raise wrong("must be a policy that needs no person")
    return value


Age = Annotated[
    timedelta,
    BeforeValidator(_age),
    WithJsonSchema({"type": "string", "pattern": f"^{ages.PATTERN}$"}),
]


class AutoResolveModel(Strict):
    """Conflicts that waited so long are settled by a policy. Without this key they wait for a person for ever."""

    after: Age = Field(description="How long a conflict waits with the same values: 30m, 12h, 7d, 2w.")
    policy: Annotated[PolicyChoice, BeforeValidator(_automatic)] = Field(
        Policy.MOST_RECENT_WINS,
        description="How it ends then, whatever the policy of its field; not `manual`. What this cannot settle (equal times)"
        " goes on waiting.",
    )

    def auto_resolve(self) -> AutoResolve:
        """As the schedule takes it."""
        return AutoResolve(self.after, self.policy)
