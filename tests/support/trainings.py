"""Trainings to test: as a process of its own, as a person starts it, or here, without the seconds that PyTorch takes to load."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from trainer.stop import SIGNALS
from trainer.train import main


@contextmanager
def training(folder: Path, *flags: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m trainer` in a folder of its own, where it writes to ./logs; warnings are errors."""
    with command(folder, sys.executable, "-W", "error", "-m", "trainer", *flags, **environment) as process:
        yield process


@contextmanager
def command(folder: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    everything = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(
        words, cwd=folder, env=everything, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def train(folder: Path, *flags: str, code: int = 0) -> str:
    """What it said on stderr."""
    with training(folder, *flags) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
    return errors


def train_here(folder: Path, *flags: str) -> int:
    """The same in this process, whose signals and logging are as before afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    handlers = logging.getLogger("trainer").handlers[:]
    try:
        return main(["--log-dir", str(folder / "logs"), "--device", "cpu", *flags])
    finally:
        logging.getLogger("trainer").handlers[:] = handlers
        for number, handler in before.items():
            signal.signal(number, handler)


def lines_of(folder: Path, run: str, file: str = "metrics.jsonl") -> list[dict[str, Any]]:
    path = folder / "logs" / run / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def values_of(folder: Path, run: str, series: str, file: str = "metrics.jsonl") -> dict[int, float]:
    return {line["step"]: line[series] for line in lines_of(folder, run, file) if series in line}


def events_of(folder: Path, run: str, kind: str) -> list[dict[str, Any]]:
    """Of all ranks, in their order."""
    files = sorted(path.name for path in (folder / "logs" / run).glob("events*.jsonl"))
    return [event for file in files for event in lines_of(folder, run, file) if event["kind"] == kind]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])
