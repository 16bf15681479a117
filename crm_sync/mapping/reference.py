"""The reference documentation of connection files, as far as the models can tell it: tables of keys.

`docs/reference/connections.md` is prose with places like `<!-- keys: entity -->`; the tables stand between such a
line and the next `<!-- end -->`. `python -m crm_sync.mapping DIRECTORY` brings them and the JSON Schema up to date.
"""

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from crm_sync.mapping.automatic import AutoResolveModel
from crm_sync.mapping.deletes import DeletesModel
from crm_sync.mapping.explain import alternatives
from crm_sync.mapping.kinds import (
    HubSpotAccessToken,
    HubSpotConnection,
    HubSpotRefreshToken,
    MemoryConnection,
    SalesforceAccessToken,
    SalesforceClientCredentials,
    SalesforceConnection,
    SalesforceJwtBearer,
    SalesforceRefreshToken,
)
from crm_sync.mapping.limits import GuardModel, LimitsModel
from crm_sync.mapping.models import (
    ConditionModel,
    ConnectionModel,
    EntityModel,
    FieldModel,
)
from crm_sync.mapping.schema import schema
from crm_sync.mapping.similar import SimilarModel

SECTIONS: dict[str, type[BaseModel]] = {
    "connection": ConnectionModel,
    "limits": LimitsModel,
    "auto_resolve": AutoResolveModel,
    "guard": GuardModel,
    "entity": EntityModel,
    "similar": SimilarModel,
    "deletes": DeletesModel,
    "filter": ConditionModel,
    "field": FieldModel,
    "salesforce": SalesforceConnection,
    "salesforce refresh_token": SalesforceRefreshToken,
    "salesforce jwt_bearer": SalesforceJwtBearer,
    "salesforce client_credentials": SalesforceClientCredentials,
    "salesforce access_token": SalesforceAccessToken,
    "hubspot": HubSpotConnection,
    "hubspot access_token": HubSpotAccessToken,
    "hubspot refresh_token": HubSpotRefreshToken,
    "memory": MemoryConnection,
}
DOCUMENT = "connections.md"
SCHEMA = "connection.schema.json"
_BLOCK = re.compile(r"(<!-- keys: ([a-z_ ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS = {
    "str": "text",
    "int": "whole number",
    "Limit": "whole number, percentage or `off`",
    "float": "percentage",
    "timedelta": "age such as `7d`",
    "bool": "true or false",
    "SecretRef": "environment reference",
    "frozenset": "`required`, `none` or mapping",
}


def refresh(text: str) -> str:
    """The document with its tables as the models are now. Raises KeyError for a section that there is not."""
    return _BLOCK.sub(lambda found: found[1] + table(SECTIONS[found[2]]) + found[3], text)


def schema_text() -> str:
    """The JSON Schema as the file in the repository has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def write(directory: Path) -> None:
    """Bring the document and the schema in `directory` up to date."""
    document = directory / DOCUMENT
    document.write_text(refresh(document.read_text("utf-8")), "utf-8")
    (directory / SCHEMA).write_text(schema_text(), "utf-8")


def table(model: type[BaseModel]) -> str:
    """A Markdown table of the keys of one model; a kind's table leaves out the keys that all connections have."""
    shared = ConnectionModel.model_fields if model is not ConnectionModel else {}
    rows = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    for name, info in model.model_fields.items():
        if name not in shared or not issubclass(model, ConnectionModel):
            cells = (f"`{info.alias or name}`", _value(info), _default(info), info.description or "")
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in (None, [], {}) else ""


def _value(info: FieldInfo) -> str:
    words = [_word(one) for one in alternatives(info.annotation) if one is not type(None)]
    return " or ".join(dict.fromkeys(words))


def _word(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is dict:
        return "mapping"
    if get_origin(annotation) is list:
        return "list"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{value}`" for value in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    return _WORDS.get(getattr(annotation, "__name__", ""), str(annotation))
