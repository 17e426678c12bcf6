"""Holds what a package has against what the corpus server sent and was asked: counts, and differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.corpus.held import Held, plain
from tests.corpus.log import Served

MEASURES = (
    "recall",
    "response heads exact",
    "request heads exact",
    "request bodies exact",
    "encoded bodies equal",
    "decoded bodies equal",
    "partial bodies kept",
)


@dataclass
class Fidelity:
    """How often each measure was due, how often it was met, and where it was not."""

    due: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def count(self, measure: str, served: Served, *, met: bool, why: str = "") -> None:
        self.due[measure] += 1
        self.met[measure] += met
        if not met:
            self.faults.append(f"{measure}: {served.method} {served.url} ({served.protocol}) {why}".rstrip())

    def add(self, other: Fidelity) -> None:
        self.due += other.due
        self.met += other.met
        self.faults += other.faults

    def lines(self) -> list[str]:
        """Return one line a measure: how many of how many."""
        return [f"{name:24} {self.met[name]:5} of {self.due[name]:5}" for name in MEASURES if self.due[name]]


def compare(log: Iterable[Served], held: list[Held]) -> Fidelity:
    """Compare what was served with what is held."""
    result = Fidelity()
    by_number = {one.number: one for one in held if one.number}
    unanswered = [one for one in held if not one.number]
    for served in log:
        found = by_number.get(served.number) or _of_same_request(served, unanswered)
        result.count("recall", served, met=found is not None)
        if found is not None:
            _compare_one(result, served, found)
    return result


def _of_same_request(served: Served, unanswered: list[Held]) -> Held | None:
    """Find a request without a response; each is found once."""
    for held in unanswered:
        if held.request_head == served.request_head:
            unanswered.remove(held)
            return held
    return None


def _compare_one(result: Fidelity, served: Served, held: Held) -> None:
    result.count("request heads exact", served, met=held.request_head == served.request_head)
    met = held.request_body == served.request_body
    why = f"{len(served.request_body)} received, {len(held.request_body)} held"
    result.count("request bodies exact", served, met=met, why=why)
    if not served.heads:
        return
    interim = held.remarks.count("interim-head-base64")
    heads_met = held.response_head == served.heads[-1] and interim == len(served.heads) - 1
    result.count("response heads exact", served, met=heads_met)
    sent = _framed(served)
    why = f"{len(sent)} sent, {len(held.response_body)} held, {held.truncated or 'not truncated'}"
    if served.cut == "client" or (held.truncated and not served.cut):
        # The client took what it took; a part of it may be all there is, and it must say so.
        met = sent.startswith(held.response_body) and (bool(held.truncated) or held.response_body == sent)
        result.count("partial bodies kept", served, met=met, why=why)
    elif served.cut == "server":
        met = held.response_body == sent
        result.count("partial bodies kept", served, met=met, why=why)
    else:
        result.count("encoded bodies equal", served, met=held.response_body == sent, why=why)
        if served.plain is not None and served.kind == "http" and served.method != "HEAD" and sent:
            result.count("decoded bodies equal", served, met=_decodes_to(held, served.plain))


def _framed(served: Served) -> bytes:
    """Return the body as far as its framing reaches: what comes after it is noise on the connection."""
    body = bytes(served.body)
    for line in served.heads[-1].replace(b"\r\n", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and served.method != "HEAD":
            return body[: int(value)]
    return body


def _decodes_to(held: Held, expected: bytes) -> bool:
    try:
        return plain(held) == expected
    except ValueError:
        return False
