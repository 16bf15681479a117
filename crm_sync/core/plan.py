"""Plans: what would be sent to a CRM, as values, checked against what its describe says before any call is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.core.spec import FieldType, StreamSpec


class Described(Protocol):
    """The part of the vendor's field description that planning needs (`connectors.crm.FieldInfo`)."""

    @property
    def createable(self) -> bool: ...
    @property
    def updateable(self) -> bool: ...
    @property
    def required(self) -> bool: ...
    @property
    def max_length(self) -> int | None: ...
    @property
    def options(self) -> tuple[str, ...] | None: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that would be refused, known beforehand."""

    field: str
    error: RecordError


def check(
    stream: StreamSpec, kind: str, values: Mapping[str, str | None], described: Mapping[str, Described]
) -> Refusal | None:
    """The first reason why the CRM would refuse `values` (by our field names, in the CRM's terms), or None.

    Associations are not fields of the object and are not described.
    """
    for spec in stream.fields:
        if spec.name not in values or spec.vendor.association is not None:
            continue
        error = _field_error(
            kind, spec.vendor.name, spec.type, values[spec.name], described.get(spec.vendor.name)
        )
        if error is not None:
            return Refusal(spec.name, error)
    for spec in stream.fields:
        if spec.required and values.get(spec.name, None if kind == "create" else "kept") is None:
            return Refusal(
                spec.name,
                RecordError(
                    ErrorClass.VALIDATION,
                    "REQUIRED_BY_MAPPING",
                    f"the mapping requires {spec.name}, and the hub has none",
                    (spec.vendor.name,),
                ),
            )
    if kind == "create":
        return _missing(stream, values, described)
    return None


def _field_error(
    kind: str, name: str, field_type: FieldType, value: str | None, info: Described | None
) -> RecordError | None:
    if info is None:
        return RecordError(
            ErrorClass.PERMISSION,
            "FIELD_MISSING",
            f"{name} does not exist or this connection may not see it",
            (name,),
        )
    if not (info.createable if kind == "create" else info.updateable):
        return RecordError(
            ErrorClass.PERMISSION,
            "FIELD_READ_ONLY",
            f"{name} cannot be written in the CRM; make the field inbound in the mapping, or grant the permission",
            (name,),
        )
    if value is None:
        if info.required:
            return RecordError(
                ErrorClass.VALIDATION, "REQUIRED_FIELD_MISSING", f"{name} must not be blank", (name,)
            )
        return None
    if info.max_length is not None and len(value) > info.max_length and field_type is not FieldType.REFERENCE:
        return RecordError(
            ErrorClass.VALIDATION,
            "STRING_TOO_LONG",
            f"{name} holds at most {info.max_length:,} characters, the value has {len(value):,}",
            (name,),
        )
    return _option_error(name, field_type, value, info)


def _option_error(name: str, field_type: FieldType, value: str, info: Described) -> RecordError | None:
    if info.options is None or field_type not in (FieldType.PICKLIST, FieldType.MULTIPICKLIST):
        return None
    chosen = value.split(";") if field_type is FieldType.MULTIPICKLIST else [value]
    if all(option in info.options for option in chosen):
        return None
    return RecordError(
        ErrorClass.VALIDATION,
        "INVALID_OPTION",
        f"{name} allows only: {', '.join(info.options)}; add the missing value to the picklist map",
        (name,),
    )


def _missing(
    stream: StreamSpec, values: Mapping[str, str | None], described: Mapping[str, Described]
) -> Refusal | None:
    given = {stream.field(name).vendor.name for name, value in values.items() if value is not None} | set(
        stream.constants
    )
    for name, info in described.items():
        if info.required and info.createable and name not in given:
            ours = next((spec.name for spec in stream.fields if spec.vendor.name == name), "")
            return Refusal(
                ours,
                RecordError(
                    ErrorClass.VALIDATION,
                    "REQUIRED_FIELD_MISSING",
                    f"{name} is required to create a record",
                    (name,),
                ),
            )
    return None
