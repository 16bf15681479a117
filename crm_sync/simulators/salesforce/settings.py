"""The knobs of the simulated org, changed while it runs through ``POST /_simulator/settings``.

Each has the default of an ordinary Enterprise org. The names are the interface; see the comments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Settings:
    # Sessions
    session_calls: int | None = None  # an access token dies after so many calls (INVALID_SESSION_ID)
    session_seconds: float = 7200.0  # idle time after which it dies
    rotate_refresh_tokens: bool = False  # each refresh returns a new refresh token and kills the old one
    max_refresh_tokens: int = 5  # per user and app; one more revokes the oldest silently
    soap_login: bool = True  # off: INSUFFICIENT_ACCESS, as for users without "Use Any API Auth"

    # Limits
    daily_api_requests: int = 100_000
    daily_bulk_query_jobs: int = 10_000
    daily_bulk_batches: int = 15_000
    per_app_limit: int | None = None  # adds per-app-api-usage to Sforce-Limit-Info
    max_cursors: int = 10  # open query locators per user; the oldest is dropped
    query_page: int = 2000  # the most rows a query page has

    # Time
    clock_skew: float = 0.0  # seconds that the org's clock is ahead of the machine's; below 0 it is behind
    latency: float = 0.0  # seconds before every answer
    commit_delay: float = 0.0  # a write is stamped so many seconds before it becomes visible
    commit_jitter: float = 0.0  # plus up to so many, at random
    transaction_seconds: float = 0.0  # how long a write holds its parents' locks, and takes to answer
    locator_seconds: float = 2 * 86_400.0

    # Bulk API 2.0
    bulk_seconds: float = 0.05  # between two states of a job
    bulk_page: int = 50_000  # rows of a result page when maxRecords is not given
    bulk_results_seconds: float = 7 * 86_400.0
    bulk_shuffle: bool = True  # results come in another order than the upload
    omit_charset: bool = False  # "text/csv" without "; charset=UTF-8"

    # Records
    locked: list[str] = field(default_factory=list)  # ids (records or parents) that cannot be locked
    lock_probability: float = 0.0  # any record fails with UNABLE_TO_LOCK_ROW at random
    duplicate_rules: list[dict[str, Any]] = field(default_factory=list)  # {object, fields, allowSave, name?}
    validation_rules: list[dict[str, Any]] = field(
        default_factory=list
    )  # {object, field, pattern, message}: refused if it matches
    automations: list[dict[str, Any]] = field(
        default_factory=list
    )  # {object, field, pattern, replace}: rewritten after saving
    assignment_rules: list[dict[str, Any]] = field(
        default_factory=list
    )  # as automations; run on writes by REST without "Sforce-Auto-Assign: FALSE"
    unique_external_ids: bool = True  # off: crm_sync_id__c may repeat, and an upsert may answer 300
    json_errors: str = (
        "request"  # "record": a value of the wrong type fails its row of a collection, not the request
    )
    hidden_fields: dict[str, dict[str, list[str]]] = field(
        default_factory=dict
    )  # username -> object -> fields

    def change(self, values: Mapping[str, Any]) -> None:
        """Set some. Raises ValueError for a name that does not exist, naming those that do."""
        known = {f.name for f in fields(self)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"No setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
        for name, value in values.items():
            setattr(self, name, value)
