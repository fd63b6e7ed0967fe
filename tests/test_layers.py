"""Imports point one way (DESIGN section 3), and importing does nothing."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("collectors", "dashboard", "trainer")
MAY_IMPORT = {
    "app": {"dashboard", "collectors"},
    "dashboard": {"collectors"},
    "collectors": set(),
    "trainer": set(),
}
INSIDE_DASHBOARD = {"flame": {"flame"}, "blame": {"blame", "flame"}}  # what each folder may import of the dashboard
TOP_OF_COLLECTORS = {"supervisor", "__main__", "keeper"}  # what puts the collectors together


def modules() -> dict[str, Path]:
    """`{"collectors.store.sqlite.engine": .../collectors/store/sqlite/engine.py, ...}`"""
    paths = [ROOT / "app.py", *(path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imports(module: str, path: Path) -> set[str]:
    """The project's own modules that a module imports when it is loaded (not inside functions)."""
    known, found = modules(), set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in loaded(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = (
                ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module or ""
            )
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return {name for name in found if name in known and name != module}


def loaded(tree: ast.AST) -> list[ast.AST]:
    """All nodes but those in functions and under TYPE_CHECKING."""
    nodes, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
    return nodes


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    top = module.split(".")[0]
    others = {name.split(".")[0] for name in imports(module, modules()[module])} - {top}
    assert others <= MAY_IMPORT[top], f"{module} must not import {others - MAY_IMPORT[top]}"


def test_there_are_no_import_circles() -> None:
    graphlib.TopologicalSorter({module: imports(module, path) for module, path in modules().items()}).prepare()


@pytest.mark.parametrize("folder", INSIDE_DASHBOARD)
def test_blame_reads_flame_graphs_which_know_nothing_of_blame(folder: str) -> None:
    for module, path in modules().items():
        if module.startswith(f"dashboard.{folder}."):
            own = {name for name in imports(module, path) if name.startswith("dashboard.")}
            others = {name.split(".")[1] for name in own} - INSIDE_DASHBOARD[folder]
            assert not others, f"{module} must not import dashboard's {others}"


def test_collectors_do_not_import_what_puts_them_together() -> None:
    for module, path in modules().items():
        parts = module.split(".")
        if parts[0] == "collectors" and parts[-1] not in TOP_OF_COLLECTORS:
            above = {name for name in imports(module, path) if name.split(".")[-1] in TOP_OF_COLLECTORS}
            assert not above, f"{module} imports {above}"


def test_inside_a_package_imports_are_relative() -> None:
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert (node.module or "").split(".")[0] != module.split(".")[0], f"{module}, line {node.lineno}"


@pytest.mark.parametrize("module", ["collectors.__main__", "dashboard.server"])
def test_neither_torch_nor_pandas_is_loaded_by_the_web_or_the_collectors(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'pandas', 'trainer') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
