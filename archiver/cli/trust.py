"""``archiver trust``: which keys, authorities and logs a verdict may rest on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from archiver.cli.options import EXIT_CODES, command, settings_of
from archiver.cli.output import print_json, print_lines
from archiver.config import Settings, trust_path
from archiver.custodian import load_trust, save_trust
from archiver.errors import ExitCode, UsageError
from manifests.checkpoint import parse_verifier_key
from manifests.keys import fingerprint, parse_public_line
from manifests.proof import ProofError, utc_text
from manifests.trust import (
    Trust,
    TrustedAuthority,
    TrustedCertificate,
    TrustedKey,
    known_authorities,
    root_fingerprint,
)


@click.group("trust", epilog=EXIT_CODES)
def trust() -> None:
    """Show and edit the trust file."""


@command("show")
def show(*, config: Path | None, as_json: bool) -> ExitCode:
    """Show what is trusted, and the authorities that could be chosen."""
    where = trust_path(settings_of(config))
    facts = _facts(load_trust(where))
    if as_json:
        print_json({"file": str(where), **facts, "known_authorities": sorted(known_authorities())})
        return ExitCode.DONE
    print_lines([f"file {where}"])
    for kind in ("keys", "authorities", "certificates", "logs"):
        print_lines(f"{kind}: " + ", ".join(f"{k} {v}" for k, v in one.items() if v) for one in facts[kind])
    print_lines(["known authorities: " + ", ".join(sorted(known_authorities()))])
    return ExitCode.DONE


@command("add-key")
@click.argument("line", metavar="'ssh-ed25519 AAAA...'")
@click.option("--principal", required=True, metavar="NAME", help="Whose key it is.")
def add_key(*, line: str, principal: str, config: Path | None, as_json: bool) -> ExitCode:
    """Trust somebody's signing key."""
    settings = settings_of(config)
    key = TrustedKey(principal, parse_public_line(line))
    kept = _read(settings)
    return _written(settings, replace(kept, keys=(*kept.keys, key)), as_json=as_json)


@command("add-tsa")
@click.argument("name")
@click.option("--url", help="Where it is asked; not needed for a known one.")
@click.option(
    "--root", type=click.Path(exists=True, path_type=Path), help="PEM file with its root certificate."
)
def add_tsa(*, name: str, url: str | None, root: Path | None, config: Path | None, as_json: bool) -> ExitCode:
    """Trust a time stamping authority: a known one by its name, another by its URL and root."""
    settings = settings_of(config)
    kept = _read(settings)
    chosen = _authority(name, url, root)
    return _written(settings, replace(kept, authorities=(*kept.authorities, chosen)), as_json=as_json)


@command("add-certificate")
@click.argument("file", type=click.Path(exists=True, path_type=Path), metavar="CERTIFICATE.PEM")
@click.option(
    "--root", required=True, type=click.Path(exists=True, path_type=Path), help="PEM file with its root."
)
@click.option("--principal", required=True, metavar="NAME", help="Whose certificate it is.")
@click.option(
    "--by-subject",
    is_flag=True,
    help="Trust every certificate of that root for the same subject, such as the next one.",
)
def add_certificate(
    *, file: Path, root: Path, principal: str, by_subject: bool, config: Path | None, as_json: bool
) -> ExitCode:
    """Trust the certificate of an organisation that signs records too (CAdES)."""
    settings = settings_of(config)
    one, kept = _certificate(file), _read(settings)
    subject = one.subject.rfc4514_string() if by_subject else ""
    pin = "" if by_subject else root_fingerprint(one)
    added = TrustedCertificate(principal, _certificate(root), pin, subject)
    return _written(settings, replace(kept, certificates=(*kept.certificates, added)), as_json=as_json)


@command("add-log")
@click.argument("verifier_key")
def add_log(*, verifier_key: str, config: Path | None, as_json: bool) -> ExitCode:
    """Trust a custody log by its verifier key."""
    settings = settings_of(config)
    kept = _read(settings)
    try:
        log = parse_verifier_key(verifier_key)
    except ProofError as error:
        hint = "paste the verifier key that the keeper of the log gives out"
        raise UsageError(error.message, code="E291", hint=hint) from error
    added = replace(kept, logs=(*kept.logs, log))
    return _written(settings, added, as_json=as_json)


@command("remove")
@click.argument("name")
def remove(*, name: str, config: Path | None, as_json: bool) -> ExitCode:
    """Trust no longer what has that name.

    NAME is the fingerprint of a key, the name of an authority, the origin of a log, or the fingerprint or
    subject of an organisation's certificate.
    """
    settings = settings_of(config)
    old = _read(settings)
    new = replace(
        old,
        keys=tuple(key for key in old.keys if fingerprint(key.public_key) != name),
        authorities=tuple(one for one in old.authorities if one.name != name),
        logs=tuple(log for log in old.logs if log.origin != name),
        certificates=tuple(
            one for one in old.certificates if name not in (one.certificate_sha256, one.subject)
        ),
    )
    if new == old:
        raise UsageError(
            f"trust file: {name[:80]!r}: expected something that is trusted, got another",
            code="E290",
            hint="run `archiver trust show`",
        )
    return _written(settings, new, as_json=as_json)


for _command in (show, add_key, add_tsa, add_certificate, add_log, remove):
    trust.add_command(_command)


def _read(settings: Settings) -> Trust:
    where = trust_path(settings)
    return load_trust(where) if where.exists() else Trust()


def _written(settings: Settings, changed: Trust, *, as_json: bool) -> ExitCode:
    where = trust_path(settings)
    save_trust(where, changed)
    print_json({"file": str(where), **_facts(load_trust(where))}) if as_json else print_lines(
        [f"file {where}"]
    )
    return ExitCode.DONE


def _authority(name: str, url: str | None, root: Path | None) -> TrustedAuthority:
    if url is None and root is None and name in known_authorities():
        return known_authorities()[name]
    if url is None or root is None:
        raise UsageError(
            f"authority {name[:40]!r}: expected --url and --root, or one of {', '.join(known_authorities())}",
            code="E291",
            hint="give its URL and the PEM file of its root",
        )
    return TrustedAuthority(name, url, _certificate(root))


def _certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"certificate {file}: expected one X.509 certificate in PEM, got something else",
            code="E291",
            hint="ask whoever issued it for it in PEM",
        ) from error


def _facts(held: Trust) -> dict[str, list[dict[str, Any]]]:
    return {
        "keys": [
            {
                "principal": key.principal,
                "fingerprint": fingerprint(key.public_key),
                "valid_after": utc_text(key.valid_after) if key.valid_after else None,
                "valid_before": utc_text(key.valid_before) if key.valid_before else None,
                "revoked_at": utc_text(key.revoked_at) if key.revoked_at else None,
            }
            for key in held.keys
        ],
        "authorities": [
            {"name": one.name, "url": one.url, "root_sha256": root_fingerprint(one.root)}
            for one in held.authorities
        ],
        "certificates": [
            {
                "principal": one.principal,
                "certificate_sha256": one.certificate_sha256,
                "subject": one.subject,
                "root_sha256": root_fingerprint(one.root),
                "revoked_at": utc_text(one.revoked_at) if one.revoked_at else None,
            }
            for one in held.certificates
        ],
        "logs": [{"origin": log.origin, "verifier_key": log.verifier_key} for log in held.logs],
    }
