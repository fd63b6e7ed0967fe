"""What Slurm's programs print, of several versions; programs that are missing, slow or odd are one sentence."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import slurm as programs
from jobs.request import JobRequest
from jobs.slurm import (
    Slurm,
    SlurmError,
    SlurmSite,
    exit_code_of,
    job_of,
    jobs_of,
    site_of,
    surroundings,
    time_of,
    whole,
)
from tests.support.slurm_cluster import MISSING

REQUEST = JobRequest(("python", "train.py"), "/", "family")


@pytest.mark.skipif(
    os.environ.get("CI") != "true" or os.geteuid() != 0, reason="elsewhere the tests with a real Slurm may be skipped"
)
def test_ci_has_slurm() -> None:
    assert not MISSING, "`make slurm` installs it"


def put(number: float) -> dict[str, Any]:
    return {"set": True, "infinite": False, "number": number}


UNSET = {"set": False, "infinite": False, "number": 0}
NEWEST = {  # as 23.11 to 25.11 have it
    "job_id": 17,
    "job_state": ["RUNNING"],
    "state_reason": "None",
    "nodes": "node3",
    "start_time": put(1_764_000_000),
    "end_time": put(1_764_086_400),
    "exit_code": {"status": ["SUCCESS"], "return_code": put(0), "signal": {"id": UNSET, "name": ""}},
    "restart_cnt": 1,
    "current_working_directory": "/logs/a",
    "name": "a",
}
OLDER = {
    **NEWEST,
    "job_state": "RUNNING",
    "start_time": 1_764_000_000,
    "end_time": 1_764_086_400,
    "exit_code": 0,
}  # 21.08, 22.05


def answer(*rows: Any, **more: Any) -> bytes:
    return json.dumps({"jobs": rows, "errors": [], "warnings": [], **more}).encode()


@pytest.mark.parametrize("row", [NEWEST, OLDER], ids=["24.11", "22.05"])
def test_a_job_reads_the_same_in_all_versions(row: dict[str, Any]) -> None:
    job = jobs_of(answer(row))[17]
    assert (job.state, job.reason, job.nodes, job.restarts, job.folder) == ("running", "", "node3", 1, "/logs/a")
    assert (job.start_s, job.end_s, job.exit_code) == (1_764_000_000.0, 1_764_086_400.0, None)


@pytest.mark.parametrize(
    ("states", "reason", "state", "said"),
    [
        (["PENDING"], "Resources", "queued", "waits for nodes to be free"),
        ("PENDING", "Priority", "queued", "waits behind jobs with a higher priority"),
        (
            ["PENDING"],
            "QOSMaxGRESPerUser",
            "queued",
            "waits: a limit of its user, account or QOS is reached (QOSMaxGRESPerUser)",
        ),
        (["PENDING"], "SomethingNew", "queued", "waits; Slurm says: SomethingNew"),
        (["PENDING"], "JobHeldUser", "held", "held; `deepseek-jobs release` lets it go"),
        (["PENDING", "REQUEUE_HOLD"], "launch_failed_requeued_held", "held", "held: it could not be started"),
        (["CONFIGURING", "RUNNING"], "None", "starting", "its node is being started"),
        (["RUNNING", "COMPLETING"], "None", "stopping", "it is ending"),
        (["SUSPENDED"], "None", "suspended", "Slurm has suspended it"),
        (["COMPLETED"], "None", "finished", ""),
        (["TIMEOUT"], "TimeLimit", "failed", "Slurm ended it: its time limit was reached"),
        (["OUT_OF_MEMORY"], "OutOfMemory", "failed", "its host's memory ran out"),
        (["NODE_FAIL"], "NodeDown", "lost", "its node failed"),
        (["PREEMPTED"], "None", "preempted", "Slurm gave its place to another job"),
        (["CANCELLED"], "None", "cancelled", "cancelled"),
        (["HIBERNATING"], "None", "unknown", "Slurm says HIBERNATING, which this version does not know"),
    ],
)
def test_states_and_reasons_are_words(states: object, reason: str, state: str, said: str) -> None:
    job = job_of({**NEWEST, "job_state": states, "state_reason": reason})
    assert job is not None and job.state == state
    assert job.reason.startswith(said) if said else job.reason == ""


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, 0),
        (3 << 8, 3),
        (9, 137),
        ({"status": "ERROR", "return_code": 3}, 3),
        ({"status": ["ERROR"], "return_code": put(3), "signal": {"id": UNSET, "name": ""}}, 3),
        ({"status": ["SIGNALED"], "return_code": UNSET, "signal": {"id": put(9), "name": "KILL"}}, 137),
        ({"status": "SIGNALED", "return_code": 0, "signal": {"signal_id": 15, "name": "TERM"}}, 143),
        ("0:0", None),
        (None, None),
    ],
)
def test_exit_codes_have_three_forms(value: object, code: int | None) -> None:
    assert exit_code_of(value) == code


def test_a_failure_says_its_code_and_a_signal_by_name() -> None:
    by_signal = {"status": ["SIGNALED"], "return_code": UNSET, "signal": {"id": put(9), "name": "KILL"}}
    by_code = {"status": ["ERROR"], "return_code": put(3), "signal": {"id": UNSET}}
    found = [job_of({**NEWEST, "job_state": ["FAILED"], "exit_code": code}) for code in (by_signal, by_code)]
    assert [(job.reason, job.exit_code) for job in found if job] == [
        ("ended by SIGKILL", 137),
        ("ended with exit code 3", 3),
    ]


@pytest.mark.parametrize(
    "value", [None, 0, True, "7", put(float("nan")), {"set": True, "infinite": True, "number": 7}, UNSET, {}, []]
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert time_of(value) is None


def test_zero_is_a_number() -> None:
    assert (whole(0), whole(put(0)), whole(-1), whole(float("inf"))) == (0, 0, None, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*NEWEST, "set", "number", "id", "signal"]), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(list(NEWEST)), JSON))
def test_no_row_is_an_error(row: dict[str, Any]) -> None:
    for odd in (row, {**NEWEST, **row}):
        jobs_of(answer(odd))


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_jobs_or_a_sentence(output: bytes) -> None:
    try:
        jobs_of(output)
    except SlurmError as error:
        assert "\n" not in str(error)


def test_a_deep_answer_is_a_sentence() -> None:
    with pytest.raises(SlurmError, match="not JSON"):
        jobs_of(b"[" * 200_000)


def scripts(folder: Path, **texts: str) -> Slurm:
    """With programs of Slurm that print what a test wants."""
    for name, text in texts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return Slurm(SlurmSite(programs=folder))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            "Unable to contact slurm controller",
        ),
        ("echo 'JOBID PARTITION NAME'", "Slurm's answer is not JSON; squeue --json needs Slurm 21.08 or newer"),
        ("echo '{\"jobs\": 7}'", 'has no list "jobs"'),
        ("exit 3", "squeue failed: exit code 3"),
        ('echo \'{"jobs": [], "errors": [{"error": "no"}]}\'', "Slurm's answer has errors: [{"),
        ("kill -9 $$", "squeue failed: exit code -9"),
        ("exec cat /dev/zero", "squeue printed more than 1 MiB"),
        ("exec sleep 90", "squeue did not answer within 0.5 s"),
        ("exec >&- 2>&-; exec sleep 90", "squeue did not answer within"),
    ],
)
def test_an_odd_squeue_is_one_sentence(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.slurm.ASK_S", 0.5 if "sleep" in text else 20.0)
    call = programs.call
    monkeypatch.setattr(programs, "call", lambda argv, within_s: call(argv, within_s, 1 << 20))
    began_s = time.monotonic()
    with pytest.raises(SlurmError) as error:
        scripts(tmp_path, squeue=text).look({17: tmp_path})
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert time.monotonic() - began_s < 60


def test_a_missing_program_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"squeue cannot be run .*install slurm-client"):
        Slurm(SlurmSite(programs=tmp_path)).look({17: tmp_path})
    with pytest.raises(SlurmError, match="sbatch cannot be run"):
        Slurm(SlurmSite(programs=tmp_path)).submit(REQUEST, "a", tmp_path / "a")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: Invalid partition name specified", "Slurm refused the job: Invalid partition name specified; choose one that `sinfo` lists"),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "no node has so many GPUs"),
        ("sbatch: error: Invalid generic resource (gres) specification", "this cluster has no such GPUs"),
        ("", "Slurm refused the job: exit code 1"),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_what_to_do(said: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(SlurmError) as error:
        scripts(tmp_path, sbatch=f"printf '%s\\n' '{said}' >&2; exit 1").submit(REQUEST, "a", tmp_path / "a")
    assert sentence in str(error.value)


def test_an_answer_without_a_number_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match="Slurm refused the job"):
        scripts(tmp_path, sbatch="echo hello").submit(REQUEST, "a", tmp_path / "a")
    assert scripts(tmp_path, sbatch="echo '17;cluster'").submit(REQUEST, "a", tmp_path / "a") == 17


@pytest.mark.parametrize(
    ("text", "state", "code"),
    [
        ('{"code": 0, "signal": null, "ended_s": 1764000000.5}', "finished", 0),
        ('{"code": 3, "signal": null, "ended_s": 1764000000.5}', "failed", 3),
        ('{"code": null, "signal": 15, "ended_s": 1764000000.5}', "failed", 143),
        ('{"code": 0, "signal": null, "stopped_by": 15, "ended_s": 1764000000.5}', "preempted", 0),
        ("", "lost", None),
        ("[" * 100_000, "lost", None),
        ('{"code": 0}', "lost", None),
    ],
)
def test_what_slurm_has_forgotten_is_as_its_run_ended(text: str, state: str, code: int | None, tmp_path: Path) -> None:
    (tmp_path / "exit.json").write_text(text)
    slurm = scripts(tmp_path, squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    job = slurm.look({17: tmp_path})[17]
    assert (job.state, job.exit_code, job.is_over) == (state, code, True)


def test_no_job_is_no_question(tmp_path: Path) -> None:
    assert Slurm(SlurmSite(programs=tmp_path)).look({}) == {}


def test_one_call_asks_for_all(tmp_path: Path) -> None:
    rows = answer(*({**NEWEST, "job_id": number} for number in range(1, 1001)))
    (tmp_path / "rows").write_bytes(rows)
    slurm = scripts(tmp_path, squeue=f"echo \"$@\" >>'{tmp_path}/calls'; cat '{tmp_path}/rows'")
    found = slurm.look(dict.fromkeys(range(1, 1002), tmp_path))
    assert sum(job.state == "running" for job in found.values()) == 1000 and found[1001].state == "lost"
    assert (tmp_path / "calls").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("method", "said", "sentence"),
    [
        ("hold", "scontrol: error: Invalid job id specified", "job 17 of Slurm: cannot hold it: it is over"),
        ("release", "slurm_suspend error: Access/permission denied", "cannot release it: "),
        ("requeue", "Job is not requeueable for job 17", "cannot requeue it: Job is not requeueable"),
    ],
)
def test_a_change_that_slurm_refuses_is_one_sentence(method: str, said: str, sentence: str, tmp_path: Path) -> None:
    slurm = scripts(tmp_path, scontrol=f"echo '{said}' >&2; exit 1", scancel=f"echo '{said}' >&2; exit 1")
    with pytest.raises(SlurmError) as error:
        getattr(slurm, method)(17)
    assert sentence in str(error.value)


def test_a_job_that_is_over_is_cancelled_already(tmp_path: Path) -> None:
    scripts(
        tmp_path, scancel="echo 'scancel: error: Kill job error on job id 17: Invalid job id specified' >&2; exit 1"
    ).cancel(17)


def test_nothing_of_the_job_that_we_run_in_is_handed_on() -> None:
    here = {"SLURM_JOB_ID": "7", "SLURM_CONF": "/a", "SQUEUE_STATES": "PD", "SBATCH_ACCOUNT": "b", "PATH": "/bin"}
    assert surroundings(here) == {"SLURM_CONF": "/a", "SBATCH_ACCOUNT": "b", "PATH": "/bin"}


def test_a_site_says_what_a_slot_is_and_who_goes_first() -> None:
    high, two = REQUEST._replace(high=True), REQUEST._replace(slots=2, declared_mib=20480.5)
    assert SlurmSite().asks(REQUEST) == ["--gpus-per-node=1", "--nice=100"]
    assert SlurmSite().asks(high) == ["--gpus-per-node=1"]
    a100 = SlurmSite(
        gpu_type="a100", cores_per_slot=8, memory_mib_per_slot=1000, high_qos="urgent", options=("--constraint=x",)
    )
    assert a100.asks(two) == ["--gpus-per-node=a100:2", "--cpus-per-task=16", "--mem=2000M", "--constraint=x"]
    assert "--qos=urgent" in a100.asks(high) and not [word for word in a100.asks(two) if "nice" in word]
    assert SlurmSite(slots="cores", time_limit="1:00:00", nice=0).asks(two) == [
        "--cpus-per-task=2",
        "--mem=20481M",
        "--time=1:00:00",
    ]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"colour": "red"}, "there is no setting 'colour'"),
        ({"slots": "boxes"}, "slots is gpus or cores"),
        ({"partition": "a b"}, "partition is a name"),
        ({"nice": -1}, "nice is a whole number"),
        ({"nice": True}, "nice is a whole number"),
        ({"time_limit": "soon"}, "time_limit is a time"),
        ({"options": ["rm -rf"]}, "options is a list of options"),
        ({"options": "--a"}, "options is a list of options"),
        ({"programs": "bin"}, "programs is the path of a folder"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(SlurmError, match=sentence):
        site_of(settings)


def test_settings_are_read() -> None:
    settings = {
        "slots": "cores",
        "partition": "low",
        "nice": 7,
        "options": ["--constraint=x"],
        "programs": "/opt/slurm/bin",
    }
    assert site_of(settings) == SlurmSite(
        "cores", "low", nice=7, options=("--constraint=x",), programs=Path("/opt/slurm/bin")
    )
