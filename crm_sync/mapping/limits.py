"""The options that are limits: how much of a CRM's calls is used, and how much the guard lets pass.

Part of the models in `models.py`, which every model shares `Strict` with.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from crm_sync.core.guard import OFF, Limit
from crm_sync.core.quota import Limits
from crm_sync.mapping.values import Part, count, part, whole, wrong


class Strict(BaseModel):
    """No unknown keys, nothing converted that was not meant, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LimitsModel(Strict):
    """How much of what the CRM allows is used."""

    reserve: Part | None = Field(
        None,
        description="Part of the CRM's calls of a day that is left to other users of the account. Default: 20%.",
    )
    daily: count(1, 100_000_000) | None = Field(  # type: ignore[valid-type]
        None, description="At most so many calls of ours in a day (UTC). Default: as the CRM allows."
    )
    burst: count(1, 1_000_000) | None = Field(  # type: ignore[valid-type]
        None,
        description="At most so many calls of ours in ten seconds. Default: as the CRM allows.",
    )
    search: count(1, 1_000) | None = Field(  # type: ignore[valid-type]
        None, description="At most so many searches in a second (HubSpot). Default: 4."
    )
    jobs: count(1, 100) | None = Field(  # type: ignore[valid-type]
        None, description="At most so many Bulk API jobs at once (Salesforce). Default: 5."
    )
    requests: count(1, 100) | None = Field(  # type: ignore[valid-type]
        None, description="At most so many requests at once (Salesforce). Default: 10."
    )

    def limits(self) -> Limits:
        """As the limiter takes them."""
        return Limits(**{name: value for name, value in self if value is not None})


def _allowance(value: Any) -> Limit:
    if isinstance(value, Limit):
        return value
    if value == "off":
        return OFF
    try:
        if isinstance(value, str) and "%" in value:
            return Limit(share=part(value))
        number = whole(value)
    except PydanticCustomError:
        number = -1
    if number < 0:
        raise wrong("must be a number of records such as 100, a part of the linked ones such as 2%, or off")
    return Limit(number=number)


Allowance = Annotated[
    Limit,
    BeforeValidator(_allowance),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^(off|[0-9]{1,3}(\.[0-9]{1,3})? ?%)$"},
            ]
        }
    ),
]
"""How many records the guard lets pass."""


class GuardModel(Strict):
    """How much one run may do before a person is asked: a number of records, a part of the linked ones (never less
    than 25 records), or `off`."""

    blanks: Allowance | None = Field(
        None, description="Records that lose their value in one field. Default: 2%."
    )
    deletions: Allowance | None = Field(
        None, description="Linked records that are deleted in the CRM. Default: 2%."
    )
    keys: Allowance | None = Field(
        None, description="Records that get another value in one of the fields of `match`. Default: 20%."
    )
    changes: Allowance | None = Field(
        None, description="Linked records that are changed in any way. Default: off."
    )
    creates: Allowance | None = Field(
        None, description="Records that have no partner on the side that is written yet. Default: off."
    )

    def given(self) -> dict[str, Limit]:
        """The limits that the file names."""
        return {name: value for name, value in self if value is not None}
