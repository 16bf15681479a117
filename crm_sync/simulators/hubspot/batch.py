"""Batches of up to 100 records: create, read, update, upsert, archive (CRM objects API).

Without ``objectWriteTraceId`` one bad input refuses the whole batch; with one on every input each stands for itself and
the answer is 207 with ``errors``. Results come in any order.
"""

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from crm_sync.simulators.hubspot import writes
from crm_sync.simulators.hubspot.errors import ApiError, invalid
from crm_sync.simulators.hubspot.http import (
    Route,
    batch_answer,
    body_of,
    flag_of,
    inputs_of,
    no_content,
    source_of,
    store_of,
    version_of,
)
from crm_sync.simulators.hubspot.objects import links_in, properties_in
from crm_sync.simulators.hubspot.records import Record
from crm_sync.simulators.hubspot.schema import Kind
from crm_sync.simulators.hubspot.store import Store, Table
from crm_sync.simulators.hubspot.trouble import refuse
from crm_sync.simulators.hubspot.view import View, show_written

MAX_INPUTS = 100
Input = dict[str, Any]
Step = Callable[[Input], dict[str, Any]]


async def create(request: Request) -> Response:
    store, kind, inputs = await _start(request)
    source = source_of(request)

    def check(each: Input) -> None:
        links_in(store, kind, each)
        writes.check(store, store.tables[kind.name], properties_in(each), source, None)

    def write(each: Input) -> dict[str, Any]:
        record = writes.create(store, kind, properties_in(each), links_in(store, kind, each), source)
        return show_written(kind, record)

    _no_twins(store.tables[kind.name], inputs)
    return _run(request, inputs, check, write, status=201)


async def update(request: Request) -> Response:
    store, kind, inputs = await _start(request)
    source, table = source_of(request), store.tables[kind.name]
    found: list[tuple[Input, Record]] = []
    missing: list[Input] = []
    for each in inputs:
        record = store.look_up(table, _id(each), each.get("idProperty"))
        if record is None:
            missing.append(each)
        else:
            found.append((each, record))
    _no_duplicates([str(record.id) for _, record in found])
    records = {id(each): record for each, record in found}

    def check(each: Input) -> None:
        writes.check(store, table, properties_in(each), source, records[id(each)])

    def write(each: Input) -> dict[str, Any]:
        record = records[id(each)]
        names = writes.update(store, kind, record, properties_in(each), source)
        return show_written(kind, record, [*names, *properties_in(each)])

    _no_twins(table, [each for each, _ in found])
    return _run(
        request, [each for each, _ in found], check, write, status=200, errors=_missing(kind, missing)
    )


async def upsert(request: Request) -> Response:
    store, kind, inputs = await _start(request)
    source, table = source_of(request), store.tables[kind.name]
    _no_duplicates([f"{each.get('idProperty')}={_id(each).strip().lower()}" for each in inputs])

    def values(each: Input, record: Record | None) -> dict[str, Any]:
        properties = properties_in(each)
        name = each.get("idProperty")
        return {name: _id(each), **properties} if record is None and name else properties

    def look(each: Input) -> Record | None:
        name = each.get("idProperty")
        record = store.look_up(table, _id(each), name)
        if record is None and name in {None, "hs_object_id"}:
            raise ApiError(
                404,
                f"No {kind.caps} with the id {_id(each)}; idProperty must name a unique property to create one",
            )
        return record

    def check(each: Input) -> None:
        record = look(each)
        writes.check(store, table, values(each, record), source, record)

    def write(each: Input) -> dict[str, Any]:
        record = look(each)
        if record is None:
            return show_written(kind, writes.create(store, kind, values(each, None), [], source)) | {
                "new": True
            }
        names = writes.update(store, kind, record, properties_in(each), source)
        return show_written(kind, record, [*names, *properties_in(each)]) | {"new": False}

    return _run(request, inputs, check, write, status=200)


async def read(request: Request) -> Response:
    store = store_of(request)
    kind = store.kind(request.path_params["kind"])
    document = await body_of(request)
    inputs = inputs_of(document, MAX_INPUTS)
    archived = flag_of(request, "archived")
    view = View(store, kind, document.get("properties") or [], document.get("propertiesWithHistory") or [])
    table, name = store.tables[kind.name], document.get("idProperty")
    results: dict[int, Record] = {}
    missing: list[Input] = []
    for each in inputs:
        record = store.look_up(table, _id(each), name, archived=archived)
        if record is None:
            missing.append(each)
        else:
            results[record.id] = record
    return _finish(request, [view.show(record) for record in results.values()], _missing(kind, missing), 200)


async def archive(request: Request) -> Response:
    store, kind, inputs = await _start(request)
    for each in inputs:
        record = store.look_up(store.tables[kind.name], _id(each))
        if record is not None:
            writes.archive(store, kind, record, source_of(request))
    return no_content()


def routes() -> list[Route]:
    base = "/crm/v3/objects/{kind}/batch"
    steps = {"create": create, "read": read, "update": update, "upsert": upsert, "archive": archive}
    return [
        Route(f"{base}/{name}", step, methods=["POST"], name=f"batch.{name}") for name, step in steps.items()
    ]


async def _start(request: Request) -> tuple[Store, Kind, list[Input]]:
    store = store_of(request)
    kind = store.kind(request.path_params["kind"])
    return store, kind, inputs_of(await body_of(request), MAX_INPUTS)


def _run(
    request: Request,
    inputs: Sequence[Input],
    check: Callable[[Input], None],
    write: Step,
    *,
    status: int,
    errors: Sequence[dict[str, Any]] = (),
) -> Response:
    found = list(errors)
    store = store_of(request)
    kind = store.kind(request.path_params["kind"])
    if not _each_for_itself(request, inputs):
        for each in inputs:
            refuse(store, kind)
            check(each)
        return _finish(request, [_traced(each, write(each)) for each in inputs], found, status)
    results = []
    for each in inputs:
        try:
            refuse(store, kind)
            results.append(_traced(each, write(each)))
        except ApiError as error:
            found.append(error.in_batch({"objectWriteTraceId": [each["objectWriteTraceId"]]}))
    return _finish(request, results, found, status)


def _finish(
    request: Request, results: list[dict[str, Any]], errors: list[dict[str, Any]], status: int
) -> Response:
    store = store_of(request)
    shuffled = store.plan.happens("shuffled results", request.path_params["kind"]) is not None
    if store.settings.shuffle_batches or shuffled:
        store.dice.shuffle(results)
    return batch_answer(store, results, errors, status)


def _each_for_itself(request: Request, inputs: Sequence[Input]) -> bool:
    traces = [each.get("objectWriteTraceId") for each in inputs]
    if not all(traces):
        return False
    if len(set(traces)) < len(traces):
        raise invalid("objectWriteTraceId must be unique within a batch")
    return version_of(request) != "2026-09" or store_of(request).settings.partial_answers_on_2026_09


def _traced(each: Input, shown: dict[str, Any]) -> dict[str, Any]:
    trace = each.get("objectWriteTraceId")
    return shown | {"objectWriteTraceId": trace} if trace else shown


def _missing(kind: Kind, inputs: Sequence[Input]) -> list[dict[str, Any]]:
    """Errors for inputs that name no record: one for all of them, or one each where they can be told apart."""
    if not inputs:
        return []
    message = (
        f"Could not get some {kind.caps} objects, they may be deleted or not exist. Check that ids are valid."
    )
    traced = [each for each in inputs if each.get("objectWriteTraceId")]
    plain = [_id(each) for each in inputs if not each.get("objectWriteTraceId")]
    contexts = [{"ids": [_id(each)], "objectWriteTraceId": [each["objectWriteTraceId"]]} for each in traced]
    if plain:
        contexts.append({"ids": plain})
    return [ApiError(404, message).in_batch(context) for context in contexts]


def _no_duplicates(keys: Sequence[str]) -> None:
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise invalid(f"Duplicate IDs found in batch input: {twice}. IDs must be unique")


def _no_twins(table: Table, inputs: Sequence[Input]) -> None:
    """Two inputs without trace ids must not claim the same unique value."""
    for name in table.unique:
        claimed = [
            str(value).strip().lower()
            for each in inputs
            if not each.get("objectWriteTraceId") and (value := properties_in(each).get(name))
        ]
        if len(set(claimed)) < len(claimed):
            raise invalid(f"Duplicate values of {name} found in batch input. Values must be unique")


def _id(each: Input) -> str:
    return str(each.get("id", ""))
