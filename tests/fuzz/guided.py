"""Lets atheris drive a fuzz target, guided by coverage of the readers and of the parsers they stand on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

WATCHED = ("archiver.capture.recorder", "hpack", "hyperframe")


def by_coverage(run: Callable[[bytes], None], seeds: list[bytes], folder: Path, options: list[str]) -> None:
    """Fuzz until an option of libFuzzer's, such as ``-max_total_time=600``, ends it; never returns.

    Args:
        run: Takes one input; what it raises is a finding.
        seeds: Inputs to start from.
        folder: For the corpus, unless *options* name one.
        options: For libFuzzer.
    """
    import atheris

    corpus = folder / "corpus"
    corpus.mkdir()
    for at, seed in enumerate(seeds):
        (corpus / f"seed-{at}").write_bytes(seed)
    # All functions of the process would be ten times as many, and drown the signal in the test tools' own.
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and (each.__module__ or "").startswith(WATCHED):
            atheris.instrument_func(each)
    atheris.Setup([sys.argv[0], *options, str(corpus)], run)
    atheris.Fuzz()
