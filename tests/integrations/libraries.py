"""Real libraries write, the tail reads beside them: the same series, steps and values as the library itself reads back.

make test-integrations    those of requirements.txt; MLflow, wandb and lm-evaluation-harness in `make test-long`
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collectors.records import LogLine, Points
from collectors.store.engines import open_store
from dashboard.archive import write_event_files
from tests.integrations.environment import PYTHON, SKIPPED, is_ready, plain_environment
from tests.support.following import Follower, check_told, count_of

PROGRAMS = Path(__file__).parent / "programs"
SHORT = ("torch_tensorboard", "tensorboardx_scalars", "hf_trainer", "lightning_csv", "pandas_csv", "trackio_log")
LONG = ("mlflow_files", "mlflow_sqlite", "wandb_offline", "lm_eval_scores")
WITHIN_S = 100.0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("program", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_what_a_library_logs_is_read_live_and_as_it_reads_it_itself(program: str, tmp_path: Path) -> None:
    if not is_ready("long" if program in LONG else "short"):
        pytest.skip(SKIPPED)
    logs, told_file, out = tmp_path / "logs", tmp_path / "told.json", tmp_path / "out.txt"
    logs.mkdir()
    follower = Follower(logs)
    command = [str(PYTHON), str(PROGRAMS / f"{program}.py"), str(logs), str(told_file)]
    with out.open("w") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, cwd=tmp_path, text=True, env=plain_environment()
        )
    try:
        deadline = time.monotonic() + WITHIN_S
        while "half\n" not in out.read_text():
            assert process.poll() is None and time.monotonic() < deadline, out.read_text()
            follower.collect()
            follower.wake.wait(0.1)
        early = len(follower.values(1))
        process.communicate("\n", timeout=WITHIN_S)
        assert process.returncode == 0, out.read_text()
        told = json.loads(told_file.read_text())
        count = count_of(told)
        found = len(follower.values(count))
        assert 0 < early < count <= found
        follower.restart()
        assert len(follower.values(count)) == found  # nothing comes twice
        check_told(follower.records, told)
    finally:
        follower.tail.close()
        process.kill()
        process.wait()


def test_tensorboard_reads_an_exported_run_as_it_was_logged(tmp_path: Path) -> None:
    if not is_ready("short"):
        pytest.skip(SKIPPED)
    values = [0.5, -3.25, 1e-30, 1e30, math.inf, 0.0]
    store = open_store(tmp_path / "store", write=True)
    store.append(
        [
            Points("a", (), ("train/loss", "ä"), (value, 2.0), 1764e6 + step / 8, step * 1000)
            for step, value in enumerate(values)
        ]
    )
    write_event_files(store, "a", tmp_path / "out")
    store.close()
    command = [str(PYTHON), str(PROGRAMS / "read_event_files.py"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=plain_environment(), timeout=WITHIN_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    moments = [(1764e6 + step / 8, step * 1000) for step in range(len(values))]
    assert [(time_s, step) for time_s, step, _ in found["train/loss"]] == moments
    assert [value for *_, value in found["train/loss"]] == pytest.approx(values, rel=1e-6)
    assert [value for *_, value in found["ä"]] == [2.0] * len(values)


def test_the_environment_has_its_own_libraries_and_those_of_the_project() -> None:
    if not is_ready("short"):
        pytest.skip(SKIPPED)
    code = "import torch, trackio; print(torch.__file__, trackio.__file__)"
    answer = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True, env=plain_environment())
    torch_place, trackio_place = answer.stdout.split()
    assert Path(torch_place).is_relative_to(Path(sys.prefix)) and Path(trackio_place).is_relative_to(PYTHON.parents[1])


@pytest.mark.parametrize("suffix", ["log", "jsonl"])
@pytest.mark.parametrize("library", ["structlog", "loguru", "pythonjsonlogger"])
def test_a_structured_logger_writes_text_with_levels_and_fields(library: str, suffix: str, tmp_path: Path) -> None:
    if not is_ready("short"):
        pytest.skip(SKIPPED)
    file = tmp_path / "logs" / "a" / f"train.{suffix}"
    file.parent.mkdir(parents=True)
    command = [str(PYTHON), str(PROGRAMS / "structured.py"), library]
    file.write_bytes(subprocess.check_output(command, env=plain_environment(), timeout=WITHIN_S))
    follower = Follower(tmp_path / "logs")
    follower.collect()
    lines = [record for record in follower.records if isinstance(record, LogLine)]
    assert [line.level for line in lines[:6]] == [20, 20, 20, 20, 30, 40]
    assert [line.text.split(" ")[0] for line in lines[:6]] == ["loading", "step", "step", "step", "retrying", "step"]
    assert all(abs(line.time_s - time.time()) < WITHIN_S for line in lines)
    assert lines[-2].text == "ValueError: bad label"
    follower.tail.close()
