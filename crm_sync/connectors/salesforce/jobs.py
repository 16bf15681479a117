"""Bulk API 2.0 jobs, whichever way they go: their states, and waiting for the end."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from crm_sync.connectors.salesforce.api import Api

log = logging.getLogger(__name__)

FINAL = frozenset({"JobComplete", "Failed", "Aborted"})
_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.05, 10.0, 1.6


def wait(api: Api, tail: str, family: str, heard: Callable[[Mapping[str, Any]], None]) -> Mapping[str, Any]:
    """Ask for a job until it has ended; returns its last description. Each answer is given to `heard`.

    The pauses (seconds) grow with the job's age, so that a small job is done soon and a large one costs few calls:
    about a dozen for a job of ten seconds, eight more for each further minute. There is no limit of time: Salesforce
    itself gives a job up after twenty tries of ten minutes.
    """
    pause = _FIRST_WAIT
    while True:
        api.transport.settings.sleep(pause)  # nothing is done in the moment in which it is asked for
        job: Mapping[str, Any] = api.get(tail, family=family)
        heard(job)
        if job["state"] in FINAL:
            log.info("bulk job %s: %s", job["id"], job["state"])
            return job
        pause = min(pause * _GROWTH, _LONGEST_WAIT)
