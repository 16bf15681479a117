"""Where commands write: results to standard output, progress and complaints to standard error."""

import logging
import sys
from collections.abc import Mapping

import psycopg
from rich.console import Console
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

out = Console(highlight=False, width=_WIDTH)
err = Console(stderr=True, highlight=False)

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
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


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
    shown = "".join(
        char if char.isprintable() else "⏎" if char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
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
