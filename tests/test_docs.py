"""What the docs promise is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapter_examples import example_of_an_adapter_runs
from tests.conftest import ROOT, script

MADE = ("assets/types/wire.d.ts",)
README = (ROOT / "README.md").read_text()
DOCS = [ROOT / "README.md", ROOT / "deepseek-log" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_and_named_files_exist(path: Path) -> None:
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    named = re.findall(
        r"`((?:assets|benchmarks|client|collectors|dashboard|deepseek-log|docs|integrations|jobs(?=/\w+\.py|/\w+/)|tests|trainer)/[\w/.-]*\w)`",
        text,
    )
    missing = [link for link in links if not (path.parent / link).exists()] + [name for name in named if not exists(name)]
    assert not missing


def exists(name: str) -> bool:
    """Also what `make lint` makes, in a fresh clone."""
    return name in MADE or (ROOT / name).exists() or bool(list(ROOT.glob(f"{name}*")))


def test_the_readme_tells_every_flag() -> None:
    shown = subprocess.run([sys.executable, ROOT / "app.py", "--help"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"--[a-z-]+", shown)) - {"--help"}
    assert flags <= set(re.findall(r"--[a-z-]+", README))


def test_the_file_tree_of_the_readme_exists() -> None:
    folder = ""
    for line in README.split("## Where things are")[1].split("To learn")[0].splitlines():
        if not line.strip():
            continue
        names = re.findall(r"[\w/.-]+(?:\.py|/|\.md)", line[: 4 + 26])
        if not line.startswith("      "):
            folder = names[0] if len(names) == 1 and names[0].endswith("/") else ""
            assert all((ROOT / name).exists() for name in names), line
        else:
            assert all((ROOT / folder / name).exists() for name in names), line


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example
    monkeypatch.chdir(tmp_path)
    with script(example[1].replace("deepseek.trainer", "trainer")) as process:
        assert process.wait(20) == 0
    (metrics,) = tmp_path.glob("logs/*/metrics.jsonl")
    assert len(metrics.read_text().splitlines()) == 1000


def test_the_example_of_wandbs_calls_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the libraries take half a minute each: `make test-integrations`."""
    example_of_an_adapter_runs(3, tmp_path, monkeypatch)


def test_the_packages_are_deepseeks_in_a_checkout_too() -> None:
    """`make setup` links them; what the README's snippet imports is this tree."""
    code = "import deepseek.trainer.run_log as one; import deepseek.collectors.records; print(one.__file__)"
    shown = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True).stdout
    assert Path(shown.strip()).name == "run_log.py"
