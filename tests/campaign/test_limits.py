"""Four processes on one account: its limits are kept, and used, as counted at the simulator.

The rate is looked at where calls were waiting for their turn: how much work a busy machine can make is no matter.
"""

import json
import logging
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from crm_sync.hub.prepare import prepare
from crm_sync.mapping.load import load
from crm_sync.simulators.serve import running

log = logging.getLogger(__name__)

PROJECT = Path(__file__).parents[2]
HUBSPOT = """
kind: hubspot
base_url: {base_url}
ca_bundle: {ca_file}
auth: {{grant: access_token, access_token: {{env: TEST_TOKEN}}}}
entities:
  contact: {{object: contacts, fields: {{first_name: firstname}}}}
  person: {{object: contacts, fields: {{last_name: lastname}}}}
  company: {{object: companies, fields: {{name: name}}}}
  deal: {{object: deals, fields: {{name: dealname}}}}
"""
SALESFORCE = """
kind: salesforce
host: {base_url}
ca_bundle: {ca_file}
limits: {{reserve: 20%, requests: 2, burst: 40}}
auth:
  grant: refresh_token
  client_id: {{env: TEST_CLIENT_ID}}
  client_secret: {{env: TEST_CLIENT_SECRET}}
  refresh_token: {{env: TEST_REFRESH_TOKEN}}
page_size: 200
entities:
  contact: {{object: Contact, fields: {{first_name: FirstName}}}}
  person: {{object: Contact, fields: {{last_name: LastName}}}}
  company: {{object: Account, fields: {{name: Name}}}}
  deal: {{object: Opportunity, fields: {{name: Name}}}}
"""
ENTITIES = ("contact", "person", "company", "deal")
BURST = 110
SECONDS = 40


@pytest.fixture
def account(tmp_path, fresh_database_url, monkeypatch):
    """Connects simulators: account(hubspot=simulator, ...); returns a function that starts the four processes."""

    def connect(**simulators):
        folder = tmp_path / "connections"
        folder.mkdir()
        for name, text in (("hubspot", HUBSPOT), ("salesforce", SALESFORCE)):
            if name in simulators:
                simulator = simulators[name]
                text = text.format(base_url=simulator.base_url, ca_file=simulator.ca_file)
                (folder / f"{name}.yaml").write_text(text, "utf-8")
                for secret, key in (("TOKEN", "access_token"), ("CLIENT_ID", "client_id"),
                                    ("CLIENT_SECRET", "client_secret"), ("REFRESH_TOKEN", "refresh_token")):  # fmt: skip
                    if name == "hubspot" or secret != "TOKEN":
                        monkeypatch.setenv(f"TEST_{secret}", str(simulator.info[key]))
        monkeypatch.setenv("CRM_SYNC_DATABASE_URL", fresh_database_url)
        monkeypatch.setenv("CRM_SYNC_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("CRM_SYNC_CONNECTIONS", str(folder))
        prepare(fresh_database_url, load(folder))

        @contextmanager
        def four(seconds):
            started = [
                subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "tests.campaign.reader",
                        str(seconds),
                        *(f"{n}/{e}" for n in simulators),
                    ],
                    cwd=PROJECT,
                    env=dict(os.environ),
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for e in ENTITIES
            ]
            try:
                for process in started:
                    assert process.stdout.readline() == "begun\n"
                yield lambda: [json.loads(process.communicate()[0]) for process in started]
            finally:
                for process in started:
                    process.kill()
                    process.wait()
                    process.stdout.close()

        return four

    return connect


def samples(simulator, url):
    """(moment, calls but searches so far, seconds that turns are booked ahead) for a while."""
    found = []
    with psycopg.connect(url, autocommit=True) as conn:
        until = time.monotonic() + SECONDS
        while (now := time.monotonic()) < until:
            counts = simulator.control("stats")
            row = conn.execute(
                "select extract(epoch from free_at - clock_timestamp()) from sync.budget"
                " where connection = 'hubspot' and name = 'burst'"
            ).fetchone()
            calls = counts["total"] - counts["requests"].get("search", 0)
            found.append((now, calls, float(row[0]) if row else -1.0))
            time.sleep(0.25)
    return found


def rate_while_busy(found):
    """Calls a second, over the time in which calls waited for their turn."""
    busy = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(found) if a[2] > 0 and b[2] > 0]
    seconds = sum(span for span, _ in busy)
    assert seconds > 8, "the processes did not make enough work to tell"
    rate = sum(calls for _, calls in busy) / seconds
    log.info("%.1f calls in ten seconds, over %.0f s in which calls waited", 10 * rate, seconds)
    return rate


@contextmanager
def somebody_else(simulator, rate):
    """Another program with the same token, that makes so many calls a second. Yields its calls: [accepted, refused]."""
    context = ssl.create_default_context(cafile=simulator.ca_file)
    request = urllib.request.Request(
        f"{simulator.base_url}/crm/v3/objects/companies?limit=1",
        headers={"Authorization": f"Bearer {simulator.info['access_token']}"},
    )
    counts, done = [0, 0], threading.Event()

    def call():
        started = time.monotonic()
        for number in range(1, 1_000_000):
            try:
                with urllib.request.urlopen(request, context=context) as response:
                    response.read()
                counts[0] += 1
            except urllib.error.HTTPError as error:
                error.close()
                counts[1] += 1
            if done.wait(max(started + number / rate - time.monotonic(), 0.0)):
                return

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield counts
    finally:
        done.set()
        thread.join()


def complaints(reports):
    return [text for report in reports for text in report["wrong"]]


@pytest.mark.slow
def test_four_processes_keep_the_limits_of_one_account_and_use_them(account, fresh_database_url):
    with running("hubspot", records=3000) as hubspot, running("salesforce", records=600) as salesforce:
        hubspot.control("settings", {"burst_private": BURST})
        with account(hubspot=hubspot, salesforce=salesforce)(SECONDS) as reports:
            found = samples(hubspot, fresh_database_url)
            told = reports()
        assert complaints(told) == []
        assert all(sum(report["read"].values()) > 1 for report in told)
        assert hubspot.control("stats")["refused"] == {}
        assert "403" not in salesforce.control("stats")["statuses"]
    assert 0.95 <= rate_while_busy(found) / (BURST / 10) <= 1


@pytest.mark.slow
def test_somebody_else_who_uses_half_of_the_account_is_left_his_half(account, fresh_database_url):
    with running("hubspot", records=3000) as hubspot:
        hubspot.control("settings", {"burst_private": BURST})
        with somebody_else(hubspot, BURST / 20) as theirs, account(hubspot=hubspot)(SECONDS) as reports:
            found = samples(hubspot, fresh_database_url)
            told = reports()
        assert complaints(told) == []
        assert theirs[1] == 0
        assert hubspot.control("stats")["refused"] == {}
    assert 0.95 <= rate_while_busy(found[len(found) // 3 :]) / (BURST / 10) <= 1


@pytest.mark.slow
def test_four_processes_stop_together_when_the_days_share_is_used_up(account, fresh_database_url):
    with running("salesforce", records=600) as salesforce:
        salesforce.control("settings", {"daily_api_requests": 400})
        with account(salesforce=salesforce)(300) as reports:
            told = reports()
        counts = salesforce.control("stats")
    texts = complaints(told)
    assert len(texts) == 4
    assert all("of the account's 400 calls of a day are left; scheduled runs stop at 28%" in t for t in texts)
    # What is left to others is left, but for a call or two of each process that were under way.
    assert 400 * 0.72 - 12 <= counts["api_calls_24h"] <= 400 * 0.72 + 8
    assert "403" not in counts["statuses"]
    with psycopg.connect(fresh_database_url) as conn:
        told = conn.execute(
            "select distinct error_message from sync.history where status <> 'success'"
        ).fetchall()
        assert any("nothing is lost" in message for (message,) in told)
