"""The suite itself: it finds every broken connector. A suite that finds nothing proves nothing."""

from collections.abc import Iterator
from inspect import signature
from itertools import product

import pytest

from crm_sync.connectors.memory import Knobs, MemoryCrm
from crm_sync.connectors.memory_account import MemoryAccount
from tests.contract.mutants import MUTANTS, Mutant
from tests.contract.suite import CrmContract
from tests.contract.test_memory import FIELDS, STREAMS, Clock, MemoryPerson, info


def failures(mutate: Mutant) -> Iterator[str]:
    """Names of the tests that fail for a MemoryCrm that was tampered with, one after the other."""
    for name in dir(CrmContract):
        if not name.startswith("test_"):
            continue
        marks = getattr(getattr(CrmContract, name), "pytestmark", [])
        for chosen in product(*(choices(*mark.args) for mark in marks)):
            try:
                run(name, mutate, {key: value for part in chosen for key, value in part.items()})
            except pytest.skip.Exception:
                continue
            except (Exception, pytest.fail.Exception):
                yield name


def choices(names, values):
    """What one parametrize mark may pass."""
    if isinstance(names, str):
        return [{names: value} for value in values]
    return [dict(zip(names, value, strict=True)) for value in values]


def run(name: str, mutate: Mutant, more: dict) -> None:
    clock = Clock()
    fields = {object_name: [*infos, info("HubId", unique=True)] for object_name, infos in FIELDS.items()}
    crm = MemoryCrm(MemoryAccount(clock=clock, fields=fields), knobs=Knobs(page_size=20, job_size=200))
    refused = MemoryCrm(crm.account, knobs=Knobs(unauthorised=True))
    mutate(crm)
    known = {
        "crm": crm,
        "streams": STREAMS,
        "person": MemoryPerson(crm.account),
        "settle": lambda: clock.advance(seconds=2),
        "refused": refused,
        **STREAMS,
        **more,
    }
    suite = CrmContract()
    suite.job_size = 200
    test = getattr(suite, name)
    test(**{argument: known[argument] for argument in signature(test).parameters})


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_connector_is_found(name):
    assert next(failures(MUTANTS[name]), None) is not None


def test_one_that_is_not_broken_passes():
    assert list(failures(lambda _: None)) == []
