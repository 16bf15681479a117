"""The reasons of verdicts and the answers of CRMs in plain words, for people who ask why."""

import re
from collections.abc import Mapping
from typing import Any

from crm_sync.core.decide import OVERWRITTEN

_BOTH = "changed on both sides; "

_REASONS: tuple[tuple[str, str], ...] = (
    ("new in the CRM", "{crm} had a record that none in the hub matched"),
    ("new in the hub", "the hub had a record that {crm} did not have"),
    ("matched", "recognised as the same record, by its external id or a match rule"),
    ("changed in the CRM", "changed in {crm}, and not in the hub since both last agreed"),
    ("changed in the hub", "changed in the hub, and not in {crm} since both last agreed"),
    ("first agreement: blank in the CRM", "compared for the first time: {crm} had nothing there"),
    ("first agreement: blank in the hub", "compared for the first time: the hub had nothing there"),
    ("inbound field: the CRM is the authority", "the mapping says inbound: what {crm} says holds"),
    (
        "inbound field: (?P<a>.+) is the authority before this CRM",
        "the mapping says inbound for both: what {a} says holds before what {crm} says",
    ),
    ("outbound field: the hub is the authority", "the mapping says outbound: what the hub says holds"),
    (
        re.escape(OVERWRITTEN),
        "the mapping says outbound: what was changed in {crm} is overwritten with the hub's value",
    ),
    (
        "outbound field: the CRM makes this of what is sent",
        "{crm} rewrites what is sent; that was accepted, so that it is not sent for ever",
    ),
    (
        r"outbound field: changed in the CRM after (?P<a>\d+) overwrites",
        "the mapping says outbound, but {crm} has changed it again after {a} overwrites: a person decides",
    ),
    ("manual", _BOTH + "the policy is manual: a person decides"),
    ("hub_wins", _BOTH + "the policy hub_wins gave it to the hub"),
    ("crm_wins", _BOTH + "the policy crm_wins gave it to {crm}"),
    (
        "prefer_crm_unless_blank",
        _BOTH + "the policy prefer_crm_unless_blank takes {crm}'s value unless it is blank",
    ),
    (
        "(?P<a>.+): the times are equal or unknown",
        _BOTH + "{a}, and no telling which is newer: a person decides",
    ),
    (
        r"(?P<a>.+) \(hub (?P<b>field|record) time, CRM record time\): crm is newer",
        _BOTH + "{a}: {crm}'s record was changed after the hub's {b}",
    ),
    (
        r"(?P<a>.+) \(hub (?P<b>field|record) time, CRM record time\): hub is newer",
        _BOTH + "{a}: the hub's {b} was changed after {crm}'s record",
    ),
    (
        "(?P<a>.+): the file of (?P<b>.+) comes first",
        _BOTH + "{a}: the times tell nothing, and the file of {b} comes first",
    ),
    ("(?P<a>rule #.+ by .+: .+|.+ against .+ of .+)", _BOTH + "{a}"),
    (
        "force: the CRM's value overwrites",
        "the run was told (--force) that {crm}'s values overwrite the hub's",
    ),
    ("decided by (?P<a>.+): the CRM keeps its value", "{a} decided that both sides stay as they are"),
    ("decided by (?P<a>.+)", "as {a} decided"),
    ("undo of (?P<a>.+) by (?P<b>.+)", "{b} took back the changes of {a}"),
    ("both sides mean the same", "both sides mean the same"),
    (
        "(?P<a>deleted|brought back) in the (?P<b>hub|CRM): deletes: (?P<d>.+)",
        "{a} in the {b}; of that the mapping says: deletes: {d}",
    ),
    (
        "the referenced record is not linked yet",
        "the record that it refers to is not known on the other side yet",
    ),
)
"""What a reason says, as a pattern, and the words for it, first match first. {crm}: the connection's name."""

_PATTERNS = tuple((re.compile(said), words) for said, words in _REASONS)
_PLAN = re.compile(r" \(plan \d+, approved by .+\)$")
_CONFLICT = re.compile(r" \(conflict (\d+)\)")
_PERSON = (
    re.compile(r"decided by (.+?)(?: \(conflict \d+\))?(?:: the CRM keeps its value)?"),
    re.compile(r"undo of .+ by (.+)"),
    re.compile(r"rule #\d+ by ([^:]+): .*"),
)
_HOLES = re.compile(r"{(crm|a|b|d)}")


def reason(text: str, connection: str) -> str:
    """A verdict's reason in plain words; one that is not in the table is given as it is."""
    if planned := _PLAN.search(text):
        return reason(text[: planned.start()], connection) + planned[0]
    conflict = _CONFLICT.search(text)
    plain = _CONFLICT.sub("", text, count=1)
    number = f" (conflict #{conflict[1]})" if conflict else ""
    for pattern, words in _PATTERNS:
        if found := pattern.fullmatch(plain):
            return _filled(words, {"crm": connection, **found.groupdict()}) + number
    return text


def _filled(words: str, holes: Mapping[str, str]) -> str:
    """All at once: a name may look like a hole itself."""
    return _HOLES.sub(lambda hole: holes[hole[1]], words)


def person(text: str) -> str | None:
    """Who decided it, made the rule, or took something back, if the reason says that somebody did."""
    plain = _PLAN.sub("", text)
    return next((found[1] for pattern in _PERSON if (found := pattern.fullmatch(plain))), None)


def answer(told: Mapping[str, Any] | None, field: str | None) -> str:
    """What the CRM answered to a write; "" if there was nothing to answer."""
    if told is None:
        return ""
    if settled := told.get("settled"):
        if str(settled).startswith("unknown"):
            return "no answer came; whether it took effect cannot be told"
        return f"no answer came; that it took effect was {settled}"
    said = "accepted"
    if gone := told.get("deleted"):
        return f"deleted {gone}" if gone == "by this call" else f"no answer came; {gone}"
    if told.get("created") is True:
        said = f"created as {told.get('id')}"
    elif told.get("created") is False:
        said = f"accepted for {told.get('id')}"
    if field is not None and field in (told.get("rewritten") or ()):
        said += "; read back, it says something else"
    return said
