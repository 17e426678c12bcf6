"""Reads the source tree: what each module imports and calls, without importing any of it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("archiver", "manifests", "storage")


@dataclass(frozen=True, slots=True)
class Module:
    """One module of ours; *imports* are dotted names wherever they stand, *at_start* those run at import."""

    name: str
    path: Path
    tree: ast.Module
    imports: frozenset[str]
    at_start: frozenset[str]


@functools.cache
def modules() -> dict[str, Module]:
    """Return every module of the shipped packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text("utf-8"))
            everywhere = frozenset(_imported(ast.walk(tree)))
            found[name] = Module(name, path, tree, everywhere, frozenset(_imported(_run_at_import(tree))))
    return found


def within(name: str, *packages: str) -> bool:
    """Whether *name* is one of *packages* or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def offenders(*banned: str, outside: tuple[str, ...] = (), inside: tuple[str, ...] = PACKAGES) -> list[str]:
    """Return ``module imports name`` for each import of *banned* by a module *inside* and not *outside*."""
    return [
        f"{module.name} imports {name}"
        for module in modules().values()
        if within(module.name, *inside) and not within(module.name, *outside)
        for name in sorted(module.imports)
        if within(name, *banned)
    ]


def _imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide directions"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the module is imported: no function bodies, nothing for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _run_at_import(node)
