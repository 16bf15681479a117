"""The flags of a sync as the launchpad shows them: one form for the whole run.

They are the configuration of a resource, not of each asset, so that a run of twelve assets is configured once and
cannot be dry in one asset and real in the next. Dagster stores run configuration in clear text: nothing here may
hold a secret or a person's data.
"""

from datetime import UTC, date, datetime

import dagster as dg
from pydantic import Field

from crm_sync.core.errors import ConfigError, Problem
from crm_sync.steps.options import Options

KEY = "options"


class SyncOptions(dg.ConfigurableResource):  # type: ignore[type-arg]
    """How a run behaves. Every flag has a visible default, so that the launchpad is a filled form."""

    full: bool = Field(
        default=False, description="Ignore the watermark: read everything and compare everything."
    )
    force: bool = Field(
        default=False, description="The CRM's value overwrites every difference. Think first."
    )
    dry_run: bool = Field(default=False, description="Plan everything, write nothing, show the plan.")
    batch_size: int = Field(default=0, description="Records per call to a CRM; 0: the vendor's maximum.")
    max_records: int = Field(default=0, description="At most so many records per step; 0: all.")
    start_date: str = Field(
        default="",
        description="Only what was modified since: 2026-01-31, or 2026-01-31T08:00:00Z (UTC without an offset).",
    )
    skip_validation: bool = Field(
        default=False, description="Let values through that break the rules of their type."
    )
    debug: bool = Field(default=False, description="Log every page and decision in detail.")

    def flags(self) -> Options:
        """The flags as the steps take them.

        Raises ConfigError for a number below 0 and a date that is none.
        """
        problems = [
            Problem("run configuration", None, f"resources.{KEY}.config.{name}", "must be 0 or more")
            for name in ("batch_size", "max_records")
            if getattr(self, name) < 0
        ]
        start, complaint = _moment(self.start_date.strip())
        if complaint:
            problems.append(
                Problem("run configuration", None, f"resources.{KEY}.config.start_date", complaint)
            )
        if problems:
            raise ConfigError(problems)
        return Options(
            full=self.full,
            force=self.force,
            dry_run=self.dry_run,
            batch_size=self.batch_size or None,
            max_records=self.max_records or None,
            start_date=start,
            skip_validation=self.skip_validation,
            debug=self.debug,
        )


def run_config(**flags: object) -> dict[str, object]:
    """Run configuration that sets these flags: `run_config(full=True)`."""
    return {"resources": {KEY: {"config": flags}}}


def _moment(text: str) -> tuple[datetime | None, str | None]:
    if not text:
        return None, None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None, f"{text!r} is no date; write it like 2026-01-31 or 2026-01-31T08:00:00Z"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if moment.date() < date(1970, 1, 1):
        return None, "lies before 1970, when no CRM had records"
    return moment.astimezone(UTC), None
