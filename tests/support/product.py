"""Where the product's modules lie, by the names by which they import each other."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.support.running import ROOT

PACKAGES = ("access", "alerts", "analysis", "collectors", "dashboard", "jobs", "models", "trainer")
LOG_WHEEL = ROOT / "deepseek-log"


@cache
def modules() -> dict[str, Path]:
    """`{"collectors.store.sqlite.engine": .../collectors/store/sqlite/engine.py, ..., "deepseek.log.run_log": ...}`"""
    paths = [
        *ROOT.glob("app.py"),
        *ROOT.glob("collector.py"),
        *(path for name in PACKAGES for path in code(ROOT / name)),
    ]
    found = {name_of(path, ROOT): path for path in paths}
    return found | {
        name_of(path, LOG_WHEEL): path
        for name in ("client", "log", "trainer")
        for path in code(LOG_WHEEL / "deepseek" / name)
    }


def code(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name_of(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """`"collectors.logs.tail" -> "collectors"`, `"deepseek.log.run_log" -> "deepseek.log"`"""
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "deepseek" else names[0]
