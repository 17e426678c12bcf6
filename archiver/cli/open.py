"""``archiver open``."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from archiver.cli.options import command, settings_of, store_option
from archiver.cli.output import print_json, print_lines, say
from archiver.cli.stores import full_ids
from archiver.config import cache_folder
from archiver.errors import EnvironmentUnfit, ExitCode, UsageError
from archiver.stores import open_stores
from archiver.summary import capture_prefix, load_summary
from storage.errors import DigestMismatch
from storage.interface import Store

FIRST_ROLES = ("screenshot-full", "screenshot-viewport", "failure-sheet", "pdf", "text")
LAUNCHED = frozenset({"image/png", "image/jpeg", "application/pdf", "text/plain"})
"""What a viewer shows without running anything. Captured pages run their scripts and call their servers."""


@command("open")
@click.argument("capture", metavar="CAPTURE|DIR")
@click.option("--file", "name", metavar="NAME", help="The file of the capture to open, as `show` lists it.")
@store_option
def open_capture(
    *, capture: str, name: str | None, store_url: str | None, config: Path | None, as_json: bool
) -> ExitCode:
    """Open a capture's screenshot, or another of its files, in the viewer of this desktop, or a bundle.

    The file is copied out of the store and its digest checked first. Files that could run scripts
    are copied and named, never opened; with --json nothing is opened.

    DIR, the folder of a bundle that `archiver export` made, is served on loopback until Ctrl-C, so that its
    captures can be replayed in a browser.
    """
    if (Path(capture) / "bagit.txt").is_file():
        return _serve(Path(capture), as_json=as_json)
    store = open_stores(settings_of(config, store=store_url))
    (capture_id,) = full_ids(store, [capture])
    artifact = _chosen(capture_id, load_summary(store, capture_id).artifacts, name)
    path = _copied(store, capture_id, artifact)
    opened = False
    if not as_json and artifact["media_type"] in LAUNCHED:
        opened = click.launch(str(path)) == 0
    if as_json:
        print_json({"capture_id": capture_id, "artifact": artifact, "path": str(path)})
    else:
        print_lines([str(path)])
        if not opened:
            say("not opened here: look at the file with a viewer that you trust")
    return ExitCode.DONE


def _serve(folder: Path, *, as_json: bool) -> ExitCode:
    # Here, so that a screenshot opens without loading a web server.
    from archiver.bundle.serving import serve_bundle  # noqa: PLC0415

    def tell(address: str) -> None:
        print_json({"address": address}) if as_json else print_lines([address])
        if not as_json:
            say("serving this bundle until Ctrl-C")
            click.launch(address)

    serve_bundle(folder, tell)
    return ExitCode.DONE


def _chosen(capture_id: str, artifacts: Sequence[Mapping[str, Any]], name: str | None) -> Mapping[str, Any]:
    if name is None:
        shown = [one for one in artifacts if one["role"] in FIRST_ROLES and one["media_type"] in LAUNCHED]
        fitting = sorted(shown, key=lambda one: FIRST_ROLES.index(one["role"]))
    else:
        fitting = [one for one in artifacts if one["path"] == name]
    if not fitting:
        names = ", ".join(one["path"] for one in artifacts)
        raise UsageError(
            f"capture {capture_id}: expected a file {ascii(name) if name else 'to look at'}, got {names}",
            code="E273",
            hint="give one of these with --file",
        )
    return fitting[0]


def _copied(store: Store, capture_id: str, artifact: Mapping[str, Any]) -> Path:
    """Copy the file to the cache and return its path; refuse one that is not what the record states."""
    folder = cache_folder() / "opened" / capture_id
    target = folder / str(artifact["path"])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        with store.open(capture_prefix(capture_id) + artifact["path"]) as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy)
        _check_digest(part, capture_id, artifact)
        part.replace(target)
    except OSError as error:
        raise EnvironmentUnfit(
            f"file {target}: writing failed: expected room and permission, got {error.strerror}",
            code="E274",
            hint="set XDG_CACHE_HOME to a folder of your own",
        ) from error
    return target


def _check_digest(part: Path, capture_id: str, artifact: Mapping[str, Any]) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != artifact["sha256"]:
        part.unlink()
        what = f"file {artifact['path']}: expected sha256 {artifact['sha256']}, got {found}"
        raise DigestMismatch(
            f"capture {capture_id}: {what}",
            code="E275",
            hint=f"run `archiver verify {capture_id}`",
        )
