"""``docs/cli.md``, made from the commands themselves: ``python -m archiver.cli.reference > docs/cli.md``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from archiver.cli.main import cli
from archiver.cli.options import EXIT_MEANINGS

HELP_WIDTH = 100


def reference() -> str:
    """Return the reference of every command as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Command line"
    yield ""
    yield "Made from the program by `python -m archiver.cli.reference`; do not edit by hand."
    yield ""
    yield "| exit code | meaning |"
    yield "|---|---|"
    for code, meaning in EXIT_MEANINGS.items():
        yield f"| {code.value} | {meaning} |"
    for title, command in walk("archiver", cli):
        yield from _section(title, command)


def walk(title: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield *command* and every command below it, each with its full name."""
    yield title, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=title)
        for name in command.list_commands(context):
            if inner := command.get_command(context, name):
                yield from walk(f"{title} {name}", inner)


def _section(title: str, command: click.Command) -> Iterator[str]:
    context = click.Context(
        command, info_name=title, max_content_width=HELP_WIDTH, terminal_width=HELP_WIDTH, color=False
    )
    text = command.get_help(context).partition("\n\n  Exit codes:")[0].partition("\nExit codes:")[0]
    yield from ("", f"## {title}", "", "```text", text.rstrip(), "```")


if __name__ == "__main__":
    click.echo(reference(), nl=False)
