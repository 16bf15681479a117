"""Records of `unlinked` (see `incoming.py`) that no exact rule has found, compared with hub records that may be the same.

What may be the same is looked up by keys with an index, never row against row: the same telephone number, e-mail
address, URL or id, or the same reference (company) and first letters of the first text. `core.match` gives the scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from psycopg import Connection, sql

from crm_sync.core import match
from crm_sync.core.spec import FieldSpec, FieldType, Similar, StreamSpec
from crm_sync.hub.apart import not_apart
from crm_sync.hub.sql import base_table, hub_table, ident, match_key, to_text

NEW = "new"
"""In the column `how`: a person has decided that this is a new record."""

REVIEW = -2
"""In the column `candidates`: a person decides."""

_MOST = 50  # hub records that are compared with one record by one key
_CROWDED = f"more than {_MOST} hub records have a key of it, and not all of them were compared"
_KEYS = (FieldType.PHONE, FieldType.EMAIL, FieldType.URL, FieldType.ID)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A hub record that may be the same, and how alike it is (0 to 1), as a whole and in each thing compared. linked:
    whether another record of the CRM is linked with it, so that this one cannot be."""

    hub_id: UUID
    score: match.Score
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """A record about which a person decides: who it may be, the best first, and why nobody else can."""

    candidates: Sequence[Candidate]
    note: str = ""

    def __str__(self) -> str:
        number = len(self.candidates)
        best = f", the best with a score of {self.candidates[0].score}" if number else ""
        note = f" ({self.note})" if self.note else ""
        may = "1 hub record" if number == 1 else f"{number} hub records"
        return f"{may} may be the same{best}{note}: a person decides (`crm-sync match --review`)"


def find(conn: Connection, stream: StreamSpec) -> dict[str, Review]:
    """Note in `unlinked` who is linked (found, how); returns those about which a person decides, by CRM id."""
    if stream.similar is None:
        return {}
    links: list[tuple[int, UUID, str]] = []
    reviews: dict[str, Review] = {}
    numbers: list[int] = []
    taken: set[UUID] = set()
    # The most alike first: of two records that are alike the same hub record, the better one gets it.
    for n, crm_id, all_of_them, crowded in sorted(
        _compared(conn, stream, stream.similar), key=lambda one: -one[2][0].score.total
    ):
        left = [one for one in all_of_them if one.hub_id not in taken and not one.linked]
        outcome = match.outcome(stream.similar, [one.score.total for one in left])
        if outcome == "link" and any(
            one.score.total > left[0].score.total - match.MARGIN for one in all_of_them if one not in left
        ):
            outcome = "review"  # it is as much like somebody who has a partner: a double of that one, or the next best
        if outcome == "link" and crowded:
            outcome = "review"  # somebody who was not compared may be as much like it
        if outcome == "link":
            taken.add(left[0].hub_id)
            links.append((n, left[0].hub_id, f"score {left[0].score}"))
        elif outcome == "review":
            best = [one for one in left if one.score.total >= stream.similar.review_above - match.MARGIN]
            reviews[crm_id] = Review(best, _CROWDED if crowded else "")
            numbers.append(n)
    if links:
        conn.execute(
            "update unlinked u set found = l.hub_id, how = l.how"
            " from unnest(%s::bigint[], %s::uuid[], %s::text[]) l (n, hub_id, how) where l.n = u.n",
            [list(column) for column in zip(*links, strict=True)],
        )
    if numbers:
        conn.execute("update unlinked set candidates = %s where n = any(%s)", [REVIEW, numbers])
    return reviews


def blocks(similar: Similar, fields: Sequence[FieldSpec]) -> list[tuple[FieldSpec, FieldSpec | None]]:
    """The keys by which candidates are looked up: a field, and for a reference the text whose first letters count too."""
    compared = [spec for name in similar.fields for spec in fields if spec.name == name]
    text = next((spec for spec in compared if spec.type is FieldType.STRING), None)
    alone: list[tuple[FieldSpec, FieldSpec | None]] = [
        (spec, None) for spec in compared if spec.type in _KEYS
    ]
    return alone + [
        (spec, text) for spec in compared if spec.type is FieldType.REFERENCE and text is not None
    ]


def keys(block: tuple[FieldSpec, FieldSpec | None], alias: str | None, *, typed: bool) -> list[sql.Composed]:
    """Expressions of a block's keys, of a hub row (`typed`) or of `unlinked`. They are also those of its index."""
    spec, text = block
    found = [match_key(spec, ident(alias, spec.name) if alias else ident(spec.name), typed=typed)]
    if text is not None:
        column = ident(alias, text.name) if alias else ident(text.name)
        found.append(sql.SQL("left({}, 3)").format(match_key(text, column, typed=typed)))
    return found


def _compared(
    conn: Connection, stream: StreamSpec, similar: Similar
) -> Iterator[tuple[int, str, list[Candidate], bool]]:
    """Each record with something to compare: its number, CRM id, and candidates, the best first; whether hub records
    were left out, because too many have the same key."""
    names = similar.fields
    specs = {name: stream.field(name) for name in names}
    pairs = sql.SQL(" union all ").join(
        _pairs(stream, block, linked=linked)
        for block in blocks(similar, stream.fields)
        for linked in (False, True)
    )
    rows = conn.execute(
        sql.SQL(
            "with pairs as materialized (select n, id, bool_or(linked) as linked, bool_or(more) as more from ({pairs}) all_of"
            " group by n, id) select u.n, u.crm_id, p.id, p.linked, p.more, {ours}, {theirs} from pairs p"
            " join unlinked u on u.n = p.n cross join lateral (select * from {hub} h where h.id = p.id offset 0) h"
            " order by u.n, p.id"
        ).format(
            pairs=pairs,
            ours=sql.SQL(", ").join(ident("u", name) for name in names),
            theirs=sql.SQL(", ").join(to_text(specs[name], ident("h", name)) for name in names),
            hub=hub_table(stream.entity),
        )
    )
    for (n, crm_id), group in groupby(rows, key=lambda row: (row[0], row[1])):
        candidates, crowded = [], False
        for row in group:
            ours = dict(zip(names, row[5 : 5 + len(names)], strict=True))
            theirs = dict(zip(names, row[5 + len(names) :], strict=True))
            candidates.append(Candidate(row[2], match.score(similar, specs, ours, theirs), row[3]))
            crowded = crowded or row[4]
        yield n, crm_id, sorted(candidates, key=lambda one: (-one.score.total, one.hub_id)), crowded


def _pairs(stream: StreamSpec, block: tuple[FieldSpec, FieldSpec | None], *, linked: bool) -> sql.Composed:
    """n, id and linked of the hub records that have a block's keys, and a link with the CRM or none; the one that has
    `more` is one too many. The fence keeps the planner from walking the hub in the order of its ids."""
    mine = [
        sql.SQL("{} as {}").format(key, ident(f"key{i}"))
        for i, key in enumerate(keys(block, "u", typed=False))
    ]
    matched = [
        sql.SQL("{} = {}").format(key, ident("k", f"key{i}"))
        for i, key in enumerate(keys(block, "h", typed=True))
    ]
    return sql.SQL(
        "(with wanted as materialized (select u.n, u.crm_id, {mine} from unlinked u where u.found is null and u.candidates = 0"
        " and u.how is null) select k.n, f.id, {linked} or f.id in (select found from unlinked where found is not null)"
        " as linked, f.place > {most} as more from wanted k cross join lateral (select l.id, row_number() over (order by l.id)"
        " as place from (select m.id from (select h.id from {hub} h where {matched} and h.archived_at is null offset 0) m"
        " where {linked} = exists (select from {base} b where b.hub_id = m.id) and {together} order by m.id limit {most} + 1) l) f)"
    ).format(
        mine=sql.SQL(", ").join(mine),
        hub=hub_table(stream.entity),
        base=base_table(stream),
        matched=sql.SQL(" and ").join(matched),
        most=sql.Literal(_MOST),
        linked=sql.Literal(linked),
        together=not_apart(stream, ident("k", "crm_id"), ident("m", "id")),
    )
