"""A plan as a file: a line about the plan, then a line a row, each JSON; for reviews outside the database.

Every line holds the hash of all rows up to it, so that the first row that somebody has changed can be named. The file
only says which plan is meant: what is applied is in the database.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crm_sync.core.approval import Digest, PlanRow
from crm_sync.core.errors import SyncError
from crm_sync.hub.plans import Plan

FORMAT = 1


def header(plan: Plan) -> dict[str, Any]:
    """What is said about the plan."""
    return {
        "crm_sync_plan": FORMAT,
        "plan": plan.id,
        "hash": plan.hash,
        "status": plan.status,
        "made_at": plan.made_at.isoformat(),
        "made_by": plan.made_by,
        "streams": dict(plan.streams),
        "rows": plan.rows,
        "records": plan.records,
        "figures": plan.figures,
        "calls": plan.calls,
        "guard": dict(plan.guard),
    }


def write(path: Path, plan: Plan, rows: Iterable[PlanRow]) -> None:
    """Write the plan; only its owner may read the file. What was there is replaced when all is written."""
    part = path.with_name(f".{path.name}.part")
    digest = Digest(plan.streams)
    try:
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii"
        ) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(json.dumps(header(plan)) + "\n")
            for n, row in enumerate(rows, start=1):
                file.write(json.dumps({"n": n, "sha256": digest.add(row), "row": asdict(row)}) + "\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SyncError(f"{path}: the plan cannot be written there: {error.strerror}") from None


def read(path: Path) -> tuple[int, str]:
    """Number and hash of the plan that a file holds. Raises SyncError, naming the first line that was changed."""
    try:
        with path.open(encoding="utf-8") as file:
            head = _json(path, 1, file.readline())
            if head.get("crm_sync_plan") != FORMAT or not isinstance(head.get("streams"), dict):
                raise SyncError(f"{path}: no plan that `crm-sync plan --out` has written")
            digest, n = Digest(head["streams"]), 0
            for n, text in enumerate(file, start=1):
                line = _json(path, n + 1, text)
                if line.get("n") != n or line.get("sha256") != _added(digest, line.get("row")):
                    raise SyncError(
                        f"{path}, line {n + 1}: row {n} is not as it was written; nothing was applied."
                        " Make a new plan: crm-sync plan"
                    )
    except (OSError, UnicodeDecodeError):
        raise SyncError(f"{path}: there is no plan with this number, and no such file can be read") from None
    if n != head.get("rows") or digest.value != head.get("hash"):
        raise SyncError(
            f"{path}: {n} rows of {head.get('rows')}: rows are missing, or the first line was changed"
        )
    return int(head["plan"]), digest.value


def _json(path: Path, number: int, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SyncError(f"{path}, line {number}: no JSON object; nothing was applied")
    return found


def _added(digest: Digest, row: object) -> str | None:
    try:
        return digest.add(PlanRow.read(row)) if isinstance(row, dict) else None
    except TypeError:
        return None
