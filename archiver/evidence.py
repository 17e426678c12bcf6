"""From what was asked, seen and recorded to the parts of an evidence record. Rules only, no files.

``request`` is what the pipeline wrote before the load: the parts of the record that were known then, in
the record's own shape. ``observed`` is what the session saw. ``decoded`` is what the wire holds.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

from archiver.capture.outcome import Facts
from archiver.capture.outcome import Outcome as Judgement
from archiver.capture.recorder.tls import tie_resumed
from manifests.record import Completeness, MissingPart, Outcome, PageDate, Redirect, Target
from manifests.record_network import (
    Check,
    Connection,
    DnsAnswer,
    MissingExchange,
    Network,
    PlaintextDigest,
    Recording,
    Refusal,
    SourceFile,
    TlsFacts,
    Upstream,
)
from manifests.record_process import CaptureError, Limit
from manifests.record_rules import timestamp
from manifests.record_types import as_line, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from archiver.capture.recorder.decode import ConnectionFacts, Decoded
    from archiver.capture.recorder.exchange import Exchange

MAX_LISTED = 500
"""Missing exchanges and errors listed one by one; the counts are of all."""

_LOCATION = re.compile(rb"^location:[ \t]*([^\r\n]+)", re.IGNORECASE | re.MULTILINE)
_TELLING = re.compile(
    rb"^(server|link|cf-mitigated|x-amzn-waf-action|x-datadome|www-authenticate):[ \t]*([^\r\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_UNITS: dict[str, Literal["bytes", "ms", "px"]] = {"_ms": "ms", "_bytes": "bytes", "_px": "px"}
_RESUMED_NOTE = "resumed session: the certificate is that of the connection it resumed"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is kept of an exchange after it was written: enough to tell coverage and redirects."""

    url: str
    status: int | None
    location: str
    connection: int
    ip: str
    truncated: str
    body_bytes: int
    telling: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, exchange: Exchange) -> Sighting:
        """Keep what matters of *exchange*."""
        head = exchange.response_head or b""
        found = _LOCATION.search(head) if exchange.status and 300 <= exchange.status < 400 else None
        location = found[1].strip().decode("utf-8", "replace") if found else ""
        body = exchange.response_body
        return cls(
            url=exchange.url,
            status=exchange.status,
            location=_joined(exchange.url, location) if location else "",
            connection=exchange.connection,
            ip=exchange.ip,
            truncated=exchange.truncated or "",
            body_bytes=body.size_bytes if body else 0,
            telling=tuple(_telling(head)),
        )


def _telling(head: bytes) -> Iterator[tuple[str, str]]:
    """Header fields that say of an answer who gave it, and why."""
    for found in _TELLING.finditer(head):
        yield found[1].decode("latin-1").lower(), found[2].strip().decode("latin-1")[:1000]


def _joined(base: str, location: str) -> str:
    """Resolve a ``Location``; one that is no URL is kept as the server wrote it."""
    try:
        return urljoin(base, location)
    except ValueError:
        return location


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").strip("[]")
    except ValueError:
        return ""


def main_chain(url: str, sightings: Sequence[Sighting]) -> list[Sighting]:
    """Follow the redirects of the main document on the wire, from *url* to its answer."""
    by_url: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        by_url.setdefault(sighting.url, []).append(sighting)
    chain: list[Sighting] = []
    current = url.partition("#")[0]
    if "/" not in current.split("://", 1)[-1]:
        current += "/"
    while (found := by_url.get(current)) and len(chain) < 50:
        chain.append(found.pop(0))
        if not chain[-1].location:
            break
        current = chain[-1].location.partition("#")[0]
    return chain


def target(url: str, observed: dict[str, Any], chain: Sequence[Sighting]) -> Target:
    """State the page as it answered; the wire's status goes before the browser's."""
    page = observed.get("page") or {}
    status = chain[-1].status if chain else None
    return Target(
        url=url,
        final_url=observed.get("final_url") or None,
        redirects=tuple(
            Redirect(url=step.url, status=step.status, location=step.location)
            for step in chain
            if step.location
        ),
        http_status=status if status is not None else observed.get("status"),
        title=as_text(page.get("title", "")),
        language=as_line(page.get("language", "")),
        canonical_url=page.get("canonical") or None,
        dates=tuple(
            PageDate(kind=d["kind"], value=as_line(d["value"]) or "?", source=as_line(d["source"]) or "?")
            for d in page.get("dates", [])[:20]
        ),
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """What the exhibits hold of a page.

    Args:
        answered: The page as it answered.
        text: Visible text.
        markup: The document as the scripts left it, or its beginning.
        is_document: The address brought a file.
    """

    answered: Target
    text: str = ""
    markup: str = ""
    is_document: bool = False


def facts_to_judge(
    url: str,
    observed: dict[str, Any],
    decoded: Decoded,
    chain: Sequence[Sighting],
    shown: Shown,
) -> Facts:
    """Collect what the outcome rules may look at."""
    answered = shown.answered
    # Where the redirects led is what could be reached or not.
    host = _host(answered.redirects[-1].location if answered.redirects else url)
    failures = [r for r in decoded.refusals if r.host.lower().strip("[]") in {host, _idna(host)}]
    crashed = observed.get("crashed", "") if observed else "the capture was interrupted"
    load_error = observed.get("load_error") or observed.get("broken_off", "")
    arrived = answered.http_status is not None and not load_error
    later = _later_status(observed, answered)
    return Facts(
        url=url,
        final_url=answered.final_url or "",
        status=later or answered.http_status,
        headers=chain[-1].telling if chain and not later else (),
        title=answered.title or "",
        text=shown.text,
        markup=shown.markup,
        load_error=load_error,
        network_errors=tuple(dict.fromkeys(f"{r.stage}: {r.reason}" for r in failures)),
        # A page that arrived may ask for more at its own host and be refused that.
        refused_by_guard=not arrived and bool(failures) and all(r.stage == "guard" for r in failures),
        crashed=crashed,
        is_document=shown.is_document,
        is_shown=any(one["role"].startswith("screenshot") for one in observed.get("exhibits", [])),
    )


def _later_status(observed: dict[str, Any], answered: Target) -> int | None:
    """The status of the document that is shown, where the same address was loaded again.

    A check that the visitor has passed loads the page anew: its 403 is not the page's.
    """
    final = (answered.final_url or "").partition("#")[0]
    loads = [
        request["status"]
        for request in observed.get("requests", [])
        if request.get("type") == "document"
        and request.get("method") == "GET"
        and "status" in request
        and request["url"].partition("#")[0] == final
    ]
    return loads[-1] if len(loads) > 1 and loads[-1] != answered.http_status else None


def _idna(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def outcome_part(judgement: Judgement) -> Outcome:
    """Fit the judgement into the record."""
    return Outcome(
        kind=judgement.kind,
        reason=as_line(judgement.reason) or judgement.kind,
        signals=tuple(line for line in (as_line(one.line()) for one in judgement.signals) if line),
        confidence_percent=judgement.confidence_percent,
    )


def network(
    request: dict[str, Any], observed: dict[str, Any], decoded: Decoded, chain: Sequence[Sighting]
) -> Network:
    """State the network side: names, connections, what was refused, what stood in for the name system."""
    resumed = tie_resumed({c.number: c.tls for c in decoded.connections if c.tls})
    main = chain[-1].connection if chain else 0
    verdict = _browser_verdict(observed)
    upstream = request["upstream"]
    return Network(
        server_ip=(chain[-1].ip or None) if chain else None,
        dns=_dns(request, decoded),
        connections=tuple(
            _connection(c, resumed, verdict if c.number == main else "not-reported")
            for c in decoded.connections
        ),
        refusals=_refusals(decoded),
        upstream=Upstream(**upstream) if upstream else None,
        resolve_rules=request["resolve_rules"],
        extra_roots=request["extra_roots"],
        private_network_allowed=request["private_network_allowed"],
        allowed_addresses=tuple(request["allowed_addresses"]),
    )


def _browser_verdict(observed: dict[str, Any]) -> str:
    security = observed.get("security") or {}
    if error := security.get("certificate_error"):
        return str(error)
    return str(security.get("state", "not-reported"))


def _connection(facts: ConnectionFacts, resumed: dict[int, int], verdict: str) -> Connection:
    closed_badly = facts.closed_by and "reset" in facts.close_reason.lower()
    return Connection(
        number=facts.number,
        host=as_line(facts.host) or "?",
        port=facts.port,
        ip=facts.ip or None,
        opened_at=timestamp(facts.opened_at_ns),
        closed_at=timestamp(facts.closed_at_ns) if facts.closed_at_ns else None,
        dialled_port=facts.dialled_port,
        sent_bytes=facts.bytes_sent,
        received_bytes=facts.bytes_received,
        sent_plaintext=PlaintextDigest(bytes=facts.sent.size_bytes, sha256=facts.sent.sha256),
        received_plaintext=PlaintextDigest(bytes=facts.received.size_bytes, sha256=facts.received.sha256),
        tls=_tls(facts, resumed.get(facts.number), verdict) if facts.tls else None,
        error=as_line(facts.error or (f"{facts.closed_by}: {facts.close_reason}" if closed_badly else "")),
    )


def _tls(connection: ConnectionFacts, resumed_from: int | None, verdict: str) -> TlsFacts:
    facts = connection.tls
    assert facts is not None
    proof: Check = "absent"
    if facts.certificate_verify.valid is not None:
        proof = "valid" if facts.certificate_verify.valid else "invalid"
    elif facts.chain:
        proof = "not-checked"
    note = facts.not_followed or (_RESUMED_NOTE if resumed_from else facts.certificate_verify.reason)
    return TlsFacts(
        version=facts.version or "unknown",
        cipher=facts.cipher_suite or None,
        alpn=facts.alpn or None,
        server_name=as_line(facts.sni or ""),
        chain_sha256=tuple(hashlib.sha256(der).hexdigest() for der in facts.chain),
        certificate_verify=proof,
        server_finished=_check(facts.server_finished),
        client_finished=_check(facts.client_finished),
        resumed_from=resumed_from,
        browser_verdict=verdict,
        decrypted=not facts.undecrypted_records and not facts.not_followed,
        note=as_line(note),
    )


def _check(value: bool | None) -> Check:
    return "not-checked" if value is None else "valid" if value else "invalid"


def _dns(request: dict[str, Any], decoded: Decoded) -> tuple[DnsAnswer, ...]:
    by_rule = {rule["host"] for rule in request["resolve_rules"]}
    asked = request.get("resolver") or "system"
    found: dict[tuple[str, tuple[str, ...]], DnsAnswer] = {}
    for c in decoded.connections:
        resolver = "upstream" if c.upstream and not c.ip else "rule" if _ruled(c.host, by_rule) else asked
        found.setdefault(
            (c.host, c.dns_answers),
            DnsAnswer(
                host=as_line(c.host) or "?",
                asked_at=timestamp(c.opened_at_ns),
                resolver=resolver,
                addresses=c.dns_answers,
            ),
        )
    for r in decoded.refusals:
        if r.stage == "resolve":
            answer = DnsAnswer(
                host=as_line(r.host) or "?",
                asked_at=timestamp(r.at_ns),
                resolver=asked,
                addresses=r.dns_answers,
                error=as_line(r.reason),
            )
            found.setdefault((r.host, r.dns_answers), answer)
    return tuple(found.values())


def _ruled(host: str, patterns: set[str]) -> bool:
    return any(p in {host, "*"} or (p[:2] == "*." and host.endswith(p[1:])) for p in patterns)


def _refusals(decoded: Decoded) -> tuple[Refusal, ...]:
    guarded = [r for r in decoded.refusals if r.stage in {"guard", "peer"}]
    counts = Counter((r.host, r.port, r.stage) for r in guarded)
    first: dict[tuple[str, int, str], Refusal] = {}
    for r in guarded:
        key = (r.host, r.port, r.stage)
        first.setdefault(
            key,
            Refusal(
                host=as_line(r.host) or "?",
                port=r.port,
                ip=r.dns_answers[0] if r.dns_answers else None,
                first_at=timestamp(r.at_ns),
                count=counts[key],
                rule="other-user" if r.stage == "peer" else _guard_rule(r.reason),
            ),
        )
    return tuple(first.values())


def _guard_rule(reason: str) -> str:
    return "refused-host" if "list of refused hosts" in reason else "address-not-public"


def recording(
    observed: dict[str, Any], decoded: Decoded, sightings: Sequence[Sighting], sources: Iterable[SourceFile]
) -> Recording:
    """Hold the wire against what the browser reported."""
    on_wire = {sighting.url for sighting in sightings}
    reported = [r for r in observed.get("requests", []) if "status" in r and not r.get("from_service_worker")]
    missing = [r for r in reported if r["url"].partition("#")[0] not in on_wire]
    return Recording(
        exchange_count=len(sightings),
        response_count=sum(s.status is not None for s in sightings),
        truncated_count=sum(bool(s.truncated) and s.status is not None for s in sightings),
        body_bytes=sum(s.body_bytes for s in sightings),
        browser_request_count=len(reported),
        browser_matched_count=len(reported) - len(missing),
        missing=tuple(
            MissingExchange(url=r["url"], status=r["status"], reason="not on the wire")
            for r in missing[:MAX_LISTED]
        ),
        unsplit_connections=tuple(c.number for c in decoded.connections if c.error),
        sources=tuple(sources),
    )


def completeness(observed: dict[str, Any], decoded: Decoded, held: Recording) -> Completeness:
    """Say whether the capture is whole, and name each part that is missing."""
    missing = [_missing_part(problem) for problem in observed.get("problems", [])]
    missing += [
        MissingPart(part="exchanges", reason=as_line(problem) or "unreadable")
        for problem in decoded.problems[:MAX_LISTED]
    ]
    if held.missing:
        lost = held.browser_request_count - held.browser_matched_count
        reason = f"{lost} responses that the browser reported are not on the wire"
        missing.append(MissingPart(part="exchanges", reason=reason))
    if decoded.torn_tail_bytes:
        reason = f"the recorder was stopped in mid-frame, {decoded.torn_tail_bytes} bytes are unreadable"
        missing.append(MissingPart(part="exchanges", reason=reason))
    if decoded.key_log_dropped:
        missing.append(MissingPart(part="exchanges", reason="the browser left out TLS secrets"))
    if not observed or observed.get("crashed"):
        reason = as_line(observed.get("crashed", "")) or "the capture was broken off before its end"
        missing.insert(0, MissingPart(part="capture", reason=reason))
        return Completeness(state="interrupted", missing=tuple(missing))
    return Completeness(state="incomplete" if missing else "complete", missing=tuple(missing))


def _missing_part(problem: str) -> MissingPart:
    part, _, reason = problem.partition(": ")
    token = re.sub(r"[^a-z0-9._-]+", "-", part.lower()).strip("-.")[:64]
    return MissingPart(part=token or "capture", reason=as_line(reason or problem) or "not stated")


def errors(observed: dict[str, Any], decoded: Decoded, finished_at: str) -> tuple[CaptureError, ...]:
    """List errors in the words of the part that met them."""
    found = []
    if load_error := observed.get("load_error"):
        code = re.search(r"net::(ERR_[A-Z0-9_]+)", load_error)
        found.append(
            CaptureError(
                source="browser",
                occurred_at=finished_at,
                code=code[1] if code else None,
                message=as_text(load_error) or "failed",
            )
        )
    found += [
        CaptureError(
            source="resolver" if refusal.stage == "resolve" else "relay",
            occurred_at=timestamp(refusal.at_ns),
            code=refusal.errno or None,
            message=as_text(f"{refusal.host}:{refusal.port}: {refusal.reason}") or "failed",
        )
        for refusal in decoded.refusals[:MAX_LISTED]
        if refusal.stage in {"resolve", "connect"}
    ]
    return tuple(found)


def limits(values: dict[str, int], reached: Iterable[str]) -> tuple[Limit, ...]:
    """State the budgets with their units and which of them cut something off."""
    over = set(reached)
    return tuple(
        Limit(
            name=name,
            value=value,
            unit=next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "count"),
            reached=name in over,
        )
        for name, value in values.items()
    )
