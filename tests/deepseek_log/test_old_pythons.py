"""RunLog where people train: on every Python from 3.9 on, from the files of its wheel alone. Its whole tests there: tests/integrations/pythons.py"""

from __future__ import annotations

import ast
import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.interpreters import RUN_LOGS, Interpreter, every_python

PROGRAM = ROOT / "tests" / "programs" / "all_of_run_log.py"
OLDEST = (3, 9)
LOG_WHEEL = ROOT / "deepseek-log"
FILES = [
    path for name in ("client", "log", "trainer") for path in sorted((LOG_WHEEL / "deepseek" / name).rglob("*.py"))
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(LOG_WHEEL).as_posix())
def test_what_people_train_with_is_in_the_grammar_of_the_oldest_python(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=OLDEST)
    project = tomllib.loads((LOG_WHEEL / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">={}.{}".format(*OLDEST)


def test_a_newer_grammar_is_found() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n  case 1: pass", feature_version=OLDEST)


@every_python(RUN_LOGS)
def test_run_log_does_all_that_it_can_on_every_python(python: Interpreter, tmp_path: Path) -> None:
    code = f"import runpy, sys; sys.path.insert(0, {str(LOG_WHEEL)!r}); sys.argv = ['all', {str(tmp_path)!r}]; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
    done = subprocess.run([python.path, "-I", "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(tmp_path / "run"), done.stderr
    assert done.returncode == 1 and "ValueError: bad batch" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [*range(100), 7, 100]
    assert all({"phase/data_s", "loss", "lr"} <= line.keys() for line in lines[:100])
    assert "RunLog: 'text' is not logged" in done.stderr
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["config"] == {"lr": 0.1, "odd": [1, 2], "seed": 7} and info["command"]
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["start", "checkpoint", "end"]
    assert (events[-1]["status"], events[-1]["reason"]) == ("crashed", "ValueError: bad batch")
    as_wandb = json.loads((tmp_path / "as-wandb" / "metrics.jsonl").read_text())
    assert (as_wandb["step"], as_wandb["train.loss"]) == (0, 0.5)
    assert json.loads((tmp_path / "as-wandb" / "run.json").read_text())["config"]["seed"] == 7
    text = (tmp_path / "run" / "all.log").read_text()
    assert "INFO said\n" in text and "WARNING logged\n" in text and "Traceback" in text and "child" not in text
