"""When the records of a bulk job are looked at: right before it is filled, not while it waits for its turn.

A simulator over TLS; the place among concurrent jobs is the real one in Postgres, which another process holds.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from crm_sync.connectors.crm import CRM_ID, Operation, Result
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.salesforce import bulk_ingest
from crm_sync.connectors.salesforce.crm import SalesforceCrm, Thresholds
from crm_sync.core.errors import ErrorClass
from crm_sync.core.quota import Limits
from crm_sync.hub import migrate
from crm_sync.hub.budget import PostgresLimiter
from crm_sync.simulators.serve import Simulator, running
from tests.contract import salesforce
from tests.contract.kit import Log, by_id, create, records, write

CONTACT = salesforce.STREAMS["contact"]
ONE_JOB = Limits(jobs=1)
IN_BULK = Thresholds(bulk_write_above=0)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with running("salesforce", records=10) as found:
        yield found


@pytest.fixture
def person(simulator: Simulator) -> Iterator[salesforce.Person]:
    found = salesforce.Person(simulator)
    yield found
    found.close()


@pytest.fixture
def processes(simulator: Simulator, database_url: str) -> Iterator[Callable[..., SalesforceCrm]]:
    """Makes connectors that have one place for a job between them. `sleep` is called by one that waits for it."""
    migrate.upgrade(database_url)
    with ExitStack() as made:

        def process(sleep: Callable[[float], None] = time.sleep) -> SalesforceCrm:
            settings = TransportSettings(
                ca_bundle=Path(str(simulator.ca_file)),
                sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
                limiter=lambda quotas: PostgresLimiter(
                    database_url, "salesforce", quotas, limits=ONE_JOB, sleep=sleep
                ),
            )
            crm = salesforce.connector(simulator, IN_BULK, settings=settings)
            made.callback(crm.close)
            return crm

        yield process


def people(crm: SalesforceCrm, number: int) -> list[Result]:
    """New contacts called Lee, in the order of their ids: a job holds them in that order."""
    made = write(crm, CONTACT, [create(CONTACT, {"last_name": "Lee"}) for _ in range(number)])
    assert all(result.ok for result in made.values())
    return sorted(made.values(), key=lambda result: str(result.crm_id))


def renamed(known: list[Result], name: str) -> list[Operation]:
    """Updates by somebody who has seen that they are called Lee."""
    return [Operation(r.key, "update", r.crm_id, {"LastName": name}, {"LastName": "Lee"}) for r in known]


def names(crm: SalesforceCrm, known: list[Result]) -> list[str | None]:
    found = by_id(records(crm.by_ids(CONTACT, [str(result.crm_id) for result in known])))
    assert [found[str(result.crm_id)][CRM_ID] for result in known] == [result.crm_id for result in known]
    return [found[str(result.crm_id)]["LastName"] for result in known]


def outcome(result: Result) -> ErrorClass | None:
    return result.error and result.error.error_class


def test_what_is_edited_while_a_job_waits_for_its_place_is_not_overwritten(
    processes: Callable[..., SalesforceCrm], person: salesforce.Person
) -> None:
    other = processes()
    known = people(other, 3)
    waits: list[float] = []
    with ExitStack() as place:

        def while_it_waits(seconds: float) -> None:
            if not waits:
                person.update("Contact", known[1].crm_id, {"LastName": "Kim"})
                place.close()
            waits.append(seconds)
            time.sleep(seconds)

        crm = processes(while_it_waits)
        crm.describe("Contact")
        place.enter_context(other._transport.job())
        results = write(crm, CONTACT, renamed(known, "Li"))
    assert waits, "the only place was taken"
    assert [outcome(results[r.key]) for r in known] == [None, ErrorClass.MOVED, None]
    assert names(crm, known) == ["Li", "Kim", "Li"]


def test_each_of_several_jobs_looks_at_its_own_records_when_its_turn_has_come(
    processes: Callable[..., SalesforceCrm], person: salesforce.Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = processes()
    known = people(crm, 6)
    monkeypatch.setattr(bulk_ingest, "_JOB_BYTES", 4 * 50)  # a job is full after two rows
    last = known[-1]
    results: dict[str, Result] = {}
    for answer in crm.write(CONTACT, renamed(known, "Li"), Log()):
        if not results and answer:
            assert last.key not in {result.key for result in answer}, "that is for another job"
            person.update("Contact", last.crm_id, {"LastName": "Kim"})
        results |= {result.key: result for result in answer}
    assert [outcome(results[r.key]) for r in known] == [None] * 5 + [ErrorClass.MOVED]
    assert names(crm, known) == ["Li"] * 5 + ["Kim"]
