"""`--help` of every command, word for word, and without what takes long to import.

`python -m tests.project.test_help` writes `tests/data/golden/help/` anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.commands import COMMANDS as OF_DASHBOARD
from jobs.commands import COMMANDS as OF_JOBS
from models.commands import COMMANDS as OF_MODELS
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "data" / "golden" / "help"
COLUMNS = 100
DEAR = (
    "dash",
    "plotly",
    "pandas",
    "numpy",
    "torch",
    "onnxruntime",
    "fastapi",
    "pydantic",
    "yaml",
    "mcp",
)  # 0.02 to 2 s each
PROGRAMS = {
    "jobs": OF_JOBS.commands,
    "models": OF_MODELS.commands,
}  # `deepseek-jobs`, `deepseek-models`, and their commands
NAMES = [
    "",
    *OF_DASHBOARD.commands,
    *(f"{program}-{name}".rstrip("-") for program, names in PROGRAMS.items() for name in ("", *names)),
]
CODE = """
import runpy, sys
file = sys.argv[2]
sys.argv = [file, *sys.argv[3:], "--help"]
try:
    runpy.run_path(file, run_name="__main__")
except SystemExit:
    print(*sys.modules, file=sys.stderr)
"""


def shown(name: str) -> tuple[str, set[str]]:
    """What the command prints, and which modules that took."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "NO_COLOR": "1", "PYTHONPATH": ""}
    program, rest = of_program(name)
    words = [rest] if rest else []
    command = [sys.executable, "-c", CODE, "--", f"{program}/__main__.py" if program else "app.py", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout, set(done.stderr.split())


def of_program(name: str) -> tuple[str, str]:
    """`jobs-submit -> jobs, submit`; a command of the dashboard has no program."""
    program, _, rest = name.partition("-")
    return (program, rest) if program in PROGRAMS else ("", name)


def golden(name: str) -> Path:
    return GOLDEN / f"{f'deepseek-{name}' if of_program(name)[0] else name or 'deepseek-dashboard'}.txt"


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name or "deepseek-dashboard")
def test_help_is_what_it_was_and_imports_nothing_dear(name: str) -> None:
    text, modules = shown(name)
    assert text == golden(name).read_text(), "if that is meant: python -m tests.project.test_help"
    assert "argparse" in modules and not modules & set(DEAR)


def test_no_golden_file_is_left_over() -> None:
    assert set(GOLDEN.iterdir()) == set(map(golden, NAMES))


if __name__ == "__main__":
    for name in NAMES:
        golden(name).write_text(shown(name)[0])
