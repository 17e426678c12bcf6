"""``archiver report``: documents for courts and readers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import click

from archiver.cli.custody import log_readily
from archiver.cli.options import EXIT_CODES, check_text, command, settings_of, store_option
from archiver.cli.output import print_json, print_lines, say
from archiver.cli.stores import full_ids, holdings_of
from archiver.cli.verify import read_openings
from archiver.config import Settings, trust_path
from archiver.custodian import load_trust, open_certifier
from archiver.errors import ExitCode, UsageError
from archiver.incidents.rules import check_incident_id
from archiver.reports.document import render_pdf
from archiver.reports.exhibit import exhibit_document
from archiver.reports.exhibit_order import Audience, Form, Order, Source
from archiver.reports.exhibit_sections import PRINTED
from archiver.reports.exhibit_source import Gathering, gather
from archiver.reports.gates import open_gates
from archiver.reports.renderers import render_report
from archiver.reports.report_model import FATES, Report
from archiver.reports.report_source import Captures, incident_report, quarter_report
from archiver.reports.words import LANGUAGES, words_of
from archiver.seal_run import event
from archiver.stores import open_stores
from archiver.summary import load_summary
from manifests.trust import Trust

MAX_OPTION_CHARS = 2_000


@click.group("report", epilog=EXIT_CODES)
def report() -> None:
    """Make documents of captures: an exhibit to file, a report on an incident or a whole register."""


@command("exhibit")
@click.argument("capture")
@click.option(
    "--lang", "language", type=click.Choice(LANGUAGES), default="en", help="Language of the document."
)
@click.option(
    "--form",
    type=click.Choice(get_args(Form)),
    default="neutral",
    help="Declaration: neutral, US (FRE 902), Kazakhstan (CPC art. 78(5)), Russia.",
)
@click.option(
    "--for",
    "audience",
    type=click.Choice(get_args(Audience)),
    default="court",
    help="Who will read it. For a court every gate must be passed; the public edition tells no opened fact.",
)
@click.option("--number", default="1", metavar="TEXT", help="Number of the exhibit.")
@click.option("--case", default="", metavar="TEXT", help="Name or number of the case.")
@click.option("--offered", default="", metavar="TEXT", help="What the exhibit is offered to prove.")
@click.option(
    "--opened",
    "opened_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Facts that `archiver annex open --json` printed, to be told in the exhibit.",
)
@click.option(
    "--sign", "signs", is_flag=True, help="Sign it with the certificate of the settings (PAdES, timestamped)."
)
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The PDF to write.",
)
@store_option
def exhibit(
    *,
    capture: str,
    language: str,
    form: Form,
    audience: Audience,
    number: str,
    case: str,
    offered: str,
    opened_file: Path | None,
    signs: bool,
    output: Path,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Print one capture as an exhibit: PDF/A-3 with the evidence record and its seal attached.

    The same capture, options and trust file give the same bytes again, but for a signature.
    """
    settings = settings_of(config, store=store_url)
    store = open_stores(settings)
    (capture_id,) = full_ids(store, [capture])
    order = Order(
        number=check_text("--number", number, 40),
        form=form,
        audience=audience,
        case=check_text("--case", case, MAX_OPTION_CHARS),
        offered=check_text("--offered", offered, MAX_OPTION_CHARS),
        opened=read_openings(opened_file, capture_id) if opened_file else (),
    )
    trusted = trust_path(settings)
    trust = load_trust(trusted) if trusted.exists() else None
    with tempfile.TemporaryDirectory(prefix="archiver-exhibit-") as name:
        source = gather(Gathering(store, trust, Path(name), datetime.now(UTC)), capture_id)
        _refuse(source, order)
        render_pdf(exhibit_document(source, order, words_of(language)), Path(name), output)
    if signs:
        _sign(settings, trust, output)
    log_readily(
        settings,
        store,
        lambda sealer: [
            event("exported", sealer, load_summary(store, capture_id), purpose=f"{PRINTED} {audience}")
        ],
    )
    if as_json:
        verdict = source.report.overall.value
        print_json({"output": str(output), "capture_id": capture_id, "verdict": verdict})
    else:
        print_lines([f"exhibit {order.number} of capture {capture_id}: {output}"])
    return ExitCode.DONE


def _sign(settings: Settings, trust: Trust | None, output: Path) -> None:
    signer = open_certifier(settings)
    if signer is None or trust is None:
        raise UsageError(
            "exhibit --sign: expected the setting `certificate` and a trust file, got none",
            code="E228",
            hint="set `certificate` to a PKCS#12 file, and trust an authority with `archiver trust add-tsa`",
        )
    # Here, since the library takes a second to load.
    from archiver.pdf_signing import sign_pdf  # noqa: PLC0415

    sign_pdf(output, signer, trust)


def _refuse(source: Source, order: Order) -> None:
    """Refuse a court edition while a gate is open; tell of it otherwise."""
    gates = open_gates(source.record, source.report, order.opened)
    if not gates:
        return
    if order.audience == "court":
        raise UsageError(
            f"exhibit for a court: expected every gate passed, got open: {'; '.join(gates)}",
            code="E223",
            hint="fill what is named and capture again with --again, or make it --for counsel",
        )
    for gate in gates:
        say(f"warning: not fit for a court: {gate}")


language_option = click.option(
    "--lang", "language", type=click.Choice(LANGUAGES), default="en", help="Language of the report."
)
output_option = click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The file to write; its ending says the form: .html, .pdf, .md, .csv or .json.",
)


@command("incident")
@click.argument("incident_id", metavar="INCIDENT")
@click.option(
    "--register",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The register that the incident is in, for its text and the links that were never captured.",
)
@language_option
@output_option
@store_option
def incident(
    *,
    incident_id: str,
    register: Path | None,
    language: str,
    output: Path,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Report on one incident: each link, what became of it, and a citation that lasts."""
    check_incident_id(incident_id)
    with _captures(config, store_url) as captures:
        made = incident_report(incident_id, captures, register)
    if not made.links:
        raise UsageError(
            f"incident {incident_id}: expected captures or links of it, got none",
            code="E277",
            hint="run `archiver list` to see which incidents there are, or give --register",
        )
    return _written(made, language, output, as_json=as_json)


@command("quarter")
@click.argument("register", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--previous",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="REGISTER",
    help="Register of the quarter before, for a table of changes.",
)
@language_option
@output_option
@store_option
def quarter(
    *,
    register: Path,
    previous: Path | None,
    language: str,
    output: Path,
    store_url: str | None,
    config: Path | None,
    as_json: bool,
) -> ExitCode:
    """Report on a whole register: how much of what was cited is gone, by section, platform and signal."""
    with _captures(config, store_url) as captures:
        before = quarter_report(previous, captures) if previous else None
        made = quarter_report(register, captures, before)
    return _written(made, language, output, as_json=as_json)


@contextmanager
def _captures(config: Path | None, store_url: str | None) -> Iterator[Captures]:
    store = open_stores(settings_of(config, store=store_url))
    with holdings_of(store) as holdings:
        holdings.warn()
        yield Captures(store, list(holdings.catalogue.find()))


def _written(made: Report, language: str, output: Path, *, as_json: bool) -> ExitCode:
    try:
        render_report(made, words_of(language), output)
    except OSError as error:
        raise UsageError(
            f"output {output}: expected a file that can be written, got {error.strerror}",
            code="E226",
            hint="name another place",
        ) from error
    counts = {fate: made.whole().counts[fate] for fate in FATES}
    if as_json:
        print_json({"output": str(output), "links": made.whole().total, **counts})
    else:
        print_lines([f"{made.whole().total} links, {counts['gone']} of them gone: {output}"])
    return ExitCode.DONE


for _command in (exhibit, incident, quarter):
    report.add_command(_command)
