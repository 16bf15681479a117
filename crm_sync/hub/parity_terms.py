"""When a field of a linked record does not agree, as SQL over s (the CRM as read), b (base), h (hub) and m (mirror)."""

from psycopg import sql

from crm_sync.core.spec import FieldSpec
from crm_sync.hub.normal import normal, unlike
from crm_sync.hub.plain import is_able
from crm_sync.hub.sql import hub_now, ident, to_text


def any_off(spec: FieldSpec) -> sql.Composable:
    """Condition over s, b, h and m: the field is not as it was agreed on, on either side or in the mirror, or the sides
    agreed on what is not the same."""
    return sql.SQL("{} or {} or {} or not {} or {}").format(
        hub_off(spec),
        crm_off(spec),
        mirror_off(spec),
        ident("b", f"{spec.name}_agreed"),
        apart(spec, ident("s", f"f_{spec.name}")),
    )


def apart(spec: FieldSpec, theirs: sql.Composable) -> sql.Composable:
    """Condition over h: the hub's value and the CRM's are plainly not the same, whatever was agreed on. Only of types of
    which SQL can tell; an outbound field may differ for good, because the CRM makes something else of what is sent."""
    if not is_able(spec):
        return sql.SQL("false")
    ours = sql.SQL("{}::text").format(to_text(spec, hub_now(spec)))
    return sql.SQL("coalesce(case when {} is distinct from {} then {} end, false)").format(
        ours, theirs, unlike(spec, ours, theirs, lost=normal(spec, ours))
    )


def hub_off(spec: FieldSpec) -> sql.Composable:
    return sql.SQL("{} is distinct from {}").format(hub_now(spec), ident("b", f"{spec.name}_hub"))


def crm_off(spec: FieldSpec) -> sql.Composable:
    return sql.SQL("{} is distinct from {}").format(
        ident("s", f"f_{spec.name}"), ident("b", f"{spec.name}_crm")
    )


def mirror_off(spec: FieldSpec) -> sql.Composable:
    return sql.SQL("(m.crm_id is not null and {} is distinct from {})").format(
        ident("s", f"f_{spec.name}"), ident("m", spec.name)
    )
