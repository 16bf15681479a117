"""What writes cost: the calls that `writing.py` makes of operations if all goes well. Pure.

The number of questions about a bulk job depends on how long Salesforce takes: it is told as a short one needs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from crm_sync.connectors import unmoved
from crm_sync.connectors.crm import Operation
from crm_sync.connectors.salesforce import bulk_ingest, collections, ingest_results, lookup

_JOB = 6  # create, upload, start, one question about it, the rows that went well, those that did not


def calls(operations: Sequence[Operation], *, above: int, joinable: bool, looks: bool) -> Mapping[str, int]:
    """Calls by family. above: so many of a kind go by Collections at most. joinable: creates have an external id.
    looks: updates are looked at before. With the reading back of what a small write has made (it returns nothing)."""
    made: Counter[str] = Counter()
    for kind in ("create", "update", "delete"):
        group = [operation for operation in operations if operation.kind == kind]
        seen = len(unmoved.compared(group)) if looks else 0
        by_job = len(group) > above and (kind != "create" or joinable)
        if by_job:
            made[ingest_results.FAMILY] += _JOB * _times(len(group), bulk_ingest.JOB_ROWS)
        else:
            at_once = lookup.RETRIEVE if seen else len(group) or 1
            made[collections.FAMILY] += sum(
                _times(len(part), collections.CALL) for part in lookup.parts(group, at_once)
            )
        made[collections.FAMILY] += _times(seen, lookup.RETRIEVE)
    if any(operation.kind != "delete" for operation in operations) and len(operations) <= lookup.RETRIEVE:
        made[collections.FAMILY] += 1
    return +made


def _times(number: int, size: int) -> int:
    return -(-number // size)
