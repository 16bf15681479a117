"""The plan of faults: a YAML or JSON file that says what goes wrong, how often, and counts how often it did.

Here: reading a plan, and the decision whether a fault strikes. Not here: acting a fault out on a request (faults.py) or
within a vendor's own logic (each simulator asks ``Plan.happens`` where something can go wrong).

A plan is a list of faults, or ``{seed: N, settings: {...}, faults: [...]}`` with settings of the simulator to begin with.
One fault strikes requests, or an event inside the simulator::

    - name: bulk results break off        # for the report; default "fault N"
      match: {method: GET, path: /jobs/query/.+/results, query: locator=}   # each a regex, searched
      every: 3              # or probability: 0.1, or neither: every matching request
      after: 10             # the first 10 matching requests pass
      limit: 2              # strikes at most twice
      effect: {truncate: 0.5}

    - name: rows are locked
      event: row lock       # what the vendor's logic does at that point; see each simulator's plan in benchmarks/faults
      match: {subject: Contact}
      probability: 0.05
      do: {}                # details, as the event wants them

Effects, freely combined where that makes sense:

    status: 503             answer so, in the vendor's shape, without reaching the simulator
    body: {...}, headers: {...}, retry_after: 5      instead of / besides the vendor's own
    delay: 1.5              seconds before anything else happens
    stall: 1.5              seconds between what the request does and its answer
    drop: before | after    reset the connection before, or after, the request took effect
    refuse: 1.0             for so many seconds nobody gets in: new connections are refused, open ones reset
    hang_up: 1.0            the same, but new connections are accepted and reset at once, before the TLS handshake
    mute: 5.0               the same, but new connections get no TLS handshake until the seconds are over
    late: 2.0               reset the connection at once; the request takes effect so many seconds later
    truncate: 0.5           the true answer, cut after that share of its bytes, connection closed
    html: true              status 200 and a login page, as proxies and maintenance pages do
    bad_gzip: true          the true answer, said to be gzip, but not gzip
    charset: cp1252         the true answer in another encoding than it says
    rows: repeat            a page's rows after those of the page before, once more; lose: without the last third of
                            them; shuffle: in another order (JSON pages and CSV)
    act: {...}              something happens to the account first: see ``act`` of the simulator's faults module
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ruamel.yaml import YAML


class PlanError(ValueError):
    """A fault plan cannot be used; the message names the fault and the key."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does to a request; see the module's docstring."""

    status: int | None = None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    delay: float = 0.0
    stall: float = 0.0
    drop: Literal["before", "after"] | None = None
    refuse: float | None = None
    hang_up: float | None = None
    mute: float | None = None
    late: float | None = None
    truncate: float | None = None
    html: bool = False
    bad_gzip: bool = False
    charset: str | None = None
    rows: Literal["repeat", "lose", "shuffle"] | None = None
    act: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Fault:
    """One rule, with its counters: how many requests or events matched, how many it struck."""

    name: str
    effect: Effect
    event: str | None = None
    do: Mapping[str, Any] = field(default_factory=dict)
    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    probability: float = 1.0
    every: int = 1
    after: int = 0
    limit: int | None = None
    matched: int = 0
    hits: int = 0

    def matches(self, texts: Mapping[str, str]) -> bool:
        return all(pattern.search(texts.get(name, "")) for name, pattern in self.patterns.items())

    def strikes(self, texts: Mapping[str, str], dice: random.Random) -> bool:
        """Whether this request or event is hit; counts either way."""
        if not self.matches(texts):
            return False
        self.matched += 1
        turn = self.matched - self.after
        if turn <= 0 or turn % self.every or (self.limit is not None and self.hits >= self.limit):
            return False
        if self.probability < 1.0 and dice.random() >= self.probability:
            return False
        self.hits += 1
        return True


class Plan:
    """The faults in force, in order; the first that strikes is acted out."""

    def __init__(
        self, faults: list[Fault] | None = None, seed: int = 0, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.faults = faults or []
        self.settings = dict(settings or {})
        self.dice = random.Random(seed)
        self.at_its_end: list[Callable[[], None]] = []
        """What has to be taken back when another plan is put in force."""

    def pick(self, method: str, path: str, query: str) -> Fault | None:
        """The fault that strikes a request."""
        texts = {"method": method, "path": path, "query": query}
        return next((f for f in self.faults if f.event is None and f.strikes(texts, self.dice)), None)

    def repeats(self, method: str, path: str, query: str) -> bool:
        """Whether the rows of this page may come again with the next one."""
        texts = {"method": method, "path": path, "query": query}
        return any(f.effect.rows == "repeat" and f.matches(texts) for f in self.faults)

    def happens(self, event: str, subject: str = "") -> Mapping[str, Any] | None:
        """The details of the fault that strikes an event; None if all goes well."""
        for fault in self.faults:
            if fault.event == event and fault.strikes({"subject": subject}, self.dice):
                return fault.do
        return None

    def seconds_before(self, now: float) -> float:
        """How long before ``now`` (seconds) a write is stamped that others see from now on.

        By the events "late commit" ``{seconds}`` and "equal stamps" ``{seconds}``: cut down to multiples of it.
        """
        late, same = self.happens("late commit"), self.happens("equal stamps")
        before = float(late["seconds"]) if late is not None else 0.0
        return before + ((now - before) % float(same["seconds"]) if same is not None else 0.0)

    def replace(self, document: object) -> None:
        """Put another plan in force; counters start anew. Raises PlanError."""
        read = parse(document)
        while self.at_its_end:
            self.at_its_end.pop()()
        self.faults = read.faults
        self.settings = dict(read.settings)
        self.dice = random.Random(read.seed)

    def report(self) -> list[dict[str, object]]:
        return [{"name": f.name, "matched": f.matched, "hits": f.hits} for f in self.faults]


class Document(NamedTuple):
    """A plan as read from a file."""

    seed: int
    faults: list[Fault]
    settings: Mapping[str, Any]


def load(path: Path) -> Plan:
    """Read a plan from a YAML or JSON file. Raises PlanError."""
    read = parse(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    return Plan(read.faults, read.seed, read.settings)


def parse(document: object) -> Document:
    """Check a plan's document. Raises PlanError."""
    seed = 0
    settings: Mapping[str, Any] = {}
    entries = document
    if isinstance(document, Mapping):
        _known("plan", document, frozenset({"seed", "settings", "faults"}))
        seed = int(document.get("seed", 0))
        settings = document.get("settings") or {}
        entries = document.get("faults", [])
    if entries is None:
        entries = []
    if not isinstance(entries, list) or not isinstance(settings, Mapping):
        raise PlanError("A fault plan is a list of faults, or a mapping with seed, settings and faults.")
    return Document(seed, [_fault(number, entry) for number, entry in enumerate(entries, 1)], settings)


FAULT_KEYS = frozenset({"name", "match", "effect", "event", "do", "probability", "every", "after", "limit"})
EFFECT_KEYS = frozenset(Effect.__dataclass_fields__)
CHOICES = {"drop": {None, "before", "after"}, "rows": {None, "repeat", "lose", "shuffle"}}


def _fault(number: int, entry: object) -> Fault:
    if not isinstance(entry, Mapping):
        raise PlanError(f"Fault {number} must be a mapping with match and effect.")
    name = str(entry.get("name", f"fault {number}"))
    _known(name, entry, FAULT_KEYS)
    event = entry.get("event")
    match, effect, do = (
        entry.get("match") or {},
        entry.get("effect", {} if event else None),
        entry.get("do") or {},
    )
    if not all(isinstance(each, Mapping) for each in (match, effect, do)):
        raise PlanError(f"Fault {number} ({name}): effect, match and do must be mappings.")
    if event is not None and effect:
        raise PlanError(f"Fault {number} ({name}): an event has no effect on a request; say what to do.")
    _known(name, match, frozenset({"subject"} if event else {"method", "path", "query"}))
    _known(name, effect, EFFECT_KEYS)
    for key, allowed in CHOICES.items():
        if effect.get(key) not in allowed:
            raise PlanError(f"Fault {number} ({name}): {key} is one of {sorted(filter(None, allowed))}.")
    limit = entry.get("limit")
    return Fault(
        name=name,
        effect=Effect(**{str(key): value for key, value in effect.items()}),
        event=event,
        do=do,
        patterns={str(key): re.compile(str(pattern)) for key, pattern in match.items()},
        probability=float(entry.get("probability", 1.0)),
        every=max(1, int(entry.get("every", 1))),
        after=int(entry.get("after", 0)),
        limit=None if limit is None else int(limit),
    )


def _known(name: str, mapping: Mapping[Any, Any], allowed: frozenset[str]) -> None:
    unknown = sorted(set(map(str, mapping)) - allowed)
    if unknown:
        raise PlanError(f"Fault {name!r}: unknown key {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}.")
