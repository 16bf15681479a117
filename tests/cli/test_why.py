"""`crm-sync why`, on a hub that memory CRMs filled."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Place
from tests.steps.world import CONNECTION, World


@pytest.fixture
def told(empty: Place) -> Place:
    """A contact that came from acme, was changed by an application, and is disputed."""
    folder = Path("connections")
    folder.mkdir()
    (folder / "acme.yaml").write_text(CONNECTION)
    world = World(empty.url)
    acme = world.accounts["acme"]
    crm_id = acme.person_create("Contact", {"LastName": "[b]Lee\x1b[2J", "Email": "lee@x.example"})
    acme.person_create("Contact", {"LastName": "Li", "Email": "li@x.example"})
    world.sync()
    world.wait(minutes=5)
    acme.person_edit("Contact", crm_id, {"Phone": "+14155550001"})
    world.conn.execute("update hub.contact set phone = '+14155550002' where email = 'lee@x.example'")
    world.sync()
    world.close()
    return empty


def test_a_record_is_told_as_tables_and_as_json(told: Place) -> None:
    said = told.run("why", "contact", "lee@x.example")
    assert said.status == 0, said.err
    for words in ("in the hub", "linked: it came from there", "As it is now", "open conflict #", "What happened",
                  "hub +14155550002, acme +14155550001", "an application", "Runs", "blank on all sides"):  # fmt: skip
        assert words in said.out
    assert "\x1b[2J" not in said.out
    assert (
        "Why the hub says so: changed in the hub by an app"
        in told.run("why", "contact", "lee@x.example", "phone").out
    )
    story = json.loads(told.run("why", "contact", "lee@x.example", "phone", "--json").out)
    assert [f["field"] for f in story["fields"]] == ["phone"]
    assert story["fields"][0]["sides"][0]["state"] == "conflict"
    assert {line["field"] for line in story["lines"]} == {None, "phone"}
    assert [line["what"] for line in story["lines"]] == ["create", "update", "conflict"]
    assert story["runs"][0]["run_id"] == story["lines"][0]["run_id"]
    assert told.run("why", "contact", story["hub_id"], "phone", "--limit", "1").status == 0


def test_values_are_masked_where_reviews_are(told: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_SYNC_MASK_REVIEW", "on")
    for options in ([], ["--json"]):
        said = told.run("why", "contact", "lee@x.example", *options)
        assert said.status == 0, said.err
        assert "(12 characters)" in said.out
        assert not any(secret in said.out for secret in ("Lee", "lee@", "+1415"))


def test_what_is_not_there_or_not_one(told: Place) -> None:
    nobody = told.run("why", "contact", "nobody@x.example")
    assert nobody.status == 2
    assert nobody.err.strip() == "there is no contact with this hub id, id in acme or email"
    assert told.run("why", "people", "x").status == 2
    wrong = told.run("why", "contact", "lee@x.example", "fone")
    assert (wrong.status, "it has: first_name" in wrong.err) == (2, True)
    told.rows("insert into hub.contact (email) values ('Lee@x.example')")
    several = told.run("why", "contact", "lee@x.example")
    assert (several.status, "2 records are meant" in several.out) == (1, True)
    hits = json.loads(told.run("why", "contact", "lee@x.example", "--json").out)["several"]
    assert [hit["by"] for hit in hits] == ["email", "email"]
    assert told.run("why", "contact", hits[0]["id"]).status == 0
