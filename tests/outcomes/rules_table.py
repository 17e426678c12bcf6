"""Writes the table of rules in ``docs/outcomes.md`` anew: ``python -m tests.outcomes.rules_table``."""

from __future__ import annotations

from pathlib import Path

from archiver.capture.outcome_rules import WORDING, rules

DOCUMENT = Path(__file__).parents[2] / "docs" / "outcomes.md"
BEGIN, END = "<!-- rules: begin -->\n", "<!-- rules: end -->\n"


def table() -> str:
    """The rules, one a row, in the order of the files."""
    lines = ["| rule | speaks for | weight | where it looks | what it says |", "|---|---|---|---|---|"]
    for rule in rules():
        where = "words of the page" if rule.where == WORDING else ", ".join(rule.where)
        only = [f"status {', '.join(map(str, rule.status))}"] if rule.status else []
        only += [f"on {', '.join(rule.hosts)}"] if rule.hosts else []
        only += ["in articles too"] if rule.posts else []
        place = f"{where} ({'; '.join(only)})" if only else where
        lines.append(
            f"| `{rule.id}` | {rule.kind} | {'weak' if rule.weak else 'strong'} | {place} | {rule.says} |"
        )
    return "\n".join(lines) + "\n"


def renewed(document: str) -> str:
    """The document with the table as the rules are now."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + table() + END + tail


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
