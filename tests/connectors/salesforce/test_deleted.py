"""The log of deletions and its traps, with a server that answers as the vendor's guide says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from crm_sync.connectors.crm import CRM_ID, DELETED, MODIFIED_AT, Window
from crm_sync.connectors.http import Transport
from crm_sync.connectors.salesforce import deleted, errors
from crm_sync.connectors.salesforce.api import Api
from crm_sync.core.errors import CrmError
from tests.connectors.server import Answer, Asked
from tests.contract.kit import records

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
PURGED, BINNED = "003xx000004TmiQAAS", "003xx000004TmiRAAS"
STAMP = "2026-11-21T11:59:07.000+0000"
FIELDS = [{"name": "Id", "type": "id"}, {"name": "SystemModstamp", "type": "datetime"}]
MINUTE = timedelta(minutes=1)


class Organisation:
    """log: what was deleted; bin: what queryAll still shows; most: ids it gives at once."""

    def __init__(self, *, most: int = 10, reach: timedelta = timedelta(days=15)) -> None:
        self.log = {PURGED[:15]: STAMP, BINNED: STAMP}
        self.asked: list[tuple[datetime, datetime]] = []
        self.most = most
        self.reach = reach

    def __call__(self, asked: Asked) -> Answer:
        if asked.path.endswith("/describe"):
            return Answer(200, {"name": "Contact", "fields": FIELDS})
        if asked.path.endswith("/queryAll"):
            return Answer(200, {"totalSize": 1, "done": True, "records": [{"Id": BINNED}]})
        start, end = (datetime.fromisoformat(asked.query[name]) for name in ("start", "end"))
        self.asked.append((start, end))
        assert end - start >= MINUTE
        assert (start.second, end.second) == (0, 0)
        if start < NOW - self.reach:
            return refusal("INVALID_REPLICATION_DATE")
        found = [
            {"id": i, "deletedDate": at}
            for i, at in self.log.items()
            if start <= datetime.fromisoformat(at) < end
        ]
        if len(found) > self.most:
            return refusal("EXCEEDED_ID_LIMIT")
        return Answer(
            200, {"deletedRecords": found, "earliestDateAvailable": STAMP, "latestDateCovered": STAMP}
        )


def refusal(code: str) -> Answer:
    return Answer(400, [{"errorCode": code, "message": "no"}])


@pytest.fixture
def api(server, settings):
    transport = Transport("acme", server.url, settings, classify=errors.classify)
    yield Api(transport, "62.0")
    transport.close()


def told(api: Api, window: Window):
    return records(deleted.pages(api, api.describe("Contact"), window, NOW))


def test_what_query_all_still_shows_is_left_to_it(server, api):
    server.answer = Organisation()
    assert told(api, Window()) == [{CRM_ID: PURGED, MODIFIED_AT: "2026-11-21T11:59:07.000Z", DELETED: "true"}]


def test_windows_are_widened_to_whole_minutes_within_reach(server, api):
    server.answer = organisation = Organisation()
    told(api, Window(NOW - timedelta(seconds=20), NOW))
    told(api, Window())
    told(api, Window(NOW - timedelta(days=90), NOW + timedelta(days=1)))
    minute = NOW.replace(second=0)
    assert organisation.asked[0] == (minute, minute + MINUTE)
    for start, end in organisation.asked[1:]:
        assert timedelta(0) < start - (NOW - timedelta(days=15)) <= 2 * MINUTE
        assert end == minute + MINUTE


def test_what_is_out_of_reach_is_not_asked_for(server, api):
    server.answer = organisation = Organisation()
    assert told(api, Window(NOW - timedelta(days=90), NOW - timedelta(days=60))) == []
    assert organisation.asked == []


def test_a_log_that_was_purged_is_logged_and_not_an_error(server, api, caplog):
    server.answer = Organisation(reach=timedelta(days=1))
    assert told(api, Window()) == []
    assert "does not reach back" in caplog.text


def test_too_many_ids_are_asked_for_in_halves(server, api):
    server.answer = organisation = Organisation(most=1)
    organisation.log[BINNED] = "2026-11-20T00:00:00.000+0000"
    assert [record[CRM_ID] for record in told(api, Window())] == [PURGED]
    spans = sorted(organisation.asked)
    assert len(spans) > 2


def test_too_many_ids_of_one_minute_are_an_error(server, api):
    server.answer = Organisation(most=1)
    with pytest.raises(CrmError) as caught:
        told(api, Window())
    assert caught.value.code == "EXCEEDED_ID_LIMIT"


def test_an_object_without_a_log_has_none(server, api):
    server.answer = Organisation()
    described = api.describe("Contact")
    assert list(deleted.pages(api, replace(described, replicateable=False), Window(), NOW)) == []
