"""What explains that a CRM does not list a linked record: never that it is gone alone, if nothing here knows it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from crm_sync.core.parity import Known, Record, What, Why, explain
from crm_sync.core.spec import StreamSpec

STREAM = StreamSpec("acme", "memory", "contact", "Contact", ())
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
LINKED = Record(
    crm_id="7", hub_id=UUID(int=7), seen=False, crm_deleted=False, merged_into=None, modified_at=None, mirrored=True,
    mirror_deleted=False, outside=False, mirror_at=SINCE - timedelta(days=1), in_hub=True, archived=False, marked=False, in_doubt=False,
    hub_deleted=False, kept_out=False, parked=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"mirrored": False, "mirror_at": None}, None),
        ({"mirror_deleted": True}, Why.DELETED),
        ({"mirror_deleted": True, "merged_into": "8"}, Why.MERGED),
        ({"merged_into": "8"}, None),
        ({"outside": True}, Why.FILTERED),
        ({"in_doubt": True}, Why.PENDING),
        ({"seen": True, "crm_deleted": True, "modified_at": SINCE + timedelta(hours=1)}, Why.PENDING),
        ({"seen": True, "crm_deleted": True, "modified_at": SINCE - timedelta(hours=1)}, None),
        ({"seen": True, "crm_deleted": True, "merged_into": "8", "modified_at": SINCE - timedelta(hours=1)}, None),
    ],
)  # fmt: skip
def test_a_record_that_is_not_listed(changes: dict[str, object], why: Why | None) -> None:
    (found,) = explain(STREAM, [replace(LINKED, **changes)], [], Known(SINCE))  # type: ignore[arg-type]
    assert (found.what, found.why) == (What.NO_CRM, why)


@pytest.mark.parametrize("outside", [False, True])
def test_a_record_that_only_a_look_up_by_id_shows_has_left_the_filter(outside: bool) -> None:
    record = replace(LINKED, seen=True, outside=outside)
    (found,) = explain(STREAM, [record], [], Known(SINCE, outside={"7"}))
    assert found.why is Why.FILTERED
    assert ("does not know" in found.detail) is not outside


def test_a_record_that_is_back_in_the_filter() -> None:
    back = replace(LINKED, seen=True, outside=True, modified_at=SINCE + timedelta(hours=1))
    assert [one.why for one in explain(STREAM, [back], [], Known(SINCE))] == [Why.PENDING]
    long_ago = replace(back, modified_at=SINCE - timedelta(hours=1))
    assert [one.why for one in explain(STREAM, [long_ago], [], Known(SINCE))] == [None]


def test_a_record_that_an_undo_took_out_of_the_hub() -> None:
    out = replace(LINKED, seen=True, hub_id=None, in_hub=False, kept_out=True)
    (found,) = explain(STREAM, [out], [], Known(SINCE))
    assert (found.what, found.explanation) == (What.NOT_IN_HUB, "filtered: an undo took it out of the hub")
    assert [one.why for one in explain(STREAM, [replace(out, marked=True)], [], Known(SINCE))] == [
        Why.PENDING
    ]
