from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests.architecture.code import PACKAGES, ROOT, modules, offenders, within

NETWORK = (
    "socket",
    "ssl",
    "http.client",
    "urllib.request",
    "asyncio",
    "requests",
    "httpx",
    "ntplib",
    "smtplib",
)


def test_storage_knows_no_manifest_and_no_archiver():
    """A store keeps bytes; were it to know evidence, it could not be replaced or checked by itself."""
    assert offenders("manifests", "archiver", inside=("storage",)) == []


def test_manifests_know_no_store_and_no_archiver():
    """The rules of evidence must be checkable by whoever has the bytes, without our stores and tools."""
    assert offenders("storage", "archiver", inside=("manifests",)) == []


def test_only_the_capture_package_imports_the_browser_driver():
    """Everything but a capture works where no browser is installed."""
    assert offenders("playwright", outside=("archiver.capture",)) == []


def test_recorder_and_formats_import_no_browser():
    """What the wire said is decoded and packed by rules that a test feeds with bytes alone."""
    rules = ("archiver.capture.recorder", "archiver.formats")
    browsers = (
        "playwright",
        "archiver.capture.session",
        "archiver.capture.browser",
        "archiver.capture.exhibits",
    )
    assert offenders(*browsers, inside=rules) == []


def test_only_the_s3_store_imports_the_s3_library():
    """Verification works without boto3, and no error of it can escape from elsewhere."""
    assert offenders("boto3", "botocore", "s3transfer", outside=("storage.s3",)) == []


def test_only_the_command_line_imports_the_command_line_library():
    """The library can be used by other programs, which parse their own options."""
    assert offenders("click", outside=("archiver.cli",)) == []


def test_only_named_clients_of_the_manifests_reach_the_network():
    """The rules of evidence give the same answer on a machine without any network."""
    # manifests.keys talks to an ssh-agent on this machine, through a socket that is a file.
    clients = ("manifests.tsa_client", "manifests.http_fetch", "manifests.keys")
    assert offenders(*NETWORK, inside=("manifests",), outside=clients) == []


def test_shipped_code_imports_no_test_example_or_benchmark():
    """The wheel holds none of them."""
    assert offenders("tests", "examples", "benchmarks") == []


@pytest.mark.parametrize("call", ["print", "sys.exit", "exit", "sys.stdout.write", "click.echo"])
def test_only_the_command_line_prints_or_exits(call: str):
    """A library that prints or exits takes a decision that belongs to its caller."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules().values()
        if not within(module.name, "archiver.cli") and not _is_program(module.tree)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == call
    ]
    assert found == []


def test_no_module_imports_itself_by_way_of_others():
    """A cycle makes two modules one that nobody can read or test alone."""
    graph = {
        name: {_module_of(imported) for imported in module.at_start if within(imported, *PACKAGES)} - {name}
        for name, module in modules().items()
    }
    assert _cycle(graph) == []


def test_nothing_catches_every_exception():
    """A swallowed error is a capture that looks whole and is not; only the command's last handler may."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in modules().values()
        if module.name != "archiver.cli.main"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
    ]
    assert found == []


def test_an_error_code_is_used_by_one_package_alone():
    """A code in a message leads to one kind of failure, in the source and in the documentation."""
    owners: dict[str, set[str]] = {}
    for module in modules().values():
        # The catalogue of findings gives its numbers by place; elsewhere a bare number only asks for one.
        raised = r'"(E\d{3})"' if module.name == "manifests.findings" else r'code="(E\d{3})"'
        for code in re.findall(raised, module.path.read_text("utf-8")):
            owners.setdefault(code, set()).add(module.name.split(".")[0])
    assert {code: names for code, names in owners.items() if len(names) > 1} == {}


@pytest.mark.parametrize("command", ["verify", "show", "export"])
def test_reading_evidence_needs_neither_browser_nor_s3_library(command: str):
    """An expert who checks an export installs no browser and no cloud library."""
    program = (
        "import sys\n"
        "for name in ('playwright', 'boto3', 'botocore'): sys.modules[name] = None\n"
        "from archiver.cli.main import main\n"
        f"sys.argv = ['archiver', '{command}', '--help']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert command in done.stdout


def _is_program(tree: ast.Module) -> bool:
    """Whether the module is a program of its own, started as ``python -m``, with its own exit code."""
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


def _module_of(imported: str) -> str:
    """Return the module of ours that an imported name is or lies in."""
    return imported if imported in modules() else imported.rpartition(".")[0]


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the first cycle found, as the names on it, or nothing."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if cycle := walk(other, [*path, name]):
                return cycle
        done.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := walk(name, []))), [])
