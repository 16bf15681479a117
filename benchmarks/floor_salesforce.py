"""The floor on Salesforce: what a short script does with httpx and COPY, and nothing more.

No retry, no limits, no look at what is known: it is the least work that any program has to do.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpx
from psycopg import Connection, sql

from benchmarks import floor_tables
from benchmarks.floor_tables import FloorTables
from benchmarks.place import SALESFORCE_VERSION, Place

BULK_ABOVE = 2_000
CALL = 200
UPLOAD = 100_000_000
"""Bytes of an upload; Salesforce takes 150 MB after encoding them in base64."""
SYSTEM = ("Id", "SystemModstamp", "IsDeleted")


class SalesforceFloor:
    """One keep-alive HTTP client and one connection to the database."""

    def __init__(self, place: Place) -> None:
        self._stream = place.stream
        self._conn: Connection = place.connect()
        self._tables = FloorTables(self._conn, place.stream, SYSTEM)
        self._http = httpx.Client(
            base_url=f"{place.base_url}/services/data/v{SALESFORCE_VERSION}/",
            headers={"Authorization": f"Bearer {place.token}", "Accept-Encoding": "gzip"},
            verify=place.tls(),
            timeout=600,
        )

    def read(self, *, keep: bool = True) -> int:
        """A Bulk query, its bytes into COPY; returns the rows. keep: as of `FloorTables.stage_csv`."""
        query = f"SELECT {', '.join(self._tables.columns)} FROM {self._stream.object}"
        job = (
            f"jobs/query/{self._json('POST', 'jobs/query', {'operation': 'queryAll', 'query': query})['id']}"
        )
        self._wait(job)
        rows, locator = 0, ""
        while locator != "null":
            parameters = {"locator": locator} if locator else {}
            with self._http.stream("GET", f"{job}/results", params=parameters) as answer:
                answer.raise_for_status()
                rows += self._tables.stage_csv(answer.iter_bytes(1 << 18), keep=keep)
                locator = answer.headers.get("Sforce-Locator", "null")
        return rows

    def read_bare(self) -> int:
        """The same into a table that keeps no promise."""
        return self.read(keep=False)

    def merge(self) -> int:
        """What was read, all of it new, into a hub of the floor's own."""
        return self._tables.merge()

    def changed(self, since: str) -> int:
        """A query for what was modified, into the emptied page and the mirror; returns the rows."""
        names = self._tables.columns
        query = f"SELECT {', '.join(names)} FROM {self._stream.object} WHERE SystemModstamp >= {since}"
        answer = self._json("GET", "queryAll", params={"q": query})
        self._tables.empty()
        rows = self._tables.stage_rows(_rows(answer["records"], names), keep=False)
        while not answer["done"]:
            answer = self._json("GET", answer["nextRecordsUrl"])
            rows += self._tables.stage_rows(_rows(answer["records"], names), keep=False)
        self._tables.keep()
        return rows

    def apply(self) -> int:
        """What was modified into the floor's hub."""
        return self._tables.apply()

    def ready_to_create(self) -> None:
        floor_tables.ready_to_create(self._conn)

    def create(self) -> int:
        """One Bulk ingest job with every hub record, its ids back into a table; returns how many were created."""
        fields = [
            spec for spec in self._stream.columns if spec.name not in {"email", "interests", "next_call_at"}
        ]
        pairs = [sql.SQL("h.{}::text as {}").format(sql.Identifier(spec.name), sql.Identifier(spec.vendor.name))
                 for spec in fields]  # fmt: skip
        select = sql.SQL(
            'copy (select p.key as crm_sync_id__c, p.email as "Email", {} from floor.pending p'
            " join hub.contact h on h.id = p.hub_id) to stdout (format csv, header true)"
        ).format(sql.SQL(", ").join(pairs))
        names = ["crm_sync_id__c", "Email", *(spec.vendor.name for spec in fields)]
        update = 'crm_id = r."sf__Id" from results r where p.key = r."crm_sync_id__c"'
        return self._ingest("insert", select, names, update)

    def remember(self) -> int:
        """What was created into tables that a two-way sync cannot do without; returns how many."""
        return self._tables.remember_created()

    def ready_to_update(self, crm_ids: Sequence[str], value: str) -> None:
        floor_tables.ready_to_update(self._conn, crm_ids, value)

    def update(self, field: str) -> int:
        """The pending values into one field, by Collections or one Bulk ingest job; returns how many were
        accepted. `field` is ours."""
        name = self._stream.field(field).vendor.name if field != "unmapped" else "Department"
        count = self._conn.execute("select count(*) from floor.pending").fetchone()
        if count is not None and count[0] > BULK_ABOVE:
            select = sql.SQL('copy (select crm_id as "Id", value as {} from floor.pending) to stdout'
                             " (format csv, header true)").format(sql.Identifier(name))  # fmt: skip
            update = 'done = true from results r where p.crm_id = r."sf__Id"'
            return self._ingest("update", select, ["Id", name], update)
        pending = self._conn.execute("select crm_id, value from floor.pending").fetchall()
        accepted: list[str] = []
        for start in range(0, len(pending), CALL):
            records = [{"attributes": {"type": self._stream.object}, "id": crm_id, name: value}
                       for crm_id, value in pending[start : start + CALL]]  # fmt: skip
            answer = self._json("PATCH", "composite/sobjects", {"allOrNone": False, "records": records})
            accepted += [one["id"] for one in answer if one["success"]]
        return floor_tables.note_sent(self._conn, accepted)

    def close(self) -> None:
        self._http.close()
        self._conn.close()

    def _ingest(self, operation: str, select: sql.Composed, names: Sequence[str], update: str) -> int:
        """As many jobs as the size of an upload asks for, then their results; returns the rows accepted."""
        jobs: list[str] = []
        with self._conn.cursor() as cursor, cursor.copy(select) as copy:
            rows = iter(copy)
            header = bytes(next(rows))
            part, size = [header], len(header)
            for row in rows:
                part.append(bytes(row))
                size += len(part[-1])
                if size > UPLOAD:
                    jobs.append(self._upload(operation, part))
                    part, size = [header], len(header)
            if len(part) > 1:
                jobs.append(self._upload(operation, part))
        accepted = 0
        for job in jobs:
            self._wait(job)
            accepted += self._results(job, names, update)
        return accepted

    def _upload(self, operation: str, part: Sequence[bytes]) -> str:
        body = {"object": self._stream.object, "operation": operation, "lineEnding": "LF"}
        job = f"jobs/ingest/{self._json('POST', 'jobs/ingest', body)['id']}"
        headers = {"Content-Type": "text/csv"}
        self._http.put(f"{job}/batches", content=b"".join(part), headers=headers).raise_for_status()
        self._json("PATCH", job, {"state": "UploadComplete"})
        return job

    def _results(self, job: str, names: Sequence[str], update: str) -> int:
        """The rows that were accepted, joined to what was sent; the list of failures is fetched and must be
        empty."""
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in ("sf__Id", "sf__Created", *names))
        typed = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name))
                                   for name in ("sf__Id", "sf__Created", *names))  # fmt: skip
        with self._conn.transaction():
            self._conn.execute(sql.SQL("create temporary table results ({}) on commit drop").format(typed))
            into = sql.SQL("copy results ({}) from stdin (format csv, header true)").format(columns)
            with (
                self._http.stream("GET", f"{job}/successfulResults") as answer,
                self._conn.cursor() as cursor,
                cursor.copy(into) as copy,
            ):
                answer.raise_for_status()
                for chunk in answer.iter_bytes(1 << 18):
                    copy.write(chunk)
            accepted = self._conn.execute(f"update floor.pending p set {update}".encode()).rowcount
        failures = self._http.get(f"{job}/failedResults").raise_for_status().text.splitlines()[1:]
        if failures:
            raise RuntimeError(f"Salesforce refused {len(failures)} rows: {failures[0]}")
        return accepted

    def _wait(self, job: str) -> None:
        pause = 0.02
        while (state := self._json("GET", job)["state"]) != "JobComplete":
            if state in {"Failed", "Aborted"}:
                raise RuntimeError(f"job {state}")
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def _json(self, method: str, path: str, body: object = None, params: dict[str, str] | None = None) -> Any:
        answer = self._http.request(method, path, json=body, params=params)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


def _rows(records: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterator[list[str | None]]:
    for record in records:
        yield [_text(record[name]) for name in names]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
