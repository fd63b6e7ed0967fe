"""What the docs promise is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, script
from tests.support.adapter_examples import example_of_an_adapter_runs
from tests.support.product import PACKAGES

MADE = ("assets/types/wire.d.ts",)
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", ROOT / "deepseek-log" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_links_and_named_files_exist() -> None:
    assert {str(path): lacking for path in DOCS if (lacking := missing(path))} == {}


def missing(path: Path) -> list[str]:
    """What a document links to, or names, and is not there."""
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    named = re.findall(
        r"`((?:assets|benchmarks|client|collectors|dashboard|deepseek-log|docs|jobs(?=/\w+\.py|/\w+/)|models(?=/\w+\.py|/\w+/)|tests|trainer)/[\w/.-]*\w)`",
        text,
    )
    return [link for link in links if not (path.parent / link).exists()] + [name for name in named if not exists(name)]


def exists(name: str) -> bool:
    """Also what `make lint` makes, in a fresh clone."""
    return name in MADE or (ROOT / name).exists() or bool(list(ROOT.glob(f"{name}*")))


def test_the_readme_tells_every_flag() -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "app.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    flags = set(re.findall(r"--[a-z-]+", shown)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z-]+", README))


def test_the_file_tree_of_the_readme_exists() -> None:
    assert [path for path in tree_of(README) if not (ROOT / path).exists()] == []


def test_the_file_tree_names_each_folder_of_code_and_nothing_else() -> None:
    """Those in a package."""
    named = tree_of((ROOT / "docs/one-point.md").read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []
    packages = [ROOT / name for name in (*PACKAGES, "assets", "client")]
    code = {folder for place in packages for folder in place.iterdir() if folder.is_dir()}
    folders = {folder.relative_to(ROOT).as_posix() for folder in code if folder.name != "__pycache__"}
    assert sorted(folders - set(named)) == []


def tree_of(text: str) -> list[str]:
    """The paths of an indented tree: `    collectors/  ...`, two spaces deeper `records.py  ...`, of each line up to column 30."""
    paths, folders = [], [""]
    for line in re.findall(r"^ {4} *[\w-]+(?:/|\.py) .*$", text, re.MULTILINE):
        depth = (len(line) - len(line.lstrip()) - 4) // 2
        names = [name for name in line[:30].split() if "." in name or name.endswith("/")]
        paths += [folders[depth] + name.rstrip("/") for name in names]
        folders[depth + 1 :] = [f"{folders[depth]}{names[0]}"]
    return paths


def test_the_index_of_the_documentation_names_all_of_it() -> None:
    named = set(re.findall(r"\]\(([^)#/]+)\)", (ROOT / "docs/README.md").read_text())) | {"README.md"}
    assert {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".txt")} - named == set()


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example
    monkeypatch.chdir(tmp_path)
    with script(example[1]) as process:
        assert process.wait(20) == 0
    (metrics,) = tmp_path.glob("logs/*/metrics.jsonl")
    assert len(metrics.read_text().splitlines()) == 1000


def test_the_example_of_wandbs_calls_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the libraries take half a minute each: `make test-integrations`."""
    example_of_an_adapter_runs(3, tmp_path, monkeypatch)


def test_the_packages_are_deepseeks_in_a_checkout_too() -> None:
    """`make setup` installs deepseek-log editable and links the rest; what the README's snippet imports is this tree."""
    code = "from deepseek import client, log, models; from deepseek.trainer import run_log, train; print(log.__file__, client.__file__, models.__file__, train.__file__)"
    shown = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout
    assert all(Path(file).resolve().is_relative_to(ROOT) for file in shown.split())
