"""Two wheels share the namespace `deepseek`: no file is in both, and each may be installed into a folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

LOG_WHEEL, WHEEL = (
    tomllib.loads((ROOT / place / "pyproject.toml").read_text())["tool"]["hatch"] for place in ("deepseek-log", "")
)
IMPORT_ALL = """
import importlib, json, sys, warnings

warnings.simplefilter("ignore")  # of other libraries
paths, names = json.loads(sys.argv[1])
sys.path += paths
import deepseek.app  # the command: from here on the dashboard's packages have their short names

imported, missing = {}, {}
for name in names:
    try:
        imported[name] = importlib.import_module(name).__file__
    except ModuleNotFoundError as error:
        missing[name] = error.name
from deepseek.log import RunLog
from deepseek.trainer import run_log, train
assert run_log.RunLog is train.RunLog is RunLog
print(json.dumps([imported, missing]))
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What deepseek-log and deepseek-dashboard hold, each in a folder of its own."""
    log, dashboard = (tmp_path_factory.mktemp(name) for name in ("log", "dashboard"))
    for name in LOG_WHEEL["build"]["targets"]["wheel"]["packages"]:
        copy(ROOT / "deepseek-log" / name, log / name)
    for name in WHEEL["build"]["targets"]["wheel"]["only-include"]:
        copy(ROOT / name, dashboard / "deepseek" / name)
    return log, dashboard


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def files(site: Path) -> set[str]:
    return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


def modules(folder: Path, prefix: str = "") -> list[str]:
    """Without those that are programs."""
    paths = [path.relative_to(folder) for path in sorted(folder.rglob("*.py")) if path.stem != "__main__"]
    return [prefix + ".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]


def test_a_file_is_in_one_of_the_two_wheels(sites: tuple[Path, Path]) -> None:
    log, dashboard = map(files, sites)
    assert log and dashboard and not log & dashboard
    for folder in ("deepseek", "deepseek/trainer"):
        assert f"{folder}/__init__.py" not in log | dashboard, "one wheel would hide what the other has in this package"
    assert LOG_WHEEL["version"]["path"] == f"../{WHEEL['version']['path']}"


def test_everything_is_imported_with_the_wheels_in_two_site_directories(sites: tuple[Path, Path]) -> None:
    """By the names by which it is used; of the rest of this environment only other people's packages are there."""
    log, dashboard = sites
    names = [*modules(log / "deepseek", "deepseek."), *modules(dashboard / "deepseek")]
    paths = [*map(str, sites), *(place for place in sys.path if place.endswith("site-packages"))]
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, json.dumps([paths, names])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    imported, missing = json.loads(done.stdout)
    assert len(imported) + len(missing) == len(names)
    assert all(
        Path(place).is_relative_to(log if name.startswith("deepseek.") else dashboard)
        for name, place in imported.items()
    )
    ours = {"deepseek", *(path.stem for path in (dashboard / "deepseek").iterdir())}
    assert {name: lacks for name, lacks in missing.items() if lacks.split(".")[0] in ours} == {}
