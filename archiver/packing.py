"""From a spool folder to the files of a capture: WARC, WACZ, transcript, exhibits and evidence record.

Runs in a process of its own at low priority, while the browser loads the next page. What it makes is
exactly what is stored; it can be run again on the same spool after a kill and begins anew then.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from archiver import evidence
from archiver.capture.outcome import judge
from archiver.capture.page_reading import MAX_MARKUP_CHARS
from archiver.capture.recorder.decode import DecodeLimits, decode
from archiver.capture.recorder.keylog import KeyLog
from archiver.capture.recorder.transcript import write_transcript
from archiver.capture.recorder.wire import WireWriter
from archiver.confidential import HIDDEN_URL, conceal
from archiver.evidence import Sighting
from archiver.formats.payload import document_name, write_document
from archiver.formats.wacz import Page, write_wacz
from archiver.formats.warc import WarcWriter
from archiver.preservation.receipts import ANNEX_NAME
from archiver.spool import Spool, utc_text
from archiver.withheld import REDACTIONS_NAME, REDACTIONS_ROLE, SEALED_ROLE, Withholding
from manifests.codec import encode
from manifests.digests import digest_stream
from manifests.record import Artifact, EvidenceRecord, Target
from manifests.record_network import SourceFile

if TYPE_CHECKING:
    from archiver.capture.recorder.decode import Decoded
    from archiver.capture.recorder.exchange import Exchange
    from archiver.formats.cdxj import IndexEntry

RECORD_NAME = "record.json"
PACKAGE_NAME = "capture.wacz"

_URNS = {
    "screenshot-viewport": "urn:view:",
    "screenshot-before": "urn:fullPageBefore:",
    "screenshot-full": "urn:fullPage:",
    "pdf": "urn:pdf:",
    "mhtml": "urn:mhtml:",
    "dom": "urn:dom:",
    "text": "urn:text:",
    "failure-sheet": "urn:failureSheet:",
}
_SECRET_ROLES = frozenset({"transcript", "package"})
_DOCUMENT_NOTE = "the document was taken out of its response: chunk framing and content coding removed"


def pack(folder: Path) -> bytes:
    """Pack the spool in *folder* into its ``out`` folder and return the evidence record's bytes.

    Raises:
        EnvironmentUnfit: The disk took no more, or the spool cannot be read.
    """
    spool = Spool(folder)
    shutil.rmtree(spool.out, ignore_errors=True)
    spool.out.mkdir(mode=0o700)
    return _Packing(spool).run()


class _Packing:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._request = spool.request
        self._observed = spool.observed or {}
        self._url: str = self._request["seed"]["url"]
        self._sightings: list[Sighting] = []
        self._artifacts: list[Artifact] = []
        self._alterations: list[str] = list(self._observed.get("alterations", []))
        self._chain_urls = {self._url.partition("#")[0]}
        self._withheld: Withholding | None = None
        if (names := self._request.get("session_recipients")) and not self._request.get("recipients"):
            self._withheld = Withholding(spool, names)
        self._document: tuple[str, str] | None = None

    def run(self) -> bytes:
        self._complete_spool()
        sources = [_source(self._spool.wire), _source(self._spool.keys)]
        if self._withheld:
            self._withheld.learn()
        with tempfile.TemporaryDirectory(dir=self._spool.folder, prefix="warc-") as scratch:
            warc = Path(scratch) / "data.warc.gz"
            decoded, shown, entries, text = self._write_warc(warc)
            self._write_wacz(warc, entries, shown, text)
        self._write_transcript(decoded)
        self._write_certificates(decoded)
        if self._withheld:
            self._seal_originals(self._withheld)
        record = self._record(decoded, shown, text, sources)
        if recipients := self._request.get("recipients"):
            name = self._request.get("pseudonym", HIDDEN_URL)  # a spool of an earlier version has none
            record = conceal(self._spool.out, record, recipients, name)
        data = encode(record)
        if annex := self._request.get("annex"):
            (self._spool.out / ANNEX_NAME).write_bytes(base64.b64decode(annex))
        # Whole or absent: its presence says that packing was finished.
        part = self._spool.folder / "record.part"
        part.write_bytes(data)
        part.replace(self._spool.out / RECORD_NAME)
        return data

    def _complete_spool(self) -> None:
        """Take the key log once more from the browser's home, and begin a wire file if there is none.

        The browser writes secrets on a thread that yields to all others: some may come after the end of the
        capture, and after a kill of ours none was taken.
        """
        home_log = Path(self._request["key_log"])
        with contextlib.suppress(FileNotFoundError):  # that browser has ended and its home is gone
            shutil.copyfile(home_log, self._spool.keys)
        self._spool.keys.touch(mode=0o600)
        if not self._spool.wire.exists():
            WireWriter(self._spool.wire).close()

    def _write_warc(self, warc: Path) -> tuple[Decoded, Target, list[IndexEntry], str]:
        started_at = datetime.fromisoformat(self._started_at)
        info = {
            "software": self._software,
            "format": "WARC File Format 1.1",
            "isPartOf": ", ".join(self._request["incident_ids"]),
            "description": f"capture {self._spool.capture_id} of {self._url}",
        }
        entries: list[IndexEntry] = []
        with ExitStack() as stack:
            writer = stack.enter_context(
                WarcWriter(warc, filename=warc.name, info=info | self._mark(), created_at=started_at)
            )
            original = None
            if self._withheld:
                path = self._spool.folder / "original.warc.gz"
                original = stack.enter_context(
                    WarcWriter(path, filename=path.name, info=info, created_at=started_at)
                )

            def take(exchange: Exchange) -> None:
                means = {
                    "tls_version": exchange.tls_version.lower().replace(" ", "/"),
                    "cipher": exchange.cipher_suite,
                }
                clear = exchange
                if original and self._withheld:
                    original.write_exchange(exchange, **means)
                    clear = self._withheld.redact(exchange)
                entries.extend(writer.write_exchange(clear, **means))
                self._sight(exchange)

            decoded = decode(self._spool.wire, self._spool.keys, take, DecodeLimits())
            chain = evidence.main_chain(self._url, self._sightings)
            shown = self._in_clear(evidence.target(self._url, self._observed, chain))
            self._chain = chain
            text = self._take_exhibits(writer, entries, shown)
            entries.append(self._page_info(writer, shown))
        return decoded, shown, entries, text

    def _sight(self, exchange: Exchange) -> None:
        """Remember what matters of an exchange, keep a document brought by the page's address."""
        sighting = Sighting.of(exchange)
        self._sightings.append(sighting)
        if exchange.url in self._chain_urls and exchange.method == "GET":
            if sighting.location:
                self._chain_urls.add(sighting.location.partition("#")[0])
            elif self._document is None and (found := document_name(exchange)):
                limit = self._request["limits"]["exhibit_bytes"]
                if write_document(exchange, self._spool.out / found[0], limit):
                    self._document = found
                    self._alterations.append(_DOCUMENT_NOTE)
        for body in (exchange.request_body, exchange.response_body):
            if body is not None:
                body.file.close()

    def _take_exhibits(self, writer: WarcWriter, entries: list[IndexEntry], shown: Target) -> str:
        """Move the exhibits into the result, write each as a resource record, return the visible text."""
        text = ""
        tiles: Counter[str] = Counter()
        for facts in self._observed.get("exhibits", []):
            source = self._spool.exhibits / facts["path"]
            path = self._spool.out / facts["path"]
            shutil.copyfile(source, path)
            if self._withheld and not self._withheld.exhibit(facts["role"], path):
                continue
            if facts["role"] == "text":
                text = path.read_text(encoding="utf-8", errors="replace")
            if facts["role"] not in _URNS:  # video and sound, whose bytes the WARC holds as they came
                self._add(**facts)
                continue
            urn = _URNS[facts["role"]]
            if facts["role"] in {"screenshot-full", "screenshot-before"}:
                tiles[facts["role"]] += 1
                if (number := tiles[facts["role"]]) > 1:
                    urn = f"{urn.removesuffix(':')}-{number}:"
            if path.suffix == ".html" and facts["role"] == "failure-sheet":
                urn = "urn:failureSheetSource:"
            uri = f"{urn}{shown.final_url or self._url}"
            taken_at = datetime.fromisoformat(facts["taken_at"])
            entries.append(writer.write_resource(uri, facts["media_type"], path, taken_at))
            self._add(**facts, warc_target_uri=entries[-1].uri)
        document = self._spool.out / self._document[0] if self._document else None
        if document and self._withheld and not self._withheld.exhibit("document", document):
            self._document = None
        if self._document:
            self._add(role="document", path=self._document[0], media_type=self._document[1])
        return text

    def _page_info(self, writer: WarcWriter, shown: Target) -> IndexEntry:
        page_url = shown.final_url or self._url
        info = {
            "pageid": self._spool.capture_id,
            "url": page_url,
            "ts": self._started_at,
            "urls": {
                r["url"]: {"status": r["status"], "type": r["type"]}
                for r in self._observed.get("requests", [])
                if "status" in r
            },
        }
        if self._withheld:
            info = self._withheld.secrets.tree(info)
        at = datetime.fromisoformat(self._started_at)
        return writer.write_resource(
            f"urn:pageinfo:{page_url}", "application/json", msgspec.json.encode(info), at
        )

    def _write_wacz(self, warc: Path, entries: list[IndexEntry], shown: Target, text: str) -> None:
        at = datetime.fromisoformat(self._started_at)
        page = Page(url=shown.final_url or self._url, at=at, title=shown.title or "", text=text)
        digests = write_wacz(
            self._spool.out / PACKAGE_NAME,
            warc,
            entries,
            [page],
            title=f"{', '.join(self._request['incident_ids'])}: {self._url}",
            created_at=at,
            software=self._software,
        )
        self._artifacts.insert(
            0,
            Artifact(
                role="package",
                path=PACKAGE_NAME,
                media_type="application/wacz+zip",
                bytes=digests.size_bytes,
                sha256=digests.sha256,
                blake3=digests.blake3,
                holds_secrets=self._withheld is None,
            ),
        )

    def _mark(self) -> dict[str, str]:
        """What the redacted WARC says of itself."""
        return {"redacted": "secrets of a login are taken out; see redactions.json"} if self._withheld else {}

    def _in_clear(self, shown: Target) -> Target:
        if self._withheld is None:
            return shown
        return msgspec.convert(self._withheld.secrets.tree(msgspec.to_builtins(shown)), Target)

    def _seal_originals(self, withheld: Withholding) -> None:
        """Put what holds the login into the sealed original, and list what is sealed and what was removed."""
        withheld.seal(self._spool.folder / "original.warc.gz")
        withheld.finish()
        self._add(role=REDACTIONS_ROLE, path=REDACTIONS_NAME, media_type="application/json")
        for name in withheld.sealed:
            self._add(role=SEALED_ROLE, path=name, media_type="application/octet-stream")
        self._alterations += withheld.alterations

    def _write_transcript(self, decoded: Decoded) -> None:
        log = KeyLog(self._spool.keys)
        log.refresh()
        randoms = {c.tls.client_random for c in decoded.connections if c.tls}
        path = self._spool.out / "transcript.pcapng"
        write_transcript(self._spool.wire, log.lines_for(randoms), path)
        if self._withheld:
            self._withheld.seal(path)
        else:
            self._add(role="transcript", path=path.name, media_type="application/x-pcapng")

    def _write_certificates(self, decoded: Decoded) -> None:
        chains = dict.fromkeys(der for c in decoded.connections if c.tls for der in c.tls.chain)
        blocks = []
        for der in chains:
            try:
                blocks.append(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
            except ValueError:
                decoded.problems.append(
                    f"certificates: expected X.509, got {len(der)} bytes of something else"
                )
        if blocks:
            (self._spool.out / "certificates.pem").write_bytes(b"".join(blocks))
            self._add(role="certificates", path="certificates.pem", media_type="application/x-pem-file")

    def _add(self, role: str, path: str, media_type: str, **facts: Any) -> None:
        """Digest a file of the result and list it."""
        with (self._spool.out / path).open("rb") as file:
            digests = digest_stream(file)
        self._artifacts.append(
            Artifact(
                role=role,
                path=path,
                media_type=media_type,
                bytes=digests.bytes,
                sha256=digests.sha256,
                blake3=digests.blake3,
                holds_secrets=role in _SECRET_ROLES,
                **facts,
            )
        )

    def _record(
        self, decoded: Decoded, shown: Target, text: str, sources: list[SourceFile]
    ) -> EvidenceRecord:
        request, observed = self._request, self._observed
        held = evidence.recording(observed, decoded, self._sightings, sources)
        facts = evidence.facts_to_judge(
            self._url,
            observed,
            decoded,
            self._chain,
            evidence.Shown(shown, text, self._markup(), is_document=self._document is not None),
        )
        finished_at = observed.get("finished_at") or self._last_byte_at(decoded)
        parts = {
            **{name: request[name] for name in _KNOWN_BEFORE},
            "capture_id": self._spool.capture_id,
            "started_at": self._started_at,
            "finished_at": finished_at,
            "created_at": utc_text(datetime.now(UTC)),
            "outcome": evidence.outcome_part(judge(facts)),
            "completeness": evidence.completeness(observed, decoded, held),
            "target": shown,
            "network": evidence.network(request, observed, decoded, self._chain),
            "recording": held,
            "actions": observed.get("actions", []),
            "limits": evidence.limits(request["limits"], observed.get("limits_reached", [])),
            "errors": evidence.errors(observed, decoded, finished_at),
            "alterations": self._alterations,
            "artifacts": self._artifacts,
        }
        built = msgspec.to_builtins(parts)
        if self._withheld:
            built |= {name: self._withheld.secrets.tree(built[name]) for name in _SEEN}
        return msgspec.convert(built, EvidenceRecord)

    def _markup(self) -> str:
        """The document as the scripts left it, as far as the outcome rules read."""
        path = self._spool.out / "dom.html"
        if not path.exists():
            return ""
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_MARKUP_CHARS)

    def _last_byte_at(self, decoded: Decoded) -> str:
        times = [max(c.opened_at_ns, c.closed_at_ns) for c in decoded.connections]
        if not times:
            return self._started_at
        return max(self._started_at, utc_text(datetime.fromtimestamp(max(times) / 1e9, UTC)))

    @property
    def _started_at(self) -> str:
        started: str = self._observed.get("started_at") or self._request["requested_at"]
        return started

    @property
    def _software(self) -> str:
        tool = self._request["environment"]["tool"]
        return f"{tool['name']} {tool['version']}"


_KNOWN_BEFORE = (
    "incident_ids",
    "seed",
    "requested_at",
    "local_utc_offset_min",
    "clock",
    "not_before",
    "environment",
    "collector",
    "commitments",
    "statement",
    "access",
    "origin",
    "previous",
)

_SEEN = ("outcome", "completeness", "target", "network", "recording", "actions", "errors", "alterations")
"""Parts of the record that repeat what the page or its servers said."""


def _source(path: Path) -> SourceFile:
    with path.open("rb") as file:
        digests = digest_stream(file)
    return SourceFile(
        name=path.name, bytes=digests.bytes, sha256=digests.sha256, digested_at=utc_text(datetime.now(UTC))
    )
