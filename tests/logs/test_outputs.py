"""Which files are text logs: by their names, and because a run's process has them open as standard output or error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.logs.outputs import OutputFiles
from collectors.logs.recognition import format_of
from collectors.logs.tail import Tail
from collectors.machine.proc import start_ticks
from collectors.machine.run_state import RunProcess
from collectors.store.store import LogQuery
from tests.conftest import dashboard, wait_for
from tests.support.ingesting import Ingest
from tests.support.ingesting import ingest as ingest  # a fixture

TEXTS = [
    "train.log",
    "slurm-123.out",
    "slurm-123_4.err",
    "nohup.out",
    "stdout.log",
    "log.txt",
    "train_log.txt",
    "stderr.txt",
]
TEXTS += ["output-3.txt", "job.stdout.txt", "log2.txt", "LOG.txt"]
DATA = [
    "requirements.txt",
    "corpus.txt",
    "dialog.txt",
    "vocab.txt",
    "catalogue.txt",
    "errand.txt",
    "input.txt",
    "LICENSE",
    "a.outline",
]
DATA += [".log", ".out", ".hidden.log", "merges.txt", "README.txt"]


@pytest.mark.parametrize("name", TEXTS)
def test_text_logs_are_known_by_name(name: str) -> None:
    known = format_of(name)
    assert known is not None and known.name == "text"


@pytest.mark.parametrize("name", DATA)
def test_data_is_no_log(name: str) -> None:
    assert format_of(name) is None


def test_both_files_of_a_job_in_the_log_folder_are_one_run(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path / "logs")
    for name in ("123.out", "123.err"):
        (ingest.root / name).write_text(f"in {name}\n")
    ingest.until(lambda: (run := ingest.run("123")) and run.lines_read == 2, "not read")
    assert [run.name for run in ingest.store.runs()] == ["123"]
    ingest.close()


def test_a_program_that_is_called_like_a_log_is_no_log(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path / "logs")
    (ingest.root / "a").mkdir()
    (ingest.root / "a/a.out").write_bytes(Path(sys.executable).read_bytes()[:100_000])
    (ingest.root / "a/train.log").write_text("fine\n")
    ingest.until(lambda: "program" in ingest.store.offsets().get("a/a.out", ("",) * 11)[10], "not set aside")  # type: ignore[operator]
    ingest.until(lambda: (run := ingest.run("a")) and run.lines_read == 1, "not read")
    assert ingest.tail.trouble() == ""
    ingest.close()


@pytest.fixture
def printing(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that copies what it is given to standard output and error, both files outside the log folder."""
    (tmp_path / "job").mkdir()
    copy = "import sys\nfor line in sys.stdin: print(line, end='', flush=True); print('e:', line, end='', file=sys.stderr, flush=True)"
    with (tmp_path / "job/corpus.txt").open("w") as out, (tmp_path / "job/e").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", copy], stdin=subprocess.PIPE, stdout=out, stderr=errors, text=True
        )
        yield process
        assert process.stdin
        process.stdin.close()
        process.wait()


def say(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin
    process.stdin.write(text)
    process.stdin.flush()


def lines(ingest: Ingest, run: str = "a") -> list[tuple[str, str]]:
    return sorted((line.file, line.text) for line in ingest.store.logs(LogQuery(run, limit=1000)).lines)


def follow(ingest: Ingest, outputs: OutputFiles) -> None:
    ingest.tail.close()
    ingest.tail = Tail(ingest.root, "box", ingest.store.offsets(), ingest.wake, outputs=outputs.files)


def process_of(process: subprocess.Popen[str]) -> RunProcess:
    ticks = start_ticks(process.pid)
    assert ticks is not None
    return RunProcess(process.pid, 0, ticks)


def test_what_a_process_of_a_run_prints_into_any_file_is_text_of_the_run(
    tmp_path: Path, printing: subprocess.Popen[str]
) -> None:
    ingest, outputs = Ingest(tmp_path / "logs"), OutputFiles()
    (ingest.root / "a").mkdir()
    (ingest.root / "a/metrics.jsonl").write_text('{"loss": 1}\n')
    follow(ingest, outputs)
    outputs.look({"a": [process_of(printing)], "b": [process_of(printing)]})
    say(printing, "one\n")
    ingest.until(lambda: len(lines(ingest)) == 2, "not read")
    ingest.close()
    say(printing, "two\n")
    ingest.start()
    follow(ingest, OutputFiles())
    expected = [("job/corpus.txt", "one"), ("job/corpus.txt", "two"), ("job/e", "e: one"), ("job/e", "e: two")]
    ingest.until(lambda: len(lines(ingest)) == 4, "what was printed while nobody followed is not read")
    follow(ingest, outputs)
    for _ in range(3):
        ingest.turn()
    assert lines(ingest) == expected
    assert [run.name for run in ingest.store.runs()] == ["a"]
    ingest.close()


def test_a_run_whose_title_no_folder_can_have_keeps_no_file_from_being_read(
    tmp_path: Path, printing: subprocess.Popen[str], ingest: Ingest
) -> None:
    title, outputs = "损失" * 50, OutputFiles()
    follow(ingest, outputs)
    outputs.look({title: [process_of(printing)]})
    say(printing, "one\n")
    ingest.until(lambda: len(lines(ingest, title)) == 2, "its output is not read")
    ingest.health_passes()


def test_only_files_of_the_process_that_it_writes_and_that_are_here_are_outputs(tmp_path: Path) -> None:
    """Not a device, a pipe, what it only reads, what was deleted, another user's, or what belongs to the dashboard itself."""
    (tmp_path / "data").mkdir()
    taken = []
    for name, flags in (
        ("read", os.O_RDONLY),
        ("written", os.O_WRONLY),
        ("gone", os.O_WRONLY),
        ("data/own", os.O_WRONLY),
    ):
        (tmp_path / name).touch()
        taken.append(os.open(tmp_path / name, flags))
    if os.getuid() == 0:
        (tmp_path / "theirs").touch()
        taken.append(os.open(tmp_path / "theirs", os.O_WRONLY))
        os.chown(tmp_path / "theirs", 12345, 12345)
    taken.append(os.open(os.devnull, os.O_WRONLY))
    (tmp_path / "gone").unlink()
    outputs = OutputFiles([tmp_path / "data"])
    for descriptor in [*taken, subprocess.PIPE]:
        with subprocess.Popen(["sleep", "60"], stdout=descriptor, stderr=subprocess.DEVNULL, text=True) as process:
            outputs.look({"a": [process_of(process)]})
            process.kill()
    assert {path: writer.run for path, writer in outputs.files().items()} == {tmp_path / "written": "a"}
    for descriptor in taken:
        os.close(descriptor)


def test_the_dashboard_follows_the_output_of_a_job(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    (log_dir / "a").mkdir(parents=True)
    code = """
import json, sys, time
with open(sys.argv[1], "w") as log:
    for step in range(1000):
        print(json.dumps({"step": step, "loss": 1 / (1 + step)}), file=log, flush=True)
        print(f"said at {step}", flush=True)
        time.sleep(0.1)
"""
    with (tmp_path / "job-7").open("w") as out, dashboard(log_dir, "--no-profile") as running:
        command = [sys.executable, "-c", code, str(log_dir / "a/metrics.jsonl")]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=tmp_path)
        try:
            lines = wait_for(lambda: running.get("/api/v1/logs?run=a")["lines"] if running.run("a") else [])
        finally:
            process.kill()
            process.wait()
    assert lines[0]["file"] == f"{tmp_path.name}/job-7" and lines[-1]["text"].startswith("said at ")


def test_lines_of_one_output_belong_to_the_run_that_writes_it(tmp_path: Path) -> None:
    """Two trainings one after the other, and then one process that logs two runs in turn."""
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    code = """
import sys, time
from deepseek.log import RunLog
for name in sys.argv[2:]:
    with RunLog(sys.argv[1], name) as log:
        for step in range(40):
            time.sleep(0.1)
            log.scalars(step, {"loss": 1 / (1 + step)})
            print(f"{name} at {step}", flush=True)
"""
    with (tmp_path / "sweep").open("w") as out, dashboard(log_dir, "--no-profile") as running:
        for names in (["a"], ["b"], ["c", "d"]):
            subprocess.run([sys.executable, "-c", code, str(log_dir), *names], stdout=out, cwd=tmp_path, check=True)

        def printed(run: str) -> list[str]:
            found = running.get(f"/api/v1/logs?run={run}&limit=1000").get("lines", [])
            return [line["text"].split()[0] for line in found if line["file"].endswith("/sweep")]

        logs = wait_for(
            lambda: found if sum(map(len, (found := {run: printed(run) for run in "abcd"}).values())) == 160 else {}
        )
        ledgers = {run: running.get(f"/api/v1/ledger?run={run}") for run in "abcd"}
        runs = {run: running.run(run) for run in "abcd"}
    for run in "abcd":
        assert logs[run].count(run) >= 30, "but for what was printed in half a second after the run before"
        assert ledgers[run]["seconds"] == pytest.approx(runs[run]["ended_s"] - runs[run]["started_s"], abs=0.01), run
        assert ledgers[run]["goodput"] > 75, run


def test_what_is_printed_after_the_end_of_a_run_does_not_lengthen_it(tmp_path: Path) -> None:
    log_dir = tmp_path / "logs"
    log_dir.mkdir()
    code = """
import sys, time
from deepseek.log import RunLog
with RunLog(sys.argv[1], "a") as log:
    for step in range(20):
        time.sleep(0.1)
        log.scalars(step, {"loss": 1 / (1 + step)})
for second in range(6):
    time.sleep(0.5)
    print("summary", second, flush=True)
"""
    with (tmp_path / "out").open("w") as out, dashboard(log_dir, "--no-profile") as running:
        subprocess.run([sys.executable, "-c", code, str(log_dir)], stdout=out, cwd=tmp_path, check=True)
        wait_for(lambda: "summary 5" in [line["text"] for line in running.get("/api/v1/logs?run=a").get("lines", [])])
        run, ledger = running.run("a"), running.get("/api/v1/ledger?run=a")
    assert ledger["seconds"] == pytest.approx(run["ended_s"] - run["started_s"], abs=0.01)
    assert ledger["seconds"] < 3.5
