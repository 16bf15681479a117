"""The commands, from arguments to tables, on simulated accounts and a real Postgres."""

import json
from collections.abc import Mapping

import pytest

from crm_sync.simulators.serve import Simulator
from tests.cli.conftest import Place


def test_setup_then_check_then_sync_then_status(place: Place) -> None:
    missing = place.run("check", "hubspot")
    assert missing.status == 1
    assert "no field crm_sync_id for our ids; run `crm-sync setup`" in missing.out

    planned = place.run("setup", "--dry-run")
    assert planned.status == 0, planned.err
    assert "would create" in planned.out
    assert "hubspot: contacts" in place.run("setup").out
    assert "hubspot: nothing to do" in place.run("setup").out

    checked = place.run("check")
    assert checked.status == 0, checked.out
    assert "salesforce works" in checked.out
    assert "hubspot works" in checked.out

    dry = place.run("sync", "--dry-run")
    assert dry.status == 0, dry.err
    assert "Would be written" in dry.out
    assert place.rows("select count(*) from hub.contact") == [(0,)]

    synced = place.run("sync")
    assert synced.status == 0, synced.err
    assert "salesforce → mirror" in synced.out
    assert "hub → hubspot" in synced.out
    assert place.rows("select count(*) from hub.contact") == [(45,)]

    told = json.loads(place.run("status", "--json").out)
    linked = {row["stream"]: row["linked"] for row in told}
    assert linked["salesforce/contact"] == linked["hubspot/contact"] == 45
    assert all(row["watermark"] and row["last_status"] == "success" for row in told)
    assert "hubspot/contact" in place.run("status").out
    assert [row["waiting"] for row in told] == [0] * 6
    # A company that one CRM never got keeps its people waiting there.
    place.rows("delete from salesforce.company_base where hub_id = (select company from hub.contact c join"
               " salesforce.contact_base b on b.hub_id = c.id where company is not null limit 1)")  # fmt: skip
    place.rows("update salesforce.contact_base set company_agreed = false")
    after = {row["stream"]: row["waiting"] for row in json.loads(place.run("status", "--json").out)}
    assert after["salesforce/contact"] > 0
    assert after["hubspot/contact"] == 0
    assert "waiting: salesforce/contact: " in place.run("status").out


def test_a_sync_of_one_stream_touches_no_other(place: Place) -> None:
    place.run("setup")
    assert place.run("sync", "salesforce/company").status == 0
    assert place.rows("select distinct crm_source, entity from sync.history order by 1, 2") == [
        ("hubspot", "company"),  # the hub looks at a company of every connection
        ("salesforce", "company"),
    ]


def test_conflicts_are_listed_and_settled(place: Place, simulators: Mapping[str, Simulator]) -> None:
    place.run("setup")
    assert place.run("sync").status == 0
    assert place.run("conflicts", "list").out.strip() == "no open conflicts"
    # Somebody in the CRM and somebody in the hub typed different titles; we have read the CRM's.
    with_both = "from salesforce.contact_base b where b.hub_id = c.id"
    place.rows(f"update hub.contact c set title = 'Ours' where exists (select {with_both})")
    typed = [
        {"object": "Contact", "id": crm_id, "fields": {"Title": "Theirs"}}
        for (crm_id,) in place.rows("select crm_id from salesforce.contact_base")
    ]
    simulators["salesforce"].control("edit", {"edits": typed})
    place.rows("update salesforce.contact set title = 'Theirs', modified_at = now()")
    place.rows(
        "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, c.crm_id from salesforce.contact c"
        " cross join sync.stream s where s.connection = 'salesforce' and s.entity = 'contact'"
    )
    place.run("sync", "--start-date", "2099-01-01")

    listed = place.run("conflicts", "list", "--field", "title")
    assert listed.status == 0
    assert "Ours" in listed.out
    assert "Theirs" in listed.out
    rows = json.loads(place.run("conflicts", "list", "--json").out)
    assert {row["field"] for row in rows} == {"title"}
    first, second, *others = [str(row["id"]) for row in rows]

    done = place.run("conflicts", "resolve", first, "--use", "hub", "--yes")
    assert done.status == 0, done.err
    assert "decided: 1 of 1\n" in done.out
    assert place.run("conflicts", "resolve", second, "--use", "skip", "--yes").status == 0
    ended = dict(place.rows("select id, status from review.conflict"))
    assert ended[int(first)] == "applied"
    assert ended[int(second)] == "skipped"
    assert all(ended[int(other)] == "open" for other in others)

    again = place.run("conflicts", "resolve", first, "--use", "hub", "--yes")
    assert again.status == 2
    assert f"nothing was decided: conflict {first} was applied" in again.err


def test_values_that_change_behind_the_preview_are_not_decided(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run("setup")
    place.rows(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, hub_value, crm_value, suggestion, reason)"
        " select 'salesforce', 'contact', gen_random_uuid(), n, 'title', 'Ours', 'Theirs', 'use_crm', 'x'"
        " from generate_series(1, 3) n"
    )
    change = "update review.conflict set crm_value = 'Unseen', values_at = clock_timestamp() where id = {}"

    def agreed(*_words: object, **_more: object) -> bool:
        place.rows(change.format(1))  # a sync, while somebody looks at the question
        return True

    monkeypatch.setattr("typer.confirm", agreed)
    done = place.run("conflicts", "resolve", "1", "--use", "skip")
    assert done.status == 1
    assert "changed since you looked, so nothing was decided: conflict 1 has had other values" in done.err
    done = place.run("conflicts", "resolve", "1", "2", "--use", "skip")
    assert (done.status, "decided: 1 of 2\n" in done.out) == (1, True)
    assert "changed since they were shown, and not decided: 1" in done.err
    assert place.run("conflicts", "resolve", "--entity", "contact", "--use", "skip").status == 0
    assert dict(place.rows("select id, status from review.conflict")) == {
        1: "open",
        2: "skipped",
        3: "skipped",
    }
    # A script that has looked says what it saw.
    (row,) = json.loads(place.run("conflicts", "list", "--json").out)
    place.rows(change.format(1))
    words = ("conflicts", "resolve", "1", "--use", "skip", "--yes", "--as-of")
    late = place.run(*words, row["values_at"])
    assert (late.status, "nothing was decided: conflict 1 has had other values" in late.err) == (2, True)
    assert "as of: a time such as" in place.run(*words, "lately").err
    (row,) = json.loads(place.run("conflicts", "list", "--json").out)
    assert place.run(*words, row["values_at"]).status == 0
    assert place.run("conflicts", "list").out.strip() == "no open conflicts"


def test_a_rule_is_made_shown_used_and_ended(place: Place) -> None:
    place.run("setup")
    assert place.run("sync").status == 0
    # A person in the hub and one in the CRM typed different titles of many people; we have read the CRM's.
    with_both = "from salesforce.contact_base b where b.hub_id = c.id"
    place.rows(f"update hub.contact c set title = 'Chief' where exists (select {with_both})")
    place.rows("update salesforce.contact set title = 'Head', modified_at = now()")
    place.rows(
        "insert into sync.mark (stream, by_hub, crm_id) select s.id, false, c.crm_id from salesforce.contact c"
        " cross join sync.stream s where s.connection = 'salesforce' and s.entity = 'contact'"
    )
    place.run("sync", "--start-date", "2099-01-01")
    rows = json.loads(place.run("conflicts", "list", "--json").out)
    first, second = rows[0]["id"], rows[1]["id"]
    assert rows[0]["evidence"] == "hub field time, CRM record time"
    assert place.run("conflicts", "list", "--older-than", "1d").out.strip() == "no open conflicts"

    refused = place.run(
        "conflicts", "resolve", "--entity", "contact", "--use", "hub", "--only-when", "hub-blank"
    )
    assert refused.status == 2
    assert "give --always too" in refused.err
    assert place.run("conflicts", "resolve", str(second), "--use", "skip", "--yes").status == 0
    assert place.run("conflicts", "reopen", str(second)).out.strip() == f"conflict {second} is open again"
    assert "is open already" in place.run("conflicts", "reopen", str(second)).err

    done = place.run("conflicts", "resolve", str(first), "--use", "crm", "--always", "--yes")
    assert done.status == 0, done.err
    assert "1 conflict: the CRM's value (1)" in done.out
    assert "and from now on, for title of salesforce/contact: use_crm" in done.out
    assert f"{len(rows) - 1} more that are open now: the CRM's value ({len(rows) - 1})" in done.out
    assert f"decided: {len(rows)} of {len(rows)}\n" in done.out
    assert place.rows("select distinct title from hub.contact where title in ('Chief', 'Head')") == [
        ("Head",)
    ]
    applied = place.run("conflicts", "list", "--status", "applied", "--limit", "500").out
    assert "rule #1 by" in applied

    (rule,) = json.loads(place.run("conflicts", "rules", "--json").out)
    assert (rule["id"], rule["field"], rule["decision"], rule["from_conflict"]) == (
        1,
        "title",
        "use_crm",
        first,
    )
    assert "title" in place.run("conflicts", "rules").out
    assert place.run("conflicts", "rules", "--end", "1").status == 0
    assert place.run("conflicts", "rules").out.strip() == "no rules"
    assert "use_crm" in place.run("conflicts", "rules", "--ended").out
    again = place.run("conflicts", "rules", "--end", "1")
    assert (again.status, "no rule #1 in force" in again.err) == (2, True)


def test_masked_reviews_hide_people(place: Place, monkeypatch) -> None:
    place.run("setup")
    place.rows(
        "insert into review.conflict (connection, entity, hub_id, crm_id, field, hub_value, crm_value, suggestion, reason)"
        " values ('salesforce', 'contact', gen_random_uuid(), '003', 'phone', '+4930123456', '+4930654321', 'use_crm', 'x')"
    )
    assert "+4930123456" in place.run("conflicts", "list").out
    monkeypatch.setenv("CRM_SYNC_MASK_REVIEW", "on")
    assert "4930123456" not in place.run("conflicts", "list").out
    assert "4930123456" not in place.run("conflicts", "list", "--json").out


def test_schema_is_json(empty: Place) -> None:
    assert json.loads(empty.run("schema").out)["title"] == "crm_sync connection"
