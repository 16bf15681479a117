"""What a plan says about calls is what the vendors are asked, over TLS; and a plan of thousands is made in flat memory."""

import tracemalloc
from collections.abc import Iterator

import pytest

from crm_sync.core.spec import ConnectionSpec, System
from crm_sync.hub import plan_rows, plans
from crm_sync.hub.store import Store
from crm_sync.simulators.serve import Simulator
from crm_sync.steps.apply import apply
from crm_sync.steps.proposal import propose
from tests.steps.org import Place

ABOVE = 500


@pytest.fixture
def place(org: Simulator, fresh_database_url: str) -> Iterator[Place]:
    found = Place(org, fresh_database_url, above=ABOVE)
    yield found
    found.crm.close()
    found.conn.close()


def make(place: Place) -> plans.Plan:
    made = propose(place.url, [place.stream], lambda _: place.crm, origin="person", made_by="ann")
    assert made is not None
    return made


def used(place: Place, plan: plans.Plan) -> dict[str, int]:
    """Apply it; the calls that it took."""
    system = System(
        (ConnectionSpec("salesforce", "salesforce", {}, (place.stream,), "salesforce.yaml"),), ("contact",)
    )
    plans.decide(place.conn, plan.id, "approved", "ann")
    with Store(place.url, run_id="apply") as store:
        done = apply(store, system, lambda _: place.crm, plan.id)
    assert (done.written, done.waiting, done.refused) == (plan.rows, 0, 0)
    return {family: n for family, n in done.calls["salesforce"].items() if family != "describe"}


def test_small_writes_cost_what_was_said(place: Place) -> None:
    place.people(450)
    plan = make(place)
    assert used(place, plan) == plan.calls["salesforce"] == {"collections": 3 + 1}
    place.sync()
    place.conn.execute("update hub.contact set last_name = last_name || '!' where email like 'p%'")
    changed = make(place)
    assert used(place, changed) == changed.calls["salesforce"] == {"collections": 3 + 1 + 1}


def test_large_writes_cost_a_job(place: Place) -> None:
    place.people(2_500)
    plan = make(place)
    assert plan.calls["salesforce"] == {"bulk_ingest": 6}
    calls = used(place, plan)
    assert set(calls) == {"bulk_ingest"}
    assert calls["bulk_ingest"] >= 6, "one question about the job, or more"


def test_a_plan_of_many_records_is_rows_in_postgres(place: Place) -> None:
    place.people(10_000)
    plan = make(place)
    assert plan.records == 10_000
    assert place.one(f"select count(*) from sync.plan_row where plan = {plan.id}") == plan.rows > 30_000
    assert sum(1 for _ in plan_rows.read(place.conn, plan.id)) == plan.rows


@pytest.mark.slow
def test_memory_does_not_grow_with_the_plan(place: Place) -> None:
    place.people(100_000)
    tracemalloc.start()
    plan = make(place)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.records == 100_000
    assert peak < 150_000_000, "a chunk of records, not the plan"
