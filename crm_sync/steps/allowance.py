"""What comparing a stream with its CRM costs in calls, and what of it a budget allows. Pure.

The figures are those of docs/howto/verify.md. They are estimates from the number of records we know: a recycle bin
that has to be paged through, or records with several associations, cost more than we can know.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crm_sync.core.spec import StreamSpec

LOOK_UP = {"salesforce": 2_000, "hubspot": 100}
"""Records that one look-up by ids tells."""

_SMALL = 100
_OVERHEAD = 3  # describe, count, the clock
_RESERVE = 10  # a tenth of a share is kept for looking again at what seems to differ


@dataclass(frozen=True, slots=True)
class Share:
    """What is read of a stream. records: as many as we know; needed: calls for all of them; calls: that it may use;
    whole: everything is read. problem: why nothing can be read though there is some budget."""

    records: int
    needed: int
    calls: int
    whole: bool
    problem: str = ""


def needed(stream: StreamSpec, records: int) -> int:
    """Calls that reading all records takes."""
    return _OVERHEAD + _list(stream, records)


def look_ups(stream: StreamSpec, records: int) -> int:
    """Calls that looking up so many records takes."""
    size = LOOK_UP.get(stream.kind, _SMALL)
    return math.ceil(records / size) + len(_associations(stream)) * math.ceil(records / 1_000)


def _list(stream: StreamSpec, records: int) -> int:
    match stream.kind:
        case "salesforce":  # REST up to 2,000 records, else a bulk job: create, polls, results of 50,000 rows
            return 1 if records <= 2_000 else 16 + math.ceil(records / 50_000)
        case "hubspot" if stream.filters:  # by search, 200 a page
            return math.ceil(records / 200) + len(_associations(stream)) * math.ceil(records / 1_000) + 1
        case "hubspot":  # by list, 100 a page, in ranges that a search cuts; then the recycle bin
            return math.ceil(records / 100) + math.ceil(records / 2_500) + 2
        case _:
            return math.ceil(records / _SMALL) + 1


def _associations(stream: StreamSpec) -> list[str]:
    return [spec.name for spec in stream.fields if spec.vendor.association is not None]


def allot(streams: Sequence[StreamSpec], records: Mapping[str, int], budget: int | None) -> dict[str, Share]:
    """What is read of each stream, by its name. Streams that need least are read whole first, as long as half of what is
    left remains; the others share that. Without a budget everything is read."""
    wants = {stream.name: needed(stream, records[stream.name]) for stream in streams}
    if budget is None:
        return {name: Share(records[name], calls, calls, whole=True) for name, calls in wants.items()}
    found: dict[str, Share] = {}
    left = budget
    for number, stream in enumerate(sorted(streams, key=lambda s: wants[s.name])):
        name, want = stream.name, wants[stream.name]
        fair = left // (len(streams) - number)
        mine = want if want <= max(fair, left // 2) else fair
        problem = ""
        if mine < want and (stream.filters or stream.record_type):
            problem = (
                "it has a filter or a record type, which look-ups by id cannot apply: all of it or nothing"
            )
        elif mine < want and mine <= _OVERHEAD + 1:
            problem = "the budget is too small for any part of it"
        if problem:
            mine = 0
        found[name] = Share(records[name], want, mine, whole=mine >= want, problem=problem)
        left -= mine
    return {stream.name: found[stream.name] for stream in streams}


def for_reading(share: Share) -> int:
    """Calls of a share that reading may use; the rest is for looking again."""
    return share.calls - _OVERHEAD - max(share.calls // _RESERVE, 1)


def most(sizes: Mapping[int, int], shift: float, affordable: Callable[[int], bool]) -> list[int]:
    """As many ranges (by number: their records) as are affordable together, spread evenly; `shift` (0 to 1) says where
    the spreading begins, so that runs differ."""
    ranges = sorted(sizes)
    for number in range(len(ranges), 0, -1):
        step = len(ranges) / number
        some = [ranges[int((i + shift) * step) % len(ranges)] for i in range(number)]
        if affordable(sum(sizes[one] for one in some)):
            return some
    return []
