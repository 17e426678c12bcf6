"""``python -m examples.sites``: serve the example sites until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from examples.sites.server import run


def _announce(description: str, port_file: Path | None) -> None:
    sys.stdout.write(description + "\n\n")
    sys.stdout.flush()
    if port_file:
        part = port_file.with_suffix(".part")
        part.write_text(description + "\n")
        part.replace(port_file)


async def _serve(folder: Path, port_file: Path | None, *, until_input_ends: bool) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if until_input_ends:
        # The pipe breaks when the parent dies, however it dies: no server is left behind.
        loop.add_reader(sys.stdin.fileno(), ended.set)
    await run(folder, lambda description: _announce(description, port_file), ended.wait)


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(prog="python -m examples.sites", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="where the run's certificates go (default: a temporary folder)"
    )
    parser.add_argument(
        "--port-file", type=Path, help="also write the description to this file, once ports listen"
    )
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input ends")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="example-sites-"))
        )
        asyncio.run(_serve(folder, options.port_file, until_input_ends=options.until_input_ends))


if __name__ == "__main__":
    main()
