"""Which records a stream's filter leaves out, asked in SOQL.

Source: SOQL and SOSL Reference, "Comparison Operators" and "null". What a comparison says of a blank field differs by
operator and type, so that the negation of each condition takes blank fields along; `fulfilling` then decides.
"""

from collections.abc import Iterator, Sequence

from crm_sync.connectors.crm import CRM_ID, DELETED, MODIFIED_AT, BatchPage, Window
from crm_sync.connectors.salesforce import lookup, query, soql
from crm_sync.connectors.salesforce.api import Api
from crm_sync.connectors.taking_part import TakingPart, is_filtered
from crm_sync.core.spec import StreamSpec


class SalesforceTakingPart(TakingPart):
    """The part of `SalesforceCrm` about filters."""

    _api: Api

    def left(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        """By REST with three fields a record, 2,000 records a call; one call if there are none."""
        if is_filtered(stream):
            yield from self._api.as_described(stream.object, lambda: self._left(stream, window))

    def _left(self, stream: StreamSpec, window: Window) -> Iterator[BatchPage]:
        sobject = self._api.describe(stream.object)
        whole = soql.selection(stream, sobject)
        roles = {role: whole.roles[role] for role in (CRM_ID, MODIFIED_AT, DELETED) if role in whole.roles}
        thin = soql.Selection(sobject, tuple(roles.values()), roles, {})
        where = [*soql.within(sobject, window), soql.negated(stream, sobject)]
        for page in query.rows(self._api, thin.query(where), query.PAGE):
            if page:
                yield query.batch(thin, page)

    def fulfilling(self, stream: StreamSpec, crm_ids: Sequence[str]) -> set[str]:
        sobject = self._api.describe(stream.object)
        where = soql.conditions(stream, sobject)
        if DELETED in soql.selection(stream, sobject).roles:
            where.append("IsDeleted = false")
        thin = soql.Selection(sobject, ("Id",), {}, {})
        return {
            str(row["Id"])
            for part in lookup.parts(list(crm_ids), lookup.RETRIEVE)
            for statement in soql.chunks_of("Id", part, thin, where)
            for page in query.rows(self._api, statement, query.PAGE)
            for row in page
        }
