"""Several requests in one: composite, batch, graph, tree.

Source: REST API Developer Guide, "Composite", "Batch", "Composite Graph", "sObject Tree".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from crm_sync.simulators.salesforce.errors import ApiError, RecordError
from crm_sync.simulators.salesforce.schema import SObject
from crm_sync.simulators.salesforce.values import TypeMismatchError
from crm_sync.simulators.salesforce.web import Answer, Call, split_url
from crm_sync.simulators.salesforce.writes import Writer

MAX_SUBREQUESTS = 25
MAX_QUERIES = 5
MAX_NODES = 500
MAX_GRAPHS = 75
MAX_TREE = 200
MAX_TREE_LEVELS = 5
REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)((?:\.\w+|\[[^\]]+\])*)\}")
Perform = Callable[[Call], Answer]
Document = dict[str, Any]


class Composites:
    """The composite resources; ``perform`` answers one subrequest (no charge, no gate)."""

    def __init__(self, perform: Perform) -> None:
        self.perform = perform

    def composite(self, call: Call) -> Answer:
        """POST /composite: in order, with references to earlier answers."""
        body = call.mapping()
        requests = _list(body, "compositeRequest")
        _limit(requests)
        all_or_none = bool(body.get("allOrNone", False))
        return Answer(body={"compositeResponse": self._together(call, requests, all_or_none=all_or_none)})

    def batch(self, call: Call) -> Answer:
        """POST /composite/batch: independent subrequests."""
        body = call.mapping()
        requests = _list(body, "batchRequests")
        if len(requests) > MAX_SUBREQUESTS:
            raise _too_many(MAX_SUBREQUESTS)
        results: list[Document] = []
        halt = False
        for request in requests:
            if halt:
                results.append({"statusCode": 412, "result": [_halted()]})
                continue
            answer = self._sub(call, request, request.get("richInput"))
            results.append({"statusCode": answer.status, "result": answer.body})
            halt = bool(body.get("haltOnError")) and answer.status >= 400
        return Answer(body={"hasErrors": any(r["statusCode"] >= 400 for r in results), "results": results})

    def graph(self, call: Call) -> Answer:
        """POST /composite/graph: each graph succeeds or fails as a whole."""
        graphs = _list(call.mapping(), "graphs")
        if len(graphs) > MAX_GRAPHS or sum(len(g.get("compositeRequest", [])) for g in graphs) > MAX_NODES:
            raise _too_many(MAX_NODES)
        answers = []
        for graph in graphs:
            responses = self._together(call, _list(graph, "compositeRequest"), all_or_none=True)
            answers.append(
                {
                    "graphId": graph.get("graphId"),
                    "graphResponse": {"compositeResponse": responses},
                    "isSuccessful": all(r["httpStatusCode"] < 400 for r in responses),
                }
            )
        return Answer(body={"graphs": answers})

    def _together(self, call: Call, requests: list[Document], *, all_or_none: bool) -> list[Document]:
        results: dict[str, Document] = {}
        undo: list[Writer] = []
        for request in requests:
            reference = str(request.get("referenceId") or "")
            if not re.fullmatch(r"[A-Za-z0-9_]+", reference) or reference in results:
                raise ApiError(
                    400,
                    "INVALID_INPUT",
                    f"Provided referenceId {reference!r} is missing, not valid, or used twice",
                )
            failed = [r for r in results.values() if r["httpStatusCode"] >= 400]
            if all_or_none and failed:
                results[reference] = _result(reference, Answer(400, [_halted()]))
                continue
            try:
                filled = _fill(request, results)
            except ApiError as error:
                results[reference] = _result(reference, Answer(error.status, error.body()))
                continue
            with call.org.remember_writers(undo):
                answer = self._sub(call, filled, filled.get("body"))
            results[reference] = _result(reference, answer)
        if all_or_none and any(r["httpStatusCode"] >= 400 for r in results.values()):
            for writer in reversed(undo):
                writer.transaction.rollback()
            for reference, result in results.items():
                if result["httpStatusCode"] < 400:
                    results[reference] = _result(reference, Answer(400, [_halted()]))
        return list(results.values())

    def _sub(self, call: Call, request: Mapping[str, Any], body: object) -> Answer:
        path, query = split_url(str(request.get("url", "")))
        if not path.startswith("/services/data/"):
            path = f"/services/data/{path.lstrip('/')}"
        headers = {str(k).lower(): str(v) for k, v in (request.get("httpHeaders") or {}).items()}
        inner = Call(
            org=call.org,
            method=str(request.get("method", "GET")).upper(),
            path=path,
            query=query,
            headers={**call.headers, **headers},
            body=orjson.dumps(body) if body is not None else b"",
            session=call.session,
        )
        return self.perform(inner)


def tree(call: Call) -> Answer:
    """POST /composite/tree/{object}: records with their children, all or nothing."""
    o = call.org.store.schema.find(call.parts["object"])
    if o is None:
        raise ApiError(404, "NOT_FOUND", "The requested resource does not exist")
    results: list[Document] = []
    errors: list[Document] = []
    writer = call.org.writer(call)

    def plant(kind: SObject, record: Mapping[str, Any], level: int, parent: Mapping[str, str]) -> None:
        reference = str((record.get("attributes") or {}).get("referenceId", ""))
        nested = {
            n: v for n, v in record.items() if isinstance(v, dict) and isinstance(v.get("records"), list)
        }
        own = {n: v for n, v in record.items() if n != "attributes" and n not in nested}
        if level > MAX_TREE_LEVELS or len(results) + len(errors) >= MAX_TREE:
            raise _too_many(MAX_TREE)
        try:
            record_id = writer.create(kind, {**own, **parent})
        except RecordError as error:
            errors.append({"referenceId": reference, "errors": [error.row()]})
            return
        except TypeMismatchError as error:
            errors.append(
                {"referenceId": reference, "errors": [RecordError("JSON_PARSER_ERROR", str(error)).row()]}
            )
            return
        results.append({"referenceId": reference, "id": record_id})
        for name, children in nested.items():
            found = [
                (child, f) for child, f in call.org.store.schema.children(kind.name)
                if (f.child_relationship or "").lower() == name.lower()
            ]  # fmt: skip
            if not found:
                raise ApiError(
                    400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}"
                )
            child, f = found[0]
            for inner in children["records"]:
                plant(child, inner, level + 1, {f.name: record_id})

    with writer.transaction:
        for record in _list(call.mapping(), "records"):
            plant(o, record, 1, {})
        if errors:
            writer.transaction.rollback()
    if errors:
        return Answer(400, {"hasErrors": True, "results": errors})
    return Answer(201, {"hasErrors": False, "results": results})


def _fill(value: Any, results: Mapping[str, Document]) -> Any:
    """Put earlier answers where ``@{reference.path}`` stands."""
    if isinstance(value, dict):
        return {key: _fill(inner, results) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, results) for inner in value]
    if not isinstance(value, str):
        return value
    whole = REFERENCE.fullmatch(value)
    if whole is not None:
        return _lookup(whole, results)
    return REFERENCE.sub(lambda found: str(_lookup(found, results)), value)


def _lookup(found: re.Match[str], results: Mapping[str, Document]) -> Any:
    wrong = ApiError(
        400,
        "PROCESSING_HALTED",
        f"Invalid reference specified. No value for {found[0][2:-1]} found in {found[1]}",
    )
    if found[1] not in results or results[found[1]]["httpStatusCode"] >= 400:
        raise wrong
    value = results[found[1]]["body"]
    for name, index in re.findall(r"\.(\w+)|\[([^\]]+)\]", found[2]):
        try:
            value = value[int(index)] if index else value[name]
        except (KeyError, IndexError, TypeError, ValueError):
            raise wrong from None
    return value


def _list(body: Mapping[str, Any], name: str) -> list[Document]:
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ApiError(400, "JSON_PARSER_ERROR", f"{name} must be a list")
    return value


def _limit(requests: list[Document]) -> None:
    reads = sum(
        1 for r in requests if re.search(r"/(query|queryAll|composite/sobjects)\b", str(r.get("url", "")))
    )
    if len(requests) > MAX_SUBREQUESTS:
        raise _too_many(MAX_SUBREQUESTS)
    if reads > MAX_QUERIES:
        raise _too_many(MAX_QUERIES)


def _too_many(limit: int) -> ApiError:
    return ApiError(400, "LIMIT_EXCEEDED", f"The request exceeds the limit of {limit}")


def _halted() -> Document:
    return {
        "errorCode": "PROCESSING_HALTED",
        "message": "The transaction was rolled back since another operation in the same transaction failed.",
    }


def _result(reference: str, answer: Answer) -> Document:
    headers = {k: v for k, v in answer.headers.items() if k == "Location"}
    return {
        "body": answer.body,
        "httpHeaders": headers,
        "httpStatusCode": answer.status,
        "referenceId": reference,
    }
