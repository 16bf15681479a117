"""The shape of the code, checked on its syntax trees: who may import whom, and a few habits of every module.

Imports point inwards:

    assets resources schedules sensors web agents cli commands demo definitions
      -> steps -> hub | connectors | mapping -> core

Names are the first part of a module's path below crm_sync; the rules are one table.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "crm_sync"

INNER = {"core", "settings"}
PORTS = {"hub", "connectors", "mapping"}
DAGSTER_LAYER = {"assets", "resources", "schedules", "sensors", "definitions"}
OUTER = DAGSTER_LAYER | {"web", "agents", "cli"}

# Room -> the rooms of ours that it may import, besides itself. A room that is missing here is a mistake.
MAY_IMPORT = {
    "core": set(),
    "settings": set(),
    "mapping": INNER,
    "hub": INNER,
    "connectors": INNER,
    "steps": INNER | PORTS,
    "simulators": set(),
    **{room: INNER | PORTS | {"steps"} | DAGSTER_LAYER for room in DAGSTER_LAYER},
    **{room: INNER | PORTS | {"steps"} | OUTER for room in ("web", "agents")},
    "commands": INNER | PORTS | {"steps"} | DAGSTER_LAYER,
    "cli": {"commands", "demo", "mapping"},
    "demo": INNER | PORTS | {"steps", "simulators", "commands"} | DAGSTER_LAYER,
}
# The port of the connectors is a vocabulary (pages, operations, results), no connector: the hub speaks it too.
PORT = "crm_sync.connectors.crm"
WITHOUT_DAGSTER = {"core", "settings", "hub", "connectors", "mapping", "steps", "simulators"}
LONGEST = 300


def room_of(path: Path) -> str:
    """The first name below the package: `hub` for crm_sync/hub/store.py, `cli` for crm_sync/cli.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    migrations = PACKAGE / "hub" / "migrations"
    return sorted(path for path in PACKAGE.rglob("*.py") if migrations not in path.parents)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of everything that a module imports, wherever in the module it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def wrong(rule: str, found: list[str]) -> str:
    return "\n".join([rule, *found])


MODULES = modules()
NAMED = [path for path in MODULES if path.name != "__init__.py"]


def test_imports_point_inwards() -> None:
    found = []
    for path in MODULES:
        room = room_of(path)
        if room == "__init__":
            continue
        assert room in MAY_IMPORT, f"crm_sync/{room} has no place in the architecture yet"
        for line, name in imported(path):
            first, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            if name.startswith(PORT + ".") and room in PORTS:
                continue
            if first == "crm_sync" and target != room and target not in MAY_IMPORT[room]:
                found.append(f"{path}:{line}: {room} may not import {name}")
    assert not found, wrong("imports point inwards", found)


def test_the_core_knows_the_standard_library_and_arrow() -> None:
    allowed = sys.stdlib_module_names | {"crm_sync", "pyarrow"}
    extra = {
        "phone.py": {"phonenumbers"},
        "addresses.py": {"email_validator"},
        "match.py": {"rapidfuzz"},
    }  # pure themselves, one module each
    found = [
        f"{path}:{line}: {name}"
        for path in MODULES
        if room_of(path) == "core"
        for line, name in imported(path)
        if name.partition(".")[0] not in allowed | extra.get(path.name, set())
    ]
    assert not found, wrong("core is pure", found)


def test_only_the_dagster_layer_knows_dagster() -> None:
    found = [
        f"{path}:{line}: {name}"
        for path in MODULES
        if room_of(path) in WITHOUT_DAGSTER
        for line, name in imported(path)
        if name.partition(".")[0].startswith("dagster")
    ]
    assert not found, wrong("the sync itself is readable without Dagster", found)


def test_only_the_demo_imports_the_simulators() -> None:
    """`crm-sync simulate` is theirs too."""
    found = [
        f"{path}:{line}: {name}"
        for path in MODULES
        if room_of(path) not in {"demo", "simulators"}
        for line, name in imported(path)
        if name.startswith("crm_sync.simulators")
    ]
    assert not found, wrong("simulators serve the demo and the tests only", found)


def test_one_module_asks_who_this_is() -> None:
    """The answer is a KeyError where the user has no account, as in many containers; person.py has another."""
    found = [f"{path}:{line}" for path in MODULES for line, name in imported(path) if name == "getpass"]
    assert [line.rpartition(":")[0] for line in found] == [str(PACKAGE / "steps" / "person.py")], found


def test_annotations_are_evaluated_where_dagster_reads_them() -> None:
    found = [
        f"{path}:{line}"
        for path in MODULES
        if room_of(path) in DAGSTER_LAYER
        for line, name in imported(path)
        if name == "__future__.annotations"
    ]
    assert not found, wrong("Dagster resolves annotations itself and fails on strings", found)


@pytest.mark.parametrize("path", NAMED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_is_for_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "the module's docstring is missing"
    length = text.count("\n")
    assert length <= LONGEST, f"{length} lines, more than {LONGEST}: find the second module in it"


def test_packages_export_nothing() -> None:
    found = [str(path) for path in MODULES if path.name == "__init__.py" and path.read_text().strip()]
    assert not found, wrong("a name has one import path, so __init__.py is empty", found)
