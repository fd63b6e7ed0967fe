"""The core of serving: batches without a timer, refusals, deadlines, clients that are gone, reload; real sessions of ONNX Runtime."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from asyncio import Future
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifact import write
from models.errors import BadArtifact
from models.runtimes.session import ModelSession
from models.serving.model import ServedModel, ServingOptions, ServingState
from models.serving.queue import (
    NEVER_S,
    BatchPace,
    BatchQueue,
    ModelAnswer,
    PendingRequest,
    RefusalKind,
    ServingRefusal,
)
from tests.models.toys import INPUTS, WEIGHTS, manifest, toy, written


def row(value: float, rows: int = 1) -> dict[str, Any]:
    return {"x": np.full((rows, 4), value, np.float32)}


def expected(value: float) -> list[float]:
    return np.maximum(np.full(4, value, np.float32) @ WEIGHTS, 0).tolist()  # type: ignore[no-any-return]


def run(test: Callable[[ServedModel], Coroutine[Any, Any, None]], folder: Path, **options: Any) -> None:
    async def whole() -> None:
        model = ServedModel("toy", folder, ServingOptions(**options))
        await model.load()
        try:
            await test(model)
        finally:
            await model.close()

    asyncio.run(whole())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "toy").folder


class Gate:
    """Stands before a model's preparation: batches wait until it is opened."""

    def __init__(self) -> None:
        self.open, self.entered = threading.Event(), threading.Semaphore(0)
        self.rows: list[int] = []

    def __call__(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.rows.append(len(inputs["x"]))
        self.entered.release()
        assert self.open.wait(60)
        return inputs


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.acquire, True, 10)


def waiting(rows: int = 1, key: object = 0, deadline_s: float = NEVER_S) -> PendingRequest:
    future: Future[ModelAnswer] = Future(loop=LOOP)
    return PendingRequest(row(1, rows), rows, key, 0.0, deadline_s, future)


LOOP = asyncio.new_event_loop()


def test_a_batch_takes_what_waits_and_fits_in_order() -> None:
    queue = BatchQueue(most_rows=4)
    requests = [waiting(1), waiting(2), waiting(2), waiting(1)]
    for request in requests:
        queue.put(request)
    assert queue.take().requests == [requests[0], requests[1], requests[3]]  # type: ignore[union-attr]
    assert queue.rows == 2 and queue.take().requests == [requests[2]] and queue.rows == queue.bytes == 0  # type: ignore[union-attr]


def test_dead_and_expired_requests_take_no_place_in_a_batch() -> None:
    queue = BatchQueue(most_rows=2)
    gone, late, live = waiting(2), waiting(2, deadline_s=time.monotonic() - 1), waiting(2)
    for request in (gone, late, live):
        queue.put(request)
    gone.future.cancel()
    taken = queue.take()
    assert taken and (taken.gone, taken.expired, taken.requests) == ([gone], [late], [live])


def test_requests_of_another_shape_wait_for_a_batch_of_their_own_and_a_large_one_goes_alone() -> None:
    queue = BatchQueue(most_rows=4)
    requests = [waiting(9), waiting(1, key="a"), waiting(1, key="b"), waiting(1, key="a")]
    for request in requests:
        queue.put(request)
    queue.close()
    found = []
    while taken := queue.take():
        found.append(taken.requests)
    assert found == [[requests[0]], [requests[1], requests[3]], [requests[2]]]


def test_the_pace_chooses_the_smallest_batch_that_pays_and_predicts_a_wait() -> None:
    now = [0.0]
    pace = BatchPace(clock=lambda: now[0])
    for rows, seconds in {1: 1.0, 2: 1.1, 4: 1.2, 8: 2.4, 16: 4.8}.items():
        pace.add(rows, seconds)
    assert pace.best_rows(16) == 4 and pace.best_rows(2) == 2
    assert pace.wait_s(0, 4, workers=1) == 0
    pace.begin("worker", 4)
    now[0] = 0.5
    assert pace.wait_s(0, 4, workers=1) == pytest.approx(0.7)
    assert pace.wait_s(8, 4, workers=1) == pytest.approx(0.7 + 2.4)
    assert pace.wait_s(0, 4, workers=2) == 0


def test_answers_are_of_their_own_requests(folder: Path) -> None:
    async def test(model: ServedModel) -> None:
        answers = await asyncio.gather(*(model.submit(row(value)) for value in range(300)))
        assert [answer.outputs["y"].tolist() for answer in answers] == [
            [pytest.approx(expected(value))] for value in range(300)
        ]
        assert max(answer.batch_rows for answer in answers) > 1 and model.figures.batches < 300

    run(test, folder, most_wait_s=60.0, prepare=dict)  # with a preparation no request is run at once


def test_a_small_model_is_run_at_once_and_a_slow_one_by_its_worker(folder: Path) -> None:
    async def test(model: ServedModel) -> None:
        assert model.current and not model.current.queue.rows
        model.current.pace.add(1, 0.0)
        assert model.submit(row(1)).done()
        for _ in range(100):
            model.current.pace.add(1, 1.0)
        future = model.submit(row(1))
        assert not future.done() and (await future).outputs["y"].tolist() == [pytest.approx(expected(1))]

    run(test, folder, most_wait_s=60.0)


def test_a_batch_leaves_when_the_worker_is_free_not_by_a_timer(folder: Path) -> None:
    gate = Gate()

    async def test(model: ServedModel) -> None:
        first = model.submit(row(1))
        await entered(gate)
        rest = [model.submit(row(value)) for value in range(5)]
        await asyncio.sleep(0.05)
        assert not first.done() and gate.rows == [1]
        gate.open.set()
        await asyncio.gather(first, *rest)
        assert gate.rows[0] == 1 and sum(gate.rows) == 6 and len(gate.rows) < 6

    run(test, folder, prepare=gate, most_wait_s=60.0)


def test_a_request_that_would_wait_too_long_is_refused_at_once(folder: Path) -> None:
    gate = Gate()

    async def test(model: ServedModel) -> None:
        assert model.current
        model.current.pace.add(1, 100.0)  # the next batches look slow
        running = model.submit(row(1))
        await entered(gate)
        with pytest.raises(
            ServingRefusal, match=r"'toy' has too many requests: this one would wait .* ms, and the limit is 50 ms"
        ) as refused:
            model.submit(row(2))
        assert (
            refused.value.kind is RefusalKind.BUSY
            and refused.value.retry_after_s
            and int(refused.value.retry_after["retry-after"]) >= 1
        )
        gate.open.set()
        await running

    run(test, folder, prepare=gate, most_wait_s=0.05)


def test_a_deadline_is_kept_in_the_queue_and_by_the_caller(folder: Path) -> None:
    gate = Gate()

    async def test(model: ServedModel) -> None:
        running = model.submit(row(1))
        await entered(gate)
        begun_s = time.monotonic()
        with pytest.raises(ServingRefusal, match="the deadline passed") as late:
            await model.submit(row(2), deadline_s=begun_s + 0.05)
        assert late.value.kind is RefusalKind.LATE and time.monotonic() - begun_s < 30
        gate.open.set()
        await running
        await model.submit(row(3))
        assert gate.rows == [1, 1], "the late one was dropped"

    run(test, folder, prepare=gate, most_wait_s=60.0)


def test_a_client_that_is_gone_is_not_computed(folder: Path) -> None:
    gate = Gate()

    async def test(model: ServedModel) -> None:
        running = model.submit(row(1))
        await entered(gate)
        gone = [model.submit(row(2)) for _ in range(20)]
        for future in gone:
            future.cancel()
        last = model.submit(row(3))
        gate.open.set()
        assert (await last).outputs["y"].tolist() == [pytest.approx(expected(3))]
        await running
        assert sum(gate.rows) == 2

    run(test, folder, prepare=gate, most_wait_s=60.0)


def test_one_bad_request_of_a_batch_fails_alone(folder: Path) -> None:
    gate = Gate()

    def picky(inputs: dict[str, Any]) -> dict[str, Any]:
        gate(inputs)
        if (inputs["x"] == 13).any():
            raise ValueError("13 cannot be prepared")
        if (inputs["x"] == 14).any():
            raise KeyError("a mistake in the preparation")
        return inputs

    async def test(model: ServedModel) -> None:
        running = model.submit(row(1))
        await entered(gate)
        futures = [model.submit(row(value)) for value in (2, 13, 3, 14)]
        gate.open.set()
        answers = await asyncio.gather(*futures, return_exceptions=True)
        assert [answers[place].outputs["y"].tolist() for place in (0, 2)] == [
            [pytest.approx(expected(2))],
            [pytest.approx(expected(3))],
        ]  # type: ignore[union-attr]
        assert str(answers[1]) == "13 cannot be prepared" and answers[1].kind is RefusalKind.BAD  # type: ignore[union-attr]
        assert (
            str(answers[3]) == "the model failed (KeyError); the server's log has more"
            and answers[3].kind is RefusalKind.FAILED
        )  # type: ignore[union-attr]
        await running

    run(test, folder, prepare=picky, most_wait_s=60.0)


def test_a_wrong_shape_type_name_or_row_count_is_one_sentence(folder: Path) -> None:
    async def test(model: ServedModel) -> None:
        for inputs in (
            {"x": np.zeros((1, 5), np.float32)},
            {"x": np.zeros((1, 4), np.float64)},
            {"x": np.zeros((0, 4), np.float32)},
            {"z": np.zeros((1, 4), np.float32)},
            {},
        ):
            with pytest.raises(ServingRefusal) as refused:
                model.submit(inputs)
            assert refused.value.kind is RefusalKind.BAD and "\n" not in str(refused.value)

    run(test, folder)


def test_a_reload_fails_no_request_and_mixes_no_answers(folder: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", toy(WEIGHTS * 2), manifest(), INPUTS).folder

    async def test(model: ServedModel) -> None:
        seen: dict[str, set[float]] = {}
        stop = False

        async def ask() -> None:
            while not stop:
                answer = await model.submit(row(1))
                await asyncio.sleep(0)  # a model that is run at once leaves the loop no turn on a quiet host
                seen.setdefault(answer.version, set()).add(round(float(answer.outputs["y"][0, 0]), 4))

        askers = [asyncio.create_task(ask()) for _ in range(16)]
        for place in (other, folder, other):
            await model.load(place)
            await asyncio.sleep(0.02)
        stop = True
        await asyncio.gather(*askers)
        value = round(expected(1)[0], 4)
        assert seen == {"1": {value}, "2": {2 * value}, "3": {value}, "4": {2 * value}}
        assert (await model.submit(row(1), "3")).version == "3", "the one before is kept"
        with pytest.raises(ServingRefusal, match="'toy' has no version '2'; it has 3 and 4"):
            model.submit(row(1), "2")

    run(test, folder, most_wait_s=60.0)


def test_reloads_leave_no_threads_and_no_files_open(folder: Path) -> None:
    async def test(model: ServedModel) -> None:
        counts = []
        for _ in range(12):
            await model.load()
            await asyncio.gather(*model._closing)
            names = [thread.name for thread in threading.enumerate() if thread.name.startswith("serve-toy-")]
            counts.append((len(names), len(list(Path("/proc/self/fd").iterdir()))))
        assert {threads for threads, _ in counts} == {4}, "two versions of two workers"
        assert counts[-1][1] <= counts[1][1]

    run(test, folder, workers=2)


def test_an_answer_of_many_steps_keeps_its_version(folder: Path) -> None:
    async def test(model: ServedModel) -> None:
        first = model.version()
        with first.held():
            for _ in range(3):
                await model.load()
            assert [version.number for version in (model.previous, model.current) if version] == ["3", "4"]
            answer = await first.submit(row(1), time.monotonic(), admitted=True)
            assert answer.version == "1" and first.state is ServingState.DRAINING
            with pytest.raises(ServingRefusal, match="takes no more requests"):
                first.submit(row(1), time.monotonic())
        await asyncio.gather(*model._closing)
        assert first.state is ServingState.CLOSED

    run(test, folder)


def test_a_damaged_new_version_leaves_the_old_one_in_use(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / "model.onnx").write_bytes(toy(WEIGHTS * 2))

    async def test(model: ServedModel) -> None:
        with pytest.raises(BadArtifact, match="is not the file that the manifest names"):
            await model.load(broken)
        assert model.is_ready and model.folder == folder and "is not the file" in model.trouble
        assert (await model.submit(row(1))).version == "1"
        await model.load()
        assert model.trouble == "" and (await model.submit(row(1))).version == "2"

    run(test, folder)


def test_closing_answers_what_waits_and_ends_the_threads(folder: Path) -> None:
    gate = Gate()
    before = threading.active_count()

    async def test(model: ServedModel) -> None:
        futures = [model.submit(row(value)) for value in range(10)]
        closing = asyncio.create_task(model.close())
        await asyncio.sleep(0.02)
        with pytest.raises(ServingRefusal, match="takes no more requests"):
            model.submit(row(1))
        gate.open.set()
        await asyncio.gather(closing, *futures)

    run(test, folder, prepare=gate, most_wait_s=60.0)
    assert threading.active_count() <= before


def test_sessions_are_run_by_one_thread_each(folder: Path) -> None:
    async def test(model: ServedModel) -> None:
        await asyncio.gather(*(model.submit(row(value)) for value in range(100)))
        assert model.current and len(model.current._threads) == 3

    run(test, folder, workers=3, most_wait_s=60.0)
    assert ModelSession
