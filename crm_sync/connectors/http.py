"""One HTTP request to a CRM: sent safely, tried again only where that is safe, counted, and explained.

    request ── limiter ── httpx (TLS, keep-alive, gzip, timeouts, auth) ── answer ── classify ── retry or tell

Here belongs what all vendors share. What a vendor's answers mean is told by its `classify` function, else by
failures.py; how tokens are renewed is in oauth.py; how long to wait before a call is in limiter.py. Nothing here is ever logged with a
value, a token, a query string or a body.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import tenacity

from crm_sync.connectors import failures, tls
from crm_sync.connectors.answers import AnswerMemory, NoMemory
from crm_sync.connectors.backoff import jitter, retry_after
from crm_sync.connectors.limiter import LocalLimiter, RateLimiter
from crm_sync.core.errors import NO_SUCCESS, CrmError, ErrorClass, HeldError
from crm_sync.core.quota import JOBS, REQUESTS, Heard, Quotas

log = logging.getLogger(__name__)

Classify = Callable[[httpx.Response], CrmError | None]
Hear = Callable[[httpx.Response], Iterable[Heard]]


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """What every connection needs to be told about its transport.

    timeout: seconds for connecting and for every wait for data. attempts: tries of one request, the first
    included. patience: the longest single wait that is worth sitting out, in seconds; if the vendor asks for more
    the error is raised at once. sleep and clock (seconds since the epoch) are replaced in tests. memory: where
    slowly changing answers are remembered between processes. limiter: makes what
    keeps a vendor's quotas for all processes (None: each process for itself).
    """

    timeout: float = 30.0
    ca_bundle: Path | None = None
    attempts: int = 5
    patience: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    memory: AnswerMemory = field(default_factory=NoMemory)
    limiter: Callable[[Quotas], RateLimiter] | None = None

    def limited(self, quotas: Quotas) -> RateLimiter:
        """What keeps the quotas: for all processes where a limiter was given, else for this one."""
        return self.limiter(quotas) if self.limiter else LocalLimiter(quotas, sleep=self.sleep)


class Transport:
    """A keep-alive HTTP client for one connection.

    base_url: what relative URLs start with; a function if it is only known after the login. classify: the vendor's
    reading of an answer of status 300 and above (None: go by the status). hear: what an answer tells of the
    vendor's limits. Several threads may send requests through one instance at once; the limiter is asked for each.
    """

    def __init__(
        self,
        connection: str,
        base_url: str | Callable[[], str],
        settings: TransportSettings,
        *,
        auth: httpx.Auth | None = None,
        classify: Classify = lambda _: None,
        headers: Mapping[str, str] | None = None,
        limiter: RateLimiter | None = None,
        hear: Hear = lambda _: (),
    ) -> None:
        _keep_libraries_quiet()
        self.connection = connection
        self.settings = settings
        self.auth = auth
        self._base_url = base_url
        self._classify = classify
        self._limiter = limiter or LocalLimiter(sleep=settings.sleep)
        self._hear = hear
        self._said: dict[str, str] = {}
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._offset: float | None = None  # the vendor's clock minus ours, seconds
        self._client = httpx.Client(
            auth=auth,
            verify=tls.context(settings.ca_bundle),
            timeout=httpx.Timeout(settings.timeout),
            headers={"User-Agent": "crm_sync", "Accept-Encoding": "gzip", **(headers or {})},
            follow_redirects=False,
            event_hooks={"request": [self._count], "response": [self._heard]},
        )

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests sent so far by family; every try counts, as it does at the vendor."""
        with self._lock:
            return dict(self._calls)

    @property
    def said(self) -> Mapping[str, str]:
        """What the vendor last told of its limits, as text for people."""
        with self._lock:
            return dict(self._said)

    @property
    def heard_from_vendor(self) -> bool:
        """Whether `now` rests on an answer of the vendor."""
        return self._offset is not None

    def now(self) -> datetime:
        """The vendor's clock (UTC), by its last Date header: up to a second behind, never ahead by more than our
        own clock's drift since. Our own clock if no answer came yet (`heard_from_vendor`)."""
        return datetime.fromtimestamp(self.settings.clock() + (self._offset or 0.0), UTC)

    def request(
        self,
        method: str,
        url: str,
        *,
        family: str,
        idempotent: bool,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: Any = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
        once_if_slow: bool = False,
    ) -> httpx.Response:
        """Send a request and return its successful (2xx) answer.

        idempotent: sending it twice does no more than sending it once; then every transient failure is tried
        again. Otherwise only failures that certainly had no effect are. `content` must be bytes, or an iterable
        that can be iterated again. With `stream` the body is not read yet: see download.py, or close it. once_if_slow:
        what got no answer in time is not asked again (`SlowError`).

        Raises CrmError, class UNKNOWN_OUTCOME where a request that is not idempotent may have taken effect.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: (
                    self._worth_another_try(error)
                    and not (once_if_slow and isinstance(error, failures.SlowError))
                )
            ),
            wait=self._wait,
            stop=self._no_more,
            sleep=self.settings.sleep,
            reraise=True,
        )
        target = self._absolute(url)

        def attempt() -> httpx.Response:
            # Until the headers are here: vendors count requests that they work on for long (Salesforce: 20 seconds), and
            # nothing is known of bodies. A place held while somebody reads one slowly could make him wait for himself.
            with self._limiter.slot(REQUESTS):
                self._limiter.acquire(family)
                request = self._client.build_request(
                    method, target, params=params, json=json, content=content, data=data, headers=headers
                )
                request.extensions["crm_sync.family"] = family
                request.extensions["crm_sync.begun"] = time.monotonic()
                return self._send(request, family, idempotent=idempotent, stream=stream)

        try:
            response = retrying(attempt)
        except HeldError:
            raise
        except CrmError as error:
            self._tell(error)
            raise
        self._limiter.succeeded()
        return response

    def job(self) -> AbstractContextManager[None]:
        """A place for a long-running job at the vendor, until the end of the block; waits for one to become free."""
        return self._limiter.slot(JOBS)

    def close(self) -> None:
        self._client.close()
        self._limiter.close()

    def _tell(self, error: CrmError) -> None:
        """Let the circuit breaker know what a request came to."""
        if error.rule.breaks:
            self._limiter.failed(error)
        elif error.error_class not in NO_SUCCESS:
            self._limiter.succeeded()

    def _absolute(self, url: str) -> str:
        if url.startswith(("https://", "http://")):
            return url
        base = self._base_url if isinstance(self._base_url, str) else self._base_url()
        return f"{base.rstrip('/')}/{url.lstrip('/')}"

    def _send(self, request: httpx.Request, family: str, *, idempotent: bool, stream: bool) -> httpx.Response:
        started = time.monotonic()
        try:
            response = self._client.send(request, stream=stream)
        except httpx.TransportError as error:
            raise failures.unreachable(self.connection, error, request, idempotent=idempotent) from error
        except httpx.DecodingError as error:
            outcome = ErrorClass.TRANSIENT if idempotent else ErrorClass.UNKNOWN_OUTCOME
            raise CrmError(outcome, f"{self.connection}: the answer's compression is broken") from error
        log.debug(
            "%s: %s %s: %d in %.3f s",
            self.connection,
            request.method,
            family,
            response.status_code,
            time.monotonic() - started,
        )
        if not response.is_success:
            raise self._refused(response, idempotent=idempotent)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            response.close()
            outcome = ErrorClass.TRANSIENT if idempotent else ErrorClass.UNKNOWN_OUTCOME
            where = request.url.host
            raise CrmError(outcome, f"{self.connection}: a web page came from {where} instead of an answer")
        return response

    def _refused(self, response: httpx.Response, *, idempotent: bool) -> CrmError:
        try:
            response.read()
        except httpx.HTTPError:
            response.close()  # an unreadable error is judged by its status alone
            told = None
        else:
            told = self._classify(response)
        error = told or failures.by_status(self.connection, response, idempotent=idempotent)
        if error.error_class is ErrorClass.UNKNOWN_OUTCOME and idempotent:
            error.error_class = ErrorClass.TRANSIENT
        if error.status is None:
            error.status = response.status_code
        if error.retry_after is None:
            error.retry_after = retry_after(response, self.settings.clock())
        if error.error_class is ErrorClass.RATE_LIMIT and error.retry_after is not None:
            self._limiter.pause(response.request.extensions["crm_sync.family"], error.retry_after)
        return error

    def _count(self, request: httpx.Request) -> None:
        """Called by httpx for every request, the repeated one with a new token included."""
        with self._lock:
            self._calls[request.extensions.get("crm_sync.family", "other")] += 1

    def _heard(self, response: httpx.Response) -> None:
        """Called by httpx for every answer, the refusal of an old token included."""
        with suppress(KeyError, TypeError, ValueError):
            vendor = parsedate_to_datetime(response.headers["Date"]).timestamp()
            self._offset = vendor - self.settings.clock()
        news = list(self._hear(response))
        if news:
            with self._lock:
                self._said |= {f"{one.budget} calls left": f"{one.left} of {one.allowed}" for one in news}
            begun = response.request.extensions.get("crm_sync.begun", time.monotonic())
            self._limiter.heard(news, time.monotonic() - begun)

    def _worth_another_try(self, error: BaseException) -> bool:
        return (
            isinstance(error, CrmError)
            and not isinstance(error, HeldError)
            and error.retryable
            and (error.retry_after is None or error.retry_after <= self.settings.patience)
        )

    def _no_more(self, state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        tries = error.rule.tries if isinstance(error, CrmError) else 1
        return state.attempt_number >= min(self.settings.attempts, tries)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, CrmError) else None
        wait = jitter(state.attempt_number) if asked is None else asked
        log.info("%s: try %d failed, waiting %.1f s", self.connection, state.attempt_number, wait)
        return wait


def _keep_libraries_quiet() -> None:
    # httpx logs whole URLs with their query strings, httpcore headers with their cookies: neither may be seen.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
