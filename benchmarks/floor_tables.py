"""What every hand-written script would keep in Postgres, in its simplest form: schema `floor`.

    floor.mirror    what the CRM says, as text, by its id: logged and with a primary key, so that it is there after a
                    crash and a record that comes twice is there once. The least for staging.
    floor.page      what was read just now, as text: unlogged and without a key. It promises nothing, and is where a
                    script that only loads would stop; a read of changes goes from here into the mirror.
    floor.hub       like the hub's table with its indexes, without triggers
    floor.link      which CRM record belongs to which hub record
    floor.journal   one row for each record written
    floor.pending   what is to be sent, and afterwards the CRM's ids

`merge` is the least that a system must write durably to have the records in its own table and to know where they
came from.
"""

from collections.abc import Iterable, Sequence

from psycopg import Connection, sql

from crm_sync.core.spec import FieldType, StreamSpec

_TYPES = {FieldType.DATE: "date", FieldType.DATETIME: "timestamptz", FieldType.BOOLEAN: "boolean",
          FieldType.NUMBER: "numeric"}  # fmt: skip


class FloorTables:
    """The floor's tables for one stream. system: the vendor's names of the id and of the modification time."""

    def __init__(self, conn: Connection, stream: StreamSpec, system: Sequence[str]) -> None:
        self.conn = conn
        self.stream = stream
        self.columns = [*system, *stream.vendor_fields]
        self.id = sql.Identifier(system[0])
        typed = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in self.columns)
        conn.execute("create schema if not exists floor")
        conn.execute("drop table if exists floor.mirror, floor.page, floor.hub, floor.link, floor.journal")
        conn.execute(sql.SQL("create unlogged table floor.page ({})").format(typed))
        conn.execute(sql.SQL("create table floor.mirror ({}, primary key ({}))").format(typed, self.id))
        conn.execute(
            sql.SQL("create table floor.hub (like {} including all)").format(
                sql.Identifier("hub", stream.entity)
            )
        )
        conn.execute("create table floor.link (hub_id uuid primary key, crm_id text not null unique)")
        conn.execute(
            "create table floor.journal (id bigint generated always as identity primary key,"
            " at timestamptz not null default clock_timestamp(), hub_id uuid not null, crm_id text not null,"
            " new_value jsonb not null, reason text not null)"
        )

    def stage_csv(self, chunks: Iterable[bytes], *, keep: bool = True) -> int:
        """CSV with a header, byte for byte, into the mirror, which is empty; returns the rows. keep=False: into the
        page, as a script does that promises nothing."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        with self.conn.cursor() as cursor:
            statement = sql.SQL("copy {} ({}) from stdin (format csv, header true, force_null ({}))")
            with cursor.copy(statement.format(_table(keep), names, names)) as copy:
                for chunk in chunks:
                    copy.write(chunk)
            return cursor.rowcount

    def stage_rows(self, rows: Iterable[Sequence[str | None]], *, keep: bool = True) -> int:
        """Rows of text in the order of `columns`, like `stage_csv`."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        with self.conn.cursor() as cursor:
            with cursor.copy(sql.SQL("copy {} ({}) from stdin").format(_table(keep), names)) as copy:
                for row in rows:
                    copy.write_row(row)
            return cursor.rowcount

    def empty(self) -> None:
        """Make room in the page."""
        self.conn.execute("truncate floor.page")

    def keep(self) -> None:
        """The page into the mirror, whatever is there."""
        names = sql.SQL(", ").join(map(sql.Identifier, self.columns))
        self.conn.execute(
            sql.SQL(
                "insert into floor.mirror ({names}) select {names} from floor.page on conflict ({id}) do update set {new}"
            ).format(
                names=names,
                id=self.id,
                new=sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in self.columns
                ),
            )
        )

    def merge(self) -> int:
        """The records of the mirror, all new, into hub, link and journal, in one transaction; returns how many."""
        with self.conn.transaction():
            self.conn.execute(
                sql.SQL("insert into floor.link select gen_random_uuid(), {} from floor.mirror").format(
                    self.id
                )
            )
            cursor = self.conn.execute(
                sql.SQL(
                    "insert into floor.hub (id, {}) select l.hub_id, {} from floor.mirror s"
                    " join floor.link l on l.crm_id = s.{}"
                ).format(self._ours(), self._values(), self.id)
            )
            self._note("mirror", "new")
        return cursor.rowcount

    def apply(self) -> int:
        """The records of the page, all known, into the hub where they differ, with a journal row each; returns how
        many were staged."""
        with self.conn.transaction():
            self.conn.execute(
                sql.SQL(
                    "update floor.hub h set ({ours}) = row ({values}) from floor.page s"
                    " join floor.link l on l.crm_id = s.{id}"
                    " where h.id = l.hub_id and ({held}) is distinct from ({values})"
                ).format(ours=self._ours(), values=self._values(), held=self._ours("h"), id=self.id)
            )
            return self._note("page", "changed")

    def remember_created(self) -> int:
        """What has been created, all of it new, into link, mirror and journal, in one transaction: what tells later
        which side has changed. Returns how many."""
        names = sql.SQL(", ").join(sql.Identifier(spec.vendor.name) for spec in self.stream.columns)
        texts = sql.SQL(", ").join(sql.SQL("h.{}::text").format(sql.Identifier(spec.name))
                                   for spec in self.stream.columns)  # fmt: skip
        with self.conn.transaction():
            self.conn.execute(
                "insert into floor.link select hub_id, crm_id from floor.pending where crm_id is not null"
            )
            self.conn.execute(
                sql.SQL(
                    "insert into floor.mirror ({id}, {names}) select l.crm_id, {texts} from floor.link l"
                    " join hub.contact h on h.id = l.hub_id"
                ).format(id=self.id, names=names, texts=texts)
            )
            return self._note("mirror", "new in the hub")

    def _note(self, table: str, reason: str) -> int:
        return self.conn.execute(
            sql.SQL(
                "insert into floor.journal (hub_id, crm_id, new_value, reason)"
                " select l.hub_id, l.crm_id, jsonb_strip_nulls(to_jsonb(s)), %s"
                " from floor.{} s join floor.link l on l.crm_id = s.{}"
            ).format(sql.Identifier(table), self.id),
            [reason],
        ).rowcount

    def _ours(self, table: str | None = None) -> sql.Composed:
        place = () if table is None else (table,)
        return sql.SQL(", ").join(sql.Identifier(*place, spec.name) for spec in self.stream.columns)

    def _values(self) -> sql.Composed:
        values = []
        for spec in self.stream.columns:
            column = sql.Identifier("s", spec.vendor.name)
            if spec.type is FieldType.MULTIPICKLIST:
                values.append(sql.SQL("string_to_array({}, ';')").format(column))
            else:
                cast = sql.SQL(_TYPES.get(spec.type, "text"))
                values.append(sql.SQL("{}::{}").format(column, cast))
        return sql.SQL(", ").join(values)


def _table(keep: bool) -> sql.Identifier:
    return sql.Identifier("floor", "mirror" if keep else "page")


# ---- what is to be sent: made ready before the clock starts ----


def ready_to_create(conn: Connection) -> None:
    """Every hub record, with a key and an address of its own, so that it is another record than ours."""
    conn.execute("create schema if not exists floor")
    conn.execute("drop table if exists floor.pending")
    conn.execute(
        "create table floor.pending as select id as hub_id, gen_random_uuid()::text as key, 'floor.' || email as email,"
        " null::text as crm_id from hub.contact"
    )
    conn.execute("alter table floor.pending add primary key (hub_id)")
    conn.execute("create unique index on floor.pending (key)")
    conn.execute("create unique index on floor.pending (email)")
    conn.execute("analyze floor.pending")


def ready_to_update(conn: Connection, crm_ids: Sequence[str], value: str) -> None:
    """These CRM records, each with a new value."""
    conn.execute("create schema if not exists floor")
    conn.execute("drop table if exists floor.pending")
    conn.execute(
        "create table floor.pending as select crm_id, %s || row_number() over () as value, false as done"
        " from unnest(%s::text[]) crm_id",
        [value, list(crm_ids)],
    )
    conn.execute("alter table floor.pending add primary key (crm_id)")


def note_sent(conn: Connection, crm_ids: Iterable[str]) -> int:
    """The answers: these records are done."""
    with conn.transaction():
        conn.execute("create temporary table answered (crm_id text) on commit drop")
        with conn.cursor() as cursor, cursor.copy("copy answered from stdin") as copy:
            for crm_id in crm_ids:
                copy.write_row([crm_id])
        return conn.execute(
            "update floor.pending p set done = true from answered a where a.crm_id = p.crm_id"
        ).rowcount
