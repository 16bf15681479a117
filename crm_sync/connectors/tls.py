"""Trust: which certificates a connector accepts.

Here belongs the one TLS context of all connectors. Verification cannot be switched off; a private authority
(a proxy that inspects traffic, a local simulator) is added, beside the public ones, by its CA bundle.
"""

import ssl
from pathlib import Path

import httpx

from crm_sync.core.errors import ConfigError, Problem


def context(ca_bundle: Path | None = None) -> ssl.SSLContext:
    """A verifying TLS context: the public authorities (or SSL_CERT_FILE), and those in `ca_bundle` (PEM).

    Raises ConfigError if the bundle cannot be read.
    """
    made = httpx.create_ssl_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_bundle is None:
        return made
    try:
        made.load_verify_locations(cafile=str(ca_bundle))
    except (OSError, ssl.SSLError) as error:
        reason = "is not a PEM file of certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            [Problem(str(ca_bundle), None, "ca_bundle", f"{reason}; give a PEM file of authorities to trust")]
        ) from error
    return made
