"""What a job of Slurm runs on its node, with the real batch script and without Slurm: any arguments, once, the same run after a requeue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.machine.proc import descendants
from collectors.records import LogLine
from collectors.store.store import LogQuery
from jobs.request import JobRequest
from jobs.slurm import (
    Slurm,
    SlurmError,
    SlurmJobSpec,
    SlurmJobSpecError,
    SlurmSite,
    claim,
    forget,
    hand_over,
    started_on_node,
    take,
)
from jobs.slurm_node import environment_of
from tests.conftest import dashboard, wait_for
from tests.support.ingesting import Ingest

PATH = {"PATH": "/usr/bin:/bin"}
COUNTS = """
import os, signal, sys, time
count = 0
def note(number, frame):
    global count
    count += 1
signal.signal(signal.SIGTERM, note)
print("ready", *sys.argv[1:], flush=True)
while not count:
    time.sleep(0.02)
time.sleep(float(os.environ.get("LINGERS_S", 0.4)))
print("signals", count, flush=True)
"""


def handed(folder: Path, argv: Sequence[str], resume: Sequence[str] | None = None, **environment: str) -> list[str]:
    """The command that Slurm runs for it."""
    folder.mkdir(parents=True, exist_ok=True)
    resume_argv = None if resume is None else tuple(resume)
    hand_over(folder, SlurmJobSpec("t", tuple(argv), resume_argv, "/", {**PATH, **environment}, str(folder.parent)))
    return started_on_node(folder, "t")


@contextmanager
def node(command: Sequence[str], job: str = "17", **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    everything = {**PATH, "SLURM_JOB_ID": job, "ENDS_WITH": os.environ.get("ENDS_WITH", ""), **environment}
    with subprocess.Popen(command, env=everything, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def run(command: Sequence[str], job: str = "17", **environment: str) -> tuple[int, str]:
    """Its exit code, and what it says in the job's own log."""
    with node(command, job, **environment) as process:
        said = process.communicate(timeout=60)[1]
        return process.returncode, said.decode()


def output(folder: Path) -> bytes:
    path = folder / "output.log"
    return path.read_bytes() if path.exists() else b""


ARGUMENT = st.binary(max_size=60).map(lambda data: os.fsdecode(data.replace(b"\0", b""))) | st.sampled_from(
    [
        "$(touch no)",
        "`id`",
        "a b",
        "'",
        '"',
        "\n",
        "\\",
        "%j",
        "*",
        "-c",
        "--",
        "é\u2028\U0001f600",
        "",
        "x;y",
        "${HOME}",
        "#SBATCH --wrap",
    ]
)


@settings(max_examples=12)
@given(st.lists(ARGUMENT, min_size=1, max_size=8))
def test_any_argument_arrives_unchanged_through_the_real_script(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        code, said = run(handed(folder, ["/bin/sh", "-c", "printf '%s\\0' \"$@\"", "sh", *arguments]))
        assert (code, said) == (0, "")
        assert output(folder) == b"".join(os.fsencode(argument) + b"\0" for argument in arguments)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -9 $$"], 137, ""),
        (["no-such-program"], 127, "the program no-such-program cannot be run on this node: No such file or directory"),
        (["/etc/passwd"], 126, "the program /etc/passwd cannot be run on this node: Permission denied"),
    ],
)
def test_the_job_ends_as_its_program_did(argv: list[str], code: int, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found, text = run(handed(folder, argv))
    assert (found, said in text) == (code, True)
    about = json.loads((folder / "exit.json").read_text())
    assert (about["code"] if about["code"] is not None else 128 + about["signal"]) == code


def test_a_working_folder_that_the_node_lacks_is_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    hand_over(folder, SlurmJobSpec("t", ("true",), None, "/no/such/folder", {}, str(tmp_path)))
    code, said = run(started_on_node(folder, "t"))
    assert code == 125 and "the folder /no/such/folder cannot be entered on this node" in said
    assert json.loads((folder / "exit.json").read_text())["code"] == 125


def test_the_environment_is_what_was_allowed_and_what_slurm_says(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = handed(folder, ["env", "-0"], SECRET="a\nb", CUDA_VISIBLE_DEVICES="7", SLURM_JOB_ID="1", HOME="/home/me")
    assert run(command, CUDA_VISIBLE_DEVICES="0")[0] == 0
    found = dict(pair.split("=", 1) for pair in output(folder).decode().split("\0") if pair)
    assert (found["SECRET"], found["HOME"], found["CUDA_VISIBLE_DEVICES"], found["SLURM_JOB_ID"]) == (
        "a\nb",
        "/home/me",
        "0",
        "17",
    )
    assert found["DEEPSEEK_RUN_FOLDER"] == str(folder)
    assert (folder / ".job.json").stat().st_mode & 0o777 == 0o600


def test_what_slurm_says_of_gpus_wins() -> None:
    found = environment_of(
        {"CUDA_VISIBLE_DEVICES": "7", "A": "1"}, {"CUDA_VISIBLE_DEVICES": "0", "A": "2"}, Path("/run")
    )
    assert (found["CUDA_VISIBLE_DEVICES"], found["A"]) == ("0", "1")


def test_a_job_runs_for_one_job_of_slurm_only(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = handed(folder, ["echo", "ran"])
    assert run(command, "17") == (0, "")
    code, said = run(command, "18")
    assert code == 125 and "job 17 of Slurm runs this already" in said
    assert run(command, "17")[0] == 0, "Slurm may start its own job again"
    assert output(folder) == b"ran\nran\n"


def test_a_job_that_was_submitted_again_ends_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    old = handed(folder, ["echo", "ran"])
    assert run(old)[0] == 0
    hand_over(folder, take(folder, "t")._replace(token="u"))
    code, said = run(old)
    assert code == 125 and "this job was submitted again; the newer one runs" in said
    assert run(started_on_node(folder, "u"), "18")[0] == 0
    assert output(folder) == b"ran\nran\n"
    forget(folder)
    assert not list(folder.glob(".job*"))
    with pytest.raises(
        SlurmJobSpecError, match="is not there: the log folder must be on a file system that the nodes share"
    ):
        take(folder, "u")


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, "\ud800"])
def test_a_damaged_file_is_a_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / ".job.json").write_text(text, errors="surrogatepass")
    with pytest.raises(SlurmJobSpecError, match="cannot be read"):
        take(tmp_path, "t")


def test_a_folder_that_cannot_be_written_on_the_node_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlurmJobSpecError, match=r"cannot write to .* on this node"):
        claim(tmp_path / "gone", "t", "17")


def test_a_log_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    slurm = Slurm(SlurmSite(programs=tmp_path))
    with pytest.raises(SlurmError, match=r"cannot write to .* choose another log folder"):
        slurm.submit(JobRequest(("true",), "/", "f"), "a", tmp_path / "file" / "a")
    with pytest.raises(SlurmError, match="the folder /no/such does not exist"):
        slurm.submit(JobRequest(("true",), "/no/such", "f"), "a", tmp_path / "a")


def test_slurms_sigterm_to_all_processes_reaches_the_program_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with node(handed(folder, [sys.executable, "-c", COUNTS])) as process:
        wait_for(lambda: output(folder) == b"ready\n")
        for pid in [process.pid, *descendants(process.pid)]:
            os.kill(pid, signal.SIGTERM)
        assert process.wait(20) == 0
    assert output(folder) == b"ready\nsignals 1\n"


@pytest.mark.parametrize("resumes", [True, False])
def test_a_program_that_is_asked_to_make_room_gets_sigterm_and_its_job_a_new_start(
    resumes: bool, tmp_path: Path
) -> None:
    folder, bin_folder = tmp_path / "run", tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "scontrol").write_text(
        f'#!/bin/sh\n[ "$1" = --json ] && echo "{{}}" || echo "$@" >>{tmp_path}/calls\n'
    )
    (bin_folder / "scontrol").chmod(0o755)
    python = [sys.executable, "-c", COUNTS]
    with node(
        handed(folder, python, [*python, "--resume"] if resumes else None), PATH=f"{bin_folder}:/usr/bin:/bin"
    ) as process:
        wait_for(lambda: output(folder) == b"ready\n")
        process.send_signal(signal.SIGUSR2)
        process.send_signal(signal.SIGUSR2)
        assert process.wait(20) == 0
    assert output(folder) == b"ready\nsignals 1\n"
    calls = tmp_path / "calls"
    assert (calls.read_text() if calls.exists() else "") == ("requeue 17\n" if resumes else "")


def test_a_warning_with_the_end_itself_is_one_signal_and_no_request(tmp_path: Path) -> None:
    """As Slurm does at a pre-emption without a grace time, where the site sends the user's signal, too."""
    folder = tmp_path / "run"
    python = [sys.executable, "-c", COUNTS]
    with node(handed(folder, python, python, LINGERS_S="1.5"), PATH="/nowhere") as process:
        wait_for(lambda: output(folder) == b"ready\n")
        process.send_signal(signal.SIGUSR2)
        for pid in [process.pid, *descendants(process.pid)]:
            os.kill(pid, signal.SIGTERM)
        assert process.wait(20) == 0
    assert output(folder) == b"ready\nsignals 1\n"


def test_a_job_that_made_room_and_is_not_started_again_has_not_finished(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    python = [sys.executable, "-c", COUNTS]
    with node(handed(folder, python, python), PATH="/nowhere") as process:
        wait_for(lambda: output(folder) == b"ready\n")
        process.send_signal(signal.SIGUSR2)
        assert process.wait(20) == 75
    about = json.loads((folder / "exit.json").read_text())
    assert about["code"] == 75
    assert (
        about["last_lines"][-1].partition(";")[0]
        == "it made room, and Slurm does not start it again: Slurm's program scontrol cannot be run (No such file or directory)"
    )


def test_a_time_limit_that_leaves_no_time_for_work_is_no_loop(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    python = [sys.executable, "-c", COUNTS]
    times = {"SLURM_JOB_START_TIME": "1764000000", "SLURM_JOB_END_TIME": "1764000120"}
    with node(handed(folder, python, python), PATH="/nowhere", **times) as process:
        wait_for(lambda: output(folder) == b"ready\n")
        process.send_signal(signal.SIGUSR2)
        assert process.wait(20) == 75
    assert "its time limit leaves no time for work" in (folder / "exit.json").read_text()


def test_a_job_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "new"
    command = handed(folder, ["sh", "-c", "echo began"], ["sh", "-c", "echo none; exit 66"])
    assert run(command)[0] == 0
    code, said = run(command)
    assert (code, output(folder)) == (0, b"began\nnone\nbegan\n") and "there is no checkpoint yet" in said
    assert json.loads((folder / "exit.json").read_text())["code"] == 0


def test_a_job_that_is_started_again_resumes_as_the_same_run(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    folder = logs / "night"
    python = [sys.executable, "-c", COUNTS]
    with dashboard(logs, "--no-profile") as running:
        for attempt, said in enumerate(["ready", "ready --resume"]):
            with node(handed(folder, python, [*python, "--resume"]), SLURM_RESTART_COUNT=str(attempt)) as process:
                wait_for(lambda said=said: output(folder).endswith(f"{said}\n".encode()))  # type: ignore[misc]
                wait_for(lambda: running.run("night").get("state") == "running", because=str(running.run("night")))
                for pid in [process.pid, *descendants(process.pid)]:
                    os.kill(pid, signal.SIGTERM)
                assert process.wait(20) == 0
            wait_for(lambda: running.run("night").get("state") == "preempted", because=str(running.run("night")))
            assert json.loads((folder / "exit.json").read_text())["stopped_by"] == signal.SIGTERM
        records = np.frombuffer((folder / ".output.log.times").read_bytes(), "<u8").reshape(-1, 3)
        assert len(records) == 4 and (np.diff(records[:, :2], axis=0) > 0).all(), (
            "the times of the first attempt are kept"
        )
        later = Ingest(logs)
        later.until(lambda: len(lines_of(later)) == 4, "the lines are not read")
        found = [line.time_s for line in lines_of(later) if line.time_s is not None]
        assert len(found) == 4 and found == sorted(found) and found[2] - found[0] > 0.3, (
            "of both attempts, for who looks later"
        )
        later.close()
        wait_for(lambda: "signals" in shown(running.get("/api/v1/logs?run=night")), because="its output is not shown")
        assert [run["run"] for run in running.get("/api/v1/runs")["runs"]] == ["night"]
        assert shown(running.get("/api/v1/logs?run=night")).count("ready") == 2


def lines_of(ingest: Ingest) -> Sequence[LogLine]:
    return ingest.store.logs(LogQuery("night")).lines


def shown(answer: object) -> str:
    return json.dumps(answer)
