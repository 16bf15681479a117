"""Between a CRM's text and ours: whole columns of values, each in its field's canonical form or `Invalid`.

Here belong the columns, the picklist maps and what becomes of a value that does not fit; the canonical form of
each type is in `values.py`, `addresses.py` and `phone.py`. What each type accepts: docs/reference/field-types.md.
Pure; repeated values of a column are computed once.

Laws (tests/core/test_normalise.py): without a map, `to_hub` is idempotent; `to_hub(to_crm(v)) == v` for every v
that `to_hub` gives, if the maps are inverse and no digits are cut off; no text makes them raise; no `Invalid`
holds a value.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from crm_sync.core import addresses, values
from crm_sync.core.phone import phone
from crm_sync.core.spec import FieldSpec, FieldType
from crm_sync.core.values import LENGTH_LIMIT, NUL_MARK, Unfit

REMEMBERED = 65_536  # distinct values of a column of which the result is kept while the column is worked on
TEXT_TYPES = frozenset(
    {
        FieldType.STRING,
        FieldType.EMAIL,
        FieldType.PHONE,
        FieldType.URL,
        FieldType.PICKLIST,
        FieldType.MULTIPICKLIST,
        FieldType.ID,
        FieldType.REFERENCE,
    }
)
"""Types whose hub column takes any text, so that an unchecked value can pass."""

Column: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray
_One: TypeAlias = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A value that cannot cross. Never the value: `value_class` tells what kind of text it was."""

    field: str
    value_class: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value_class} {self.reason}"


def to_hub(spec: FieldSpec, column: Column, *, check: bool = True) -> list[str | Invalid | None]:
    """The CRM's text as our canonical text, picklists mapped; None and blank are None.

    check=False (skip_validation) lets through, trimmed, whatever the hub's column can store; a word for a number
    and text that Postgres cannot hold stay Invalid.
    """
    return _column(
        spec, column, _mapped(_canonical(spec), spec, spec.to_hub, _ours(spec.to_hub)), check=check
    )


def to_crm(spec: FieldSpec, column: Column, *, check: bool = True) -> list[str | Invalid | None]:
    """Our text, canonical or as an application wrote it, as the CRM's: canonical, picklists mapped, numbers
    rounded to what the vendor keeps. None and blank are None. check as for `to_hub`."""
    return _column(spec, column, _mapped(_outward(spec), spec, spec.to_crm, spec.to_crm), check=check)


_CANONICAL: Mapping[FieldType, _One] = {
    FieldType.EMAIL: addresses.email,
    FieldType.URL: addresses.url,
    FieldType.DATE: values.day,
    FieldType.DATETIME: values.moment,
    FieldType.NUMBER: values.number,
    FieldType.BOOLEAN: values.boolean,
    FieldType.JSON: values.json_text,
    FieldType.MULTIPICKLIST: lambda text: _joined(values.choices(text)),
}


def _canonical(spec: FieldSpec) -> _One:
    """The function that gives one cleaned value its canonical form."""
    if spec.type is FieldType.PHONE:
        return partial(phone, region=spec.region)
    return _CANONICAL.get(spec.type, lambda text: text)


def _outward(spec: FieldSpec) -> _One:
    """The canonical form with no more digits than the vendor keeps."""
    scale = spec.scale
    if spec.type is not FieldType.NUMBER or scale is None:
        return _canonical(spec)
    return lambda text: values.rounded(values.number(text), scale)


def _mapped(
    one: _One, spec: FieldSpec, mapping: Mapping[str, str] | None, ours: Iterable[str] | None
) -> _One:
    """`one`, then the picklist map; `ours` are our values, which the error names."""
    if mapping is None or spec.type not in {FieldType.PICKLIST, FieldType.MULTIPICKLIST}:
        return one
    known = {values.clean(theirs): value for theirs, value in mapping.items()}
    allowed = ", ".join(sorted(set(ours or ())))

    def of(choice: str) -> str:
        try:
            return known[choice]
        except KeyError as error:
            raise Unfit(f"is not in the picklist map; the hub's values are: {allowed}") from error

    if spec.type is FieldType.PICKLIST:
        return of
    return lambda text: _joined(of(choice) for choice in values.choices(text))


def _ours(to_hub_map: Mapping[str, str] | None) -> Iterable[str] | None:
    return None if to_hub_map is None else to_hub_map.values()


def _joined(chosen: Iterable[str]) -> str | None:
    return ";".join(sorted(set(chosen))) or None


def _column(spec: FieldSpec, column: Column, one: _One, *, check: bool) -> list[str | Invalid | None]:
    texts: Iterable[str | None] = (
        column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else column
    )
    known: dict[str, str | Invalid | None] = {}
    result: list[str | Invalid | None] = []
    for text in texts:
        if text is None:
            result.append(None)
        elif text in known:
            result.append(known[text])
        else:
            value = _value(spec, text, one, check=check)
            if len(known) < REMEMBERED:
                known[text] = value
            result.append(value)
    return result


def _value(spec: FieldSpec, text: str, one: _One, *, check: bool) -> str | Invalid | None:
    try:
        cleaned = values.clean(text)
    except Unfit as unfit:
        return Invalid(spec.name, _value_class(spec, text), str(unfit))
    if cleaned is None:
        return None
    try:
        return one(values.short(cleaned))
    except Unfit as unfit:
        if not check and spec.type in TEXT_TYPES:
            return cleaned
        return Invalid(spec.name, _value_class(spec, text), str(unfit))


def _value_class(spec: FieldSpec, text: str) -> str:
    if "\0" in text or NUL_MARK in text:
        return "text with a NUL byte"
    if len(text) > LENGTH_LIMIT:
        return f"text of {len(text):,} characters"
    if spec.type is FieldType.EMAIL and "@" not in text:
        return "e-mail without @"
    return f"text of {len(text):,} character{'' if len(text) == 1 else 's'}"
