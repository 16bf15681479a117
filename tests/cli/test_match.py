"""`crm-sync match` on simulated accounts: the preview, then the doubles."""

import json
from collections.abc import Mapping

import pytest

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def test_a_preview_before_the_first_sync_writes_nothing_and_comes_true(
    place: Place, simulators: Mapping[str, Simulator]
) -> None:
    place.run("setup")
    said = place.run("match", "--preview", "--json")
    told = json.loads(said.out)
    assert said.status == (0 if told["clear"] else 1), said.err
    assert place.rows(
        "select (select count(*) from hub.contact) + (select count(*) from salesforce.contact)"
    ) == [(0,)]
    expected = {one["stream"]: one for one in told["streams"]}
    assert expected["salesforce/contact"]["link"] == {"email": 15}
    shown = place.run("match", "--preview").out
    assert "salesforce/contact will link by: email 15" in shown
    assert "Nothing was written" in shown

    assert place.run("sync").status == 0
    for name in ("salesforce", "hubspot"):
        one = expected[f"{name}/contact"]
        by = dict(
            place.rows(f"select split_part(linked_by, ':', 1), count(*) from {name}.contact_base group by 1")
        )
        assert by.get("match", 0) == sum(one["link"].values())
        assert by.get("create", 0) == one["create_hub"]
        assert by.get("push", 0) == one["create_crm"]


def test_doubles_are_listed_and_masked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    none = place.run("match", "--doubles")
    assert (none.status, none.out.strip()) == (0, "no doubles in what has been read")
    place.rows(
        "insert into hub.contact (last_name, email) select 'Lee', 'lee@x.example' from generate_series(1, 12)"
    )
    found = place.run("match", "--doubles", "salesforce/contact")
    assert found.status == 1
    assert "email=lee@x.example" in found.out
    assert "and 2 more" in found.out
    monkeypatch.setenv("CRM_SYNC_MASK_REVIEW", "on")
    assert "lee@x" not in place.run("match", "--doubles").out
    told = json.loads(place.run("match", "--doubles", "--json", "hubspot/contact").out)
    assert "lee@x" not in str(told)
    assert told["groups"][0]["records"] == 12


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "say what to show"),
        (["--preview", "--doubles"], "say what to show"),
        (["--doubles", "--no-read"], "--no-read goes with --preview"),
        (["--preview", "pipedrive"], "there is no connection 'pipedrive'"),
        (["--doubles", "hubspot/lead"], "hubspot has no entity 'lead'"),
    ],
)
def test_wrong_words_are_explained(place: Place, words: list[str], complaint: str) -> None:
    said = place.run("match", *words)
    assert said.status == 2
    assert complaint in said.err


def test_a_double_that_the_crm_refuses_names_the_hub_record_that_has_it(place: Place) -> None:
    """A person deleted in one CRM before the first sync was made anew from the hub, then restored: the hub has two, and
    of two with one e-mail address HubSpot takes one."""
    place.run("setup")
    assert place.run("sync", "hubspot/contact").status == 0
    ((first, crm_id, email),) = place.rows(
        "select b.hub_id, b.crm_id, h.email from hubspot.contact_base b join hub.contact h on h.id = b.hub_id"
        " where h.email is not null order by h.email limit 1"
    )
    place.rows(f"insert into hub.contact (last_name, email) values ('Again', '{email}')")
    place.run("sync", "hubspot/contact")
    ((code, reason),) = place.rows("select code, reason from sync.parked where side = 'hub'")
    assert code == "CONFLICT"
    assert f"record {crm_id} already has this" in str(reason)
    assert f"linked with the hub record {first}, so that this one and that are doubles" in str(reason)
    assert str(email) not in str(reason)
    found = json.loads(place.run("match", "--doubles", "hubspot/contact", "--json").out)["groups"]
    (group,) = [g for g in found if g["system"] == "hub"]
    assert {"hubspot": crm_id} in [member["links"] for member in group["members"]]


def test_a_person_decides_who_is_who(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place.folder / "connections" / "hubspot.yaml"
    similar = "\n    similar:\n      compare: {phone: 40, first_name + last_name: 60}\n"
    assert file.read_text().count("    match: email\n") == 1
    file.write_text(file.read_text().replace("    match: email\n", f"    match: email{similar}"))
    place.run("setup")
    none = place.run("match", "--review")
    assert (none.status, none.out.strip()) == (0, "no open match conflicts")
    assert place.run("sync", "hubspot/contact").status == 0
    # Forget one of them, and know somebody who is nearly the same.
    ((crm_id, hub_id),) = place.rows(
        "update hub.contact h set email = null, first_name = first_name || ' Maria' from hubspot.contact_base b"
        " where b.hub_id = h.id and h.id = (select id from hub.contact where phone is not null and length(first_name || last_name)"
        " between 12 and 18 order by id limit 1) returning b.crm_id, h.id"
    )
    place.rows(f"delete from hubspot.contact_base where crm_id = '{crm_id}'")
    place.rows(
        "insert into sync.mark (stream, by_hub, crm_id) select id, false, '"
        + str(crm_id)
        + "' from sync.stream"
        " where connection = 'hubspot' and entity = 'contact'"
    )
    place.rows("update hubspot.contact set hub_id = null")
    place.run("sync", "hubspot/contact", "--start-date", "2099-01-01")

    shown = place.run("match", "--review")
    assert shown.status == 1
    assert f"hubspot/contact {crm_id}" in shown.out
    (row,) = json.loads(place.run("match", "--review", "--json").out)
    assert [one["hub_id"] for one in row["candidates"]] == [str(hub_id)]
    assert "Maria" in row["candidates"][0]["values"]["first_name"]
    monkeypatch.setenv("CRM_SYNC_MASK_REVIEW", "on")
    assert "Maria" not in place.run("match", "--review").out + place.run("match", "--review", "--json").out

    number = str(row["id"])
    for words, complaint in [
        (["decide", number], "say who it is"),
        (["decide", number, "--new", "--link", str(hub_id)], "say who it is"),
        (["decide", "x", "--new"], "Give numbers from"),
        (["decide", "--new"], "Give numbers from"),
        (["decide", "999", "--new"], "not open, or not there: 999"),
        (["decide", number, "--link", "me"], "--link takes the id of a hub record"),
        (["decide", number, "--link", "00000000-0000-0000-0000-000000000000"], "hub.contact has no record"),
        (["--preview", "--new"], "--link and --new go with decide"),
        (["reopen", number], "nothing to withdraw"),
        (["reopen"], "Give numbers from"),
    ]:
        said = place.run("match", *words)
        assert (said.status, complaint in said.err) == (2, True), (words, said.err)
    assert place.run("match", "decide", number, "--new").status == 0
    assert place.run("match", "--review").out.strip() == "no open match conflicts"
    assert place.run("match", "reopen", number).status == 0
    assert place.run("match", "--review").status == 1
    assert place.run("match", "decide", number, "--link", str(hub_id)).status == 0
    place.run("sync", "hubspot/contact", "--start-date", "2099-01-01")
    ((by,),) = place.rows(f"select linked_by from hubspot.contact_base where crm_id = '{crm_id}'")
    assert str(by).startswith("match: decision of ")
    assert place.run("match", "--review").status == 0
