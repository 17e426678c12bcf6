"""How well outcomes are told: the labelled pages of ``tests/outcomes``, judged by the rules.

``python -m benchmarks.classifier`` prints, for each part, the confusion matrix, precision and recall of each
kind, and every page that was told otherwise than it is labelled. It exits with 1 when a figure is below the
floor.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.outcomes.measuring import FLOOR, Measured, held_back, later, tuning

PARTS = {"tuning": tuning, "held back": held_back, "later": later}


def matrix(measured: Measured, title: str) -> Table:
    """Labels down, what was told across."""
    kinds = measured.kinds
    table = Table("label", *kinds, title=title)
    for label in kinds:
        table.add_row(label, *(str(measured.confusion[label, told] or "") for told in kinds))
    return table


def figures(measured: Measured) -> Table:
    """Precision and recall of each kind."""
    table = Table("kind", "precision", "recall")
    for kind in measured.kinds:
        table.add_row(
            kind, *(f"{right} of {of}" for right, of in (measured.precision(kind), measured.recall(kind)))
        )
    return table


def main() -> int:
    console = Console(width=200)
    below = False
    for name, part in PARTS.items():
        measured = part()
        right = len(measured.judged) - len(measured.wrong)
        console.print(matrix(measured, f"{name}: {right} of {len(measured.judged)} as labelled"))
        console.print(figures(measured))
        for page, outcome in measured.wrong:
            console.print(
                f"{page.name}: labelled {page.label} ({page.why}), told as {outcome.kind}: {outcome.reason}"
            )
        pairs = [
            pair for kind in measured.kinds for pair in (measured.precision(kind), measured.recall(kind))
        ]
        below |= any(of and right / of < FLOOR for right, of in pairs)
    return int(below)


if __name__ == "__main__":
    sys.exit(main())
