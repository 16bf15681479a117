"""Webhooks of HubSpot: is it genuine, and which records does it point at.

Here: the three signature schemes (developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/
request-validation) and the event types (docs/api/webhooks). A hint says only "look at this record": values in a
webhook are neither trusted nor read. HubSpot delivers in any order and more than once, and one delivery may hold
events of several portals, because subscriptions belong to the app.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from crm_sync.connectors.crm import Hint
from crm_sync.connectors.hubspot.paths import plural
from crm_sync.connectors.hubspot.values import EPOCH
from crm_sync.core.errors import CrmError, ErrorClass

MAX_AGE = timedelta(minutes=5)

Change = Literal["create", "update", "delete", "merge", "restore"]

_CHANGES: dict[str, Change] = {
    "creation": "create",
    "propertyChange": "update",
    "associationChange": "update",
    "deletion": "delete",
    "privacyDeletion": "delete",
    "merge": "merge",
    "restore": "restore",
}

# HubSpot signs the URI after decoding these and only these.
_DECODED = {
    "3A": ":",
    "2F": "/",
    "3F": "?",
    "40": "@",
    "21": "!",
    "24": "$",
    "27": "'",
    "28": "(",
    "29": ")",
    "2A": "*",
    "2C": ",",
    "3B": ";",
}
_ESCAPE = re.compile("%(" + "|".join(_DECODED) + ")", re.IGNORECASE)


def verify(
    secret: str, method: str, url: str, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> None:
    """Raise CrmError(AUTH) unless one of HubSpot's signatures is genuine.

    url: as HubSpot called it (behind a proxy: rebuilt from the configured target). body: the raw bytes. The
    newest scheme that came with the request decides: v3 if its header is there, else v2 or v1 as the version
    header says; an older signature never makes up for a newer one that is wrong.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if not secret:
        raise CrmError(
            ErrorClass.AUTH,
            "the webhook cannot be verified: set the app's client secret (webhook_secret) of the connection",
        )
    if "x-hubspot-signature-v3" in given:
        stamp = _fresh(given.get("x-hubspot-request-timestamp", ""), now)
        source = (method.upper() + decode(url)).encode() + body + stamp.encode()
        genuine = base64.b64encode(hmac.digest(secret.encode(), source, hashlib.sha256)).decode()
        signature = given["x-hubspot-signature-v3"]
    elif "x-hubspot-signature" in given:
        version = given.get("x-hubspot-signature-version", "v1").lower()
        signature = given["x-hubspot-signature"]
        if version == "v1":
            genuine = hashlib.sha256(secret.encode() + body).hexdigest()
        elif version == "v2":
            genuine = hashlib.sha256((secret + method.upper() + url).encode() + body).hexdigest()
        else:
            raise CrmError(ErrorClass.AUTH, "the webhook's signature version is not known")
    else:
        raise CrmError(ErrorClass.AUTH, "the webhook is not signed")
    if not hmac.compare_digest(genuine.encode(), signature.encode()):
        raise CrmError(ErrorClass.AUTH, "the webhook's signature is not genuine")


def _fresh(stamp: str, now: datetime) -> str:
    if not re.fullmatch(r"\d{1,14}", stamp):
        raise CrmError(ErrorClass.AUTH, "the webhook has no time stamp")
    if abs(now - _time(int(stamp))) > MAX_AGE:
        raise CrmError(ErrorClass.AUTH, "the webhook is older than five minutes (or this clock is wrong)")
    return stamp


def decode(url: str) -> str:
    """The URL as HubSpot signs it: a fixed set of escapes decoded, all others (such as %20) left alone."""
    return _ESCAPE.sub(lambda match: _DECODED[match[1].upper()], url)


def hints(body: bytes, *, portal_id: str | None) -> list[Hint]:
    """The events of a delivery, those of other portals left out if ours is known.

    A merge gives one hint for each record that took part in it. Events of kinds that concern no record (a
    conversation's message) are left out. Raises CrmError(VALIDATION) if the body cannot be read.
    """
    try:
        return [
            hint
            for event in _list(json.loads(body))
            if portal_id is None or str(event.get("portalId")) == portal_id
            for hint in _hints(event)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CrmError(ErrorClass.VALIDATION, "the webhook's body is not a list of HubSpot events") from error


def _list(events: object) -> list[Any]:
    if not isinstance(events, list):
        raise TypeError
    return events


def _hints(event: Mapping[str, Any]) -> Iterator[Hint]:
    # Real deliveries say subscriptionType; the documentation's prose says eventType.
    kind, _, what = str(event.get("subscriptionType") or event["eventType"]).partition(".")
    change = _CHANGES.get(what)
    if change is None or kind in {"conversation", "event"}:
        return
    object_type = plural(str(event["objectTypeId"]) if kind == "object" else kind)
    occurred_at = _time(int(event["occurredAt"]))
    ids: dict[str, None] = {}
    names = (
        ("fromObjectId",) if what == "associationChange" else ("newObjectId", "primaryObjectId", "objectId")
    )
    for name in names:
        if event.get(name) is not None:
            ids.setdefault(str(event[name]))
    for merged in event.get("mergedObjectIds") or ():
        ids.setdefault(str(merged))
    for crm_id in ids:
        yield Hint(_event_id(event, what, crm_id), object_type, crm_id, change, occurred_at)


def _event_id(event: Mapping[str, Any], what: str, crm_id: str) -> str:
    """HubSpot's eventId is not unique; with these it tells two deliveries of one event from two events."""
    parts = (event.get("portalId"), event.get("eventId"), event.get("subscriptionId"), what, crm_id)
    return ":".join(str(part) for part in (*parts, event["occurredAt"]))


def _time(epoch_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=epoch_ms)
