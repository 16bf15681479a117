"""People who are in Salesforce twice because somebody restored what had been deleted before we ever saw it.

While a record that was never linked lies in the recycle bin, its person is created anew from the hub; once it is
restored, Salesforce has two live records of one address. The hub has both then (nothing is merged unasked), HubSpot
keeps addresses unique and refuses the second. Only exactly that is excused: a double that comes from anything else,
such as a record that was created blindly, is found as before.
"""

from typing import Any
from uuid import UUID

import psycopg

from tests.campaign.ground import World


def restored_twins(world: World, conn: psycopg.Connection) -> set[UUID]:
    """The hub records of both, by the org's own history: one was restored, and the other created meanwhile."""
    history = world.simulators["salesforce"].control("history")
    pairs = conn.execute(
        "select a.crm_id, b.crm_id, la.hub_id, lb.hub_id from salesforce.contact a"
        " join salesforce.contact b on lower(a.email) = lower(b.email) and a.crm_id <> b.crm_id"
        " join salesforce.contact_base la on la.crm_id = a.crm_id"
        " join salesforce.contact_base lb on lb.crm_id = b.crm_id and lb.linked_by = 'push'"
        " where not a.deleted and not b.deleted"
    ).fetchall()
    return {
        hub_id
        for restored, other, *hub_ids in pairs
        if _created_meanwhile(history.get(restored, []), history.get(other, []))
        for hub_id in hub_ids
    }


def _created_meanwhile(restored: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether `other` was created between a deletion of `restored` and its return."""
    born = next((change["number"] for change in other if change["kind"] == "CREATE"), None)
    gone: int | None = None
    for change in restored:
        if change["kind"] == "DELETE":
            gone = change["number"]
        elif change["kind"] == "UNDELETE" and None not in (gone, born) and gone < born < change["number"]:
            return True
    return False
