"""`crm-sync parked` and what `status` says of it, on simulated accounts, over HTTPS."""

import json
from collections.abc import Mapping

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def test_what_is_parked_is_listed_with_what_to_do_and_requeued(
    place: Place, simulators: Mapping[str, Simulator]
) -> None:
    assert place.run("sync", "salesforce").status == 0
    assert place.run("parked", "list").out.strip() == "nothing is parked"
    assert "parked, by who" not in place.run("status").out
    place.rows(
        "insert into hub.contact (last_name, email, title) values ('Long', 'long@x.example', repeat('x', 300))"
    )
    place.rows("insert into hub.contact (first_name, email) values ('Nameless', 'nameless@x.example')")
    assert place.run("sync", "salesforce").status == 0
    listed = place.run("parked", "list", "--connection", "salesforce")
    assert listed.status == 1
    assert "Shorten the value" in listed.out
    assert "data owner" in listed.out
    assert "xxx" not in listed.out
    told = json.loads(place.run("parked", "list", "--entity", "contact", "--json").out)
    assert {(group["code"], group["records"]) for group in told["groups"]} == {
        ("STRING_TOO_LONG", 1),
        ("REQUIRED_BY_MAPPING", 1),
    }
    (long,) = [one for one in told["parked"] if one["code"] == "STRING_TOO_LONG"]
    assert (long["field"], long["state"], long["attempts"]) == ("title", "parked", 1)
    assert place.run("parked", "list", "--owner", "CRM admin").status == 0

    status = place.run("status").out
    assert "parked, by who can mend it: data owner: 2" in status
    (contact,) = [
        s for s in json.loads(place.run("status", "--json").out) if s["stream"] == "salesforce/contact"
    ]
    assert (contact["parked"], contact["parked_by_owner"], contact["held"]) == (2, {"data owner": 2}, {})

    assert "say which" in place.run("parked", "requeue").err
    assert place.run("parked", "requeue", "--all", "--code", "X").status == 2
    assert "nothing is parked under 99999" in place.run("parked", "requeue", "99999").err
    assert "there is no owner" in place.run("parked", "list", "--owner", "me").err
    assert place.run("parked", "requeue", "--code", "NOTHING").out.strip() == "nothing is parked that matches"
    assert "1 record is queued" in place.run("parked", "requeue", str(long["id"])).out
    assert place.rows("select state from review.parked order by code") == [("parked",), ("queued",)]
    assert place.run("sync", "salesforce").status == 0
    assert place.rows("select distinct state, attempts from review.parked") == [("parked", 1)], "counted anew"
    assert "2 records are queued" in place.run("parked", "requeue", "--all").out


def test_status_names_what_is_held_back(place: Place, simulators: Mapping[str, Simulator]) -> None:
    assert place.run("sync", "salesforce").status == 0
    place.rows("update hub.contact set title = null")
    for file in (place.folder / "connections").glob("*.yaml"):
        file.write_text("guard: {blanks: 3}\n" + file.read_text())
    assert place.run("sync", "salesforce").status == 1
    (number,) = place.rows("select id from sync.hold")[0]
    said = place.run("status").out
    assert f"`crm-sync guard confirm {number}` lets it through" in said
    assert "would lose title" in said
    (contact,) = [
        s for s in json.loads(place.run("status", "--json").out) if s["stream"] == "salesforce/contact"
    ]
    assert list(contact["held"]) == [str(number)]
