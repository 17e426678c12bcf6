"""One bounded HTTP exchange: for timestamp authorities, revocation, calendars and beacons. Network.

Redirects are refused: who answers is who was asked. Proxies of the environment are used.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request

from manifests.findings import shown

READ_TIMEOUT_S = 15
TOTAL_TIMEOUT_S = 30


class FetchError(Exception):
    """An HTTP exchange did not end in a whole answer; the text says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None stands for no new request: the redirect is raised as the error that it is for us."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def fetch(url: str, body: bytes | None, media_type: str, limit: int) -> bytes:
    """POST *body* of *media_type* to *url*, or GET it when *body* is None; returns at most *limit* bytes.

    Raises:
        FetchError: Anything but a whole answer with status 200, within the limits.
    """
    if not url.startswith(("http://", "https://")):
        raise FetchError(f"address: expected http or https, got {shown(url)}")
    headers = {"Content-Type": media_type} if body is not None else {}
    ends_at = time.monotonic() + TOTAL_TIMEOUT_S
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310  http and https only, see above
        with _OPENER.open(request, timeout=READ_TIMEOUT_S) as answer:
            parts, size = [], 0
            while part := answer.read1(64 * 1024):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise FetchError(f"answer: expected at most {limit} bytes, got more")
                if time.monotonic() > ends_at:
                    raise FetchError(f"answer: expected within {TOTAL_TIMEOUT_S} s, got no end")
            if answer.length:
                raise FetchError(f"answer: expected {answer.length} bytes more, got an end")
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"answer: expected HTTP 200, got {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"answer: expected one, got: {shown(str(error))}") from error
    return b"".join(parts)
