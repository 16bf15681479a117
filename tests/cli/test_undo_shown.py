"""What `crm-sync undo` asks before it deletes from a CRM, and says afterwards."""

import pytest

from crm_sync.commands import console, undo_shown
from crm_sync.hub.undo_records import RecordTotal
from crm_sync.steps.undo_told import Applied, Planned


def _plan(*records: tuple[str, str, int]) -> Planned:
    totals = [RecordTotal("made", fate, about, "contact", "acme", n) for fate, about, n in records]
    return Planned(5, [], {}, [], totals)


def _said(capsys: pytest.CaptureFixture[str], planned: Planned, applied: Applied, after: Planned) -> str:
    undo_shown.applied("c365", planned, applied, after)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "width", 200)


def test_the_question_names_what_goes_with_a_record() -> None:
    asked = undo_shown.question(_plan(("undo", "", 2)))
    assert "what hangs on it there, also what is not mapped" in asked
    assert asked.endswith("\nDelete records from a CRM (2)?")


def test_whole_records_that_stayed_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    edited, refused = "modified since in acme", "acme refuses to delete it: not [you]"
    planned = _plan(("undo", "", 4), ("edited since", edited, 1))
    after = _plan(("done", "", 1), ("edited since", edited, 2), ("not undone", refused, 2))
    said = _said(capsys, planned, Applied(deleted_in_crms=1), after)
    assert "3 whole records of the plan stayed after all:\n" in said
    assert f"  {edited}: 1 (contact, acme)\n  {refused}: 2 (contact, acme)\n" in said


def test_what_was_deleted_in_a_crm_is_not_promised_back(capsys: pytest.CaptureFixture[str]) -> None:
    planned, after = _plan(("undo", "", 1)), _plan(("done", "", 1))
    said = _said(capsys, planned, Applied(deleted_in_crms=1), after)
    assert "comes back only from the CRM's recycle bin" in said
    assert "crm-sync undo c365" not in said
    assert "stayed" not in said
    said = _said(capsys, planned, Applied(deleted_in_crms=1, fields=2), after)
    assert said.endswith("to take the rest back: crm-sync undo c365\n")
    said = _said(capsys, _plan(), Applied(fields=2), _plan())
    assert said.endswith("to take this back: crm-sync undo c365\n")
