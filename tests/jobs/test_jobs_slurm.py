"""A real Slurm behind the real daemon and commands, as a user who is not root: submit, run, hold, cancel, pre-empt, and a daemon that is killed."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.slurm import Slurm, SlurmOrder, SlurmSite, answers
from tests.support.jobs_house import OVER, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import ROOT, wait_for
from tests.support.slurm_cluster import cluster, needs_slurm

pytestmark = needs_slurm
TRAINING = """
import signal, sys
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
print("begins", *sys.argv[1:], flush=True)
while "--resume" not in sys.argv:
    signal.sigtimedwait([], 0.05)
    if stopped:
        print("saved", flush=True)
        sys.exit(0)
"""
SITE = {"slots": "cores", "partition": "low", "high_partition": "urgent"}
SLOW = '#!/bin/sh\n{sbatch} "$@" || exit\n[ ! -e {folder}/slow ] || sleep 3\n'  # between Slurm's knowing the job and the number's arrival


def interpreter() -> str:
    """One that any user may run: a job of Slurm has nothing of the rights that `as_user` gives."""
    executable = Path(sys.executable).resolve()
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in executable.parents):
        return sys.executable
    found = shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/bin:/usr/local/bin")
    return found or pytest.skip(
        "the user of the tests cannot run this Python, nor is there one of its version in /usr/bin"
    )


@pytest.fixture(scope="module")
def house() -> Iterator[JobsHouse]:
    python, place = interpreter(), Path(tempfile.mkdtemp(prefix="jobs-"))
    place.chmod(0o755)
    (place / "bin").mkdir()
    sbatch = place / "bin" / "sbatch"
    sbatch.write_text(SLOW.format(sbatch=shutil.which("sbatch"), folder=place))
    sbatch.chmod(0o755)
    with cluster() as folder:
        house = JobsHouse(
            place / "house", rules={"look_s": 0.5, "stop_s": 20, "slurm": SITE}, interpreter=python, SLURM_CONF=str(folder / "slurm.conf"),
            PATH=f"{place / 'bin'}:{os.environ['PATH']}", PYTHONPATH=f"{sysconfig.get_path('purelib')}:{ROOT / 'deepseek-log'}",
        )  # fmt: skip
        try:
            house.start()
            yield house
        finally:
            house.close()
    shutil.rmtree(place, ignore_errors=True)


def submit(house: JobsHouse, code: str, *flags: str) -> int:
    said = house.done("submit", "--place", "slurm", *flags, "--", house.interpreter, "-c", code)
    return int(said.split()[1].rstrip(","))


def of_slurm(house: JobsHouse, *words: str) -> str:
    command = [*as_user(house.uid), *words]
    return subprocess.run(
        command, env=house.environment, cwd="/", capture_output=True, text=True, check=True, timeout=30
    ).stdout


def folder_of(house: JobsHouse, job: int) -> Path:
    return house.logs / str(house.row(job)["run"])


def events(house: JobsHouse, job: int) -> list[str]:
    return [
        json.loads(line)["kind"] for line in (folder_of(house, job) / "events.queue.jsonl").read_text().splitlines()
    ]


@pytest.fixture(autouse=True)
def _leaves_no_job(house: JobsHouse) -> Iterator[None]:
    """A test that fails holds no node of the next one."""
    yield
    for job, row in house.rows().items():
        if row["state"] not in OVER:
            house.done("cancel", str(job))
            house.wait(job)


def test_jobs_at_slurm_run_wait_are_held_and_cancelled(house: JobsHouse) -> None:
    first = submit(
        house, "import time; print('up', flush=True); time.sleep(300)", "--gpus", "4", "--name", "sweep/first"
    )
    row = house.wait(first, "running")
    assert (row["place"], row["run"], len(row["on"]), row["attempts"]) == ("slurm", "sweep/first", 1, 1)
    wait_for(lambda: (folder_of(house, first) / "output.log").exists() and "up" in house.done("logs", str(first)))
    second = submit(house, "print('second')", "--gpus", "4")
    waiting = house.wait_until(
        second, lambda row: "nodes to be free" in row["reason"] or "higher priority" in row["reason"]
    )
    assert waiting["state"] == "queued"
    assert "Slurm plans it" in house.done("explain", str(second)) and "4 slots at Slurm" in house.done("queue")
    house.done("hold", str(second))
    wait_for(lambda: "JobHeldUser" in of_slurm(house, "squeue", "--me", "--noheader", "--format=%r"))
    house.wait(second, "held")
    house.done("cancel", str(first))
    cancelled = house.wait(first)
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "")
    assert json.loads((folder_of(house, first) / "exit.json").read_text())["signal"] == 15
    assert not list(folder_of(house, first).glob(".job*")), "the environment stays nowhere"
    assert events(house, first) == ["submitted", "queued", "cancelled"]
    house.done("release", str(second))
    ended = house.wait(second)
    assert (ended["state"], ended["exit_code"], house.done("logs", str(second))) == ("finished", 0, "second\n")
    failed = house.wait(submit(house, "raise SystemExit(3)"))
    assert (failed["state"], failed["exit_code"], failed["reason"]) == ("failed", 3, "ended with exit code 3")


def test_a_job_that_makes_room_is_two_attempts_of_one_run(house: JobsHouse) -> None:
    resume = f"{house.interpreter} -c {json.dumps('print(2)')}"
    job = submit(house, TRAINING, "--gpus", "4", "--resume-with", resume)
    house.wait(job, "running")
    wait_for(lambda: (folder_of(house, job) / "output.log").exists() and "begins" in house.done("logs", str(job)))
    urgent = submit(house, "print('now')", "--gpus", "4", "--priority", "high")
    assert house.wait(urgent)["state"] == "finished"
    row = house.wait(job)
    assert (row["state"], row["attempts"], row["stops"]) == ("finished", 2, 1)
    assert house.done("logs", str(job)) == "begins\nsaved\n2\n"
    assert len({attempt["slurm"] for attempt in row["attempt_rows"]} - {None}) == 1
    assert "of Slurm): since" in house.done("show", str(job))
    assert events(house, job) == ["submitted", "queued", "requeued", "queued"]


def test_a_daemon_that_is_killed_before_the_number_is_there_finds_the_job(house: JobsHouse) -> None:
    (house.folder.parent / "slow").touch()
    job = submit(house, "import time; print('once', flush=True); time.sleep(2)")
    wait_for(lambda: of_slurm(house, "squeue", "--me", "--noheader", "--format=%i").strip())
    house.kill_daemon()
    (house.folder.parent / "slow").unlink()
    assert house.row(job)["attempts"] == 1 and house.row(job)["exit_code"] is None
    house.start()
    row = house.wait(job)
    assert (row["state"], row["attempts"], house.done("logs", str(job))) == ("finished", 1, "once\n")


def test_what_slurm_refuses_is_a_sentence_and_the_job_waits(house: JobsHouse) -> None:
    job = submit(house, "print(1)", "--gpus", "99")
    row = house.wait_until(job, lambda row: "refused" in row["reason"])
    assert row["state"] == "queued" and "no node has so many GPUs or cores" in row["reason"]
    run = folder_of(house, job)
    assert run.exists()
    house.done("cancel", str(job))
    assert house.wait(job)["state"] == "cancelled" and not run.exists(), "it never was a run"
    assert "--share is for the slots of this host" in house.refused(
        "submit", "--place", "slurm", "--share", "--", "true"
    )


def test_the_door_answers_while_slurm_does_not(house: JobsHouse) -> None:
    hangs, asked = house.folder.parent / "bin" / "squeue", house.folder.parent / "asked"
    asked.touch()
    asked.chmod(0o666)
    hangs.write_text(f'#!/bin/sh\necho asked >> {asked}\nwhile [ -e "$0" ]; do sleep 0.1; done\n')
    hangs.chmod(0o755)
    try:
        house.wait(submit(house, "print(1)"), "queued", "running", "finished")
        wait_for(asked.read_text)
        before = asked.read_text()
        job = submit(house, "print(2)")
        assert asked.read_text() == before, "squeue has not even been given up"
    finally:
        hangs.unlink()
    assert house.wait(job)["state"] == "finished"


def test_a_host_without_slurm_says_so(house: JobsHouse) -> None:
    only = house.folder.parent / "only"
    only.mkdir()
    (only / "setpriv").symlink_to(shutil.which("setpriv") or "/usr/bin/setpriv")
    with_none = JobsHouse(
        house.folder.parent / "none",
        interpreter=house.interpreter,
        PYTHONPATH=house.environment["PYTHONPATH"],
        PATH=str(only),
    )
    try:
        with_none.start()
        said = with_none.refused("submit", "--place", "slurm", "--", "/bin/true")
        assert said.startswith("there is no sbatch in the PATH of the daemon: install slurm-client")
    finally:
        with_none.close()


def test_a_host_that_belongs_to_no_cluster_says_so_and_keeps_no_job_that_cannot_be_cancelled(place: Path) -> None:
    """Slurm's programs are there, and no slurm.conf."""
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this host belongs to a cluster")
    with jobs_house(place / "house", rules={"look_s": 0.2}) as house:
        assert "belongs to no cluster of Slurm" in house.refused("submit", "--place", "slurm", "--", "true")
    order = SlurmOrder(7, 1, None, place / "run", "run", None, True, "cancel")
    slurm = Slurm(SlurmSite())
    (answer,) = answers(slurm, [order])
    assert answer.done == "cancel" and not answer.error
