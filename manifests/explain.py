"""The same checks by hand: a shell script of ``sha256sum``, ``b3sum``, ``ssh-keygen`` and ``openssl``.

For an expert who does not want to run our program. The script is for one capture's folder, prints what it
checks, stops at the first thing that is not so, and ends with ``all checks passed``. It reads the capture
and writes nothing into it. What it does not check (the structure of the package) it says.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate

from manifests.certificate_signature import (
    CERTIFICATE_SIGNATURE,
    embedded_token,
    parse_certificate_signature,
)
from manifests.checkpoint import LogKey
from manifests.merkle import sibling_sides
from manifests.proof import ProofError
from manifests.record import EvidenceRecord
from manifests.seal import BATCH_PATH, BATCH_ROOT, LOG_ENTRY, LOG_PROOF, SIGNATURE
from manifests.signing import NAMESPACE, allowed_signers
from manifests.tlog_proof import parse_proof
from manifests.trust import Trust
from manifests.tsa_token import UNREADABLE, parse_reply

_HEAD = """\
#!/bin/bash
# Run it in the folder of capture {capture_id}: the one with record.json.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
unhex() {{ printf '%b' "$(printf '%s' "$1" | sed 's/../\\\\x&/g')"; }}
node() {{ {{ printf '\\1'; unhex "$1$2"; }} | sha256sum | cut -c1-64; }}
leaf() {{ {{ printf '\\0'; cat "$1"; }} | sha256sum | cut -c1-64; }}
same() {{ [ "$1" = "$2" ] || {{ echo "expected $1, got $2" >&2; exit 1; }}; }}
"""


def explain(record: EvidenceRecord, seal: Mapping[str, bytes], trust: Trust) -> str:
    """Write the script.

    Args:
        record: The evidence record.
        seal: The files of its seal by name, without ``seal/``; empty when there is none.
        trust: Whose keys, authorities and logs are put into the script.
    """
    lines = [_HEAD.format(capture_id=record.capture_id)]
    lines += _files(record)
    if seal:
        lines += _signature(seal, trust)
        lines += _certificate(seal, trust)
        lines += _tokens(seal, trust)
        lines += _log(seal, trust)
    lines.append("echo '== not checked here: the structure of capture.wacz, the revocation of certificates'")
    lines.append("echo 'all checks passed'")
    return "\n".join(lines) + "\n"


def _files(record: EvidenceRecord) -> Iterator[str]:
    for tool, algorithm in (("sha256sum", "sha256"), ("b3sum", "blake3")):
        yield f"echo '== files: {tool} against the digests in record.json'"
        yield f"{tool} --check --strict <<'EOF'" if tool == "sha256sum" else f"{tool} --check <<'EOF'"
        for artifact in record.artifacts:
            yield f"{getattr(artifact, algorithm)}  {artifact.path}"
        yield "EOF"


def _signature(seal: Mapping[str, bytes], trust: Trust) -> Iterator[str]:
    yield "echo '== signature over record.json, judged at the proven time'"
    yield f"cat > \"$work/allowed_signers\" <<'EOF'\n{allowed_signers(trust.keys)}EOF"
    found = f'ssh-keygen -Y find-principals -f "$work/allowed_signers" -s seal/{SIGNATURE}'
    at = _earliest(seal)
    when = f" -Overify-time={at:%Y%m%d%H%M%S}Z" if at else ""
    yield f"signer=$({found}{when})"
    yield (
        f'ssh-keygen -Y verify -f "$work/allowed_signers" -I "$signer" -n {NAMESPACE} '
        f"-s seal/{SIGNATURE}{when} < record.json"
    )


def _certificate(seal: Mapping[str, bytes], trust: Trust) -> Iterator[str]:
    """The second signature: ``openssl cms`` for it, ``openssl ts`` for the token within it."""
    if CERTIFICATE_SIGNATURE not in seal:
        return
    try:
        signature = parse_certificate_signature(seal[CERTIFICATE_SIGNATURE])
        token = embedded_token(signature)
    except (ProofError, *UNREADABLE):
        signature = None
    one = next((each for each in trust.certificates if signature and each.names(signature.certificate)), None)
    if signature is None or one is None:
        yield f"echo '== certificate: not checked: nobody trusts the one of {CERTIFICATE_SIGNATURE}'"
        return
    at = f"-attime {int(token.gen_time.timestamp())}"
    yield f"echo {shlex.quote(f'== certificate: {one.principal} signed record.json too')}"
    yield _heredoc("certificate-root.pem", one.root)
    yield (
        f"openssl cms -verify -binary -inform DER -in seal/{CERTIFICATE_SIGNATURE} -content record.json "
        f'-CAfile "$work/certificate-root.pem" -purpose any {at} -signer "$work/signer.pem" -out /dev/null'
    )
    if one.certificate_sha256:
        yield (
            'mark=$(openssl x509 -in "$work/signer.pem" -noout -fingerprint -sha256'
            " | sed 's/.*=//; s/://g'); "
            f'same {one.certificate_sha256} "${{mark,,}}"'
        )
    if one.subject:
        shown = 'openssl x509 -in "$work/signer.pem" -noout -subject -nameopt RFC2253,-esc_msb,utf8'
        yield f"same {shlex.quote(one.subject)} \"$({shown} | sed 's/^subject=//')\""
    yield "echo '== certificate: when, by the token within (openssl asn1parse shows where)'"
    for name, part in (("value", signature.value), ("token.der", signature.token)):
        start = seal[CERTIFICATE_SIGNATURE].index(part)
        cut = f"tail -c +{start + 1} seal/{CERTIFICATE_SIGNATURE} | head -c {len(part)}"
        yield f'{{ {cut} || true; }} > "$work/{name}"'
    roots = "".join(each.root.public_bytes(Encoding.PEM).decode() for each in trust.authorities)
    yield f"cat > \"$work/tsa-roots.pem\" <<'EOF'\n{roots}EOF"
    yield (
        'openssl ts -verify -data "$work/value" -in "$work/token.der" -token_in '
        f'-CAfile "$work/tsa-roots.pem" {at}'
    )


def _heredoc(name: str, certificate: Certificate) -> str:
    return f"cat > \"$work/{name}\" <<'EOF'\n{certificate.public_bytes(Encoding.PEM).decode()}EOF"


def _earliest(seal: Mapping[str, bytes]) -> datetime | None:
    """The end of the interval of the earliest token, as the verifier takes it."""
    ends = []
    for name, data in seal.items():
        if name.endswith(".tsr"):
            try:
                token = parse_reply(data)
            except ProofError:
                continue
            ends.append(token.gen_time + (token.accuracy or timedelta(seconds=1)))
    return min(ends, default=None)


def _tokens(seal: Mapping[str, bytes], trust: Trust) -> Iterator[str]:
    for name in sorted(seal):
        what, _, rest = name.partition(".")
        if not rest.endswith(".tsr"):
            continue
        authority = trust.authority(rest.removesuffix(".tsr"))
        over = {"record": SIGNATURE, "batch": BATCH_ROOT}.get(what, f"{what}.json")
        if authority is None:
            yield f"echo '== time: not checked: nobody trusts the authority of {name}'"
            continue
        yield f"echo '== time: the token {name} over {over}'"
        yield _heredoc("root.pem", authority.root)
        start = f"seal/{what}.{authority.name}"
        try:
            at = f" -attime {int(parse_reply(seal[name]).gen_time.timestamp())}"
        except ProofError:
            at = ""
        yield (
            f'openssl ts -verify -data seal/{over} -in {start}.tsr -CAfile "$work/root.pem" '
            f"-untrusted {start}.chain.pem{at}"
        )
        yield f"openssl ts -reply -in {start}.tsr -text | grep 'Time stamp'"
    if BATCH_PATH in seal:
        yield from _batch()


def _batch() -> Iterator[str]:
    yield f"echo '== time: the way from the signature to {BATCH_ROOT}'"
    yield f"h=$(leaf seal/{SIGNATURE})"
    yield (
        f"while read -r side other; do "
        f'if [ "$side" = left ]; then h=$(node "$other" "$h"); else h=$(node "$h" "$other"); fi; '
        f"done < <(tail -n +2 seal/{BATCH_PATH})"
    )
    yield f'same "$(sed -n \'s/^root //p\' seal/{BATCH_ROOT})" "$h"'


def _log(seal: Mapping[str, bytes], trust: Trust) -> Iterator[str]:
    if LOG_PROOF not in seal or LOG_ENTRY not in seal:
        yield "echo '== log: not checked: there is no proof'"
        return
    proof = parse_proof(seal[LOG_PROOF])
    origin, size = proof.note.decode("utf-8", "replace").split("\n")[:2]
    key = next((log for log in trust.logs if log.origin == origin), None)
    sides = sibling_sides(proof.index, int(size) - 1, len(proof.hashes)) if size.isdecimal() else None
    if key is None or sides is None:
        yield "echo '== log: not checked: nobody trusts the log, or its proof is of another length'"
        return
    yield f"echo {shlex.quote(f'== log: entry {proof.index} of {size} in {origin}')}"
    yield f"h=$(leaf seal/{LOG_ENTRY})"
    for sibling, is_left in zip(proof.hashes, sides, strict=True):
        pair = f'{sibling.hex()} "$h"' if is_left else f'"$h" {sibling.hex()}'
        yield f"h=$(node {pair})"
    yield f"sed '1,/^$/d' seal/{LOG_PROOF} > \"$work/note\""
    yield 'head -3 "$work/note" > "$work/body"'
    yield 'same "$(sed -n 3p "$work/body")" "$(unhex "$h" | base64 -w0)"'
    yield f"cat > \"$work/log.pem\" <<'EOF'\n{_pem(key)}EOF"
    yield 'sed -n \'s/^.* //p\' "$work/note" | tail -1 | base64 -d | tail -c 64 > "$work/signature"'
    yield (
        'openssl pkeyutl -verify -pubin -inkey "$work/log.pem" -rawin -in "$work/body" '
        '-sigfile "$work/signature"'
    )
    yield "echo '== log: the entry names the digests of record.json and of the seal'"
    yield f'grep -q "$(sha256sum < record.json | cut -c1-64)" seal/{LOG_ENTRY}'
    yield f'grep -q "$(sha256sum < seal/{SIGNATURE} | cut -c1-64)" seal/{LOG_ENTRY}'


def _pem(key: LogKey) -> str:
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
