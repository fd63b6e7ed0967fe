"""Without --log-dir the usual log folders are found; several are followed at once, in the store of the first one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from access.program import Parser
from collectors.log_folders import common_root, default_log_folders
from collectors.logs.tail import Tail
from collectors.options import CollectorOptions, add_flags, options_of
from collectors.store.engines import open_store
from tests.conftest import ROOT, wait_for
from tests.support.ingesting import Ingest

LINE = '{"time_s": 1764000000.25, "step": %d, "train/loss": 2.5}\n'


def test_folders_in_one_another_are_one() -> None:
    logs, runs, inner = Path("/a/logs"), Path("/a/b/runs"), Path("/a/logs/sweep")
    assert common_root([logs]) == common_root([logs, logs]) == common_root([inner, logs]) == (logs, ())
    assert common_root([logs, runs, inner]) == (Path("/a"), ("logs", "b/runs"))
    assert common_root([logs, Path("/var/runs")]) == (Path("/"), ("a/logs", "var/runs"))


def test_the_usual_folders_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_log_folders() == [Path("logs")]
    for name in ("mlruns", "runs", "src"):
        Path(name).mkdir()
    Path("outputs").touch()
    assert default_log_folders() == [Path("runs"), Path("mlruns")]


def test_the_collector_is_given_the_same_folders(tmp_path: Path) -> None:
    options = CollectorOptions(tmp_path, tmp_path / "data", only=("logs", "b/runs"), front="logs")
    parser = Parser()
    add_flags(parser)
    parsed = parser.parse_args(options.flags())
    assert options_of(parsed, parsed.log_dir, parsed.data_dir) == options
    assert json.loads(json.dumps(options.as_json())) == options.as_json()


@pytest.mark.parametrize("flags", [[], ["--log-dir", "runs", "--log-dir", "logs"]])
@pytest.mark.parametrize("stores", [["logs"], ["logs", "runs"]])
def test_a_store_that_is_not_used_is_said(tmp_path: Path, flags: list[str], stores: list[str]) -> None:
    """In one sentence, with what it means and how to see what it has."""
    for name in ("logs", "runs"):
        (tmp_path / name).mkdir()
    for name in stores:
        open_store(tmp_path / name / ".deepseek", write=True).close()
    command = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--no-profile", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = [
            line
            for line in process.communicate(timeout=60)[1].splitlines()
            if "several log folders have a store" in line
        ]
    used, unused = ("runs", "logs") if flags else ("logs", "runs")
    assert len(said) == (len(stores) > 1)
    assert all(f"{tmp_path / used / '.deepseek'} is used" in line for line in said)
    assert all(f"only in {tmp_path / unused / '.deepseek'} are not shown" in line for line in said)


def start(ingest: Ingest, only: tuple[str, ...], *, poll_only: bool = False) -> None:
    ingest.tail.close()
    ingest.wake = threading.Event()
    ingest.tail = Tail(ingest.root, "box", ingest.store.offsets(), ingest.wake, only=only, poll_only=poll_only)


@pytest.mark.parametrize("poll_only", [False, True])
def test_only_these_folders_are_followed(tmp_path: Path, poll_only: bool) -> None:
    ingest = Ingest(tmp_path / "here")
    only = ("logs", "b/runs")
    for name in (*only, "src", "b/other"):
        (ingest.root / name / "first").mkdir(parents=True)
        (ingest.root / name / "first/metrics.jsonl").write_text(LINE % 1)
        (ingest.root / name / "loose.jsonl").write_text(LINE % 1)
    (ingest.root / "secret.jsonl").write_text(LINE % 1)
    start(ingest, only, poll_only=poll_only)
    (ingest.root / "logs/first/linked.jsonl").symlink_to(ingest.root / "secret.jsonl")
    expected = {"first", "loose", "b/runs/first", "b/runs/loose"}
    ingest.until(lambda: {run.name for run in ingest.store.runs() if run.points} == expected, "others are read")
    ingest.until(lambda: "leaves the log folder" in ingest.tail.trouble(), "a link leaves its folder")
    (ingest.root / "later.jsonl").write_text(LINE % 1)
    for name in ("src", "new", "logs", "b/runs"):
        (ingest.root / name / "later").mkdir(parents=True)
        (ingest.root / name / "later/metrics.jsonl").write_text(LINE % 1)
    with (ingest.root / "logs/loose.jsonl").open("a") as file:
        file.write(LINE % 2)
    expected |= {"later", "b/runs/later"}
    ingest.until(lambda: {run.name for run in ingest.store.runs() if run.points} == expected, "others are read")
    ingest.until(lambda: (run := ingest.run("loose")) and run.points == 2, "not followed")
    start(ingest, only)
    with (ingest.root / "b/runs/first/metrics.jsonl").open("a") as file:
        file.write(LINE % 2)
    ingest.until(lambda: (run := ingest.run("b/runs/first")) and run.points == 2, "not read on")
    ingest.close()


@pytest.mark.parametrize("flags", [[], ["--log-dir", "runs", "--log-dir", "lightning_logs"]])
def test_they_are_said_and_shown(tmp_path: Path, flags: list[str]) -> None:
    for name in ("runs/a", "lightning_logs/version_0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.jsonl").write_text(LINE % 1)
    command = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--no-profile", *flags]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = process.stdout.readline()
        address = re.findall(r"http://\S+", said)[0]

        def runs() -> set[str]:
            with urllib.request.urlopen(f"{address}/api/v1/runs") as answer:
                return {run["run"] for run in json.load(answer)["runs"]}

        try:
            wait_for(lambda: runs() == {"a", "lightning_logs/version_0"})
        finally:
            process.send_signal(signal.SIGINT)
    assert ("runs, lightning_logs; Ctrl-C" if flags else "runs, lightning_logs, found here") in said
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"a", ".deepseek"}
