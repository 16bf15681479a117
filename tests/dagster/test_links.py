"""Text of strangers in Markdown: whatever it is, it stays one visible line in its code span."""

import unicodedata
from datetime import datetime
from typing import get_args
from urllib.parse import unquote

import yaml
from hypothesis import given
from hypothesis import strategies as st

from crm_sync.assets import links
from crm_sync.hub.review import Decision


@given(st.text(max_size=120))
def test_any_text_is_one_code_span_without_bars(text: str) -> None:
    shown = links.code(text)
    assert "\n" not in shown
    assert "|" not in shown
    if shown.startswith("`"):
        assert "`" not in shown[1:-1]
        assert shown.endswith("`")
        assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs"} or c == "\u200d" for c in shown)
    else:
        assert shown.startswith("*")


def test_blank_empty_and_missing_are_told_apart() -> None:
    assert [links.code(text) for text in (None, "", "  ", "a")] == [
        "*blank*",
        "*empty*",
        "*2 blank characters*",
        "`a`",
    ]


def test_what_cannot_be_seen_is_shown() -> None:
    assert links.plain("a\u202eb\x00c\r\nd\te") == "a<U+202E>b<U+0000>c⏎d e"
    assert links.plain("👩\u200d💻 é") == "👩\u200d💻 é"
    assert links.plain("x" * 300) == "x" * 199 + "…"


@given(
    st.integers(1),
    st.datetimes(timezones=st.timezones()),
    st.sampled_from(get_args(Decision)),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_a_link_holds_nothing_that_could_end_it(
    number: int, as_of: datetime, decision: Decision, location: str
) -> None:
    link = links.resolve(number, as_of, decision, location=location)
    assert link.isascii()
    assert not set(link) & set(" |()<>[]`\"'\\\n")
    config = yaml.safe_load(unquote(link.rpartition("config=")[2]))
    filled = config["ops"]["resolve"]["config"]
    assert datetime.fromisoformat(filled.pop("as_of")) == as_of
    assert filled == {"ids": str(number), "decision": decision, "note": ""}
