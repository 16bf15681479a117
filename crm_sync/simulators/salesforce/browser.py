"""What people do in the browser, behind the API's back: edit, merge, convert leads.

The handlers of ``/_simulator/edit``, ``merge`` and ``convert``; the control surface's other handlers are in
control.py. A person's writes are one transaction, all or nothing, and not limited as an integration's are.
"""

from collections.abc import Mapping
from typing import Any

from crm_sync.simulators.salesforce.errors import ApiError, RecordError
from crm_sync.simulators.salesforce.org import Org
from crm_sync.simulators.salesforce.schema import SObject
from crm_sync.simulators.salesforce.store import Actor
from crm_sync.simulators.salesforce.transaction import Transaction
from crm_sync.simulators.salesforce.values import TypeMismatchError
from crm_sync.simulators.salesforce.web import Answer, Call
from crm_sync.simulators.salesforce.writes import Writer, writer

BROWSER = "com/salesforce/browser;client=SfdcApp"
DEFAULT_PERSON = "sam.sales@crm-sync.example"


def edit(call: Call) -> Answer:
    """Writes by a person in the browser: one transaction, all or nothing."""
    body = call.mapping()
    writer = _person(call.org, str(body.get("user", DEFAULT_PERSON)))
    written = []
    try:
        with writer.transaction:
            for entry in body.get("edits", [body]):
                written.append(_edit(call.org, writer, entry))
    except (RecordError, TypeMismatchError) as error:
        raise wrong(str(error)) from error
    return Answer(body={"ids": written, "stamp": writer.transaction.stamp})


def write(org: Org, entry: Mapping[str, Any]) -> str:
    """One write by a person, in a transaction of its own; the record's id. Raises RecordError."""
    writer = _person(org, DEFAULT_PERSON)
    with writer.transaction:
        return _edit(org, writer, entry)


def _edit(org: Org, writer: Writer, entry: Mapping[str, Any]) -> str:
    o = object_named(org, entry.get("object"))
    fields = entry.get("fields") or {}
    operation = entry.get("operation") or ("update" if entry.get("id") else "create")
    if operation == "create":
        return writer.create(o, fields)
    if operation == "update":
        return writer.update(o, entry.get("id"), fields)
    if operation in {"delete", "hard_delete"}:
        return writer.delete(o, entry.get("id"), hard=operation == "hard_delete")
    if operation == "undelete":
        return writer.undelete(o, entry.get("id"))
    raise wrong(f"unknown operation {operation!r}: create, update, delete, hard_delete, undelete")


def merge(call: Call) -> Answer:
    """The losers go into the recycle bin and say who won; what hung on them hangs on the winner."""
    body = call.mapping()
    o = object_named(call.org, body.get("object"))
    if not o.mergeable:
        raise wrong(f"{o.name} cannot be merged")
    writer = _person(call.org, str(body.get("user", DEFAULT_PERSON)))
    try:
        with writer.transaction:
            _, winner = writer.target(o, body.get("master"))
            for loser_id in body.get("losers", []):
                table, loser = writer.target(o, loser_id)
                if loser is winner:
                    raise wrong("a record cannot be merged into itself")
                _reparent(call.org, writer.transaction, o, loser[0], winner[0])
                writer.transaction.delete(table, loser, master=winner[0])
            writer.transaction.change(call.org.store.tables[o.name], winner, {})
    except RecordError as error:
        raise wrong(str(error)) from error
    return Answer(body={"id": winner[0], "stamp": writer.transaction.stamp})


def _reparent(org: Org, transaction: Transaction, o: SObject, loser: str, winner: str) -> None:
    for child, f in org.store.schema.children(o.name):
        if f.child_relationship is None:
            continue
        table = org.store.tables[child.name]
        for row in table.rows.pointing(f.name, loser):
            transaction.change(table, row, {f.name: winner})


def convert(call: Call) -> Answer:
    """Turn a lead into account, contact and opportunity (found by id, or made)."""
    body = call.mapping()
    org, store = call.org, call.org.store
    writer = _person(org, str(body.get("user", DEFAULT_PERSON)))
    lead_object = store.schema.objects["Lead"]
    try:
        with writer.transaction:
            table, lead = writer.target(lead_object, body.get("lead"))
            if table.get(lead, "IsConverted"):
                raise wrong("the lead is converted already")
            account = body.get("account") or writer.create(
                store.schema.objects["Account"],
                {"Name": table.get(lead, "Company"), "Phone": table.get(lead, "Phone")},
            )
            shared = ("FirstName", "LastName", "Email", "Phone", "MobilePhone", "Title")
            contact = body.get("contact") or writer.create(
                store.schema.objects["Contact"],
                {"AccountId": account} | {name: table.get(lead, name) for name in shared},
            )
            opportunity = body.get("opportunity")
            if opportunity is None:
                opportunity = writer.create(
                    store.schema.objects["Opportunity"],
                    {
                        "Name": f"{table.get(lead, 'Company')}-",
                        "AccountId": account,
                        "StageName": "Qualification",
                        "CloseDate": org.clock.today().isoformat(),
                    },
                )
            values = {
                "IsConverted": True,
                "ConvertedDate": org.clock.today().isoformat(),
                "ConvertedAccountId": account,
                "ConvertedContactId": contact,
                "ConvertedOpportunityId": opportunity,
                "Status": "Closed - Converted",
            }
            writer.transaction.change(table, lead, values)
    except RecordError as error:
        raise wrong(str(error)) from error
    return Answer(body={"lead": lead[0], "account": account, "contact": contact, "opportunity": opportunity})


def _person(org: Org, username: str) -> Writer:
    if username not in org.sessions.users:
        raise wrong(f"no user {username!r}; there are: {', '.join(org.sessions.users)}")
    actor = Actor(org.sessions.users[username], BROWSER)
    return writer(org.store, org.settings, actor, org.locks, hidden={}, person=True, plan=org.plan)


def object_named(org: Org, name: object) -> SObject:
    o = org.store.schema.find(str(name))
    if o is None:
        raise wrong(f"no object {name!r}; there are: {', '.join(org.store.schema.objects)}")
    return o


def wrong(message: str) -> ApiError:
    return ApiError(400, "SIMULATOR", message)
