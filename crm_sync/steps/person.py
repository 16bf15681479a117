"""Who does something, as the journal names them; on the command line and in Dagster's jobs alike."""

import getpass

from crm_sync.core.errors import SyncError


def person(by: str = "") -> str:
    """The account that runs this, unless another name is given; on one line, of printable characters."""
    name = " ".join("".join(char if char.isprintable() else " " for char in by).split())
    if by and not name:
        raise SyncError("--by takes a name")
    if name:
        return name[:100]
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without accounts
        return "unknown"
