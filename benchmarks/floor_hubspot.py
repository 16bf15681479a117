"""The floor on HubSpot: raw list, search and batch calls of 100 with httpx, one after the other, and COPY.

No retry, no limits, no look at what is known: it is the least work that any program has to do.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import httpx
from psycopg import Connection, sql

from benchmarks import floor_tables
from benchmarks.floor_tables import FloorTables
from benchmarks.place import HUBSPOT_VERSION, Place

CALL = 100
SEARCH_PAGE = 200
SYSTEM = ("hs_object_id", "lastmodifieddate")


class HubSpotFloor:
    """One keep-alive HTTP client and one connection to the database."""

    def __init__(self, place: Place) -> None:
        self._stream = place.stream
        self._conn: Connection = place.connect()
        self._tables = FloorTables(self._conn, place.stream, SYSTEM)
        self._path = f"/crm/objects/{HUBSPOT_VERSION}/{place.stream.object}"
        self._http = httpx.Client(
            base_url=place.base_url,
            headers={"Authorization": f"Bearer {place.token}", "Accept-Encoding": "gzip"},
            verify=place.tls(),
            timeout=600,
        )

    def read(self, *, keep: bool = True) -> int:
        """Every page of the list into COPY; returns the rows. keep: as of `FloorTables.stage_csv`."""
        parameters = {"limit": str(CALL), "properties": ",".join(self._tables.columns)}

        def pages() -> Iterator[dict[str, Any]]:
            more: dict[str, str] = {}
            while True:
                answer = self._json("GET", self._path, params=parameters | more)
                yield from answer["results"]
                if "paging" not in answer:
                    return
                more = {"after": answer["paging"]["next"]["after"]}

        return self._tables.stage_rows(_rows(pages(), self._tables.columns), keep=keep)

    def read_bare(self) -> int:
        """The same into a table that keeps no promise."""
        return self.read(keep=False)

    def merge(self) -> int:
        """What was read, all of it new, into a hub of the floor's own."""
        return self._tables.merge()

    def changed(self, since: str) -> int:
        """A search for what was modified, into the emptied page and the mirror; returns the rows."""
        body: dict[str, Any] = {
            "filterGroups": [
                {"filters": [{"propertyName": "lastmodifieddate", "operator": "GTE", "value": since}]}
            ],
            "properties": self._tables.columns,
            "limit": SEARCH_PAGE,
        }
        self._tables.empty()
        rows = 0
        while True:
            answer = self._json("POST", f"{self._path}/search", body)
            rows += self._tables.stage_rows(_rows(answer["results"], self._tables.columns), keep=False)
            if "paging" not in answer:
                self._tables.keep()
                return rows
            body["after"] = answer["paging"]["next"]["after"]

    def apply(self) -> int:
        """What was modified into the floor's hub."""
        return self._tables.apply()

    def ready_to_create(self) -> None:
        floor_tables.ready_to_create(self._conn)

    def create(self) -> int:
        """Batch creates of 100, the ids back into a table; returns how many were created."""
        fields = [
            spec for spec in self._stream.columns if spec.name not in {"email", "interests", "next_call_at"}
        ]
        names = ["email", *(spec.vendor.name for spec in fields)]
        select = sql.SQL(
            "select p.email, {} from floor.pending p join hub.contact h on h.id = p.hub_id"
        ).format(
            sql.SQL(", ").join(sql.SQL("h.{}::text").format(sql.Identifier(spec.name)) for spec in fields)
        )
        created: list[tuple[str, str]] = []
        with self._conn.transaction(), self._conn.cursor(name="rows") as cursor:
            cursor.execute(select)
            while rows := cursor.fetchmany(CALL):
                inputs = [{"properties": dict(zip(names, row, strict=True))} for row in rows]
                answer = self._json("POST", f"{self._path}/batch/create", {"inputs": inputs})
                created += [(one["properties"]["email"], one["id"]) for one in answer["results"]]
        return self._note_created(created)

    def _note_created(self, created: Iterable[tuple[str, str]]) -> int:
        with self._conn.transaction():
            self._conn.execute("create temporary table results (email text, crm_id text) on commit drop")
            with self._conn.cursor() as cursor, cursor.copy("copy results from stdin") as copy:
                for row in created:
                    copy.write_row(row)
            return self._conn.execute(
                "update floor.pending p set crm_id = r.crm_id from results r where p.email = r.email"
            ).rowcount

    def remember(self) -> int:
        """What was created into tables that a two-way sync cannot do without; returns how many."""
        return self._tables.remember_created()

    def ready_to_update(self, crm_ids: Sequence[str], value: str) -> None:
        floor_tables.ready_to_update(self._conn, crm_ids, value)

    def update(self, field: str) -> int:
        """The pending values into one field, by batches of 100; returns how many were accepted. `field` is ours."""
        name = self._stream.field(field).vendor.name if field != "unmapped" else "city"
        pending = self._conn.execute("select crm_id, value from floor.pending").fetchall()
        accepted: list[str] = []
        for start in range(0, len(pending), CALL):
            inputs = [
                {"id": crm_id, "properties": {name: value}} for crm_id, value in pending[start : start + CALL]
            ]
            answer = self._json("POST", f"{self._path}/batch/update", {"inputs": inputs})
            accepted += [one["id"] for one in answer["results"]]
        return floor_tables.note_sent(self._conn, accepted)

    def close(self) -> None:
        self._http.close()
        self._conn.close()

    def _json(self, method: str, path: str, body: object = None, params: dict[str, str] | None = None) -> Any:
        answer = self._http.request(method, path, json=body, params=params)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()


def _rows(records: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterator[list[str | None]]:
    for record in records:
        properties = record["properties"]
        yield [properties.get(name) or None for name in names]
