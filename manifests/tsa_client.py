"""Asking a timestamp authority, and fetching what its certificates say of their revocation. Network.

A token is checked in full before it is returned: what comes from here proves a time, or there is none.
Answers are bounded in size and time (``manifests.http_fetch``), and everything is kept as it came.

Source: RFC 3161 section 3.4 (HTTP); RFC 6960 appendix A (OCSP over HTTP).
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from manifests.errors import ManifestError
from manifests.http_fetch import FetchError, fetch
from manifests.proof import ProofError
from manifests.revocation import MAX_ANSWER_BYTES, Answer, encode_answers, ocsp_request, places_to_ask
from manifests.timestamps import (
    Stamp,
    build_request,
    check_fresh,
    check_token,
    render_chain,
)
from manifests.trust import TrustedAuthority
from manifests.tsa_token import MAX_REPLY_BYTES, parse_reply

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
        reply = fetch(authority.url, request, "application/timestamp-query", MAX_REPLY_BYTES)
    except FetchError as error:
        raise TsaUnavailable(authority.name, str(error)) from error
    try:
        token = parse_reply(reply)
        chain = check_token(token, data, authority, request=request)
        interval = check_fresh(token, asked_at, datetime.now(UTC))
    except ProofError as error:
        raise TsaUnavailable(authority.name, error.message) from error
    revocation = encode_answers(fetch_answers(chain))
    return Stamp(authority.name, request, reply, render_chain(chain), revocation, interval)


def stamp_by_policy(
    data: bytes, authorities: Sequence[TrustedAuthority], required: int
) -> tuple[list[Stamp], list[TsaUnavailable]]:
    """Ask one authority after the other until *required* of them gave a token over *data*.

    Returns:
        The tokens, fewer than *required* when too many failed; and the failures.
    """
    stamps: list[Stamp] = []
    failures: list[TsaUnavailable] = []
    for authority in authorities:
        if len(stamps) == required:
            break
        try:
            stamps.append(stamp(data, authority))
        except TsaUnavailable as error:
            failures.append(error)
    return stamps, failures


def fetch_answers(chain: Sequence[x509.Certificate]) -> list[Answer]:
    """Ask for the revocation of every certificate of *chain* below its root; absence is an answer too."""
    return [_answer(each, issuer) for each, issuer in itertools.pairwise(chain)]


def _answer(certificate: x509.Certificate, issuer: x509.Certificate) -> Answer:
    name = certificate.fingerprint(hashes.SHA256()).hex()
    url, reason = "", "certificate names no place to ask"
    for kind, url in places_to_ask(certificate)[:MAX_PLACES]:
        query = ocsp_request(certificate, issuer) if kind == "ocsp" else None
        try:
            answer = fetch(url, query, "application/ocsp-request", MAX_ANSWER_BYTES)
        except FetchError as error:
            reason = str(error)
            continue
        return Answer(certificate_sha256=name, kind=kind, url=url, answer=base64.b64encode(answer).decode())
    return Answer(certificate_sha256=name, kind="none", url=url, reason=reason)
