"""The table of paths."""

import pytest

from crm_sync.connectors.hubspot.paths import VERSION, Paths, plural


def test_dated_paths():
    paths = Paths("2026-03")
    assert paths.objects("contacts") == "/crm/objects/2026-03/contacts"
    assert paths.search("Deal") == "/crm/objects/2026-03/deals/search"
    assert paths.batch("companies", "upsert") == "/crm/objects/2026-03/companies/batch/upsert"
    assert (
        paths.associations("deals", "contacts", "read")
        == "/crm/associations/2026-03/deals/contacts/batch/read"
    )
    assert paths.properties("contacts") == "/crm/properties/2026-03/contacts"
    assert paths.pipelines("deals") == "/crm/pipelines/2026-03/deals"
    assert paths.account == "/account-info/2026-03/details"
    assert paths.token == "/oauth/2026-03/token"


def test_numbered_paths():
    paths = Paths("v3")
    assert paths.objects("contacts") == "/crm/v3/objects/contacts"
    assert paths.associations("deals", "contacts", "read") == "/crm/v4/associations/deals/contacts/batch/read"
    assert paths.properties("contacts") == "/crm/v3/properties/contacts"
    assert paths.account == "/account-info/v3/details"
    assert paths.token == "/oauth/v3/token"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Contact", "contacts"),
        ("0-2", "companies"),
        ("deals", "deals"),
        ("2-123", "2-123"),
        ("p1_Cars", "p1_Cars"),
    ],
)
def test_objects_have_one_name(given, name):
    assert plural(given) == name


def test_a_strange_object_name_cannot_leave_its_place_in_the_path():
    assert Paths().objects("a?b#c") == "/crm/objects/2026-03/a%3Fb%23c"


def test_versions():
    assert VERSION.fullmatch("2026-09")
    assert not VERSION.fullmatch("2026-04")
    assert not VERSION.fullmatch("v2")
