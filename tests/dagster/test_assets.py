"""The assets: what a run does, shows and leaves behind."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from crm_sync.assets import names
from crm_sync.assets.jobs import failures_of, stopped_of
from crm_sync.core.errors import CrmError, ErrorClass, HeldError
from tests.dagster.project import Project


def person(project: Project, last: str = "Lee", **values: str) -> str:
    known = {"LastName": last, "Email": f"{last.lower()}@x.example", **values}
    return project.world.accounts["acme"].person_create("Contact", known)


def test_a_sync_brings_both_sides_together_in_order(project: Project) -> None:
    person(project)
    project.world.conn.execute("insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example')")
    result = project.sync()
    assert {row["last_name"] for row in project.world.hub("contact")} == {"Lee", "Roe"}
    assert {row.values["LastName"] for row in project.world.accounts["acme"].rows("Contact")} == {
        "Lee",
        "Roe",
    }
    order = [event.step_key for event in result.get_asset_materialization_events()]
    assert order.index("hub__company") < order.index("hub__contact") < order.index("acme__outbound__contact")
    assert order.index("acme__outbound__company") < order.index("acme__outbound__contact")


def test_a_second_sync_writes_nothing(project: Project) -> None:
    person(project)
    project.world.conn.execute("insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example')")
    project.sync()
    project.world.wait(hours=1)
    project.sync()
    writes = project.world.writes()
    shown = project.metadata(project.sync(), "acme", "outbound", "contact")
    assert project.world.writes() == writes
    assert (shown["records"], shown["calls"]) == (0, 0)


def test_counts_calls_and_preview_are_shown(project: Project) -> None:
    crm_id = person(project, "Zanzibar")
    result = project.sync()
    shown = project.metadata(result, "acme", "inbound", "contact")
    assert (shown["read"], shown["created"]) == (1, 1)
    assert shown["calls"] == sum(shown[f"calls/{family}"] for family in ("describe", "changed", "deleted"))
    shown = project.metadata(result, "hub", "contact")
    assert shown["preview"] == [{"record": crm_id, "action": "created in the hub"}]
    assert "Zanzibar" not in str(
        [e.materialization.metadata for e in result.get_asset_materialization_events()]
    )


def test_a_dry_run_plans_what_a_real_run_does_and_writes_nothing(project: Project) -> None:
    person(project, Phone="+14155552671")
    project.world.conn.execute("insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example')")
    dry = project.sync(dry_run=True)
    assert len(project.world.hub("contact")) == 1
    assert len(project.world.accounts["acme"].rows("Contact")) == 1
    assert project.world.one("select count(*) from sync.watermark") == 0
    taken = project.metadata(dry, "hub", "contact")
    sent = project.metadata(dry, "acme", "outbound", "contact")
    real = project.sync()
    for name in ("created", "updated", "linked", "disputes"):
        assert taken[name] == project.metadata(real, "hub", "contact")[name], name
    plan = {(row["action"], row["field"], row["new"]) for row in taken["plan"]}
    assert {("create", "last_name", "Lee"), ("create", "phone", "+14155552671")} <= plan
    assert {(row["field"], row["new"]) for row in sent["plan"]} >= {("last_name", "Roe")}
    assert sent["plan_shows"] == f"{len(sent['plan'])} of {len(sent['plan'])}"


def test_the_plan_is_capped_and_says_so(project: Project) -> None:
    for number in range(60):
        person(project, f"P{number}")
    shown = project.metadata(project.sync(dry_run=True), "hub", "contact")
    assert len(shown["plan"]) == 100
    assert shown["plan_shows"] == "100 of 120"


def test_the_plan_is_masked_if_the_review_table_is(make: Any) -> None:
    project: Project = make(CRM_SYNC_MASK_REVIEW="on")
    person(project, "Zanzibar", Stage="Won")
    shown = project.metadata(project.sync(dry_run=True), "hub", "contact")
    new = {row["field"]: row["new"] for row in shown["plan"]}
    assert new["last_name"] == "Z… (8 characters)"
    assert new["stage"] == "won"


def test_a_run_for_today_goes_on_from_the_watermark(project: Project) -> None:
    person(project)
    project.sync()
    project.world.wait(hours=2)
    project.sync()
    project.world.wait(days=3)
    person(project, "Late")
    shown = project.metadata(project.sync(), "acme", "inbound", "contact")
    assert shown["read"] == 1
    assert project.metadata(project.sync(full=True), "acme", "inbound", "contact")["read"] == 2


def test_a_backfill_reads_its_days_in_one_run_and_moves_no_watermark(project: Project) -> None:
    for day in range(6):
        project.world.time = datetime(2026, 3, 1 + day, 12, tzinfo=UTC)
        person(project, f"Day{day + 1}")
    project.world.time = datetime(2026, 11, 1, tzinfo=UTC)
    tags = {
        ASSET_PARTITION_RANGE_START_TAG: "2026-03-02",
        ASSET_PARTITION_RANGE_END_TAG: "2026-03-04",
        names.BACKFILL_TAG: "some",
    }
    result = project.run(names.sync_job("acme"), tags=tags, partition=None)
    assert result.success, project.reasons(result)
    assert {row["last_name"] for row in project.world.hub("contact")} == {"Day2", "Day3", "Day4"}
    assert project.world.one("select count(*) from sync.watermark") == 0
    found = {
        event.asset_materialization.partition
        for event in project.instance.all_logs(result.run_id)
        if event.asset_materialization is not None
    }
    assert found == {"2026-03-02", "2026-03-03", "2026-03-04"}


def test_a_past_day_before_the_first_sync_creates_nothing_in_the_crm(project: Project) -> None:
    project.world.time = datetime(2026, 3, 3, 12, tzinfo=UTC)
    person(project)
    project.world.time = datetime(2026, 11, 1, tzinfo=UTC)
    project.world.conn.execute("insert into hub.contact (last_name, email) values ('Lee', 'lee@x.example')")
    result = project.run(names.sync_job("acme"), partition="2026-03-04")
    assert result.success, project.reasons(result)
    shown = project.metadata(result, "acme", "outbound", "contact")
    assert (shown["created"], shown["waiting"]) == (0, 1)
    assert "not created: acme/contact was never read to its end" in shown["notes"]
    project.sync()
    assert len(project.world.accounts["acme"].rows("Contact")) == len(project.world.hub("contact")) == 1


def test_a_full_run_of_a_past_day_reads_everything(project: Project) -> None:
    person(project)
    result = project.run(names.sync_job("acme"), partition="2026-03-04", full=True)
    assert result.success, project.reasons(result)
    assert project.metadata(result, "acme", "inbound", "contact")["read"] == 1
    assert project.world.one("select count(*) from sync.watermark") > 0


def test_a_day_that_ends_while_the_run_goes_on_is_still_today(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(project)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    storage = project.instance.run_storage
    found = storage.get_run_records

    def older(*args: Any, **more: Any) -> Any:
        return [r._replace(create_timestamp=yesterday) for r in found(*args, **more)]

    monkeypatch.setattr(storage, "get_run_records", older)
    result = project.run(names.sync_job("acme"), partition=f"{yesterday:%Y-%m-%d}")
    assert result.success, project.reasons(result)
    assert project.metadata(result, "acme", "inbound", "contact")["read"] == 1


def test_what_is_wrong_in_the_run_configuration_is_said(project: Project) -> None:
    result = project.run(names.sync_job("acme"), start_date="31.1.2026", max_records=-1)
    assert not result.success
    assert "start_date: '31.1.2026' is no date; write it like 2026-01-31" in failures_of(result)[0]
    assert "max_records: must be 0 or more" in failures_of(result)[0]


def test_a_run_for_which_nobody_chose_a_day_says_so(project: Project) -> None:
    """The launchpad asks whether one is sure, and starts it."""
    result = project.run(names.sync_job("acme"), partition=None)
    assert not result.success
    said = "acme/contact inbound: the run has no day, so nothing was read. Choose today's (UTC)"
    assert any(why.startswith(said) for why in failures_of(result))


def test_a_start_date_is_obeyed(project: Project) -> None:
    person(project)
    project.world.wait(days=10)
    person(project, "Late")
    result = project.sync(start_date=f"{project.world.time - timedelta(days=1):%Y-%m-%d}")
    assert project.metadata(result, "acme", "inbound", "contact")["read"] == 1


def test_a_refused_connection_fails_without_being_tried_again(project: Project) -> None:
    project.world.crms["acme"].knobs.unauthorised = True
    result = project.run(names.sync_job("acme"))
    assert not result.success
    (first, *_) = failures_of(result)
    assert "Connect the account again" in first
    assert not any(event.is_step_up_for_retry for event in result.all_events)


def test_what_passes_is_tried_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crm_sync.assets.streams.RETRY", dg.RetryPolicy(max_retries=1))  # at once
    project: Project = make()
    person(project)
    project.world.crms["acme"].faults.read_error = CrmError(ErrorClass.TRANSIENT, "acme: no answer")
    result = project.run(names.sync_job("acme"))
    assert result.success
    assert any(event.is_step_up_for_retry for event in result.all_events)
    assert len(project.world.hub("contact")) == 1


USED_UP = HeldError(
    ErrorClass.RATE_LIMIT, "acme: 280 of the account's 1000 calls of a day are left.", retry_after=900.0
)


def last_run(project: Project) -> tuple[str, str | None]:
    """Of the inbound step that the limits ended, the run's first."""
    row = project.world.conn.execute(
        "select status, error_message from sync.history where entity = 'company'"
        " and configuration ->> 'direction' = 'inbound' order by id desc limit 1"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_where_the_limits_allow_no_more_for_now_the_run_ends_well_and_the_next_goes_on(
    project: Project,
) -> None:
    person(project)
    project.world.crms["acme"].faults.read_error = USED_UP
    result = project.sync()
    assert any("acme/" in text and "280 of the account's 1000 calls" in text for text in stopped_of(result))
    assert last_run(project) == ("partial", str(USED_UP))
    done = {
        event.asset_key.path[-1] for event in result.get_asset_materialization_events() if event.asset_key
    }
    assert "company" not in done, "nothing is built on half a read"
    assert project.world.writes() == 0
    project.sync()
    assert len(project.world.hub("contact")) == 1
    assert last_run(project)[0] == "success"


@pytest.mark.parametrize("how", ["full", "backfill"])
def test_what_the_next_run_does_not_go_on_with_fails(project: Project, how: str) -> None:
    project.world.crms["acme"].faults.read_error = USED_UP
    tags = {names.BACKFILL_TAG: "some"} if how == "backfill" else None
    flags = {"full": True} if how == "full" else {}
    result = project.run(names.sync_job("acme"), tags=tags, **flags)
    assert not result.success
    assert not any(event.is_step_up_for_retry for event in result.all_events)
    assert last_run(project)[0] == "partial"


def test_errors_from_elsewhere_do_not_quote_values(project: Project) -> None:
    person(project, "Zanzibar")
    project.world.conn.execute(
        "create function boom() returns trigger language plpgsql as"
        " $$ begin raise exception 'I do not like %', new.last_name using errcode = 'XX000'; end $$;"
        " create trigger boom before insert on hub.contact for each row execute function boom()"
    )
    result = project.run(names.sync_job("acme"))
    assert not result.success
    events = project.instance.all_logs(result.run_id)
    assert "InternalError" in failures_of(result)[0]
    assert "Zanzibar" not in "".join(str(event) for event in events)


def test_two_connections_share_the_hub(make: Any) -> None:
    project: Project = make("acme", "beta")
    person(project)
    result = project.run(names.SYNC_ALL)
    assert result.success, project.reasons(result)
    assert [row.values["LastName"] for row in project.world.accounts["beta"].rows("Contact")] == ["Lee"]


def test_a_reconcile_reads_everything_and_finds_nothing(project: Project) -> None:
    person(project)
    project.sync()
    result = project.run(names.reconcile_job("acme"))
    assert result.success, project.reasons(result)
    shown = project.metadata(result, "acme", "inbound", "contact")
    assert (shown["read"], shown["updated"], shown["to_compare"]) == (1, 0, 0)


class TestLogs:
    @pytest.fixture
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """With the logs that dagster.yaml asks for."""
        logs = {"python_logs": {"managed_python_loggers": ["crm_sync"], "python_log_level": "INFO"}}
        with dg.DagsterInstance.ephemeral(settings=logs) as instance:
            yield instance

    @pytest.mark.parametrize("debug", [False, True])
    def test_the_steps_log_into_the_run_and_in_detail_with_debug(self, project: Project, debug: bool) -> None:
        person(project)
        result = project.sync(debug=debug)
        said = [entry.user_message for entry in project.instance.all_logs(result.run_id)]
        assert any("acme/contact hub: " in text for text in said)
        assert any("acme/contact inbound page" in text for text in said) == debug
