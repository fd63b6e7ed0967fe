"""When a run counts as pre-empted or requeued: by the signal that stopped it, and by what its scheduler wrote."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from collectors.machine.exit_reason import schedulers_word, verdict_of
from collectors.machine.run_state import EXIT, SCHEDULER, SEEN, RunActivity, state_of
from collectors.records import Event
from tests.conftest import Dashboard, dashboard, script, wait_for

NOW = 1_764_000_000.0
AT = "slurmstepd: error: *** JOB 4127 ON node-3 CANCELLED AT 2026-11-24T16:00:00"
SCRIPT = """
import sys, time
from deepseek.log import RunLog
folder, name = sys.argv[1:]
with RunLog(folder, run=name, config={"lr": 0.1}) as log:
    for step in range(10_000):
        log.scalars(step, {"train/loss": 1 / (1 + step)})
        if step == 3:
            print("ready", flush=True)
        time.sleep(0.02)
"""


def activity(events: list[Event], exits: list[Event] = []) -> RunActivity:  # noqa: B006  # nobody changes it
    starts, ends = ([event for event in events if event.kind == kind] for kind in ("start", "end"))
    seen = [event for event in events if event.kind == SEEN]
    return RunActivity("a", Path("/nowhere"), {}, starts, ends, NOW - 1, None, seen, exits)


def start(rank: int = 0, **fields: object) -> Event:
    return Event("a", "start", NOW - 100, rank, fields=fields)


def end(status: str, reason: str, rank: int = 0) -> Event:
    return Event("a", "end", NOW - 1, rank, fields={"status": status, "reason": reason})


@pytest.mark.parametrize("reason", ["stopped by SIGTERM", "stopped by SIGUSR1"])
def test_a_run_that_a_signal_asked_to_make_room_is_preempted(reason: str) -> None:
    state = state_of(activity([start(), end("finished", reason)]), NOW)
    assert (state.state, state.reason) == ("preempted", f"S{reason[1:]}")
    state = state_of(activity([start(job_id="4127"), end("finished", reason)]), NOW)
    assert (state.state, state.reason) == ("preempted", f"S{reason[1:]} in job 4127")


@pytest.mark.parametrize(
    ("status", "reason", "state"),
    [
        ("finished", "", "finished"),
        ("finished", "stopped by SIGINT", "finished"),
        ("finished", "stopped by SIGTERMINATOR", "finished"),
        ("crashed", "ValueError: stopped by SIGTERM", "failed"),
        ("killed", "Ended by SIGTERM", "preempted"),
        ("killed", "Ended by SIGKILL", "killed"),
    ],
)
def test_other_ends_are_what_they_were(status: str, reason: str, state: str) -> None:
    assert state_of(activity([start(), end(status, reason)]), NOW).state == state


def test_a_rank_that_failed_is_why_the_launcher_stopped_the_others() -> None:
    events = [start(0), start(1), end("finished", "stopped by SIGTERM", 0), end("crashed", "ValueError: no", 1)]
    assert state_of(activity(events), NOW)[:2] == ("failed", "ValueError: no")


def test_a_rank_that_stops_with_another_one_does_not_hide_the_signal() -> None:
    events = [
        start(0),
        start(1),
        end("finished", "stopped with another rank", 0),
        end("finished", "stopped by SIGTERM", 1),
    ]
    assert state_of(activity(events), NOW).state == "preempted"


@pytest.mark.parametrize(
    ("lines", "state", "says"),
    [
        ([f"{AT} DUE TO PREEMPTION ***"], "preempted", "pre-empted job 4127"),
        ([f"{AT} DUE TO JOB REQUEUE ***"], "requeued", "back into its queue"),
        ([f"{AT} DUE TO TIME LIMIT ***"], "killed", "time was over"),
        ([f"{AT} DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***"], "killed", "node failed"),
        ([f"{AT} ***"], "killed", "Job 4127 was cancelled"),
        ([f"{AT.replace('JOB', 'STEP').replace('4127', '4127.0')} DUE TO PREEMPTION ***"], "preempted", "4127"),
        ([f"{AT} ***", f"{AT} DUE TO PREEMPTION ***", "saving checkpoint"], "preempted", "4127"),
        (["requeing job 4127...", "Requeued SLURM job: 4127"], "requeued", "4127"),
    ],
)
def test_the_schedulers_own_line_says_why(lines: list[str], state: str, says: str) -> None:
    word = schedulers_word(["step 1", *lines])
    assert word is not None and word.state == state and says in word.reason
    assert verdict_of(7, lines, code=-signal.SIGTERM, out_of_memory=False, promised_end=True) == word


@pytest.mark.parametrize(
    "line",
    [
        "",
        "*" * 5000,
        "slurmstepd: error: *** JOB 7",
        "the job was CANCELLED AT night DUE TO PREEMPTION",
        "*** JOB 7 ON a CANCELLED AT b ***",
    ],
)
def test_a_line_that_only_looks_like_it_says_nothing(line: str) -> None:
    assert schedulers_word([line]) is None


def test_an_old_word_of_the_scheduler_is_not_that_of_this_end() -> None:
    assert schedulers_word([f"{AT} DUE TO PREEMPTION ***", *["step"] * 50]) is None
    exit_ = Event(
        "a",
        EXIT,
        NOW - 900,
        text="Slurm has put job 7 back into its queue",
        fields={"state": "requeued", "by": SCHEDULER},
    )
    ended = [start(), end("finished", "")]
    assert state_of(activity(ended, [exit_]), NOW).state == "finished"
    assert state_of(activity(ended, [exit_._replace(time_s=NOW)]), NOW)[:2] == ("requeued", exit_.text)


def test_a_program_that_finished_by_itself_is_not_preempted_whatever_its_log_says() -> None:
    assert (
        verdict_of(7, [f"{AT} DUE TO PREEMPTION ***"], code=0, out_of_memory=False, promised_end=True).state
        == "finished"
    )


def was_seen(running: Dashboard, run: str) -> bool:
    """Whether the collector knows its process."""
    return "process" in [event["kind"] for event in running.get(f"/api/v1/events?run={run}").get("events", [])]


def test_a_run_stopped_by_sigterm_in_a_job_is_shown_as_slurm_says(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with dashboard(logs) as running:
        job = {"SLURM_JOB_ID": "4127", "SLURM_RESTART_COUNT": "1"}
        with (
            script(SCRIPT, str(logs), "plain", **job) as plain,
            script(SCRIPT, str(logs), "requeued", **job) as requeued,
        ):
            for process in (plain, requeued):
                assert process.stdout is not None and process.stdout.readline() == "ready\n"
            for name in ("plain", "requeued"):
                wait_for(partial(was_seen, running, name))
            (logs / "requeued" / "slurm-4127.out").write_text(f"{AT} DUE TO JOB REQUEUE ***\n")
            wait_for(lambda: running.get("/api/v1/logs?run=requeued")["total"])
            plain.terminate()
            requeued.terminate()
            wait_for(lambda: running.run("requeued")["state"] == "requeued")
            wait_for(lambda: running.run("plain")["state"] == "preempted")
        assert running.run("plain")["state_reason"] == "Stopped by SIGTERM in job 4127"
        assert "job 4127" in running.run("requeued")["state_reason"]
