"""E-mail and web addresses in canonical form. Only their syntax is looked at: nothing asks the network.

As in `values.py`: cleaned text in, canonical text out, `Unfit` for what is no address.
"""

import re
import unicodedata

from email_validator import SPECIAL_USE_DOMAIN_NAMES, validate_email

from crm_sync.core.values import Unfit

# The shape of nearly all addresses. What does not match, or ends in a reserved name, goes to the full check,
# which takes thirty times as long and gives the same answer for these.
_USUAL_EMAIL = re.compile(
    r"(?=.{6,254}$)(?=[^@]{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9]|-(?!-)){0,61}[a-z0-9]\.|[a-z0-9]\.)+([a-z]{2,63})"
)
RESERVED = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)
"""Last labels of the names that are not for use on the Internet."""

_LABEL = r"[a-z0-9_\u0080-\U0010ffff](?:[a-z0-9_\u0080-\U0010ffff-]{0,61}[a-z0-9_\u0080-\U0010ffff])?"
_WEB = re.compile(
    rf"(?P<scheme>https?://)?(?P<host>{_LABEL}(?:\.{_LABEL})*\.?|\[[0-9a-f:.]+\])(?P<port>:[0-9]{{1,5}})?"
    r"(?P<rest>[/?#].*)?",
    re.IGNORECASE | re.DOTALL,
)
_UNSAFE = re.compile(r"[\s\x00-\x20\x7f<>\"]")


def email(text: str) -> str:
    """Lower case throughout; an international domain in its own letters. The domain need not exist."""
    lowered = text.lower()
    usual = _USUAL_EMAIL.fullmatch(lowered)
    if usual and usual[1] not in RESERVED:
        return lowered
    # Lower-casing may compose differently, so that the form which is kept is checked itself.
    normal = _full_email(_full_email(lowered).lower())
    if normal != normal.lower():
        raise Unfit("is not an e-mail address that has a lower-case form")
    return normal


def _full_email(text: str) -> str:
    if "@" not in text:
        raise Unfit("is not an e-mail address: there is no @")
    try:
        return validate_email(text, check_deliverability=False, strict=True, test_environment=True).normalized
    except ValueError as error:
        raise Unfit("is not an e-mail address") from error


def url(text: str) -> str:
    """What people wrote, with scheme and host in lower case; a missing scheme stays missing."""
    parts = _WEB.fullmatch(text)
    if parts is None or _UNSAFE.search(text):
        raise Unfit("is not a web address (http, https, or a host with a dot)")
    host = unicodedata.normalize("NFC", parts["host"].lower())
    if parts["scheme"] is None and "." not in host.rstrip("."):
        raise Unfit("is not a web address: the host has no dot")
    found = f"{(parts['scheme'] or '').lower()}{host}{parts['port'] or ''}{parts['rest'] or ''}"
    again = _WEB.fullmatch(found)
    if again is None or again["host"] != host:
        raise Unfit("is not a web address that has a lower-case form")
    return found
