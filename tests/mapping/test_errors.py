"""What is wrong in a connection file is told with file, line, key, reason and what is allowed."""

import re
from pathlib import Path

import pytest

from crm_sync.core.errors import ConfigError
from crm_sync.mapping.load import load, load_text, load_texts

GOOD = """\
kind: salesforce
environment: production
api_version: "62.0"
schedule: "*/5 * * * *"
auth:
  grant: refresh_token
  client_id: {env: CLIENT_ID}
  client_secret: {env: CLIENT_SECRET}
  refresh_token: {env: REFRESH_TOKEN}
entities:
  company:
    object: Account
    match: [website, name]
    fields:
      name: Name
      website: {field: Website, type: url}
  contact:
    object: Contact
    direction: two_way
    match: email
    policy: most_recent_wins
    fields:
      first_name: FirstName
      last_name: LastName
      email: {field: Email, type: email}
      phone: {field: Phone, type: phone, region: US}
      amount: {field: Amount__c, type: number, scale: 2}
      rating: {field: Rating__c, type: picklist, values: {hot: Hot, cold: Cold}, from_crm: {Warm: hot}}
      company: {field: AccountId, type: reference, entity: company}
"""


def problems(text, file="crm.yaml"):
    with pytest.raises(ConfigError) as caught:
        load_text(text, file)
    return [str(problem) for problem in caught.value.problems]


def changed(old, new):
    assert GOOD.count(old) == 1, f"{old!r} is there {GOOD.count(old)} times"
    return GOOD.replace(old, new)


def test_the_good_file_is_good():
    """All cases below start from a file without mistakes."""
    assert load_text(GOOD, "crm.yaml").entities == ("company", "contact")


LIMITS = 'api_version: "62.0"\nlimits:\n  reserve: 10%\n'
CASES = {
    "a reserve without %": ('api_version: "62.0"\n', LIMITS.replace("%", ""), 5, "limits.reserve", "percentage from 0% to 100%, such as 20%"),
    "a reserve of too much": ('api_version: "62.0"\n', LIMITS.replace("10", "101"), 5, "limits.reserve", "percentage from 0% to 100%"),
    "a limit of another kind": ('api_version: "62.0"\n', LIMITS.replace("reserve: 10%", "search: 4"), 4, "limits", "no limit search; allowed: burst, daily, jobs, requests, reserve"),
    "a limit of nothing": ('api_version: "62.0"\n', LIMITS.replace("reserve: 10%", "daily: 0"), 5, "limits.daily", "must be from 1 to 100000000"),
    "an unknown limit": ('api_version: "62.0"\n', LIMITS.replace("reserve: 10%", "dayly: 5"), 5, "limits.dayly", r"no such key.*did you mean daily\?"),
    "unknown kind": ("kind: salesforce", "kind: saleforce", 1, "kind", r"'saleforce' .*did you mean salesforce\?.*allowed: salesforce, hubspot, memory"),
    "kind missing": ("kind: salesforce\n", "", 1, "kind", r"is missing.*allowed: salesforce, hubspot, memory"),
    "unknown key": ("environment:", "enviroment:", 2, "enviroment", r"no such key.*did you mean environment\?.*allowed: .*api_version"),
    "unknown environment": ("environment: production", "environment: prod", 2, "environment", "allowed: production, sandbox"),
    "host and path": ("environment: production", "host: https://acme.my.salesforce.com/services", 2, "host", "scheme and host only"),
    "host without TLS": ("environment: production", "host: http://acme.my.salesforce.com", 2, "host", "https://"),
    "host is nonsense": ("environment: production", "host: 'https://[::1'", 2, "host", "must be an address"),
    "api version": ('"62.0"', "latest", 3, "api_version", 'such as "62.0"'),
    "schedule short": ('"*/5 * * * *"', '"*/5 * * *"', 4, "schedule", "five parts"),
    "schedule hour": ('"*/5 * * * *"', '"5 24 * * *"', 4, "schedule", "hour .* from 0 to 23"),
    "unknown grant": ("grant: refresh_token", "grant: password", 6, "auth.grant", "allowed: refresh_token, jwt_bearer, client_credentials, access_token"),
    "grant missing": ("  grant: refresh_token\n", "", 5, "auth.grant", "is missing; allowed: refresh_token"),
    "secret written": ("{env: CLIENT_SECRET}", "s3cr3t-value", 8, "auth.client_secret", r"must not stand in a connection file.*\{env: NAME"),
    "secret as a list": ("{env: CLIENT_SECRET}", "[s3cr3t-value]", 8, "auth.client_secret", "must not stand"),
    "secret variable name": ("{env: CLIENT_SECRET}", "{env: s3cr3t-value}", 8, "auth.client_secret", "letters, digits and _"),
    "secret reference unclosed": ("{env: CLIENT_SECRET}", '"${s3cr3t-value"', 8, "auth.client_secret", "must not stand"),
    "refresh token missing": ("  refresh_token: {env: REFRESH_TOKEN}\n", "", 5, "auth.refresh_token", "is missing: "),
    "client id a list": ("client_id: {env: CLIENT_ID}", "client_id: [a]", 7, "auth.client_id", "a text or {env"),
    "auth key": ("client_id:", "client:", 7, "auth.client", r"did you mean client_id\?.*allowed: grant, client_id, client_secret, refresh_token$"),
    "object missing": ("    object: Account\n", "", 11, "entities.company.object", "is missing: the CRM's object"),
    "object blank": ("object: Account", "object:", 12, "entities.company.object", "has no value"),
    "object strange": ("object: Account", 'object: "Account WHERE"', 12, "entities.company.object", "API name"),
    "match unknown": ("match: [website, name]", "match: [web_site, name]", 13, "entities.company.match[0]", r"did you mean website\?.*fields: name, website"),
    "match empty": ("match: [website, name]", "match: [[], name]", 13, "entities.company.match[0]", "at least one field"),
    "fields empty": ("    fields:\n      name: Name\n      website: {field: Website, type: url}\n", "    fields: {}\n", 14, "entities.company.fields", "must not be empty"),
    "field blank": ("name: Name\n      website", "name:\n      website", 15, "entities.company.fields.name", "has no value"),
    "unknown type": ("type: url", "type: uri", 16, "entities.company.fields.website.type", r"'uri'.*did you mean url\?.*allowed: string, email"),
    "unknown field key": ("{field: Website, type: url}", "{feild: Website, type: url}", 16, "entities.company.fields.website.feild", r"did you mean field\?"),
    "nowhere in the CRM": ("{field: Website, type: url}", "{type: url}", 16, "entities.company.fields.website", "where is the value"),
    "direction": ("direction: two_way", "direction: both", 19, "entities.contact.direction", "allowed: two_way, inbound, outbound"),
    "direction spelled otherwise": ("direction: two_way", "direction: Two-Way", 19, "entities.contact.direction", r"did you mean two_way\?"),
    "policy": ("policy: most_recent_wins", "policy: latest_wins", 21, "entities.contact.policy", "allowed: most_recent_wins, hub_wins, crm_wins, prefer_crm_unless_blank, manual"),
    "reserved field": ("first_name: FirstName", "crm_id: FirstName", 23, "entities.contact.fields.crm_id", "our own tables"),
    "field name": ("first_name: FirstName", "First Name: FirstName", 23, "entities.contact.fields.First Name", "for example first_name"),
    "field name too long": ("first_name: FirstName", f"{'f' * 49}: FirstName", 23, f"entities.contact.fields.{'f' * 49}", "at most 48"),
    "written twice": ("last_name: LastName", "last_name: FirstName", 23, "entities.contact.fields.first_name.field", "more than one"),
    "the hub id": ("last_name: LastName", "last_name: crm_sync_id__c", 24, "entities.contact.fields.last_name.field", "holds the hub id"),
    "entity without reference": ("{field: Email, type: email}", "{field: Email, type: email, entity: company}", 25, "entities.contact.fields.email.entity", "only a field of type reference"),
    "association": ("{field: Email, type: email}", "{association: companies, type: reference, entity: company}", 25, "entities.contact.fields.email.association", "has no associations"),
    "two sources": ("{field: Email, type: email}", '{field: Email, from: "{A}"}', 25, "entities.contact.fields.email", "field and from exclude"),
    "region of no phone": ("{field: Email, type: email}", "{field: Email, region: US}", 25, "entities.contact.fields.email.region", "only a field of type phone"),
    "region": ("region: US", "region: UK", 26, "entities.contact.fields.phone.region", r"GB \(not UK\)"),
    "yes is a text": ("region: US", "required: yes", 26, "entities.contact.fields.phone.required", "true or false"),
    "required inbound": ("region: US", "required: true, direction: inbound", 26, "entities.contact.fields.phone.required", "inbound"),
    "scale a word": ("scale: 2", "scale: two", 27, "entities.contact.fields.amount.scale", "whole number"),
    "scale quoted": ("scale: 2", 'scale: "2"', 27, "entities.contact.fields.amount.scale", "without quotes"),
    "scale negative": ("scale: 2", "scale: -2", 27, "entities.contact.fields.amount.scale", "from 0 to 18"),
    "scale of no number": ("type: number, scale: 2", "scale: 2", 27, "entities.contact.fields.amount.scale", "only a field of type number"),
    "map of no picklist": ("type: picklist, values", "values", 28, "entities.contact.fields.rating.values", "picklist or multipicklist"),
    "blank picklist value": ("{hot: Hot, cold: Cold}", "{hot: Hot, cold: ''}", 28, "entities.contact.fields.rating.values.cold", "blank"),
    "from_crm to nowhere": ("{Warm: hot}", "{Warm: hott}", 28, "entities.contact.fields.rating.from_crm.Warm", r"did you mean hot\?.*in values: hot, cold"),
    "from_crm alone": ("values: {hot: Hot, cold: Cold}, ", "", 28, "entities.contact.fields.rating.from_crm", "needs values"),
    "semicolon": ("picklist, values: {hot: Hot, cold: Cold}", "multipicklist, values: {hot: Hot, cold: 'C;d'}", 28, "entities.contact.fields.rating.values.cold", "cannot contain ;"),
    "reference nowhere": ("entity: company}", "entity: compny}", 29, "entities.contact.fields.company.entity", r"not mapped in this connection .*did you mean company\?.*allowed: company, contact"),
    "reference to what": (", entity: company}", "}", 29, "entities.contact.fields.company.entity", "is missing"),
}  # fmt: skip


TWICE = ("written twice", "auth key", "map of no picklist")
"""Cases with a second problem: both fields, the key that is now missing, both maps."""


@pytest.mark.parametrize("case", CASES)
def test_one_mistake_is_told_with_its_line(case):
    """Exactly one mistake: its file, line and key, and what is allowed."""
    old, new, line, field, message = CASES[case]
    found = problems(changed(old, new))
    if case in TWICE:
        assert len(found) == 2
        found = [one for one in found if f": {field}: " in one]
    assert len(found) == 1, found
    assert found[0].startswith(f"crm.yaml:{line}: {field}: "), found[0]
    assert re.search(message, found[0]), found[0]
    assert "s3cr3t-value" not in found[0]


EXTRA = {
    "computed of nothing": (
        '{computed: "{first_nam} x", field: X__c}',
        "computed",
        r"did you mean first_name\?",
    ),
    "computed braces": ('{computed: "{first_name", field: X__c}', "computed", "braces"),
    "computed format": ('{computed: "{first_name!r}", field: X__c}', "computed", "braces"),
    "computed to nowhere": ('{computed: "{first_name}"}', "", "Give one of"),
    "computed inbound": (
        '{computed: "{first_name}", field: X__c, direction: inbound}',
        "direction",
        "is outbound; remove",
    ),
    "computed of a reference": ('{computed: "{company}", field: X__c}', "computed", "makes no sense"),
    "computed number list": ('{computed: "{first_name}", field: X__c, type: picklist}', "type", "is a text"),
    "from outbound": ('{from: "{First} {Last}", direction: outbound}', "direction", "is inbound; remove"),
    "from nothing": ("{from: plain}", "from", "must name fields in braces"),
    "matched by computed": ('{computed: "{first_name}", field: X__c}', None, "is a computed field"),
}


@pytest.mark.parametrize("case", EXTRA)
def test_computed_fields(case):
    """Templates name fields that exist, and go one way only."""
    value, key, message = EXTRA[case]
    text = GOOD + f"      extra: {value}\n"
    if key is None:
        text = text.replace("match: email", "match: extra")
    path = (
        "entities.contact.match[0]"
        if key is None
        else ".".join(["entities.contact.fields.extra", *([key] if key else [])])
    )
    found = [one for one in problems(text) if f": {path}: " in one]
    assert len(found) == 1, problems(text)
    assert found[0].startswith("crm.yaml:20" if key is None else "crm.yaml:30")
    assert re.search(message, found[0])


def test_filters_take_the_right_number_of_values():
    """Comparing takes one value, in several, blank none."""
    filters = """\
    filter:
      - {field: A, operator: eq}
      - {field: A, operator: in, value: x}
      - {field: A, operator: is_blank, value: x}
      - {field: A, operator: like, value: x}
      - {operator: eq, value: x}
"""
    text = changed("    match: email\n", filters)
    wrong_shape = problems(text)
    assert wrong_shape == [
        (
            "crm.yaml:24: entities.contact.filter[3].operator: 'like' is not one of the allowed values; allowed: eq, neq, lt,"
            " lte, gt, gte, in, not_in, is_blank, is_not_blank"
        ),
        "crm.yaml:25: entities.contact.filter[4].field: is missing: the CRM's field",
    ]
    wrong_meaning = problems(
        "".join(text.splitlines(keepends=True)[:23] + text.splitlines(keepends=True)[25:])
    )
    assert [line.split(": ", 2)[:2] for line in wrong_meaning] == [
        ["crm.yaml:21", "entities.contact.filter[0]"],
        ["crm.yaml:22", "entities.contact.filter[1]"],
        ["crm.yaml:23", "entities.contact.filter[2]"],
    ]


def test_directions_that_contradict_each_other():
    """A field cannot send what the entity only receives; two_way is narrowed."""
    inbound = changed("direction: two_way", "direction: inbound")
    assert {f.direction for f in load_text(inbound).stream("connection", "contact").fields} == {"inbound"}
    text = inbound.replace("region: US", "direction: outbound")
    assert problems(text) == [
        "crm.yaml:26: entities.contact.fields.phone.direction: is outbound, but the entity is inbound; allowed: inbound"
    ]
    text = inbound + '      full: {computed: "{first_name}", field: X__c}\n'
    assert problems(text) == [
        "crm.yaml:30: entities.contact.fields.full.computed: is outbound, but the entity is inbound"
    ]


def test_everything_is_told_at_once():
    """Mistakes in several files and of every sort come in one error, sorted by file and line."""
    one = changed("environment: production", "environment: prod").replace("type: email", "type: mail")
    two = changed("kind: salesforce", "kind: hubspot\nname: Hub Spot")
    with pytest.raises(ConfigError) as caught:
        load_texts({"two.yaml": two, "one.yaml": one, "three.yaml": "a: [", "four.yaml": b"\xff\xfe"})
    told = [str(problem) for problem in caught.value.problems]
    assert [line.split(": ")[0] for line in told if line.startswith("one")] == ["one.yaml:2", "one.yaml:25"]
    assert any(line.startswith("two.yaml:2: name: ") for line in told)
    assert any(line.startswith("two.yaml:3: environment: there is no such key") for line in told)
    assert any(line.startswith("three.yaml:") for line in told)
    assert any(line.startswith("four.yaml:1: the file is not UTF-8") for line in told)


def test_meaning_is_checked_beside_a_wrong_shape():
    """A mistake in the login does not hide one in an entity."""
    text = changed("grant: refresh_token", "grant: x").replace("match: email", "match: mail")
    assert [line.split(": ")[1] for line in problems(text)] == ["auth.grant", "entities.contact.match[0]"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("hub", "in use already"), ("dagster", "in use already"), ("pg_crm", "in use already"), ("Sales-Force", "for example sales_force"), ("s" * 41, "at most 40")],
)  # fmt: skip
def test_connection_names(name, reason):
    """A connection's name is a schema in Postgres."""
    told = problems(f"name: {name}\n{GOOD}")
    assert len(told) == 1
    assert told[0].startswith("crm.yaml:1: name: ")
    assert reason in told[0]
    from_file = problems(GOOD, f"{name}.yaml")
    assert "file's name" in from_file[0]
    assert reason in from_file[0]


def test_entity_names_that_are_tables_of_ours():
    """`<entity>_base` and the names of indexes are taken."""
    assert (
        "must not end in _base"
        in problems(
            changed("  company:\n", "  company_base:\n").replace("entity: company}", "entity: company_base}")
        )[0]
    )
    text = changed("  company:\n", "  contact_company:\n").replace(
        "entity: company}", "entity: contact_company}"
    )
    assert "index on contact.company" in problems(text)[0]


def test_the_login_and_the_host_belong_together():
    """What a grant needs beyond its keys."""
    auth = GOOD[GOOD.index("auth:") : GOOD.index("entities:")]
    for new, line, told in (
        ("auth: {grant: client_credentials, client_id: x, client_secret: {env: X}}", 5, "give host too"),
        ("auth: {grant: access_token, access_token: {env: X}}", 5, "needs instance_url"),
        ("auth: {grant: jwt_bearer, client_id: x, username: y}", 5, "either private_key or private_key_file"),
    ):
        found = problems(GOOD.replace(auth, new + "\n"))
        assert len(found) == 1
        assert found[0].startswith(f"crm.yaml:{line}: auth")
        assert told in found[0]


def test_blank_keys_are_never_passed_over():
    """Also where null means something elsewhere."""
    text = "kind: memory\noptions:\nexternal_id: ~\nentities: {a: {object: A, fields: {n: {field: N, external_id: null}}}}\n"
    assert [line.split(";")[0] for line in problems(text)] == [
        "crm.yaml:2: options: has no value",
        "crm.yaml:3: external_id: there is no such key here",
        "crm.yaml:4: entities.a.fields.n.external_id: there is no such key here",
    ]


def test_kinds_without_something():
    """Record types are Salesforce's."""
    text = "kind: hubspot\nauth: {grant: access_token, access_token: {env: T}}\nentities:\n  c:\n    object: contacts\n    record_type: X\n    fields: {email: email}\n"
    assert problems(text) == [
        "crm.yaml:6: entities.c.record_type: this kind of CRM has no record types; remove the key"
    ]


def test_a_folder_without_files(tmp_path):
    """An empty folder, or none, says what to do."""
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="examples/"):
            load(folder)
    (tmp_path / ".hidden.yaml").write_text("x")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="no connection file"):
        load(tmp_path)


def test_names_are_unique(tmp_path):
    """`a.yaml` and `a.yml` would be one connection."""
    for file in ("a.yaml", "a.yml"):
        (tmp_path / file).write_text(GOOD)
    with pytest.raises(ConfigError, match=r"another connection is called a too, in .*a\.yaml"):
        load(tmp_path)


def test_a_file_that_cannot_be_read(tmp_path):
    """A dangling link is told like any other mistake."""
    (tmp_path / "a.yaml").symlink_to(Path("nowhere"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path)
