"""Fault plans: what a client sees, what the simulator did, and what the report says."""

import gzip
import json
import subprocess
import threading
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from crm_sync.simulators.fault_plan import PlanError, load, parse
from crm_sync.simulators.serve import running, start

CREATE = {"method": "POST", "path": "/sobjects/Contact$"}


def contacts(api):
    return api.get("/query", params={"q": "SELECT COUNT() FROM Contact"}).json()["totalSize"]


@pytest.mark.parametrize(
    ("effect", "status", "code"),
    [
        ({"status": 401}, 401, "INVALID_SESSION_ID"),
        ({"status": 403}, 403, "REQUEST_LIMIT_EXCEEDED"),
        ({"status": 429, "retry_after": 3}, 429, "REQUEST_LIMIT_EXCEEDED"),
        ({"status": 500}, 500, "UNKNOWN_EXCEPTION"),
        ({"status": 503}, 503, "SERVER_UNAVAILABLE"),
        ({"status": 400, "body": [{"errorCode": "QUERY_TIMEOUT", "message": "m"}]}, 400, "QUERY_TIMEOUT"),
    ],
)
def test_refusals_look_like_the_vendor_own(salesforce, api, effect, status, code):
    salesforce.control("faults", [{"match": {"path": "/limits$"}, "effect": effect}])
    answer = api.get("/limits")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (status, code)
    assert answer.headers.get("retry-after") == ("3" if "retry_after" in effect else None)


def test_a_connection_dropped_before_has_no_effect_and_after_has(salesforce, api):
    before = contacts(api)
    for when, expected in (("before", before), ("after", before + 1)):
        salesforce.control("faults", [{"match": CREATE, "effect": {"drop": when}}])
        with pytest.raises(httpx.RemoteProtocolError):
            api.post("/sobjects/Contact", json={"LastName": "Dropped"})
        assert contacts(api) == expected


def test_damaged_answers(salesforce, api):
    def plan(**effect):
        salesforce.control("faults", [{"match": {"path": "/describe$"}, "effect": effect}])

    plan(truncate=0.5)
    with pytest.raises(httpx.RemoteProtocolError):
        api.get("/sobjects/Contact/describe")
    plan(bad_gzip=True)
    with pytest.raises(httpx.DecodingError):
        api.get("/sobjects/Contact/describe")
    plan(html=True)
    answer = api.get("/sobjects/Contact/describe")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    plan(delay=0.2)
    assert api.get("/sobjects/Contact/describe").elapsed.total_seconds() >= 0.2


def test_turns_limits_and_the_report(salesforce, api):
    rule = {
        "name": "third",
        "match": {"path": "/limits$"},
        "after": 1,
        "every": 2,
        "limit": 1,
        "effect": {"status": 503},
    }
    salesforce.control("faults", [rule])
    assert [api.get("/limits").status_code for _ in range(6)] == [200, 200, 503, 200, 200, 200]
    assert salesforce.control("faults") == [{"name": "third", "matched": 6, "hits": 1}]


def test_probability_is_repeatable():
    document = {"seed": 5, "faults": [{"probability": 0.5, "effect": {"status": 500}}]}
    seed, [fault], settings = parse(document)
    assert (seed, fault.probability, settings) == (5, 0.5, {})


def test_a_plan_from_a_file(tmp_path):
    good = tmp_path / "plan.yaml"
    good.write_text("seed: 1\nfaults:\n  - {match: {path: x}, effect: {status: 500}}\n")
    assert load(good).pick("GET", "/x", "").effect.status == 500
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps([{"effect": {"stauts": 500}}]))
    with pytest.raises(PlanError, match=r"unknown key 'stauts'; allowed: .*status"):
        load(bad)


def test_the_process_reports_hits_and_ends_cleanly(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("- {name: out, match: {path: limits}, effect: {status: 503}}\n")
    simulator = start(
        "salesforce", "--no-tls", "--records", "10", "--faults", str(plan), stderr=subprocess.PIPE
    )
    assert simulator.base_url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{simulator.base_url}/services/data/v68.0/limits").status_code == 503
    assert simulator.stop() == 0
    with simulator.process.stderr as errors:
        assert json.loads(errors.read()) == {"faults": [{"name": "out", "matched": 1, "hits": 1}]}


def test_answers_are_compressed_when_asked(api):
    with api.stream("GET", "/sobjects/Contact/describe", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw))["name"] == "Contact"


@pytest.mark.parametrize(
    ("how", "seen"),
    [("refuse", httpx.ConnectError), ("hang_up", httpx.ConnectError), ("mute", httpx.ConnectTimeout)],
)
def test_a_door_that_is_shut_for_a_while(salesforce, api, how, seen):
    strike = {"match": {"path": "/limits$"}, "effect": {how: 1.0}, "limit": 1}
    slow = {"match": {"path": "/query$"}, "effect": {"delay": 20.0}}
    salesforce.control("faults", [strike, slow])
    broken = []

    def ask():
        try:
            contacts(api)
        except httpx.HTTPError as error:
            broken.append(type(error))

    other = threading.Thread(target=ask)
    other.start()
    time.sleep(0.3)
    with pytest.raises(httpx.TransportError):  # the connection is reset
        api.get("/limits")
    other.join(5)
    assert broken  # and the other one
    with pytest.raises(seen):
        api.get("/limits", timeout=0.3)
    assert [f["hits"] for f in salesforce.control("faults")] == [1, 1]  # waits for the door
    assert api.get("/limits").status_code == 200


def test_a_login_under_way_is_answered_though_the_door_is_shut(salesforce, api):
    """With rotating refresh tokens the login would be lost with the answer."""
    strike = {"match": {"path": "/limits$"}, "effect": {"refuse": 0.5}, "limit": 1}
    slow = {"match": {"path": "/oauth2/token$"}, "effect": {"delay": 0.6}}
    salesforce.control("faults", [strike, slow])
    answers = []

    def log_in():
        answers.append(
            api.post(f"{salesforce.base_url}/services/oauth2/token", data={"grant_type": "nothing"})
        )

    other = threading.Thread(target=log_in)
    other.start()
    time.sleep(0.2)
    with pytest.raises(httpx.TransportError):
        api.get("/limits")
    other.join(5)
    assert [answer.status_code for answer in answers] == [400]
    contacts_when_quiet(salesforce, api)


def test_a_door_that_is_shut_already_opens_when_it_was_to(salesforce, api):
    begun = time.monotonic()
    salesforce.control(
        "faults",
        [
            {"match": {"path": "/limits$"}, "effect": {"refuse": 0.6}, "limit": 1},
            {"match": {"path": "/query$"}, "effect": {"late": 0.2}},
        ],
    )
    with pytest.raises(httpx.TransportError):
        api.get("/limits")
    salesforce.control("faults")
    assert 0.5 < time.monotonic() - begun < 5
    assert contacts_when_quiet(salesforce, api) > 0


def contacts_when_quiet(salesforce, api):
    salesforce.control("faults", [])
    return contacts(api)


@pytest.mark.parametrize("kind", ["salesforce", "hubspot"])
@pytest.mark.parametrize("skew", [-300, 300])
def test_a_clock_that_is_behind_or_ahead_from_the_start(tmp_path, kind, skew):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"settings": {"clock_skew": skew}}))
    with running(kind, records=200, faults_file=plan, use_tls=False) as simulator:
        path = "/services/data" if kind == "salesforce" else "/crm/v3/owners"
        date = httpx.get(f"{simulator.base_url}{path}").headers["date"]
        assert parsedate_to_datetime(date).timestamp() - time.time() == pytest.approx(skew, abs=3)
        if kind == "salesforce":
            records = simulator.control("records?object=Contact")["records"]
            stamps = [r["SystemModstamp"][:19] for r in records]
        else:
            stamps = [r["modified"][:19] for r in simulator.control("dump/contacts")["records"]]
        there = time.gmtime(time.time() + skew)
        assert max(stamps) <= time.strftime("%Y-%m-%dT%H:%M:%S", there)  # nothing comes from its future
        simulator.control("settings", {"clock_skew": 0.0})
        date = httpx.get(f"{simulator.base_url}{path}").headers["date"]
        assert parsedate_to_datetime(date).timestamp() - time.time() == pytest.approx(0, abs=3)
