"""A record is merged in the CRM between our reading and our write: what the survivor says is not overwritten unseen."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator, running
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.steps.test_merges_vendors import Place


@pytest.fixture(scope="module", params=[False, True], ids=["one id stays", "new id"])
def simulator(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with running("hubspot", records=5) as found:
        found.control("settings", {"merge_mints_new_id": request.param})
        yield found


@pytest.fixture
def place(simulator: Simulator, fresh_database_url: str) -> Iterator[Place]:
    here = Place("hubspot", simulator, fresh_database_url)
    with closing(here.conn), closing(here.crm):
        yield here


@pytest.mark.parametrize("both", [False, True], ids=["the loser is updated", "both are updated"])
def test_the_loser_of_a_merge_is_not_written_to(place: Place, both: bool) -> None:
    first = place.create(last_name="Ann", title="old", email=f"a-{both}@x.example")
    second = place.create(last_name="Ann", title="old", email=f"b-{both}@x.example") if both else ""
    place.sync()
    place.conn.execute("update hub.contact set title = 'Hub' where title = 'old'")
    stream = place.system.stream("hubspot", "contact")
    with Store(place.url, run_id="run") as store:
        inbound(store, place.crm, stream, Options())
        hub(store, stream, Options())
        typed = {"title": "typed by a person", "email": f"c-{both}@x.example"}
        second = second or place.create(last_name="Ann", **typed)
        told = {"object": "contacts", "id": second, "properties": {"jobtitle": "typed by a person"}}
        place.simulator.control("edit", told)
        survivor = place.merge(second, first)
        outbound(store, place.crm, stream, Options())
    assert title(place, survivor) == "typed by a person"
    for _ in range(3):
        place.sync()
    known = place.one(
        "select count(*) from sync.change where 'typed by a person' in (old_value, new_value)"
    ) + place.one("select count(*) from review.conflict where crm_value = 'typed by a person'")
    assert title(place, survivor) == "typed by a person" or known, "overwritten, and nobody knows"
    assert place.link(survivor) is not None
    assert place.link(first) is None or first == survivor
    waits = [row[0] for row in place.conn.execute("select code from sync.parked").fetchall()]
    assert waits == (["MERGE_WAITS"] if both else []), "two hub records of one: a person decides"


def title(place: Place, crm_id: str) -> str | None:
    pages = place.crm.by_ids(place.system.stream("hubspot", "contact"), [crm_id])
    rows = [row for page in pages for row in page.batch.to_pylist()]
    return next(row["jobtitle"] for row in rows if row["crm_id"] == crm_id)
