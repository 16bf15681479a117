"""A hub and two CRMs: edits of the same field in several of them are settled by the same answer, in whatever order they
are read and sent, for every automatic policy on either side (docs/decisions/0016-three-systems.md)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, product
from uuid import UUID

import pytest

from crm_sync.core.spec import StreamSpec, System
from crm_sync.hub import mirror
from crm_sync.hub.store import Store
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.steps.world import World

SIDES = ("acme", "beta")
RULES = {
    "recent": "policy: most_recent_wins",
    "ours": "policy: hub_wins",
    "theirs": "policy: crm_wins",
    "blank": "policy: prefer_crm_unless_blank",
    "told": "direction: inbound",
}
FIELDS = {f"{a}_{b}": (a, b) for a, b in product(RULES, RULES)}
START = datetime(2030, 1, 1, tzinfo=UTC)
EARLY, LATE = START + timedelta(minutes=1), START + timedelta(minutes=2)

Edit = tuple[str | None, datetime]
KINDS: dict[str, dict[str, Edit]] = {
    "acme first": {"acme": ("of acme", EARLY), "beta": ("of beta", LATE)},
    "beta first": {"acme": ("of acme", LATE), "beta": ("of beta", EARLY)},
    "at once": {"acme": ("of acme", EARLY), "beta": ("of beta", EARLY)},
    "acme blank": {"acme": (None, LATE), "beta": ("of beta", EARLY)},
    "beta blank": {"acme": ("of acme", EARLY), "beta": (None, LATE)},
    "hub too, early": {"acme": ("of acme", LATE), "beta": ("of beta", LATE), "hub": ("of the hub", EARLY)},
    "hub too, late": {"acme": ("of acme", EARLY), "beta": ("of beta", EARLY), "hub": ("of the hub", LATE)},
    "hub between": {
        "acme": ("of acme", EARLY),
        "beta": ("of beta", LATE),
        "hub": ("of the hub", EARLY + timedelta(seconds=30)),
    },
}


def orders() -> Iterator[tuple[tuple[str, str], ...]]:
    """Every way in which reading, merging and sending of the two connections can follow each other."""
    steps = ("read", "merge", "send")
    for places in combinations(range(6), 3):
        each = {"acme": iter(steps), "beta": iter(steps)}
        names = ["acme" if i in places else "beta" for i in range(6)]
        yield tuple((name, next(each[name])) for name in names)


ORDERS = list(orders())
Final = dict[tuple[str, str], tuple[object, ...]]


def _text(side: int) -> str:
    fields = "\n".join(
        f"      {name}: {{field: {name.title()}, {RULES[pair[side]]}}}" for name, pair in FIELDS.items()
    )
    return (
        "kind: memory\nentities:\n  contact:\n    object: Contact\n    match: [[email]]\n    external_id: Hub_Id\n"
        f"    fields:\n      last_name: LastName\n      email: {{field: Email, type: email}}\n{fields}\n"
    )


@pytest.fixture
def three(fresh_database_url: str) -> Iterator[World]:
    world = World(fresh_database_url, SIDES, {"acme": _text(0), "beta": _text(1)})
    yield world
    world.close()


def _people(world: World) -> dict[tuple[int, str], dict[str, str]]:
    """One person for each order and kind of edits, whom all three systems have: their ids by side."""
    for name in SIDES:
        for order, kind in product(range(len(ORDERS)), KINDS):
            values = {"LastName": kind, "Email": f"{kind.replace(' ', '_').replace(',', '')}@{order}.example"}
            world.accounts[name].person_create("Contact", values | {f.title(): "base" for f in FIELDS})
    for name in ("acme", "beta", "acme", "beta"):
        world.sync(name)
        world.wait(minutes=5)
    rows = world.conn.execute(
        "select h.email, h.id::text, a.crm_id, b.crm_id from hub.contact h"
        " join acme.contact_base a on a.hub_id = h.id join beta.contact_base b on b.hub_id = h.id"
    ).fetchall()
    found = {email: dict(zip(("hub", *SIDES), ids, strict=True)) for email, *ids in rows}
    assert len(found) == len(ORDERS) * len(KINDS)
    return {
        (order, kind): found[f"{kind.replace(' ', '_').replace(',', '')}@{order}.example"]
        for order, kind in product(range(len(ORDERS)), KINDS)
    }


def _edit(world: World, people: Mapping[tuple[int, str], Mapping[str, str]]) -> None:
    """Everybody edits every field of everybody."""
    edits = [
        (at, side, value, who, kind)
        for (_, kind), who in people.items()
        for side, (value, at) in KINDS[kind].items()
    ]
    for at, side, value, who, _ in sorted(edits, key=lambda edit: edit[0]):
        world.time = at
        if side in SIDES:
            world.accounts[side].person_edit("Contact", who[side], {f.title(): value for f in FIELDS})
            continue
        names = ", ".join(f"{f} = %(value)s" for f in FIELDS)
        world.conn.execute(
            f"update hub.contact set {names} where id = %(id)s", {"value": value, "id": who["hub"]}
        )
        world.conn.execute(
            "update sync.provenance set changed_at = %s where hub_id = %s and changed_by = 'hub'",
            [at, who["hub"]],
        )
    world.time = LATE + timedelta(minutes=1)


def _step(
    store: Store, world: World, system: System, name: str, step: str, who: list[Mapping[str, str]]
) -> None:
    stream: StreamSpec = system.stream(name, "contact")
    hub_ids = [UUID(one["hub"]) for one in who]
    if step == "read":
        for page in world.crms[name].by_ids(stream, [one[name] for one in who]):
            with store.transaction() as conn:
                mirror.merge(conn, stream, page)
    elif step == "merge":
        hub(store, stream, Options(), only=hub_ids)
        conflicts(store, stream)
    else:
        outbound(store, world.crms[name], stream, Options(), only=hub_ids)


def _final(world: World, who: Mapping[str, str], field: str) -> tuple[object, ...]:
    ours = world.one(f"select {field} from hub.contact where id = %s", who["hub"])
    theirs = [world.accounts[name].row("Contact", who[name]).values.get(field.title()) for name in SIDES]
    return (ours, *theirs)


def _play(world: World, system: System) -> dict[int, Final]:
    """Each order with people of its own, then syncs until all is quiet; where every field ended, by order."""
    people = _people(world)
    _edit(world, people)
    with Store(world.url) as store:
        for number, order in enumerate(ORDERS):
            who = [people[number, kind] for kind in KINDS]
            for name, step in order:
                _step(store, world, system, name, step, who)
    world.system = system
    for name in ("acme", "beta", "acme", "beta"):
        world.wait(minutes=5)
        world.sync(name)
    return {
        number: {
            (kind, field): _final(world, people[number, kind], field) for kind in KINDS for field in FIELDS
        }
        for number in range(len(ORDERS))
    }


def _agree(field: str, values: tuple[object, ...]) -> bool:
    """Nothing is sent to a CRM that is an authority; of two, the first one's word counts."""
    return len(set(values[:2] if field == "told_told" else values)) == 1


def _disputed(world: World) -> dict[int, set[tuple[str, str]]]:
    rows = world.conn.execute(
        "select h.last_name, split_part(split_part(h.email, '@', 2), '.', 1)::int, c.field from review.conflict c"
        " join hub.contact h on h.id = c.hub_id where c.status = 'open'"
    ).fetchall()
    return {number: {(kind, f) for kind, n, f in rows if n == number} for number in range(len(ORDERS))}


def test_every_order_of_reads_and_writes_ends_the_same(three: World) -> None:
    ends = _play(three, three.system)
    disputed = _disputed(three)
    assert all(disputed[number] == disputed[0] for number in ends)
    # Only equal times are left to a person, and only where nothing but the time may decide.
    assert {field for _, field in disputed[0]} == {"recent_recent"}
    assert {kind for kind, _ in disputed[0]} <= {"at once", "hub too, early", "hub too, late"}
    wrong = {
        (key, tuple(ORDERS[number]), values, ends[0][key])
        for number, final in ends.items()
        for key, values in final.items()
        if key not in disputed[0] and (values != ends[0][key] or not _agree(key[1], values))
    }
    assert not wrong, sorted(map(str, wrong))[:5]
    assert three.one("select count(*) from sync.dirty") == 0
    writes = three.writes("acme"), three.writes("beta")
    for name in SIDES:
        three.wait(minutes=5)
        three.sync(name)
    assert (three.writes("acme"), three.writes("beta")) == writes  # and nobody goes on fighting


def test_without_knowing_of_each_other_the_order_decides(three: World) -> None:
    """The test above can see: with connections that know nothing of each other, as it was, it is not so."""
    blind = tuple(
        replace(c, streams=tuple(
            replace(s, fields=tuple(replace(f, rivals={}) for f in s.fields)) for s in c.streams
        ))
        for c in three.system.connections
    )  # fmt: skip
    ends = _play(three, replace(three.system, connections=blind))
    different = {key[1] for final in ends.values() for key in final if final[key] != ends[0][key]}
    assert len(different) > len(FIELDS) / 2, sorted(different)
    assert {"theirs_theirs", "ours_ours", "recent_theirs"} <= different
    assert three.one("select count(*) from sync.dirty") != 0  # two authorities fight for ever
