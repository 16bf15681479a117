"""How much may pass, and what is said when it is more."""

from dataclasses import fields

import pytest

from crm_sync.core.guard import FLOOR, OFF, Guard, Limit, What, is_empty, judge, sentence


@pytest.mark.parametrize(
    ("limit", "linked", "most"),
    [
        (Limit(share=0.02), 0, FLOOR),
        (Limit(share=0.02), 1_000, FLOOR),
        (Limit(share=0.02), 1_000_000, 20_000),
        (Limit(share=0.0), 1_000, FLOOR),
        (Limit(number=0), 1_000_000, 0),
        (Limit(number=100), 10, 100),
        (OFF, 1_000_000, None),
    ],
)
def test_a_share_never_means_a_handful_and_a_number_is_meant(
    limit: Limit, linked: int, most: int | None
) -> None:
    assert limit.most(linked) == most


def test_the_limit_itself_passes_and_one_more_does_not() -> None:
    assert judge({(What.BLANKS, "phone"): 25}, 40, Guard()) == []
    (one,) = judge({(What.BLANKS, "phone"): 26, (What.BLANKS, "email"): 20}, 40, Guard())
    assert (one.what, one.field, one.number, one.most) == (What.BLANKS, "phone", 26, 25)


def test_fields_are_not_added_up() -> None:
    assert judge({(What.BLANKS, f"field{i}"): 25 for i in range(100)}, 40, Guard()) == []


def test_by_default_nobody_is_asked_about_an_import() -> None:
    million = 1_000_000
    assert judge({(What.CHANGES, ""): million, (What.CREATES, ""): million}, million, Guard()) == []


def test_what_is_counted_is_what_has_a_limit() -> None:
    assert {field.name for field in fields(Guard)} == set(What)
    assert Guard().on == {What.BLANKS, What.DELETIONS, What.KEYS}
    off = Guard(OFF, OFF, OFF, OFF, OFF)
    assert (off.on, off.least) == (frozenset(), None)
    assert Guard().least == FLOOR
    assert Guard(creates=Limit(number=3)).least == 3


def test_the_sentence_names_the_gravest_first_and_not_everything() -> None:
    counts = {(What.KEYS, "email"): 2_000, (What.DELETIONS, ""): 1_500}
    counts |= {(What.BLANKS, "phone"): 1_200, (What.BLANKS, "title"): 1}
    guard = Guard(blanks=Limit(number=0))
    assert sentence(judge(counts, 2_000, guard), 2_000) == (
        "1,200 records would lose phone (blanks: 0 may pass); 1 record would lose title (blanks: 0 may pass);"
        " 1,500 records would be deleted (deletions: 40 may pass); and 1 more like these; 2,000 are linked"
    )


@pytest.mark.parametrize(
    ("read", "linked", "fault"),
    [
        (0, 0, False),
        (0, 25, False),
        (0, 26, True),
        (499, 1_000, True),
        (500, 1_000, False),
        (2_000, 1_000, False),
    ],
)
def test_a_crm_that_returns_next_to_nothing_is_at_fault(read: int, linked: int, fault: bool) -> None:
    assert is_empty(read, linked) is fault
