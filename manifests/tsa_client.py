"""Asking a timestamp authority, and fetching what its certificates say of their revocation. Network.

A token is checked in full before it is returned: what comes from here proves a time, or there is none.
Answers are bounded in size and time, redirects are refused, and everything is kept as it came.

Source: RFC 3161 section 3.4 (HTTP); RFC 6960 appendix A (OCSP over HTTP).
"""

from __future__ import annotations

import base64
import http.client
import itertools
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from manifests.errors import ManifestError
from manifests.findings import shown
from manifests.proof import ProofError
from manifests.revocation import MAX_ANSWER_BYTES, Answer, encode_answers, ocsp_request, places_to_ask
from manifests.timestamps import (
    MAX_REPLY_BYTES,
    Stamp,
    build_request,
    check_fresh,
    check_token,
    parse_reply,
    render_chain,
)
from manifests.trust import TrustedAuthority

READ_TIMEOUT_S = 15
TOTAL_TIMEOUT_S = 30
MAX_PLACES = 4  # asked for one certificate's revocation


class TsaUnavailable(ManifestError):
    """An authority did not give a token that proves a time."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            f"timestamp authority {name}: {what}",
            code="E491",
            hint="the capture is kept as signed; seal it later, or choose another authority",
        )


def stamp(data: bytes, authority: TrustedAuthority) -> Stamp:
    """Obtain a token over *data* and check it.

    Raises:
        TsaUnavailable: No answer in time, a refusal, or a token that does not prove a time.
    """
    request = build_request(data)
    asked_at = datetime.now(UTC)
    try:
        reply = _fetch(authority.url, request, "application/timestamp-query", MAX_REPLY_BYTES)
    except _FetchError as error:
        raise TsaUnavailable(authority.name, str(error)) from error
    try:
        token = parse_reply(reply)
        chain = check_token(token, data, authority, request=request)
        interval = check_fresh(token, asked_at, datetime.now(UTC))
    except ProofError as error:
        raise TsaUnavailable(authority.name, error.message) from error
    revocation = encode_answers(fetch_answers(chain))
    return Stamp(authority.name, request, reply, render_chain(chain), revocation, interval)


def fetch_answers(chain: Sequence[x509.Certificate]) -> list[Answer]:
    """Ask for the revocation of every certificate of *chain* below its root; absence is an answer too."""
    return [_answer(each, issuer) for each, issuer in itertools.pairwise(chain)]


def _answer(certificate: x509.Certificate, issuer: x509.Certificate) -> Answer:
    name = certificate.fingerprint(hashes.SHA256()).hex()
    url, reason = "", "certificate names no place to ask"
    for kind, url in places_to_ask(certificate)[:MAX_PLACES]:
        query = ocsp_request(certificate, issuer) if kind == "ocsp" else None
        try:
            answer = _fetch(url, query, "application/ocsp-request", MAX_ANSWER_BYTES)
        except _FetchError as error:
            reason = str(error)
            continue
        return Answer(certificate_sha256=name, kind=kind, url=url, answer=base64.b64encode(answer).decode())
    return Answer(certificate_sha256=name, kind="none", url=url, reason=reason)


class _FetchError(Exception):
    """An HTTP exchange did not end in a whole answer; the text says why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None stands for no new request: the redirect is raised as the error that it is for us."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _fetch(url: str, body: bytes | None, media_type: str, limit: int) -> bytes:
    headers = {"Content-Type": media_type} if body is not None else {}
    ends_at = time.monotonic() + TOTAL_TIMEOUT_S
    try:
        request = urllib.request.Request(url, body, headers)  # noqa: S310  callers allow http and https only
        with _OPENER.open(request, timeout=READ_TIMEOUT_S) as answer:
            parts, size = [], 0
            while part := answer.read1(64 * 1024):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise _FetchError(f"answer: expected at most {limit} bytes, got more")
                if time.monotonic() > ends_at:
                    raise _FetchError(f"answer: expected within {TOTAL_TIMEOUT_S} s, got no end")
            if answer.length:
                raise _FetchError(f"answer: expected {answer.length} bytes more, got an end")
    except urllib.error.HTTPError as error:
        error.close()
        raise _FetchError(f"answer: expected HTTP 200, got {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _FetchError(f"answer: expected one, got: {shown(str(error))}") from error
    return b"".join(parts)
