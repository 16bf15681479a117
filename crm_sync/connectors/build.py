"""From what a connection file says to a connector that can be used.

Here: secrets are read from the environment, the kind's connector is imported, and nothing is called yet. A kind is
a package `crm_sync.connectors.<kind>` whose module `crm` has a function
`connect(name, options, tokens, settings) -> Crm`.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from crm_sync.connectors.answers import AnswerMemory, NoMemory
from crm_sync.connectors.crm import Crm, TokenStore
from crm_sync.connectors.http import TransportSettings
from crm_sync.connectors.limiter import RateLimiter
from crm_sync.core.errors import ConfigError, Problem
from crm_sync.core.quota import Quotas
from crm_sync.core.spec import ConnectionSpec, SecretRef


@dataclass(frozen=True, slots=True)
class Options:
    """A connection's options with secrets filled in; complaints name the connection file, and the line of the option
    as far as `lines` (by dotted path) tells."""

    file: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def get(self, path: str, default: Any = None) -> Any:
        """The option at a dotted path (`auth.client_id`), or the default if it is missing or null."""
        found: Any = self.values
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return default if found is None else found

    def need(self, path: str) -> Any:
        """The option at a dotted path; ConfigError if it is missing or null."""
        found = self.get(path)
        if found is None or found == "":
            raise self.wrong(path, "is needed and missing")
        return found

    def wrong(self, path: str, message: str) -> ConfigError:
        """A complaint about one option, to be raised."""
        return ConfigError([Problem(self.file, _line(self.lines, path), path, message)])


Connect = Callable[[str, Options, TokenStore, TransportSettings], Crm]


def connect(
    spec: ConnectionSpec,
    *,
    env: Mapping[str, str],
    tokens: TokenStore,
    ca_bundle: Path | None = None,
    timeout: float = 30.0,
    memory: AnswerMemory | None = None,
    limiter: Callable[[Quotas], RateLimiter] | None = None,
) -> Crm:
    """The connector of a connection. No request is made yet.

    env: where secrets are looked up. ca_bundle: authorities to trust beside the public ones, unless the connection
    names its own. memory: where the CRM's descriptions of itself are remembered (None: nowhere).
    limiter: makes what keeps the kind's quotas for all processes (None: each process for itself).

    Raises ConfigError for a secret that is not set, an unknown kind and unusable options.
    """
    problems: list[Problem] = []
    options = Options(spec.file, _reveal(spec.options, env, spec, "", problems), spec.lines)
    if problems:
        raise ConfigError(problems)
    own_bundle = options.get("ca_bundle")
    settings = TransportSettings(
        timeout=timeout,
        ca_bundle=Path(own_bundle) if own_bundle else ca_bundle,
        memory=memory or NoMemory(),
        limiter=limiter,
    )
    return _connector(spec)(spec.name, options, tokens, settings)


def _connector(spec: ConnectionSpec) -> Connect:
    module = f"crm_sync.connectors.{spec.kind}.crm"
    try:
        return cast("Connect", importlib.import_module(module).connect)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        message = f"there is no connector for kind {spec.kind!r}"
        raise ConfigError([Problem(spec.file, None, "kind", message)]) from error


def _reveal(
    value: Any, env: Mapping[str, str], spec: ConnectionSpec, path: str, problems: list[Problem]
) -> Any:
    """The options with every SecretRef replaced by the variable's content; missing ones are added to problems."""
    if isinstance(value, SecretRef):
        content = env.get(value.env, "")
        if not content:
            message = f"the environment variable {value.env} is not set; it must hold the secret"
            problems.append(Problem(spec.file, _line(spec.lines, path), path, message))
        return content
    if isinstance(value, Mapping):
        return {
            name: _reveal(inner, env, spec, f"{path}.{name}".lstrip("."), problems)
            for name, inner in value.items()
        }
    return value


def _line(lines: Mapping[str, int], path: str) -> int | None:
    """The line of an option; of what it belongs to, if it is not there itself."""
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path)
