"""A CRM as it was read just now beside what we hold of it, in sets: the temporary table `parity_seen`.

Pages are copied into it as they are into the mirror, which is not touched. Then both sides are cut into ranges of CRM
ids and compared by counts and by one hash a column; only ranges that differ are looked into, which fills the temporary
table `parity_suspect`. The tables belong to the session and vanish with it. What the differences mean is
`core/parity.py`'s business.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql

from crm_sync.connectors.crm import CRM_ID, DELETED, HUB_ID, MERGED_INTO, MODIFIED_AT, Page
from crm_sync.core.spec import FieldSpec, StreamSpec
from crm_sync.hub import staging
from crm_sync.hub.differences import differs
from crm_sync.hub.mirror import value_of
from crm_sync.hub.parity_terms import any_off, apart
from crm_sync.hub.sql import alive, base_table, hub_table, ident, mirror_table

RANGES = 256
SMALLEST = 100  # records of a range; fewer records are cut into fewer ranges
FEW = 16  # ranges that are looked up one by one


@dataclass(frozen=True, slots=True)
class Range:
    """Counts of a range of CRM ids: records as the CRM lists them now, records as we hold them linked; columns: fields
    of which the two hashes differ; inside: links whose own halves, mirror or hub row do not fit together."""

    number: int
    crm_records: int
    linked: int
    columns: tuple[str, ...]
    inside: int

    @property
    def differs(self) -> bool:
        return self.crm_records != self.linked or bool(self.columns) or self.inside > 0


def begin(conn: Connection, stream: StreamSpec) -> None:
    """Empty tables for what is going to be read."""
    conn.execute("drop table if exists pg_temp.parity_seen, pg_temp.parity_suspect")
    conn.execute(
        sql.SQL(
            'create temporary table parity_seen (crm_id text collate "C" not null, modified_at timestamptz,'
            " deleted boolean not null, merged_into text, hub_id text, page int not null, {})"
        ).format(sql.SQL(", ").join(sql.SQL("{} text").format(ident(f"f_{f.name}")) for f in stream.fields))
    )
    conn.execute('create temporary table parity_suspect (crm_id text collate "C" primary key)')


def end(conn: Connection) -> None:
    """Give the space back before the session ends."""
    conn.execute("drop table if exists pg_temp.parity_seen, pg_temp.parity_suspect")


def add(
    conn: Connection, stream: StreamSpec, page: Page, number: int, *, anew: bool = False
) -> tuple[list[str], frozenset[str]]:
    """Take a page in, inside the caller's transaction; `number` grows with the pages. anew: the records are known, and
    this is what they say now. Returns the ids if anew, and our fields that a page with values did not have."""
    staged = staging.load(conn, page)
    crm_id = staged.column(CRM_ID)
    if crm_id is None:
        raise ValueError(f"{stream.name}: a page without record ids")
    told = [(spec.name, value) for spec in stream.fields if (value := value_of(spec, staged)) is not None]
    ids: list[str] = []
    if anew:
        rows = conn.execute(
            sql.SQL(
                "with gone as (delete from parity_seen p using staging s where p.crm_id = s.{0})"
                " select distinct s.{0} from staging s"
            ).format(ident(crm_id))
        ).fetchall()
        ids = [row[0] for row in rows]
    roles = {
        "crm_id": sql.SQL("{}"),
        "modified_at": sql.SQL("nullif({}, '')::timestamptz"),
        "deleted": sql.SQL("coalesce(lower({}) in ('true', '1'), false)"),
        "merged_into": sql.SQL("nullif({}, '')"),
        "hub_id": sql.SQL("nullif({}, '')"),
    }
    columns = [(CRM_ID, "crm_id"), (MODIFIED_AT, "modified_at"), (DELETED, "deleted"), (MERGED_INTO, "merged_into"),
               (HUB_ID, "hub_id")]  # fmt: skip
    names: list[sql.Composable] = [ident("page")]
    values: list[sql.Composable] = [sql.Literal(number)]
    for role, name in columns:
        source = staged.column(role)
        names.append(ident(name))
        text = ident("s", source) if source is not None else sql.SQL("null::text")
        values.append(roles[name].format(text))
    for name, value in told:
        names.append(ident(f"f_{name}"))
        values.append(value)
    cursor = conn.execute(
        sql.SQL("insert into parity_seen ({}) select {} from staging s").format(
            sql.SQL(", ").join(names), sql.SQL(", ").join(values)
        )
    )
    absent = {spec.name for spec in stream.fields}.difference(name for name, _ in told)
    return ids, frozenset(absent if told and cursor.rowcount else ())


def ready(conn: Connection) -> int:
    """All pages are in: of a record that came twice the later state stays. Returns how many live records there are."""
    conn.execute("create index on parity_seen (crm_id)")
    conn.execute("analyze parity_seen")
    conn.execute(
        "delete from parity_seen p using (select crm_id, (array_agg(ctid order by modified_at desc nulls last,"
        " page desc))[1] as kept from parity_seen group by crm_id having count(*) > 1) d"
        " where p.crm_id = d.crm_id and p.ctid <> d.kept"
    )
    row = conn.execute("select count(*) from parity_seen where not deleted").fetchone()
    return row[0] if row else 0


def cut(conn: Connection, stream: StreamSpec, *, seen: bool) -> list[str]:
    """The first ids of ranges with equally many records each, of what was read (`seen`) or of what we know."""
    source = sql.SQL("select crm_id from parity_seen") if seen else _ours(stream)
    row = conn.execute(
        sql.SQL(
            "select array_agg(low order by low) from (select min(crm_id) as low from (select crm_id, ntile((select"
            " least(greatest(count(*) / {smallest}, 1), {ranges})::int from ({source}) n)) over (order by crm_id) as t"
            " from ({source}) i) r group by t) l"
        ).format(source=source, smallest=sql.Literal(SMALLEST), ranges=sql.Literal(RANGES))
    ).fetchone()
    return list(row[0] or ()) if row else []


def sizes(conn: Connection, stream: StreamSpec, lows: Sequence[str]) -> dict[int, int]:
    """How many records we know in each range."""
    rows = conn.execute(
        sql.SQL("select {number}, count(*) from ({ours}) i group by 1").format(
            number=_number(lows), ours=_ours(stream)
        )
    ).fetchall()
    return dict(rows)


def ids_of(conn: Connection, stream: StreamSpec, lows: Sequence[str], number: int) -> list[str]:
    """The ids we know in a range."""
    rows = conn.execute(
        sql.SQL("select crm_id from ({ours}) i where {bounds} order by crm_id").format(
            bounds=_bounds(lows, number, "i"), ours=_ours(stream)
        )
    )
    return [row[0] for row in rows]


def _ours(stream: StreamSpec) -> sql.Composable:
    return sql.SQL("select crm_id from {} where not deleted union select crm_id from {}").format(
        mirror_table(stream), base_table(stream)
    )


def _number(lows: Sequence[str], alias: str = "i") -> sql.Composable:
    """Expression: the number of the range of a row, 0 below the first."""
    return sql.SQL('width_bucket({}, {}::text[] collate "C")').format(
        ident(alias, "crm_id"), sql.Literal(list(lows))
    )


def digests(
    conn: Connection,
    stream: StreamSpec,
    fields: Sequence[FieldSpec],
    lows: Sequence[str],
    only: Collection[int] | None = None,
) -> list[Range]:
    """Counts and column hashes of both sides by ranges, of these fields; `only` of these ranges.

    A hash is that of each value salted with its record's id, all of a column in a range by exclusive or: 64 bits, so
    that two values that were exchanged between records differ too.
    """
    theirs = sql.SQL(
        "select {number}, count(*) {hashes} from parity_seen i cross join lateral"
        " (select hashtextextended(i.crm_id, 0) as salt) k where not i.deleted {some} group by 1"
    ).format(
        number=_number(lows),
        hashes=_hashes(ident("i", f"f_{spec.name}") for spec in fields),
        some=_some(lows, only),
    )
    ours = sql.SQL(
        "select {number}, count(*) filter (where coalesce({alive}, true)),"
        " count(*) filter (where h.id is null or m.crm_id is null or not {alive} {differ}) {hashes}"
        " from {base} b left join {mirror} m on m.crm_id = b.crm_id left join {hub} h on h.id = b.hub_id cross join lateral"
        " (select case when coalesce({alive}, true) then hashtextextended(b.crm_id, 0) end as salt) k"
        " where true {some} group by 1"
    ).format(
        number=_number(lows, "b"),
        differ=sql.SQL("").join(
            sql.SQL(" or {} or {}").format(differs(stream, spec), apart(spec, ident("m", spec.name)))
            for spec in fields
        ),
        hashes=_hashes(ident("b", f"{spec.name}_crm") for spec in fields),
        alive=alive("m"),
        base=base_table(stream),
        mirror=mirror_table(stream),
        hub=hub_table(stream.entity),
        some=_some(lows, only, "b"),
    )
    crm = {row[0]: row[1:] for row in conn.execute(theirs)}
    hub = {row[0]: row[1:] for row in conn.execute(ours)}
    nothing = (0,) * len(fields)
    found = []
    for number in sorted(crm.keys() | hub.keys()):
        count, *their_hashes = crm.get(number, (0, *nothing))
        linked, inside, *our_hashes = hub.get(number, (0, 0, *nothing))
        columns = [
            spec.name
            for spec, one, other in zip(fields, their_hashes, our_hashes, strict=True)
            if (one or 0) != (other or 0)
        ]
        found.append(Range(number, count, linked, tuple(columns), inside))
    return found


def _hashes(columns: Iterator[sql.Identifier]) -> sql.Composable:
    """`, hash, hash, ...`; a salt that is null leaves its record out."""
    return sql.SQL("").join(sql.SQL(", bit_xor(hashtextextended({}, k.salt))").format(c) for c in columns)


def _some(lows: Sequence[str], only: Collection[int] | None, alias: str = "i") -> sql.Composable:
    """`and` the row is in one of these ranges. Few are looked up by the index, for many everything is read once."""
    if only is None:
        return sql.SQL("")
    if 0 < len(only) <= FEW:
        some = sql.SQL(" or ").join(_bounds(lows, number, alias) for number in sorted(only))
        return sql.SQL("and ({})").format(some)
    return sql.SQL("and {} = any({}::int[])").format(_number(lows, alias), sql.Literal(sorted(only)))


def _bounds(lows: Sequence[str], number: int, alias: str) -> sql.Composable:
    """Condition: the row is in the range. Range 0 is what lies below the first one."""
    crm_id = ident(alias, "crm_id")
    parts: list[sql.Composable] = [sql.SQL("true")]
    if number > 0:
        parts.append(sql.SQL("{} >= {}").format(crm_id, sql.Literal(lows[number - 1])))
    if number < len(lows):
        parts.append(sql.SQL("{} < {}").format(crm_id, sql.Literal(lows[number])))
    return sql.SQL("({})").format(sql.SQL(" and ").join(parts))


def suspect(
    conn: Connection,
    stream: StreamSpec,
    fields: Sequence[FieldSpec],
    lows: Sequence[str],
    ranges: Collection[int],
) -> int:
    """Look into these ranges, row by row: the ids of all records that do not agree into `parity_suspect`; how many."""
    if not ranges:
        return 0
    off = sql.SQL("").join(sql.SQL(" or {}").format(any_off(spec)) for spec in fields)
    return conn.execute(
        sql.SQL(
            "insert into parity_suspect select coalesce(s.crm_id, b.crm_id)"
            " from (select * from parity_seen i where true {some}) s"
            " full join (select * from {base} i where true {some}) b on b.crm_id = s.crm_id"
            " left join {mirror} m on m.crm_id = b.crm_id left join {hub} h on h.id = b.hub_id"
            " where case when b.crm_id is null then not s.deleted"
            " else s.crm_id is null or s.deleted or h.id is null or m.crm_id is null or not {alive} {off} end"
            " on conflict do nothing"
        ).format(
            some=_some(lows, ranges),
            alive=alive("m"),
            base=base_table(stream),
            mirror=mirror_table(stream),
            hub=hub_table(stream.entity),
            off=off,
        )
    ).rowcount
