"""The JSON Schema of a connection file, for editors that complete and check YAML while it is written.

It says a little less than `load` checks: what needs several keys, entities or files is not in it.
"""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from crm_sync.mapping.kinds import KINDS

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Without titles that only repeat the key, and without null: a key that has no value is left out."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's interface
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        found = super().model_schema(schema)
        found.pop("title", None)
        return found


def schema() -> dict[str, Any]:
    """The schema as plain data: one alternative per kind."""
    models = [(model, "validation") for model in KINDS.values()]
    references, definitions = models_json_schema(models, by_alias=True, schema_generator=_Generator)  # type: ignore[arg-type]
    definitions["$defs"].pop(
        "SecretRef", None
    )  # our type; in a file it is one of the two spellings of a reference
    for definition in definitions["$defs"].values():
        definition.pop("title", None)
    return {
        "$schema": _DRAFT,
        "title": "crm_sync connection",
        "description": "One account of a CRM and how its records map to the hub.",
        "oneOf": list(references.values()),
        **definitions,
    }
