"""Single records: create, read, update, upsert, delete; and what was updated or deleted in a window.

Source: REST API Developer Guide, "sObject Rows", "sObject Rows by External ID", "sObject Get Deleted",
"sObject Get Updated".
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.clock import stamp
from crm_sync.simulators.salesforce.errors import ApiError, RecordError, not_found
from crm_sync.simulators.salesforce.schema import Field, Row, SObject
from crm_sync.simulators.salesforce.soql_ast import Path
from crm_sync.simulators.salesforce.soql_columns import Column, Resolver
from crm_sync.simulators.salesforce.soql_shape import attributes
from crm_sync.simulators.salesforce.store import RECYCLE_SECONDS
from crm_sync.simulators.salesforce.values import TypeMismatchError
from crm_sync.simulators.salesforce.web import Answer, Call
from crm_sync.simulators.salesforce.writes import MultipleMatchesError, parser_error

UPDATED_SECONDS = 30 * 86_400
MAX_IDS = 600_000
UPSERT_BODY_SINCE = 46.0


def sobject(call: Call) -> SObject:
    """The object of the call's path. Raises NOT_FOUND."""
    o = call.org.store.schema.find(call.parts["object"])
    if o is None:
        raise not_found()
    return o


def create(call: Call) -> Answer:
    """POST /sobjects/{object} (and /sobjects/{object}/Id)."""
    o = sobject(call)
    body = call.mapping()
    writer = call.org.writer(call)
    try:
        with writer.transaction:
            record_id = writer.create(o, body)
    except RecordError as error:
        raise error.single() from error
    except TypeMismatchError as error:
        raise parser_error(error) from error
    location = f"/services/data/v{call.version}/sobjects/{o.name}/{record_id}"
    return Answer(
        201, {"id": record_id, "success": True, "errors": []}, {"Location": location}, delay=_delay(call)
    )


def read(call: Call) -> Answer:
    """GET /sobjects/{object}/{id}?fields=A,B."""
    o = sobject(call)
    record_id = ids.normalise(call.parts["id"])
    row = call.org.store.tables[o.name].rows.get(record_id or "")
    if row is None or row[o.position["IsDeleted"]]:
        raise _no_record(call.parts["id"])
    return Answer(body=_record(call, o, row))


def read_by_key(call: Call) -> Answer:
    """GET /sobjects/{object}/{field}/{value}."""
    o = sobject(call)
    found = _by_key(call, o)
    if isinstance(found, Answer):
        return found
    return Answer(body=_record(call, o, call.org.store.tables[o.name].rows[found]))


def update(call: Call) -> Answer:
    """PATCH /sobjects/{object}/{id}."""
    o = sobject(call)
    body = call.mapping()
    if "id" in {name.lower() for name in body}:
        raise ApiError(400, "INVALID_FIELD", "The Id field should not be specified in the sobject data.", [])
    record_id = _existing(call, o)
    writer = call.org.writer(call)
    try:
        with writer.transaction:
            writer.update(o, record_id, body)
    except RecordError as error:
        raise error.single() from error
    except TypeMismatchError as error:
        raise parser_error(error) from error
    return Answer(204, delay=_delay(call))


def upsert(call: Call) -> Answer:
    """PATCH /sobjects/{object}/{field}/{value}: 201 created, 200 or 204 updated, 300 several."""
    o = sobject(call)
    key = _key(call, o)
    body = call.mapping()
    if key.name.lower() in {name.lower() for name in body}:
        raise ApiError(
            400,
            "INVALID_FIELD",
            f"The {key.name} field should not be specified in the sobject data.",
            [key.name],
        )
    value = call.parts["value"]
    if call.query.get("updateOnly", "").lower() == "true" and not _holders(call, o, key):
        raise not_found()
    writer = call.org.writer(call)
    try:
        with writer.transaction:
            record_id, created = writer.upsert(o, key, value, body)
    except RecordError as error:
        raise error.single() from error
    except TypeMismatchError as error:
        raise parser_error(error) from error
    except MultipleMatchesError as error:
        return _several(call, o, error.record_ids)
    answer: dict[str, Any] = {"id": record_id, "success": True, "errors": [], "created": created}
    if created:
        location = f"/services/data/v{call.version}/sobjects/{o.name}/{record_id}"
        return Answer(201, answer, {"Location": location}, delay=_delay(call))
    if float(call.version) >= UPSERT_BODY_SINCE:
        return Answer(200, answer, delay=_delay(call))
    return Answer(204, delay=_delay(call))


def delete(call: Call) -> Answer:
    """DELETE /sobjects/{object}/{id}."""
    o = sobject(call)
    return _delete(call, o, _existing(call, o))


def delete_by_key(call: Call) -> Answer:
    """DELETE /sobjects/{object}/{field}/{value}."""
    o = sobject(call)
    found = _by_key(call, o)
    if isinstance(found, Answer):
        return found
    return _delete(call, o, found)


def _delete(call: Call, o: SObject, record_id: str) -> Answer:
    writer = call.org.writer(call)
    try:
        with writer.transaction:
            writer.delete(o, record_id)
    except RecordError as error:
        raise error.single() from error
    return Answer(204, delay=_delay(call))


def deleted(call: Call) -> Answer:
    """GET /sobjects/{object}/deleted?start&end."""
    o = sobject(call)
    call.org.store.purge()
    start, end = _window(call, RECYCLE_SECONDS)
    table = call.org.store.tables[o.name]
    stamp_place, deleted_place = o.position["SystemModstamp"], o.position["IsDeleted"]
    found = [
        {"id": record_id, "deletedDate": at}
        for at, record_id in table.deleted
        if start <= at < end
        and (row := table.rows.get(record_id)) is not None
        and row[deleted_place]
        and row[stamp_place] == at
    ]
    _check_count(len(found))
    earliest = table.deleted[0][0] if table.deleted else call.org.clock.stamp(RECYCLE_SECONDS)
    return Answer(
        body={
            "deletedRecords": found,
            "earliestDateAvailable": f"{earliest[:17]}00.000+0000",
            "latestDateCovered": _covered(call, end),
        }
    )


def updated(call: Call) -> Answer:
    """GET /sobjects/{object}/updated?start&end."""
    o = sobject(call)
    start, end = _window(call, UPDATED_SECONDS)
    table = call.org.store.tables[o.name]
    found = [row[0] for row in table.rows.between(start, end, deleted_too=False)]
    _check_count(len(found))
    return Answer(body={"ids": found, "latestDateCovered": _covered(call, end)})


def _window(call: Call, reach: float) -> tuple[str, str]:
    """Start and end as stamps, their seconds cut off. Raises INVALID_REPLICATION_DATE."""
    moments = []
    for name in ("start", "end"):
        text = call.query.get(name, "").replace(" ", "+")
        try:
            moment = dt.datetime.fromisoformat(text)
        except ValueError:
            raise ApiError(400, "INVALID_FIELD", f"{name} is not a valid date: {text}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        moments.append(moment.timestamp() // 60 * 60)
    start, end = moments
    if end - start < 60:
        raise ApiError(
            400, "INVALID_REPLICATION_DATE", "endDate must be at least one minute greater than startDate"
        )
    if start < call.org.clock.now() - reach - 60:
        raise ApiError(
            400,
            "INVALID_REPLICATION_DATE",
            f"startDate before org replication enabled or more than {int(reach // 86_400)} days ago",
        )
    return stamp(start), stamp(end)


def _covered(call: Call, end: str) -> str:
    return min(end, stamp(call.org.clock.now() // 60 * 60))


def _check_count(number: int) -> None:
    if number > MAX_IDS:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", f"More than {MAX_IDS} ids; use a smaller window")


def _existing(call: Call, o: SObject) -> str:
    record_id = ids.normalise(call.parts["id"])
    row = call.org.store.tables[o.name].rows.get(record_id or "")
    if row is None:
        raise _no_record(call.parts["id"])
    if row[o.position["IsDeleted"]]:
        raise RecordError("ENTITY_IS_DELETED", "entity is deleted").single()
    return str(row[0])


def _no_record(text: str) -> ApiError:
    return ApiError(
        404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {text}"
    )


def _key(call: Call, o: SObject) -> Field:
    f = o.find(call.parts["field"])
    hidden = call.org.sessions.masks(call.user).get(o.name, frozenset())
    if f is None or not f.external_id or f.name.lower() in hidden:
        raise _no_record(call.parts["field"])
    return f


def _by_key(call: Call, o: SObject) -> str | Answer:
    """The record whose external id the call names, or the answer that there are several."""
    found = _holders(call, o, _key(call, o))
    if not found:
        raise not_found()
    return found[0] if len(found) == 1 else _several(call, o, found)


def _holders(call: Call, o: SObject, key: Field) -> list[str]:
    table = call.org.store.tables[o.name]
    return [
        i for i in table.holders(key.name, call.parts["value"]) if not table.rows[i][o.position["IsDeleted"]]
    ]


def _several(call: Call, o: SObject, found: list[str]) -> Answer:
    return Answer(300, [f"/services/data/v{call.version}/sobjects/{o.name}/{i}" for i in found])


def _record(call: Call, o: SObject, row: Row) -> dict[str, Any]:
    columns = chosen(call, o, call.query.get("fields"))
    return {"attributes": attributes(o.name, row[0], call.version)} | {
        name: c.get(row) for name, c in columns.items()
    }


def chosen(call: Call, o: SObject, names: str | None) -> Mapping[str, Column]:
    """The columns of a ``fields`` parameter, or all that the user may see."""
    resolver = Resolver(call.org.store, call.org.sessions.masks(call.user), names or "")
    wanted = [n.strip() for n in names.split(",")] if names else [f.name for f in resolver.visible(o)]
    columns = [resolver.column(o, Path((name,), 1)) for name in wanted if name]
    return {column.header: column for column in columns}


def _delay(call: Call) -> float:
    return call.org.settings.transaction_seconds
