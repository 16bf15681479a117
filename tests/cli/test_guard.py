"""`crm-sync guard` on simulated accounts, over HTTPS."""

import json
from collections.abc import Mapping

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def test_what_is_held_back_is_listed_and_let_through(
    place: Place, simulators: Mapping[str, Simulator]
) -> None:
    place.run("setup")
    assert place.run("sync").status == 0
    assert place.run("guard", "list").out.strip() == "nothing is held back"

    linked = "select count(*) from salesforce.contact_base"
    ((before,),) = place.rows("select count(title) from salesforce.contact m where not deleted")
    place.rows("update hub.contact set title = null")
    for file in (place.folder / "connections").glob("*.yaml"):
        file.write_text("guard: {blanks: 3}\n" + file.read_text())
    preview = place.run("sync", "salesforce", "--dry-run")
    assert preview.status == 0
    assert "guard: this would be held back: " in preview.out
    assert place.run("guard", "list").status == 0  # a dry run holds nothing back

    said = place.run("sync", "salesforce")
    assert said.status == 1
    assert "salesforce/contact: held back, nothing was written" in said.err
    assert "would lose title (blanks: 3 may pass)" in said.err
    listed = place.run("guard", "list", "--connection", "salesforce")
    assert listed.status == 1
    assert "salesforce/contact" in listed.out
    (hold,) = json.loads(place.run("guard", "list", "--json").out)
    assert (hold["side"], hold["status"], hold["cause"]) == ("crm", "open", "limits")
    number = str(hold["id"])
    ((somebody,),) = place.rows("select id::text from hub.contact order by id limit 1")
    held = f"salesforce/contact: no sync goes on before hold #{number} is confirmed: {hold['sentence']}"
    assert held in place.run("why", "contact", str(somebody)).out
    assert json.loads(place.run("why", "contact", str(somebody), "--json").out)["held"] == [held]

    assert place.run("guard", "confirm", "99999").err.strip().startswith("there is no hold 99999")
    assert place.run("guard", "list", "--entity", "nothing").status == 2
    confirmed = place.run("guard", "confirm", number, "--by", "ann", "--yes")
    assert confirmed.status == 0
    assert "would lose title" in confirmed.out
    assert "confirmed by ann" in place.run("guard", "list").out
    twice = place.run("guard", "confirm", number, "--yes")
    assert twice.status == 2
    assert f"hold {number} is not open (any more): confirmed" in twice.err
    assert place.run("sync", "salesforce").status == 0
    assert place.run("guard", "list").out.strip() == "nothing is held back"
    assert "done by ann" in place.run("guard", "list", "--all").out
    assert before
    assert place.rows(linked)
    assert place.rows("select count(title) from salesforce.contact where not deleted") == [(0,)]
