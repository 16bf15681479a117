"""What a CRM tells in its answers, in the temporary table `accepted` (see confirm.py), and how it reaches the mirror."""

from psycopg import Connection, sql

from crm_sync.core.spec import FieldSpec, StreamSpec
from crm_sync.hub.sql import canonical_crm, ident, mirror_table

ANSWER = (
    "jsonb_strip_nulls(jsonb_build_object('id', a.crm_id, 'created', a.created,"
    " 'modified_at', case when i.kind = 'create' then a.stamp end,"
    " 'sent', case when i.kind = 'create' and i.created_at < clock_timestamp() - interval '1 minute' then i.created_at end))"
)
"""Expression over `answered` (a) and the intent (i): what the journal keeps of an answer. Of a create also the CRM's stamp,
and when it was sent if that was long ago: by these undo knows whether anybody wrote to the record since."""


def names(conn: Connection, stream: StreamSpec, column: str) -> set[str]:
    """The fields that one of the JSON columns of `accepted` mentions."""
    mentioned = sql.SQL(", ").join(
        sql.SQL("bool_or({} ? {})").format(ident(column), sql.Literal(spec.name)) for spec in stream.fields
    )
    row = conn.execute(sql.SQL("select {} from accepted").format(mentioned)).fetchone() or ()
    return {spec.name for spec, found in zip(stream.fields, row, strict=True) if found}


def tell_mirror(conn: Connection, stream: StreamSpec) -> None:
    """What was told goes into the mirror, in its spelling, unless the mirror holds something newer. What was not told
    is absent and stays; parts of a computed value are not in the mirror. Which records it holds was noted before
    (`known`): looked for by the statement that adds others, it would look through all that it has added by then."""
    mentioned = names(conn, stream, "told")
    fields = [spec for spec in stream.fields if spec.name in mentioned and spec.vendor.template is None]
    texts = [canonical_crm(spec.type, value("told", spec)) for spec in fields]
    assignments = [
        sql.SQL("{0} = case when a.told ? {1} then {2} else m.{0} end").format(
            ident(spec.name), sql.Literal(spec.name), text
        )
        for spec, text in zip(fields, texts, strict=True)
    ]
    columns = [sql.SQL("crm_id, modified_at, hub_id"), *(ident(spec.name) for spec in fields)]
    new = sql.SQL("a.crm_id, a.stamp, case when a.kind = 'create' then a.hub_id::text end")
    conn.execute(
        sql.SQL(
            "with fresh as (insert into {mirror} ({columns}) select {values} from accepted a"
            " where a.told is not null and not a.known on conflict (crm_id) do nothing)"
            " update {mirror} m set {assignments} from accepted a"
            " where a.told is not null and a.known and m.crm_id = a.crm_id"
            " and (a.stamp is null or m.modified_at is null or a.stamp >= m.modified_at)"
        ).format(
            mirror=mirror_table(stream),
            columns=sql.SQL(", ").join(columns),
            values=sql.SQL(", ").join([new, *texts]),
            assignments=sql.SQL(", ").join(
                [
                    sql.SQL("modified_at = coalesce(a.stamp, m.modified_at), seen_at = clock_timestamp(), deleted = false"),
                    sql.SQL("hub_id = case when a.kind = 'create' then a.hub_id::text else m.hub_id end"),
                    *assignments,
                ]
            ),
        )
    )  # fmt: skip


def value(column: str, spec: FieldSpec) -> sql.Composed:
    """Expression: a field's value in one of the JSON columns of `accepted`."""
    return sql.SQL("(a.{} ->> {})").format(ident(column), sql.Literal(spec.name))
