"""Which values of a CRM are normal already, as SQL: those that `core.normalise.to_hub` would leave as they are.

Most values are, and need not leave Postgres. The conditions are narrower than `to_hub` (what they do not know goes
to Python), but never wider: tests/hub/test_normal.py holds every condition against `to_hub` itself.
"""

from psycopg import sql

from crm_sync.core.addresses import RESERVED
from crm_sync.core.spec import FieldSpec, FieldType
from crm_sync.core.values import LENGTH_LIMIT

# Letters of which no two compose and none is taken apart, in the scripts of most names: a text of these is NFC.
_LETTERS = "À-ÖØ-öø-ſА-яё-џא-תء-غف-يァ-ヺ一-鿋가-힣Ạ-ỹ"  # noqa: RUF001
_TEXT = rf"^[!-~{_LETTERS}]([ -~{_LETTERS}\n]*[!-~{_LETTERS}])?$"

_DAY = (
    "[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"  # the last days of months are left to the calendar
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}"
_WHOLE = "[1-9][0-9]{0,17}"
_FRACTION = r"\.[0-9]{0,17}[1-9]"
# Short enough that no part of it can be too long; the label before a hyphen does not end in one.
_EMAIL = (
    r"^[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,}$",
    rf"\.({'|'.join(sorted(RESERVED))})$",
)

_PATTERNS: dict[FieldType, str] = {
    FieldType.DATE: f"^{_DAY}$",
    FieldType.DATETIME: f"^{_DAY}T{_TIME}Z$",
    FieldType.NUMBER: f"^(0|-?{_WHOLE}|-?(0|{_WHOLE}){_FRACTION})$",
}


def normal(spec: FieldSpec, value: sql.Composable) -> sql.Composable:
    """Condition: `to_hub` gives `as_normal` of this text (not null), unchanged. Never true by mistake."""
    if spec.to_hub is not None:
        return sql.SQL("false")
    if spec.type in _PATTERNS:
        return sql.SQL("{} ~ {}").format(value, sql.Literal(_plain(_PATTERNS[spec.type])))
    if spec.type is FieldType.BOOLEAN:
        return sql.SQL("{} in ('true', 'false')").format(value)
    if spec.type is FieldType.EMAIL:
        matches, reserved = map(_plain, _EMAIL)
        return sql.SQL("(length({0}) <= 64 and {1} ~ {2} and {1} !~ {3})").format(
            value, as_normal(spec, value), sql.Literal(matches), sql.Literal(reserved)
        )
    if spec.type in {FieldType.STRING, FieldType.ID, FieldType.PICKLIST}:
        return sql.SQL("(length({0}) <= {1} and {0} ~ {2})").format(
            value, sql.Literal(LENGTH_LIMIT), sql.Literal(_plain(_TEXT))
        )
    return sql.SQL("false")


def as_normal(spec: FieldSpec, value: sql.Composable) -> sql.Composable:
    """Expression: what becomes of a value that is `normal`: itself, an e-mail address in lower case."""
    if spec.type is FieldType.EMAIL:
        return sql.SQL('lower({} collate "C")').format(value)  # C knows A to Z only
    return value


def unlike(
    spec: FieldSpec, ours: sql.Composable, theirs: sql.Composable, *, lost: sql.Composable
) -> sql.Composable:
    """Condition: the hub's text and the CRM's surely do not mean the same; `lost`: where only the hub has one."""
    return sql.SQL(
        "case when {ours} is null then {theirs} is not null and {theirs_normal} when {theirs} is null then {lost}"
        " else {theirs_normal} and {ours_normal} and {ours_as} <> {theirs_as} end"
    ).format(
        ours=ours,
        theirs=theirs,
        lost=lost,
        ours_normal=normal(spec, ours),
        theirs_normal=normal(spec, theirs),
        ours_as=as_normal(spec, ours),
        theirs_as=as_normal(spec, theirs),
    )


def _plain(pattern: str) -> str:
    """Groups of Postgres that need not be remembered are found much faster."""
    return pattern.replace("(", "(?:")
