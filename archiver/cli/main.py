"""The command line: its commands, and the one place where errors are told."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from archiver.cli.options import EXIT_CODES
from archiver.cli.output import clean, say
from archiver.errors import ArchiverError, ExitCode
from archiver.version import tool_version
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


COMMANDS = {
    "capture": "capture:capture",
    "batch": "batch:batch",
    "incidents": "incidents:incidents",
    "list": "list:list_captures",
    "session": "session:session",
    "show": "show:show",
    "open": "open:open_capture",
    "verify": "verify:verify",
    "compare": "compare:compare_vantages",
    "diff": "diff:diff",
    "crosscheck": "crosscheck:crosscheck",
    "replay-check": "replay_check:replay_check",
    "seal": "seal:seal",
    "renew": "seal:renew",
    "key": "key:key",
    "annex": "annex:annex",
    "trust": "trust:trust",
    "log": "log:log",
    "tsa": "tsa:tsa",
    "export": "export:export",
    "report": "report:report",
    "reindex": "reindex:reindex",
    "store": "store:store",
    "audit": "audit:audit",
    "decrypt": "confidential:decrypt",
    "rekey": "confidential:rekey",
    "hold": "hold:hold",
    "release": "hold:release",
    "delete": "hold:delete",
    "watch": "watch:watch",
    "link": "link:link",
    "unlink": "link:unlink",
    "doctor": "doctor:doctor",
}
"""Name of each command, and its module and name in ``archiver.cli``."""


class _Commands(click.Group):
    """Loads a command when it is called, so that verifying needs no library that only capturing needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands that can be loaded with the libraries that are installed."""
        return [name for name in sorted(COMMANDS) if self._loads(ctx, name)]

    def _loads(self, ctx: click.Context, name: str) -> bool:
        try:
            return self.get_command(ctx, name) is not None
        except ModuleNotFoundError:
            return False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None when there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(f"archiver.cli.{module}"), name)
        return found


@click.group(cls=_Commands, epilog=EXIT_CODES)
@click.version_option(tool_version(), prog_name="archiver")
def cli() -> None:
    """Capture web pages so that they hold up as evidence.

    Each capture is tied to an incident, dated, digested and kept in a store that is never overwritten.
    """


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
    except ModuleNotFoundError as error:
        hint = "this may be the verifier alone; install the whole program: `pip install archiver`"
        return _tell(f"library {error.name}: expected it, got none installed [E294]", hint, ExitCode.USAGE)
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
