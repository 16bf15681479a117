"""The option that makes writes wait for an approved plan. Part of the models in `models.py`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from crm_sync.mapping.values import wrong

_SIDES = ("crm", "hub")
_WORDS = ("required", "none")


def _approval(value: Any) -> frozenset[str]:
    """`required` and `none` for both sides, or one of them for each side that is named."""
    if isinstance(value, frozenset):
        return value
    given = value if isinstance(value, dict) else dict.fromkeys(_SIDES, value)
    if not set(given) <= set(_SIDES) or not all(word in _WORDS for word in given.values()):
        raise wrong(
            "must be required or none, or one of the two for crm, hub or both, such as {crm: required}"
        )
    return frozenset(side for side, word in given.items() if word == "required")


_WORD = {"type": "string", "enum": list(_WORDS)}

Approval = Annotated[
    frozenset[str],
    BeforeValidator(_approval),
    WithJsonSchema(
        {
            "anyOf": [
                _WORD,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": dict.fromkeys(_SIDES, _WORD),
                },
            ]
        }
    ),
]
"""Where writes wait for an approved plan: "hub", "crm"."""
