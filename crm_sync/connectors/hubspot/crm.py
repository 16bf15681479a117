"""HubSpot behind the port: contacts, companies, deals, tickets and custom objects of one account.

Here: which part does what, and the options of a connection. Options (all but `auth` may be left out):

    base_url      https://api.hubapi.com
    api_version   "2026-03" (default), another month, or "v3"
    search_lag    seconds that search may be behind the truth, default 60: so much earlier, and five minutes, does
                  each incremental window begin (`overlap`)
    associations_every  hours within which every linked record's associations are looked at; left out: by full reads
    check_before_write  true (default): look at records right before they are updated
    portal_id     the account's id, else learned by the first `check`: webhooks of other accounts are left out
    webhook_secret  the app's client secret, default auth.client_secret
    auth.grant    access_token (private app or service key: auth.access_token)
                  or refresh_token (OAuth: auth.client_id, auth.client_secret, auth.refresh_token)
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from crm_sync.connectors.batches import Pace
from crm_sync.connectors.build import Options
from crm_sync.connectors.crm import (
    BatchPage,
    Crm,
    Health,
    Hint,
    JobLog,
    ObjectInfo,
    Operation,
    Page,
    ReadRequest,
    Result,
    TokenStore,
    Window,
)
from crm_sync.connectors.http import Transport, TransportSettings
from crm_sync.connectors.hubspot import cost, filters, login, search, webhooks
from crm_sync.connectors.hubspot.api import Api
from crm_sync.connectors.hubspot.associations import Associations
from crm_sync.connectors.hubspot.batch import Writer
from crm_sync.connectors.hubspot.errors import classify
from crm_sync.connectors.hubspot.limits import QUOTAS, hear
from crm_sync.connectors.hubspot.look import Look
from crm_sync.connectors.hubspot.paths import DEFAULT_VERSION, VERSION, Paths, plural
from crm_sync.connectors.hubspot.pipelines import Pipelines
from crm_sync.connectors.hubspot.properties import Properties
from crm_sync.connectors.hubspot.reading import Reader
from crm_sync.connectors.hubspot.rows import Shape
from crm_sync.connectors.hubspot.taking_part import HubSpotTakingPart
from crm_sync.connectors.identity import Identity
from crm_sync.connectors.oauth import BearerAuth
from crm_sync.core.errors import CrmError, ErrorClass
from crm_sync.core.spec import Condition, StreamSpec

BASE_URL = "https://api.hubapi.com"
SEARCH_LAG = 60.0
EDGE = timedelta(minutes=5)  # of a window: stamps that are set earlier than they are stored


def connect(name: str, options: Options, tokens: TokenStore, settings: TransportSettings) -> "HubSpotCrm":
    """The connector of a connection; no request is made yet. Raises ConfigError."""
    base_url = str(options.get("base_url", BASE_URL)).rstrip("/")
    if not base_url.startswith(("https://", "http://")):
        raise options.wrong("base_url", "must be a URL that starts with https://")
    version = str(options.get("api_version", DEFAULT_VERSION))
    if not VERSION.fullmatch(version):
        raise options.wrong("api_version", 'must be "v3" or a month of March or September, such as "2026-03"')
    try:
        lag = timedelta(seconds=float(options.get("search_lag", SEARCH_LAG)))
    except (TypeError, ValueError, OverflowError) as error:
        raise options.wrong("search_lag", "must be a number of seconds") from error
    if lag < timedelta():
        raise options.wrong("search_lag", "must not be negative")
    paths = Paths(version)
    transport = Transport(
        name,
        base_url,
        settings,
        auth=BearerAuth(
            name, tokens, login.grant(name, options, base_url + paths.token, settings), settings.clock
        ),
        classify=classify,
        limiter=settings.limited(QUOTAS),
        hear=hear,
    )
    secret = options.get("webhook_secret", options.get("auth.client_secret", ""))
    portal, hours = options.get("portal_id"), options.get("associations_every")
    return HubSpotCrm(
        name,
        transport,
        paths,
        search_lag=lag,
        webhook_secret=str(secret),
        portal_id=None if portal is None else str(portal),
        check_before_write=bool(options.get("check_before_write", True)),
        references_every=timedelta(hours=float(str(hours))) if hours is not None else None,
    )


class HubSpotCrm(HubSpotTakingPart, Crm):
    """One HubSpot account ("portal"). Get one from `connect`."""

    kind = "hubspot"
    plan = 10_000  # about six seconds of calls
    deletions_apart = True

    def __init__(
        self,
        name: str,
        transport: Transport,
        paths: Paths,
        *,
        search_lag: timedelta,
        webhook_secret: str,
        portal_id: str | None,
        check_before_write: bool = True,
        references_every: timedelta | None = None,
    ) -> None:
        self.name = name
        self.references_every = references_every
        self._check = check_before_write
        self._transport = transport
        self._api = Api(transport, paths)
        self._pipelines = Pipelines(self._api)
        self._properties = Properties(self._api, self._pipelines)
        self._associations = Associations(self._api)
        self._pace = Pace()
        self._reader = Reader(self._api, self._associations)
        self.overlap = EDGE + search_lag
        self._webhook_secret = webhook_secret
        self._portal_id = portal_id

    @property
    def calls(self) -> Mapping[str, int]:
        return self._transport.calls

    @property
    def limits(self) -> Mapping[str, str]:
        return self._transport.said

    def now(self) -> datetime:
        if not self._transport.heard_from_vendor:
            with suppress(CrmError):  # a refusal has a Date, too
                self._account()
        return self._transport.now()

    def check(self) -> Health:
        try:
            account = self._account()
        except CrmError as error:
            return Health(ok=False, account="", user="", detail=self.limits, problems=(str(error),))
        portal = str(account.get("portalId", ""))
        name = account.get("portalName") or account.get("uiDomain") or account.get("accountType") or ""
        detail = {
            label: str(account[key])
            for label, key in (
                ("account type", "accountType"),
                ("time zone", "timeZone"),
                ("currency", "companyCurrency"),
                ("data hosting", "dataHostingLocation"),
            )
            if account.get(key)
        }
        problems: tuple[str, ...] = ()
        if self._portal_id not in (None, portal):
            problems = (f"the token belongs to account {portal}, but portal_id says {self._portal_id}",)
        return Health(not problems, f"{portal} {name}".strip(), "", {**detail, **self.limits}, problems)

    def identity(self, before: str | None = None) -> Identity | None:
        now = login.digest(self._transport)
        return None if now == before else Identity(str(self._account().get("portalId") or ""), now)

    def describe(self, object_name: str) -> ObjectInfo:
        """Properties, associations, stages by name. A contact also needs one of email, firstname and lastname."""
        return self._properties.describe(plural(object_name))

    def forget(self, object_name: str) -> None:
        self._properties.forget(plural(object_name))

    def setup(self, streams: Sequence[StreamSpec], *, dry_run: bool) -> list[str]:
        """Create the external id property of every stream that names one."""
        wanted = dict.fromkeys((plural(s.object), s.external_id) for s in streams if s.external_id)
        done = (self._properties.ensure_external_id(o, str(n), dry_run=dry_run) for o, n in wanted)
        return [text for text in done if text]

    def changed(self, request: ReadRequest, job: JobLog) -> Iterator[Page]:  # noqa: ARG002 - no long jobs
        """Records modified in the window.

        Without a start: every record, by list (100 a call, associations included), in ranges of ids side by side, then
        the archived ones. With filters a list cannot be had, so the same is read by search. With a start: by search,
        oldest first. Each page's progress is enough to go on behind it.

        Search is behind the truth by "a few moments": a record may become visible after a window that covers it was
        read. That is what `overlap` is for (five minutes and `search_lag`): the next window begins so much earlier,
        and so looks a second time. It is enough as long as the caller's watermark is the newest MODIFIED_AT it saw,
        never the end of the window. For the same reason a window without an end gets none here: what is modified
        while we read comes behind, sorted by time.

        Not shown in a window with a start: records archived (see `deleted`), and changes of associations only,
        which do not touch a record's modification time.
        """
        self.matches(request.stream.filters)
        stream, window, left = request.stream, request.window, request.limit
        found, state = self._shape(stream), request.job or {}
        kind = state.get("kind")
        if kind not in {"archived", "end"}:
            for page in self._live(request, found, state):
                yield page
                left = None if left is None else left - page.batch.num_rows
        if window.start is None and kind != "end" and (left is None or left > 0):
            after = state.get("after") if kind == "archived" else None
            yield from self._reader.archived(found, window, after, left)

    def _live(self, request: ReadRequest, shape: Shape, state: Mapping[str, Any]) -> Iterator[BatchPage]:
        stream, window = request.stream, request.window
        if window.start is None and not stream.filters:
            yield from self._reader.listed(shape, window, state.get("after"), request.limit)
        else:
            begin = search.Place.from_json(state) if state else None
            yield from self._reader.searched(shape, window, self._conditions(stream), begin, request.limit)

    def deleted(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        """Records archived in the window.

        The price does not depend on the window: HubSpot lists archived records unsorted, so each time the whole
        recycle bin (90 days of archived records) is paged through, a hundred a call. Merged records are not in
        it; `changed` shows them with their survivors.
        """
        if window.start is not None:  # without a start `changed` has shown them
            yield from self._reader.archived(self._shape(stream), window)

    def by_ids(self, stream: StreamSpec, crm_ids: Sequence[str]) -> Iterator[BatchPage]:
        yield from self._reader.pages_by_id(self._shape(stream), crm_ids)

    def by_hub_ids(self, stream: StreamSpec, hub_ids: Sequence[str]) -> Iterator[BatchPage]:
        found = self._shape(stream)
        if found.external_id is not None:
            yield from self._reader.pages_by_property(found, found.external_id, hub_ids)

    def write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],
        job: JobLog,  # noqa: ARG002 - no long jobs
        *,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        """Batches of at most 100: upsert by the external id property (create), update, archive; then associations.
        An update's batch is looked at by the same thread right before it is sent.

        A create whose unique value (e-mail address) another record has is refused with code CONFLICT and that
        record's id in the message. If an association is refused, the record was written all the same: the result is
        not ok, names the association field, and has the crm_id.
        """
        if not operations:
            return
        found = self._shape(stream)
        if stream.external_id and found.external_id is None and any(op.kind == "create" for op in operations):
            text = f"{stream.name}: HubSpot has no property {stream.external_id} on {found.object}; run crm-sync setup"
            raise CrmError(ErrorClass.PERMISSION, text, code="EXTERNAL_ID_MISSING")
        look = Look(self._reader, found) if self._check else None
        yield from Writer(self._api, self._associations, stream, found, look, self._pace).write(
            operations, batch_size
        )

    def cost(self, stream: StreamSpec, operations: Sequence[Operation]) -> Mapping[str, int]:  # noqa: ARG002
        return cost.calls(operations, looks=self._check)

    def resume_write(
        self,
        stream: StreamSpec,
        operations: Sequence[Operation],  # noqa: ARG002
        state: Mapping[str, Any],  # noqa: ARG002
        job: JobLog,  # noqa: ARG002
    ) -> Iterator[list[Result]]:
        """HubSpot's writes are answered at once, there are no jobs to resume: CrmError(PERMANENT)."""
        text = f"{stream.name}: HubSpot has no write jobs that could be resumed"
        raise CrmError(ErrorClass.PERMANENT, text)

    def parse_webhook(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> list[Hint]:
        """`url` as HubSpot called it: behind a proxy, the target URL that is set in HubSpot's app. How old it is, is
        told by HubSpot's clock as far as it was heard, for ours may be minutes off."""
        now = self._transport.now()
        webhooks.verify(self._webhook_secret, method, url, headers, body, now=now)
        return webhooks.hints(body, portal_id=self._portal_id)

    def matches(self, conditions: Sequence[Condition]) -> None:
        filters.check(conditions)

    def close(self) -> None:
        self._transport.close()

    def _account(self) -> dict[str, Any]:
        account = self._api.get(self._api.paths.account, "account")
        if self._portal_id is None and account.get("portalId"):
            self._portal_id = str(account["portalId"])
        return account
