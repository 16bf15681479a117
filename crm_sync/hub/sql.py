"""How our fields look in Postgres: types, and the expressions that turn columns into text and back.

Every value crosses between Postgres and Python as canonical text or null (`core/normalise.py` says what is
canonical); this module is the one place that knows how a typed column becomes that text and how text becomes a
typed column. Identifiers always pass through `psycopg.sql.Identifier`; values are always bound.
"""

from collections.abc import Callable, Sequence

from psycopg import sql

from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec, template_fields

HUB_TYPES: dict[FieldType, str] = {
    FieldType.STRING: "text",
    FieldType.EMAIL: "text",
    FieldType.PHONE: "text",
    FieldType.URL: "text",
    FieldType.PICKLIST: "text",
    FieldType.ID: "text",
    FieldType.DATE: "date",
    FieldType.DATETIME: "timestamptz",
    FieldType.NUMBER: "numeric",
    FieldType.BOOLEAN: "boolean",
    FieldType.MULTIPICKLIST: "text[]",
    FieldType.JSON: "jsonb",
    FieldType.REFERENCE: "uuid",
}

# Choices trimmed, each once, in order: what sync.canon_multi does, at a third of its cost, which is mostly the call.
_CHOICES = (
    "(select string_agg(x, ';' order by x collate \"C\")"
    " from (select distinct btrim(u) as x from unnest({0}) u where btrim(u) <> '') s)"
)

_TO_TEXT: dict[FieldType, str] = {
    FieldType.DATE: "to_char({0}, 'YYYY-MM-DD')",
    FieldType.DATETIME: "to_char({0} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
    FieldType.NUMBER: "trim_scale({0})::text",
    FieldType.BOOLEAN: "{0}::text",
    FieldType.MULTIPICKLIST: _CHOICES,
    FieldType.JSON: "{0}::text",
    FieldType.REFERENCE: "{0}::text",
}

_FROM_TEXT: dict[FieldType, str] = {
    FieldType.MULTIPICKLIST: "string_to_array({0}, ';')",
}

# The spellings that nearly every value has are told at a glance; the others are left to the dearer expressions.
_CANON_CRM: dict[FieldType, str] = {
    FieldType.NUMBER: "sync.canon_number({0})",
    FieldType.DATETIME: (
        "case when {0} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}[.][0-9]{{3}}(?:[+]0000|Z)$'"
        " then left({0}, 23) || 'Z' else sync.canon_datetime({0}) end"
    ),
    FieldType.BOOLEAN: "lower({0})",
    FieldType.MULTIPICKLIST: (
        "case when strpos({0}, ';') = 0 then nullif(btrim({0}), '')"
        " when btrim({0}, ' ;') = {0} and strpos({0}, '; ') = 0 and strpos({0}, ' ;') = 0"
        " and strpos(substr({0}, strpos({0}, ';') + 1), ';') = 0 and split_part({0}, ';', 1) <> split_part({0}, ';', 2)"
        " then case when split_part({0}, ';', 1) collate \"C\" < split_part({0}, ';', 2) then {0}"
        " else split_part({0}, ';', 2) || ';' || split_part({0}, ';', 1) end"
        " else " + _CHOICES.format("string_to_array({0}, ';')") + " end"
    ),
}


def ident(*parts: str) -> sql.Identifier:
    """A quoted, possibly qualified name."""
    return sql.Identifier(*parts)


def hub_table(entity: str) -> sql.Identifier:
    return ident("hub", entity)


def mirror_table(stream: StreamSpec) -> sql.Identifier:
    return ident(stream.connection, stream.entity)


def base_table(stream: StreamSpec) -> sql.Identifier:
    return ident(stream.connection, f"{stream.entity}_base")


def base_of(stream: StreamSpec, entity: str) -> sql.Identifier:
    """The base (and so the links) of another entity of the same connection."""
    return ident(stream.connection, f"{entity}_base")


def alive(mirror: str) -> sql.Composed:
    """Condition over a row of the mirror: the CRM has the record, and it takes part in the sync (deleted and merged ones,
    those that have left the mapping's filter, and converted leads do not)."""
    return sql.SQL("(not {} and not {} and not {})").format(
        ident(mirror, "deleted"), ident(mirror, "outside"), ident(mirror, "lead_converted")
    )


def let_go(spec: FieldSpec) -> sql.Composable:
    """Condition over h and b (hub and base): the hub lost this reference because its target was deleted, and has not got
    another one. Such a blank is nobody's word: it is not sent. False for other types."""
    if spec.type is not FieldType.REFERENCE or spec.computed is not None:
        return sql.SQL("false")
    return sql.SQL(
        "({h} is null and {b} is not null and exists (select from sync.let_go g"
        " where g.hub_id = h.id and g.field = {field} and g.target = {b}))"
    ).format(
        h=ident("h", spec.name),
        b=ident("b", f"{spec.name}_hub"),
        field=sql.Literal(spec.name),
    )


def hub_changed(spec: FieldSpec) -> sql.Composable:
    """Condition over h and b: our side of the field is not what it was when the sides last agreed."""
    changed = sql.SQL("{} is distinct from {}").format(hub_now(spec), ident("b", f"{spec.name}_hub"))
    if spec.type is not FieldType.REFERENCE or spec.computed is not None:
        return changed
    return sql.SQL("({} and not {})").format(changed, let_go(spec))


def differences_view(stream: StreamSpec) -> sql.Identifier:
    return ident(stream.connection, f"{stream.entity}_differences")


def hub_type(spec: FieldSpec) -> sql.SQL:
    """Postgres type of the hub column (and of the hub half of the base)."""
    return sql.SQL(HUB_TYPES[FieldType.STRING if spec.computed else spec.type])


def to_text(spec: FieldSpec, column: sql.Composable) -> sql.Composable:
    """Expression: a hub column as canonical text."""
    if spec.computed is not None:
        return column
    template = _TO_TEXT.get(spec.type, "{0}")
    return sql.SQL(template).format(column)


def from_text(spec: FieldSpec, text: sql.Composable) -> sql.Composable:
    """Expression: canonical text as a value of the hub column's type; fails in Postgres on bad text."""
    template = _FROM_TEXT.get(spec.type)
    if template is not None:
        return sql.SQL(template).format(text)
    return sql.SQL("{}::{}").format(text, hub_type(spec))


_MATCH_TEXT = {
    FieldType.DATE: "sync.date_text({0})",
    FieldType.DATETIME: "sync.datetime_text({0})",
    FieldType.NUMBER: "trim_scale({0})::text",
}


def match_key(spec: FieldSpec, column: sql.Composable, *, typed: bool) -> sql.Composed:
    """Expression: the key by which records are matched, of a hub column (`typed`: usable in an index) or of
    canonical text. Compared byte by byte: the order of a language would only make the index slower."""
    text = sql.SQL(_MATCH_TEXT.get(spec.type, "{0}::text") if typed else "{0}").format(column)
    return sql.SQL('(sync.match_key({}, {}) collate "C")').format(sql.Literal(str(spec.type)), text)


def canonical_crm(field_type: FieldType, text: sql.Composable) -> sql.Composable:
    """Expression: a CRM's text in the one spelling we keep in the mirror; what cannot be read stays as it is."""
    value = sql.SQL("nullif({}, '')").format(text)
    template = _CANON_CRM.get(field_type)
    return value if template is None else sql.SQL(template).format(value)


def hub_now(spec: FieldSpec, alias: str = "h") -> sql.Composable:
    """Expression: what our side says now, in the hub column's type; a computed field is rendered here."""
    if spec.computed is None:
        return ident(alias, spec.name)
    return render(spec.computed, lambda name: sql.SQL("{}::text").format(ident(alias, name)))


def as_object(fields: Sequence[FieldSpec], alias: str) -> sql.Composable:
    """Expression: these fields of a table of texts as a JSON object. Two arrays: a function that is given each name and
    value takes at most a hundred arguments, which is fifty fields."""
    return sql.SQL("jsonb_object({}::text[], array[{}]::text[])").format(
        sql.Literal([spec.name for spec in fields]),
        sql.SQL(", ").join(ident(alias, spec.name) for spec in fields),
    )


def _said(text: str) -> sql.Composable:
    """A literal text, also in a statement with parameters, in which a percent sign would be one of them."""
    return sql.SQL(" || chr(37) || ").join(sql.Literal(part) for part in text.split("%"))


def render(template: str, column: Callable[[str], sql.Composable]) -> sql.Composable:
    """Expression: a template rendered as `core.normalise.render` does: null is nothing, blanks collapse."""
    names = template_fields(template)
    parts: list[sql.Composable] = []
    rest = template
    for name in names:
        before, _, rest = rest.partition("{" + name + "}")
        parts += [_said(before), column(name)]
    parts.append(_said(rest))
    return sql.SQL("nullif(btrim(regexp_replace(concat({}), '\\s+', ' ', 'g')), '')").format(
        sql.SQL(", ").join(parts)
    )
