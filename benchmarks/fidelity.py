"""How faithful captures are: every page of the corpus captured, and held against the server's own log.

``python -m benchmarks.fidelity`` prints how often each measure was met, and every fault. It exits with 1 when
one is below its floor, which is always.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.corpus.running import PLACES, CorpusRun, corpus_run

LARGE = ("H2/large", "SECURE/large")


def states(run: CorpusRun) -> list[str]:
    """Return one line for each capture that does not call itself complete."""
    lines = []
    for place in run.captures:
        whole = run.record(place)["completeness"]
        if whole["state"] != "complete":
            parts = ", ".join(f"{part['part']}: {part['reason']}" for part in whole["missing"])
            lines.append(f"{place} is {whole['state']}: {parts}")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="leave out the 50 MB body and the bomb")
    places = PLACES if parser.parse_args().small else PLACES + LARGE
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder, corpus_run(Path(folder), places) as run:
        found = run.fidelity()
        print(f"{len(run.captures)} captures, {len(run.served)} exchanges served")
        print("\n".join([*found.lines(), *found.faults, *states(run)]))
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
