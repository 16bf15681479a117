"""The keys that encrypt OAuth tokens at rest: from CRM_SYNC_SECRET_KEY, else from a file in CRM_SYNC_HOME."""

import os
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

from crm_sync.core.errors import ConfigError, Problem
from crm_sync.hub.embedded import make_home
from crm_sync.settings import Settings

FILE = "secret.key"


def token_keys(settings: Settings) -> list[bytes]:
    """Fernet keys, the one that encrypts first. Without the setting, a key file of mode 0600 is made once.

    Raises ConfigError if a key is none, EmbeddedError if the home folder cannot be made.
    """
    if settings.secret_keys:
        where, keys = "CRM_SYNC_SECRET_KEY", [key.encode() for key in settings.secret_keys]
    else:
        path = make_home(settings.home) / FILE
        where, keys = str(path), [_from_file(path)]
    for key in keys:
        try:
            Fernet(key)
        except ValueError:
            message = (
                "must hold Fernet keys: 32 bytes in URL-safe base64, as Fernet.generate_key() makes them"
            )
            raise ConfigError([Problem(where, None, "", message)]) from None
    return keys


def _from_file(path: Path) -> bytes:
    """The content of the file; if it is missing, it is made whole first and then put in place, so that of several
    processes or threads that start at once one wins and all read the same key."""
    if not path.exists():
        handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
        fresh = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key())
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes().strip()
