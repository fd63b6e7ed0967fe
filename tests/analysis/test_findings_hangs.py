"""Hangs, over described stacks: who left the others is named, and silence for a good reason is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pytest

from analysis.findings.rules import BY_NAME
from collectors.records import Event, Frame, LogLine, Record, RunInfo
from collectors.store.store import Store
from tests.support.judged import T0, JudgedRuns, gpu, machine_point, point
from tests.support.judged_stacks import (
    ALL_REDUCE,
    BUSY,
    COMPILE,
    DECODE,
    LINEAR,
    LOADER,
    LOOP,
    MODULE,
    PIECE_S,
    SAVE,
    WRITE_LOG,
    Part,
    of_loop,
    profile,
)

WARM_S = 75.0
TAKE = Frame("take", "/job/locks.py", 77)
SOURCE = {77: "with lock:", 301: "data = connection.recv(4096)", 302: "answer = input('go on? ')", 303: "os.waitpid(child, 0)", 304: "client, _ = server.accept()", 305: "line = sys.stdin.readline()"}  # fmt: skip
HEALTHY = (Part(4, of_loop(DECODE), gil=True), Part(94, of_loop(LINEAR)), Part(2, of_loop(WRITE_LOG), gil=True))


def line_of(file: str, line: int | None) -> str:
    return SOURCE.get(line or 0, "")


# -- nothing moves -----------------------------------------------------------------------------------------------------


def quiet(
    store: Store,
    stacks: Sequence[Sequence[Part]],
    *,
    cpu_pct: float = 0.2,
    workers: Sequence[Sequence[Part]] = (),
    seconds: float = 340.0,
    events: Sequence[Event] = (),
    steps_s: float = 60.0,
    read_bytes: float = 0.0,
    gpus: int = 0,
    gpu_pct: float = 0.0,
    others: Sequence[Sequence[Part]] = (),
    info: dict[str, object] | None = None,
    steps: bool = True,
    lines_every_s: Callable[[float], bool] = lambda passed: False,
    moves: bool = True,
) -> JudgedRuns:
    """Runs of as many ranks as there are stacks step for a minute, and then stand at them without a line.

    Without `steps` they write lines of text, or none, while their stacks move unless `moves` is false.
    """
    judged = JudgedRuns(store, line_of=line_of, gpus=[gpu(index) for index in range(gpus)])
    judged.begin("run", len(stacks))
    judged.take([*events, *([RunInfo("run", info)] if info else [])])

    def second(now_s: float) -> Iterable[Record]:
        passed = now_s - T0
        if passed <= steps_s and steps:
            yield point("run", now_s, int(passed), {"loss": 1.0})
        if passed <= steps_s and lines_every_s(passed):
            yield LogLine("run", "train.log", now_s, 20, "loss 0.5")
            judged.lines["run"].last_s = now_s
        if not steps and passed <= steps_s and passed % PIECE_S == 0:
            for rank, parts in enumerate(stacks):
                yield profile("run", now_s - PIECE_S, HEALTHY if moves else parts, rank=rank, pid=70 + 10 * rank)
        labels = (("host", "box"), ("rank", "0"), ("run", "run"))
        values = {
            "host/run_cpu_pct": 90.0 if passed <= steps_s else cpu_pct,
            "host/run_read_bytes_per_s": read_bytes,
            "host/run_write_bytes_per_s": 0.0,
        }
        yield machine_point(now_s, labels, values)
        if passed % PIECE_S == 0 and passed > steps_s + (200 if steps else 0):
            for rank, parts in enumerate(stacks):
                yield profile("run", now_s - PIECE_S, parts, rank=rank, pid=70 + 10 * rank, others=others)
            for number, parts in enumerate(workers):
                yield profile("run", now_s - PIECE_S, parts, pid=200 + number, role="worker")

    judged.go_on(steps_s + seconds, second)
    return judged


def at(*frames: Frame, running: float = 0.0) -> list[Part]:
    return [Part(5000, (MODULE, LOOP, *frames), running=running)]


SLEEPS = Frame("wait_for_file", "/job/io.py", 12)


def test_a_rank_that_left_the_collective_is_named_with_its_line(store: Store) -> None:
    judged = quiet(store, [at(ALL_REDUCE), at(SLEEPS), at(ALL_REDUCE)])
    (found,) = judged.of("hung")
    assert found.weight == "alert" and found.rank == 1
    assert found.fields["place"] == {"function": "wait_for_file", "file": "/job/io.py", "line": 12}
    assert (
        "Rank 1 stands at io.py:12 wait_for_file while 2 others wait in a collective at train.py:40 train."
        in found.sentence
    )
    assert {stack["rank"] for stack in found.fields["stacks"]} == {0, 1, 2}
    assert T0 + 60 + 300 <= judged.first_s[found.id] <= T0 + 60 + BY_NAME["hung"].needs_s + 5


def test_all_ranks_in_one_collective_and_a_deadlock_of_one_are_hangs(store: Store) -> None:
    judged = quiet(store, [at(ALL_REDUCE), at(ALL_REDUCE)])
    assert "a rank that is not seen here is missing" in judged.of("hung")[0].sentence


@pytest.mark.parametrize(
    "frames",
    [(TAKE,), (Frame("backward", "/job/a.py", 3), Frame("_engine_run_backward", f"{'/x'}/torch/autograd/graph.py", 9))],
)
def test_the_only_rank_that_waits_for_its_own_lock_hangs(store: Store, frames: tuple[Frame, ...]) -> None:
    assert quiet(store, [at(*frames)]).rules() == {"hung"}


def test_workers_that_wait_for_a_lock_while_the_main_process_waits_for_them_hang(store: Store) -> None:
    stuck = [
        [
            Part(
                5000,
                (Frame("_worker_loop", "/job/w.py", 3), Frame("get", "/usr/lib/python3.11/queue.py", 3)),
                running=0.0,
            )
        ]
    ]
    assert quiet(store, [at(LOADER)], workers=stuck).rules() == {"hung"}


RECV = Frame("fetch", "/job/io.py", 301)
QUEUE_GET = Frame("get", "/usr/lib/python3.11/queue.py", 171)
FUTURE = Frame("result", "/usr/lib/python3.11/concurrent/futures/_base.py", 451)
NETWORK = Frame("readinto", "/usr/lib/python3.11/socket.py", 706)
BACKWARD = Frame("_engine_run_backward", "/x/torch/autograd/graph.py", 9)
STOPPED = [
    [
        Part(
            5000,
            (Frame("produce", "/job/data.py", 9), Frame("wait", "/usr/lib/python3.11/threading.py", 320)),
            running=0.0,
        )
    ]
]
EACH_SECOND: dict[str, object] = {"steps": False, "lines_every_s": lambda passed: True}
HANGS: dict[str, dict[str, object]] = {
    "lock": {"stacks": [at(TAKE)]},
    "socket": {"stacks": [at(RECV)]},
    "socket below a library": {"stacks": [at(NETWORK)]},
    "queue that no thread fills": {"stacks": [at(QUEUE_GET)]},
    "queue whose thread waits, too": {"stacks": [at(QUEUE_GET)], "others": STOPPED},
    "future whose thread waits, too": {"stacks": [at(FUTURE)], "others": STOPPED},
    "backward pass of one of two ranks": {"stacks": [at(BACKWARD), at(SLEEPS)]},
    "both ranks read from the GPU": {"stacks": [at(Frame("synchronize", "/x/torch/cuda/__init__.py", 9))] * 2, "gpus": 1, "gpu_pct": 100.0},
    "two ranks, each in a lock": {"stacks": [at(TAKE), at(TAKE)]},
    "lines without steps, lock": {"stacks": [at(TAKE)], **EACH_SECOND},
    "lines without steps, socket": {"stacks": [at(RECV)], **EACH_SECOND},
    "lines without steps, queue": {"stacks": [at(QUEUE_GET)], **EACH_SECOND},
    "neither lines nor steps, lock": {"stacks": [at(TAKE)], "steps": False},
    "neither lines nor steps, all-reduce": {"stacks": [at(ALL_REDUCE), at(ALL_REDUCE)], "steps": False},
}  # fmt: skip


@pytest.mark.parametrize("where", HANGS)
def test_a_run_that_makes_no_progress_any_more_hangs_wherever_it_stands(store: Store, where: str) -> None:
    judged = quiet(store, **HANGS[where])  # type: ignore[arg-type]
    (found,) = judged.of("hung")
    assert judged.rules() == {"hung"} and "nothing moves" in found.sentence
    assert judged.first_s[found.id] <= T0 + 60 + BY_NAME["hung"].needs_s + 15


CONNECTION, QUEUE = "/usr/lib/python3.11/multiprocessing/connection.py", "/usr/lib/python3.11/multiprocessing/queues.py"
SILENT_FOR_GOOD_REASONS: dict[str, dict[str, object]] = {
    "sleep": {"stacks": [at(SLEEPS)]},
    "input": {"stacks": [at(Frame("ask", "/job/train.py", 5))]},
    "select": {"stacks": [at(Frame("select", "/usr/lib/python3.11/selectors.py", 468))]},
    "accept": {"stacks": [at(Frame("accept", "/usr/lib/python3.11/socket.py", 294))]},
    "long call": {"stacks": [at(Frame("solve", "/job/train.py", 8), running=1.0)], "cpu_pct": 99.0},
    "child compiles": {"stacks": [at(Frame("_try_wait", "/usr/lib/python3.11/subprocess.py", 1900))], "cpu_pct": 180.0},
    "child waits": {"stacks": [at(Frame("communicate", "/usr/lib/python3.11/subprocess.py", 1200))]},
    "download": {"stacks": [at(Frame("join", "/usr/lib/python3.11/threading.py", 1100))], "read_bytes": 3e6},
    "notebook": {"stacks": [at(Frame("select", "/usr/lib/python3.11/selectors.py", 468)), ]},
    "queue of another process": {"stacks": [at(Frame("get", QUEUE, 103), Frame("_recv", CONNECTION, 379))]},
    "queue of a thread that reads": {"stacks": [at(QUEUE_GET)], "others": [[Part(5000, (Frame("read_shard", "/job/data.py", 30),), running=0.0)]]},
    "future of a thread that sleeps": {"stacks": [at(FUTURE)], "others": [[Part(5000, (Frame("poll_scheduler", "/job/io.py", 12), Frame("select", "/usr/lib/python3.11/selectors.py", 468)), running=0.0)]]},
    "question": {"stacks": [at(Frame("ask", "/job/train.py", 302))]},
    "child of the system": {"stacks": [at(Frame("launch", "/job/train.py", 303))]},
    "own server": {"stacks": [at(Frame("serve", "/job/train.py", 304))]},
    "standard input": {"stacks": [at(Frame("next_command", "/job/train.py", 305))]},
    "a worker that has waited from its start": {"stacks": [at(TAKE)], "steps": False, "moves": False},
    "a worker without a request, in a queue": {"stacks": [at(QUEUE_GET)], "steps": False},
    "a worker without a request, in a socket": {"stacks": [at(RECV)], "steps": False, "lines_every_s": lambda passed: passed in (3, 5, 20, 21, 22, 40, 58)},
    "first validation": {"stacks": [at(Frame("validate", "/job/train.py", 60), ALL_REDUCE), at(Frame("validate", "/job/train.py", 60), ALL_REDUCE)]},
    "first checkpoint": {"stacks": [at(SAVE)]},
    "pdb": {"stacks": [at(Frame("interaction", "/usr/lib/python3.11/pdb.py", 362)), at(ALL_REDUCE)]},
    "busy threads": {"stacks": [at(Frame("wait", "/usr/lib/python3.11/threading.py", 320))], "cpu_pct": 150.0},
    "retries": {"stacks": [[Part(4000, of_loop(SLEEPS), running=0.0), Part(1000, of_loop(Frame("connect", "/job/io.py", 20)), running=0.0)]]},
    "blocked read": {"stacks": [at(Frame("read_shard", "/job/data.py", 30))]},
    "compile": {"stacks": [at(COMPILE, TAKE)]},
    "slow workers": {"stacks": [at(LOADER)], "workers": [at(DECODE, running=1.0)], "cpu_pct": 100.0},
    "workers that read": {"stacks": [at(LOADER)], "workers": [at(Frame("read_shard", "/job/data.py", 30))]},
    "a rank that computes": {"stacks": [at(ALL_REDUCE), at(Frame("sort", "/job/train.py", 9), running=1.0)], "cpu_pct": 100.0},
    "before the first step": {"stacks": [at(ALL_REDUCE), at(ALL_REDUCE)], "steps_s": 0.0},
    "long usual interval": {"stacks": [at(ALL_REDUCE), at(ALL_REDUCE)], "seconds": 280.0},
}  # fmt: skip


AS_ANOTHER = {
    "input",
    "accept",
    "notebook",
    "child of the system",
    "own server",
}  # waits of a kind that another row has, too


@pytest.mark.parametrize(
    "reason",
    [pytest.param(name, marks=pytest.mark.long if name in AS_ANOTHER else ()) for name in SILENT_FOR_GOOD_REASONS],
)
def test_silence_for_a_good_reason_is_no_hang(store: Store, reason: str) -> None:
    judged = quiet(store, **SILENT_FOR_GOOD_REASONS[reason])  # type: ignore[arg-type]
    assert not judged.of("hung"), judged.of("hung")[0].sentence


def test_a_second_validation_that_stands_is_a_hang(store: Store) -> None:
    stand = at(Frame("validate", "/job/train.py", 60), ALL_REDUCE)
    judged = quiet(store, [stand, stand], events=[Event("run", "validation", T0 + 5, step=5, seconds=1.0)])
    assert judged.rules() == {"hung"}


def test_after_half_an_hour_silence_is_a_note(store: Store) -> None:
    judged = quiet(store, [at(SLEEPS)], seconds=BY_NAME["silent"].needs_s + 5)
    assert [(found.rule, found.weight) for found in judged.found.values()] == [("silent", "note")]
    assert BUSY and "its process lives" in judged.of("silent")[0].sentence


def test_a_service_says_nothing_while_no_request_comes(store: Store) -> None:
    judged = quiet(store, [at(SLEEPS)], seconds=BY_NAME["silent"].needs_s + 5, info={"kind": "service", "cwd": "/job"})
    assert judged.rules() == set()
