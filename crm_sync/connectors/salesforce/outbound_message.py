"""Webhooks of Salesforce: outbound messages of workflow rules and flows, SOAP over HTTP.

Source: "Outbound Messaging" of the SOAP API guide. They are not signed. What can be checked is that a message names
our organisation; so the route that receives them must carry a secret in its path, and a message is only ever a hint
to read the record. Messages come at least once, in any order; the notification's id tells doubles apart.
"""

from collections.abc import Callable
from datetime import datetime
from xml.parsers import expat

from crm_sync.connectors.crm import Hint
from crm_sync.connectors.salesforce import values
from crm_sync.core.errors import CrmError, ErrorClass

_MESSAGE = "http://soap.sforce.com/2005/09/outbound"
_OBJECT = "urn:sobject.enterprise.soap.sforce.com", "urn:sobject.partner.soap.sforce.com"
_TYPE = "http://www.w3.org/2001/XMLSchema-instance type"
_LARGEST = 10_000_000  # bytes; a message holds a hundred records at most
_STAMPS = ("SystemModstamp", "LastModifiedDate")


def parse(body: bytes, organisation: str | None, now: Callable[[], datetime]) -> list[Hint]:
    """The hints of a message.

    organisation: the id that the message must name (None: not known, anything goes). now: taken for the time of
    records that do not tell theirs.

    Raises CrmError(AUTH) for another organisation's message, CrmError(VALIDATION) for what is no message.
    """
    if len(body) > _LARGEST:
        raise CrmError(ErrorClass.VALIDATION, "the message is too large for an outbound message")
    reader = _Reader()
    try:
        reader.read(body)
    except expat.ExpatError as error:
        text = f"the message is not XML (line {error.lineno})"
        raise CrmError(ErrorClass.VALIDATION, text) from None
    if not reader.is_message:
        raise CrmError(ErrorClass.VALIDATION, "the message is not a Salesforce outbound message")
    if organisation and values.full_id(reader.organisation) != values.full_id(organisation):
        raise CrmError(ErrorClass.AUTH, "the message is of another Salesforce organisation")
    return [_hint(found, now) for found in reader.notifications]


def _hint(found: dict[str, str], now: Callable[[], datetime]) -> Hint:
    if not found.get("event") or not found.get("type") or not values.is_id(found.get("Id", "")):
        raise CrmError(
            ErrorClass.VALIDATION, "a notification lacks its id, the object's type or the record's id"
        )
    stamp = next((found[name] for name in _STAMPS if name in found), None)
    try:
        at = datetime.fromisoformat(stamp) if stamp else now()
    except ValueError:
        at = now()
    return Hint(
        found["event"], found["type"], values.full_id(found["Id"]), "update", at if at.tzinfo else now()
    )


class _Reader:
    """Collects what hints need and nothing else: the message also holds a session id and values of the record.

    A document type is refused: with it entities could be declared that grow without end or name files.
    """

    def __init__(self) -> None:
        self.is_message = False
        self.organisation = ""
        self.notifications: list[dict[str, str]] = []
        self._path: list[str] = []
        self._text: list[str] = []

    def read(self, body: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        parser.Parse(body, True)

    def _refuse(self, *_: object) -> None:
        raise CrmError(ErrorClass.VALIDATION, "the message declares a document type, which is not allowed")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._text.clear()
        if name == f"{_MESSAGE} notifications":
            self.is_message = True
        elif name == f"{_MESSAGE} Notification":
            self.notifications.append({})
        elif name == f"{_MESSAGE} sObject" and self.notifications:
            self.notifications[-1]["type"] = attributes.get(_TYPE, "").rpartition(":")[2]

    def _end(self, name: str) -> None:
        self._path.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        parent = self._path[-1] if self._path else ""
        space, _, local = name.rpartition(" ")
        if name == f"{_MESSAGE} OrganizationId":
            self.organisation = text
        elif name == f"{_MESSAGE} Id" and parent == f"{_MESSAGE} Notification":
            self.notifications[-1]["event"] = text
        elif space in _OBJECT and parent == f"{_MESSAGE} sObject" and local in {"Id", *_STAMPS}:
            self.notifications[-1][local] = text
