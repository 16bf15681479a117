"""Webhooks: signatures against published vectors, events to hints."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from crm_sync.connectors.hubspot.webhooks import decode, hints, verify
from crm_sync.core.errors import CrmError, ErrorClass

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://www.example.com/webhook_uri"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BODY = b'[{"eventId":1}]'


def v3(method="POST", url=URL, body=BODY, at=NOW, secret=SECRET):
    stamp = str(round(at.timestamp() * 1000))
    source = (method + decode(url)).encode() + body + stamp.encode()
    signature = base64.b64encode(hmac.new(secret.encode(), source, hashlib.sha256).digest()).decode()
    return {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": stamp}


def old(version, signature):
    return {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}


def refused(headers, *, method="POST", url=URL, body=BODY, now=NOW, secret=SECRET):
    with pytest.raises(CrmError) as caught:
        verify(secret, method, url, headers, body, now=now)
    assert caught.value.error_class is ErrorClass.AUTH
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_the_published_vector_of_version_2():
    signature = "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"
    verify(SECRET, "GET", URL, old("v2", signature), b"", now=NOW)
    refused(old("v2", signature), method="POST", body=b"")
    refused(old("v1", signature), method="GET", body=b"")


def test_version_1_signs_secret_and_body():
    signature = hashlib.sha256(SECRET.encode() + BODY).hexdigest()
    verify(SECRET, "POST", URL, old("v1", signature), BODY, now=NOW)
    verify(SECRET, "POST", URL, {"x-hubspot-signature": signature}, BODY, now=NOW)
    refused(old("v1", signature), body=BODY + b" ")
    refused(old("v9", signature))


def test_version_3():
    verify(SECRET, "post", URL, v3(), BODY, now=NOW)
    verify(SECRET, "POST", URL, v3(at=NOW - timedelta(minutes=5)), BODY, now=NOW)
    refused(v3(), body=BODY + b" ")
    refused(v3(), url=URL + "?x=1")
    refused(v3(secret="other"))
    assert "five minutes" in refused(v3(at=NOW - timedelta(minutes=5, milliseconds=1)))
    refused(v3(at=NOW + timedelta(minutes=6)))


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e3", "9" * 40, "²"])
def test_version_3_with_a_senseless_time(stamp):
    refused({**v3(), "X-HubSpot-Request-Timestamp": stamp})


def test_an_old_signature_does_not_make_up_for_a_wrong_new_one():
    good = old("v1", hashlib.sha256(SECRET.encode() + BODY).hexdigest())
    verify(SECRET, "POST", URL, good | v3(), BODY, now=NOW)
    refused(good | {**v3(), "X-HubSpot-Signature-v3": "AAAA"})


def test_unsigned_or_unverifiable():
    assert "not signed" in refused({})
    assert "client secret" in refused(v3(secret=""), secret="")
    refused({**v3(), "X-HubSpot-Signature-v3": "é"})


def test_only_some_escapes_are_decoded():
    assert decode("https://a.example/x%2Fy%3fz?q=%20%40%25%2B") == "https://a.example/x/y?z?q=%20@%25%2B"


def event(kind, **more):
    return {
        "eventId": 1,
        "subscriptionId": 2,
        "portalId": 62515,
        "occurredAt": 1564113600000,
        "subscriptionType": kind,
    } | more


def read(*events, portal_id=None):
    return [
        (h.entity_object, h.crm_id, h.change) for h in hints(json.dumps(events).encode(), portal_id=portal_id)
    ]


def test_events_become_hints():
    assert read(
        event("contact.propertyChange", objectId=123, propertyName="email", propertyValue="x"),
        event("company.creation", objectId=5),
        event("deal.deletion", objectId=6),
        event("contact.privacyDeletion", objectId=7),
        event("object.restore", objectTypeId="0-3", objectId=8),
        event("object.propertyChange", objectTypeId="2-77", objectId=9),
        event(
            "contact.associationChange", fromObjectId=10, toObjectId=11, associationType="CONTACT_TO_COMPANY"
        ),
        event("conversation.newMessage", objectId=12),
        event("contact.somethingNew", objectId=13),
    ) == [
        ("contacts", "123", "update"),
        ("companies", "5", "create"),
        ("deals", "6", "delete"),
        ("contacts", "7", "delete"),
        ("deals", "8", "restore"),
        ("2-77", "9", "update"),
        ("contacts", "10", "update"),
    ]


def test_a_merge_points_at_everybody_in_it():
    merge = event("contact.merge", objectId=1, primaryObjectId=1, mergedObjectIds=[2, 3], newObjectId=4)
    assert read(merge) == [("contacts", crm_id, "merge") for crm_id in ("4", "1", "2", "3")]


def test_other_accounts_are_left_out_if_ours_is_known():
    events = (event("contact.creation", objectId=1), event("contact.creation", objectId=2, portalId=9))
    assert len(read(*events)) == 2
    assert read(*events, portal_id="62515") == [("contacts", "1", "create")]


def test_the_time_and_an_id_that_tells_events_apart():
    one, two = hints(
        json.dumps([event("contact.creation", objectId=1), event("contact.creation", objectId=2)]).encode(),
        portal_id=None,
    )
    assert one.occurred_at == datetime(2019, 7, 26, 4, tzinfo=UTC)
    assert one.event_id != two.event_id


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[1]", b"[{}]", b"[{", b"\xff", b'[{"subscriptionType":"contact.creation"}]']
)
def test_what_cannot_be_read(body):
    with pytest.raises(CrmError) as caught:
        hints(body, portal_id=None)
    assert caught.value.error_class is ErrorClass.VALIDATION
