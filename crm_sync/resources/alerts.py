"""Alerts: a failed run, and differences that nothing explains, are told to whoever listens at CRM_SYNC_ALERT_URL, as JSON
that chat services understand.

A text says what failed, where, and why; it never holds values of records.
"""

import logging

import dagster as dg
import httpx

from crm_sync.settings import Settings

KEY = "alerts"

log = logging.getLogger(__name__)


class Alerts:
    """Sends texts to a webhook (`{"text": ...}`); without an address it only logs them."""

    def __init__(self, url: str | None, *, timeout: float = 10) -> None:
        self._url = url
        self._timeout = timeout

    def send(self, text: str) -> bool:
        """Whether somebody was told. A listener that is down is logged, not raised: alerts must not fail."""
        log.error("%s", text)
        if self._url is None:
            return False
        try:
            httpx.post(self._url, json={"text": text}, timeout=self._timeout).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("the alert could not be delivered: %s", type(error).__name__)
            return False
        return True


def alerts_resource(settings: Settings) -> dg.ResourceDefinition:
    return dg.ResourceDefinition(
        lambda _: Alerts(settings.alert_url, timeout=settings.http_timeout),
        description="Where failed runs and unexplained differences are told.",
    )
