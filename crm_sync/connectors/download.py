"""Large bodies: handed on as they come, taken up again where the connection broke.

Here: what is done with an answer that was asked for with `stream=True`. Sending the request is the transport's.
"""

import logging
import zlib
from collections.abc import Callable, Iterator

import httpx

from crm_sync.connectors.backoff import jitter
from crm_sync.connectors.http import TransportSettings
from crm_sync.core.errors import CrmError, ErrorClass

log = logging.getLogger(__name__)


class OtherBytesError(CrmError):
    """A download that was taken up again came with other bytes than before: it has to be begun anew."""


def chunks(open_again: Callable[[], httpx.Response], settings: TransportSettings) -> Iterator[bytes]:
    """The decompressed body of a GET, in pieces, never whole in memory.

    open_again: sends the request with `stream=True`. If the connection breaks on the way it is called again, and
    what was already handed out is skipped, provided that the very same bytes come.

    Raises CrmError(TRANSIENT) if the body cannot be had in as many attempts as a request gets, OtherBytesError if it
    is another one when it is asked for again.
    """
    done, checksum = 0, 0
    for attempt in range(1, settings.attempts + 1):
        response = open_again()
        try:
            for chunk in _beyond(response.iter_bytes(), done, checksum):
                checksum = zlib.crc32(chunk, checksum)
                done += len(chunk)
                yield chunk
        except httpx.HTTPError as error:
            log.info("a download broke off after %d bytes (%s)", done, type(error).__name__)
            if attempt == settings.attempts:
                text = f"{response.request.url.host}: the answer broke off {attempt} times"
                raise CrmError(ErrorClass.TRANSIENT, text) from error
            settings.sleep(jitter(attempt))
        else:
            return
        finally:
            response.close()


def _beyond(body: Iterator[bytes], done: int, checksum: int) -> Iterator[bytes]:
    """What comes after the first `done` bytes, which must have that CRC-32."""
    seen, again = 0, 0
    for chunk in body:
        old = chunk[: max(done - seen, 0)]
        again = zlib.crc32(old, again)
        seen += len(chunk)
        if old and seen >= done and again != checksum:
            break
        if len(chunk) > len(old):
            yield chunk[len(old) :]
    if seen < done or again != checksum:
        raise OtherBytesError(
            ErrorClass.TRANSIENT, "a download that broke off came back with other bytes; read it anew"
        )
