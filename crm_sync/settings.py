"""Every environment variable of crm_sync: its name, meaning and default, in one table.

Nothing else in the package reads the environment for its own configuration. A connection's secrets are the one
exception: connection files name the variables that hold them, and `mapping` resolves those.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints
from urllib.parse import urlsplit


class SettingError(ValueError):
    """An environment variable cannot be used. The text names it and says what it takes, never its value."""


class _UnfitError(Exception):
    """What the parser of one value expected; `Settings.from_env` adds the variable's name."""


def _folder(raw: str) -> Path:
    return Path(raw).expanduser()


def _postgres_url(raw: str) -> str:
    # A URL with a bad port or bracket raises ValueError only when it is taken apart.
    try:
        parts = urlsplit(raw)
        _ = parts.port
    except ValueError:
        raise _UnfitError("an address like postgresql://user:password@host:5432/database") from None
    if parts.scheme not in ("postgresql", "postgres"):
        raise _UnfitError("an address that begins with postgresql://")
    return raw


def _web_url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise _UnfitError("an address that begins with http:// or https://")
    return raw.rstrip("/")


def _switch(raw: str) -> bool:
    if raw.lower() not in ("on", "off"):
        raise _UnfitError("on or off")
    return raw.lower() == "on"


def _keys(raw: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def _region(raw: str) -> str:
    if len(raw) != 2 or not raw.isascii() or not raw.isalpha():
        raise _UnfitError("a country code of two letters, like US or DE")
    return raw.upper()


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            raise _UnfitError(f"a whole number from {low} to {high}")
        return int(raw)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:  # also refuses nan
            raise _UnfitError(f"a number of seconds from {low:g} to {high:g}")
        return value

    return parse


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table. `default` is written as in the environment; `absent` says what no value means."""

    name: str
    parse: Callable[[str], Any]
    default: str
    meaning: str
    absent: str = ""

    @property
    def without(self) -> str:
        """What happens without the variable, in words."""
        return self.default or f"unset: {self.absent}"


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """The configuration of one process. Build it with `from_env`; secrets are kept out of its repr."""

    database_url: Annotated[
        str | None,
        _Row(
            "CRM_SYNC_DATABASE_URL",
            _postgres_url,
            "",
            "Address (postgresql://…) of the Postgres, 14 or newer, that holds the hub and Dagster's storage",
            "an embedded server is started",
        ),
    ]
    dagster_url: Annotated[
        str | None,
        _Row(
            "CRM_SYNC_DAGSTER_URL",
            str,
            "",
            "Address of Dagster's storage as dagster.yaml reads it; crm-sync sets it for what it starts",
            "derived from the database's address",
        ),
    ]
    home: Annotated[
        Path,
        _Row(
            "CRM_SYNC_HOME",
            _folder,
            ".crm_sync",
            "Folder for what this machine keeps: the embedded database, the key of the token store, the CA cache. "
            "A relative path starts at the working directory",
        ),
    ]
    connections: Annotated[
        Path,
        _Row("CRM_SYNC_CONNECTIONS", _folder, "connections", "Folder with one YAML file per connection"),
    ]
    ca_bundle: Annotated[
        Path | None,
        _Row(
            "CRM_SYNC_CA_BUNDLE",
            _folder,
            "",
            "PEM file with certificates to trust for outgoing TLS, in addition to the usual ones",
            "only the usual authorities are trusted",
        ),
    ]
    secret_keys: Annotated[
        tuple[str, ...],
        _Row(
            "CRM_SYNC_SECRET_KEY",
            _keys,
            "",
            "Fernet keys for OAuth tokens at rest, separated by commas: the first encrypts, all decrypt, so that "
            "a key can be replaced while running",
            "a key file of mode 0600 is created in CRM_SYNC_HOME",
        ),
    ]
    mask_review: Annotated[
        bool,
        _Row(
            "CRM_SYNC_MASK_REVIEW", _switch, "off", "Whether the review table masks personal data: on or off"
        ),
    ]
    review_rows: Annotated[
        int,
        _Row(
            "CRM_SYNC_REVIEW_ROWS",
            _whole(1, 1000),
            "100",
            "The most conflicts that the review table shows at once, 1 to 1000",
        ),
    ]
    ui_url: Annotated[
        str,
        _Row(
            "CRM_SYNC_UI_URL",
            _web_url,
            "http://127.0.0.1:3000",
            "Where people reach the Dagster UI; links begin with it",
        ),
    ]
    alert_url: Annotated[
        str | None,
        _Row(
            "CRM_SYNC_ALERT_URL",
            _web_url,
            "",
            'Webhook that is told about failed runs and unexplained differences: a POST of {"text": "…"}, as chat services take it',
            "they are only logged",
        ),
    ]
    default_region: Annotated[
        str,
        _Row(
            "CRM_SYNC_DEFAULT_REGION",
            _region,
            "US",
            "Country of phone numbers written without a country code",
        ),
    ]
    http_timeout: Annotated[
        float,
        _Row(
            "CRM_SYNC_HTTP_TIMEOUT",
            _seconds(1, 600),
            "60",
            "Seconds to wait for a CRM's answer before the call counts as failed, 1 to 600",
        ),
    ]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """The settings that `env` describes. An empty value counts as absent.

        Raises SettingError naming the first variable that cannot be used. Names that begin with CRM_SYNC_ but
        are not in the table are no error: connection files may refer to any variable.
        """
        values: dict[str, Any] = {}
        for attribute, row in _table().items():
            raw = env.get(row.name, "").strip() or row.default
            if not raw:
                values[attribute] = () if row.parse is _keys else None
                continue
            try:
                values[attribute] = row.parse(raw)
            except _UnfitError as wanted:
                raise SettingError(
                    f"{row.name} is set to {_class_of(raw)}. It takes {wanted}. Without it: {row.without}."
                ) from None
        return cls(**values)

    def __repr__(self) -> str:
        return f"Settings(home={str(self.home)!r}, connections={str(self.connections)!r}, …)"


def reference() -> str:
    """The table as Markdown, as it stands in docs/reference/settings.md."""
    rows = [
        f"| `{row.name}` | {f'`{row.default}`' if row.default else row.without} | {row.meaning}. |"
        for row in _table().values()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "crm_sync is configured by environment variables. All of them are optional; an empty one counts as unset.",
            "",
            "| Variable | Default | Meaning |",
            "|---|---|---|",
            *rows,
            "",
            "This page is written by `make docs` from `crm_sync/settings.py`.",
            "",
        ]
    )


def _table() -> dict[str, _Row]:
    """The rows by the attribute of `Settings` that they describe, in the order of the class."""
    hints = get_type_hints(Settings, include_extras=True)
    return {attribute: hint.__metadata__[0] for attribute, hint in hints.items()}


def _class_of(raw: str) -> str:
    """What kind of value this is, without showing it: it may be a password in the wrong variable."""
    for kind, test in (("a number", _is_number), ("a word", str.isalpha)):
        if test(raw):
            return f"{kind} of {len(raw)} characters"
    return f"a text of {len(raw)} characters" + (" with ://" if "://" in raw else "")


def _is_number(raw: str) -> bool:
    try:
        float(raw)
    except ValueError:
        return False
    return True
