"""The demo's proof: do hub, Salesforce and HubSpot agree on every mapped field, except where they may not yet?

They may not where a conflict is open or a record is parked because a value of it really is invalid; both are
counted, and have to be exactly those that the edits made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from crm_sync.core.spec import Direction, StreamSpec, System
from crm_sync.demo.compare import same
from crm_sync.demo.edits import Expected
from crm_sync.demo.readback import Books


@dataclass(slots=True)
class Proof:
    """What was found. complaints: differences that nothing explains, one sentence each; empty is success."""

    compared: dict[str, int] = field(default_factory=dict)  # fields by stream
    records: dict[str, int] = field(default_factory=dict)  # linked records by stream
    conflicts: list[tuple[str, str, UUID, str]] = field(
        default_factory=list
    )  # connection, entity, hub id, field
    parked: list[tuple[str, str, UUID | None, str, str]] = field(default_factory=list)  # ..., reason
    complaints: list[str] = field(default_factory=list)


def verify(conn: psycopg.Connection, system: System, books: Books, expected: Expected) -> Proof:
    """Compare everything."""
    proof = Proof(
        conflicts=conn.execute(
            "select connection, entity, hub_id, field from review.conflict where status = 'open' order by id"
        ).fetchall(),
        parked=conn.execute(
            "select connection, entity, hub_id, field, reason from sync.parked order by connection, entity, id"
        ).fetchall(),
    )
    disputed = set(proof.conflicts)
    parked = {(connection, entity, hub_id) for connection, entity, hub_id, _, _ in proof.parked}
    for stream in system.streams:
        _linked(stream, books, expected, proof)
        _agree(stream, books, disputed, parked, proof)
    _as_expected(books, expected, proof)
    return proof


def _linked(stream: StreamSpec, books: Books, expected: Expected, proof: Proof) -> None:
    """Every record has its partner; what a one-way stream does not bring in has none, nor what must be refused as a
    whole."""
    links = books.links[stream.name]
    refused = {
        str(hub_id)
        for connection, entity, hub_id, name in expected.parked
        if (connection, entity, name) == (stream.connection, stream.entity, "")
    }
    missing = sorted(set(books.hub[stream.entity]) - set(links) - refused)
    gone = sorted(set(links.values()) - set(books.crm[stream.name]))
    proof.complaints += [f"{stream.name}: hub record {hub_id} is not in the CRM" for hub_id in missing]
    proof.complaints += [f"{stream.name}: linked record {crm_id} is not in the CRM" for crm_id in gone]
    if stream.direction is Direction.TWO_WAY:
        alone = sorted(set(books.crm[stream.name]) - set(links.values()))
        proof.complaints += [f"{stream.name}: CRM record {crm_id} is not in the hub" for crm_id in alone]
    proof.records[stream.name] = len(links)


def _agree(
    stream: StreamSpec,
    books: Books,
    disputed: set[tuple[str, str, UUID, str]],
    parked: set[tuple[str, str, UUID | None]],
    proof: Proof,
) -> None:
    hub_of: Mapping[str, Mapping[str, str]] = {
        spec.entity: {crm: hub for hub, crm in books.links[f"{stream.connection}/{spec.entity}"].items()}
        for spec in stream.columns
        if spec.entity is not None
    }
    compared = 0
    for hub_id, crm_id in books.links[stream.name].items():
        ours, theirs = books.hub[stream.entity].get(hub_id), books.crm[stream.name].get(crm_id)
        if ours is None or theirs is None:
            continue  # told by `_linked`
        for spec in stream.columns:
            if spec.vendor.template is not None:
                continue
            compared += 1
            if same(spec, ours[spec.name], theirs[spec.name], hub_of.get(spec.entity or "", {})):
                continue
            key = (stream.connection, stream.entity, UUID(hub_id))
            if (*key, spec.name) not in disputed and key not in parked:
                proof.complaints.append(f"{stream.name}: {spec.name} of {hub_id} ({crm_id}) differs")
    proof.compared[stream.name] = compared


def _as_expected(books: Books, expected: Expected, proof: Proof) -> None:
    """The conflicts and parked records are those that the edits must lead to, and policies chose the right winner."""
    found = set(proof.conflicts)
    for connection, entity, hub_id, name in sorted(expected.disputes, key=str):
        ways = {(one, entity, hub_id, name) for one in connection.split("|")}
        if not ways & found:
            proof.complaints.append(
                f"{connection}/{entity}: {name} of {hub_id} was changed on two sides, but is no conflict"
            )
        found -= ways
    proof.complaints += [
        f"{c}/{e}: {name} of {hub_id} is a conflict that nobody made" for c, e, hub_id, name in _sorted(found)
    ]
    parked = {(c, e, hub_id, name) for c, e, hub_id, name, _ in proof.parked if hub_id is not None}
    unknown = [f"{c}/{e}" for c, e, hub_id, _, _ in proof.parked if hub_id is None]
    proof.complaints += [f"{stream}: a record is parked that has no partner" for stream in unknown]
    proof.complaints += [
        f"{c}/{e}: {name} of {hub_id} is parked, but its value is valid"
        for c, e, hub_id, name in _sorted(parked - expected.parked)
    ]
    proof.complaints += [
        f"{c}/{e}: {name} of {hub_id} is invalid, but not parked"
        for c, e, hub_id, name in _sorted(expected.parked - parked)
    ]
    for entity, hub_id, name, value in expected.settled:
        if books.hub[entity][str(hub_id)][name] != value:
            proof.complaints.append(
                f"hub/{entity}: {name} of {hub_id} was changed last to another value than it has now"
            )


def _sorted(keys: Iterable[tuple[str, str, UUID, str]]) -> list[tuple[str, str, UUID, str]]:
    return sorted(keys, key=str)
