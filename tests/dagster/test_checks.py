"""The review table: what the check shows, and what the job behind its links does."""

import pwd
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import pytest
import yaml

from crm_sync.assets import names
from crm_sync.assets.jobs import failures_of
from crm_sync.hub.store import Store
from tests.dagster.project import Project, plain
from tests.steps.world import CONNECTION

HUB, CRM = "+14155550002", "+14155550001"


def disputes(project: Project, count: int = 1, *, hub: str = HUB, crm: str = CRM) -> list[str]:
    """Contacts whose phone was changed on both sides; their CRM ids."""
    account = project.world.accounts["acme"]
    ids = [
        account.person_create(
            "Contact", {"LastName": f"P{n}", "Email": f"p{n}@x.example", "Phone": "+14155552671"}
        )
        for n in range(count)
    ]
    project.sync()
    project.world.wait(minutes=5)
    for crm_id in ids:
        account.person_edit("Contact", crm_id, {"Phone": crm})
    project.world.conn.execute("update hub.contact set phone = %s", [hub])
    project.world.wait(minutes=1)
    return ids


def resolve(project: Project, **config: str) -> dg.ExecuteInProcessResult:
    return project.run(names.RESOLVE, config={"ops": {"resolve": {"config": config}}}, partition=None)


def test_open_conflicts_warn_and_hold_nothing_up(project: Project) -> None:
    (crm_id,) = disputes(project)
    project.world.conn.execute("insert into hub.contact (last_name, email) values ('Roe', 'roe@x.example')")
    result = project.sync()
    check = project.check()
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.WARN, True)
    shown = plain(check.metadata)
    assert (shown["open"], shown["shown"]) == (1, "1 of 1")
    (row,) = shown["conflicts"]
    assert (row["record"], row["field"], row["hub value"], row["CRM value"]) == (crm_id, "phone", HUB, CRM)
    assert row["hub changed"].endswith(" UTC by hub")
    assert row["CRM changed"] == "2026-03-01 12:05:00 UTC in acme"
    assert row["suggestion"] in {"use hub", "use crm"}
    assert len(project.world.accounts["acme"].rows("Contact")) == 2  # outbound went on
    assert result.success


def test_the_table_stays_while_the_crm_is_down(project: Project) -> None:
    (crm_id,) = disputes(project)
    project.sync()
    before = project.check()
    project.world.crms["acme"].knobs.unauthorised = True
    assert not project.run(names.sync_job("acme")).success
    after = project.check()
    assert after.description == before.description
    (row,) = plain(after.metadata)["conflicts"]
    assert row["record"] == crm_id


def test_records_that_may_be_the_same_are_shown_with_the_commands_that_decide(make: Any) -> None:
    similar = "    match: [[email]]\n    similar:\n      compare: {phone: 40, first_name + last_name: 60}\n"
    text = CONNECTION.replace("    match: [[email]]\n", similar)
    project: Project = make(text=text, CRM_SYNC_REVIEW_ROWS="1", CRM_SYNC_MASK_REVIEW="on")
    for n, name in enumerate(("Rossi", "Bianchi")):
        project.world.conn.execute(
            "insert into hub.contact (first_name, last_name, phone) values ('Anna', %s, %s)",
            [name, f"+1415555267{n}"],
        )
        project.world.accounts["acme"].person_create(
            "Contact", {"FirstName": "Anna Maria", "LastName": name, "Phone": f"+1415555267{n}"}
        )
    project.sync()
    check = project.check()
    shown = plain(check.metadata)
    assert (check.passed, shown["open"], shown["match_conflicts"], shown["match_conflicts_shown"]) == (
        False, 0, 2, "1 of 2",
    )  # fmt: skip
    record, candidate = shown["who_is_who"]
    hub_id = project.world.one("select candidates -> 0 ->> 'hub_id' from review.match where id = 1")
    crm_id = project.world.one("select crm_id from review.match where id = 1")
    assert (record["record"], record["decide"]) == (f"acme/contact {crm_id}", "crm-sync match decide 1 --new")
    assert (candidate["record"], candidate["decide"]) == ("hub", f"crm-sync match decide 1 --link {hub_id}")
    score, _, alike = candidate["alike"].partition(": ")
    assert (alike, float(score.removesuffix("%")) > 85) == ("phone 100%, first_name + last_name 80%", True)
    assert (
        check.description
        == "2 records of which a person says who they are: the table `who_is_who` has the commands."
    )
    assert "Anna" not in str(shown)
    assert "first_name=A… (10 characters)" in record["values"]


def test_no_conflicts_pass(project: Project) -> None:
    project.sync()
    check = project.check()
    assert check.passed
    assert plain(check.metadata)["decide"] == "No open conflicts."
    assert check.description == "Nothing waits for a person."


def test_the_table_is_capped_and_masked_as_the_settings_say(make: Any) -> None:
    project: Project = make(CRM_SYNC_REVIEW_ROWS="3", CRM_SYNC_MASK_REVIEW="on")
    disputes(project, 5)
    project.sync()
    shown = plain(project.check().metadata)
    assert (shown["open"], shown["shown"], len(shown["conflicts"])) == (5, "3 of 5", 3)
    assert "415555" not in str(shown)
    assert shown["conflicts"][0]["hub value"] == "+… (12 characters)"


def test_each_row_leads_to_the_filled_launchpad_with_ids_and_times_only(project: Project) -> None:
    disputes(project)
    project.sync()
    shown = plain(project.check().metadata)
    links = re.findall(r"\[(use hub|use crm|skip)\]\((\S+)\)", shown["decide"])
    assert {name for name, _ in links} == {"use hub", "use crm", "skip"}
    for name, link in links:
        parts = urlsplit(link)
        assert parts.path == "/locations/crm_sync/jobs/resolve_conflicts/playground/setup"
        config = yaml.safe_load(parse_qs(parts.query)["config"][0])
        expected = {
            "ids": str(shown["conflicts"][0]["id"]),
            "as_of": project.world.one("select values_at from review.conflict").isoformat(),  # type: ignore[attr-defined]
            "decision": name.replace(" ", "_"),
            "note": "",
        }
        assert config == {"ops": {"resolve": {"config": expected}}}
        assert dg.validate_run_config(project.defs.resolve_job_def(names.RESOLVE), config)


@pytest.mark.parametrize(("decision", "expected"), [("use_hub", HUB), ("use_crm", CRM)])
def test_a_decision_settles_both_sides_and_refreshes_the_table(
    project: Project, decision: str, expected: str
) -> None:
    (crm_id,) = disputes(project)
    project.sync()
    (row,) = plain(project.check().metadata)["conflicts"]
    project.world.wait(minutes=1)
    result = resolve(project, ids=str(row["id"]), decision=decision, note="asked her")
    assert result.success, project.reasons(result)
    assert project.world.one("select phone from hub.contact") == expected
    assert project.world.accounts["acme"].row("Contact", crm_id).values["Phone"] == expected
    assert project.check().passed
    assert str(project.world.one("select decided_by from review.conflict")).endswith("(asked her)")


def _links(project: Project) -> dict[str, dict[str, str]]:
    """What the links of the table's first row fill in, by decision."""
    found = re.findall(r"\[(use hub|use crm|skip)\]\((\S+)\)", plain(project.check().metadata)["decide"])
    configs = {name: yaml.safe_load(parse_qs(urlsplit(link).query)["config"][0]) for name, link in found[:3]}
    return {name: config["ops"]["resolve"]["config"] for name, config in configs.items()}


@pytest.mark.parametrize("decision", ["use hub", "skip"])
def test_a_link_decides_about_the_values_that_its_table_shows(project: Project, decision: str) -> None:
    """An old page decided about a value that nobody had seen: the row keeps its number when a side changes again."""
    (crm_id,) = disputes(project)
    project.sync()
    old = _links(project)[decision]
    project.world.wait(minutes=5)
    project.world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155557777"})
    project.world.wait(minutes=1)
    project.sync()
    assert _links(project)[decision]["ids"] == old["ids"]
    result = resolve(project, **old)
    assert not result.success
    (said,) = failures_of(result)
    assert said.startswith(
        "resolve_conflicts: changed since you looked, so nothing was decided: conflict 1 has had other values since."
    )
    project.world.wait(minutes=1)
    project.sync()
    assert project.world.accounts["acme"].row("Contact", crm_id).values["Phone"] == "+14155557777"
    assert plain(project.check().metadata)["open"] == 1
    assert resolve(project, **_links(project)[decision]).success
    assert project.check().passed


def test_ids_that_are_not_open_any_more_are_told(project: Project) -> None:
    """The job succeeded with `selected: 0`."""
    disputes(project, 2)
    project.sync()
    assert resolve(project, ids="1", decision="use_hub").success
    result = resolve(project, ids="1, 999", decision="use_crm")
    (said,) = failures_of(result)
    assert "conflict 1 was applied; `crm-sync undo` takes writes back; conflict 999 is none there is" in said
    partly = resolve(project, ids="1, 2", decision="skip")
    assert partly.success
    assert project.world.one("select status from review.conflict where id = 2") == "skipped"
    assert "conflict 1 was applied" in str(partly.all_node_events)
    (said,) = failures_of(resolve(project, ids="2", decision="use_crm"))
    assert re.search(r"conflict 2 was skipped by \S+\. What is open", said)


def test_a_container_without_accounts_decides_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job failed with a KeyError: a uid without an account has no name."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    disputes(project)
    project.sync()
    result = resolve(project, entity="contact", decision="use_crm")
    assert result.success, project.reasons(result)
    assert project.world.one("select decided_by from review.conflict") == "unknown"


def test_a_decision_made_during_a_sync_is_applied_by_the_next(project: Project) -> None:
    disputes(project)
    project.sync()
    with Store(project.world.url) as other, other.exclusive("hub contact"):
        result = resolve(project, entity="contact", decision="use_crm")
    assert result.success
    assert project.world.one("select phone from hub.contact") == HUB
    assert project.check().passed  # it waits for no person any more
    project.world.wait(minutes=1)
    project.sync()
    assert project.world.one("select phone from hub.contact") == CRM


def test_only_the_selected_conflicts_are_decided(project: Project) -> None:
    disputes(project, 3)
    project.sync()
    rows = plain(project.check().metadata)["conflicts"]
    assert resolve(project, ids=f"{rows[0]['id']}, {rows[2]['id']}", decision="use_crm").success
    left = plain(project.check().metadata)
    assert [row["id"] for row in left["conflicts"]] == [rows[1]["id"]]
    assert resolve(project, connection="acme", entity="contact", field="phone", decision="use_hub").success
    assert project.check().passed


def test_skipped_conflicts_leave_the_table_until_a_side_changes_again(project: Project) -> None:
    (crm_id,) = disputes(project)
    project.sync()
    assert resolve(project, entity="contact", decision="skip").success
    shown = plain(project.check().metadata)
    assert (shown["open"], shown["skipped"]) == (0, 1)
    project.world.wait(minutes=5)
    project.world.accounts["acme"].person_edit("Contact", crm_id, {"Phone": "+14155550009"})
    project.world.wait(minutes=1)
    project.sync()
    assert plain(project.check().metadata)["open"] == 1


@pytest.mark.parametrize(
    ("policy", "expected"), [("hub_wins", HUB), ("crm_wins", CRM), ("prefer_crm_unless_blank", CRM)]
)
def test_a_policy_decides_each(project: Project, policy: str, expected: str) -> None:
    disputes(project)
    project.sync()
    assert resolve(project, connection="acme", decision="policy", policy=policy).success
    assert project.world.one("select phone from hub.contact") == expected


def test_nothing_selected_resolves_nothing(project: Project) -> None:
    disputes(project)
    project.sync()
    result = resolve(project, decision="use_hub")
    assert not result.success
    (said,) = failures_of(result)
    assert said == (
        "resolve_conflicts: say which conflicts: give ids, or at least one of connection, entity, field, age, newer or"
        " blank side"
    )
    assert not resolve(project, ids="1 or 2", decision="use_hub").success
    assert not resolve(project, connection="acne", decision="use_hub").success
    assert plain(project.check().metadata)["open"] == 1


def test_a_wrong_decision_is_refused_before_anything_runs(project: Project) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="use_hub"):
        resolve(project, ids="1", decision="both")


def test_the_check_runs_alone(project: Project) -> None:
    disputes(project)
    project.sync()
    project.world.conn.execute("update review.conflict set status = 'superseded'")
    result = project.run(names.RECHECK, partition=None)
    assert result.success, project.reasons(result)
    assert project.check().passed


def test_a_dry_run_shows_what_is_committed_and_counts_what_it_found(project: Project) -> None:
    disputes(project)
    project.sync(dry_run=True)
    shown = plain(project.check().metadata)
    assert (shown["open"], shown["conflicts"], shown["dry_run_disputes"]) == (0, [], 1)
    assert project.world.one("select count(*) from review.conflict") == 0


def test_hostile_values_stay_in_their_cell(project: Project) -> None:
    evil = "x` | [free](https://evil.example) <img src=x onerror=alert(1)>\n| **0** |\u202e\\"
    disputes(project)
    project.sync()
    project.world.conn.execute("update review.conflict set hub_value = %s, crm_id = %s", [evil, "a|b`c"])
    project.run(names.RECHECK, partition=None)
    shown = plain(project.check().metadata)
    lines = shown["decide"].splitlines()
    assert len(lines) == 3
    assert len(re.findall(r"(?<!\\)\|", lines[2])) == 8  # seven cells
    outside = re.sub(r"`[^`]*`", "", lines[2])
    assert "evil" not in outside
    assert "<" not in outside
    assert "evil" not in "".join(re.findall(r"\]\((\S+)\)", outside))
