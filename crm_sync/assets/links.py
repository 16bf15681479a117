"""The addresses of Dagster's UI, and text of strangers in Markdown. No other module knows either.

The pre-filled launchpad is not a documented interface of Dagster: the browser test clicks a link to notice when it
changes. Links are relative, so that they work behind any host name.
"""

import re
import unicodedata
from datetime import UTC, datetime
from urllib.parse import quote

from crm_sync.assets.names import LOCATION, RESOLVE
from crm_sync.hub.review import Decision

OP = "resolve"  # the op of the job `resolve_conflicts`


def resolve(conflict_id: int, as_of: datetime, decision: Decision, *, location: str = LOCATION) -> str:
    """The launchpad of `resolve_conflicts`, filled in for one conflict with the values that it has had since `as_of`. Only
    its id and that moment travel in the address."""
    config = (
        f'ops:\n  {OP}:\n    config:\n      ids: "{conflict_id:d}"\n'
        f'      as_of: "{as_of.astimezone(UTC).isoformat()}"\n      decision: "{decision}"\n      note: ""\n'
    )
    return f"/locations/{quote(location, safe='')}/jobs/{RESOLVE}/playground/setup?config={quote(config, safe='')}"


def check(entity: str) -> str:
    """The page of the check `conflicts` on `hub/<entity>`: the review table."""
    return f"/assets/hub/{quote(entity, safe='')}?view=checks&checkDetail=conflicts"


def run(run_id: str) -> str:
    """The page of a run."""
    return f"/runs/{quote(run_id, safe='')}"


def code(text: str | None, *, longest: int = 80) -> str:
    """Any text as one inline code span that is safe in a cell of a Markdown table.

    Nothing in a code span is interpreted but the backtick that ends it and, in a table, the bar that ends the
    cell: these two become look-alikes, line breaks a sign, other control and direction characters their code.
    """
    if text is None:
        return "*blank*"
    if not text.strip():
        return f"*{len(text)} blank characters*" if text else "*empty*"
    shown = plain(text, longest=longest).replace("`", "\u02cb").replace("|", "\u00a6")
    return f"`{shown.strip()}`"


def plain(text: str, *, longest: int = 200) -> str:
    """Any text as one line of at most `longest` characters, with nothing in it that is not visible."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    one_line = re.sub(r"\r\n|[\r\n\u2028\u2029\x0b\x0c\x85]", "⏎", cut).replace("\t", " ")
    return "".join(_visible(char) for char in one_line)


def _visible(char: str) -> str:
    return (
        f"<U+{ord(char):04X}>"
        if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn"} and char != "\u200d"
        else char
    )
