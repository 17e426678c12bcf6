"""The sections of an exhibit, each from the capture, its seal and the order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import unquote, urlsplit

import idna

from archiver.reports.document import Block, Fact, Picture, printable
from archiver.reports.exhibit_order import Order, Source
from archiver.reports.words import Words
from manifests.findings import Area
from manifests.proof import utc_text
from manifests.record import EvidenceRecord
from manifests.record_network import Connection
from manifests.report import Report
from manifests.seal import SealState

MAX_TEXT_CHARS = 60_000
MAX_LISTED = 60
MAX_NAME_CHARS = 300
PRINTED = "exhibit for"
"""Begins the purpose of the custody event of printing an exhibit."""


def summary_section(source: Source, order: Order, words: Words) -> list[Block]:
    """What it is: address, outcome, times, digest."""
    record, empty = source.record, words("exhibit.not_filled")
    legible = readable(record.seed.url)
    interval = source.proof.interval if source.proof else None
    bound = record.not_before
    facts = [
        Fact(words("exhibit.number"), printable(order.number)),
        Fact(words("exhibit.incident"), ", ".join(record.incident_ids)),
        Fact(words("exhibit.case"), printable(order.case) or empty),
        Fact(words("exhibit.offered"), printable(order.offered) or empty),
        Fact(words("summary.url"), record.seed.url, exact=True),
        *([Fact(words("summary.url_readable"), printable(legible))] if legible != record.seed.url else []),
        Fact(words("summary.final_url"), record.target.final_url or words("exhibit.none"), exact=True),
        Fact(
            words("summary.title"),
            printable(clip(record.target.title or words("exhibit.none"), MAX_NAME_CHARS)),
        ),
        Fact(words("summary.outcome"), words.named("outcome", record.outcome.kind)),
        Fact(words("summary.reason"), printable(record.outcome.reason)),
        Fact(words("summary.confidence"), f"{record.outcome.confidence_percent} %"),
        Fact(words("summary.completeness"), _completeness(record, words)),
        Fact(words("summary.started"), _both_times(record, record.started_at, words)),
        Fact(words("summary.finished"), _both_times(record, record.finished_at, words)),
        Fact(words("summary.no_later"), utc_text(interval.latest) if interval else words("summary.unproven")),
        *(
            [Fact(words("summary.no_earlier"), f"{bound.published_at or bound.fetched_at} ({bound.source})")]
            if bound
            else []
        ),
        Fact(words("summary.capture"), record.capture_id, exact=True),
        Fact(words("summary.record"), source.report.record_sha256, exact=True),
    ]
    number = len(_HEADINGS_BEFORE_DIGESTS) + 1
    return [
        Block("facts", facts),
        Block("note", words("summary.what")),
        Block("text", [words("exhibit.qr", section=number)]),
    ]


_HEADINGS_BEFORE_DIGESTS = ("summary", "page", "text", "fields", "path", "technical")


def pictures_section(source: Source, words: Words) -> Iterator[Block]:
    """The pictures, part by part."""
    if not source.shots:
        yield Block("paragraphs", [words("page.none")])
    names = {"screenshot-full": "before", "screenshot-viewport": "viewport", "failure-sheet": "sheet"}
    for shot in source.shots:
        artifact = shot.artifact
        if artifact.role in names:
            yield Block("heading", words(f"page.{names[artifact.role]}"))
        yield Block(
            "pictures",
            [
                Picture(
                    part.path,
                    words(
                        "page.caption",
                        file=artifact.path,
                        width=part.width_px,
                        height=part.height_px,
                        part=part.number,
                        parts=part.count,
                        digest=artifact.sha256,
                    ),
                )
                for part in shot.parts
            ],
        )


def text_section(source: Source, words: Words) -> list[Block]:
    """The visible text, up to ``MAX_TEXT_CHARS``."""
    text = source.text
    if not text:
        return [Block("paragraphs", [words("exhibit.none")])]
    lines = [printable(line) for line in text[:MAX_TEXT_CHARS].splitlines() if line.strip()]
    if len(text) > MAX_TEXT_CHARS:
        path = next(one.path for one in source.record.artifacts if one.role == "text")
        lines.append(words("exhibit.cut", left=len(text) - MAX_TEXT_CHARS, path=path))
    return [Block("text", lines)]


def fields_section(source: Source, order: Order, words: Words) -> Iterator[Fact]:
    """Who, when, from where and under what conditions."""
    record = source.record
    opened = {one.name: one.value for one in order.opened} if order.audience != "public" else {}
    unstated = words("exhibit.not_stated")

    def stated(label: str, value: str | None) -> Fact:
        return Fact(words(f"fields.{label}"), printable(value or unstated))

    statement, collector = record.statement, record.collector
    yield stated("when", statement.when)
    yield stated("by_whom", opened.get("collector.operator") or statement.by_whom)
    yield stated("conditions", statement.conditions)
    yield stated("circumstances", statement.circumstances)
    yield stated("purpose", statement.purpose)
    yield Fact(words("fields.collector"), printable(_person(record, opened, words)))
    yield stated("organisation", collector.organisation)
    yield stated("role", collector.role)
    yield stated("witness", words.named("witness", collector.witness))
    yield stated("access", words.named("access", record.access.kind))
    yield Fact(words("fields.pretext"), _yes_no(record.access.pretext_used, words))
    yield stated("vantage", record.environment.vantage)
    yield stated("country", record.environment.vantage_country)
    yield Fact(words("fields.clock"), _clock(record, words))
    yield stated("server_ip", record.network.server_ip)
    yield from _tls(record, words)
    yield stated("status", str(record.target.http_status or ""))
    upstream = record.network.upstream
    yield stated("upstream", upstream.label if upstream else words("exhibit.no"))
    yield stated("session", words("exhibit.yes") if record.environment.login_session else words("exhibit.no"))
    yield Fact(words("fields.origin"), words.named("origin", record.origin.kind))
    yield stated("language", record.target.language)
    yield stated("dates", "; ".join(f"{one.kind}: {one.value} ({one.source})" for one in record.target.dates))
    row = record.seed.row
    yield stated("register", f"{row.register}:{row.line}" if row else None)


def _person(record: EvidenceRecord, opened: Mapping[str, str], words: Words) -> str:
    told = [opened.get("collector.operator") or record.collector.operator, record.collector.staff_id]
    fixed = next((one for one in record.commitments if one.name == "collector.operator"), None)
    if not any(told) and fixed:
        return words("exhibit.withheld", digest=fixed.digest)
    return ", ".join(one for one in told if one) or words("exhibit.not_stated")


def _tls(record: EvidenceRecord, words: Words) -> Iterator[Fact]:
    main = _main_connection(record)
    if main is None or main.tls is None:
        yield Fact(words("fields.tls"), words("exhibit.none"))
        return
    tls = main.tls
    yield Fact(words("fields.tls"), ", ".join(filter(None, (tls.version, tls.cipher, tls.alpn))))
    yield Fact(words("fields.tls_verdict"), printable(tls.browser_verdict))
    if tls.chain_sha256:
        yield Fact(words("fields.certificate"), tls.chain_sha256[0], exact=True)


def _main_connection(record: EvidenceRecord) -> Connection | None:
    """The first connection to the host of the page that was shown, or that was asked for."""
    host = urlsplit(record.target.final_url or record.target.url).hostname
    return next((one for one in record.network.connections if one.host == host), None)


def path_section(record: EvidenceRecord, words: Words) -> Iterator[str]:
    """Steps by which a person reaches the page again."""
    yield words("path.open", url=record.seed.url)
    for step in record.target.redirects:
        key = "path.redirect" if step.status else "path.script"
        yield words(key, status=step.status, location=step.location)
    final = record.target.final_url
    yield words("path.end", url=final) if final else words("path.not_there")


def technical_section(record: EvidenceRecord, words: Words) -> Iterator[Block]:
    """Means, counts, errors, conversions and steps."""
    environment, recording = record.environment, record.recording
    browser, viewport = environment.browser, environment.viewport
    named = [
        ("tool", f"{environment.tool.name} {environment.tool.version}"),
        ("browser", f"{browser.name} {browser.version}" if browser else words("exhibit.none")),
        ("system", f"{environment.operating_system}, {environment.architecture}"),
        (
            "window",
            f"{viewport.width_px} × {viewport.height_px} px, {viewport.scale_percent} %" if viewport else "–",
        ),
        ("user_agent", environment.user_agent or "–"),
        ("locale", f"{environment.locale or '–'}, {environment.timezone or '–'}"),
        (
            "exchanges",
            f"{recording.exchange_count} / {recording.response_count} / {recording.truncated_count}",
        ),
        ("matched", f"{recording.browser_request_count} / {recording.browser_matched_count}"),
        ("connections", str(len(record.network.connections))),
        (
            "refusals",
            "; ".join(f"{one.host}:{one.port} ({one.rule})" for one in record.network.refusals[:20]) or "0",
        ),
        (
            "limits",
            "; ".join(f"{one.name} {one.value} {one.unit}" for one in record.limits if one.reached)
            or words("exhibit.none"),
        ),
    ]
    facts = [Fact(words(f"technical.{key}"), printable(value)) for key, value in named]
    code = [("code", environment.tool.sha256), ("browser_sha256", browser.sha256 if browser else None)]
    facts += [Fact(words(f"technical.{key}"), value, exact=True) for key, value in code if value]
    yield Block("facts", facts)
    yield Block("paragraphs", words.paragraphs("method.paragraphs"))
    lists = {
        "missing": [f"{one.part}: {one.reason}" for one in record.completeness.missing],
        "errors": [
            f"{one.occurred_at} {one.source}: {one.code or ''} {one.message}" for one in record.errors
        ],
        "alterations": list(record.alterations),
        "actions": [
            f"{one.started_at} {one.kind}, {one.duration_ms} ms{': ' + one.detail if one.detail else ''}"
            for one in record.actions
        ],
    }
    for key, lines in lists.items():
        if lines:
            yield Block("heading", words(f"technical.{key}"))
            kept = [printable(clip(line, 500)) for line in lines[:MAX_LISTED]]
            yield Block("text", kept if len(lines) <= MAX_LISTED else [*kept, f"… {len(lines)}"])


def digests_section(source: Source, words: Words) -> Block:
    """Every file with both digests, the record last."""
    rows = [
        [
            f"{one.path} ({one.role})",
            f"{one.bytes:,}".replace(",", " "),
            f"SHA-256 {one.sha256}BLAKE3  {one.blake3}",
        ]
        for one in source.record.artifacts
    ]
    size = f"{len(source.record_bytes):,}".replace(",", " ")
    rows.append(["record.json", size, f"SHA-256 {source.report.record_sha256}"])
    head = [words("digests.file"), words("digests.size"), "SHA-256, BLAKE3"]
    return Block("table", {"head": head, "rows": rows, "widths": [0, 20, 112], "exact": [2], "per_line": 72})


def proof_section(source: Source, words: Words) -> Iterator[Fact]:
    """Signature, tokens and log entry, as far as they verified."""
    proof = source.proof
    state = proof.state if proof else SealState.UNSEALED
    yield Fact(words("proof.state"), words.named("state", state.value))
    if proof is None:
        return
    if proof.principal:
        yield Fact(words("proof.signer"), printable(proof.principal))
        yield Fact(words("proof.key"), proof.key, exact=True)
    for authority, time, serial in source.stamps:
        yield Fact(words("proof.authority"), printable(authority))
        yield Fact(words("proof.time"), time)
        yield Fact(words("proof.serial"), serial, exact=True)
    if proof.checkpoint is not None:
        size = f"{words('proof.checkpoint')} {proof.checkpoint.size}"
        yield Fact(words("proof.log"), printable(proof.checkpoint.origin))
        yield Fact(words("proof.entry"), f"{proof.index}, {size}")


def check_section(report: Report, words: Words) -> Iterator[Block]:
    """The verdicts and findings of the verifier."""
    facts = [
        Fact(words.named("area", area.value), words.named("verdict", report.verdicts[area].value))
        for area in Area
    ]
    facts.append(Fact(words("check.overall"), words.named("verdict", report.overall.value)))
    yield Block("facts", facts)
    for key, lines in (
        ("proven", report.proven),
        ("findings", [str(one) for one in report.findings.items]),
        ("unchecked", report.unchecked),
    ):
        if lines:
            yield Block("heading", words(f"check.{key}"))
            yield Block("text", [printable(clip(line, 600)) for line in lines[:MAX_LISTED]])


def custody_section(source: Source, words: Words) -> list[Block]:
    """Events of the capture; those of printing exhibits are left out, so that a copy is the same again."""
    if source.events is None:
        return [Block("paragraphs", [words("custody.none")])]
    events = [one for one in source.events if not one[1].purpose.startswith(PRINTED)]
    rows = [
        [
            str(number),
            event.at,
            event.type,
            printable(event.actor),
            printable(clip(event.purpose or event.details, 200)),
        ]
        for number, event in events[:MAX_LISTED]
    ]
    table = {
        "head": ["№", "UTC", *(words(f"custody.{one}") for one in ("event", "actor", "purpose"))],
        "rows": rows,
        "widths": [10, 40, 26, 30, 0],
        "exact": [],
    }
    return [Block("text", [words("custody.note")]), Block("table", table)]


def withheld_section(record: EvidenceRecord, order: Order, words: Words) -> Iterator[Block]:
    """Facts that are fixed and not told in this edition."""
    told = {one.name for one in order.opened} if order.audience != "public" else set()
    rest = [(one.name, one.digest) for one in record.commitments if one.name not in told]
    if not rest:
        yield Block("paragraphs", [words("withheld.none")])
        return
    yield Block("paragraphs", [words("withheld.note")])
    yield Block("facts", [Fact(name, digest, exact=True) for name, digest in rest])


def verify_section(source: Source, words: Words) -> list[Block]:
    """The commands that check the capture without us."""
    blocks = [Block("paragraphs", [words("verify.intro"), words("verify.ours")])]
    if source.script:
        blocks += [
            Block("paragraphs", [words("verify.script")]),
            Block("code", list(_commands(source.script))),
        ]
    return blocks


def _commands(script: str) -> Iterator[str]:
    """The commands of the script, without the data that it holds between marks."""
    inside = ""
    for line in script.splitlines():
        if inside:
            inside = "" if line == inside else inside
            continue
        if "<<'" in line:
            inside = line.split("<<'")[1].split("'")[0]
        if line.strip() and not line.startswith("#"):
            yield line


def declaration_section(source: Source, order: Order, words: Words) -> list[Block]:
    """The declaration of the form asked for, to be completed and signed."""
    record, unstated = source.record, words("exhibit.not_stated")
    browser = record.environment.browser
    values = {
        "started_utc": utc(record.started_at),
        "started_local": _local(record, record.started_at),
        "url": record.seed.url,
        "final_url": record.target.final_url or words("exhibit.none"),
        "tool": f"{record.environment.tool.name} {record.environment.tool.version}",
        "code": record.environment.tool.sha256 or unstated,
        "browser": f"{browser.name} {browser.version}" if browser else words("exhibit.none"),
        "system": record.environment.operating_system,
        "access": words.named("access", record.access.kind),
        "conditions": record.statement.conditions or unstated,
        "circumstances": record.statement.circumstances or unstated,
        "missing": "; ".join(one.reason for one in record.completeness.missing) or words("exhibit.none"),
        "record": source.report.record_sha256,
    }
    form = f"declaration.{order.form}"
    texts = [printable(one.format(**values)) for one in words.paragraphs(f"{form}.paragraphs")]
    lines = [words(f"declaration.{key}") for key in ("name", "place", "signature")]
    return [Block("heading", words(f"{form}.title")), Block("paragraphs", texts), Block("lines", lines)]


def service_section(words: Words) -> Block:
    """Lines for media and copies."""
    return Block("lines", [words(f"service.{key}") for key in ("media", "sets", "opponent")])


def _completeness(record: EvidenceRecord, words: Words) -> str:
    missing = "; ".join(f"{one.part}: {one.reason}" for one in record.completeness.missing[:10])
    return printable(words(f"completeness.{record.completeness.state}", missing=missing))


def readable(url: str) -> str:
    """The address with the letters that a person reads: host names and paths decoded where possible."""
    parts = urlsplit(url)
    try:
        host = idna.decode(parts.hostname or "")
    except idna.IDNAError:
        host = parts.hostname or ""
    netloc = f"{host}:{parts.port}" if parts.port else host
    return unquote(parts._replace(netloc=netloc).geturl(), errors="replace")


def _clock(record: EvidenceRecord, words: Words) -> str:
    clock = record.clock
    if not clock.checked:
        return words("fields.clock_unchecked")
    return printable(
        words(
            "fields.clock_checked",
            server=clock.server,
            offset=clock.offset_ms,
            round_trip=clock.round_trip_ms,
        )
    )


def _yes_no(value: bool | None, words: Words) -> str:
    return words("exhibit.not_stated") if value is None else words("exhibit.yes" if value else "exhibit.no")


def utc(moment: str) -> str:
    """A moment of the record, in UTC."""
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _local(record: EvidenceRecord, moment: str) -> str:
    zone = timezone(timedelta(minutes=record.local_utc_offset_min))
    return datetime.fromisoformat(moment).astimezone(zone).isoformat(" ", "seconds")


def _both_times(record: EvidenceRecord, moment: str, words: Words) -> str:
    offset = _local(record, moment)[-6:]
    local = f"{_local(record, moment)[:-6]} {words('exhibit.local_time', offset=offset)}"
    return f"{moment.replace('T', ' ').removesuffix('Z')} UTC · {local}"


def clip(text: str, limit: int) -> str:
    """At most *limit* characters of *text*."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
