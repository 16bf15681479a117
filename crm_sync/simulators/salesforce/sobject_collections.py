"""sObject Collections: up to 200 records in a call, one result per record, in order.

The answer is 200 even if every record failed, and an error of a record has a ``statusCode``, not an
``errorCode``. Source: REST API Developer Guide, "Use sObject Collections".
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from crm_sync.simulators.salesforce import ids
from crm_sync.simulators.salesforce.errors import ApiError, RecordError
from crm_sync.simulators.salesforce.schema import SObject
from crm_sync.simulators.salesforce.sobjects import chosen
from crm_sync.simulators.salesforce.soql_shape import attributes
from crm_sync.simulators.salesforce.values import TypeMismatchError
from crm_sync.simulators.salesforce.web import Answer, Call
from crm_sync.simulators.salesforce.writes import MultipleMatchesError, Writer, parser_error

MAX_RECORDS = 200
MAX_RETRIEVE = 2_000
MAX_CHUNKS = 10
Result = dict[str, Any]


def create(call: Call) -> Answer:
    """POST /composite/sobjects."""

    def one(writer: Writer, record: Mapping[str, Any]) -> Result:
        return _success(writer.create(_type(call, record), _fields(record)))

    return _each(call, one)


def update(call: Call) -> Answer:
    """PATCH /composite/sobjects; each record has its id."""
    repeated = _repeated(call, "id")

    def one(writer: Writer, record: Mapping[str, Any]) -> Result:
        record_id = _find(record, "id")
        if record_id is None:
            raise RecordError("MISSING_ARGUMENT", "Id not specified in an update call")
        if str(record_id).lower() in repeated:
            raise RecordError("DUPLICATE_VALUE", f"duplicate id specified: {record_id}", ["Id"])
        return _success(writer.update(_type(call, record), record_id, _fields(record)))

    return _each(call, one)


def upsert(call: Call) -> Answer:
    """PATCH /composite/sobjects/{object}/{field}; each record has its external id."""
    o = call.org.store.schema.find(call.parts["object"])
    key = o.find(call.parts["field"]) if o is not None else None
    if o is None or key is None or not (key.external_id or key.type == "id"):
        raise ApiError(
            404,
            "NOT_FOUND",
            f"Provided external ID field does not exist or is not accessible: {call.parts['field']}",
        )
    repeated = _repeated(call, key.name)

    def one(writer: Writer, record: Mapping[str, Any]) -> Result:
        value = _find(record, key.name)
        if value is not None and str(value).strip().lower() in repeated:
            raise RecordError("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", [key.name])
        fields = {n: v for n, v in _fields(record).items() if n.lower() != key.name.lower()}
        if key.type == "id" and value is None:
            return _success(writer.create(o, fields)) | {"created": True}
        try:
            record_id, created = writer.upsert(o, key, value, fields)
        except MultipleMatchesError as error:
            raise RecordError(
                "DUPLICATE_EXTERNAL_ID",
                f"{key.name}: more than one record found for external id field: [{', '.join(error.record_ids)}]",
            ) from error
        return _success(record_id) | {"created": created}

    return _each(call, one)


def delete(call: Call) -> Answer:
    """DELETE /composite/sobjects?ids=a,b&allOrNone=."""
    wanted = [part for part in call.query.get("ids", "").split(",") if part]
    _check_count(len(wanted), MAX_RECORDS)

    def one(writer: Writer, record: Mapping[str, Any]) -> Result:
        record_id = str(record["id"])
        o = call.org.store.schema.by_prefix(record_id)
        if o is None:
            raise RecordError("MALFORMED_ID", f"malformed id {record_id}", ["Id"])
        return _success(writer.delete(o, record_id))

    all_or_none = call.query.get("allOrNone", "false").lower() == "true"
    return _run(call, one, [{"id": record_id} for record_id in wanted], all_or_none=all_or_none)


def retrieve(call: Call) -> Answer:
    """POST /composite/sobjects/{object} {ids, fields}, or GET ?ids=&fields=: null for what is not there."""
    o = call.org.store.schema.find(call.parts["object"])
    if o is None:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    if call.method == "GET":
        wanted, names = call.query.get("ids", "").split(","), call.query.get("fields", "")
    else:
        body = call.mapping()
        wanted, names = list(body.get("ids") or []), ",".join(body.get("fields") or [])
    _check_count(len(wanted), MAX_RETRIEVE)
    if not names:
        raise ApiError(400, "INVALID_FIELD", "The fields parameter is required")
    columns = chosen(call, o, names)
    rows = call.org.store.tables[o.name].rows
    deleted = o.position["IsDeleted"]
    records: list[Result | None] = []
    for record_id in wanted:
        row = rows.get(ids.normalise(record_id) or "")
        if row is None or row[deleted]:
            records.append(None)
            continue
        record = {"attributes": attributes(o.name, row[0], call.version)}
        records.append(record | {name: column.get(row) for name, column in columns.items()})
    return Answer(body=records)


# Together


def _records(call: Call) -> list[Mapping[str, Any]]:
    records = call.mapping().get("records")
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise ApiError(400, "JSON_PARSER_ERROR", "The records parameter must be a list of records")
    _check_count(len(records), MAX_RECORDS)
    return records


def _each(call: Call, one: Callable[[Writer, Mapping[str, Any]], Result]) -> Answer:
    records = _records(call)
    kinds = [str((r.get("attributes") or {}).get("type", "")).lower() for r in records]
    chunks = 1 + sum(1 for before, after in pairwise(kinds) if before != after)
    if chunks > MAX_CHUNKS:
        raise ApiError(
            400,
            "INVALID_OPERATION",
            f"The request's records are of too many kinds in turn: {chunks} chunks; the limit is {MAX_CHUNKS}. Sort them by type.",
        )
    return _run(call, one, records, all_or_none=bool(call.mapping().get("allOrNone", False)))


def _run(
    call: Call,
    one: Callable[[Writer, Mapping[str, Any]], Result],
    records: Sequence[Mapping[str, Any]],
    *,
    all_or_none: bool,
) -> Answer:
    """Every record in one transaction; a failed one leaves no trace, or, if asked, none does."""
    writer = call.org.writer(call)
    results: list[Result] = []
    with writer.transaction:
        for record in records:
            mark = writer.transaction.mark()
            try:
                results.append(one(writer, record))
            except RecordError as error:
                writer.transaction.rollback(mark)
                results.append(_failure(error))
            except TypeMismatchError as error:
                if call.org.settings.json_errors == "request":
                    raise parser_error(error) from error
                writer.transaction.rollback(mark)
                results.append(_failure(RecordError("JSON_PARSER_ERROR", str(error))))
            except ApiError as error:
                if call.org.settings.json_errors == "request":
                    raise
                writer.transaction.rollback(mark)
                results.append(_failure(RecordError(error.code, error.message)))
        if all_or_none and not all(result["success"] for result in results):
            writer.transaction.rollback()
            undone = RecordError(
                "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                "Record rolled back because not all records were valid and the request was using AllOrNone header",
            )
            results = [_failure(undone) if result["success"] else result for result in results]
    return Answer(body=results, delay=call.org.settings.transaction_seconds)


def _type(call: Call, record: Mapping[str, Any]) -> SObject:
    kind = (record.get("attributes") or {}).get("type")
    if not kind:
        raise ApiError(400, "INVALID_TYPE", "Must specify a type in the attributes of each record")
    o = call.org.store.schema.find(str(kind))
    if o is None:
        raise ApiError(400, "INVALID_TYPE", f"sObject type '{kind}' is not supported.")
    return o


def _fields(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name.lower() not in {"attributes", "id"}}


def _find(record: Mapping[str, Any], name: str) -> Any:
    return next((value for key, value in record.items() if key.lower() == name.lower()), None)


def _repeated(call: Call, name: str) -> set[str]:
    values = (_find(record, name) for record in _records(call))
    counts = Counter(str(v).strip().lower() for v in values if v is not None)
    return {value for value, times in counts.items() if times > 1}


def _check_count(number: int, limit: int) -> None:
    if number > limit:
        raise ApiError(
            400, "EXCEEDED_ID_LIMIT" if limit == MAX_RETRIEVE else "INVALID_OPERATION",
            f"record limit reached. cannot submit more than {limit} records in this call",
        )  # fmt: skip


def _success(record_id: str) -> Result:
    return {"id": record_id, "success": True, "errors": []}


def _failure(error: RecordError) -> Result:
    return {"success": False, "errors": [error.row()]}
