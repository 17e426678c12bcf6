"""The catalogue of findings: what a verifier can say, how grave it is, and on which verdict it bears."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass

MAX_SHOWN_CHARS = 200
MAX_OF_ONE_KIND = 50


class Severity(enum.Enum):
    """How grave a finding is."""

    FAILURE = "failure"
    INDETERMINATE = "indeterminate"
    NOTE = "note"


class Area(enum.Enum):
    """The verdict that a finding bears on."""

    INTEGRITY = "integrity"
    IDENTITY = "identity"
    TIME = "time"
    COMPLETENESS = "completeness"


class Code(enum.Enum):
    """Every finding. Codes and numbers are never reused; the text says what failed."""

    RECORD_MISSING = ("record-missing", "E301", "there is no evidence record")
    RECORD_TOO_LARGE = ("record-too-large", "E302", "JSON is larger than any of ours")
    RECORD_NOT_JSON = ("record-not-json", "E303", "bytes are not JSON in UTF-8")
    RECORD_BYTE_ORDER_MARK = ("record-byte-order-mark", "E304", "JSON begins with a byte order mark")
    RECORD_DUPLICATE_KEY = ("record-duplicate-key", "E305", "an object names a key twice")
    RECORD_NUMBER_NOT_EXACT = (
        "record-number-not-exact",
        "E306",
        "a number is not an integer that every reader reads alike",
    )
    RECORD_TOO_DEEP = ("record-too-deep", "E307", "JSON is nested too deep")
    RECORD_LONE_SURROGATE = ("record-lone-surrogate", "E308", "a string is not Unicode text")
    RECORD_NOT_CANONICAL = ("record-not-canonical", "E309", "bytes are not the canonical form (RFC 8785)")
    RECORD_FORMAT_UNKNOWN = (
        "record-format-unknown",
        "E310",
        "evidence record is of a format unknown to this program",
        Severity.INDETERMINATE,
    )
    RECORD_SCHEMA = ("record-schema", "E311", "a field is missing, unknown or of the wrong form")
    RECORD_CONTRADICTION = ("record-contradiction", "E312", "two statements of the record exclude each other")
    RECORD_OF_OTHER_CAPTURE = ("record-of-other-capture", "E313", "record belongs to another capture")
    RECORD_OF_OTHER_INCIDENT = ("record-of-other-incident", "E314", "record does not name the incident")
    COMMITMENT_WRONG = (
        "commitment-wrong",
        "E315",
        "an opened fact is not the one that the record fixed",
        Severity.FAILURE,
        Area.IDENTITY,
    )

    ARTIFACT_MISSING = ("artifact-missing", "E320", "a listed file is not there")
    ARTIFACT_SIZE_MISMATCH = ("artifact-size-mismatch", "E321", "a file is longer or shorter than recorded")
    ARTIFACT_DIGEST_MISMATCH = (
        "artifact-digest-mismatch",
        "E322",
        "a file's bytes are not those that were recorded",
    )
    ARTIFACT_UNREADABLE = (
        "artifact-unreadable",
        "E323",
        "a file could not be read",
        Severity.INDETERMINATE,
    )
    UNLISTED_FILE = ("unlisted-file", "E324", "a file that nothing lists lies beside the evidence")
    NOT_A_PLAIN_FILE = ("not-a-plain-file", "E325", "an entry is a link or device, not a file")
    UNSAFE_NAME = ("unsafe-name", "E326", "a name could lead out of the folder or be read in two ways")
    SET_UNREADABLE = ("set-unreadable", "E327", "the set could not be read", Severity.INDETERMINATE)
    ARTIFACT_NOT_IN_PACKAGE = (
        "artifact-not-in-package",
        "E328",
        "an exhibit and its copy in the package are not the same bytes",
    )
    ARTIFACT_WITHHELD = (
        "artifact-withheld",
        "E330",
        "a listed file was left out of this edition, and so was not checked",
        Severity.INDETERMINATE,
        Area.COMPLETENESS,
    )
    EDITION_WRONG = ("edition-wrong", "E331", "list of the edition does not fit the record")
    DERIVATIVE_WRONG = (
        "derivative-wrong",
        "E332",
        "a redacted copy is not the one that the edition lists",
    )
    DERIVATIVE_NOT_SEALED = (
        "derivative-not-sealed",
        "E333",
        "a redacted copy was made later: the seal does not vouch for it",
        Severity.NOTE,
    )

    ZIP_MALFORMED = ("zip-malformed", "E340", "the ZIP structure is broken")
    ZIP_DUPLICATE_MEMBER = ("zip-duplicate-member", "E341", "two members have one name")
    ZIP_OVERLAP = ("zip-overlap", "E342", "two members share bytes")
    ZIP_HIDDEN_BYTES = ("zip-hidden-bytes", "E343", "bytes lie before, between or after the members")
    ZIP_HEADERS_DISAGREE = (
        "zip-headers-disagree",
        "E344",
        "a member's own header is not what the central directory says",
    )
    ZIP_FEATURE_REFUSED = (
        "zip-feature-refused",
        "E345",
        "a member uses a feature that evidence has no need of",
    )
    ZIP_UNSAFE_NAME = ("zip-unsafe-name", "E346", "a member's name could lead out of the folder")
    ZIP_CHECKSUM = ("zip-checksum", "E347", "a member's size or CRC-32 is not what its header says")
    ZIP_TOO_LARGE = ("zip-too-large", "E348", "a member unpacks to more than is plausible")

    WACZ_MEMBER_MISSING = ("wacz-member-missing", "E350", "package lacks a member")
    WACZ_MEMBER_UNLISTED = ("wacz-member-unlisted", "E351", "package holds a member that it does not list")
    WACZ_NOT_STORED = ("wacz-not-stored", "E352", "a member that must be stored is compressed")
    WACZ_DIGEST_MISMATCH = ("wacz-digest-mismatch", "E353", "a member's bytes are not those that were listed")
    WACZ_DATAPACKAGE = ("wacz-datapackage", "E354", "datapackage of the package is malformed")
    WACZ_PAGES = ("wacz-pages", "E355", "list of pages is malformed")
    WACZ_INDEX = ("wacz-index", "E356", "index of the package is malformed")
    WACZ_INDEX_MISMATCH = ("wacz-index-mismatch", "E357", "a line of the index points at no such record")
    WACZ_RECORD_NOT_INDEXED = ("wacz-record-not-indexed", "E358", "a WARC record is not in the index")

    WARC_MALFORMED = ("warc-malformed", "E360", "WARC structure is broken")
    WARC_TRUNCATED = ("warc-truncated", "E361", "WARC ends within a record")
    WARC_TRAILING_DATA = ("warc-trailing-data", "E362", "bytes follow that belong to no record")
    WARC_MEMBER_NOT_ONE_RECORD = (
        "warc-member-not-one-record",
        "E363",
        "a gzip member is not exactly one record",
    )
    WARC_BLOCK_DIGEST_MISMATCH = (
        "warc-block-digest-mismatch",
        "E364",
        "a record's block is not what its digest says",
    )
    WARC_PAYLOAD_DIGEST_MISMATCH = (
        "warc-payload-digest-mismatch",
        "E365",
        "a record's payload is not what its digest says",
    )
    WARC_DIGEST_MISSING = ("warc-digest-missing", "E366", "a record has no digest")
    WARC_RECORD_TYPE = ("warc-record-type", "E367", "a record is of a type or in a place that is not ours")
    WARC_DUPLICATE_RECORD_ID = ("warc-duplicate-record-id", "E368", "two records have one identifier")
    WARC_DANGLING_REFERENCE = (
        "warc-dangling-reference",
        "E369",
        "a record refers to one that is not there",
    )
    WARC_TOO_LARGE = ("warc-too-large", "E370", "a record unpacks to more than is plausible")

    CAPTURE_INCOMPLETE = (
        "capture-incomplete",
        "E380",
        "the record itself says that the capture is not whole",
        Severity.NOTE,
        Area.COMPLETENESS,
    )
    COLLECTOR_NOT_NAMED = (
        "collector-not-named",
        "E381",
        "the record names no one who answers for the capture",
        Severity.NOTE,
        Area.IDENTITY,
    )
    CLOCK_NOT_CHECKED = (
        "clock-not-checked",
        "E382",
        "the clock was not compared with a time server",
        Severity.NOTE,
        Area.TIME,
    )

    PACKAGE_MISSING = (
        "package-missing",
        "E384",
        "the record lists no package",
        Severity.INDETERMINATE,
        Area.COMPLETENESS,
    )
    TIMES_OUT_OF_ORDER = (
        "times-out-of-order",
        "E383",
        "the clock was set back during the capture",
        Severity.INDETERMINATE,
        Area.TIME,
    )

    UNSEALED = (
        "unsealed",
        "E400",
        "nothing seals the record: its time is unproven",
        Severity.INDETERMINATE,
        Area.TIME,
    )
    UNSIGNED = (
        "unsigned",
        "E401",
        "nothing signs the record: its maker is unproven",
        Severity.INDETERMINATE,
        Area.IDENTITY,
    )

    UNLOGGED = (
        "unlogged",
        "E430",
        "no log holds the record: that none was left out is unproven",
        Severity.INDETERMINATE,
        Area.COMPLETENESS,
    )
    SEAL_NOT_CHECKED = (
        "seal-not-checked",
        "E431",
        "there is a seal, and it was not checked",
        Severity.INDETERMINATE,
        Area.TIME,
    )
    CERTIFICATE_SIGNATURE_MISSING = (
        "certificate-signature-missing",
        "E432",
        "no trusted organisation has signed with its certificate",
        Severity.INDETERMINATE,
        Area.IDENTITY,
    )
    CERTIFICATE_SIGNATURE_MALFORMED = (
        "certificate-signature-malformed",
        "E433",
        "bytes are not a CAdES signature as we write it",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    CERTIFICATE_SIGNATURE_WRONG = (
        "certificate-signature-wrong",
        "E434",
        "signature is not that of its certificate over these bytes",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    CERTIFICATE_UNKNOWN = (
        "certificate-unknown",
        "E435",
        "certificate is not one of a trusted organisation",
        Severity.INDETERMINATE,
        Area.IDENTITY,
    )
    CERTIFICATE_PERIOD = (
        "certificate-period",
        "E436",
        "signature is not proven to be from the time of its certificate",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    CERTIFICATE_REVOKED = (
        "certificate-revoked",
        "E437",
        "signature is not proven to be from before its certificate was revoked",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    CERTIFICATE_UNFIT = (
        "certificate-unfit",
        "E438",
        "certificate is not one for signing, or too weak",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    CERTIFICATE_REVOCATION_UNCHECKED = (
        "certificate-revocation-unchecked",
        "E439",
        "whether the organisation's certificate was revoked is not shown",
        Severity.NOTE,
        Area.IDENTITY,
    )

    SIGNATURE_MISSING = (
        "signature-missing",
        "E402",
        "the record's signature is not there",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    SIGNATURE_MALFORMED = (
        "signature-malformed",
        "E403",
        "bytes are not a signature file as OpenSSH writes it",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    SIGNATURE_NAMESPACE = (
        "signature-namespace-wrong",
        "E404",
        "signature was made for another purpose",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    SIGNATURE_KEY_UNKNOWN = (
        "signature-key-unknown",
        "E405",
        "key of the signature is not a trusted one",
        Severity.INDETERMINATE,
        Area.IDENTITY,
    )
    SIGNATURE_WRONG = (
        "signature-wrong",
        "E406",
        "signature is not that of its key over these bytes",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    SIGNATURE_KEY_NOT_YET_VALID = (
        "signature-key-not-yet-valid",
        "E407",
        "signature was proven before its key was valid",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    SIGNATURE_KEY_EXPIRED = (
        "signature-key-expired",
        "E408",
        "signature is not proven to be from before its key ended",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    SIGNATURE_KEY_REVOKED = (
        "signature-key-revoked",
        "E409",
        "signature is not proven to be from before its key was revoked",
        Severity.FAILURE,
        Area.IDENTITY,
    )
    TIMESTAMP_MISSING = (
        "timestamp-missing",
        "E410",
        "fewer timestamps prove the time than are required",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_MALFORMED = (
        "timestamp-malformed",
        "E411",
        "bytes are not a timestamp reply",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_REQUEST_MISMATCH = (
        "timestamp-request-mismatch",
        "E412",
        "timestamp does not answer the stored request",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_NOT_GRANTED = (
        "timestamp-not-granted",
        "E413",
        "authority refused the timestamp",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_WRONG_DATA = (
        "timestamp-wrong-data",
        "E414",
        "timestamp is over other bytes",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_WEAK_ALGORITHM = (
        "timestamp-weak-algorithm",
        "E415",
        "timestamp rests on an algorithm that is too weak",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_POLICY = (
        "timestamp-policy-refused",
        "E416",
        "timestamp was made under a policy that is not accepted",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_SIGNATURE_WRONG = (
        "timestamp-signature-wrong",
        "E417",
        "timestamp's signature does not verify",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_CHAIN = (
        "timestamp-chain-untrusted",
        "E418",
        "authority's certificate does not lead to its pinned root",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_PURPOSE = (
        "timestamp-purpose-wrong",
        "E419",
        "authority's certificate is not for timestamps alone",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_CERTIFICATE_PERIOD = (
        "timestamp-certificate-period",
        "E420",
        "a certificate was not valid when the timestamp was made",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_CERTIFICATE_ID = (
        "timestamp-certificate-id-wrong",
        "E421",
        "timestamp does not name the certificate that signed it",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_IN_FUTURE = (
        "timestamp-in-future",
        "E422",
        "timestamp claims a time that has not come",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_BEFORE_CAPTURE = (
        "timestamp-before-capture",
        "E423",
        "timestamp is from before the capture",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_LATE = (
        "timestamp-late",
        "E424",
        "timestamp was obtained long after the capture",
        Severity.NOTE,
        Area.TIME,
    )
    TIMESTAMP_ACCURACY = (
        "timestamp-accuracy-too-coarse",
        "E425",
        "timestamp is too inexact to prove a time",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_AUTHORITY_UNKNOWN = (
        "timestamp-authority-unknown",
        "E426",
        "timestamp is by an authority that is not trusted",
        Severity.INDETERMINATE,
        Area.TIME,
    )
    TIMESTAMP_REVOKED = (
        "timestamp-certificate-revoked",
        "E427",
        "a certificate of the authority was revoked",
        Severity.FAILURE,
        Area.TIME,
    )
    TIMESTAMP_REVOCATION_UNCHECKED = (
        "timestamp-revocation-unchecked",
        "E428",
        "whether a certificate was revoked is not shown",
        Severity.NOTE,
        Area.TIME,
    )
    TIMESTAMP_REVOCATION_MALFORMED = (
        "timestamp-revocation-malformed",
        "E429",
        "stored revocation answers cannot be relied on",
        Severity.FAILURE,
        Area.TIME,
    )
    BATCH_PATH_MALFORMED = (
        "batch-path-malformed",
        "E440",
        "bytes are not the path of a batch",
        Severity.FAILURE,
        Area.TIME,
    )
    BATCH_PATH_WRONG = (
        "batch-path-wrong",
        "E441",
        "path does not lead from the signature to the stamped root",
        Severity.FAILURE,
        Area.TIME,
    )
    LOG_PROOF_MISSING = (
        "log-proof-missing",
        "E450",
        "nothing shows that the custody log holds the seal",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_PROOF_MALFORMED = (
        "log-proof-malformed",
        "E451",
        "bytes are not a log proof",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_PROOF_WRONG = (
        "log-proof-wrong",
        "E452",
        "proof does not lead from the entry to the log's root",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_ENTRY_MALFORMED = (
        "log-entry-malformed",
        "E453",
        "bytes are not an entry of the custody log",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_ENTRY_MISMATCH = (
        "log-entry-mismatch",
        "E454",
        "logged entry is about other bytes",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_UNKNOWN = (
        "log-unknown",
        "E455",
        "proof is from a log that is not trusted",
        Severity.INDETERMINATE,
        Area.COMPLETENESS,
    )
    LOG_CHECKPOINT_MALFORMED = (
        "log-checkpoint-malformed",
        "E456",
        "bytes are not a log's checkpoint",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_CHECKPOINT_SIGNATURE = (
        "log-checkpoint-signature-wrong",
        "E457",
        "log did not sign the checkpoint",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_DAMAGED = (
        "log-damaged",
        "E458",
        "a part of the log is missing or is not what its root says",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_ROLLED_BACK = (
        "log-rolled-back",
        "E459",
        "log is shorter than it was seen to be",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_FORKED = (
        "log-forked",
        "E460",
        "two checkpoints of the log exclude each other",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_CAPTURE_MISSING = (
        "log-capture-missing",
        "E461",
        "a capture that the log holds is not in the set",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_CAPTURE_DIFFERS = (
        "log-capture-differs",
        "E462",
        "log holds another record of the capture",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    LOG_NOT_COMPARED = (
        "log-not-compared",
        "E463",
        "two checkpoints of the log cannot be compared with what is here",
        Severity.INDETERMINATE,
        Area.COMPLETENESS,
    )
    LINK_NOT_LOGGED = (
        "link-not-logged",
        "E464",
        "log and notes differ about the incidents of a capture",
        Severity.FAILURE,
        Area.COMPLETENESS,
    )
    RENEWAL_MISMATCH = (
        "renewal-mismatch",
        "E471",
        "renewal is not over the seal as it is",
        Severity.FAILURE,
        Area.TIME,
    )
    RENEWAL_TOO_LATE = (
        "renewal-too-late",
        "E472",
        "renewal came after what it renews could no longer be relied on",
        Severity.INDETERMINATE,
        Area.TIME,
    )
    TIMESTAMP_NOT_RENEWED = (
        "timestamp-not-renewed",
        "E473",
        "authority's certificate has ended and no renewal came before",
        Severity.INDETERMINATE,
        Area.TIME,
    )

    def __init__(
        self,
        code: str,
        number: str,
        text: str,
        severity: Severity = Severity.FAILURE,
        area: Area = Area.INTEGRITY,
    ) -> None:
        self.code = code
        self.number = number
        self.text = text
        self.severity = severity
        self.area = area


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a verifier has to say.

    Args:
        code: What kind of finding.
        subject: What it is about: a file, a member, a record, as ``kind name``.
        expected: The trusted value, or empty.
        got: What was found, or empty.
    """

    code: Code
    subject: str
    expected: str = ""
    got: str = ""

    def __str__(self) -> str:
        text = f"{shown(self.subject)}: {self.code.text}"
        if self.expected or self.got:
            text += f": expected {shown(self.expected) or 'nothing'}, got {shown(self.got) or 'nothing'}"
        return f"{text} [{self.code.number}]"


class Findings:
    """Gathers findings; of one kind at most ``MAX_OF_ONE_KIND`` are kept, the others counted.

    A hostile package can be wrong in a million places, and its reader needs to see only some.
    """

    def __init__(self) -> None:
        self.items: list[Finding] = []
        self.left_out: Counter[Code] = Counter()
        self._counts: Counter[Code] = Counter()

    def add(self, finding: Finding) -> None:
        """Take one more."""
        self._counts[finding.code] += 1
        if self._counts[finding.code] > MAX_OF_ONE_KIND:
            self.left_out[finding.code] += 1
        else:
            self.items.append(finding)

    def report(self, code: Code, subject: str, expected: str = "", got: str = "") -> None:
        """Make and take one more."""
        self.add(Finding(code, subject, expected, got))

    def merge(self, other: Findings) -> None:
        """Take all of *other*."""
        for finding in other.items:
            self.add(finding)
        self.left_out += other.left_out


def shown(text: str, limit: int = MAX_SHOWN_CHARS) -> str:
    """Clean and clip text that may come from an opponent: printable, at most *limit* characters."""
    clipped = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in clipped)
