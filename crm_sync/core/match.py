"""How alike two records are, and what follows: the same, perhaps the same (a person decides), or not the same.

Each thing that is compared (a field, or several fields as one text) has points. Alike values bring their points, partly
alike texts bring a part, values that differ bring none. What is blank on a side is not compared; unless at least half
of all points were compared, two records are never alike. The score is the points brought of the points compared.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz import fuzz

from crm_sync.core.spec import FieldSpec, FieldType, Similar

MARGIN = 0.1
"""So much better than the next candidate the best must be to be linked without a person."""

COMPARED = 0.5
"""Of the points, so many must be compared."""

LEGAL = 0.9
"""What is left of the likeness of two firms' names that are the same but for their legal forms: two firms of one house."""

_ALIKE = 0.7  # unrelated names share some letters: below this, texts differ
_TEXTS = frozenset({FieldType.STRING})
_WORDS = re.compile(r"[^\W_]+")
_LEGAL = frozenset(
    [
        "ab",
        "ag",
        "as",
        "bv",
        "co",
        "company",
        "corp",
        "corporation",
        "gmbh",
        "inc",
        "incorporated",
        "kg",
        "limited",
        "llc",
        "llp",
        "ltd",
        "nv",
        "oy",
        "plc",
        "pty",
        "sa",
        "sarl",
        "sas",
        "spa",
        "srl",
    ]
)
"""Words of a firm's name that its people leave out or spell differently."""
_SAME_FORM = {"company": "co", "corporation": "corp", "incorporated": "inc", "limited": "ltd"}

Outcome = Literal["link", "review", "create"]


@dataclass(frozen=True, slots=True)
class Score:
    """total: 0 to 1; parts: how alike each thing is that was compared, by its name ("phone", "first_name + last_name")."""

    total: float
    parts: Mapping[str, float]

    def __str__(self) -> str:
        """As the thresholds are written; exactly, lest "95%" be below `link_above: 95%`."""
        return f"{self.total:.1%}"


def score(
    similar: Similar,
    fields: Mapping[str, FieldSpec],
    ours: Mapping[str, str | None],
    theirs: Mapping[str, str | None],
) -> Score:
    """How alike two records are. Values are canonical text in the hub's terms, by field."""
    parts: dict[str, float] = {}
    brought = compared = every = 0.0
    for names, points in similar.compare:
        every += points
        alike = _alike([fields[name] for name in names], ours, theirs)
        if alike is not None:
            parts[" + ".join(names)] = round(alike, 3)
            brought += points * alike
            compared += points
    if compared < COMPARED * every:
        return Score(0.0, parts)
    return Score(round(brought / compared, 3), parts)


def outcome(similar: Similar, totals: Sequence[float]) -> Outcome:
    """What follows from the scores of all candidates of one record."""
    ranked = sorted(totals, reverse=True)
    if not ranked or ranked[0] < similar.review_above:
        return "create"
    unique = len(ranked) == 1 or ranked[0] - ranked[1] >= MARGIN
    return "link" if ranked[0] >= similar.link_above and unique else "review"


def _alike(
    specs: Sequence[FieldSpec], ours: Mapping[str, str | None], theirs: Mapping[str, str | None]
) -> float | None:
    """0 to 1; None if a side is blank."""
    if all(spec.type in _TEXTS for spec in specs):
        return text_alike(
            " ".join(ours[s.name] or "" for s in specs),
            " ".join(theirs[s.name] or "" for s in specs),
            legal_forms=len(specs) == 1,  # several fields make a person's name, in which "Sa" is a word
        )
    parts = []
    for spec in specs:
        a, b = plain(spec, ours[spec.name]), plain(spec, theirs[spec.name])
        if not a or not b:
            return None
        found = text_alike(a, b) if spec.type in _TEXTS else float(a == b)
        if spec.type is FieldType.URL and _elsewhere(ours[spec.name], theirs[spec.name]):
            found = 0.0
        parts.append(found or 0.0)
    return min(parts)


def _elsewhere(ours: str | None, theirs: str | None) -> bool:
    """Whether two addresses name different pages: two people's profiles are on the same host."""
    mine, other = (re.sub(r"[?#].*$", "", (url or "").strip().lower()) for url in (ours, theirs))
    paths = [re.sub(r"^([a-z]+://)?[^/]*", "", url).rstrip("/") for url in (mine, other)]
    return all(paths) and paths[0] != paths[1]


def text_alike(a: str, b: str, *, legal_forms: bool = True) -> float | None:
    """How alike two texts are, whatever the order, case, accents and punctuation of their words; None for a blank.
    legal_forms: words such as Inc and GmbH count only if both texts have such and not the same ones."""
    mine, other = _words(a), _words(b)
    if not mine or not other:
        return None
    if not legal_forms:
        return _ratio(mine, other)
    alike = _ratio(*([word for word in words if word not in _LEGAL] or words for words in (mine, other)))
    forms = [
        {_SAME_FORM.get(word, word) for word in words if word in _LEGAL} - {"co"} for words in (mine, other)
    ]
    return alike * LEGAL if all(forms) and forms[0] != forms[1] else alike


def _ratio(mine: Sequence[str], other: Sequence[str]) -> float:
    alike = fuzz.token_sort_ratio(" ".join(mine), " ".join(other)) / 100
    return alike if alike >= _ALIKE else 0.0


def plain(spec: FieldSpec, value: str | None) -> str:
    """What two values of a field that is not a text must have in common to be the same."""
    text = (value or "").strip().lower()
    if spec.type is FieldType.URL:
        return re.sub(r"[/?#:].*$", "", re.sub(r"^[a-z]+://(www\.)?|^www\.", "", text))
    return text


def _words(text: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return _WORDS.findall("".join(char for char in decomposed if not unicodedata.combining(char)))
