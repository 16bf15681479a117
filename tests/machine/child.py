"""Processes of their own that sync, so that they can really be killed: SIGKILL at any statement and any call.

A child is forked from the one that tells the story, with a session of its own. The CRMs stay with the parent: the child
asks them through a pipe, so that they live on when it dies. Where it dies is counted in statements and calls, never in
time, and of two children the parent lets one at a time go on, so that a seed always tells the same story.
"""

import os
import random
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import psycopg

from crm_sync.connectors.crm import Operation
from crm_sync.core.errors import BusyError, CrmError, SyncError
from crm_sync.core.spec import StreamSpec
from crm_sync.steps.options import Options
from tests.campaign.trail import Trail, follow
from tests.machine.fragile import FragileCrm, FragileStore, Fuse
from tests.machine.ground import Ground
from tests.machine.parts import Part, step

Ask = Callable[..., Any]
BLOCKED = 0.002  # seconds between two looks whether a child waits for the other's locks


class Account:
    """What a client in the child sees of an account in the parent."""

    def __init__(self, ask: Ask, name: str, original: Any) -> None:
        self._ask, self._name = ask, name
        self.habits, self.fields = original.habits, original.fields

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args: self._ask("account", self._name, method, args)


class _Places(Trail):
    """Counts the places where the process could die; dies at one of them, or waits at each until it is let go on."""

    def __init__(self, die_at: int | None, wait: Callable[[], None] | None) -> None:
        self.count = 0
        self._die, self._wait = die_at, wait

    def mark(self, where: str) -> None:
        self.count += 1
        if self.count == self._die:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._wait is not None and threading.current_thread() is threading.main_thread():
            self._wait()


class Child:
    """A forked process that works through `todo`, and the parent's end of its pipe."""

    def __init__(
        self,
        ground: Ground,
        todo: Sequence[Part],
        *,
        die_at: int | None = None,
        stepwise: bool = False,
        before_write: Callable[[str, Operation], None],
    ) -> None:
        self.g = ground
        self.before_write = before_write
        self.backend: int | None = None
        self.over = False
        self.died = False
        self.said: str | None = None
        self.places = 0
        self.pipe, theirs = Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: it only syncs
            self.pid = os.fork()
        if self.pid == 0:
            self.pipe.close()
            _live(ground, todo, theirs, die_at, stepwise=stepwise)
        theirs.close()

    def serve(self) -> bool:
        """Answer until it waits to be let go on (true), or has ended (false)."""
        while True:
            try:
                what, *args = self.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._end()
                return False
            match what:
                case "place":
                    return True
                case "backend":
                    self.backend = args[0]
                case "hit":
                    self.g.hit(args[0])
                case "end":
                    self.places, self.said = args
                case _:
                    self._answer(what, args)

    def _answer(self, what: str, args: Sequence[Any]) -> None:
        try:
            match what:
                case "account":
                    name, method, rest = args
                    found = getattr(self.g.accounts[name], method)(*rest)
                    answer = list(found) if method == "listed" else found
                case "before_write":
                    answer = self.before_write(*args)
                case "wall":
                    answer = self.g.wall()
                case "postpone":
                    name, seconds, stream, operations = args
                    answer = self.g.postpone(name, seconds)(stream, operations)
            self.pipe.send((answer, None))
        except KeyError as error:  # what a CRM does not know
            self.pipe.send((None, error))

    def go_on(self) -> None:
        self.pipe.send((None, None))

    def blocked(self) -> bool:
        """Whether it waits in the database for what another session holds."""
        return bool(self.g.one("select cardinality(pg_blocking_pids(%s)) > 0", self.backend))

    def idle(self) -> bool:
        """Whether it is between two transactions, and holds no row."""
        query = "select state = 'idle' from pg_stat_activity where pid = %s"
        return bool(self.g.one(query, self.backend))

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._end()

    def _end(self) -> None:
        self.over = True
        self.pipe.close()
        _, status = os.waitpid(self.pid, 0)
        self.died = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if self.died:
            self.g.kills += 1
        elif status:
            raise AssertionError(f"a process ended by itself with status {status}: {self.said}")
        elif self.said:
            raise AssertionError(f"a sync failed in a process of its own: {self.said}")
        if self.backend is not None:
            self.g.gone(self.backend)


def interleaved(children: Sequence[Child], rng: random.Random, *, deaths: int) -> None:
    """Let the children go on in turns, a few places at a time, until they end; so many of them are killed on the way."""
    waiting = [child for child in children if child.serve()]
    blocked: list[Child] = []
    doomed = {child: rng.randrange(1, 120) for child in list(children)[:deaths]}
    while waiting or blocked:
        if not waiting:
            _settle(waiting, blocked, wait=True)
            continue
        child = rng.choice(waiting)
        for _ in range(rng.choice((1, 2, 5, 20))):
            doomed[child] = doomed.get(child, 0) - 1
            if doomed[child] == 0:
                waiting.remove(child)
                child.kill()
                break
            child.go_on()
            if not _back(child, blocked):
                waiting.remove(child)
                break
        _settle(waiting, blocked, wait=False)


def _back(child: Child, blocked: list[Child]) -> bool:
    """Whether it has come to its next place. If it waits for another's locks, it is noted as blocked."""
    while not child.pipe.poll(BLOCKED):
        if child.blocked():
            blocked.append(child)
            child.g.hit("waited for a lock")
            return False
    return child.serve()


def _settle(waiting: list[Child], blocked: list[Child], *, wait: bool) -> None:
    """Those that are not blocked any more go on; wait: until one is not (Postgres ends one of two that wait for each
    other)."""
    while blocked:
        for child in list(blocked):
            if child.pipe.poll(BLOCKED) or not child.blocked():
                blocked.remove(child)
                if child.serve():
                    waiting.append(child)
                wait = False
        if not wait:
            return


# In the child ------------------------------------------------------------------------------------------------------


def _live(
    ground: Ground, todo: Sequence[Part], pipe: Connection, die_at: int | None, *, stepwise: bool
) -> None:
    """Work, and end without a word to what belongs to the parent, such as its sessions."""
    status = 1
    try:
        _sync(ground, todo, pipe, die_at, stepwise=stepwise)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _sync(
    ground: Ground, todo: Sequence[Part], pipe: Connection, die_at: int | None, *, stepwise: bool
) -> None:
    def tell(*what: object) -> None:
        pipe.send(what)

    def ask(*what: object) -> Any:
        places.mark("before")
        tell(*what)
        answer, error = pipe.recv()
        if error is not None:
            raise error
        places.mark("after")
        return answer

    def wait() -> None:
        tell("place")
        pipe.recv()

    def wall() -> Any:  # no call and no statement: nothing dies here
        tell("wall")
        return pipe.recv()[0]

    places = _Places(None, None)
    parents = ground.forget_sessions()
    ground.wall = wall  # type: ignore[method-assign]
    for name, crm in ground.crms.items():
        if not isinstance(crm, FragileCrm):  # it speaks for itself
            continue
        crm.account = Account(ask, name, crm.account)  # type: ignore[assignment]
        crm.hit = lambda kind: tell("hit", kind)
        crm.faults.before_write = lambda operation, name=name: ask("before_write", name, operation)
        if crm.postpone is not None:
            crm.postpone = lambda stream, ops, name=name: _postpone(ask, name, stream, ops)
    store = FragileStore(ground.url, Fuse(lambda kind: tell("hit", kind)))
    tell("backend", store.conn.info.backend_pid)
    follow(places)
    places._die, places._wait = die_at, wait if stepwise else None
    said = None
    try:
        for part in todo:
            try:
                step(ground, store, part, Options())
            except BusyError:
                tell("hit", "busy")
            except CrmError:
                break
    except (SyncError, psycopg.OperationalError) as error:
        if not store.conn.closed:
            said = f"{type(error).__name__}: {error}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    places._die = places._wait = None
    tell("end", places.count, said)
    store.conn.close()
    del parents


def _postpone(ask: Ask, name: str, stream: StreamSpec, operations: Sequence[Operation]) -> bool:
    return bool(ask("postpone", name, 60.0, stream, list(operations)))
