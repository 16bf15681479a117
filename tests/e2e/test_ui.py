"""One story in a headless browser: what a person sees and clicks in `dagster dev`, with simulated CRMs behind it.

The screenshots stay in the test's temporary folder, to be looked at.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from tests.e2e.stage import REPOSITORY, Stage, stage, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Person:
    """Somebody at the browser, who takes a picture of everything."""

    def __init__(self, page: Any, found: Stage, pictures: Path) -> None:
        self.page, self.stage, self.pictures = page, found, pictures

    def go(self, path: str, *, until: str) -> None:
        """Open a page and wait for a text; open it again if a run in progress hides what is looked for."""
        for attempt in range(6):
            self.page.goto(self.stage.url + path)
            try:
                self.page.get_by_text(until, exact=True).first.wait_for(timeout=6_000)
            except self.timeout:
                assert attempt < 5, f"{path} does not show {until!r}"
            else:
                return

    def picture(self, name: str) -> None:
        with suppress(self.timeout):
            self.page.get_by_text("Loading...").last.wait_for(state="hidden", timeout=5_000)
        self.page.wait_for_timeout(700)  # graphs move into place
        self.page.screenshot(path=self.pictures / f"{name}.png")

    @property
    def timeout(self) -> type[Exception]:
        from playwright.sync_api import TimeoutError as Late

        return Late


@contextmanager
def browser(found: Stage, pictures: Path) -> Iterator[Person]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = chromium.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(20_000)
        yield Person(page, found, pictures)
        chromium.close()


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """An address for alerts, and what was told there."""
    told: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", told
        server.shutdown()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
def test_the_story_of_a_team_and_its_two_crms(fresh_database_url: str, tmp_path: Path) -> None:
    with (
        listener() as (alert_url, told),
        stage(fresh_database_url, tmp_path, alert_url=alert_url) as found,
        browser(found, tmp_path) as person,
    ):
        the_launchpad_of_a_sync_is_a_filled_form(person)
        the_schedules_fire(found)
        the_lineage_of_contact(person)
        days = a_backfill_of_thirty_days_is_launched(person)
        the_backfill_was_one_run(found, days)
        records = both_sides_change_a_phone(found)
        the_check_shows_them(person)
        one_is_resolved_through_the_link_of_its_row(person, records)
        a_webhook_event_starts_a_sync(found)
        a_failed_run_is_told(found, told)
        person.go("/automation", until="webhook_inbox")
        person.picture("automation")
        person.go("/runs", until="sync_hubspot")
        person.picture("runs")


def the_lineage_of_contact(person: Person) -> None:
    person.go("/assets/hub/contact?view=lineage", until="salesforce")
    person.picture("lineage")
    assert person.page.get_by_text("contact", exact=True).count() >= 5


def a_backfill_of_thirty_days_is_launched(person: Person) -> tuple[str, str]:
    last = datetime.now(UTC) - timedelta(days=1)
    days = f"{last - timedelta(days=29):%Y-%m-%d}", f"{last:%Y-%m-%d}"
    person.page.get_by_text("Materialize all").first.click()
    field = person.page.get_by_role("dialog").get_by_role("textbox").first
    field.fill(f"[{days[0]}...{days[1]}]")
    field.press("Enter")
    person.picture("backfill")
    assert person.page.get_by_text("30 partitions").count() >= 1
    person.page.get_by_role("button", name="Launch backfill").click()
    wait_for(lambda: _backfills(person.stage))
    return days


def the_backfill_was_one_run(found: Stage, days: tuple[str, str]) -> None:
    run = found.finished(lambda run: "dagster/backfill" in run["tags"])
    assert run["tags"]["dagster/asset_partition_range_start"] == days[0]
    assert run["tags"]["dagster/asset_partition_range_end"] == days[1]
    assert sum("dagster/backfill" in run["tags"] for run in found.runs()) == 1


def _backfills(found: Stage) -> list[Any]:
    query = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id numPartitions } } } }"
    results: list[Any] = found.graphql(query)["partitionBackfillsOrError"]["results"]
    return results


def the_launchpad_of_a_sync_is_a_filled_form(person: Person) -> None:
    person.go("/locations/crm_sync/jobs/sync_salesforce/playground", until="Launch Run")
    for flag in (
        "full",
        "force",
        "dry_run",
        "batch_size",
        "max_records",
        "start_date",
        "skip_validation",
        "debug",
    ):
        person.page.locator(".CodeMirror-line", has_text=f"{flag}:").first.wait_for()
    person.picture("launchpad")


def the_schedules_fire(found: Stage) -> None:
    for connection in ("salesforce", "hubspot"):
        name = f"incremental_{connection}"
        found.finished(lambda run, name=name: run["tags"].get("dagster/schedule_name") == name)
    found.stop_schedules()


def both_sides_change_a_phone(found: Stage) -> list[tuple[Any, str]]:
    """Two contacts with a conflict each; (hub id, Salesforce id)."""
    rows = wait_for(
        lambda: found.conn.execute(
            "select h.id, b.crm_id from hub.contact h join salesforce.contact_base b on b.hub_id = h.id"
            " where h.phone is not null and b.phone_agreed order by b.crm_id limit 2"
        ).fetchall()
    )
    # A run between the two edits would rightly take the first one over, and one that has read before them would send
    # the hub's: nothing runs, and the hub's edit is committed when Salesforce has the other.
    wait_for(found.idle)
    with found.conn.transaction():
        for number, (hub_id, crm_id) in enumerate(rows):
            found.conn.execute(
                "update hub.contact set phone = %s where id = %s", [f"+1415555200{number}", hub_id]
            )
            found.edit("salesforce", "contact", crm_id, {"Phone": f"+1415555100{number}"})
    wait_for(
        lambda: (
            found.conn.execute("select count(*) = 2 from review.conflict where status = 'open'").fetchone()
            == (True,)
        ),
    )
    found.finished(lambda run: run["tags"].get("dagster/sensor_name") == "hub_changes")
    return [tuple(row) for row in rows]


def the_check_shows_them(person: Person) -> None:
    person.go("/assets/hub/contact?view=checks&checkDetail=conflicts", until="+14155552001")
    person.page.get_by_text("use hub").or_(person.page.get_by_text("use crm")).first.wait_for()
    person.picture("check")


def one_is_resolved_through_the_link_of_its_row(person: Person, records: list[tuple[Any, str]]) -> None:
    found, (hub_id, crm_id) = person.stage, records[0]
    person.go("/assets/hub/contact?view=checks&checkDetail=conflicts", until="[Show Markdown]")
    person.page.get_by_text("[Show Markdown]", exact=True).click()
    row = person.page.get_by_role("row").filter(has_text=crm_id).filter(has=person.page.get_by_role("link"))
    link = row.get_by_role("link", name="use crm")
    person.picture("decide")
    address = str(link.get_attribute("href"))
    assert crm_id not in unquote(address)
    link.click()
    person.page.locator(".CodeMirror-line", has_text='decision: "use_crm"').wait_for()
    person.picture("resolve")
    person.page.get_by_role("button", name="Launch Run").click()
    found.finished(lambda run: run["jobName"] == "resolve_conflicts")
    phone = wait_for(
        lambda: found.conn.execute(
            "select phone from hub.contact where id = %s and phone = '+14155551000'", [hub_id]
        ).fetchone()
    )
    assert phone == ("+14155551000",)
    status = "select status from review.conflict where hub_id = %s"
    assert found.conn.execute(status, [hub_id]).fetchall() == [("applied",)]
    assert found.conn.execute(status, [records[1][0]]).fetchall() == [("open",)]
    person.go("/assets/hub/contact?view=checks&checkDetail=conflicts", until="1 of 1")
    person.picture("check_after")


def a_webhook_event_starts_a_sync(found: Stage) -> None:
    wait_for(found.idle)  # any other run would do the event's work
    (crm_id,) = found.conn.execute("select crm_id from hubspot.contact_base limit 1").fetchone() or ("",)
    found.edit("hubspot", "contact", crm_id, {"jobtitle": "Head of Webhooks"})
    found.conn.execute(
        "insert into sync.inbox (connection, event_id, entity, crm_id, change)"
        " values ('hubspot', 'event-1', 'contact', %s, 'update')",
        [crm_id],
    )
    found.finished(lambda run: run["tags"].get("dagster/sensor_name") == "webhook_inbox")
    title = (
        "select h.title from hub.contact h join hubspot.contact_base b on b.hub_id = h.id where b.crm_id = %s"
    )
    assert found.conn.execute(title, [crm_id]).fetchone() == ("Head of Webhooks",)


def a_failed_run_is_told(found: Stage, told: list[str]) -> None:
    launch = """mutation ($selector: JobOrPipelineSelector!) {
      launchRun(executionParams: {selector: $selector, runConfigData: {}}) { __typename } }"""
    found.graphql(launch, selector={**REPOSITORY, "jobName": "resolve_conflicts"})  # nothing is selected
    wait_for(lambda: any("say which conflicts" in text for text in told))
