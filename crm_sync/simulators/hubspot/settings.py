"""The knobs of the portal, changed while it runs through ``POST /_simulator/settings``.

Times are in ms, ``clock_skew`` in seconds: how far the portal's clock is ahead of the machine's; below 0 it is behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Settings:
    """What can be switched at run time through the control surface."""

    clock_skew: float = 0.0
    index_lag: int = 0
    shuffle_batches: bool = True
    merge_mints_new_id: bool = False
    partial_answers_on_2026_09: bool = True
    burst_private: int = 190
    burst_oauth: int = 110
    daily: int = 650_000
    search_per_second: int = 5
    retry_after: bool = False
    token_seconds: int = 1800
    rotate_refresh_tokens: bool = False
    required_on_write: dict[str, list[str]] = field(default_factory=dict)
    webhook_duplicates: float = 0.0
    webhook_reorder: bool = False
    webhook_foreign_events: float = 0.0
    webhook_delay: int = 50
    webhook_timeout: float = 5.0
    webhook_retry_scale: float = 1.0
    webhook_ca_file: str = ""
    export_delay: int = 200
    v3_association_status: int = 201
    default_lifecycle_stage: str = "lead"
    links_touch_records: bool = True

    def change(self, values: Mapping[str, Any]) -> None:
        """Set some, all or none. Raises ValueError for a name that does not exist, or a value of another type."""
        known = {each.name for each in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"Unknown setting {name}; known are {sorted(known)}")
            kind = type(getattr(self, name))
            number = kind is float and isinstance(value, int)
            if not number and type(value) is not kind:
                raise ValueError(f"The setting {name} must be a {kind.__name__}")
        for name, value in values.items():
            setattr(self, name, float(value) if isinstance(getattr(self, name), float) else value)
