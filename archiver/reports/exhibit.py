"""The exhibit: one capture as a document that a lawyer numbers and files.

Its parts follow what courts ask of a web page: what it is offered to prove, who observed it when and how, the
page itself at a readable size, its digests, what of the proof verified, and how to check that without us.
Everything in it comes from the capture, its seal and the order; nothing is stated that none of them holds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime

import segno

from archiver.reports.document import Attachment, Block, Document, Section, printable
from archiver.reports.exhibit_order import Order, Source
from archiver.reports.exhibit_sections import (
    check_section,
    clip,
    custody_section,
    declaration_section,
    digests_section,
    fields_section,
    path_section,
    pictures_section,
    proof_section,
    readable,
    service_section,
    summary_section,
    technical_section,
    text_section,
    utc,
    verify_section,
    withheld_section,
)
from archiver.reports.words import Words

SHORT_DIGEST_CHARS = 16


def exhibit_document(source: Source, order: Order, words: Words) -> Document:
    """Lay the exhibit out; the same source and order give the same document."""
    record = source.record
    digest = source.report.record_sha256
    sections = [
        Section(words("heading.summary"), summary_section(source, order, words)),
        Section(words("heading.page"), list(pictures_section(source, words)), own_page=True),
        Section(words("heading.text"), text_section(source, words), own_page=True),
        Section(words("heading.fields"), [Block("facts", list(fields_section(source, order, words)))]),
        Section(
            words("heading.path"), [Block("steps", [printable(one) for one in path_section(record, words)])]
        ),
        Section(words("heading.technical"), list(technical_section(record, words))),
        Section(words("heading.digests"), [digests_section(source, words)]),
        Section(words("heading.proof"), [Block("facts", list(proof_section(source, words)))]),
        Section(words("heading.check"), list(check_section(source.report, words))),
        Section(words("heading.custody"), custody_section(source, words)),
        Section(words("heading.withheld"), list(withheld_section(record, order, words))),
        Section(words("heading.verify"), verify_section(source, words)),
        Section(words("heading.declaration"), declaration_section(source, order, words), own_page=True),
        Section(words("heading.service"), [service_section(words)]),
    ]
    return Document(
        title=f"{words('exhibit.title')} {printable(order.number)}",
        language=words.language,
        created_at=datetime.fromisoformat(record.created_at),
        header=(
            f"{words('exhibit.title')} {printable(order.number)} · {', '.join(record.incident_ids)}"[:120],
            f"{printable(clip(readable(record.seed.url), 90))} · {utc(record.started_at)}",
        ),
        footer=words("exhibit.digest_short", digest=digest[:SHORT_DIGEST_CHARS]),
        page_of=words("exhibit.page_of", page="{page}", pages="{pages}"),
        sections=sections,
        qr=_qr(record.capture_id, digest),
        attachments=list(_attachments(source)),
    )


def _attachments(source: Source) -> Iterator[Attachment]:
    yield Attachment("record.json", "application/json", "evidence record", source.record_bytes)
    for name in sorted(source.seal):
        yield Attachment(f"seal-{name}", "application/octet-stream", f"seal/{name}", source.seal[name])
    if source.script:
        yield Attachment("verify.sh", "text/x-shellscript", "commands", source.script.encode())
    if source.trust:
        yield Attachment("trust.toml", "application/toml", "keys, authorities and logs", source.trust)


def _qr(capture_id: str, digest: str) -> str:
    out = io.BytesIO()
    segno.make(f"{capture_id} sha256:{digest}", error="m").save(out, kind="svg", xmldecl=False, border=0)
    return out.getvalue().decode()
