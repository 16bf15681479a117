"""Where commands write: results to standard output, progress and complaints to standard error.

Much of what they write is the text of strangers: values, a vendor's messages, names from Dagster. So nothing is read as
markup unless the call says `markup=True`, and in no way does a character reach a terminal that could steer it.
"""

import json
import logging
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

import psycopg
from rich.console import Console, RenderableType
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from crm_sync.core.errors import SyncError
from crm_sync.hub.pg_install import EmbeddedError
from crm_sync.settings import SettingError

_WIDTH = None if sys.stdout.isatty() else 140  # in a file or a pipe, a table need not be squeezed into 80


class _Plain(Console):
    """A console that takes strings as they are."""

    def __init__(self, **more: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **more)

    def print(self, *objects: Any, **more: Any) -> None:
        super().print(*(visible(one) if isinstance(one, str) else _literal(one) for one in objects), **more)


class _Table(Table):
    """A table whose cells are text, whatever they look like."""

    def add_row(self, *cells: RenderableType | None, **more: Any) -> None:
        super().add_row(*(_literal(cell) for cell in cells), **more)


out = _Plain(width=_WIDTH)
err = _Plain(stderr=True)

QUIET_LIBRARIES = (
    "httpx",
    "httpcore",
    "hpack",
    "alembic",
    "simple_salesforce",
    "urllib3",
    "dagster",
    "tenacity",
)


def configure_logging(*, debug: bool) -> None:
    """Warnings of ours to standard error; with debug, everything of ours. Libraries only warn: what they log in
    detail are addresses and payloads."""
    handler = RichHandler(console=err, show_path=False, show_time=debug, markup=False)
    handler.setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    logging.getLogger("crm_sync").setLevel(logging.DEBUG if debug else logging.INFO)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def progress() -> Progress:
    """A bar on standard error; it leaves nothing behind, and shows nothing where nobody watches."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


def table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """A plain table; `numbers` names the columns that are aligned to the right."""
    made = _Table(
        title=None if title is None else Text(visible(title), style="bold"),
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for column in columns:
        made.add_column(
            Text(visible(column)), justify="right" if column in numbers else "left", overflow="fold"
        )
    return made


def document(value: object) -> None:
    """One JSON document on standard output, in UTF-8; on a terminal, what could steer it is escaped."""
    text = json.dumps(value, default=str, ensure_ascii=False, indent=2)
    if sys.stdout.isatty():
        text = "".join(_escaped(char) if _steers(char) else char for char in text)
    sys.stdout.write(f"{text}\n")


def _escaped(char: str) -> str:
    """As JSON may have it in a string."""
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def visible(text: str) -> str:
    """The text with a sign in place of every character that could steer a terminal, but line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    """Whether a character is a control, a direction mark or nothing at all; the joiners of scripts and emoji are not."""
    return (
        not char.isprintable()
        and char not in "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
        and unicodedata.category(char) != "Zs"
    )


def _literal(cell: object) -> Any:
    """A string as text; text of which nothing steers."""
    if isinstance(cell, str):
        return Text(visible(cell))
    if isinstance(cell, Text) and not cell.plain.isprintable():
        cell = cell.copy()
        cell.plain = visible(cell.plain)
    return cell


def number(value: int | None) -> str:
    """A count; nothing to say about zero."""
    return f"{value:,}" if value else "·"


def calls(by_family: Mapping[str, int]) -> str:
    """`query 2, bulk_query 4`."""
    return ", ".join(f"{family} {count:,}" for family, count in by_family.items() if count) or "·"


def value(text: str | None) -> Text:
    """Somebody's text in a cell: on one line, short, with nothing in it that could steer a terminal or a layout."""
    if text is None:
        return Text("blank", style="italic dim")
    shown = visible(text).replace("\n", "⏎").replace("\t", " ")
    return Text(shown if len(shown) <= 60 else f"{shown[:59]}…")


def complain(error: Exception) -> None:
    """Say what went wrong. Errors from elsewhere may quote records or secrets: of those only the type is shown."""
    if isinstance(error, SyncError | SettingError | EmbeddedError):
        err.print(str(error), markup=False, soft_wrap=True)
    elif isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        err.print(
            "the database cannot be reached; look at CRM_SYNC_DATABASE_URL, and whether the server runs"
        )
    else:
        err.print(
            f"{type(error).__name__}: this should not have happened; run it again with --debug to see where"
        )
