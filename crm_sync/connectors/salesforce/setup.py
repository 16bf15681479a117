"""Preparing an organisation: the field on each object that holds our id.

Source: "CustomField" of the Tooling API. Creating fields needs the permission Customize Application; without it we
say what a person has to create.
"""

from collections.abc import Sequence

from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.salesforce.describe import Field
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import StreamSpec

LENGTH = 36  # a UUID in its usual form


def external_ids(api: Api, streams: Sequence[StreamSpec], *, dry_run: bool) -> list[str]:
    """Create the external id fields that are missing; returns what was or would be done.

    Raises CrmError(PERMISSION) saying what to do by hand, after all streams were tried.
    """
    wanted = {(stream.object, stream.external_id) for stream in streams if stream.external_id is not None}
    done: list[str] = []
    by_hand: list[str] = []
    for object_name, field_name in sorted(wanted):
        field = api.describe(object_name).fields.get(field_name)
        if field is not None:
            by_hand += [f"{object_name}.{field_name} {fault}" for fault in faults(field)]
            continue
        done.append(
            f"{object_name}: unique external id field {field_name} (text, {LENGTH}); let the integration user read "
            "and edit it by field-level security"
        )
        if dry_run:
            continue
        try:
            _create(api, object_name, field_name)
        except CrmError as error:
            if error.error_class is ErrorClass.AUTH or error.retryable:
                raise
            by_hand.append(
                f"{object_name}.{field_name} could not be created ({error.code or error}): create a custom field of "
                f"type Text, length {LENGTH}, Unique (not case-sensitive) and External ID, visible and editable for "
                "the integration user"
            )
        api.forget(object_name)
    if by_hand:
        raise CrmError(ErrorClass.PERMISSION, "; ".join(by_hand))
    return done


def faults(field: Field) -> list[str]:
    """Why a field cannot hold our ids."""
    found = []
    if field.type != "string" or (field.info.max_length or 0) < LENGTH:
        found.append(f"must be of type Text with a length of {LENGTH} or more")
    if not (field.external_id and field.info.unique):
        found.append("must be marked Unique and External ID, or creates could double")
    if not (field.info.createable and field.info.updateable):
        found.append("must be editable for the integration user (field-level security)")
    return found


def _create(api: Api, object_name: str, field_name: str) -> None:
    metadata = {
        "type": "Text",
        "label": "crm_sync id",
        "description": "The record's id in the hub of crm_sync. Do not edit.",
        "length": LENGTH,
        "externalId": True,
        "unique": True,
        "caseSensitive": False,
    }
    body = {"FullName": f"{object_name}.{field_name}", "Metadata": metadata}
    api.call("POST", "tooling/sobjects/CustomField", family="setup", idempotent=False, body=body)
