"""The whole state of a world in a form that two worlds can be compared in: no ids, no times, no order.

Ids differ between two worlds that lived through the same (hub ids are random, CRM ids follow the order of creation),
so that a record is told by its content, and a reference by the content of its target. The CRMs' own records are read
over HTTPS through their public interfaces, not from our mirrors.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from crm_sync.core.spec import FieldType, StreamSpec
from crm_sync.demo import readback
from crm_sync.demo.accounts import HubSpotPerson, SalesforcePerson
from tests.campaign.ground import World

State = Mapping[str, Counter[str]]
"""By kind of fact: how often each fact holds."""


def read(world: World) -> State:
    """Everything that two runs must agree on."""
    with world.conn() as conn:
        return _Reader(world, conn).state()


def differences(ours: State, theirs: State, most: int = 6) -> list[str]:
    """What holds in one and not in the other; empty if the two are alike."""
    found = []
    for kind in sorted({*ours, *theirs}):
        for sign, more in (("-", theirs[kind] - ours[kind]), ("+", ours[kind] - theirs[kind])):
            found += [f"{sign} {kind} x{count}: {fact}" for fact, count in list(more.items())[:most]]
    return found


def totals(state: State) -> dict[str, int]:
    return {kind: sum(facts.values()) for kind, facts in state.items()}


class _Reader:
    def __init__(self, world: World, conn: psycopg.Connection) -> None:
        self.world = world
        self.conn = conn
        self.hub = {entity: readback.hub_records(conn, entity) for entity in world.system.entities}
        self.crm = self._crm()
        self._tables: dict[str, dict[str, dict[str, Any]]] = {}
        self.links = {stream.name: readback.links(conn, stream) for stream in world.system.streams}

    def _crm(self) -> dict[str, readback.Side]:
        found: dict[str, readback.Side] = {}
        salesforce = SalesforcePerson(self.world.simulators["salesforce"])
        with closing(HubSpotPerson(self.world.simulators["hubspot"])) as hubspot:
            stages = hubspot.stages()
            for stream in self.world.system.streams:
                if stream.kind == "salesforce":
                    found[stream.name] = readback.salesforce_records(salesforce, stream)
                else:
                    found[stream.name] = readback.hubspot_records(hubspot, stream, stages)
        return found

    def state(self) -> State:
        facts: dict[str, Counter[str]] = {}
        for entity in self.world.system.entities:
            streams = self.world.system.of_entity(entity)
            facts[f"hub {entity}"] = Counter(
                self._record(entity, hub_id, streams) for hub_id in self.hub[entity]
            )
            for stream in streams:
                linked = set(self.links[stream.name].values())
                alone = [crm_id for crm_id in self.crm[stream.name] if crm_id not in linked]
                facts[f"{stream.name} alone"] = Counter(self._crm_text(stream, crm_id) for crm_id in alone)
        facts["conflicts"] = Counter(self._conflicts())
        facts["parked"] = Counter(self._parked())
        facts["left over"] = Counter(self._left_over())
        return facts

    def _record(self, entity: str, hub_id: str, streams: Sequence[StreamSpec]) -> str:
        """A hub record with its partners, its mirrors and its bases."""
        told: dict[str, Any] = {"hub": self._hub_values(entity, hub_id)}
        for stream in streams:
            crm_id = self.links[stream.name].get(hub_id)
            if crm_id is None:
                told[stream.connection] = None
                continue
            told[stream.connection] = {
                "crm": self._crm_values(stream, crm_id),
                "mirror": self._row(stream, f"{stream.entity}", "crm_id", crm_id),
                "base": self._row(stream, f"{stream.entity}_base", "hub_id", hub_id),
            }
        return _text(told)

    def _hub_values(self, entity: str, hub_id: str, *, deep: bool = True) -> dict[str, Any]:
        row = self.hub[entity].get(hub_id)
        if row is None:
            return {}
        found: dict[str, Any] = {}
        for spec in self._columns(entity):
            if spec.type is not FieldType.REFERENCE:
                found[spec.name] = row[spec.name]
            elif deep:
                found[spec.name] = self._hub_target(spec.entity or "", row[spec.name])
        return found

    def _columns(self, entity: str) -> list[Any]:
        specs = {spec.name: spec for s in self.world.system.of_entity(entity) for spec in s.columns}
        return list(specs.values())

    def _hub_target(self, entity: str, hub_id: Any) -> str | None:
        return None if hub_id is None else _text(self._hub_values(entity, str(hub_id), deep=False))

    def _crm_values(self, stream: StreamSpec, crm_id: str, *, deep: bool = True) -> dict[str, Any] | None:
        row = self.crm[stream.name].get(crm_id)
        if row is None:
            return None
        found: dict[str, Any] = {}
        for spec in stream.fields:
            if spec.name not in row:
                continue
            if spec.type is not FieldType.REFERENCE:
                found[spec.name] = row[spec.name]
            elif deep:
                found[spec.name] = self._crm_target(stream, spec.entity or "", row[spec.name])
        return found

    def _crm_target(self, stream: StreamSpec, entity: str, crm_id: Any) -> str | None:
        if not crm_id:
            return None
        target = self.world.system.stream(stream.connection, entity)
        return _text(self._crm_values(target, str(crm_id), deep=False))

    def _crm_text(self, stream: StreamSpec, crm_id: str) -> str:
        return _text(self._crm_values(stream, crm_id))

    def _row(self, stream: StreamSpec, table: str, key: str, record_id: str) -> dict[str, Any] | None:
        """A row of the mirror or the base, by our field names, without ids and times."""
        rows = self._tables.get(table_name := f"{stream.connection}.{table}")
        if rows is None:
            with self.conn.cursor(row_factory=dict_row) as cursor:
                query = sql.SQL("select * from {}").format(sql.Identifier(stream.connection, table))
                rows = {str(row[key]): row for row in cursor.execute(query).fetchall()}
            self._tables[table_name] = rows
        row = rows.get(record_id)
        if row is None:
            return None
        found: dict[str, Any] = {"deleted": row.get("deleted"), "merged_into": row.get("merged_into")}
        for spec in stream.fields:
            name, target = spec.name, spec.entity if spec.type is FieldType.REFERENCE else None
            for column in (name, f"{name}_hub", f"{name}_crm"):
                if column in row:
                    of_hub = column.endswith("_hub") and column != name
                    found[column] = self._meant(stream, target, row[column], of_hub=of_hub)
            if f"{name}_agreed" in row:
                found[f"{name}_agreed"] = row[f"{name}_agreed"]
        return found

    def _meant(self, stream: StreamSpec, target: str | None, value: Any, *, of_hub: bool) -> Any:
        """A value of a row; a reference by its target."""
        if target is None:
            return value
        return self._hub_target(target, value) if of_hub else self._crm_target(stream, target, value)

    def _conflicts(self) -> list[str]:
        rows = self.conn.execute(
            "select connection, entity, field, hub_value, crm_value, hub_id::text from review.conflict"
            " where status in ('open', 'decided')"
        ).fetchall()
        return [_text([*row[:5], self._hub_target(row[1], row[5])]) for row in rows]

    def _parked(self) -> list[str]:
        rows = self.conn.execute(
            "select connection, entity, side, field, code, record_id, hub_id::text from sync.parked"
        ).fetchall()
        told = []
        for connection, entity, side, field, code, record_id, hub_id in rows:
            stream = self.world.system.stream(connection, entity)
            who = (
                self._crm_text(stream, record_id)
                if side == "crm"
                else self._hub_target(entity, hub_id or record_id)
            )
            told.append(_text([connection, entity, side, field, code, who]))
        return told

    def _left_over(self) -> list[str]:
        """What must be nothing at all when all is quiet, and doubles that no comparison of content would show."""
        told = []
        for what, query in _NOTHING.items():
            told += [f"{what}: {row}" for row in self.conn.execute(query).fetchall()]
        return told


_NOTHING = {
    "a write without an answer": "select connection, entity, kind, hub_id from sync.intent",
    "a job": "select connection, entity, direction from sync.job",
    "a create noted twice": "select connection, entity, side, hub_id from sync.change where kind = 'create'"
    " group by 1, 2, 3, 4 having count(*) > 1",
    "a run that never ended": "select crm_source, entity from sync.history where status = 'running'",
}


def _text(value: Any) -> str:
    return json.dumps(value, default=str, sort_keys=True)
