"""Outbound messages: hints are read, nothing else is, and nothing in them can hurt."""

from datetime import UTC, datetime

import pytest

from crm_sync.connectors.crm import Hint
from crm_sync.connectors.salesforce import outbound_message
from crm_sync.core.errors import CrmError, ErrorClass

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ORGANISATION = "00Dxx0000001gEREAY"


def message(*notifications: str, organisation: str = ORGANISATION, prologue: str = "") -> bytes:
    return f"""<?xml version="1.0" encoding="UTF-8"?>{prologue}
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>{organisation}</OrganizationId>
   <ActionId>04kxx0000000001AAA</ActionId>
   <SessionId>s3cret</SessionId>
   <EnterpriseUrl>https://acme.my.salesforce.com/services/Soap/c/62.0</EnterpriseUrl>
   {"".join(notifications)}
  </notifications>
 </soapenv:Body>
</soapenv:Envelope>""".encode()


def notification(event: str, crm_id: str, more: str = "") -> str:
    return f"""<Notification><Id>{event}</Id>
    <sObject xsi:type="sf:Contact" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
     <sf:Id>{crm_id}</sf:Id>{more}<sf:LastName>Müller &amp; Söhne</sf:LastName>
    </sObject></Notification>"""


def parse(body: bytes, organisation: str | None = ORGANISATION) -> list[Hint]:
    return outbound_message.parse(body, organisation, lambda: NOW)


def test_every_notification_is_a_hint():
    stamp = "<sf:SystemModstamp>2026-11-21T10:00:00.000Z</sf:SystemModstamp>"
    body = message(
        notification("04lxx0000000001AAA", "003xx000004TmiQ"),
        notification("04lxx0000000002AAA", "003xx000004TmiRAAS", stamp),
    )
    assert parse(body) == [
        Hint("04lxx0000000001AAA", "Contact", "003xx000004TmiQAAS", "update", NOW),
        Hint(
            "04lxx0000000002AAA",
            "Contact",
            "003xx000004TmiRAAS",
            "update",
            datetime(2026, 11, 21, 10, tzinfo=UTC),
        ),
    ]


def test_another_organisations_message_is_refused():
    body = message(notification("04lxx0000000001AAA", "003xx000004TmiQ"), organisation="00Dxx0000009999AAA")
    with pytest.raises(CrmError) as caught:
        parse(body)
    assert caught.value.error_class is ErrorClass.AUTH
    assert len(parse(body, organisation=None)) == 1


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>"
FILE = "<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]>"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not xml",
        b'[{"json": true}]',
        b"<a>",
        b"<a/>",
        message(prologue=BOMB),
        message(prologue=FILE),
        message(prologue=BOMB).decode().replace("UTF-8", "UTF-16").encode("utf-16"),
        message(notification("", "003xx000004TmiQ")),
        message(notification("04lxx0000000001AAA", "no id")),
        b"x" * 11_000_000,
    ],
    ids=range(11),
)
def test_what_is_no_message_is_refused(body):
    with pytest.raises(CrmError) as caught:
        parse(body)
    assert caught.value.error_class is ErrorClass.VALIDATION
    assert "s3cret" not in str(caught.value)
