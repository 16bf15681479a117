"""Associations: which types there are between object types, and who is linked to whom.

Here: the catalogue of type ids (they depend on the direction) and the links, kept in both directions.
Not here: requests (associations.py). Source: associations v4 guide, table of association type ids.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

HUBSPOT, USER = "HUBSPOT_DEFINED", "USER_DEFINED"


@dataclass(frozen=True, slots=True)
class LinkType:
    """One direction of a kind of link. ``inverse`` is the id of the other direction."""

    id: int
    source: str
    target: str
    name: str
    inverse: int
    label: str | None = None
    category: str = HUBSPOT
    primary: bool = False

    def spec(self) -> dict[str, Any]:
        return {"category": self.category, "typeId": self.id, "label": self.label}


# (from, to, id, id of the way back)
_PLAIN = (
    ("contacts", "companies", 279, 280), ("contacts", "deals", 4, 3), ("companies", "deals", 342, 341),
    ("contacts", "tickets", 15, 16), ("companies", "tickets", 340, 339), ("deals", "tickets", 27, 28),
    ("deals", "line_items", 19, 20), ("notes", "contacts", 202, 201), ("notes", "companies", 190, 189),
    ("notes", "deals", 214, 213), ("tasks", "contacts", 204, 203), ("tasks", "companies", 192, 191),
    ("tasks", "deals", 216, 215), ("calls", "contacts", 194, 193), ("calls", "companies", 182, 181),
    ("calls", "deals", 206, 205), ("meetings", "contacts", 200, 199), ("meetings", "companies", 188, 187),
    ("meetings", "deals", 212, 211), ("emails", "contacts", 198, 197), ("emails", "companies", 186, 185),
    ("emails", "deals", 210, 209), ("leads", "contacts", 578, 579), ("leads", "companies", 610, 611),
    ("notes", "tickets", 228, 227), ("tasks", "tickets", 230, 229), ("calls", "tickets", 220, 219),
    ("contacts", "contacts", 449, 449), ("companies", "companies", 450, 450), ("deals", "deals", 451, 451),
)  # fmt: skip
_PRIMARY = (("contacts", "companies", 1, 2), ("deals", "companies", 5, 6), ("tickets", "companies", 26, 25))


@dataclass(slots=True)
class Links:
    """Every link, in both directions: (from kind, to kind) -> from id -> to id -> type ids.

    ``seeded`` has the links of records whose links nobody changed: (from kind, to kind) -> from id -> (to ids, type ids).
    """

    types: dict[int, LinkType] = field(default_factory=dict)
    seeded: dict[tuple[str, str], tuple[Callable[[int], list[int]], tuple[int, ...]]] = field(
        default_factory=dict
    )
    rows: dict[tuple[str, str], dict[int, dict[int, tuple[int, ...]]]] = field(default_factory=dict)
    next_type: int = 1000

    def define_standard(self, singular: dict[str, str]) -> None:
        """Enter HubSpot's own types; ``singular`` maps contacts -> contact and so on."""
        primaries = {frozenset((a, b)) for a, b, _, _ in _PRIMARY}
        for a, b, there, back in _PLAIN:
            suffix = "_unlabeled" if frozenset((a, b)) in primaries else ""
            self._define_pair(a, b, there, back, singular, suffix=suffix)
        for a, b, there, back in _PRIMARY:
            self._define_pair(a, b, there, back, singular, label="Primary", primary=True)
        self.types[13] = LinkType(
            13, "companies", "companies", "parent_to_child_company", 14, "Child Company"
        )
        self.types[14] = LinkType(
            14, "companies", "companies", "child_to_parent_company", 13, "Parent Company"
        )

    def define_label(
        self, a: str, b: str, name: str, label: str | None, back_label: str | None = None
    ) -> list[LinkType]:
        """A label of the portal's own (or a plain type for a custom object); returns both directions."""
        there, back = self.next_type, self.next_type + 1
        self.next_type += 2
        category = USER
        pair = [
            LinkType(there, a, b, name, back, label, category),
            LinkType(back, b, a, name if a != b else f"{name}_inverse", there, back_label or label, category),
        ]
        for each in pair:
            self.types[each.id] = each
        return pair

    def relabel(self, number: int, label: str, back_label: str | None) -> bool:
        """Change the text of a label of the portal's own; False if there is none."""
        found = self.types.get(number)
        if found is None or found.category != USER:
            return False
        self.types[number] = replace(found, label=label)
        self.types[found.inverse] = replace(self.types[found.inverse], label=back_label or label)
        return True

    def remove_label(self, number: int) -> None:
        """Forget a label and take it from all links."""
        found = self.types[number]
        for other, types in [
            (left, rows) for left, rows in self.rows.get((found.source, found.target), {}).items()
        ]:
            for right, ids in list(types.items()):
                if number in ids:
                    self._set(found.source, other, found.target, right, set(ids) - {number})
        del self.types[number]
        self.types.pop(found.inverse, None)

    def between(self, a: str, b: str) -> list[LinkType]:
        """All types in this direction, the plain one first."""
        found = [t for t in self.types.values() if t.source == a and t.target == b]
        return sorted(found, key=lambda t: (t.label is not None, t.id))

    def plain(self, a: str, b: str) -> LinkType | None:
        return next((t for t in self.between(a, b) if t.label is None), None)

    def of(self, a: str, number: int, b: str) -> dict[int, tuple[int, ...]]:
        """Linked ids with the type ids of each link."""
        found = self.rows.get((a, b), {}).get(number)
        if found is None and (a, b) in self.seeded:
            others, types = self.seeded[a, b]
            return dict.fromkeys(others(number), types)
        return found or {}

    def plant(
        self,
        a: str,
        b: str,
        type_: LinkType,
        there: Callable[[int], list[int]],
        back: Callable[[int], list[int]],
    ) -> None:
        """Begin with links of this type (and its unlabelled twin) from ``a`` to ``b``."""
        plain = self.plain(a, b)
        types = sorted({type_.id} | ({plain.id} if plain is not None else set()))
        self.seeded[a, b] = (there, tuple(types))
        self.seeded[b, a] = (back, tuple(sorted(self.types[t].inverse for t in types)))

    def put(
        self, a: str, left: int, b: str, right: int, types: Iterable[LinkType], *, replace: bool = False
    ) -> bool:
        """Link two records; a label or primary brings its unlabelled twin along. Returns whether anything changed."""
        wanted = {t.id for t in types}
        plain = self.plain(a, b)
        if plain is not None:
            wanted.add(plain.id)
        before = set(self.of(a, left, b).get(right, ()))
        after = wanted if replace else before | wanted
        for primary in (t for t in map(self.types.__getitem__, wanted) if t.primary):
            self._demote(primary, left, right)
        self._set(a, left, b, right, after)
        return after != before

    def drop(self, a: str, left: int, b: str, right: int, types: Iterable[int] | None = None) -> bool:
        """Unlink (all types, or only these; dropping the unlabelled one drops all). Returns whether it was linked."""
        before = set(self.of(a, left, b).get(right, ()))
        plain = self.plain(a, b)
        gone = (
            before if types is None or (plain is not None and plain.id in set(types)) else before & set(types)
        )
        if not gone:
            return False
        self._set(a, left, b, right, before - gone)
        return True

    def drop_all(self, a: str, number: int) -> None:
        """Unlink a record that is gone from everything."""
        for target, other, _ in list(self.all_of(a, number)):
            self._set(a, number, target, other, set())

    def all_of(self, a: str, number: int) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        """(other kind, other id, type ids) of every link of a record."""
        for source, target in {**self.rows, **self.seeded}:
            if source == a:
                for other, types in list(self.of(a, number, target).items()):
                    yield target, other, types

    def primary_of(self, a: str, number: int, b: str) -> int | None:
        """The id linked as primary."""
        for other, types in self.of(a, number, b).items():
            if any(self.types[t].primary for t in types):
                return other
        return None

    def _define_pair(
        self,
        a: str,
        b: str,
        there: int,
        back: int,
        singular: dict[str, str],
        *,
        suffix: str = "",
        label: str | None = None,
        primary: bool = False,
    ) -> None:
        for source, target, one, other in ((a, b, there, back), (b, a, back, there)):
            name = f"{singular[source]}_to_{singular[target]}{suffix}"
            self.types[one] = LinkType(one, source, target, name, other, label, primary=primary)

    def _demote(self, primary: LinkType, left: int, right: int) -> None:
        """Only one company is primary: seen from the contact, deal or ticket, whichever way the link was made."""
        a, b, number, keep = primary.source, primary.target, left, right
        if a == "companies":
            primary = self.types[primary.inverse]
            a, b, number, keep = primary.source, primary.target, right, left
        for other, types in list(self.of(a, number, b).items()):
            if other != keep and primary.id in types:
                self._set(a, number, b, other, set(types) - {primary.id})

    def _set(self, a: str, left: int, b: str, right: int, types: set[int]) -> None:
        there = tuple(sorted(types))
        back = tuple(sorted(self.types[t].inverse for t in types))
        for source, one, target, other, ids in ((a, left, b, right, there), (b, right, a, left, back)):
            rows = self.rows.setdefault((source, target), {})
            if one not in rows:
                rows[one] = self.of(source, one, target)
            if ids:
                rows[one][other] = ids
            else:
                rows[one].pop(other, None)
