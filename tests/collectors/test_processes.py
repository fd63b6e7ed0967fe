"""Which processes belong to a run, and what state it is in: real processes, and folders in the shape of /proc."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collectors.machine import run_state
from collectors.machine.proc import TICKS_PER_S, alive, boot_id, children_cpu_s, descendants, start_ticks, workers_of
from collectors.machine.run_state import RunActivity, RunProcess, end_of, processes_of, state_of
from collectors.message import spoken
from collectors.queue_events import moves_of
from collectors.records import Event
from tests.conftest import script, wait_for
from tests.programs import running
from tests.support.claims import claiming_folder

HOST = socket.gethostname()
NOW = time.time()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "3600"]) as process:
        yield process
        process.kill()


def start(pid: int, rank: int = 0, time_s: float = NOW - 10, **changed: Any) -> Event:
    here = {"pid": pid, "pid_start_ticks": start_ticks(pid), "boot_id": boot_id(), "host": HOST}
    return Event("run", "start", time_s, rank, fields={**here, **changed})


def can_unshare() -> bool:
    return subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0


def write_process(proc: Path, pid: int, *, ticks: int, inner: int) -> None:
    """As much of /proc/<pid> as tells of a process in a pid namespace of its own."""
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} (python) S " + " ".join(["0"] * 18 + [str(ticks)]))
    (proc / str(pid) / "status").write_text(f"Name:\tpython\nNSpid:\t{pid}\t{inner}\nVmPeak:\t1 kB\n")


def end(*, rank: int = 0, time_s: float = NOW - 5, **fields: Any) -> Event:
    return Event("run", "end", time_s, rank, fields=fields)


def activity(
    starts: list[Event] | None = None,
    ends: list[Event] | None = None,
    *,
    info: dict[str, Any] | None = None,
    silent_s: float = 1.0,
    interval_s: float | None = 0.1,
    folder: Path | None = None,
) -> RunActivity:
    return RunActivity(
        "run", folder or claiming_folder(), info or {}, starts or [], ends or [], NOW - silent_s, interval_s
    )


def test_a_process_is_alive_while_its_start_time_is_the_same(child: subprocess.Popen[bytes]) -> None:
    ticks = start_ticks(child.pid)
    assert ticks is not None
    assert alive(child.pid, ticks)
    assert not alive(child.pid, ticks + 1), "another process with this pid is another process"


def test_a_zombie_is_gone(child: subprocess.Popen[bytes]) -> None:
    ticks = start_ticks(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ticks is not None
    assert not alive(child.pid, ticks)


def test_a_process_name_may_hold_blanks_and_brackets(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text("7 (a) S 1 (b) R " + " ".join(str(field) for field in range(4, 53)))
    assert start_ticks(7, tmp_path) == 22


def test_a_run_with_a_living_process_that_writes_is_running(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(child.pid)])
    assert state_of(run, NOW) == ("running", "", child.pid)
    assert [process.pid for process in processes_of(run)] == [child.pid]


def test_a_run_whose_process_is_gone_has_ended_until_something_says_how(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(child.pid)])
    child.kill()
    child.wait()
    assert state_of(run, NOW) == ("ended", f"Process {child.pid} is gone", child.pid)
    fields = {"pid": child.pid, "pid_start_ticks": run.starts[0].fields["pid_start_ticks"], "state": "killed"}
    judged = run._replace(exits=[Event("run", "exit", NOW, text="Killed", fields=fields)])
    assert state_of(judged, NOW) == ("killed", "Killed", child.pid)
    assert processes_of(run) == []


def test_a_living_process_that_writes_nothing_is_stalled(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(child.pid, time_s=NOW - 20_000)], silent_s=10_260)
    assert state_of(run, NOW) == ("stalled", "No line for 2 h 51 min (normal 0.1 s)", child.pid)


def test_an_attempt_has_the_end_that_it_logged_though_the_next_one_has_begun() -> None:
    def started(time_s: float, ticks: int) -> Event:
        return Event("run", "start", time_s, fields={"pid": ticks, "pid_start_ticks": ticks})

    ends = [Event("run", "end", time_s, fields={"status": "finished"}) for time_s in (NOW - 40, NOW - 10)]
    run = activity([started(NOW - 50, 1), started(NOW - 30, 2), started(NOW - 20, 3), started(NOW - 5, 4)], ends)
    found = [end_of(run, RunProcess(ticks, 0, ticks)) for ticks in (1, 2, 3, 4)]
    assert [end and end.time_s for end in found] == [NOW - 40, None, NOW - 10, None]


def test_a_service_that_no_request_comes_to_is_running(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(child.pid, time_s=NOW - 20_000)], silent_s=10_260, info={"kind": "service"})
    assert state_of(run, NOW) == ("running", "", child.pid)


def test_a_run_of_slow_steps_is_given_twenty_of_them_before_it_is_stalled(child: subprocess.Popen[bytes]) -> None:
    starts = [start(child.pid, time_s=NOW - 20_000)]
    assert state_of(activity(starts, silent_s=1100, interval_s=60), NOW).state == "running"
    assert state_of(activity(starts, silent_s=1300, interval_s=60), NOW).state == "stalled"


def test_a_run_that_has_just_started_is_not_stalled_before_its_first_line(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(child.pid, time_s=NOW - 5)])._replace(last_line_s=None, median_interval_s=None)
    assert state_of(run, NOW).state == "running"


def test_a_job_that_waits_is_queued_and_one_that_was_cancelled_has_ended(child: subprocess.Popen[bytes]) -> None:
    def event(kind: str, ago_s: float, text: str = "") -> Event:
        return Event("run", kind, NOW - ago_s, text=text, fields={"job": 7})

    def state(*queue: Event, starts: Sequence[Event] = (), ends: Sequence[Event] = ()) -> tuple[str, str]:
        return state_of(activity([*starts], [*ends], silent_s=1e6)._replace(queue=moves_of(queue)), NOW)[:2]

    submitted, begun, again = (
        event("submitted", 900),
        event("queued", 800),
        event("requeued", 300, "queued again: preempted"),
    )
    over = Event("run", "end", NOW - 301, fields={"status": "killed", "reason": "stopped by exit code 75"})
    first, second = start(child.pid, time_s=NOW - 799), start(child.pid, time_s=NOW - 1)
    assert state(submitted) == ("queued", "Waits in the queue as job 7")
    assert state(submitted, begun, starts=[first])[0] != "queued"
    assert state(submitted, begun, starts=[first], ends=[over])[0] == "preempted"
    assert state(submitted, begun, again, starts=[first], ends=[over]) == (
        "queued",
        "Waits in the queue as job 7: preempted",
    )
    assert state(submitted, begun, again, event("queued", 2), starts=[first, second])[0] == "running"
    assert state(submitted, begun, again, starts=[first, second])[0] == "running", (
        "it has started, and the queue has not said so yet"
    )
    assert state(submitted, event("cancelled", 5)) == ("ended", "Cancelled as job 7")
    failed = Event("run", "end", NOW - 6, fields={"status": "crashed", "reason": "KeyError"})
    assert state(submitted, begun, event("cancelled", 5), starts=[first], ends=[failed])[0] == "ended"
    assert state(submitted, begun, starts=[first], ends=[failed])[0] == "failed"
    gone = event("failed", 5, "job 7 has failed: no such file")
    assert state(submitted, gone) == ("failed", "job 7 has failed: no such file")
    assert state(submitted, begun, gone, starts=[first], ends=[failed]) == ("failed", "KeyError"), "its log knows more"
    assert state(Event("run", "submitted", NOW))[0] == "ended", "a script's own event of that name"


def test_a_time_years_ahead_proves_nothing(child: subprocess.Popen[bytes]) -> None:
    ahead = activity(silent_s=-1e8, interval_s=1e8)
    assert state_of(ahead, NOW).state == "ended"
    assert state_of(ahead._replace(info={"started_s": NOW - 10}), NOW).state == "running"
    assert state_of(activity(silent_s=-3600), NOW).state == "running", "a clock may be an hour wrong"
    assert state_of(activity([start(child.pid, time_s=NOW - 20_000)], silent_s=-1e8), NOW) == ("running", "", child.pid)
    gone = activity([start(child.pid)], silent_s=-1e8)
    child.kill()
    child.wait()
    assert state_of(gone, NOW).state == "ended"


def test_an_end_event_says_how_it_ended(child: subprocess.Popen[bytes]) -> None:
    starts = [start(child.pid)]
    finished = activity(starts, [end(status="finished", reason="stopped by SIGTERM")])
    crashed = activity(starts, [end(status="crashed", reason="ValueError: no")])
    assert state_of(finished, NOW) == ("preempted", "Stopped by SIGTERM", None)
    assert state_of(crashed, NOW)[:2] == ("failed", "ValueError: no")
    assert state_of(activity(starts, [end(status="killed")]), NOW).state == "killed"
    assert processes_of(finished) == [], "what a notebook's process does afterwards is not the run's"


def test_a_run_that_was_started_again_is_judged_by_its_newest_attempt(child: subprocess.Popen[bytes]) -> None:
    first = start(4_194_304, time_s=NOW - 100, pid_start_ticks=1)
    run = activity([first, start(child.pid)], [end(time_s=NOW - 50, status="crashed", reason="out of memory")])
    assert state_of(run, NOW).state == "running"


def test_one_rank_that_is_gone_ends_the_run(child: subprocess.Popen[bytes]) -> None:
    run = activity([start(os.getpid(), rank=0), start(child.pid, rank=1)])
    assert [process.rank for process in processes_of(run)] == [0, 1]
    child.kill()
    child.wait()
    assert state_of(run, NOW).pid == child.pid


def test_a_process_of_another_boot_is_not_looked_for() -> None:
    starts = [start(os.getpid(), time_s=NOW - 1000, boot_id="an-earlier-boot")]
    assert processes_of(activity(starts)) == []
    assert state_of(activity(starts), NOW).state == "running"
    assert state_of(activity(starts, silent_s=61), NOW) == ("ended", "", None)


def test_a_process_that_another_host_started_and_nobody_sees_is_not_called_gone() -> None:
    starts = [start(os.getpid(), time_s=NOW - 1000, pid_start_ticks=1, host="another")]
    assert processes_of(activity(starts)) == []
    assert state_of(activity(starts), NOW).state == "running"
    assert state_of(activity(starts, silent_s=61), NOW) == ("ended", "", None)


@pytest.mark.skipif(not can_unshare(), reason="this machine gives no pid namespace to whoever runs the tests")
def test_a_run_inside_a_container_is_found_by_the_pid_that_it_has_out_here() -> None:
    script = "import os; print(os.getpid(), open('/proc/self/stat').read().split()[21], flush=True); input()"
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", script]
    with (
        subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as container,
        ExitStack() as ending,
    ):
        ending.callback(container.kill)
        assert container.stdout is not None
        pid, ticks = map(int, container.stdout.readline().split())
        run = activity([start(pid, time_s=time.time(), pid_start_ticks=ticks, host="3f2a9c0d81be")])
        wait_for(lambda: processes_of(run), because="walks over /proc are a second apart")
        ((here, _, _),) = processes_of(run)
        assert here != pid
        assert here in descendants(container.pid)
        assert state_of(run, NOW).pid == here
        container.kill()
    wait_for(lambda: not alive(here, ticks))
    assert state_of(run, NOW).state == "ended", "we have seen it, whatever it calls its host"


def test_a_process_that_we_see_is_the_runs_whatever_its_container_calls_the_host(
    child: subprocess.Popen[bytes],
) -> None:
    run = activity([start(child.pid, host="3f2a9c0d81be")])
    assert [process.pid for process in processes_of(run)] == [child.pid], "docker run --pid=host"


def test_two_containers_with_the_same_inner_process_are_not_told_apart_by_guessing(tmp_path: Path) -> None:
    for pid in (70, 80):
        write_process(tmp_path, pid, ticks=5, inner=7)
    write_process(tmp_path, 90, ticks=5, inner=8)
    seen = run_state._PidMap(tmp_path)
    assert seen.pid_here(7, 5, NOW) is None
    assert seen.pid_here(8, 5, NOW) == 90
    assert seen.pid_here(8, 6, NOW) is None, "another process with this pid is another process"


def test_run_json_names_a_process_where_there_is_no_start_event(child: subprocess.Popen[bytes]) -> None:
    run = activity(info={"pid": child.pid, "host": HOST, "started_s": time.time()})
    assert [process.pid for process in processes_of(run)] == [child.pid]
    assert state_of(run, NOW).state == "running"


def test_a_pid_in_run_json_that_was_given_to_a_later_process_is_gone(child: subprocess.Popen[bytes]) -> None:
    run = activity(info={"pid": child.pid, "host": HOST, "started_s": time.time() - 60})
    booted_s = run_state._booted_s(run_state.PROC, -1)
    if time.time() - 60 < booted_s:
        pytest.skip("this machine has only just booted")
    assert processes_of(run) == []
    assert state_of(run, NOW).state == "ended"


def test_the_workers_of_a_trainer_are_the_python_processes_below_it() -> None:
    with running("starved", os.devnull) as trainer, subprocess.Popen(["sleep", "60"]) as sleeper:
        workers = workers_of(trainer.pid)
        assert len(workers) == 2
        assert trainer.pid in workers_of(os.getpid())
        assert sleeper.pid not in workers_of(os.getpid()), "sleep is not a Python"
        sleeper.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)


def test_what_children_use_is_counted_while_they_live_and_afterwards() -> None:
    before_s = children_cpu_s()
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time(), flush=True); input()"
    with script(burn) as child:
        assert child.stdout is not None
        used_s = float(child.stdout.readline())
        living_s = children_cpu_s() - before_s
    assert used_s - 0.02 <= living_s < 1.5 * used_s, "once"
    assert children_cpu_s() - before_s >= living_s - 1.5 / TICKS_PER_S, "ended, it counts in ticks, too"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.1, "0.1 s"), (3, "3 s"), (95, "95 s"), (1200, "20 min"), (3599.9, "1 h 0 min"), (10260, "2 h 51 min")],
)
def test_durations_are_spoken_as_a_person_would(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


@given(st.floats(0, 1e7))
@example(9.5)
@example(math.nextafter(10.0, 0.0))
@example(0.0001)
@example(5e-324)
@example(119.96)
def test_any_duration_is_spoken_without_powers_of_ten(seconds: float) -> None:
    words = spoken(seconds)
    assert re.fullmatch(r"[\d.]+ s|\d+ min|\d+ h \d+ min", words)
    if words.endswith(" s"):
        assert abs(float(words.removesuffix(" s")) - seconds) <= max(0.5, 0.051 * seconds)
