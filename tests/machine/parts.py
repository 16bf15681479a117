"""The steps of a sync, as a Dagster run would take them one after the other."""

from crm_sync.hub.store import Store
from crm_sync.steps.conflicts import conflicts
from crm_sync.steps.hub import hub
from crm_sync.steps.inbound import inbound
from crm_sync.steps.options import Options
from crm_sync.steps.outbound import outbound
from tests.machine.ground import NAMES, OBJECTS, Ground

Part = tuple[str, str, str]  # what, entity, connection


def parts(name: str) -> list[Part]:
    """The steps of one sync of a connection, in their order."""
    found: list[Part] = []
    for entity in OBJECTS:
        found.append(("inbound", entity, name))
        for each in NAMES:
            found += [("hub", entity, each), ("conflicts", entity, each)]
        found.append(("outbound", entity, name))
    return found


def step(ground: Ground, store: Store, part: Part, options: Options) -> None:
    what, entity, name = part
    if (name, entity) not in ground.streams:
        return
    stream, crm = ground.system.stream(name, entity), ground.crms[name]
    match what:
        case "inbound":
            inbound(store, crm, stream, options)
        case "hub":
            hub(store, stream, options)
        case "conflicts":
            conflicts(store, stream)
        case "outbound":
            outbound(store, crm, stream, options)
