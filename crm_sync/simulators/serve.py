"""Running a simulator: as a server process, and from the outside as a context manager.

Here: sockets, TLS, the JSON line that tells a caller where the simulator is, signals, clean exits.
Not here: what a vendor answers (one package per vendor) and the arguments (__main__.py).
"""

import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import uvicorn
from starlette.types import ASGIApp

from crm_sync.simulators import tls
from crm_sync.simulators.door import Door, listening
from crm_sync.simulators.fault_plan import Plan
from crm_sync.simulators.transport import Protocol

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 10.0
SHUT_SECONDS = 15.0  # no plan shuts a door for longer


@dataclass(frozen=True, slots=True)
class Options:
    """What every simulator is told at its start.

    ``records`` is the number of contacts; companies are 0.16 and deals 0.3 of it.
    """

    records: int = 5000
    seed: int = 1
    plan: Plan = field(default_factory=Plan)
    state_dir: Path | None = None

    @property
    def companies(self) -> int:
        return self.records * 16 // 100

    @property
    def deals(self) -> int:
        return self.records * 3 // 10


@dataclass(slots=True)
class App:
    """A simulator ready to be served.

    ``info`` becomes the JSON line; ``base_url`` is called once with the address, because a vendor's
    answers contain it.
    """

    asgi: ASGIApp
    info: dict[str, Any]
    base_url: Callable[[str], None]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._announce()


def serve(
    app: App,
    *,
    port: int = 0,
    use_tls: bool = True,
    plan: Plan | None = None,
    state_dir: Path | None = None,
    exit_with_parent: bool = False,
) -> int:
    """Serve on the loopback until SIGINT or SIGTERM; return the exit status 0.

    The first line on standard output is ``app.info`` with ``base_url`` and ``ca_file`` as JSON.
    If a fault plan was in force, what it hit is printed to standard error at the end, as JSON.
    """
    with tempfile.TemporaryDirectory(prefix="crm-sync-simulator-") as temporary:
        certificates = tls.make(Path(state_dir or temporary) / "tls") if use_tls else None
        entrance = Door(_listen(port))
        scheme = "https" if certificates else "http"
        address = f"{scheme}://{HOST}:{entrance.address[1]}"
        app.base_url(address)
        info = app.info | {"base_url": address}
        if certificates:
            info["ca_file"] = str(certificates.ca_file)
        config = uvicorn.Config(
            entrance.shows(app.asgi),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # the vendor's clock says it (faults.py)
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(certificates.cert_file) if certificates else None,
            ssl_keyfile=str(certificates.key_file) if certificates else None,
        )
        entrance.server = server = _Server(config, lambda: _say(sys.stdout, info))
        _end_quietly()
        if exit_with_parent:
            _watch_parent(server)
        server.run(sockets=[entrance.listener.dup()])
    if plan is not None and plan.faults:
        _say(sys.stderr, {"faults": plan.report()})
    return 0


def _say(stream: TextIO, document: Mapping[str, object]) -> None:
    stream.write(json.dumps(document) + "\n")
    stream.flush()


def _listen(port: int) -> socket.socket:
    try:
        return listening(HOST, port)
    except OSError as error:
        raise SystemExit(
            f"Cannot listen on {HOST}:{port}: {error.strerror}. Choose another --port, or 0 for any."
        ) from error


def _end_quietly() -> None:
    # Clients that keep idle connections open are no news.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not str(record.msg).startswith("Cancel %s"))
    # uvicorn raises the signal once more after its clean shutdown, for the handler it found.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)


def _watch_parent(server: uvicorn.Server) -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        server.should_exit = True

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator, seen from outside; ``info`` is its JSON line."""

    info: Mapping[str, Any]
    process: subprocess.Popen[str]

    @property
    def base_url(self) -> str:
        return str(self.info["base_url"])

    @property
    def ca_file(self) -> str | None:
        return self.info.get("ca_file")

    def control(self, path: str, body: object = None) -> Any:
        """GET (or POST, with a body) below ``/_simulator/`` and return the JSON answer.

        A door that a fault has shut is waited for. Raises urllib.error.HTTPError when the simulator refuses.
        """
        request = urllib.request.Request(  # noqa: S310 - the loopback address of our own process
            f"{self.base_url}/_simulator/{path.lstrip('/')}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="GET" if body is None else "POST",
        )
        context = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        patient_until = time.monotonic() + SHUT_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60, context=context) as response:  # noqa: S310
                    return json.loads(response.read() or b"null")
            except urllib.error.URLError as error:  # the request did not get in
                away = isinstance(error.reason, ConnectionError | ssl.SSLEOFError)
                if not away or time.monotonic() > patient_until or self.process.poll() is not None:
                    raise
            time.sleep(0.1)

    def stop(self) -> int:
        """End the process and return its exit status (0 after a clean end). Safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdout, self.process.stdin):
            if stream is not None:
                stream.close()
        return self.process.returncode


def start(kind: str, *arguments: str, stderr: int | None = None) -> Simulator:
    """Start ``python -m crm_sync.simulators <kind> --port 0 ...`` and wait for its JSON line.

    Raises RuntimeError if it ends, or says nothing for two minutes.
    """
    command = [sys.executable, "-m", "crm_sync.simulators", kind, "--exit-with-parent", *arguments]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command, stdout=subprocess.PIPE, stderr=stderr, text=True
    )
    watchdog = threading.Timer(START_SECONDS, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
    finally:
        watchdog.cancel()
    if not line.startswith("{"):
        process.kill()
        raise RuntimeError(f"The {kind} simulator did not start (exit status {process.wait()}): {line!r}")
    return Simulator(json.loads(line), process)


@contextmanager
def running(
    kind: str,
    *,
    port: int = 0,
    records: int | None = None,
    seed: int | None = None,
    faults_file: Path | None = None,
    use_tls: bool = True,
) -> Iterator[Simulator]:
    """A simulator in its own process for the length of the block."""
    arguments = ["--port", str(port)]
    if records is not None:
        arguments += ["--records", str(records)]
    if seed is not None:
        arguments += ["--seed", str(seed)]
    if faults_file is not None:
        arguments += ["--faults", str(faults_file)]
    if not use_tls:
        arguments += ["--no-tls"]
    simulator = start(kind, *arguments)
    try:
        yield simulator
    finally:
        simulator.stop()
