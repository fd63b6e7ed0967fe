"""Imports point one way (DESIGN section 3), and importing does nothing."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.support.product import PACKAGES, modules, part_of

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {  # beside `deepseek.log`, which all may
    "app": {"dashboard"},
    "collector": {"collectors", "analysis", "alerts"},  # puts the collectors together
    "dashboard": {"access", "deepseek.client", "collectors", "analysis", "alerts", "jobs"},
    "alerts": {"access", "analysis", "collectors"},
    "analysis": {"collectors"},
    "collectors": {"access"},
    "access": set(),  # who may ask, and small files of users: the lowest part
    "jobs": {"access", "collectors"},  # never of the web process, which may show it
    "models": {"access"},
    "trainer": set(),
    "deepseek.log": set(),
    "deepseek.client": set(),  # knows the HTTP API only
    "deepseek.trainer": set(),  # a former name of deepseek.log
}
LOG = "deepseek.log"
BELOW = {  # the lowest parts of the collectors: what each may import of the others
    "message": set(),
    "records": {"message"},
    "catalog": set(),
    "step_axis": set(),
    "queue_events": {"records"},
    "runtime": set(),
    "rights": set(),
    "lines": {"records"},
    "store": {"message", "records", "step_axis", "lines"},
}
READ_OTHERS = {  # databases that other programs write, which happen to be of the same engine
    "collectors/logs/database.py",
    "collectors/logs/database_file.py",
    *(f"collectors/logs/formats/{name}.py" for name in ("databases", "trackio", "mlflow")),
}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(module: str, path: Path) -> set[str]:
    """The project's own modules that a module imports: at its top, inside functions, and for types alone."""
    known, found = modules(), set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = (
                ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module or ""
            )
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names}
    return {name for name in found if name in known and name != module}


@pytest.mark.parametrize("top", MAY_IMPORT)
def test_imports_point_one_way(top: str) -> None:
    for module, path in modules().items():
        if part_of(module) == top:
            others = {part_of(name) for name in imports(module, path)} - {top, LOG}
            assert others <= MAY_IMPORT[top], f"{module} must not import {others - MAY_IMPORT[top]}"


def test_every_module_is_of_a_part_with_a_row() -> None:
    assert {part_of(module) for module in modules()} == {*MAY_IMPORT}


def test_what_people_train_with_needs_the_standard_library_only() -> None:
    """When it is imported, apart from an adapter's own library."""
    for module, path in modules().items():
        if part_of(module) == LOG:
            nodes = [node for node in parsed(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
            named = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            named |= {
                (node.module or "").split(".")[0]
                for node in nodes
                if isinstance(node, ast.ImportFrom) and not node.level
            }
            own = {path.stem} if path.parent.name == "adapters" else set()
            assert named <= {*sys.stdlib_module_names, *own}, module


def test_no_folder_of_ours_hides_a_package_of_others() -> None:
    """In the dashboard `import wandb` is wandb: an adapter of that name is never importable by itself."""
    tops = {path.name for path in ROOT.iterdir() if any(path.glob("*.py"))} | {path.stem for path in ROOT.glob("*.py")}
    assert tops == {"app", "collector", "hatch_build", "assets", "benchmarks", "client", "tests", *PACKAGES}


def test_there_are_no_import_circles() -> None:
    graphlib.TopologicalSorter({module: imports(module, path) for module, path in modules().items()}).prepare()


@pytest.mark.parametrize("part", BELOW)
def test_the_lowest_parts_of_the_collectors_import_one_way(part: str) -> None:
    for module, path in modules().items():
        if module.split(".")[:2] == ["collectors", part]:
            others = {name.split(".")[1] for name in imports(module, path) if name.startswith("collectors.")} - {part}
            assert others <= BELOW[part], f"{module} must not import {others - BELOW[part]}"


def test_the_plan_of_jobs_is_pure() -> None:
    """A function of the state and the time: neither files nor processes, nor anything of the project outside of it."""
    pure = {
        "__future__",
        "collections",
        "collections.abc",
        "dataclasses",
        "heapq",
        "math",
        "statistics",
        "time",
        "typing",
    }
    for module, path in modules().items():
        if module in ("jobs.plan", "jobs.fifo"):
            assert imports(module, path) <= {"jobs.fifo"}, module
            nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, (ast.Import, ast.ImportFrom))]
            named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
            assert named <= pure, module
            assert not {node.attr for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)} & {
                "time_ns",
                "monotonic",
                "sleep",
            }


def test_stacks_know_nothing_of_blame() -> None:
    for module, path in modules().items():
        if module.startswith("analysis.stacks."):
            assert not [name for name in imports(module, path) if ".blame" in name], module


def test_an_engine_is_named_in_its_folder_and_at_the_door_only() -> None:
    for path in sources(".py"):
        if (
            "collectors/store/sqlite/" not in str(path)
            and str(path.relative_to(ROOT)) not in READ_OTHERS
            and path.parent.name != "tests"
            and "trainer" not in path.parts
            and path not in (ROOT / "jobs" / "queue.py", ROOT / "jobs" / "view.py")
        ):
            names = {
                alias.name for node in ast.walk(parsed(path)) if isinstance(node, ast.Import) for alias in node.names
            }
            froms = {node.module or "" for node in ast.walk(parsed(path)) if isinstance(node, ast.ImportFrom)}
            assert not {name for name in names | froms if "sqlite" in name}, path


def sources(*suffixes: str, tops: Sequence[str] = (*PACKAGES, "assets", "client", "deepseek-log")) -> list[Path]:
    """Files of the product, or of other folders."""
    return [path for top in tops for path in code(ROOT / top) if path.suffix in suffixes]


def code(folder: Path) -> list[Path]:
    left_out = ("vendor", "__pycache__", "types")
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(left_out) & set(path.relative_to(ROOT).parts)
    ]


def test_inside_a_package_imports_are_relative() -> None:
    for module, path in modules().items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert part_of(node.module or "") != part_of(module), f"{module}, line {node.lineno}"


@pytest.mark.parametrize("module", ["collector", "dashboard.app"])
def test_neither_torch_nor_pandas_is_loaded_by_the_web_or_the_collectors(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'pandas', 'trainer') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_what_draws_pages_only_reads() -> None:
    for module, path in modules().items():
        if module.startswith(("dashboard.pages", "dashboard.user_files")) or module == "dashboard.queries":
            assert "dashboard.mutations" not in imports(module, path), module


def test_what_users_say_knows_neither_dash_nor_the_store() -> None:
    for module, path in modules().items():
        if module.startswith("dashboard.user_files"):
            others = {name for name in imports(module, path) if not name.startswith("dashboard.user_files")} - {
                "deepseek.log.redaction"
            }
            known = {
                "access.files",
                "collectors.yaml_tree",
                "collectors.yaml_values",
                "collectors.user_files",
                "collectors.options",
                "analysis.directions",
                "collectors.records",
                "collectors.logs.tombstones",
            }
            if module == "dashboard.user_files.alerts":
                known |= {"alerts.config", "alerts.routing", "analysis.findings.rules"}
            assert others <= known | {"collectors.user_files"}, module
