"""`crm-sync undo` on simulated accounts: complaints about what cannot be selected, the plan, the question, the work."""

import json
from collections.abc import Mapping

import pytest

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def test_a_run_is_shown_undone_and_the_undo_undone(
    place: Place, simulators: Mapping[str, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run("setup")
    assert place.run("sync").status == 0
    (mark,) = place.rows("select max(id) from sync.change")[0]
    rows = place.rows(
        "select h.id, b.crm_id, h.title from hub.contact h join salesforce.contact_base b on b.hub_id = h.id order by h.id limit 3"
    )
    typed = [{"object": "Contact", "id": crm_id, "fields": {"Title": "Undo me"}} for _, crm_id, _ in rows]
    simulators["salesforce"].control("edit", {"edits": typed})
    assert place.run("sync").status == 0
    assert place.rows("select count(*) from hub.contact where title = 'Undo me'") == [(3,)]
    ((run,),) = place.rows(f"select distinct run_id from sync.change where id > {mark}")
    run = str(run)
    edited = str(rows[0][0])
    place.rows(f"update hub.contact set title = 'Later' where id = '{edited}'")

    dry = place.run("undo", run[:8], "--dry-run")
    assert dry.status == 0, dry.err
    assert "Undo me" in dry.out
    assert "edited since in the hub by an application" in dry.out
    assert "values to be written: hub 2, " in dry.out
    assert place.rows("select count(*) from hub.contact where title = 'Undo me'") == [(2,)]

    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert "nothing was changed" in place.run("undo", run).err

    monkeypatch.setenv("CRM_SYNC_MASK_REVIEW", "on")
    told = place.run("undo", run, "--json", "--yes", "--by", "mina\x1b[31m")
    assert told.status == 1  # one of three stays
    document = json.loads(told.out)
    assert "Undo me" not in told.out
    assert document["applied"]["fields"] == 2
    assert document["applied"]["sent"]["salesforce/contact"]["updated"] == 2
    assert place.rows("select count(*) from hub.contact where title = 'Undo me'") == [(0,)]
    assert place.rows(
        f"select distinct reason from sync.change where side = 'hub' and run_id = '{document['run']}'"
    ) == [(f"undo of run {run} by mina [31m",)]
    dumped = simulators["salesforce"].control("records?object=Contact")["records"]
    titles = {record["Id"]: record["Title"] for record in dumped}
    assert [titles[str(crm_id)] for _, crm_id, _ in rows[1:]] == [title for *_, title in rows[1:]]
    monkeypatch.delenv("CRM_SYNC_MASK_REVIEW")

    again = place.run("undo", run, "--yes")
    assert "is back already" in again.out
    back = place.run("undo", document["run"], "--yes")
    assert back.status == 0, back.out + back.err
    assert "put back in the hub: 2 values" in back.out
    assert place.rows("select count(*) from hub.contact where title = 'Undo me'") == [(2,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say what to undo: the id of a run, or --since and a time"),
        (["nobody"], "there is no run 'nobody'; the last ones that wrote something: none yet"),
        (["--since", "yesterday"], "--since: 'yesterday' is no time"),
        (["--since", "2999-01-01"], "lies in the future; now it is"),
        (["--since", "2026-01-02", "--until", "2026-01-01"], "--until is not later than --since"),
        (
            ["--since", "2026-01-02", "--entity", "cat"],
            "there is no entity 'cat'; there are: company, contact",
        ),
        (["--since", "2026-01-02", "--field", "paw"], "there is no field 'paw' there; there are: "),
        (["--since", "2026-01-02", "--connection", "x"], "there is no connection 'x'; there are: "),
        (["--since", "2026-01-02", "--by", " \n"], "--by takes a name"),
    ],
)
def test_what_cannot_be_selected_is_said(place: Place, arguments: list[str], said: str) -> None:
    told = place.run("undo", *arguments)
    assert told.status == 2
    assert said in told.err


def test_what_is_not_taken_back_is_listed(place: Place) -> None:
    place.run("setup")
    assert place.run("sync").status == 0
    place.rows("insert into hub.company (name) values ('Made Here ' || gen_random_uuid())")
    assert place.run("sync").status == 0
    told = place.run("undo", "--since", "2020-01-01", "--dry-run")
    assert told.status == 0, told.err
    assert "Not undone" in told.out
    assert "records created in salesforce stay" in told.out
    assert "Whole records" in told.out
    assert "pull linked records apart (salesforce)" in told.out
    assert "delete records from the hub (hubspot)" in told.out
    document = json.loads(place.run("undo", "--since", "2020-01-01", "--dry-run", "--json").out)
    number = sum(left["number"] for left in document["not_undone"])
    assert len(document["not_undone_rows"]) == min(number, 100) > 0
    whole = [row["number"] for row in document["records"] if row["fate"] == "undo"]
    assert len(document["record_plan"]) == min(sum(whole), 100) > 0
    assert document["applied"] is None


def test_an_empty_selection_is_no_trouble(place: Place) -> None:
    told = place.run("undo", "--since", "2026-01-02T03:04")
    assert told.status == 0, told.err
    assert (
        "undo of what was written since 2026-01-02T03:04:00Z (a time without a zone is UTC): 0 rows in the journal"
        in told.out
    )
    assert "the sync wrote nothing there" in told.out
    assert json.loads(place.run("undo", "--since", "2026-01-02", "--json").out)["journal_rows"] == 0
