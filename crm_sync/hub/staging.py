"""From a connector's page to a temporary table: CSV bytes pass untouched into COPY, Arrow batches by way of CSV.

The table lives until the end of the transaction, has one text column per column of the page, and says nothing
about meaning; `mirror.py` merges it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import Connection, sql

from crm_sync.connectors.crm import (
    CRM_ID,
    DELETED,
    HUB_ID,
    MERGED_INTO,
    MODIFIED_AT,
    BatchPage,
    CsvPage,
    Page,
)
from crm_sync.core.values import NUL_MARK

_NUL_BYTES = NUL_MARK.encode()


@dataclass(frozen=True, slots=True)
class Staged:
    """A page in the temporary table `staging`: which columns it has, and which of them have a role."""

    columns: frozenset[str]
    roles: Mapping[str, str]

    def column(self, role: str) -> str | None:
        """Name of the staging column with this role, None if the page does not have it."""
        name = self.roles.get(role, role)
        return name if name in self.columns else None


def load(conn: Connection, page: Page) -> Staged:
    """Copy `page` into the temporary table `staging`, replacing it; must run inside a transaction."""
    if isinstance(page, CsvPage):
        columns, roles, chunks, header = page.columns, page.roles, page.chunks, True
    else:
        columns = tuple(page.batch.schema.names)
        roles = {role: role for role in (CRM_ID, MODIFIED_AT, DELETED, MERGED_INTO, HUB_ID)}
        chunks, header = _csv(page), False
    names = sql.SQL(", ").join(sql.Identifier(name) for name in columns)
    conn.execute("drop table if exists pg_temp.staging")
    conn.execute(
        sql.SQL("create temporary table staging ({}) on commit drop").format(
            sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in columns)
        )
    )
    copy = sql.SQL(
        "copy staging ({names}) from stdin (format csv, header {header}, force_null ({names}))"
    ).format(names=names, header=sql.SQL("true" if header else "false"))
    with conn.cursor() as cursor, cursor.copy(copy) as writer:
        for chunk in _without_nul(chunks):
            writer.write(chunk)
    return Staged(frozenset(columns), roles)


def _csv(page: BatchPage) -> Iterator[bytes]:
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(page.batch, sink, pa_csv.WriteOptions(include_header=False))
    yield memoryview(sink.getvalue()).tobytes()


def _without_nul(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk.replace(b"\0", _NUL_BYTES) if b"\0" in chunk else chunk
