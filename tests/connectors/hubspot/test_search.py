"""The walk through a window loses nothing, whatever is edited meanwhile."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crm_sync.connectors.crm import Window
from crm_sync.connectors.hubspot import search
from crm_sync.connectors.hubspot.search import body, walk
from crm_sync.core.errors import CrmError, ErrorClass

START = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = "hs_lastmodifieddate"


class Index:
    """A search index in a dictionary: id -> milliseconds after START. `edit` runs after each query."""

    def __init__(self, stamps, edit=lambda _: None):
        self.stamps = dict(stamps)
        self.queries = 0
        self._edit = edit

    def fetch(self, filters: Sequence[search.Filter], sort: str):
        self.queries += 1
        tests = {"GTE": int.__ge__, "LT": int.__lt__, "GT": int.__gt__}
        base = round(START.timestamp() * 1000)
        found = []
        for crm_id, after in self.stamps.items():
            values = {STAMP: base + after, search.OBJECT_ID: crm_id}
            if all(tests[f["operator"]](values[f["propertyName"]], int(f["value"])) for f in filters):
                found.append((values[sort], values))
        found.sort(key=lambda pair: pair[0])
        page = [
            {"id": str(v[search.OBJECT_ID]), "properties": {STAMP: str(v[STAMP])}}
            for _, v in found[: search.PAGE]
        ]
        more = len(page) < len(found)
        self._edit(self)
        return search.Found(page, more)


def ids(pages):
    return [int(record["id"]) for page, _ in pages for record in page]


def window(start, end):
    return Window(
        None if start is None else START + timedelta(milliseconds=start),
        None if end is None else START + timedelta(milliseconds=end),
    )


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.integers(1, 10**12), st.integers(0, 12), max_size=30),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(0, 12)),
    st.one_of(st.none(), st.integers(0, 13)),
)
def test_every_record_of_a_window_comes_exactly_once(stamps, page, start, end):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "PAGE", page)
        index = Index(stamps)
        found = ids(walk(index.fetch, STAMP, window(start, end)))
    wanted = [i for i, at in stamps.items() if (start is None or at >= start) and (end is None or at < end)]
    assert sorted(found) == sorted(wanted)
    assert [stamps[i] for i in found] == sorted(stamps[i] for i in found)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.integers(1, 60), st.integers(0, 9), min_size=1, max_size=30),
    st.integers(1, 5),
    st.lists(st.integers(1, 60), max_size=40),
)
def test_an_edit_meanwhile_hides_no_other_record(stamps, page, edits):
    todo, clock = list(edits), [100]

    def edit(index):
        if todo and (crm_id := todo.pop()) in index.stamps:
            clock[0] += 1
            index.stamps[crm_id] = clock[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "PAGE", page)
        found = ids(walk(Index(stamps, edit).fetch, STAMP, window(0, 1000)))
    assert set(found) == set(stamps)


def test_more_records_of_one_moment_than_search_can_show():
    stamps = dict.fromkeys(range(1, 10_501), 5) | {20_000: 4, 30_000: 6}
    index = Index(stamps)
    assert sorted(ids(walk(index.fetch, STAMP, window(0, 10)))) == sorted(stamps)
    assert index.queries < 60


def test_an_empty_window_asks_nothing():
    index = Index({1: 1})
    assert list(walk(index.fetch, STAMP, window(3, 3))) == []
    assert index.queries == 0


def test_a_result_without_a_time_is_an_error():
    def fetch(_filters, _sort):
        return search.Found([{"id": str(n), "properties": {}} for n in range(search.PAGE)], more=True)

    with pytest.raises(CrmError) as caught:
        list(walk(fetch, STAMP, window(0, None)))
    assert caught.value.error_class is ErrorClass.PERMANENT


def test_a_request_never_uses_an_offset():
    made = body([[{"propertyName": "a", "operator": "HAS_PROPERTY"}]], STAMP, ["email"])
    assert "after" not in made
    assert made["limit"] == 200
    assert json.loads(json.dumps(made)) == made
    assert "filterGroups" not in body([[]], STAMP, [])


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.integers(1, 10**6), st.integers(0, 9), max_size=30),
    st.integers(1, 6),
    st.integers(1, 7),
    st.one_of(st.none(), st.integers(0, 9)),
)
def test_walks_with_a_limit_go_on_behind_each_other(stamps, page, limit, start):
    """Where a walk stands survives as JSON; with nothing changing, every record comes exactly once."""
    index, found, place = Index(stamps), [], None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "PAGE", page)
        for _ in range(2 * len(stamps) + 2):
            some = list(walk(index.fetch, STAMP, window(start, None), place, limit))
            given_out = ids(some)
            assert len(given_out) <= limit
            found += given_out
            if len(given_out) < limit:
                break
            place = search.Place.from_json(json.loads(json.dumps(some[-1][1].as_json())))
        else:
            pytest.fail("the walk does not come to an end")
    assert sorted(found) == sorted(i for i, at in stamps.items() if start is None or at >= start)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.integers(1, 10**6), st.integers(0, 9), max_size=30),
    st.integers(1, 6),
    st.lists(st.sampled_from(["repeat", "shuffle", "fine"]), max_size=30),
    st.randoms(use_true_random=False),
)
@example({3: 0, 1: 0, 2: 0}, 1, ["repeat", "repeat"], random.Random(0))
def test_damaged_pages_lose_nothing(stamps, page, damages, dice):
    index, todo, before = Index(stamps), list(damages), []

    def fetch(filters, sort):
        found, damage = index.fetch(filters, sort), todo.pop() if todo else "fine"
        records = [*before, *found.records] if damage == "repeat" else list(found.records)
        before[:] = found.records
        if damage == "shuffle":
            dice.shuffle(records)
        return search.Found(records, found.more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "PAGE", page)
        assert set(ids(walk(fetch, STAMP, window(0, None)))) == set(stamps)
