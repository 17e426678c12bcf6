"""One run of the command line over the corpus, and what it is held against."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.browser.conftest import Bench
from tests.corpus.fidelity import Fidelity, compare
from tests.corpus.held import Held, exchanges
from tests.corpus.log import Served
from tests.corpus.server import HOSTS, Corpus, serve

SCRIPTED = (
    "SECURE/bodies",
    "H2/bodies",
    "PLAIN/bodies",
    "SECURE/statuses",
    "H2/statuses",
    "SECURE/workers",
    "H2/workers",
    "H2/frames",
    "SECURE/frames",
    "H2/media",
    "SECURE/sending",
    "H2/sending",
    "SECURE/live",
    "H2/live",
    "SECURE/scripts",
    "SECURE/ends",
    "H2/ends",
    "PLAIN/ends",
)
"""Pages that say themselves when they are through."""
DIRECT = tuple(
    f"{word}/direct/{name}"
    for word, name in (
        ("H2", "paper.pdf"),
        ("SECURE", "picture.png"),
        ("SECURE", "data.json"),
        ("H2", "table.csv"),
        ("PLAIN", "bundle.zip"),
        ("SECURE", "saved.bin"),
    )
)
PLACES = (*SCRIPTED, "H2/moves", "H2/still", *DIRECT)


@dataclass
class CorpusRun:
    """What came of a run.

    Args:
        captures: By place, such as ``H2/bodies``: the capture as the command told of it.
        served: What the server sent and was asked.
        netlog: Folder of the browser's own logs, where it keeps them.
    """

    bench: Bench
    captures: dict[str, dict[str, Any]]
    served: list[Served] = field(default_factory=list)
    netlog: Path | None = None

    def held(self, place: str) -> list[Held]:
        return exchanges(self.bench.file(self.captures[place], "capture.wacz"))

    def record(self, place: str) -> dict[str, Any]:
        return json.loads(self.bench.file(self.captures[place], "record.json").read_bytes())

    def all_held(self) -> list[Held]:
        return [one for place in self.captures for one in self.held(place)]

    def fidelity(self) -> Fidelity:
        return compare(self.served, self.all_held())


def url_of(place: str) -> str:
    """Return the address that ``HOST-WORD/path`` stands for."""
    word, _, path = place.partition("/")
    return f"{'http' if word == 'PLAIN' else 'https'}://{HOSTS[word]}/{path}"


def run_corpus(folder: Path, corpus: Corpus, places: tuple[str, ...], extra: dict[str, str]) -> CorpusRun:
    """Capture *places* in one run of two jobs."""
    bench = replace(Bench(folder, corpus), extra=extra)
    begun = corpus.log.mark()
    urls = [url_of(place) for place in places]
    options = [*corpus.options(), "--incident", "C-1", "--jobs", "2"]
    told = bench.run("capture", *urls, *options, code=None)["captures"]
    by_url = {one["url"]: one for one in told}
    captures = {place: by_url[url_of(place)] for place in places}
    return CorpusRun(bench, captures, corpus.log.since(begun))


@contextlib.contextmanager
def corpus_run(folder: Path, places: tuple[str, ...] = PLACES, **extra: str) -> Iterator[CorpusRun]:
    """Serve the corpus, capture *places*, and give what came of it."""
    with serve(folder) as corpus:
        yield run_corpus(folder, corpus, places, extra)
