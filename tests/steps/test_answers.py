"""What a CRM says in its answers reaches the mirror, and what it leaves out stays as it was."""

from dataclasses import replace

from crm_sync.connectors.crm import Result
from crm_sync.core.spec import VendorField
from crm_sync.hub import mirror
from crm_sync.hub.store import Store
from crm_sync.steps.answers import _told
from tests.steps.world import World


def test_answers_with_different_fields_are_one_page_and_absent_is_not_null(world: World) -> None:
    acme = world.accounts["acme"]
    for n in range(3):
        acme.person_create(
            "Contact",
            {"FirstName": f"F{n}", "LastName": f"L{n}", "Email": f"p{n}@a.example", "Phone": "+14155550100"},
        )
    world.sync()
    stream = world.system.stream("acme", "contact")
    ids = [
        str(row[0])
        for row in world.conn.execute("select crm_id from acme.contact order by last_name").fetchall()
    ]
    answers = [
        Result("a", ok=True, crm_id=ids[0], returned={"FirstName": "New", "Unmapped": "x"}),
        Result("b", ok=True, crm_id=ids[1], returned={"LastName": "New", "Phone": None}),
        Result("c", ok=True, crm_id=ids[2], returned={}),
        Result("d", ok=True, crm_id="unseen", created=True, returned={"LastName": "Fresh"}),
        Result("e", ok=True, crm_id="silent", returned=None),
    ]
    with Store(world.url) as store, store.transaction() as conn:
        pages = _told(conn, stream, answers)
        assert len(pages) == 2  # known ones and the created one
        for page in pages:
            mirror.merge(conn, stream, page, mark_dirty=False)
    rows = world.conn.execute(
        "select first_name, last_name, email, phone, hub_id from acme.contact order by email nulls last"
    ).fetchall()
    assert [row[:4] for row in rows] == [
        ("New", "L0", "p0@a.example", "+14155550100"),
        ("F1", "New", "p1@a.example", None),
        ("F2", "L2", "p2@a.example", "+14155550100"),
        (None, "Fresh", None, None),
    ]
    assert rows[-1][4] == "d"


def test_parts_of_a_computed_value_are_never_filled_in(world: World) -> None:
    """They are not in the mirror, so answers with other fields stay apart."""
    stream = world.system.stream("acme", "contact")
    computed = replace(stream.field("full_name"), computed=None, vendor=VendorField("computed:full_name", stream.field("full_name").type, template="{A} {B}"))  # fmt: skip
    stream = replace(stream, fields=(*(f for f in stream.fields if f.name != "full_name"), computed))
    answers = [
        Result("a", ok=True, crm_id="1", returned={"A": "x"}),
        Result("b", ok=True, crm_id="2", returned={"A": "x", "B": "y"}),
    ]
    with Store(world.url) as store, store.transaction() as conn:
        pages = _told(conn, stream, answers)
    assert sorted(len(page.batch.schema.names) for page in pages) == [4, 5]
