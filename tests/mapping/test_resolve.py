"""From several files to one system: specifications, order, and what the files must agree on."""

import pytest

from crm_sync.core.errors import ConfigError
from crm_sync.core.quota import Limits
from crm_sync.core.spec import Condition, Direction, FieldType, Operator, Policy, SecretRef
from crm_sync.mapping.load import load, load_text, load_texts

AUTH = "kind: hubspot\nauth: {grant: access_token, access_token: {env: T}}\nentities:\n"


def hubspot(entities, head=AUTH):
    return head + "".join(f"  {line}\n" for line in entities.strip("\n").splitlines())


def told(texts):
    with pytest.raises(ConfigError) as caught:
        load_texts(texts)
    return [str(problem) for problem in caught.value.problems]


def test_a_stream():
    """Every key of an entity arrives in its specification."""
    text = hubspot("""
company:
  object: companies
  fields: {name: name}
contact:
  object: contacts
  filter:
    - {field: lifecyclestage, operator: in, values: [lead, 5]}
    - {field: email, operator: is_not_blank}
    - {field: country, value: NO}
  match: [email, [first_name, phone]]
  policy: hub_wins
  constants: {hs_lead_status: NEW, opted: true}
  fields:
    email: {field: email, type: email, policy: manual}
    first_name: firstname
    phone: {field: phone, type: phone, region: DE}
    company: {association: companies, type: reference, entity: company, direction: inbound}
    full: {computed: "{first_name} ({email})", field: full_name}
    town: {from: "{zip} {city}"}
""", "default_region: GB\nschedule: '0 6-22/2 * * mon-fri'\n" + AUTH)  # fmt: skip
    system = load_text(text, "hs.yaml")
    connection = system.connection("hs")
    assert (connection.kind, connection.file, connection.schedule) == (
        "hubspot",
        "hs.yaml",
        "0 6-22/2 * * mon-fri",
    )
    stream = system.stream("hs", "contact")
    assert (stream.name, stream.object, stream.order, stream.external_id) == (
        "hs/contact",
        "contacts",
        1,
        "crm_sync_id",
    )
    assert stream.match == (("email",), ("first_name", "phone"))
    assert stream.filters == (
        Condition("lifecyclestage", Operator.IN, ("lead", "5")),
        Condition("email", Operator.IS_NOT_BLANK),
        Condition("country", Operator.EQ, ("NO",)),
    )
    assert stream.constants == {"hs_lead_status": "NEW", "opted": "true"}
    assert stream.field("email").policy is Policy.MANUAL
    assert stream.field("first_name").policy is Policy.HUB_WINS
    assert (stream.field("phone").region, stream.field("email").region) == ("DE", "GB")
    company = stream.field("company")
    assert (company.vendor.name, company.vendor.association, company.type, company.entity, company.direction) == (
        "association:companies", "companies", FieldType.REFERENCE, "company", Direction.INBOUND,
    )  # fmt: skip
    full = stream.field("full")
    assert (full.direction, full.computed, full.vendor.name) == (
        Direction.OUTBOUND,
        "{first_name} ({email})",
        "full_name",
    )
    town = stream.field("town")
    assert (town.direction, town.vendor.name, town.vendor.template) == (
        Direction.INBOUND,
        "computed:town",
        "{zip} {city}",
    )
    assert {"email", "association:companies", "zip", "city"} <= set(stream.vendor_fields)
    assert [type(value) for value in stream.constants.values()] == [str, str]


def test_picklist_maps():
    """The inverse takes the first of ours; from_crm says otherwise; a list maps to itself."""
    text = hubspot("""
deal:
  object: deals
  fields:
    stage: {field: s, type: picklist, values: {a: X, b: X, no: Y}, from_crm: {Z: b, Y: a}}
    tags: {field: t, type: multipicklist, values: [x, 1, true]}
    free: {field: f, type: picklist}
    seen: {field: g, type: picklist, from_crm: {Q: q}, direction: inbound}
""")
    stream = load_text(text).stream("connection", "deal")
    assert stream.field("stage").to_crm == {"a": "X", "b": "X", "no": "Y"}
    assert stream.field("stage").to_hub == {"X": "a", "Y": "a", "Z": "b"}
    assert stream.field("tags").to_crm == stream.field("tags").to_hub == {"x": "x", "1": "1", "true": "true"}
    assert (stream.field("free").to_crm, stream.field("free").to_hub) == (None, None)
    assert (stream.field("seen").to_crm, stream.field("seen").to_hub) == (None, {"Q": "q"})


def test_external_ids():
    """The kind's default, another field, or none."""
    for given, expected in (
        ("", "crm_sync_id"),
        ("external_id: other_id", "other_id"),
        ("external_id: null", None),
    ):
        text = hubspot(f"a:\n  object: x\n  {given}\n  fields: {{n: n}}".replace("  \n", ""))
        assert load_text(text).stream("connection", "a").external_id == expected


def test_referenced_entities_come_first():
    """The order is that of references over all files, otherwise of first mention."""
    one = hubspot("""
deal: {object: d, fields: {contact: {association: c, type: reference, entity: contact}}}
contact: {object: c, fields: {name: n}}
""")
    two = hubspot("""
contact: {object: c, fields: {company: {association: o, type: reference, entity: company}}}
company: {object: o, fields: {parent: {field: p, type: reference, entity: company}}}
ticket: {object: t, fields: {name: n}}
""")
    system = load_texts({"one.yaml": one, "two.yaml": two})
    assert system.entities == ("company", "contact", "deal", "ticket")
    assert [(s.name, s.order) for s in system.streams] == [
        ("one/contact", 1), ("one/deal", 2), ("two/company", 0), ("two/contact", 1), ("two/ticket", 3),
    ]  # fmt: skip


def test_a_circle_of_references_is_refused():
    """Also one that only arises from two files together; every reference of it is named."""
    one = hubspot(
        "a: {object: a, fields: {b: {field: b, type: reference, entity: b}}}\nb: {object: b, fields: {n: n}}"
    )
    two = hubspot(
        "b: {object: b, fields: {a: {field: a, type: reference, entity: a}}}\na: {object: a, fields: {n: n}}"
    )
    assert told({"one.yaml": one, "two.yaml": two}) == [
        (
            "one.yaml:4: entities.a.fields.b: entities refer to each other in a circle: a → b → a; remove one of these"
            " references: entities.a.fields.b (one.yaml:4), entities.b.fields.a (two.yaml:4)"
        )
    ]


def test_files_must_agree_on_a_column():
    """Type, referenced entity, computed or not: the message names both places."""
    base = "a: {object: a, fields: {n: n}}\nb: {object: b, fields: {n: n}}\n"
    one = hubspot(base + """
c:
  object: c
  fields:
    x: {field: x, type: date}
    y: {field: y, type: reference, entity: a}
    z: z
    w: w
""")  # fmt: skip
    two = hubspot(base + """
c:
  object: c
  fields:
    x:
      field: x
      type: datetime
    y: {field: y, type: reference, entity: b}
    z: {computed: "{w}", field: z}
    w: w
""")  # fmt: skip
    assert told({"one.yaml": one, "two.yaml": two}) == [
        (
            "two.yaml:12: entities.c.fields.x.type: c.x has type datetime here, but date in one.yaml:10; it is one column, so give"
            " it one type"
        ),
        (
            "two.yaml:13: entities.c.fields.y.entity: c.y points to b here, but to a in one.yaml:11; it is one column, so let it"
            " point to one entity"
        ),
        (
            "two.yaml:14: entities.c.fields.z: is computed in one connection and a column in another (one.yaml:12); give it"
            " another name"
        ),
    ]


def test_salesforce_options(tmp_path):
    """Options are plain values, nested as written; secrets stay references; files are found beside the YAML."""
    (tmp_path / "prod.yaml").write_text("""
kind: salesforce
host: https://acme.my.salesforce.com/
api_version: 61.0
page_size: 500
ca_bundle: ca.pem
auth:
  grant: jwt_bearer
  client_id: public-id
  username: ${SF_USER}
  private_key_file: /keys/key.pem
entities: {contact: {object: Contact, record_type: Person, fields: {email: Email}}}
""")
    system = load(tmp_path)
    assert system.connection("prod").options == {
        "environment": "production",
        "host": "https://acme.my.salesforce.com",
        "api_version": "61.0",
        "bulk_query_above": 2000,
        "bulk_write_above": 2000,
        "assignment_rules": False,
        "check_before_write": True,
        "page_size": 500,
        "ca_bundle": str(tmp_path / "ca.pem"),
        "auth": {
            "grant": "jwt_bearer",
            "client_id": "public-id",
            "username": SecretRef("SF_USER"),
            "private_key_file": "/keys/key.pem",
        },
    }
    assert system.stream("prod", "contact").record_type == "Person"
    assert system.stream("prod", "contact").external_id == "crm_sync_id__c"


def test_hubspot_options():
    options = load_text(hubspot("a: {object: a, fields: {n: n}}")).connections[0].options
    assert options == {
        "base_url": "https://api.hubapi.com",
        "api_version": "2026-03",
        "search_lag": 60,
        "check_before_write": True,
        "auth": {"grant": "access_token", "access_token": SecretRef("T")},
    }


def test_webhooks_of_hubspot():
    head = AUTH.replace("auth", "webhook_secret: {env: W}\nportal_id: 12345\nauth", 1)
    options = load_text(hubspot("a: {object: a, fields: {n: n}}", head)).connections[0].options
    assert (options["webhook_secret"], options["portal_id"]) == (SecretRef("W"), "12345")


def test_memory_options_are_free():
    text = "kind: memory\noptions: {a: 1, b: [1.5, true, no], c: {d: '1'}, e: null}\nentities: {x: {object: x, fields: {n: n}}}\n"
    connection = load_text(text, "m.yaml").connections[0]
    assert connection.options == {"a": 1, "b": [1.5, True, "no"], "c": {"d": "1"}, "e": None}


def test_a_simulator_on_this_machine_may_do_without_tls():
    head = AUTH.replace("auth", "base_url: http://127.0.0.1:8080\nauth", 1)
    text = hubspot("a: {object: a, fields: {n: n}}", head)
    assert load_text(text).connections[0].options["base_url"] == "http://127.0.0.1:8080"


def test_limits():
    """Those of the file, and the defaults of the others."""
    head = AUTH.replace("entities:", "limits: {reserve: 5.5 %, daily: 1000, search: 2}\nentities:")
    text = hubspot("company: {object: companies, fields: {name: name}}", head)
    (connection,) = load_text(text, "crm.yaml").connections
    assert connection.limits == Limits(reserve=0.055, daily=1000, search=2)
    (connection,) = load_text(
        text.replace("limits: {reserve: 5.5 %, daily: 1000, search: 2}\n", ""), "crm.yaml"
    ).connections
    assert connection.limits == Limits(reserve=0.2)
