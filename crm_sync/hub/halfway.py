"""Creates without an answer that are there: which of their values may not have been written.

A vendor that has a call of its own for associations makes a record in two steps, and the second may be the one that was
lost. Then the record says nothing where we sent something, which is nobody's edit: it must not come into the hub.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from psycopg import Connection

from crm_sync.core.spec import StreamSpec
from crm_sync.hub import mirror
from crm_sync.hub.confirm import Accepted
from crm_sync.hub.intents import Intent


def created(
    conn: Connection, stream: StreamSpec, found: Sequence[tuple[Intent, str]], answer: Mapping[str, object]
) -> list[Accepted]:
    """These creates, each with its CRM id, as accepted, whose records the mirror shows as they are. An association that is
    blank there is left out: it was not agreed on, so that it is decided like any first agreement, and sent."""
    apart = [spec.name for spec in stream.fields if spec.vendor.association is not None]
    shown = mirror.held(conn, stream, [crm_id for _, crm_id in found]) if apart else {}
    accepted = []
    for intent, crm_id in found:
        now = shown.get(crm_id, {})
        lost = {name for name in apart if intent.sent.get(name) is not None and now.get(name) is None}
        sent = {name: value for name, value in intent.sent.items() if name not in lost}
        accepted.append(Accepted(replace(intent, sent=sent) if lost else intent, crm_id, answer))
    return accepted
