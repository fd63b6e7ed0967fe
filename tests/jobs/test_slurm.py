"""A real Slurm on loopback: jobs are submitted, held, pre-empted, requeued and cancelled, and each is one run of the log folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from jobs.request import JobRequest
from jobs.slurm import Slurm, SlurmError, SlurmJob, SlurmSite
from tests.conftest import Dashboard, dashboard, wait_for
from tests.support.slurm_cluster import cluster, needs_slurm

pytestmark = needs_slurm
TRAINING = """
import os, signal, sys
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
print("attempt", os.environ.get("SLURM_RESTART_COUNT", "0"), *sys.argv[1:], flush=True)
while "--resume" not in sys.argv:
    signal.sigtimedwait([], 0.05)
    if stopped:
        print("saved", len(stopped), flush=True)
        sys.exit(0)
print("done", flush=True)
"""
FIRST = "sweep/50 %j, é"
ODD = "sweep/50 %j, \\ \\\\ %"
TRAIN = (sys.executable, "-c", TRAINING)
SLEEP = ("sleep", "300")


class Here(NamedTuple):
    folder: Path
    logs: Path
    running: Dashboard


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    logs = tmp_path_factory.mktemp("slurm") / "logs"
    with cluster() as folder, dashboard(logs, "--no-profile") as running:
        yield Here(folder, logs, running)


@pytest.fixture
def clean(here: Here) -> Iterator[None]:
    yield
    subprocess.run(["scancel", "--me"], check=True)


def request(
    *argv: str, resume: tuple[str, ...] | None = None, cores: int = 1, high: bool = False, **environment: str
) -> JobRequest:
    return JobRequest(
        argv, "/", "family", cores, high, resume_argv=resume, environment={"PATH": os.environ["PATH"], **environment}
    )


CORES = SlurmSite(slots="cores", partition="low", high_partition="urgent")


def submitted(
    here: Here, name: str, asked: JobRequest, site: SlurmSite = CORES
) -> tuple[Slurm, int, Callable[[], SlurmJob]]:
    slurm = Slurm(site)
    job = slurm.submit(asked, name, here.logs / name)
    return slurm, job, lambda: slurm.look({job: here.logs / name})[job]


def in_state(look: Callable[[], SlurmJob], *states: str, timeout_s: float = 30.0) -> SlurmJob:
    wait_for(lambda: look().state in states, timeout_s, f"not {states}: {look()}")
    return look()


def output(here: Here, name: str) -> str:
    path = here.logs / name / "output.log"
    return path.read_text() if path.exists() else ""


def run_is(here: Here, name: str, state: str) -> None:
    wait_for(
        lambda: here.running.run(name).get("state") == state, because=f"{name} is not {state}: {here.running.run(name)}"
    )
    assert [run["run"] for run in here.running.get("/api/v1/runs")["runs"]].count(name) == 1


def test_a_job_is_a_run_with_its_output_and_its_end(here: Here, clean: None) -> None:
    odd = ["$(touch no)", "a\nb", "'\"", "é\u2028", "", "%j"]
    slurm, job, look = submitted(here, FIRST, request("sh", "-c", 'printf "%s|" "$@"; exit 3', "sh", *odd, A="1\n2"))
    ended = in_state(look, "failed")
    assert (ended.exit_code, ended.reason, ended.restarts, ended.id) == (3, "ended with exit code 3", 0, job)
    assert output(here, FIRST) == "|".join([*odd, ""])
    assert ended.start_s and ended.end_s and time.time() - 60 < ended.start_s <= ended.end_s
    run_is(here, FIRST, "failed")
    assert (here.logs / FIRST / "slurm.log").read_text() == ""
    in_state(submitted(here, ODD, request("true"))[2], "finished")
    assert (here.logs / ODD / "slurm.log").exists()
    assert len(list((here.logs / "sweep").iterdir())) == 2
    slurm.forget(here.logs / FIRST)
    assert not list((here.logs / FIRST).glob(".job*"))


def test_gpus_are_what_slurm_gives(here: Here, clean: None) -> None:
    asked = request("sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES $A"', A="x", CUDA_VISIBLE_DEVICES="9")
    in_state(submitted(here, "gpus", asked._replace(slots=2), SlurmSite())[2], "finished")
    assert output(here, "gpus") == "0,1 x\n"
    with pytest.raises(
        SlurmError, match="Slurm refused the job: Requested node configuration is not available; no node has so many"
    ):
        submitted(here, "many", asked._replace(slots=9), SlurmSite())
    with pytest.raises(
        SlurmError, match="Slurm refused the job: Invalid partition name specified; choose one that `sinfo` lists"
    ):
        submitted(here, "nowhere", asked, SlurmSite(partition="nowhere"))
    with pytest.raises(SlurmError, match="GPUs of this type"):
        submitted(here, "kind", asked, SlurmSite(gpu_type="h900"))


def test_a_job_waits_is_held_released_and_cancelled(here: Here, clean: None) -> None:
    slurm, first, look_first = submitted(here, "first", request(*SLEEP, cores=4))
    running = in_state(look_first, "running")
    assert running.nodes and running.reason == ""
    run_is(here, "first", "running")
    _, second, look = submitted(here, "second", request("true", cores=4))
    wait_for(lambda: "waits" in look().reason)
    slurm.hold(second)
    assert in_state(look, "held").reason == "held; `deepseek-jobs release` lets it go"
    wait_for(lambda: "process" in [event["kind"] for event in here.running.get("/api/v1/events?run=first")["events"]])
    slurm.cancel(first)
    assert in_state(look_first, "cancelled").reason == "cancelled"
    assert look().state == "held"
    slurm.release(second)
    in_state(look, "finished")
    run_is(here, "first", "killed")
    assert here.running.run("first")["state_reason"] == f"Job {first} was cancelled"
    slurm.cancel(first)
    _, third, look = submitted(here, "third", request("true", cores=4))
    slurm.hold(third)
    slurm.cancel(third)
    assert in_state(look, "cancelled").start_s is None or not (here.logs / "third" / "run.json").exists()


def test_jobs_that_are_preempted_save_and_go_on_as_the_same_runs(here: Here, clean: None) -> None:
    """One is ended at once; the other one's partition has a grace time, in which it ends by itself."""
    asked = request(*TRAIN, resume=(*TRAIN, "--resume"), cores=2)
    places = {"victim": CORES, "patient": CORES._replace(partition="patient")}
    looks = {name: submitted(here, name, asked, site)[2] for name, site in places.items()}
    for name, look in looks.items():
        in_state(look, "running")
        wait_for(lambda name=name: output(here, name))  # type: ignore[misc]
    in_state(submitted(here, "urgent", request("sh", "-c", "echo now", cores=4, high=True))[2], "finished")
    for name, look in looks.items():
        assert in_state(look, "finished").restarts == 1
        assert output(here, name) == "attempt 0\nsaved 1\nattempt 1 --resume\ndone\n"
        run_is(here, name, "finished")
    assert "it made room for another job; Slurm starts it again" in (here.logs / "patient" / "slurm.log").read_text()


def test_a_requeue_is_a_new_attempt_of_the_same_run(here: Here, clean: None) -> None:
    slurm, job, look = submitted(here, "again", request(*TRAIN, resume=(*TRAIN, "--resume")))
    wait_for(lambda: output(here, "again"))
    run_is(here, "again", "running")
    wait_for(lambda: "process" in [event["kind"] for event in here.running.get("/api/v1/events?run=again")["events"]])
    slurm.requeue(job)
    run_is(here, "again", "requeued")
    assert here.running.run("again")["state_reason"] == f"Slurm has put job {job} back into its queue"
    assert in_state(look, "finished").restarts == 1
    assert output(here, "again") == "attempt 0\nsaved 1\nattempt 1 --resume\ndone\n"
    run_is(here, "again", "finished")
    once = submitted(here, "once", request(*SLEEP))
    in_state(once[2], "running")
    with pytest.raises(SlurmError, match="cannot requeue it"):
        slurm.requeue(once[1])


def test_a_job_whose_number_was_lost_is_found_and_never_runs_twice(here: Here, clean: None) -> None:
    blocking = submitted(here, "blocking", request(*SLEEP, cores=4))
    in_state(blocking[2], "running")
    asked = request("sh", "-c", "echo ran", cores=4)
    slurm, lost, _ = submitted(here, "lost", asked)
    found = slurm.find(here.logs / "lost")
    assert found is not None and found.id == lost
    assert slurm.find(here.logs / "none") is None
    newer = slurm.submit(asked, "lost", here.logs / "lost")
    slurm.cancel(blocking[1])
    wait_for(lambda: all(job.is_over for job in slurm.look(dict.fromkeys([lost, newer], here.logs / "lost")).values()))
    assert output(here, "lost") == "ran\n"
    ran = slurm.find(here.logs / "lost")
    assert ran is not None and (ran.id, ran.is_over) == (newer, True)
    slurm.forget(here.logs / "lost")
    assert slurm.find(here.logs / "lost") is None


def test_a_controller_that_is_gone_is_one_sentence(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = here.folder / "gone.conf"
    text = (here.folder / "slurm.conf").read_text()
    conf.write_text(
        "\n".join("SlurmctldPort=1" if line.startswith("SlurmctldPort") else line for line in text.splitlines())
    )
    conf.write_text(f"{conf.read_text()}\nMessageTimeout=2\n")
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setattr("jobs.slurm.ASK_S", 2.0)
    with pytest.raises(SlurmError) as error:
        Slurm(CORES).look({1: here.logs})
    assert json.dumps(str(error.value)).count("\\n") == 0
