"""Linking of CRM records that have no link yet: normalised, matched, created; what cannot be is set aside."""

from collections.abc import Sequence
from uuid import UUID

import psycopg

from crm_sync.core.errors import ErrorClass
from crm_sync.core.normalise import Invalid, to_hub
from crm_sync.core.spec import Direction, FieldType, StreamSpec
from crm_sync.hub import link, wide
from crm_sync.hub.parked import Parked
from crm_sync.hub.sql import base_table
from crm_sync.hub.store import Store
from crm_sync.steps.options import Options, PlanRow, Report
from crm_sync.steps.reasons import invalid_value, refused_by_hub


class Linker:
    """Links the CRM records of one chunk, inside its transaction; `failed` says which could not be, and why."""

    def __init__(self, store: Store, stream: StreamSpec, options: Options, report: Report) -> None:
        self.conn = store.conn
        self.store = store
        self.stream = stream
        self.options = options
        self.report = report
        self.failed: list[Parked] = []
        self.in_doubt: set[str] = set()  # stay in the queue until outbound has found out

    def link(self, crm_ids: Sequence[str]) -> dict[str, UUID]:
        """Link what has no link yet; hub ids by CRM id."""
        columns = wide.read_mirror(self.conn, self.stream, crm_ids)
        good = self._normalise(columns)
        self._link_rows(good)
        rows = self.conn.execute(
            psycopg.sql.SQL("select crm_id, hub_id from {} where crm_id = any(%s)").format(
                base_table(self.stream)
            ),
            [list(crm_ids)],
        ).fetchall()
        return dict(rows)

    def _normalise(self, columns: wide.Columns) -> wide.Columns:
        """The columns in the hub's terms, without the records that have an invalid value: those are parked."""
        ids = columns["crm_id"]
        bad: set[int] = set()
        out: dict[str, Sequence[str | None | Invalid]] = dict(columns)
        for spec in self.stream.columns:
            if spec.type is FieldType.REFERENCE:
                continue
            values = to_hub(spec, columns[spec.name], check=not self.options.skip_validation)
            out[spec.name] = values
            for i, value in enumerate(values):
                if isinstance(value, Invalid):
                    bad.add(i)
                    self.failed.append(invalid_value("crm", ids[i] or "", value, crm_id=ids[i]))
        keep = [i for i in range(len(ids)) if i not in bad]
        return {name: [_text(values[i]) for i in keep] for name, values in out.items()}

    def _link_rows(self, columns: wide.Columns) -> None:
        """Link; if the hub table refuses a row, halve until it is alone, and park it."""
        ids = columns["crm_id"]
        if not ids:
            return
        try:
            with self.conn.transaction():
                linked = link.link(
                    self.conn,
                    self.stream,
                    columns,
                    self.store.run_id,
                    create=self.stream.direction is not Direction.OUTBOUND,
                )
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            if len(ids) == 1:
                self.failed.append(refused_by_hub(error, ids[0] or ""))
                return
            half = len(ids) // 2
            self._link_rows({name: values[:half] for name, values in columns.items()})
            self._link_rows({name: values[half:] for name, values in columns.items()})
            return
        self.in_doubt |= set(linked.in_doubt)
        self.report.add("linked", len(linked.matched))
        self.report.add("created", len(linked.created))
        for crm_id, what in linked.ambiguous.items():
            self.failed.append(
                Parked("crm", crm_id, "", ErrorClass.VALIDATION, "AMBIGUOUS_MATCH", what, crm_id=crm_id)
            )
        self._preview_created(columns, set(linked.created))

    def _preview_created(self, columns: wide.Columns, created: set[str]) -> None:
        for i, crm_id in enumerate(columns["crm_id"]):
            if crm_id not in created:
                continue
            self.report.show(record=crm_id or "", action="created in the hub")
            if self.options.dry_run:
                for spec in self.stream.columns:
                    if (new := columns[spec.name][i]) is not None:
                        self.report.plan.append(
                            PlanRow(
                                self.stream.name,
                                "hub",
                                "create",
                                crm_id or "",
                                spec.name,
                                None,
                                new,
                                "new in the CRM",
                            )
                        )


def _text(value: str | None | Invalid) -> str | None:
    return None if isinstance(value, Invalid) else value
