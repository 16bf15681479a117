"""The fate of a field that is to be undone, reason by reason."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from crm_sync.core.spec import Direction, FieldSpec, FieldType, VendorField
from crm_sync.core.undo import Fate, Judged, Known, Place, Terms, Touched, Write, judge

NAME = FieldSpec("name", VendorField("Name", FieldType.STRING))
STAGE = FieldSpec(
    "stage", VendorField("Stage", FieldType.PICKLIST),
    to_crm={"lead": "New", "tour": "Met", "qualified": "Met"}, to_hub={"New": "lead", "Met": "tour"},
)  # fmt: skip
BOSS = FieldSpec("boss", VendorField("Boss", FieldType.REFERENCE), entity="contact")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)

TAKE = Touched(
    n=1, entity="contact", hub_id=UUID(int=1), field="name", first_side="hub", first_connection="acme",
    first_old="old", last_side="hub", last_connection="acme", last_new="new", hub_written=True, hub_new="new",
    interrupted=False, exists=True, hub_now="new", changed_at=AT, changed_by="hub",
)  # fmt: skip
PUSH = replace(TAKE, first_side="crm", last_side="crm", hub_written=False, hub_new=None)
PLACE = Place(
    connection="acme", spec=NAME, crm_id="1", gone=False, readable=True, in_doubt=False, agreed=True,
    hub_then="new", crm_then="new", crm_now="new", at=AT,
)  # fmt: skip


def fate(t: Touched, *places: Place) -> Judged:
    known = Known(
        hub={"name": NAME, "stage": STAGE, "boss": BOSS},
        specs={("acme", "name"): NAME, ("acme", "stage"): STAGE, ("acme", "boss"): BOSS},
        computed={"full_name"},
        as_crm=lambda _connection, _spec, value: {"h-1": "c-1"}.get(value),
    )
    return judge(t, places, known, Terms())


def test_a_take_and_a_push_go_back_everywhere() -> None:
    other = replace(PLACE, connection="beta")
    for touched in (TAKE, PUSH):
        judged = fate(touched, PLACE, other)
        assert (judged.fate, judged.old, judged.value) == (Fate.UNDO, "new", "old")
        assert judged.writes == [Write("acme", "new", "old"), Write("beta", "new", "old")]


def test_a_place_that_says_so_already_gets_nothing() -> None:
    assert fate(
        TAKE, PLACE, replace(PLACE, connection="beta", hub_then="old", crm_then="old", crm_now="old")
    ).writes == [Write("acme", "new", "old")]


@pytest.mark.parametrize(
    ("touched", "place", "kind", "about"),
    [
        (replace(TAKE, field="gone"), PLACE, Fate.LEFT, "the field is not mapped any more"),
        (replace(TAKE, field="full_name"), PLACE, Fate.FOLLOWS, "computed: follows the fields it is made of"),
        (replace(TAKE, exists=False, hub_now=None), PLACE, Fate.LEFT, "the hub record is gone"),
        (replace(TAKE, hub_now="old"), PLACE, Fate.ALREADY, ""),
        (replace(TAKE, hub_now=" old "), PLACE, Fate.ALREADY, ""),
        (replace(TAKE, interrupted=True), PLACE, Fate.EDITED, "changed in between by what is not selected"),
        (replace(TAKE, hub_now="mine"), PLACE, Fate.EDITED, "edited since in the hub"),
        (TAKE, replace(PLACE, crm_now="theirs"), Fate.EDITED, "edited since in acme"),
        (TAKE, replace(PLACE, crm_now=" new"), Fate.UNDO, ""),  # another spelling of the same
        (TAKE, replace(PLACE, agreed=False), Fate.LEFT, "not settled with acme yet: sync, then undo again"),
        (TAKE, replace(PLACE, in_doubt=True), Fate.LEFT, "a write to acme has no answer yet: sync, then undo again"),
        (TAKE, replace(PLACE, readable=False), Fate.LEFT, "acme does not let us read it now"),
        (TAKE, replace(PLACE, gone=True), Fate.UNDO, ""),
        (
            TAKE, replace(PLACE, spec=replace(NAME, direction=Direction.INBOUND)), Fate.LEFT,
            "inbound from acme: its value would come back with the next sync",
        ),
        (PUSH, replace(PLACE, hub_then="x"), Fate.EDITED, "edited since in the hub"),
        (PUSH, replace(PLACE, crm_then="x", crm_now="x"), Fate.EDITED, "edited since in acme"),
        (PUSH, replace(PLACE, gone=True), Fate.LEFT, "the record is gone from acme, takes no part there, or is not linked any more"),
        (replace(PUSH, first_connection="sold"), PLACE, Fate.LEFT, "sold does not map the field any more"),
    ],
)  # fmt: skip
def test_reasons(touched: Touched, place: Place, kind: Fate, about: str) -> None:
    judged = fate(touched, place)
    assert (judged.fate, judged.about) == (kind, about)


def test_what_is_back_already_and_did_not_reach_a_crm_yet_is_known() -> None:
    back = replace(TAKE, hub_now="old")
    assert fate(back, PLACE).writes == [Write("acme", "new", "old")]
    assert fate(back, replace(PLACE, hub_then="old", crm_then="old", crm_now="old")).writes == []


def test_who_edited_is_told() -> None:
    assert fate(replace(TAKE, hub_now="x")).detail == "by an application 2026-03-01 12:00:00 UTC"
    assert fate(replace(TAKE, hub_now="x", changed_by="beta")).detail == "by beta 2026-03-01 12:00:00 UTC"


def test_picklists() -> None:
    push = replace(PUSH, field="stage", first_old="New", last_new="Met", hub_now="qualified")
    met = replace(PLACE, spec=STAGE, hub_then="qualified", crm_then="Met", crm_now="Met")
    assert fate(push, met).value == "lead"
    assert fate(replace(push, hub_now="tour"), met).about == "edited since in the hub"
    # What had been Met before is Met still, though the hub's word for it could also be another.
    assert fate(replace(push, first_old="Met"), met).fate is Fate.ALREADY
    unknown = fate(replace(push, first_old="Won"), met)
    assert unknown.about == "the old value of acme has no meaning in the hub"
    take = replace(TAKE, field="stage", first_old="ours", hub_new="tour", hub_now="tour")
    assert fate(take, replace(met, hub_then="tour")).about == "acme cannot hold the old value"
    # Over there somebody chose another value that means the same here: an edit all the same.
    assert fate(replace(take, first_old="lead"), replace(met, crm_now="Seen")).about == "edited since in acme"


def test_references() -> None:
    take = replace(TAKE, field="boss", first_old="h-1", hub_new="h-2", hub_now="h-2")
    place = replace(PLACE, spec=BOSS, hub_then="h-2", crm_then="c-2", crm_now="c-2")
    assert fate(take, place).writes == [Write("acme", "c-2", "c-1")]
    assert fate(replace(take, first_old="h-9"), place).writes == [Write("acme", "c-2", None, waits=True)]
    push = replace(PUSH, field="boss", first_old="c-1", last_new="c-2", hub_now="h-2")
    assert fate(replace(push, first_as_hub="h-1"), place).value == "h-1"
    assert fate(push, place).about == "what it referred to in acme is not linked any more"
    assert fate(replace(push, first_old=None), place).value is None
