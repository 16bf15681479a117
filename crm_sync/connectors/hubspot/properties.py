"""What HubSpot says about an object's properties, and the one property that we add.

Here: describe (developers.hubspot.com/docs/api-reference/crm-properties-v3/guide) and the external id property.
Associations are described as fields too, `association:<type>`, since a mapping names them like fields.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from crm_sync.connectors.crm import FieldInfo, ObjectInfo
from crm_sync.connectors.hubspot.api import Api, Json
from crm_sync.connectors.hubspot.errors import RefusedError
from crm_sync.connectors.hubspot.pipelines import Pipelines, properties_of
from crm_sync.core.errors import CrmError, ErrorClass

MAX_TEXT = 65_536
DEFAULT_EXTERNAL_ID = "crm_sync_id"
ASSOCIATION = "association:"

# A create without these is refused. A deal's pipeline is required as well: its stage brings it along. A contact
# needs one of email, firstname and lastname, a company one of name and domain; no single field is required.
_REQUIRED = {"deals": {"dealname", "dealstage"}, "tickets": {"subject", "hs_pipeline_stage"}}
_ASSOCIATED = ("contacts", "companies", "deals", "tickets")
_GROUPS = {
    "contacts": "contactinformation",
    "companies": "companyinformation",
    "deals": "dealinformation",
    "tickets": "ticketinformation",
}


def field_info(definition: Mapping[str, Any], object_name: str) -> FieldInfo:
    """HubSpot's definition of a property in our terms. `vendor_type` is "type.fieldType", as in
    "enumeration.checkbox" (several choices) and "enumeration.select" (one)."""
    name, kind = str(definition["name"]), str(definition.get("type") or "string")
    metadata = definition.get("modificationMetadata") or {}
    calculated = bool(definition.get("calculated"))
    writable = not calculated and not metadata.get("readOnlyValue")
    options = None
    if kind == "enumeration" and not definition.get("externalOptions"):
        options = tuple(str(option["value"]) for option in definition.get("options") or ()) or None
    return FieldInfo(
        name=name,
        label=str(definition.get("label") or name),
        vendor_type=f"{kind}.{definition.get('fieldType') or 'text'}",
        createable=writable,
        updateable=writable,
        required=name in _REQUIRED.get(object_name, ()),
        max_length=MAX_TEXT if kind == "string" else None,
        options=options,
        unique=bool(definition.get("hasUniqueValue")) or (object_name, name) == ("contacts", "email"),
        calculated=calculated,
    )


class Properties:
    """Descriptions of objects, asked for once an object."""

    def __init__(self, api: Api, pipelines: Pipelines) -> None:
        self._api = api
        self._pipelines = pipelines
        self._definitions: dict[str, list[Mapping[str, Any]]] = {}
        self._known: dict[str, ObjectInfo] = {}

    def describe(self, object_name: str) -> ObjectInfo:
        """Properties that are not archived, stages and pipelines with their names as options, associations."""
        if object_name not in self._known:
            found = (field_info(definition, object_name) for definition in self.definitions(object_name))
            fields = {info.name: info for info in found}
            self._name_stages(object_name, fields)
            for target in _ASSOCIATED:
                if target != object_name:
                    name = ASSOCIATION + target
                    fields[name] = FieldInfo(name, target.capitalize(), "association", True, True, False)
            self._known[object_name] = ObjectInfo(object_name, fields)
        return self._known[object_name]

    def definitions(self, object_name: str) -> list[Mapping[str, Any]]:
        """HubSpot's own answer, archived properties left out."""
        if object_name not in self._definitions:
            answer = self._ask(object_name)
            self._definitions[object_name] = [
                definition for definition in answer.get("results") or () if not definition.get("archived")
            ]
        return self._definitions[object_name]

    def _ask(self, object_name: str) -> Json:
        path = self._api.paths.properties(object_name)
        try:
            return self._api.remembered(path, lambda: self._api.get(path, "properties"))
        except RefusedError as error:
            if error.status not in {400, 404}:
                raise
            text = (
                f"HubSpot has no object {object_name}, or the token may not see it; correct it in the mapping"
            )
            raise CrmError(ErrorClass.PERMISSION, text, code=error.code, status=error.status) from error

    def forget(self, object_name: str) -> None:
        self._definitions.pop(object_name, None)
        self._api.forget(self._api.paths.properties(object_name))
        self._known.pop(object_name, None)

    def ensure_external_id(self, object_name: str, name: str, *, dry_run: bool) -> str | None:
        """Create the unique text property that holds our hub id; None if it is there and as it should be.

        Raises CrmError(VALIDATION) if a property of that name is of another make: uniqueness cannot be added to
        an existing property."""
        if self._usable(object_name, name):
            return None
        done = f"{object_name}: unique text property {name}"
        if dry_run:
            return done
        body = {
            "name": name,
            "label": "crm_sync id",
            "description": "Identifies this record for crm_sync. Please do not edit.",
            "groupName": self._group(object_name),
            "type": "string",
            "fieldType": "text",
            "hasUniqueValue": True,
        }
        try:
            # Repeating it is harmless: the second answer is "exists", and then it is looked at.
            self._api.write(self._api.paths.properties(object_name), "properties", body, idempotent=True)
        except CrmError as error:
            if error.status != 409:
                raise
        self.forget(object_name)
        if not self._usable(object_name, name):
            text = f"{object_name}: HubSpot took the property {name}, but does not show it; try again in a minute"
            raise CrmError(ErrorClass.TRANSIENT, text)
        return done

    def _usable(self, object_name: str, name: str) -> bool:
        found = next((d for d in self.definitions(object_name) if d["name"] == name), None)
        if found is None:
            return False
        if found.get("type") != "string" or not found.get("hasUniqueValue"):
            text = (
                f"{object_name}: the property {name} exists but is not a text with unique values, and cannot be "
                "made so; name another one as external_id in the mapping, or delete it in HubSpot"
            )
            raise CrmError(ErrorClass.VALIDATION, text, code="EXTERNAL_ID_UNUSABLE")
        return True

    def _group(self, object_name: str) -> str:
        used = [str(d["groupName"]) for d in self.definitions(object_name) if d.get("groupName")]
        standard = _GROUPS.get(object_name)
        if standard in used or not used:
            return standard or f"{object_name}_information"
        return used[0]

    def _name_stages(self, object_name: str, fields: dict[str, FieldInfo]) -> None:
        names = [name for name in properties_of(object_name) if name in fields]
        if not names:
            return
        stages = self._pipelines.of(object_name)
        for name in names:
            labels = (stages.names(name) or {}).values()
            fields[name] = replace(fields[name], options=tuple(sorted(labels)) or None)
