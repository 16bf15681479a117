"""Linking of CRM records that have no link yet: normalised, matched, created; what cannot be is set aside."""

from collections.abc import Callable, Sequence
from uuid import UUID

from crm_sync.core.errors import ErrorClass
from crm_sync.core.spec import Direction
from crm_sync.hub import incoming, link, match_conflicts
from crm_sync.hub.link import Linked
from crm_sync.hub.parked import Parked
from crm_sync.hub.refusals import REFUSED
from crm_sync.steps.holding import release
from crm_sync.steps.options import PREVIEW_ROWS
from crm_sync.steps.reasons import invalid_value, refused_by_hub
from crm_sync.steps.work import Work


class Linker:
    """Links the CRM records of one chunk, inside its transaction. `watch` is told of what was linked while the
    temporary table `unlinked` still says how."""

    def __init__(self, work: Work, watch: Callable[[Linked], None] | None = None) -> None:
        self.work = work
        self.watch = watch
        self.open: dict[str, UUID] = {}  # linked, and more is to be decided: hub ids by CRM id
        self.review: set[str] = set()  # a person decides who they are
        self.in_doubt: set[str] = set()  # stay in the queue until outbound has found out

    def link(self, crm_ids: Sequence[str]) -> None:
        """Link what has no link yet."""
        work = self.work
        refused = incoming.stage(work.conn, work.stream, crm_ids, check=not work.options.skip_validation)
        work.failed += [invalid_value("crm", crm_id, value, crm_id=crm_id) for crm_id, value in refused]
        self._link_staged(1, incoming.size(work.conn))
        parked = {one.crm_id for one in work.failed if one.crm_id is not None}  # who they are is open still
        still = self.review | self.in_doubt | parked
        match_conflicts.close(work.conn, work.stream, crm_ids, still, work.store.run_id)
        release(work.conn, work.stream, crm_ids)

    def _link_staged(self, first: int, last: int) -> None:
        """Link the records that were staged with these numbers; if the hub table refuses a row, halve until it is
        alone, and park it."""
        work = self.work
        if last < first:
            return
        try:
            with work.conn.transaction():
                linked = link.link(
                    work.conn,
                    work.stream,
                    work.store.run_id,
                    create=work.stream.direction is not Direction.OUTBOUND,
                )
        except REFUSED as error:
            if first == last:
                for crm_id in incoming.narrow(work.conn, first, last):
                    work.failed.append(refused_by_hub(error, crm_id))
                return
            middle = (first + last) // 2
            for part in ((first, middle), (middle + 1, last)):
                incoming.narrow(work.conn, *part)
                self._link_staged(*part)
            return
        self._note(linked)

    def _note(self, linked: Linked) -> None:
        self.open |= linked.open
        self.in_doubt |= set(linked.in_doubt)
        self.work.report.add("linked", linked.matched)
        self.work.report.add("created", linked.created)
        for crm_id, what in linked.ambiguous.items():
            self.work.failed.append(
                Parked("crm", crm_id, "", ErrorClass.VALIDATION, "AMBIGUOUS_MATCH", what, crm_id=crm_id)
            )
        for crm_id, review in linked.review.items():
            self.work.failed.append(
                Parked("crm", crm_id, "", ErrorClass.VALIDATION, "MATCH_REVIEW", str(review), crm_id=crm_id)
            )
        if linked.review:
            self.review |= set(linked.review)
            match_conflicts.record(self.work.conn, self.work.stream, linked.review, self.work.store.run_id)
        if self.watch is not None:
            self.watch(linked)
        else:
            if self.work.options.dry_run and linked.matched:
                self._plan_links()
            if linked.created:
                self._preview_created()

    def _preview_created(self) -> None:
        work = self.work
        room = None if work.options.dry_run else PREVIEW_ROWS - len(work.report.preview)
        if room == 0:
            return
        for crm_id, values in incoming.created(work.conn, work.stream, room):
            work.report.show(record=crm_id, action="created in the hub")
            if work.options.dry_run:
                for name, new in values.items():
                    work.plan("create", crm_id, name, None, new, "new in the CRM", crm_id=crm_id)

    def _plan_links(self) -> None:
        """The plan of a dry run has the links, too: what is written to a record next depends on them."""
        for crm_id, hub_id, rule in link.made(self.work.conn, self.work.stream):
            reason = f"matched by {rule}"
            self.work.plan(
                "link", crm_id, "", None, None, reason, hub_id=str(hub_id), crm_id=crm_id, verdict="link"
            )
