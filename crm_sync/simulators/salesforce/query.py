"""The REST query resources: query, queryAll, continuation by locator, and a small search."""

import re
from typing import Any

from crm_sync.simulators.salesforce.cursors import Cursor
from crm_sync.simulators.salesforce.errors import ApiError
from crm_sync.simulators.salesforce.schema import TEXT, SObject
from crm_sync.simulators.salesforce.soql_ast import Path
from crm_sync.simulators.salesforce.soql_columns import Resolver
from crm_sync.simulators.salesforce.soql_shape import attributes
from crm_sync.simulators.salesforce.web import Answer, Call

MIN_PAGE = 200
FIND = re.compile(
    r"\s*FIND\s*\{(?P<term>(?:[^\\}]|\\.)*)\}\s*(?:IN\s+(?P<group>ALL|NAME|EMAIL|PHONE)\s+FIELDS\s*)?"
    r"(?:RETURNING\s+(?P<returning>.+?))?\s*(?:LIMIT\s+(?P<limit>\d+)\s*)?",
    re.IGNORECASE | re.DOTALL,
)
RETURNING = re.compile(r"(\w+)\s*(?:\(([^()]*)\))?\s*(?:,|$)")


def query(call: Call) -> Answer:
    """GET /query?q=: live rows only."""
    return _start(call, deleted_too=False)


def query_all(call: Call) -> Answer:
    """GET /queryAll?q=: rows in the recycle bin too."""
    return _start(call, deleted_too=True)


def more(call: Call) -> Answer:
    """GET /query/{locator}: the next page."""
    cursor, offset = call.org.cursors.find(call.parts["locator"], call.user.user_id)
    return Answer(body=_page(call, cursor, offset))


def _start(call: Call, *, deleted_too: bool) -> Answer:
    text = call.query.get("q")
    if text is None:
        if "explain" in call.query:
            return _explain(call)
        raise ApiError(400, "MALFORMED_QUERY", "SOQL statement must be provided with the q parameter")
    result = call.org.runner(call.user, deleted_too=deleted_too).run(text)
    page = _page_size(call)
    if result.total <= page or not result.rows:
        records = result.render(0, result.total, call.version)
        return Answer(body={"totalSize": result.total, "done": True, "records": records})
    cursor = call.org.cursors.open(call.user.user_id, result, page)
    return Answer(body=_page(call, cursor, 0))


def _page(call: Call, cursor: Cursor, offset: int) -> dict[str, Any]:
    result, end = cursor.result, offset + cursor.page
    done = end >= result.total
    body: dict[str, Any] = {"totalSize": result.total, "done": done}
    if not done:
        body["nextRecordsUrl"] = f"/services/data/v{call.version}/query/{cursor.id}-{end}"
    body["records"] = result.render(offset, end, call.version)
    return body


def _page_size(call: Call) -> int:
    most = call.org.settings.query_page
    found = re.search(r"batchSize\s*=\s*(\d+)", call.headers.get("sforce-query-options", ""), re.IGNORECASE)
    return min(most, max(MIN_PAGE, int(found[1]))) if found else most


def _explain(call: Call) -> Answer:
    result = call.org.runner(call.user).run(call.query["explain"])
    plan = {
        "cardinality": result.total,
        "fields": [],
        "leadingOperationType": "TableScan",
        "notes": [],
        "relativeCost": 1.0,
        "sobjectCardinality": len(call.org.store.tables[result.o.name].rows),
        "sobjectType": result.o.name,
    }
    return Answer(body={"plans": [plan], "sourceQuery": call.query["explain"]})


def search(call: Call) -> Answer:
    """GET /search?q=FIND {term} IN ALL FIELDS RETURNING Object(Field, ...): words anywhere in text fields."""
    found = FIND.fullmatch(call.query.get("q", ""))
    if found is None:
        raise ApiError(
            400, "MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces."
        )
    words = [w.lower().strip("*") for w in re.sub(r"\\(.)", r"\1", found["term"]).strip('"').split()]
    wanted = RETURNING.findall(found["returning"] or "Account, Contact, Lead, Opportunity")
    records: list[dict[str, Any]] = []
    for name, inside in wanted:
        resolver = Resolver(call.org.store, call.org.sessions.masks(call.user), call.query["q"])
        o = resolver.source(name)
        records += _matching(
            call, resolver, o, words, [f.strip() for f in inside.split(",") if f.strip()] or ["Id"]
        )
    limit = int(found["limit"]) if found["limit"] else 2000
    return Answer(body={"searchRecords": records[:limit]})


def _matching(
    call: Call, resolver: Resolver, o: SObject, words: list[str], names: list[str]
) -> list[dict[str, Any]]:
    table = call.org.store.tables[o.name]
    columns = [resolver.column(o, Path((name,))) for name in names]
    places = [o.position[f.name] for f in o.fields if f.type in TEXT and f.compute is None]
    deleted = o.position["IsDeleted"]
    records = []
    for row in table.rows.values():
        text = " ".join(row[place].lower() for place in places if row[place])
        if not row[deleted] and all(word in text for word in words):
            record = {"attributes": attributes(o.name, row[0], call.version)}
            records.append(record | {column.header: column.get(row) for column in columns})
    return records
