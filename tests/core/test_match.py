"""How alike two records are: on labelled pairs, the same and not the same, at the default thresholds."""

import pytest

from crm_sync.core import match
from crm_sync.core.spec import FieldSpec, FieldType, Similar, VendorField

FIELDS = {
    name: FieldSpec(name, VendorField(name, kind))
    for name, kind in {
        "first": FieldType.STRING,
        "last": FieldType.STRING,
        "phone": FieldType.PHONE,
        "company": FieldType.REFERENCE,
        "firm": FieldType.STRING,
        "website": FieldType.URL,
    }.items()
}
PEOPLE = Similar(((("phone",), 40), (("first", "last"), 40), (("company",), 20)), 0.95, 0.85)
FIRMS = Similar(((("firm",), 60), (("website",), 40)), 0.95, 0.85)

# first, last, phone, company of one side, of the other; whether they are one person
PAIRS = [
    (("Ann", "Lee", "+1415", "c1"), ("Ann", "Lee", "+1415", "c1"), True),
    (("ann", "LEE", "+1415", "c1"), ("Ann", "Lee", "+1415", "c1"), True),
    (("José", "Núñez", "+1416", "c1"), ("Jose", "Nunez", "+1416", "c1"), True),
    (("Jürgen", "Groß", "+4930", "c2"), ("Jurgen", "Gross", "+4930", "c2"), True),
    (("Lee", "Ann", "+1415", "c1"), ("Ann", "Lee", "+1415", "c1"), True),
    (("Ann", "Lee", None, "c1"), ("Ann", "Lee", "+1415", "c1"), True),
    (("Ann", "Lee", "+1415", None), ("Ann", "Lee", "+1415", "c1"), True),
    (("Mary-Jane", "O'Neil", "+1417", "c3"), ("Mary Jane", "O Neil", "+1417", "c3"), True),
    (("Katherine", "Smith", "+1418", "c4"), ("Catherine", "Smith", "+1418", "c4"), True),
    (("Jon", "Snow", "+1419", "c5"), ("John", "Snow", "+1419", "c5"), True),
    (("Stephen", "Brown", "+1420", "c6"), ("Steven", "Brown", "+1420", "c6"), True),
    (("Ann", "Lee-Smith", "+1415", "c1"), ("Ann", "Lee Smith", "+1415", "c1"), True),
    (("Anna Maria", "Rossi", "+3906", "c7"), ("Anna", "Rossi", "+3906", "c7"), True),
    (("Bob", "Miller", "+1421", "c8"), ("Robert", "Miller", "+1421", "c8"), True),
    (("Ann", "Lee", "+1415", "c1"), ("Bob", "Ray", "+1415", "c1"), False),  # the firm's switchboard
    (("Ann", "Lee", "+1415", "c1"), ("Ann", "Lee", "+1999", "c9"), False),  # a namesake elsewhere
    (("Ann", "Lee", "+1415", "c1"), ("Amy", "Low", "+1998", "c1"), False),
    (("Ann", "Lee", None, "c1"), ("Dan", "Reed", None, "c1"), False),
    (("Ann", "Lee", None, None), ("Ann", "Lee", None, None), False),  # a name alone says too little
    (("Maria", "Garcia", "+1422", None), ("Mario", "Gonzalez", "+1423", None), False),
    ((None, None, "+1415", None), (None, None, "+1415", None), False),
    (("Wei", "Li", "+8610", "c1"), ("Wei", "Lin", "+8611", "c1"), False),
    (("Tom", "Berg", "+1424", "c2"), ("Tim", "Burg", "+1425", "c2"), False),
    (("Ann", "Lee", "+1415", "c1"), ("Ann", "Lee", "+1416", "c1"), False),  # below: both phones are known and differ
]  # fmt: skip


def person(values: tuple[str | None, ...]) -> dict[str, str | None]:
    return dict(zip(("first", "last", "phone", "company"), values, strict=True))


def test_labelled_pairs_at_the_default_thresholds() -> None:
    """What is linked without a person must be right; of the others most come before a person at least."""
    found = [
        (match.outcome(PEOPLE, [match.score(PEOPLE, FIELDS, person(a), person(b)).total]), same)
        for a, b, same in PAIRS
    ]
    linked = [same for outcome, same in found if outcome == "link"]
    shown = [same for outcome, same in found if outcome in ("link", "review")]
    every = sum(same for _, same in found)
    precision, recall = sum(linked) / len(linked), sum(linked) / every
    with_person = sum(shown) / every
    print(f"linked: precision {precision:.2f}, recall {recall:.2f}; with review: recall {with_person:.2f}")
    assert precision == 1
    assert recall >= 0.7
    assert with_person >= 0.9
    assert sum(not same for outcome, same in found if outcome == "review") <= 1


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Acme Inc.", "ACME, Incorporated", True),
        ("Müller GmbH & Co. KG", "Muller", True),
        ("Acme", "Apex", False),
        ("Co", "Co", True),  # a firm called by nothing but such a word
        ("", "Acme", None),
        ("!!!", "Acme", None),
    ],
)
def test_names_of_firms(a: str, b: str, same: bool | None) -> None:
    alike = match.text_alike(a, b)
    assert alike == (None if same is None else float(same))


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("Acme Inc", "Acme Ltd", match.LEGAL),
        ("Acme Holding GmbH", "ACME Holding AG", match.LEGAL),
        ("Acme GmbH", "Acme GmbH & Co. KG", match.LEGAL),
        ("Acme Inc", "Acme", 1.0),  # left out is not another one
        ("Acme Co", "Acme Company Inc.", 1.0),
        ("Acme Limited", "Acme Ltd.", 1.0),
        ("Acme Inc", "Apex Ltd", 0.0),
    ],
)
def test_firms_of_one_name_with_other_legal_forms_are_not_quite_the_same(
    a: str, b: str, alike: float
) -> None:
    assert match.text_alike(a, b) == match.text_alike(b, a) == alike


def test_another_legal_form_is_never_linked_without_a_person() -> None:
    """Even at the same address: two firms of one house."""
    ours = {"firm": "Acme Inc", "website": "acme.example"}
    theirs = {"firm": "Acme Ltd", "website": "acme.example"}
    assert match.outcome(FIRMS, [match.score(FIRMS, FIELDS, ours, theirs).total]) == "review"


def test_a_score_is_of_what_both_have() -> None:
    ours = {"firm": "Acme Ltd", "website": None}
    assert match.score(FIRMS, FIELDS, ours, {"firm": "ACME", "website": "acme.example"}).total == 1
    assert (
        match.score(
            FIRMS, FIELDS, {"firm": None, "website": "a.example"}, {"firm": "A", "website": "a.example"}
        ).total
        == 0
    )
    found = match.score(
        FIRMS,
        FIELDS,
        {"firm": "Acme", "website": "https://www.acme.example/x"},
        {"firm": "Other", "website": "acme.example"},
    )
    assert (found.total, found.parts) == (0.4, {"firm": 0.0, "website": 1.0})


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [
        ("https://people.example/in/anna-1", "people.example/in/anna-2", 0.0),  # two profiles on one host
        ("https://people.example/in/anna-1/", "people.example/in/anna-1?from=mail", 1.0),
        ("https://www.acme.example/about", "acme.example", 1.0),
    ],
)
def test_addresses_of_pages(ours: str, theirs: str, alike: float) -> None:
    found = match.score(FIRMS, FIELDS, {"firm": "A", "website": ours}, {"firm": "A", "website": theirs})
    assert found.parts["website"] == alike


def test_legal_forms_are_words_of_peoples_names() -> None:
    ours, theirs = person(("Maria", "Sa", "+1415", "c1")), person(("Maria", "Co", "+1415", "c1"))
    assert match.score(PEOPLE, FIELDS, ours, theirs).parts["first + last"] < 1


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ([], "create"),
        ([0.84], "create"),
        ([0.85], "review"),
        ([0.95], "link"),
        ([0.96, 0.85], "link"),
        ([0.87, 0.96], "review"),  # the next one is too near
        ([1.0, 1.0], "review"),
    ],
)
def test_what_follows(totals: list[float], expected: str) -> None:
    assert match.outcome(PEOPLE, totals) == expected
