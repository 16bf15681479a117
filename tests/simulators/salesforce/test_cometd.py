"""The change feed over CometD: handshake, subscribe with replay, long poll."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

CONTACTS = "/data/ContactChangeEvent"


@pytest.fixture
def bayeux(api, salesforce):
    def send(**message):
        answer = api.post(f"{salesforce.base_url}/cometd/68.0/", json=[message])
        assert answer.status_code == 200
        return answer.json()

    return send


def shake(bayeux):
    [reply] = bayeux(channel="/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"])
    assert reply["successful"]
    assert reply["ext"]["replay"] is True
    return reply["clientId"]


def poll(bayeux, client, timeout=0):
    *events, reply = bayeux(channel="/meta/connect", clientId=client, advice={"timeout": timeout})
    assert reply["successful"]
    return events


def test_new_events_arrive_while_waiting(bayeux, api):
    client = shake(bayeux)
    [reply] = bayeux(channel="/meta/subscribe", clientId=client, subscription=CONTACTS)
    assert reply["successful"]
    assert poll(bayeux, client) == []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(poll, bayeux, client, 10_000)
        time.sleep(0.2)
        api.post("/sobjects/Account", json={"Name": "not asked for"})
        made = api.post("/sobjects/Contact", json={"LastName": "Streamed"}).json()["id"]
        [event] = waiting.result()
    assert event["channel"] == CONTACTS
    assert event["data"]["payload"]["ChangeEventHeader"]["recordIds"] == [made]
    assert event["data"]["payload"]["LastName"] == "Streamed"


def test_replay_continues_after_the_last_event_seen(bayeux, api):
    ids = [api.post("/sobjects/Contact", json={"LastName": f"R{n}"}).json()["id"] for n in range(2)]

    def replayed(since):
        client = shake(bayeux)
        bayeux(
            channel="/meta/subscribe",
            clientId=client,
            subscription=CONTACTS,
            ext={"replay": {CONTACTS: since}},
        )
        return poll(bayeux, client)

    everything = replayed(-2)
    assert [e["data"]["payload"]["ChangeEventHeader"]["recordIds"][0] for e in everything[-2:]] == ids
    [last] = replayed(everything[-2]["data"]["event"]["replayId"])
    assert last == everything[-1]


def test_refusals(bayeux, http, salesforce):
    [reply] = bayeux(channel="/meta/connect", clientId="unknown")
    assert (reply["successful"], reply["advice"]["reconnect"]) == (False, "handshake")
    client = shake(bayeux)
    [reply] = bayeux(channel="/meta/subscribe", clientId=client, subscription="/data/FooChangeEvent")
    assert reply["error"].startswith("404::")
    answer = http.post(f"{salesforce.base_url}/cometd/68.0", json=[], headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401
