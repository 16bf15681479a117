"""How long a Bulk job is left alone between two questions."""

from crm_sync.connectors.salesforce.bulk_ingest import pause_of


def test_a_job_that_tells_nothing_is_asked_ever_more_seldom() -> None:
    assert pause_of(2.5, age=6.0, processed=0, rows=20_000) == 2.5


def test_the_end_of_a_job_is_not_slept_through() -> None:
    assert pause_of(2.5, age=6.0, processed=15_000, rows=20_000) == 2.0
    assert pause_of(2.5, age=6.0, processed=1_000, rows=20_000) == 2.5


def test_a_job_that_should_be_over_is_not_pestered() -> None:
    assert pause_of(10.0, age=60.0, processed=20_000, rows=20_000) == 3.0
    assert pause_of(10.0, age=0.1, processed=30_000, rows=20_000) == 0.05
