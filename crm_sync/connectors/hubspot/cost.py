"""What writes cost: the calls that `batch.py` makes of operations if all goes well. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from crm_sync.connectors import unmoved
from crm_sync.connectors.crm import Operation
from crm_sync.connectors.hubspot import associations, batch
from crm_sync.connectors.hubspot.properties import ASSOCIATION

LOOK = "batch_read"


def calls(operations: Sequence[Operation], *, looks: bool) -> Mapping[str, int]:
    """Calls by family. looks: updates are looked at before."""
    made: Counter[str] = Counter()
    for group in _groups(operations):
        for start in range(0, len(group), batch.MAX_BATCH):
            _batch(made, group[start : start + batch.MAX_BATCH], looks=looks)
    return +made


def _groups(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    """As the writer sorts them: creates, updates, deletes, and updates of nothing but associations."""
    for kind in ("create", "update", "delete"):
        yield [o for o in operations if o.kind == kind and not _only_links(o)]
    yield [o for o in operations if _only_links(o)]


def _only_links(operation: Operation) -> bool:
    return operation.kind == "update" and all(name.startswith(ASSOCIATION) for name in operation.values)


def _batch(made: Counter[str], chunk: Sequence[Operation], *, looks: bool) -> None:
    seen = unmoved.fields_of(unmoved.compared(chunk)) if looks else set()
    links = {name for o in chunk for name in o.values if name.startswith(ASSOCIATION)}
    made[LOOK] += bool(seen)
    made[batch.FAMILY] += not all(_only_links(o) for o in chunk)
    made[associations.FAMILY] += len(seen & links)
    for name in links:
        changed = [o for o in chunk if name in o.values]
        made[associations.FAMILY] += any(o.kind == "update" for o in changed)  # what they are now
        made[associations.FAMILY] += any(o.values[name] is not None for o in changed)
        made[associations.FAMILY] += any(o.expected.get(name) not in (None, o.values[name]) for o in changed)
