"""The command line: its commands, and the one place where errors are told."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

import archiver.cli.batch
import archiver.cli.capture
import archiver.cli.doctor
import archiver.cli.export
import archiver.cli.key
import archiver.cli.list
import archiver.cli.log
import archiver.cli.open
import archiver.cli.reindex
import archiver.cli.seal
import archiver.cli.show
import archiver.cli.trust
import archiver.cli.tsa
import archiver.cli.verify
from archiver.cli.options import EXIT_CODES
from archiver.cli.output import clean, say
from archiver.errors import ArchiverError, ExitCode
from manifests.errors import ManifestError, VerificationError
from storage.errors import (
    DigestMismatch,
    InvalidKey,
    InvalidStoreUrl,
    ObjectMissing,
    SourceUnreadable,
    StoreError,
)

MAX_MESSAGE_CHARS = 600

Told = ArchiverError | StoreError | ManifestError


@click.group(epilog=EXIT_CODES)
@click.version_option(package_name="archiver")
def cli() -> None:
    """Capture web pages so that they hold up as evidence.

    Each capture is tied to an incident, dated, digested and kept in a store that is never overwritten.
    """


for _command in (
    archiver.cli.capture.capture,
    archiver.cli.batch.batch,
    archiver.cli.list.list_captures,
    archiver.cli.show.show,
    archiver.cli.open.open_capture,
    archiver.cli.verify.verify,
    archiver.cli.seal.seal,
    archiver.cli.seal.renew,
    archiver.cli.key.key,
    archiver.cli.trust.trust,
    archiver.cli.log.log,
    archiver.cli.tsa.tsa,
    archiver.cli.export.export,
    archiver.cli.reindex.reindex,
    archiver.cli.doctor.doctor,
):
    cli.add_command(_command)


def main() -> None:
    """Run the program with the arguments of the process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> ExitCode:
    """Run one command, tell what went wrong, and return the exit code. No error leaves as a traceback."""
    try:
        result = cli.main(list(arguments), prog_name="archiver", standalone_mode=False)
        return ExitCode(result or 0)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "archiver"
        return _tell(f"{error.format_message()} [E270]", f"run `{path} --help`", ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        hint = "run the same command again: what is stored is kept and not captured twice"
        return _tell("interrupted [E298]", hint, ExitCode.INTERRUPTED)
    except (ArchiverError, StoreError, ManifestError) as error:
        return _tell(str(error), error.hint, _exit_code(error))
    except Exception as error:  # noqa: BLE001  # the last handler: whatever it is, the user gets one line
        hint = "run it again with ARCHIVER_DEBUG=1 and report what it prints"
        return _tell(f"internal error: {type(error).__name__}: {error} [E299]", hint, ExitCode.FAILED)


def _exit_code(error: Told) -> ExitCode:
    if isinstance(error, ArchiverError):
        return error.exit_code
    if isinstance(error, (InvalidStoreUrl, InvalidKey)):
        return ExitCode.USAGE
    # An object that a record lists and that is gone, or has become another, is failed evidence.
    if isinstance(error, (DigestMismatch, ObjectMissing, VerificationError)):
        return ExitCode.EVIDENCE_FAILED
    if isinstance(error, ManifestError | SourceUnreadable):
        return ExitCode.FAILED
    return ExitCode.STORE_REFUSED


def _tell(message: str, hint: str, code: ExitCode) -> ExitCode:
    say(f"error: {clean(message, MAX_MESSAGE_CHARS)}")
    if hint:
        say(f"hint: {clean(hint, MAX_MESSAGE_CHARS)}")
    if os.environ.get("ARCHIVER_DEBUG") == "1":
        say(traceback.format_exc())
    return code
