"""hubspot-api-client from PyPI, unmodified, against the simulator over TLS: every call family of the checklist."""

import uuid

import pytest
import urllib3
from hubspot.crm.associations import BatchInputPublicAssociation, PublicAssociation
from hubspot.crm.associations import PublicObjectId as V3ObjectId
from hubspot.crm.associations.v4 import (
    AssociationSpec,
    BatchInputPublicAssociationMultiArchive,
    BatchInputPublicAssociationMultiPost,
    BatchInputPublicDefaultAssociationMultiPost,
    BatchInputPublicFetchAssociationsBatchRequest,
    PublicAssociationMultiArchive,
    PublicAssociationMultiPost,
    PublicDefaultAssociationMultiPost,
    PublicFetchAssociationsBatchRequest,
    PublicObjectId,
)
from hubspot.crm.associations.v4.schema import PublicAssociationDefinitionCreateRequest
from hubspot.crm.contacts import (
    BatchInputSimplePublicObjectBatchInput,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchInputSimplePublicObjectId,
    BatchReadInputSimplePublicObjectId,
    PublicGdprDeleteInput,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectBatchInput,
    SimplePublicObjectBatchInputForCreate,
    SimplePublicObjectBatchInputUpsert,
    SimplePublicObjectId,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from hubspot.crm.contacts.exceptions import ApiException, NotFoundException
from hubspot.crm.pipelines import PipelineInput, PipelineStageInput
from hubspot.crm.properties import (
    BatchInputPropertyCreate,
    OptionInput,
    PropertyCreate,
    PropertyGroupCreate,
    PropertyUpdate,
)
from hubspot.crm.schemas import (
    ObjectSchemaEgg,
    ObjectTypeDefinitionLabels,
    ObjectTypePropertyCreate,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def email():
    return f"{uuid.uuid4().hex}@sdk.example"


def new_contact(sdk, **properties):
    body = SimplePublicObjectInputForCreate(properties={"email": email(), **properties}, associations=[])
    return sdk.crm.contacts.basic_api.create(body)


def test_list_pages_through_every_contact_once(sdk, sim):
    ids, after = [], None
    while True:
        page = sdk.crm.contacts.basic_api.get_page(
            limit=70, after=after, properties=["email", "phone"], associations=["companies"]
        )
        ids += [each.id for each in page.results]
        if page.paging is None:
            break
        after = page.paging.next.after
    assert len(ids) == len(set(ids)) == sim.control("stats")["records"]["contacts"]


def test_get_all_helper_of_the_sdk(sdk, sim):
    assert len(sdk.crm.companies.get_all()) == sim.control("stats")["records"]["companies"]


def test_create_read_update_archive(sdk):
    made = new_contact(sdk, firstname="  Zoë ", interests="mobile;security")
    assert made.properties["firstname"] == "Zoë"
    assert made.properties["lifecyclestage"] == "lead"
    read = sdk.crm.contacts.basic_api.get_by_id(made.id, properties=["firstname", "lastname", "nonsense"])
    assert read.properties["lastname"] is None
    assert "nonsense" not in read.properties
    changed = sdk.crm.contacts.basic_api.update(
        made.id, SimplePublicObjectInput(properties={"firstname": ""})
    )
    assert changed.updated_at >= made.updated_at
    read = sdk.crm.contacts.basic_api.get_by_id(made.id, properties_with_history=["firstname"])
    assert [each.value for each in read.properties_with_history["firstname"]] == ["", "Zoë"]
    sdk.crm.contacts.basic_api.archive(made.id)
    with pytest.raises(NotFoundException):
        sdk.crm.contacts.basic_api.get_by_id(made.id)
    assert sdk.crm.contacts.basic_api.get_by_id(made.id, archived=True).archived_at is not None


def test_read_by_email_and_conflict_text(sdk):
    made = new_contact(sdk)
    assert (
        sdk.crm.contacts.basic_api.get_by_id(made.properties["email"].upper(), id_property="email").id
        == made.id
    )
    with pytest.raises(ApiException) as raised:
        new_contact(sdk, email=made.properties["email"].upper())
    assert raised.value.status == 409
    assert f"Contact already exists. Existing ID: {made.id}" in raised.value.body


def test_batches(sdk):
    batch = sdk.crm.contacts.batch_api
    inputs = [
        SimplePublicObjectBatchInputForCreate(properties={"email": email()}, associations=[])
        for _ in range(100)
    ]
    made = batch.create(BatchInputSimplePublicObjectBatchInputForCreate(inputs=inputs))
    assert len(made.results) == 100
    assert [r.properties["email"] for r in made.results] != [
        i.properties["email"] for i in inputs
    ]  # any order
    ids = [SimplePublicObjectId(id=each.id) for each in made.results]
    changed = batch.update(
        BatchInputSimplePublicObjectBatchInput(
            inputs=[SimplePublicObjectBatchInput(id=i.id, properties={"jobtitle": "Chef"}) for i in ids]
        )
    )
    assert {each.properties["jobtitle"] for each in changed.results} == {"Chef"}
    absent = SimplePublicObjectId(id="1")
    read = batch.read(
        BatchReadInputSimplePublicObjectId(
            properties=["jobtitle"], properties_with_history=[], inputs=[*ids[:99], absent]
        )
    )
    assert len(read.results) == 99
    assert read.num_errors == 1
    assert read.errors[0].category == "OBJECT_NOT_FOUND"
    assert read.errors[0].context["ids"] == ["1"]
    batch.archive(BatchInputSimplePublicObjectId(inputs=ids))
    gone = batch.read(
        BatchReadInputSimplePublicObjectId(properties=[], properties_with_history=[], inputs=ids)
    )
    assert gone.results == []


def test_batch_upsert_says_what_was_new(sdk):
    known = new_contact(sdk)
    inputs = [
        SimplePublicObjectBatchInputUpsert(id=address, id_property="email", properties={"city": "Köln"})
        for address in (known.properties["email"], email())
    ]
    done = sdk.crm.contacts.batch_api.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs))
    assert {each.new for each in done.results} == {True, False}


def test_merge_and_gdpr_delete(sdk):
    first, second = new_contact(sdk), new_contact(sdk, city="Lyon")
    merged = sdk.crm.contacts.basic_api.merge(
        PublicMergeInput(primary_object_id=first.id, object_id_to_merge=second.id)
    )
    assert merged.id == first.id
    assert merged.properties["hs_merged_object_ids"] == second.id
    assert merged.properties["hs_additional_emails"] == second.properties["email"]
    assert merged.properties["city"] == "Lyon"
    sdk.crm.contacts.basic_api.purge(PublicGdprDeleteInput(object_id=merged.id))
    with pytest.raises(NotFoundException):
        sdk.crm.contacts.basic_api.get_by_id(merged.id, archived=True)


def test_search(sdk):
    made = new_contact(sdk, lastname="Findme")
    request = PublicObjectSearchRequest(
        filter_groups=[{"filters": [{"propertyName": "lastname", "operator": "EQ", "value": "FINDME"}]}],
        sorts=[{"propertyName": "createdate", "direction": "DESCENDING"}], properties=["lastname"], limit=5, after=0,
    )  # fmt: skip
    found = sdk.crm.contacts.search_api.do_search(request)
    assert found.total == 1
    assert found.results[0].id == made.id


@pytest.mark.parametrize("kind", ["companies", "deals", "tickets", "products", "line_items"])
def test_other_objects(sdk, kind):
    basic = getattr(sdk.crm, kind).basic_api
    properties = {
        "companies": {"name": "Ünï"},
        "deals": {"dealname": "D", "dealstage": "qualifiedtobuy", "amount": "12.50"},
        "tickets": {"subject": "T", "hs_pipeline_stage": "1"},
        "products": {"name": "P", "price": "3"},
        "line_items": {"name": "L", "price": "3", "quantity": "2"},
    }[kind]
    made = basic.create(SimplePublicObjectInputForCreate(properties=properties, associations=[]))
    assert made.properties.items() >= properties.items()
    assert made.properties["hs_lastmodifieddate"]
    basic.archive(made.id)


@pytest.mark.parametrize("kind", ["notes", "tasks", "calls", "meetings", "emails"])
def test_activities_hang_on_a_contact_and_touch_it(sdk, kind):
    contact = new_contact(sdk)
    type_id = {"notes": 202, "tasks": 204, "calls": 194, "meetings": 200, "emails": 198}[kind]
    made = getattr(sdk.crm.objects, kind).basic_api.create(
        SimplePublicObjectInputForCreate(
            properties={"hs_timestamp": "1764000000000"},
            associations=[
                {
                    "to": {"id": contact.id},
                    "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}],
                }
            ],
        )
    )
    assert made.properties["hs_timestamp"] == "2025-11-24T16:00:00Z"
    after = sdk.crm.contacts.basic_api.get_by_id(
        contact.id, properties=["notes_last_updated"], associations=[kind]
    )
    assert after.updated_at >= contact.updated_at
    assert after.properties["notes_last_updated"]
    assert after.associations[kind].results[0].id == made.id


def test_associations_v4(sdk):
    contact = new_contact(sdk)
    company = sdk.crm.companies.basic_api.create(
        SimplePublicObjectInputForCreate(properties={"name": "A"}, associations=[])
    )
    api = sdk.crm.associations.v4
    pair = {"_from": PublicObjectId(id=contact.id), "to": PublicObjectId(id=company.id)}
    primary = AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=1)
    linked = api.batch_api.create(
        "contacts",
        "companies",
        BatchInputPublicAssociationMultiPost(inputs=[PublicAssociationMultiPost(types=[primary], **pair)]),
    )
    assert linked.results[0].labels == ["Primary"]
    read = api.batch_api.get_page(
        "contacts", "companies",
        BatchInputPublicFetchAssociationsBatchRequest(inputs=[PublicFetchAssociationsBatchRequest(id=contact.id)]),
    )  # fmt: skip
    assert {t.type_id for t in read.results[0].to[0].association_types} == {1, 279}
    back = api.basic_api.get_page("companies", company.id, "contacts")
    assert {t.type_id for t in back.results[0].association_types} == {2, 280}
    api.batch_api.archive(
        "contacts", "companies",
        BatchInputPublicAssociationMultiArchive(
            inputs=[PublicAssociationMultiArchive(_from=PublicObjectId(id=contact.id), to=[PublicObjectId(id=company.id)])]
        ),
    )  # fmt: skip
    assert api.basic_api.get_page("contacts", contact.id, "companies").results == []
    default = api.batch_api.create_default(
        "contacts", "companies",
        BatchInputPublicDefaultAssociationMultiPost(inputs=[PublicDefaultAssociationMultiPost(**pair)]),
    )  # fmt: skip
    assert default.results[0].association_spec.association_type_id == 279
    api.basic_api.create("contacts", contact.id, "companies", company.id, [primary])
    api.basic_api.archive("contacts", contact.id, "companies", company.id)
    assert api.basic_api.get_page("contacts", contact.id, "companies").results == []


def test_association_labels(sdk):
    api = sdk.crm.associations.v4.schema.definitions_api
    name = f"label_{uuid.uuid4().hex[:8]}"
    made = api.create("contacts", "deals", PublicAssociationDefinitionCreateRequest(label=name, name=name))
    assert made.results[0].category == "USER_DEFINED"
    assert name in [each.label for each in api.get_all("contacts", "deals").results]
    api.remove("contacts", "deals", made.results[0].type_id)
    assert name not in [each.label for each in api.get_all("contacts", "deals").results]


def test_associations_v3(sdk):
    contact = new_contact(sdk)
    company = sdk.crm.companies.basic_api.create(
        SimplePublicObjectInputForCreate(properties={"name": "B"}, associations=[])
    )
    one = PublicAssociation(
        _from=V3ObjectId(id=contact.id), to=V3ObjectId(id=company.id), type="contact_to_company"
    )
    batch = BatchInputPublicAssociation(inputs=[one])
    made = sdk.crm.associations.batch_api.create("contacts", "companies", batch)
    assert made.results[0].type == "contact_to_company"
    shown = sdk.crm.contacts.basic_api.get_by_id(
        contact.id, associations=["companies"], properties=["associatedcompanyid"]
    )
    assert {r.type for r in shown.associations["companies"].results} == {
        "contact_to_company",
        "contact_to_company_unlabeled",
    }
    assert shown.properties["associatedcompanyid"] == company.id
    sdk.crm.associations.batch_api.archive("contacts", "companies", batch)


def test_properties_and_groups(sdk):
    core, name = sdk.crm.properties.core_api, f"p_{uuid.uuid4().hex[:8]}"
    sdk.crm.properties.groups_api.create("contacts", PropertyGroupCreate(name=name, label=name))
    body = PropertyCreate(
        name=name, label="Seats", type="enumeration", field_type="select", group_name=name,
        options=[OptionInput(label="One", value="1", hidden=False, display_order=0)],
    )  # fmt: skip
    made = core.create("contacts", body)
    assert made.options[0].value == "1"
    assert name in [p.name for p in core.get_all("contacts").results]
    two = PropertyUpdate(options=[OptionInput(label="Two", value="2", hidden=False, display_order=0)])
    assert [o.value for o in core.update("contacts", name, two).options] == ["2"]
    core.archive("contacts", name)
    with pytest.raises(Exception, match="404"):
        core.get_by_name("contacts", name)
    assert core.create("contacts", body).name == name
    core.archive("contacts", name)
    sdk.crm.properties.groups_api.archive("contacts", name)
    batch = sdk.crm.properties.batch_api.create(
        "deals",
        BatchInputPropertyCreate(
            inputs=[
                PropertyCreate(
                    name=name,
                    label="L",
                    type="string",
                    field_type="text",
                    group_name="dealinformation",
                    options=[],
                )
            ]
        ),
    )
    assert batch.results[0].name == name


def test_pipelines_and_stages(sdk):
    api = sdk.crm.pipelines
    assert [p.id for p in api.pipelines_api.get_all("deals").results] == ["default"]
    stage = PipelineStageInput(label="Only", display_order=0, metadata={"probability": "0.5"})
    label = uuid.uuid4().hex
    made = api.pipelines_api.create("deals", PipelineInput(label=label, display_order=1, stages=[stage]))
    assert made.stages[0].metadata == {"probability": "0.5", "isClosed": "false"}
    more = api.pipeline_stages_api.create(
        "deals", made.id, PipelineStageInput(label="Won", display_order=1, metadata={"probability": "1.0"})
    )
    assert len(api.pipeline_stages_api.get_all("deals", made.id).results) == 2
    deal = sdk.crm.deals.basic_api.create(
        SimplePublicObjectInputForCreate(
            properties={"dealname": "x", "pipeline": made.id, "dealstage": made.stages[0].id}, associations=[]
        )
    )
    sdk.crm.deals.basic_api.archive(deal.id)
    api.pipeline_stages_api.archive("deals", made.id, more.id)
    api.pipelines_api.archive("deals", made.id)


def test_owners(sdk):
    page = sdk.crm.owners.owners_api.get_page(limit=2)
    assert len(page.results) == 2
    assert page.paging.next.after
    assert page.results[0].id != str(page.results[0].user_id)
    assert sdk.crm.owners.owners_api.get_by_id(page.results[0].id).email == page.results[0].email


def test_custom_objects(sdk):
    name = f"car{uuid.uuid4().hex[:6]}"
    made = sdk.crm.schemas.core_api.create(
        ObjectSchemaEgg(
            name=name, labels=ObjectTypeDefinitionLabels(singular="Car", plural="Cars"), required_properties=["plate"],
            searchable_properties=["plate"], primary_display_property="plate", associated_objects=["CONTACT"],
            secondary_display_properties=[],
            properties=[ObjectTypePropertyCreate(name="plate", label="Plate", type="string", field_type="text", has_unique_value=True)],
        )
    )  # fmt: skip
    assert made.object_type_id.startswith("2-")
    car = sdk.crm.objects.basic_api.create(
        made.object_type_id, SimplePublicObjectInputForCreate(properties={"plate": "K-XY 1"}, associations=[])
    )
    assert sdk.crm.objects.basic_api.get_by_id(name, "k-xy 1", id_property="plate").id == car.id
    assert [s.name for s in sdk.crm.schemas.core_api.get_all().results] == [name]
    sdk.crm.objects.basic_api.archive(made.object_type_id, car.id)
    sdk.crm.schemas.core_api.archive(name)


def test_oauth_tokens(sim, sdk):
    tokens = sdk.oauth.tokens_api.create(
        grant_type="refresh_token", client_id=sim.info["client_id"], client_secret=sim.info["client_secret"],
        refresh_token=sim.info["refresh_token"],
    )  # fmt: skip
    assert tokens.expires_in == 1800
    assert tokens.refresh_token == sim.info["refresh_token"]
    about = sdk.oauth.access_tokens_api.get(tokens.access_token)
    assert about.hub_id == sim.info["portal_id"]
    assert sdk.oauth.refresh_tokens_api.get(tokens.refresh_token).client_id == sim.info["client_id"]


def test_webhook_subscriptions(sim):
    from hubspot import HubSpot
    from hubspot.webhooks import SettingsChangeRequest, SubscriptionCreateRequest, ThrottlingSettings

    client = HubSpot(api_key=sim.info["developer_api_key"], host=sim.base_url, ssl_ca_cert=sim.ca_file)
    app = sim.info["app_id"]
    made = client.webhooks.subscriptions_api.create(
        app,
        SubscriptionCreateRequest(event_type="contact.propertyChange", property_name="email", active=True),
    )
    assert made.property_name == "email"
    client.webhooks.settings_api.configure(
        app,
        SettingsChangeRequest(
            target_url="https://hook.example/x", throttling=ThrottlingSettings(max_concurrent_requests=3)
        ),
    )
    assert client.webhooks.settings_api.get_all(app).throttling.max_concurrent_requests == 3
    client.webhooks.subscriptions_api.archive(made.id, app)
    client.webhooks.settings_api.clear(app)


def test_the_sdk_retries_a_429_by_its_retry_object(sim, sdk, settings):
    """urllib3 needs Retry-After, which the simulator sends when told to."""
    from hubspot import HubSpot

    settings(search_per_second=1, retry_after=True)
    client = HubSpot(
        access_token=sim.info["access_token"], host=sim.base_url, ssl_ca_cert=sim.ca_file,
        retry=urllib3.Retry(total=3, allowed_methods=None, status_forcelist=(429,)),
    )  # fmt: skip
    request = PublicObjectSearchRequest(filter_groups=[], sorts=[], properties=[], limit=1, after=0)
    for _ in range(2):
        assert client.crm.contacts.search_api.do_search(request).total > 0
    assert sim.control("stats")["refused"]["secondly"] >= 1
