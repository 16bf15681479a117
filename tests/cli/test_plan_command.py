"""`crm-sync plan` and `crm-sync apply` over simulated accounts: what is shown, written to a file, refused, and made."""

import json
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place

APPROVAL = "approval: {crm: required}\n"


def synced(place: Place) -> list[tuple[object, ...]]:
    """A synced place, with a push and a take to come; contacts that both CRMs have."""
    place.run("setup")
    assert place.run("sync").status == 0
    assert place.run("sync").status == 0
    return place.rows(
        "select h.id, s.crm_id from hub.contact h join salesforce.contact_base s on s.hub_id = h.id"
        " join hubspot.contact_base b on b.hub_id = h.id"
        " where not exists (select from review.conflict c where c.hub_id = h.id) order by h.id limit 3"
    )


def test_before_the_first_read_nothing_is_created_and_that_is_said(place: Place) -> None:
    place.run("setup")
    place.rows("insert into hub.company (name) values ('Waits'), ('Waits too')")
    note = "not created: hubspot/company was never read to its end; run crm-sync sync hubspot/company"
    told = place.run("plan", "--connection", "hubspot/company")
    assert (told.status, note in told.err, "nothing would be written" in told.out) == (0, True, True)
    told = place.run("sync", "hubspot/company", "--max-records", "1")
    assert (told.status, note in told.out) == (0, True), told.err
    assert note not in place.run("sync", "hubspot/company").out


def test_a_plan_is_shown_filed_and_applied_and_its_calls_are_as_told(
    place: Place, simulators: Mapping[str, Simulator]
) -> None:
    people = synced(place)
    simulators["salesforce"].control(
        "edit",
        {
            "edits": [
                {"object": "Contact", "id": people[0][1], "fields": {"Title": "=cmd|' /C calc'!A0\x1b[31m"}}
            ]
        },
    )
    place.rows(f"update hub.contact set title = 'Chief' where id in ('{people[1][0]}', '{people[2][0]}')")
    place.rows("insert into hub.contact (last_name, email) values ('Planned', 'planned@x.example')")
    told = place.run("plan", "--read", "--entity", "contact", "--out", "plan.jsonl", "--by", "ann")
    assert told.status == 0, told.err
    assert "\x1b" not in told.out
    assert "Chief" in told.out
    assert "to write exactly this: crm-sync apply " in told.out
    document = json.loads(place.run("plan", "--entity", "contact", "--json").out)
    number = str(document["plan"])
    assert f"plan {number}: " in told.out, "the same content is the same plan"

    path = place.folder / "plan.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + document["rows"] == 1 + len(document["shown"])
    assert all(char.isprintable() for line in lines for char in line)
    assert json.loads(lines[-1])["sha256"] == document["hash"] == json.loads(lines[0])["hash"]
    edited(place, path, lines)

    done = place.run("apply", "plan.jsonl", "--yes", "--json", "--by", "ann")
    assert done.status == 0, done.err + done.out
    outcome = json.loads(done.out)
    assert (outcome["written"], outcome["refused"], outcome["status"]) == (document["rows"], 0, "applied")
    made = {
        name: {f: n for f, n in calls.items() if f in document["calls"][name]}
        for name, calls in outcome["calls"].items()
    }
    assert made == document["calls"]
    titles = {
        r["Id"]: r["Title"] for r in simulators["salesforce"].control("records?object=Contact")["records"]
    }
    assert [titles[str(crm_id)] for _, crm_id in people[1:]] == ["Chief", "Chief"]
    journal = place.rows(
        f"select count(*) from sync.change where reason like '% (plan {number}, approved by ann)'"
    )
    assert journal[0][0]
    again = place.run("apply", number, "--json")
    assert (again.status, json.loads(again.out)["calls"]) == (0, {})
    assert place.rows(f"select count(*) from sync.change where reason like '%plan {number},%'") == journal
    why = place.run("why", "contact", str(people[1][0]), "title")
    assert f"plan {number}, approved by ann" in why.out
    assert "applied by ann" in place.run("plan", "list", "--all").out


def edited(place: Place, path: Path, lines: list[str]) -> None:
    """A file that somebody has changed is refused, and the first row that is not as it was is named."""
    row = json.loads(lines[2])
    row["row"]["new"] = "Mallory"
    for changed, said in (
        ([*lines[:2], json.dumps(row), *lines[3:]], "line 3: row 2 is not as it was written"),
        ([*lines[:2], *lines[3:]], "line 3: row 2 is not as it was written"),
        (lines[:-1], "rows are missing"),
        ([lines[0], "]"], "line 2: no JSON object"),
        (["{}"], "no plan that"),
    ):
        path.write_text("\n".join(changed) + "\n")
        told = place.run("apply", path.name, "--yes")
        assert told.status == 2
        assert said in told.err
    path.write_text("\n".join(lines) + "\n")


def test_writes_that_wait_for_approval(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    people = synced(place)
    file = place.folder / "connections" / "salesforce.yaml"
    file.write_text(APPROVAL + file.read_text())
    place.rows(f"update hub.contact set title = 'Waits' where id = '{people[0][0]}'")
    assert place.run("sync", "salesforce").status == 0
    listed = place.run("plan", "list", "--json")
    (plan,) = json.loads(listed.out)
    assert (listed.status, plan["status"], plan["made_by"], plan["rows"]) == (1, "proposed", "sync", 1)
    number = str(plan["plan"])
    assert place.rows(
        "select count(*) from sync.change where side = 'crm' and new_value = 'Waits' and connection = 'salesforce'"
    ) == [(0,)]
    refused = place.run("apply", number, "--yes")
    assert refused.status == 2
    assert f"approve it first: crm-sync plan approve {number}" in refused.err
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert "nothing was changed" in place.run("plan", "approve", number).out
    assert (
        f"plan {number} is approved by ann"
        in place.run("plan", "approve", number, "--yes", "--by", "ann").out
    )
    assert place.run("sync", "salesforce").status == 0
    assert place.rows(
        "select reason from sync.change where side = 'crm' and new_value = 'Waits' and connection = 'salesforce'"
    ) == [(f"changed in the hub (plan {number}, approved by ann)",)]
    assert place.run("plan", "list").out.strip() == "no plan waits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "show", "9"], "there is no plan 9"),
        (["plan", "approve", "9", "--yes"], "there is no plan 9"),
        (["apply", "9"], "there is no plan 9"),
        (["apply", "nowhere.jsonl"], "nowhere.jsonl: there is no plan with this number, and no such file"),
        (["plan", "--entity", "cat"], "there is no entity 'cat'"),
        (["plan", "--connection", "x"], "there is no connection 'x'"),
        (["plan", "--by", " \n"], "--by takes a name"),
    ],
)
def test_what_does_not_exist_is_said(place: Place, arguments: list[str], said: str) -> None:
    told = place.run(*arguments)
    assert told.status == 2
    assert said in told.err
