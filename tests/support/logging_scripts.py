"""Scripts that log, and what is in their files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepseek.log import RunLog
from tests.support.running import script

LOG_FOR_EVER = """
import sys
from deepseek.log import RunLog
log = RunLog(sys.argv[1], "run")
step = 0
while True:
    log.scalars(step, loss=step / 2)
    print(step, flush=True)
    step += 1
"""
LOG_THOUSAND = """
import os, sys
from deepseek.log import RunLog
log = RunLog(sys.argv[1], "run")
for step in range(1000):
    log.scalars(step, loss=step / 2)
log.text("logged all")
"""


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps_of(log_dir: Path, file: str = "metrics.jsonl") -> list[int]:
    return [line["step"] for line in lines_of(log_dir / "run" / file)]


def events_of(log_dir: Path, kind: str) -> list[dict[str, Any]]:
    files = sorted((log_dir / "run").glob("events*.jsonl"))
    return [event for file in files for event in lines_of(file) if event["kind"] == kind]


def run_to_its_end(code: str, log_dir: Path, **environment: str) -> subprocess.Popen[str]:
    with script(code, str(log_dir), **environment) as process:
        process.wait(30)
    return process


@pytest.fixture
def log(tmp_path: Path) -> Iterator[RunLog]:
    with RunLog(tmp_path, "run") as log:
        yield log


def said(process: subprocess.Popen[str], at_least: int) -> int:
    """The last step that the script says it has logged; it goes on meanwhile."""
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(at_least)][-1]
