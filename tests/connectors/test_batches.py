"""Batches: sizes that adapt, calls side by side, one record and one parent never in two calls at once."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from crm_sync.connectors.batches import WIDTH, Pace, Way, in_batches
from crm_sync.connectors.crm import Operation, Result
from crm_sync.core.errors import CrmError, ErrorClass, HeldError, RecordError

LOCKED = RecordError(ErrorClass.TRANSIENT, "UNABLE_TO_LOCK_ROW", "locked")


class Vendor:
    """Answers calls, `refuse` may raise or lock first; remembers the calls and what was in flight together."""

    def __init__(self, refuse: Callable[[Sequence[Operation]], set[str]] = lambda _: set()) -> None:
        self.sizes: list[int] = []
        self.together: list[set[str]] = []
        self.most = 0
        self._refuse = refuse
        self._lock = threading.Lock()
        self._flying: list[Sequence[Operation]] = []

    def send(self, chunk: Sequence[Operation]) -> Iterator[list[Result]]:
        with self._lock:
            self.sizes.append(len(chunk))
            for other in self._flying:
                self.together.append(names(chunk) & names(other))
            self._flying.append(chunk)
            self.most = max(self.most, len(self._flying))
        time.sleep(0.002)
        try:
            locked = self._refuse(chunk)
        finally:
            with self._lock:
                self._flying.remove(chunk)
        yield [
            Result(o.key, ok=False, error=LOCKED) if o.key in locked else Result(o.key, ok=True, crm_id="x")
            for o in reversed(chunk)
        ]

    def way(self, limit: int = 10) -> Way[Operation]:
        return Way(
            of=lambda o: o,
            send=self.send,
            limit=limit,
            parent=lambda o: o.values.get("Parent"),
            sleep=lambda _: None,
        )


def names(chunk: Sequence[Operation]) -> set[str]:
    return {name for o in chunk for name in (o.key, o.crm_id, o.values.get("Parent")) if name}


def operations(number: int, parents: int = 0) -> list[Operation]:
    return [
        Operation(f"k{i}", "update", f"c{i}", {"Parent": f"p{i * parents // number}"} if parents else {})
        for i in range(number)
    ]


def keys(answers: Iterator[list[Result]], *, ok: bool = True) -> list[str]:
    return [result.key for answer in answers for result in answer if result.ok is ok]


def test_full_batches_side_by_side_and_nothing_twice() -> None:
    vendor = Vendor()
    done = keys(in_batches(vendor.way(), operations(205)))
    assert sorted(done) == sorted(o.key for o in operations(205))
    assert sorted(vendor.sizes) == [5] + [10] * 20
    assert 1 < vendor.most <= 4


def test_the_caller_is_told_when_all_is_on_its_way_and_the_pace_is_kept() -> None:
    vendor, pace = Vendor(), Pace()
    for _ in range(2):
        answers = list(in_batches(replace(vendor.way(), lets_go=True, pace=pace), operations(205)))
        assert answers.count([]) == 1
        assert answers[-2] == []
        assert sum(map(len, answers)) == 205
    assert pace.flights > 20, "the second writing did not begin with one call alone"


def test_after_a_failure_no_call_leaves_before_the_caller_has_been_back() -> None:
    """Many are with the threads by then."""
    failing = threading.Event()

    def refuse(chunk: Sequence[Operation]) -> set[str]:
        if chunk[0].key == "k0":
            failing.set()
            raise CrmError(ErrorClass.TRANSIENT, "no")
        failing.wait()
        time.sleep(1)  # by then it has failed
        return set()

    vendor = Vendor(refuse)
    known, error = until_trouble(in_batches(replace(vendor.way(), pace=Pace(30)), operations(300)))
    assert error.error_class is ErrorClass.TRANSIENT
    assert len(vendor.sizes) <= WIDTH
    assert len(known) == 290, "each of the others is told, as written or as not sent"


def test_what_is_made_up_after_a_failure_waits_for_the_caller_too() -> None:
    """The first call fails while the caller still hands batches to the threads, as a busy machine lets it happen."""
    failing = threading.Event()

    def refuse(chunk: Sequence[Operation]) -> set[str]:
        failing.set()
        raise CrmError(ErrorClass.AUTH, "no")

    def slowly(operation: Operation) -> None:
        if operation.key == "k10":  # the second batch
            failing.wait()
            time.sleep(0.2)  # by then it has failed

    vendor = Vendor(refuse)
    way = replace(vendor.way(), pace=Pace(30), parent=slowly)
    known, error = until_trouble(in_batches(way, operations(300)))
    assert error.error_class is ErrorClass.AUTH
    assert len(vendor.sizes) == 1
    assert len(known) == 290


@pytest.mark.parametrize("later", [ErrorClass.AUTH, ErrorClass.PERMISSION])
@pytest.mark.parametrize("swapped", [False, True])
def test_of_several_errors_the_gravest_is_told(later: ErrorClass, swapped: bool) -> None:
    """Used-up limits end a step without a failure; what a person has to mend must not go under in them."""
    used_up, grave = HeldError(ErrorClass.RATE_LIMIT, "used up"), CrmError(later, "a person has to mend it")
    both = threading.Barrier(2)  # a call that has not left when another fails does not leave

    def refuse(chunk: Sequence[Operation]) -> set[str]:
        both.wait(30)
        if chunk[0].key == "k0":
            raise grave if swapped else used_up
        time.sleep(0.05)
        raise used_up if swapped else grave

    vendor = Vendor(refuse)
    _, error = until_trouble(in_batches(replace(vendor.way(), pace=Pace(2)), operations(20)))
    assert len(vendor.sizes) == 2
    assert error is grave


def test_children_of_one_parent_are_never_in_two_calls_at_once() -> None:
    vendor = Vendor()
    given = operations(300, parents=7)
    assert len(keys(in_batches(vendor.way(), given))) == 300
    assert not any(vendor.together)
    assert vendor.sizes.count(10) >= 25  # and yet the batches are full


def test_two_operations_on_one_record_come_one_after_the_other() -> None:
    vendor = Vendor()
    given = [Operation(f"k{i}", "update", f"c{i % 2}", {}) for i in range(6)]
    assert len(keys(in_batches(vendor.way(), given))) == 6
    assert not any(vendor.together)
    assert vendor.sizes == [2, 2, 2]


def test_what_is_too_large_is_halved_until_it_passes() -> None:
    def refuse(chunk: Sequence[Operation]) -> set[str]:
        if len(chunk) > 3:
            raise CrmError(ErrorClass.PERMANENT, "too large", status=413)
        return set()

    assert len(keys(in_batches(Vendor(refuse).way(), operations(40)))) == 40


def test_one_record_that_is_too_large_is_refused_alone() -> None:
    def refuse(chunk: Sequence[Operation]) -> set[str]:
        if any(o.key == "k3" for o in chunk):
            raise CrmError(ErrorClass.PERMANENT, "too large", status=413)
        return set()

    answers = [r for answer in in_batches(Vendor(refuse).way(), operations(20)) for r in answer]
    assert [(r.key, r.error.code) for r in answers if r.error] == [("k3", "TOO_LARGE")]
    assert len(answers) == 20


def test_locked_records_are_sent_again_alone_in_smaller_batches() -> None:
    seen: dict[str, int] = {}

    def refuse(chunk: Sequence[Operation]) -> set[str]:
        for o in chunk:
            seen[o.key] = seen.get(o.key, 0) + 1
        return {o.key for o in chunk if o.key in {"k1", "k2"} and seen[o.key] == 1} | ({"k7"} & set(seen))

    vendor = Vendor(refuse)
    answers = [r for answer in in_batches(vendor.way(), operations(20)) for r in answer]
    assert {r.key for r in answers if not r.ok} == {"k7"}
    assert len(answers) == 20
    assert (seen["k1"], seen["k2"], seen["k7"], seen["k0"]) == (2, 2, 3, 1)
    assert max(vendor.sizes[2:]) < 10


def test_a_call_without_an_answer_is_not_repeated_and_the_others_go_on() -> None:
    calls: list[str] = []

    def refuse(chunk: Sequence[Operation]) -> set[str]:
        calls.extend(o.key for o in chunk)
        if any(o.key == "k15" for o in chunk):
            raise CrmError(ErrorClass.UNKNOWN_OUTCOME, "no answer")
        return set()

    known, error = until_trouble(in_batches(Vendor(refuse).way(), operations(60)))
    assert error.error_class is ErrorClass.UNKNOWN_OUTCOME
    assert sorted(calls) == sorted(o.key for o in operations(60))
    assert {o.key for o in operations(60)} - {r.key for r in known} == {f"k{i}" for i in range(10, 20)}


@pytest.mark.parametrize("error_class", [ErrorClass.AUTH, ErrorClass.RATE_LIMIT, ErrorClass.UNKNOWN_OUTCOME])
def test_trouble_that_lasts_stops_and_what_was_never_sent_is_told(error_class: ErrorClass) -> None:
    calls = 0

    def refuse(chunk: Sequence[Operation]) -> set[str]:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise CrmError(error_class, "no")
        return set()

    known, error = until_trouble(in_batches(Vendor(refuse).way(), operations(200)))
    assert error.error_class is error_class
    told = {r.error.code for r in known if r.error}
    assert told == {"NOT_SENT"}
    assert calls <= 2 + 8
    assert 100 < len(known) < 200


def test_a_caller_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    answers = in_batches(Vendor().way(), operations(500))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def until_trouble(answers: Iterator[list[Result]]) -> tuple[list[Result], CrmError]:
    known: list[Result] = []

    def exhaust() -> None:
        for answer in answers:
            known.extend(answer)

    with pytest.raises(CrmError) as caught:
        exhaust()
    return known, caught.value
