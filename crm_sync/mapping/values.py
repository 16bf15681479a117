"""Types of single values in a connection file: how they are read from YAML, and what editors are told about them.

Here: scalars (texts, switches, counts, secrets, addresses, schedules, names). The models made of them are in
`models.py` and `kinds.py`. A message never repeats what was read, because it may be a secret in the wrong place.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from crm_sync.core.deletes import DeletePolicy
from crm_sync.core.spec import Direction, FieldType, Operator, Policy, SecretRef
from crm_sync.mapping.nodes import Plain

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_CRON_PARTS: Final = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def wrong(message: str) -> PydanticCustomError:
    """A complaint about one value, to be raised in a validator."""
    return PydanticCustomError("value", "{message}", {"message": message})


# --- texts, switches, numbers

_ANY_SCALAR = {"type": ["string", "number", "boolean"]}

Text = Annotated[str, WithJsonSchema(_ANY_SCALAR)]
"""A text that a person may write without quotes even if it looks like a number or a switch (`2024`, `true`)."""


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Plain) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise wrong("must be true or false (without quotes; yes, no, on and off are texts in YAML 1.2)")


def whole(value: Any) -> int:
    if isinstance(value, Plain) and re.fullmatch(r"[+-]?[0-9]{1,9}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise wrong("must be a whole number (without quotes)")


def _at_least(low: int, high: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not low <= value <= high:
            raise wrong(f"must be from {low} to {high}")
        return value

    return check


Switch = Annotated[bool, BeforeValidator(_switch)]


def count(low: int, high: int) -> Any:
    """The type of a whole number from `low` to `high`."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Annotated[
        int, AfterValidator(_at_least(low, high)), BeforeValidator(whole), WithJsonSchema(schema)
    ]


def part(value: Any) -> float:
    found = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s?%", value) if isinstance(value, str) else None
    if found is None or float(found[1]) > 100:
        raise wrong("must be a percentage from 0% to 100%, such as 20%")
    return float(found[1]) / 100


Part = Annotated[
    float,
    BeforeValidator(part),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3})? ?%$"}),
]
"""A percentage, as a number from 0 to 1."""


def natural(value: Any) -> Any:
    """What YAML itself would make of a plain scalar: numbers and switches; for options that no model describes."""
    if isinstance(value, dict):
        return {key: natural(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [natural(inner) for inner in value]
    return _natural_scalar(value) if isinstance(value, Plain) else value


def _natural_scalar(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?(0|[1-9][0-9]{0,17})", text):
        return int(text)
    if re.fullmatch(r"[+-]?[0-9]{1,17}\.[0-9]{1,17}", text):
        return float(text)
    return str(text)


# --- choices

DirectionChoice = Annotated[Direction, Strict(strict=False)]
PolicyChoice = Annotated[Policy, Strict(strict=False)]
DeleteChoice = Annotated[DeletePolicy, Strict(strict=False)]
TypeChoice = Annotated[FieldType, Strict(strict=False)]
OperatorChoice = Annotated[Operator, Strict(strict=False)]


# --- secrets

_HOW = "write {env: NAME_OF_VARIABLE} and put the value into that environment variable"


def _reference(value: Any) -> SecretRef | None:
    name: Any = None
    if isinstance(value, SecretRef):
        return value
    if isinstance(value, dict) and set(value) == {"env"}:
        name = value["env"]
    elif isinstance(value, str) and (found := _REFERENCE.fullmatch(value.strip())):
        name = found.group(1)
    else:
        return None
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise wrong(f"the name of an environment variable has letters, digits and _ only; {_HOW}")
    return SecretRef(str(name))


def _secret(value: Any) -> SecretRef:
    found = _reference(value)
    if found is None:
        raise wrong(f"a secret must not stand in a connection file; {_HOW}")
    return found


def _setting(value: Any) -> SecretRef | str:
    found = _reference(value)
    if found is not None:
        return found
    if isinstance(value, str) and value.strip():
        return str(value)
    raise wrong("must be a text or {env: NAME_OF_VARIABLE}")


_ENV_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"env": {"type": "string", "pattern": f"^{_VARIABLE.pattern}$"}},
            "required": ["env"],
            "additionalProperties": False,
        },
        {"type": "string", "pattern": rf"^\$\{{{_VARIABLE.pattern}\}}$"},
    ]
}

Secret = Annotated[SecretRef, BeforeValidator(_secret), WithJsonSchema(_ENV_SCHEMA)]
"""Only ever the name of an environment variable."""

Setting = Annotated[
    SecretRef | str,
    BeforeValidator(_setting),
    WithJsonSchema({"anyOf": [*_ENV_SCHEMA["anyOf"], {"type": "string"}]}),
]
"""A text, or the name of an environment variable that holds it."""


# --- addresses, files, regions, schedules


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise wrong("must be an address like https://example.com") from None
    if parts.scheme not in ("https", "http") or not host:
        raise wrong("must be an address that begins with https://")
    if parts.scheme == "http" and host not in _LOCAL_HOSTS:
        raise wrong("must begin with https:// (http:// is only for a simulator on this machine)")
    if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise wrong("must be scheme and host only, like https://acme.my.salesforce.com")
    return value.rstrip("/")


def _file(value: str) -> str:
    if not value.strip():
        raise wrong("must be the path of a file")
    return str(Path(value).expanduser())


def _region(value: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS

    if value not in SUPPORTED_REGIONS:
        raise wrong("must be a country code of two capital letters, such as US, GB (not UK), DE or NO")
    return value


def _schedule(value: str) -> str:
    parts = value.split()
    if len(parts) != len(_CRON_PARTS):
        raise wrong('must have five parts (minute hour day month weekday), such as "*/5 * * * *"')
    for part, (name, low, high, names) in zip(parts, _CRON_PARTS, strict=True):
        if not all(_cron_item(item.lower(), low, high, names) for item in part.split(",")):
            raise wrong(
                f"the part for {name} must be *, */n, n, n-m or a list of these, from {low} to {high}"
            )
    return value


def _cron_item(item: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    for index, name in enumerate(names):
        item = item.replace(name, str(low + index))
    found = re.fullmatch(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", item)
    if not found:
        return False
    first, last, step = (int(group) if group else None for group in found.groups())
    if step is not None and (step == 0 or step > high):
        return False
    return first is None or low <= first <= (first if last is None else last) <= high


BaseUrl = Annotated[
    str, AfterValidator(_base_url), WithJsonSchema({"type": "string", "pattern": "^https?://[^/]+/?$"})
]
FilePath = Annotated[str, AfterValidator(_file)]
Region = Annotated[str, AfterValidator(_region), WithJsonSchema({"type": "string", "pattern": "^[A-Z]{2}$"})]
Schedule = Annotated[str, AfterValidator(_schedule)]
