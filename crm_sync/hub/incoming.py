"""CRM records without a link, in the hub's terms: the temporary table `unlinked`, on which `link.py` works.

Values that are normal already never leave Postgres (`normal.py`). The others are fetched once each, given their
meaning by `core.normalise`, and joined back.
"""

from collections.abc import Sequence

from psycopg import Connection, sql

from crm_sync.core.normalise import Invalid, to_hub
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from crm_sync.hub import aliases
from crm_sync.hub.normal import as_normal, normal
from crm_sync.hub.sql import alive, ident, mirror_table

# New records get ids in the order of time (UUID version 7), numbered within a chunk: rows that are written together
# then lie together in every index, which costs a third of the random order.
_NEW_ID = (
    "(lpad(to_hex(((extract(epoch from now()) * 1000)::bigint + n / 4096) * 65536 + 28672 + n % 4096), 16, '0')"
    " || substr(gen_random_uuid()::text, 20))::uuid"
)


def stage(
    conn: Connection, stream: StreamSpec, crm_ids: Sequence[str], *, check: bool = True
) -> list[tuple[str, Invalid]]:
    """Fill `unlinked` with these mirror records, those that the CRM has deleted and doubles left out; returns (CRM id, what is
    wrong) of the records that are not in it because a value cannot enter the hub.

    Columns: n (1, 2, ... by CRM id), crm_id, modified_at, hub_id (the external id, text), new_id (the hub id if it
    becomes a new record), found, rule, how and candidates (see `candidates.py`), and for each field its value as canonical text and,
    as `<name>_crm`, in the CRM's own spelling. A reference is a hub id, null where its target has no link. The
    mirror is read once: what it says later is a later change. check=False: as for `to_hub`.
    """
    conn.execute("drop table if exists pg_temp.said, pg_temp.meaning, pg_temp.unlinked, pg_temp.all_unlinked")
    columns = [spec for spec in stream.columns if spec.type is not FieldType.REFERENCE]
    conn.execute(
        sql.SQL(
            "create temporary table said on commit drop as select row_number() over (order by m.crm_id) as n,"
            " m.crm_id, m.modified_at, m.hub_id, {} from {} m where m.crm_id = any(%s) and {}"
        ).format(
            sql.SQL(", ").join(ident("m", spec.name) for spec in stream.columns),
            mirror_table(stream),
            alive("m"),
        ),
        [aliases.linkable(conn, stream, crm_ids)],
    )
    odd = _odd(conn, columns)
    invalid: dict[str, dict[str, Invalid]] = {}
    rows: list[tuple[int, str, str | None]] = []
    for i, spec in enumerate(columns):
        said = odd.get(i, [])
        for text, means in zip(said, to_hub(spec, said, check=check), strict=True):
            if isinstance(means, Invalid):
                invalid.setdefault(spec.name, {})[text] = means
            else:
                rows.append((i, text, means))
    _stage_meanings(conn, rows)
    _translate(conn, stream, {columns[i].name: i for i, _, _ in rows}, invalid)
    return _refused(conn, invalid)


def _odd(conn: Connection, columns: Sequence[FieldSpec]) -> dict[int, list[str]]:
    """The values, each once, that SQL cannot tell to be normal, by the field's place in `columns`."""
    query = sql.SQL(" union all ").join(
        sql.SQL("select distinct {}, {} from said where not {}").format(
            sql.Literal(i), ident(spec.name), normal(spec, ident(spec.name))
        )
        for i, spec in enumerate(columns)
    )
    found: dict[int, list[str]] = {}
    if columns:
        for i, text in conn.execute(query):
            if text is not None:
                found.setdefault(i, []).append(text)
    return found


def _stage_meanings(conn: Connection, rows: Sequence[tuple[int, str, str | None]]) -> None:
    conn.execute(
        "create temporary table meaning (field int not null, said text not null, means text) on commit drop"
    )
    if rows:
        with conn.cursor() as cursor, cursor.copy("copy meaning from stdin") as copy:
            for row in rows:
                copy.write_row(row)


def _translate(
    conn: Connection, stream: StreamSpec, odd: dict[str, int], invalid: dict[str, dict[str, Invalid]]
) -> None:
    selected: list[sql.Composable] = []
    joins: list[sql.Composable] = []
    for spec in stream.columns:
        own = ident("s", spec.name)
        value: sql.Composable = as_normal(spec, own)
        if spec.type is FieldType.REFERENCE:
            value = aliases.target(stream, spec.entity or "", own, sql.SQL("l.hub_id::text"))
        elif spec.name in odd:
            joined = ident(f"{spec.name}_meaning")
            joins.append(
                sql.SQL("left join meaning {0} on {0}.field = {1} and {0}.said = {2}").format(
                    joined, sql.Literal(odd[spec.name]), own
                )
            )
            value = sql.SQL("case when {0}.said is null then {1} else {0}.means end").format(joined, value)
        selected.append(
            sql.SQL("{} as {}, {} as {}").format(value, ident(spec.name), own, ident(f"{spec.name}_crm"))
        )
    conn.execute("set local enable_nestloop = off")  # nothing is known about these tables: they are hashed
    conn.execute(
        sql.SQL(
            "create temporary table unlinked on commit drop as select s.n, s.crm_id, s.modified_at, s.hub_id, {new_id} as"
            " new_id, null::uuid as found, null::int as rule, null::text as how, 0 as candidates, {selected} from said s {joins} where {valid}"
        ).format(
            new_id=sql.SQL(_NEW_ID),
            selected=sql.SQL(", ").join(selected),
            joins=sql.SQL(" ").join(joins),
            valid=_valid(invalid),
        )
    )
    conn.execute("set local enable_nestloop = on")
    _prepare(conn)


def _prepare(conn: Connection) -> None:
    """An index and a few statistics, so that what is joined to the table is never joined row against row."""
    conn.execute("create unique index on unlinked (n)")
    conn.execute("analyze unlinked (n, hub_id, found, candidates)")


def _valid(invalid: dict[str, dict[str, Invalid]]) -> sql.Composable:
    conditions = [
        sql.SQL("({0} is null or {0} <> all({1}))").format(ident("s", name), sql.Literal(list(values)))
        for name, values in invalid.items()
    ]
    return sql.SQL(" and ").join(conditions) if conditions else sql.SQL("true")


def _refused(conn: Connection, invalid: dict[str, dict[str, Invalid]]) -> list[tuple[str, Invalid]]:
    found: list[tuple[str, Invalid]] = []
    for name, values in invalid.items():
        rows = conn.execute(
            sql.SQL("select crm_id, {0} from said where {0} = any(%s)").format(ident(name)), [list(values)]
        )
        found += [(crm_id, values[text]) for crm_id, text in rows]
    return found


def size(conn: Connection) -> int:
    """The highest n of `unlinked`, 0 if it is empty."""
    row = conn.execute("select coalesce(max(n), 0) from unlinked").fetchone()
    return row[0] if row else 0


def narrow(conn: Connection, first: int, last: int) -> list[str]:
    """Leave in `unlinked` only the records that were staged as number `first` to `last`; returns their CRM ids."""
    conn.execute("create temporary table if not exists all_unlinked on commit drop as table unlinked")
    conn.execute("drop table unlinked")
    conn.execute(
        sql.SQL(
            "create temporary table unlinked on commit drop as select * from all_unlinked where n between {} and {}"
        ).format(sql.Literal(first), sql.Literal(last))
    )
    _prepare(conn)
    return [row[0] for row in conn.execute("select crm_id from unlinked")]


def created(conn: Connection, stream: StreamSpec, limit: int | None) -> list[tuple[str, dict[str, str]]]:
    """The records that `link.link` has made new, at most `limit`, with their values as canonical text;
    references as the CRM's ids."""
    names = [spec.name for spec in stream.columns]
    rows = conn.execute(
        sql.SQL(
            "select crm_id, {} from unlinked where found is null and candidates = 0 order by n limit %s"
        ).format(
            sql.SQL(", ").join(
                sql.SQL("case when {} is not null then {} end").format(
                    ident(spec.name), ident(f"{spec.name}_crm")
                )
                if spec.type is FieldType.REFERENCE
                else ident(spec.name)
                for spec in stream.columns
            )
        ),
        [limit],
    ).fetchall()
    return [(row[0], {n: v for n, v in zip(names, row[1:], strict=True) if v is not None}) for row in rows]
