"""A user's queue that a test fills by its own methods, at times of its choosing, and what answers for its daemon."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from collectors.machine.proc import boot_id, start_ticks
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from jobs.plan import Action, PlanRules, Slot, StartJob, StopJob, plan
from jobs.queue import JobQueue
from jobs.request import JobRequest, request_from
from jobs.state_folder import LOCK, QUEUE, SOCKET, VARIABLE, QueueError, make
from tests.support.serving import Web, served

CARD_MIB = 80 * 1024.0


class JobsScene:
    """Times are Unix seconds. Cards are `gpu-0` and so on, called GPU 0."""

    def __init__(self, folder: Path, log_dir: Path, cards: int = 4) -> None:
        make(folder)
        self.folder, self.log_dir = folder, log_dir
        self.queue = JobQueue(folder / QUEUE)
        self.cards = [Slot(f"gpu-{number}", CARD_MIB, CARD_MIB) for number in range(cards)]

    def close(self) -> None:
        self.queue.close()

    def submit(self, command: Sequence[str], at_s: float, **fields: Any) -> int:
        family = " ".join(command[:2])
        request = JobRequest(tuple(command), "/home/me/vision", family, log_dir=str(self.log_dir), **fields)
        return self.queue.submit(request, at_s, lambda job: f"{request.name or Path(command[1]).stem}-{job}")

    def start(self, job: int, slots: Sequence[int], at_s: float) -> None:
        """Its process is this one."""
        self._act(StartJob(job, tuple(f"gpu-{number}" for number in slots)), at_s)
        self.queue.started(job, os.getpid(), start_ticks(os.getpid()) or 0, boot_id(), at_s)

    def stop(self, job: int, because: int, at_s: float) -> None:
        """It is pre-empted, and saves 60 s later."""
        self._act(StopJob(job, "preempted", because), at_s)

    def end(self, job: int, at_s: float, work_s: float, code: int | None = 0, **fields: Any) -> None:
        self.queue.ended(job, code, work_s, at_s, **fields)

    def plan(self, at_s: float) -> None:
        """Reasons of those that wait, as the daemon writes them; nothing is started."""
        made = plan(self.queue.state(self.cards, 16, PlanRules()), at_s)
        self.queue.intend(replace(made, actions=()), at_s)

    def look(self, at_s: float, foreign: dict[int, str] | None = None) -> None:
        """What the daemon sees of the cards."""
        others = foreign or {}
        rows = [
            {
                "id": slot.id, "name": f"GPU {number}", "memory_mib": slot.memory_mib, "free_mib": slot.free_mib, "foreign": number in others,
                "why": others.get(number, ""),
            }
            for number, slot in enumerate(self.cards)
        ]  # fmt: skip
        self.cards = [replace(slot, foreign=number in others) for number, slot in enumerate(self.cards)]
        self.queue.keep("slots", {"seen_s": at_s, "slots": rows})

    def _act(self, action: Action, at_s: float) -> None:
        made = plan(self.queue.state(self.cards, 16, PlanRules()), at_s)
        assert self.queue.intend(replace(made, actions=(action,)), at_s) == [action]


def an_afternoon(scene: JobsScene, now_s: float) -> None:
    """Six hours of four cards: jobs that are over, one that was pre-empted, two that share a card, some that wait, one on hold."""

    def ago(minutes: float) -> float:
        return now_s - 60 * minutes

    train = ["python", "train.py", "--task", "vit", "--lr"]
    over = [
        scene.submit([*train, "3e-4"], ago(355), name="vit"),
        scene.submit([*train, "1e-3"], ago(354), name="vit"),
        scene.submit(["python", "prepare.py"], ago(350)),
    ]
    for job, (card, from_min, to_min, code) in zip(
        over, [(0, 354, 240, 0), (1, 353, 262, 0), (2, 349, 347, 1)], strict=True
    ):
        scene.start(job, [card], ago(from_min))
        scene.end(
            job,
            ago(to_min),
            60 * (from_min - to_min),
            code,
            said="" if code == 0 else "FileNotFoundError: data/train.idx",
        )
    long = scene.submit(
        ["python", "pretrain.py", "--size", "1b"], ago(340), slots=2, resume_argv=("python", "pretrain.py", "--resume")
    )
    scene.start(long, [2, 3], ago(339))
    urgent = scene.submit(["python", "evaluate.py", "--all"], ago(180), high=True, name="evaluation")
    scene.stop(long, urgent, ago(180))
    scene.end(long, ago(179), 60 * 158, 0, saved=True)
    scene.start(urgent, [3], ago(179))
    scene.end(urgent, ago(131), 60 * 48)
    scene.start(long, [2, 3], ago(130))
    shared = [
        scene.submit(["python", "probe.py", "--layer", str(layer)], ago(95 - layer), shares=True) for layer in range(2)
    ]
    for number, job in enumerate(shared):
        scene.start(job, [0], ago(90 - 31 * number))
        scene.queue.measured(job, 0.93, 400)
    cancelled = scene.submit([*train, "1e-1"], ago(80), name="vit")
    scene.queue.cancel(cancelled, ago(70))
    scene.submit([*train, "3e-3"], ago(64), name="vit", declared_mib=40 * 1024.0)
    scene.submit(
        ["python", "pretrain.py", "--size", "7b", "--data", "/data/web/2026/shards"], ago(40), slots=4, high=True
    )
    held = scene.submit(["bash", "export.sh"], ago(20))
    scene.queue.hold(held, ago(19))
    scene.look(now_s - 4, {1: "ada's process 4711 (python)"})
    scene.plan(now_s - 4)


@contextmanager
def answering(scene: JobsScene) -> Iterator[list[dict[str, Any]]]:
    """In the place of a daemon, which root may not run: the same questions over the same socket, changed in the same queue. What was asked."""
    asked: list[dict[str, Any]] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    inside = os.open(scene.folder, os.O_PATH)
    listener.bind(f"/proc/self/fd/{inside}/{SOCKET}")
    os.close(inside)
    listener.listen()
    lock = scene.folder / LOCK
    lock.write_text(json.dumps({"pid": os.getpid(), "ticks": start_ticks(os.getpid()), "boot_id": boot_id()}))

    def serve() -> None:
        queue = JobQueue(scene.folder / QUEUE)
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return queue.close()
            with client:
                line = client.makefile().readline()
                if not line:
                    continue
                asked.append(json.loads(line))
                try:
                    answer = answer_of(queue, asked[-1])
                except QueueError as error:
                    answer = {"error": str(error)}
                client.sendall(json.dumps(answer).encode() + b"\n")

    thread = threading.Thread(target=serve, name="door")
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        lock.unlink()
        (scene.folder / SOCKET).unlink()


@contextmanager
def jobs_served(
    folder: Path, fill: Callable[[JobsScene, float], None] = an_afternoon
) -> Iterator[tuple[JobsScene, Web]]:
    """A dashboard over a folder of runs that has one of the queue's runs, and over this queue."""
    log_dir, data_dir = folder / "logs", folder / "data"
    log_dir.mkdir(parents=True)
    scene = JobsScene(folder / "queue", log_dir.resolve())
    now_s = time.time()
    fill(scene, now_s)
    store = open_store(data_dir, write=True)
    store.append(
        [
            Points("vit-1", labels_of(host="box"), ("train/loss",), (1 / (step + 1),), now_s - 300 + step, step)
            for step in range(300)
        ]
    )
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(scene.folder)
    try:
        queries = Queries(open_store(data_dir, write=False), log_dir, data_dir)
        queries._collector = lambda: {"host": "box", "collectors": []}  # type: ignore[method-assign]
        with served(queries) as web:
            yield scene, web
        queries.close()
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before
        store.close()
        scene.close()


def answer_of(queue: JobQueue, asked: dict[str, Any]) -> dict[str, Any]:
    what, now_s = asked["do"], time.time()
    if what == "submit":
        request = request_from(asked["request"])
        job = queue.submit(request, now_s, lambda number: f"{request.name or 'job'}-{number}")
        return {"job": job, "run": f"{request.name or 'job'}-{job}"}
    if what == "about":
        return {"pid": os.getpid()}
    return {"ran": bool(getattr(queue, what)(asked["job"], now_s))}
