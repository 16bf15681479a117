"""What the parts of the contract stand on: fixtures, invented values, what a subclass may override."""

from collections.abc import Callable, Mapping
from uuid import uuid4

import pytest

from crm_sync.connectors.crm import MERGED_INTO, Crm, Result
from crm_sync.core.spec import FieldSpec, FieldType, StreamSpec
from tests.contract.kit import Record, by_id, create, records, write

MANY = 250  # more than any vendor's page or batch but Salesforce's


class Ground:
    """Fixtures and invented values; what a subclass may override."""

    job_size: int | None = None
    """From so many operations on, a write is a job that can be resumed; None: the vendor has no jobs."""

    merges = True
    """Whether people can merge records in this CRM."""

    @pytest.fixture
    def settle(self) -> Callable[[], None]:
        """Waits until listings show what was done so far, and stamps to come are later than those so far."""
        return lambda: None

    @pytest.fixture
    def refused(self) -> Crm | None:
        """A connector to the same account whose credentials are not accepted."""
        return None

    @pytest.fixture
    def contact(self, streams: Mapping[str, StreamSpec]) -> StreamSpec:
        return streams["contact"]

    @pytest.fixture
    def company(self, streams: Mapping[str, StreamSpec]) -> StreamSpec:
        return streams["company"]

    @pytest.fixture
    def deal(self, streams: Mapping[str, StreamSpec]) -> StreamSpec:
        return streams["deal"]

    def sample(self, stream: StreamSpec) -> dict[str, str | None]:
        """Values, by our field, that the vendor accepts for a new record and that no other record has."""
        tag = uuid4().hex[:12]
        if stream.entity == "contact":
            return {"first_name": "Ann", "last_name": f"Test {tag}", "email": f"ann.{tag}@example.com"}
        if stream.entity == "company":
            return {"name": f"Test {tag} Ltd"}
        return {
            "name": f"Deal {tag}",
            "close_date": "2026-03-29",
            "stage": self.choices(stream.field("stage"))[0],
        }

    def choices(self, spec: FieldSpec) -> list[str]:
        """Values of a picklist in the CRM's spelling."""
        assert spec.to_crm, f"give {spec.name} a picklist map"
        return sorted(set(spec.to_crm.values()))

    def add(self, crm: Crm, stream: StreamSpec, count: int = 1) -> list[Result]:
        """New records, written by the connector."""
        results = write(crm, stream, [create(stream, self.sample(stream)) for _ in range(count)])
        assert [r.error for r in results.values() if not r.ok] == []
        return list(results.values())

    def now_of(self, crm: Crm, stream: StreamSpec, crm_id: str | None) -> Record:
        """The record as the CRM has it now."""
        told = by_id(records(crm.by_ids(stream, [crm_id or ""])))
        found = {key: record for key, record in told.items() if record.get(MERGED_INTO) != crm_id}
        assert list(found) == [crm_id]
        return found[crm_id or ""]

    def of_type(self, streams: Mapping[str, StreamSpec], kind: FieldType) -> tuple[StreamSpec, FieldSpec]:
        """A stream and its field of that type; skips the test if no stream maps one."""
        for stream in streams.values():
            for spec in stream.columns:
                if spec.type is kind and spec.vendor.template is None:
                    return stream, spec
        pytest.skip(f"no stream maps a field of type {kind}")
