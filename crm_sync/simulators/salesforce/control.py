"""The control surface ``/_simulator/``: what tests, demo and benchmarks do behind the API's back.

No authentication (the simulator only listens on the loopback), no limits, not counted.

    GET  stats                        counts of requests, calls, bulk jobs, writes
    POST stats                        start the counters anew
    GET  settings, POST settings      the knobs (settings.py)
    POST edit      {object, operation?, id?, fields?, user?} or {edits: [...], user?}: as a person
    POST merge     {object, master, losers: [...]}
    POST convert   {lead, account?, contact?, opportunity?}
    POST clock     {advance: seconds}
    GET  records?object=Contact[&deleted=true]     every record, every field
    GET  history?id=003...            every write to a record; without id, of all that were written
    GET  events?since=1000            the change feed after a replay id (-2: all that are retained)
    POST gap       {object, ids?}     a gap event in the feed
    POST tokens    {username?, hidden?: {object: [fields]}}    another access token
    POST expire    {what: sessions | refresh_tokens | locators | results}
    GET  faults, POST faults          the fault plan in force; another one
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.salesforce import browser, ids, trouble
from crm_sync.simulators.salesforce.browser import object_named, wrong
from crm_sync.simulators.salesforce.store import Event
from crm_sync.simulators.salesforce.web import Answer, Call, Router


def router(plan: Plan) -> Router:
    """The routes below ``/_simulator``."""
    routes = Router()
    for method, name, handler in (
        ("GET", "stats", stats),
        ("POST", "stats", reset_stats),
        ("GET", "settings", settings),
        ("POST", "settings", change_settings),
        ("POST", "edit", browser.edit),
        ("POST", "merge", browser.merge),
        ("POST", "convert", browser.convert),
        ("POST", "clock", clock),
        ("GET", "records", records),
        ("GET", "history", history),
        ("GET", "events", events),
        ("POST", "gap", gap),
        ("POST", "tokens", tokens),
        ("POST", "expire", expire),
        ("GET", "faults", lambda _call: Answer(body=plan.report())),
        ("POST", "faults", _replace_plan(plan)),
    ):
        routes.add(method, f"/_simulator/{name}", handler)
    return routes


def _replace_plan(plan: Plan) -> Callable[[Call], Answer]:
    def replace(call: Call) -> Answer:
        try:
            plan.replace(call.json())
            call.org.settings.change(plan.settings)
        except ValueError as error:
            raise wrong(str(error)) from error
        return Answer(body=plan.report())

    return replace


def stats(call: Call) -> Answer:
    org = call.org
    return Answer(
        body=org.usage.document()
        | {
            "writes": org.store.writes,
            "records": {name: len(table.rows) for name, table in org.store.tables.items()},
            "replay_id": org.store.replay_id,
            "now": org.clock.stamp(),
        }
    )


def reset_stats(call: Call) -> Answer:
    call.org.usage.reset()
    call.org.store.writes = 0
    return stats(call)


def settings(call: Call) -> Answer:
    return Answer(body=asdict(call.org.settings))


def change_settings(call: Call) -> Answer:
    try:
        call.org.settings.change(call.mapping())
    except ValueError as error:
        raise wrong(str(error)) from error
    return settings(call)


def clock(call: Call) -> Answer:
    call.org.clock.advance(float(call.mapping().get("advance", 0)))
    call.org.store.purge()
    return Answer(body={"now": call.org.clock.stamp()})


def records(call: Call) -> Answer:
    o = object_named(call.org, call.query.get("object"))
    table = call.org.store.tables[o.name]
    with_deleted = call.query.get("deleted", "").lower() == "true"
    place = o.position["IsDeleted"]
    found = [
        {f.name: table.get(row, f.name) for f in o.fields}
        for row in table.rows.values()
        if with_deleted or not row[place]
    ]
    return Answer(body={"records": found})


def history(call: Call) -> Answer:
    trails = call.org.store.history
    wanted = call.query.get("id")
    if wanted is not None:
        record_id = ids.normalise(wanted) or ""
        trails = {record_id: trails.get(record_id, [])}
    return Answer(
        body={record_id: [asdict(change) for change in trail] for record_id, trail in trails.items()}
    )


def events(call: Call) -> Answer:
    call.org.store.purge()
    feed = call.org.store.feed(int(call.query.get("since", "-2")))
    wanted = call.query.get("object")
    shown = [event_document(event) for event in feed if wanted in {None, event.object}]
    return Answer(body={"events": shown, "latest": call.org.store.replay_id})


def event_document(event: Event) -> dict[str, Any]:
    """An event as CometD delivers it."""
    return {
        "event": {"replayId": event.replay_id},
        "payload": {"ChangeEventHeader": event.header, **event.values},
    }


def gap(call: Call) -> Answer:
    """What the feed shows when the service could not produce the changes: a header, and nothing else."""
    body = call.mapping()
    o = object_named(call.org, body.get("object"))
    store = call.org.store
    store.replay_id += 1
    wanted = body.get("ids")
    header = {
        "entityName": o.name,
        "recordIds": wanted or [f"{o.prefix}*"],
        "changeType": "GAP_UPDATE" if wanted else "GAP_OVERFLOW",
        "changedFields": [],
        "changeOrigin": "",
        "transactionKey": "",
        "sequenceNumber": 1,
        "commitTimestamp": int(call.org.clock.now() * 1000),
        "commitUser": "",
        "commitNumber": 0,
    }
    store.events.append(Event(store.replay_id, call.org.clock.now(), o.name, header, {}))
    return Answer(body={"replayId": store.replay_id})


def tokens(call: Call) -> Answer:
    """Another access token; ``hidden`` fields do not exist for it."""
    body = call.mapping()
    username = str(body.get("username", call.org.account.username))
    if username not in call.org.sessions.users:
        raise wrong(f"no user {username!r}; there are: {', '.join(call.org.sessions.users)}")
    session = call.org.sessions.open(username, str(body.get("client", "test")))
    session.hidden = {
        object_named(call.org, name).name: frozenset(f.lower() for f in fields)
        for name, fields in (body.get("hidden") or {}).items()
    }
    return Answer(body={"access_token": session.token, "instance_url": call.org.base_url})


def expire(call: Call) -> Answer:
    try:
        number = trouble.expire(call.org, str(call.mapping().get("what")))
    except ValueError as error:
        raise wrong(str(error)) from error
    return Answer(body={"expired": number})
