"""The last result of the long tests is kept, and a run of some files replaces only theirs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.kept_results import read


def kept_of(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(folder / "none.ini"),
        "-p",
        "tests.kept_results",
    ]
    (folder / "none.ini").write_text("[pytest]\naddopts = -p no:dash\n")
    names = [f"{name}.py" for name in files]
    subprocess.run(
        [*command, "--keep-in", "kept.md", *names], cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    return (folder / "kept.md").read_text()


def test_a_later_run_of_one_file_keeps_the_rows_of_the_others(tmp_path: Path) -> None:
    passes = "def test_one(record_property):\n    record_property('row', '| a | b |')\n"
    fails = "def test_two():\n    assert False\n"
    first = kept_of(tmp_path, test_a=passes, test_b=fails)
    assert "| `test_a.py` | 1 | 0 | 0 |" in first and "| `test_b.py` | 0 | 1 | 0 |" in first
    assert "\n| a | b |\n" in first
    second = kept_of(tmp_path, test_b="def test_two():\n    pass\n")
    assert "| `test_a.py` | 1 | 0 | 0 |" in second and "| `test_b.py` | 1 | 0 | 0 |" in second
    assert "\n| a | b |\n" in second
    assert set(read(tmp_path / "kept.md")) == {"test_a.py", "test_b.py"}
