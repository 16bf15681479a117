"""A million Salesforce contacts, and what it costs to keep them in sync afterwards.

    make million                one million
    make million RECORDS=10000  a trial

A first cycle (inbound, hub, conflicts, outbound), then cycles after 1,000 and 100 edits in the CRM and as many in the
hub, then one after nothing; a sweep and a comparison of everything (`crm-sync verify`), which must find no difference
that nothing explains. The table is printed and written to benchmarks/MILLION.md.
"""

import os
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg import Connection, sql
from rich.console import Console

from benchmarks.floor_salesforce import SalesforceFloor
from benchmarks.ground import account, place, server
from benchmarks.meter import Meter
from benchmarks.ours import Ours
from benchmarks.place import Place
from benchmarks.table import where
from benchmarks.worker import Worker

HERE = Path(__file__).parent
HEAD = """\
| cycle | seconds | peak MB | calls | written in the hub | written in the CRM | looked at by the steps | rows Postgres read |
|---|---:|---:|---:|---:|---:|---:|---:|"""
NOTES = """\
A cycle is inbound, hub, conflicts and outbound, as a scheduled run does them. Edits in the hub and in the CRM are of
different records. Written: fields, in the first cycle records, from the journal. Looked at: records that inbound read,
and that hub and outbound took from the queue. Rows read: by index and by sequential scan in the tables of hub,
mirror, base and sync, from Postgres's own counts."""


def main(folder: Path = HERE, environment: Mapping[str, str] = os.environ) -> None:
    """Measure, print, write."""
    records = int((environment.get("RECORDS") or "1_000_000").replace("_", ""))
    console = Console(stderr=True)
    with (
        server() as url,
        account("salesforce", records) as simulator,
        place(url, "salesforce", simulator, "crm_sync_bench_million") as here,
        here.connect() as conn,
        Worker("ours") as ours,
        Worker("edits") as edits,
    ):
        meter = Meter("salesforce", simulator, url)
        lines = []
        for number, changes in ((0, None), (1, 1_000), (2, 100), (3, 0)):
            what = (
                f"first, {records:,} records" if changes is None else f"{changes:,} edits in CRM and hub each"
            )
            with console.status(what):
                if changes is not None:
                    meter.pass_time(3)
                    _line(here, ours, meter, conn, "cycle")  # what was read lately is not read again
                if changes:
                    _edit(here, edits, conn, number, changes)
                lines.append(f"| {what} {_line(here, ours, meter, conn, 'cycle')[0]}")
                if changes is None:
                    conn.execute("vacuum analyze")  # as the server does by itself a little later
            _say(lines)
        for method, what in (("sweep", "sweep: all ids listed"), ("verify", "verify: everything compared")):
            with console.status(what):
                line, found = _line(here, ours, meter, conn, method)
            lines.append(f"| {what} {line}")
            _say(lines)
        compared = (
            f"Verify expected {found['needed']} calls, compared {found['read']:,} records of the CRM and"
            f" {found['linked']:,} links, and found {found['differences']} differences, {found['open']} of them unexplained."
        )
        place_and_time = where(url)
    text = (
        f"# A million contacts: `make million`\n\n{place_and_time}\n\n{HEAD}\n"
        + "\n".join(lines)
        + f"\n\n{compared}\n\n{NOTES}\n"
    )
    (folder / "MILLION.md").write_text(text, encoding="utf-8")
    sys.stdout.write(f"\n{text}")


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write(f"{lines[-1]}\n")
    sys.stdout.flush()


def _line(
    here: Place, ours: Worker, meter: Meter, conn: Connection, method: str
) -> tuple[str, dict[str, int]]:
    """The rest of the line of a cycle, or of what else our side does; and what it counted."""
    written, read = _written(conn), _rows_read(conn)  # counting what is written reads rows itself
    ours.open(Ours, here)
    sample = meter.sample(ours, method)
    ours.shut()  # a session that ends tells its counts at once
    after, wrote = _rows_read(conn), _written(conn)
    looked_at = sample.result["read"] + sample.result["records"]
    line = (
        f"| {sample.wall:.2f} | {sample.peak:.0f} | {sample.calls} | {wrote['hub'] - written['hub']:,} |"
        f" {wrote['crm'] - written['crm']:,} | {looked_at:,} | {after - read:,} |"
    )
    return line, sample.result


def _edit(here: Place, edits: Worker, conn: Connection, number: int, changes: int) -> None:
    """Titles of so many records in the CRM, and of so many others in the hub."""
    base = sql.Identifier("salesforce", "contact_base")
    rows = conn.execute(
        sql.SQL("select crm_id, hub_id from {} order by crm_id limit %s offset %s").format(base),
        [2 * changes, number * 2 * changes],
    ).fetchall()
    edits.open(SalesforceFloor, here)
    edits.call("ready_to_update", [crm_id for crm_id, _ in rows[:changes]], f"Title in the CRM {number}.")
    edits.call("update", "title")
    edits.shut()
    conn.execute(
        "update hub.contact set title = %s || id where id = any(%s)",
        [f"Title in the hub {number}.", [hub_id for _, hub_id in rows[changes:]]],
    )


def _rows_read(conn: Connection) -> int:
    time.sleep(1.2)  # the server's counts of sessions that go on are up to a second late
    conn.execute("select pg_stat_force_next_flush()")  # and those of this one until it is idle
    row = conn.execute(
        "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_user_tables"
        " where schemaname in ('hub', 'salesforce', 'sync', 'review')"
    ).fetchone()
    return int(row[0]) if row else 0


def _written(conn: Connection) -> dict[str, int]:
    rows = conn.execute(
        "select side, count(*) from sync.change where kind in ('create', 'update') group by side"
    ).fetchall()
    return {"hub": 0, "crm": 0, **dict(rows)}


if __name__ == "__main__":
    # All settings are in the environment: this answers --help, and refuses what would be ignored.
    ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter).parse_args()
    main()
