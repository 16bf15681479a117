"""Plans: what would be sent to a CRM, as values, checked against what its describe says before any call is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from crm_sync.core.errors import ErrorClass, RecordError
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec


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


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one field takes. error: why it cannot be written at all."""

    name: str
    vendor: str
    error: RecordError | None = None
    required: bool = False
    max_length: int | None = None
    options: frozenset[str] | None = None
    several: bool = False
    allowed: str = ""

    def refusal(self, value: str | None) -> RecordError | None:
        if self.error is not None:
            return self.error
        if value is None:
            if not self.required:
                return None
            return _invalid("REQUIRED_FIELD_MISSING", f"{self.vendor} must not be blank", self.vendor)
        if self.max_length is not None and len(value) > self.max_length:
            text = f"{self.vendor} holds at most {self.max_length:,} characters, the value has {len(value):,}"
            return _invalid("STRING_TOO_LONG", text, self.vendor)
        if self.options is not None and not self.options.issuperset(
            value.split(";") if self.several else (value,)
        ):
            text = f"{self.vendor} allows only: {self.allowed}; add the missing value to the picklist map"
            return _invalid("INVALID_OPTION", text, self.vendor)
        return None

    def takes(self, column: Sequence[str | None]) -> bool:
        """Whether all of these values are taken, seen at a glance."""
        if self.error is not None or (self.required and None in column):
            return False
        there = filter(None, column)
        if self.max_length is not None and max(map(len, there), default=0) > self.max_length:
            return False
        return self.options is None or all(self.refusal(value) is None for value in set(column))


class Checker:
    """Checks writes of one kind ("create" or "update") of a stream; made once for many records.

    Associations are not fields of the object and are not described.
    """

    def __init__(self, stream: StreamSpec, kind: str, described: Mapping[str, Described]) -> None:
        self._create = kind == "create"
        self._rules = [
            _rule(spec, kind, described.get(spec.vendor.name))
            for spec in stream.fields
            if spec.vendor.association is None
        ]
        self._wanted = [(spec.name, spec.vendor.name) for spec in stream.fields if spec.required]
        ours = {spec.vendor.name: spec.name for spec in reversed(stream.fields)}
        self._needed = [
            (ours.get(name, ""), name)
            for name, info in described.items()
            if self._create and info.required and info.createable and name not in stream.constants
        ]

    def refusal(self, values: Mapping[str, str | None]) -> Refusal | None:
        """The first reason why the CRM would refuse `values` (by our field names, in the CRM's terms), or None."""
        for rule in self._rules:
            if rule.name in values:
                error = rule.refusal(values[rule.name])
                if error is not None:
                    return Refusal(rule.name, error)
        for name, vendor in self._wanted:
            if values.get(name, None if self._create else "kept") is None:
                text = f"the mapping requires {name}, and the hub has none"
                return Refusal(name, _invalid("REQUIRED_BY_MAPPING", text, vendor))
        for name, vendor in self._needed:
            if values.get(name) is None:
                text = f"{vendor} is required to create a record"
                return Refusal(name, _invalid("REQUIRED_FIELD_MISSING", text, vendor))
        return None

    def takes(self, columns: Mapping[str, Sequence[str | None]]) -> bool:
        """Whether `refusal` would be None for every record of these columns (each record has them all); if not, one
        by one tells. False although there is nothing is possible, for blanks."""
        if any(rule.name in columns and not rule.takes(columns[rule.name]) for rule in self._rules):
            return False
        must = [name for name, _ in self._wanted if self._create or name in columns]
        must += [name for name, _ in self._needed]
        return not any(name not in columns or None in columns[name] for name in must)


def _rule(spec: FieldSpec, kind: str, info: Described | None) -> _Rule:
    name = spec.vendor.name
    if info is None:
        text = f"{name} does not exist or this connection may not see it"
        return _Rule(spec.name, name, RecordError(ErrorClass.PERMISSION, "FIELD_MISSING", text, (name,)))
    if not (info.createable if kind == "create" else info.updateable):
        text = f"{name} cannot be written in the CRM; make the field inbound in the mapping, or grant the permission"
        return _Rule(spec.name, name, RecordError(ErrorClass.PERMISSION, "FIELD_READ_ONLY", text, (name,)))
    chosen = info.options if spec.type in (FieldType.PICKLIST, FieldType.MULTIPICKLIST) else None
    return _Rule(
        spec.name,
        name,
        required=info.required,
        max_length=None if spec.type is FieldType.REFERENCE else info.max_length,
        options=None if chosen is None else frozenset(chosen),
        several=spec.type is FieldType.MULTIPICKLIST,
        allowed=", ".join(chosen or ()),
    )


def _invalid(code: str, text: str, vendor: str) -> RecordError:
    return RecordError(ErrorClass.VALIDATION, code, text, (vendor,))
