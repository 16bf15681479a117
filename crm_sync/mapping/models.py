"""The shape of a connection file as pydantic models: which keys there are, of which type, with which default.

Here: what all kinds of CRM share (connection, entity, field, filter). What one kind adds is in `kinds.py`; whether
the parts of a file, and the files, fit together is in `checks.py` and `resolve.py`. The descriptions are the
reference documentation and the editors' help: `docs/reference/connections.md` is made from them.
"""

import re
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from crm_sync.core.spec import Direction, FieldType, Operator, Policy
from crm_sync.mapping.approval import Approval
from crm_sync.mapping.automatic import AutoResolveModel
from crm_sync.mapping.deletes import DeletesModel
from crm_sync.mapping.limits import GuardModel, LimitsModel, Strict
from crm_sync.mapping.nodes import Path
from crm_sync.mapping.similar import SimilarModel
from crm_sync.mapping.values import (
    DirectionChoice,
    OperatorChoice,
    PolicyChoice,
    Region,
    Schedule,
    Switch,
    Text,
    TypeChoice,
    count,
    wrong,
)


def _same_on_both_sides(value: Any) -> Any:
    """A list of values is the map of each value to itself."""
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise wrong("a list of values has texts only")
        return {str(item): item for item in value}
    return value


def _one_or_many(value: Any) -> Any:
    """`a`, `[a, b]` and `[[a], [b, c]]` as a list of rules, each a list of fields."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return [[item] if isinstance(item, str) else item for item in value]
    return value


_TEXT_MAP = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}

PicklistMap = Annotated[
    dict[str, Text],
    BeforeValidator(_same_on_both_sides),
    WithJsonSchema(
        {"anyOf": [_TEXT_MAP, {"type": "array", "items": {"type": ["string", "number", "boolean"]}}]}
    ),
]

MatchRules = Annotated[
    list[list[str]],
    BeforeValidator(_one_or_many),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            {"type": "string"},
                            {"type": "array", "items": {"type": "string"}, "minItems": 1},
                        ]
                    },
                },
            ]
        }
    ),
]


class FieldModel(Strict):
    """One field of an entity: our column, and where its value is in the CRM."""

    field: str | None = Field(None, description="The CRM's field.")
    type: TypeChoice = Field(FieldType.STRING, description="What the values are, on both sides.")
    association: str | None = Field(
        None, description="Instead of `field`: the object type this record is associated with (HubSpot)."
    )
    entity: str | None = Field(None, description="For type reference: the entity that the value points to.")
    computed: str | None = Field(
        None,
        description="A text with our fields in braces, sent to `field`. Such a field is outbound and has no hub column.",
    )
    from_: str | None = Field(
        None,
        alias="from",
        description="Instead of `field`: a text with the CRM's fields in braces, taken into our field. Such a field is inbound.",
    )
    values: PicklistMap | None = Field(
        None,
        description="For picklists: our value to the CRM's value. A list stands for values that are the same on both sides. "
        "Where several of ours lead to one of theirs, the first one comes back.",
    )
    from_crm: dict[str, Text] | None = Field(
        None,
        description="For picklists: the CRM's value to ours, where `values` read backwards does not say it.",
    )
    direction: DirectionChoice | None = Field(
        None, description="Which way this field's values go; narrows the entity's direction."
    )
    policy: PolicyChoice | None = Field(
        None, description="How a dispute about this field ends, instead of the entity's policy."
    )
    region: Region | None = Field(
        None,
        description="For type phone: country of numbers without a country code, instead of `default_region`.",
    )
    scale: count(0, 18) | None = Field(  # type: ignore[valid-type]
        None, description="For type number: digits after the point that the CRM keeps."
    )
    required: Switch = Field(
        False,
        description="The CRM must not get a record in which this field is blank; such a record is parked.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"field": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return _or_text(schema, handler)


class ConditionModel(Strict):
    """One condition of a filter."""

    field: str = Field(description="The CRM's field.")
    operator: OperatorChoice = Field(Operator.EQ, description="The comparison.")
    value: Text | None = Field(None, description="What to compare with.")
    values: list[Text] | None = Field(None, description="For in and not_in: the values to compare with.")


class EntityModel(Strict):
    """One entity of a connection: what it is called there, which records take part, and how its fields map."""

    object: str = Field(description="The CRM's object, standard or custom.")
    direction: DirectionChoice = Field(
        Direction.TWO_WAY, description="Which way values go, unless a field narrows it."
    )
    record_type: str | None = Field(
        None,
        description="Developer name of the record type: only its records are read, and created ones get it (Salesforce).",
    )
    filter: list[ConditionModel] = Field(
        default_factory=list, description="Only records for which all these conditions hold take part."
    )
    match: MatchRules = Field(
        default_factory=list,
        description="Rules, tried in order, by which a record without a partner finds it: each is one of our fields or a list "
        "of fields that must all be equal.",
    )
    similar: SimilarModel | None = Field(
        None,
        description="How records that no rule of `match` finds are compared: very alike ones are linked, for less alike ones a "
        "person decides.",
    )
    policy: PolicyChoice = Field(
        Policy.MOST_RECENT_WINS, description="How disputes end, unless a field says otherwise."
    )
    constants: dict[str, Text] = Field(
        default_factory=dict, description="Fields of the CRM that get a fixed value when a record is created."
    )
    external_id: Annotated[str | None, WithJsonSchema({"type": ["string", "null"]})] = Field(
        None,
        description="The CRM's unique field that holds the hub id; `null` for none. The default depends on the kind.",
    )
    deletes: DeletesModel | None = Field(
        None, description="What follows when a record is deleted on one side, or brought back."
    )
    guard: GuardModel | None = Field(
        None, description="How much one run may do here, where it is not what the connection says."
    )
    approval: Approval | None = Field(
        None, description="Which writes wait for approval here, where it is not what the connection says."
    )
    fields: dict[str, FieldModel] = Field(
        min_length=1,
        description="Our fields. `name: Name` is short for `name: {field: Name}`.",
    )


class ConnectionModel(Strict):
    """One account of a CRM."""

    limit_keys: ClassVar[frozenset[str]] = frozenset({"reserve", "daily", "burst"})

    default_external_id: ClassVar[str | None] = None
    has_associations: ClassVar[bool] = False
    has_record_types: ClassVar[bool] = False
    vendor_name: ClassVar[re.Pattern[str]] = re.compile(r"\S(.{0,253}\S)?")

    name: str | None = Field(
        None,
        description="Name of the connection, also of its schema in Postgres. Default: the file's name without ending.",
    )
    schedule: Schedule = Field(
        "*/5 * * * *",
        description="When the incremental sync runs: minute, hour, day, month, weekday, in UTC.",
    )
    limits: LimitsModel | None = Field(
        None, description="How much of what the CRM allows is used; all keys may be left out."
    )
    guard: GuardModel | None = Field(
        None,
        description="How much one run may blank or delete before a person is asked; all keys may be left out.",
    )
    approval: Approval | None = Field(
        None,
        description="`required`: writes wait until somebody has approved the plan that lists them; `{crm: required}`: only those "
        "to the CRM, `{hub: required}`: only those to the hub. Default: `none`.",
    )
    auto_resolve: AutoResolveModel | None = Field(
        None, description="When conflicts that nobody looks at are settled by a policy. Default: never."
    )
    default_region: Region = Field("US", description="Country of telephone numbers without a country code.")
    entities: dict[str, EntityModel] = Field(min_length=1, description="Our entities that this account has.")

    @field_validator("limits")
    @classmethod
    def _limits_of_the_kind(cls, value: LimitsModel | None) -> LimitsModel | None:
        others = sorted(value.model_fields_set - cls.limit_keys) if value is not None else []
        if others:
            allowed = ", ".join(sorted(cls.limit_keys))
            raise wrong(f"this kind of CRM has no limit {others[0]}; allowed: {allowed or 'none'}")
        return value

    def complaints(self) -> list[tuple[Path, str]]:
        """What does not fit together in the kind's own settings, as (path, message)."""
        return []

    def options(self) -> dict[str, Any]:
        """The kind's own settings, as the connector takes them: without those left out, secrets as `SecretRef`."""
        own = set(type(self).model_fields) - set(ConnectionModel.model_fields) - {"kind"}
        return {name: _plain(value) for name, value in self if name in own and value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(inner) for name, inner in value if inner is not None}
    return value


def _or_text(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    """The object's schema, or a text for the short form."""
    own = handler.resolve_ref_schema(handler(schema))
    return {"description": own.get("description", ""), "anyOf": [{"type": "string"}, own]}
