"""``archiver tsa serve``: a timestamp authority for tests, which proves nothing about time."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
from cryptography.hazmat.primitives.serialization import Encoding

from archiver.cli.options import EXIT_CODES, command
from archiver.cli.output import print_json, print_lines, say
from archiver.errors import ExitCode
from archiver.tsa_server import WARNING
from archiver.tsa_server import serve as serve_authority


@click.group("tsa", epilog=EXIT_CODES)
def tsa() -> None:
    """Timestamp authority for tests and offline practice. Proves nothing about time."""


@command("serve")
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder for its keys and root.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On 127.0.0.1; a free one by default.")
def serve(*, state: Path, port: int, config: Path | None, as_json: bool) -> ExitCode:
    """Serve RFC 3161 on loopback until interrupted. PROVES NOTHING ABOUT TIME.

    Whoever runs it owns its keys and its clock.
    """
    del config
    say(f"*** {WARNING} ***")
    with serve_authority(state, port=port) as authority:
        root = state / "root.pem"
        root.write_bytes(authority.root.public_bytes(Encoding.PEM))
        facts = {"url": authority.url, "root": str(root), "warning": WARNING}
        print_json(facts) if as_json else print_lines(f"{name} {value}" for name, value in facts.items())
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return ExitCode.DONE


tsa.add_command(serve)
