"""Which step a printed line has, and when it was: what the text does not tell is left out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from analysis.units import units_of
from collectors.logs.formats import Arrival
from collectors.logs.formats.text import TextLog, evenly
from collectors.logs.formats.text.numbers import TextNumbers
from collectors.records import Points, labels_of
from tests.support.following import series_of
from tests.support.ingesting import Ingest


def points(lines: Sequence[str], arrival: Arrival | None = None, text: TextLog | None = None) -> list[Points]:
    text = text or a_text()
    return [one for one in text.parse([line.encode() for line in lines], arrival) if isinstance(one, Points)]


def a_text() -> TextLog:
    return TextLog(
        "a", "x.log", 1_764_000_000.0, None, lambda who, kept: TextNumbers("a", labels_of(worker=str(who)), state=kept)
    )


def steps(lines: Sequence[str], name: str = "loss") -> list[int | None]:
    return [step for step, _ in series_of(points(lines)).get(name, [])]


@pytest.mark.parametrize(
    "template",
    [
        "batch {0}: loss 0.{0}",
        "[{0}] loss=0.{0}",
        "{0}: loss=0.{0}",
        "{0}:\tloss: 0.{0}\ttotal: 12ms",
        "generation {0}: loss 0.{0}",
        "round {0} | loss 0.{0}",
        "update {0}, loss = 0.{0}",
        "it {0} loss 0.{0}",
        "iteration: {0} loss: 0.{0}",
        "Episode {0} | steps: 120 | loss: 0.{0}",
        "trial {0} loss=0.{0}",
        '{{"step": {0}, "loss": "0.{0}"}}',
        "2026-11-30 08:00:00,123 - INFO - train - Step {0}/9 - loss: 0.{0}",
        "epoch=0/micro_step={0}/global_step={0}, loss=0.{0}",
    ],
)
def test_a_word_or_an_index_in_front_counts(template: str) -> None:
    assert steps([template.format(step) for step in (1, 2, 3, 4)]) == [1, 2, 3, 4]


EPOCHS = (1, 2)
UNKNOWN = "[{0}/12800 ({1}%)] loss: 0.5{0}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"Train Epoch: {e} [{n}/12800 (5%)] Loss: 0.{n}" for e in EPOCHS for n in range(0, 12800, 640)], [None] * 40),
        ([f"Epoch {e} [{n}/1000] loss: 0.{n}" for e in EPOCHS for n in range(10, 100, 10)], [None] * 18),
        ([f"Epoch {e} [{n}/100] loss: 0.{n}" for e in EPOCHS for n in (1, 11, 21)], [1, 11, 21, 101, 111, 121]),
        ([f"loss: 0.{n} [{n:>5}/60000]" for n in (64, 6464, 12864)], [1, 101, 201]),
        ([f"[{e}, {n:5}] loss: 0.{n}" for e in EPOCHS for n in (2000, 4000)], [2000, 4000, None, None]),
        ([f"epoch {e} batch {n} loss 0.{n}" for e in EPOCHS for n in range(3)], [0, 1, 2, 3, 4, 5]),
        ([f"Epoch {e}/9: {n}/50 [00:01<00:09, 9.5it/s, loss=0.{n}]" for e in (4, 5) for n in (49, 50)], [None] * 4),
        (
            [f"{n}/300 [00:01<00:09, 15.1it/s, loss=0.{n}]" for n in [*range(2, 40, 2), 39, 40]],
            [*range(2, 40, 2), 39, 40],
        ),
        ([f"{n}/300 [00:01<00:09, 15.1img/s, loss=0.{n}]" for n in range(2, 40)], [None] * 38),
    ],
)
def test_a_count_is_a_step_only_where_the_text_says_so(lines: list[str], expected: list[int | None]) -> None:
    assert steps(lines) == expected


def test_a_validation_has_the_step_of_the_training() -> None:
    lines = ["step 10 loss 0.5", "Test: [ 3/9] loss 0.6", "Test set: Average loss: 0.4, Accuracy: 98/100 (98%)"]
    found = series_of(points(lines))
    assert found["test_loss"] == [(10, 0.6)]
    assert found["test_average_loss"] == [(10, 0.4)]
    assert found["test_accuracy"] == [(10, 0.98)]


def test_a_line_beside_a_bar_has_the_step_at_which_it_is_drawn_again() -> None:
    bar = "\r 5%|#  | {0}/300 [00:01<00:09, 31it/s]"
    lines = [
        bar.format(1) + bar.format(7) + "\r      \r{'loss': '0.5', 'epoch': '0.1'}",
        bar.format(10) + bar.format(11),
        "end",
    ]
    assert steps(lines) == [10]


def test_ray_names_the_worker_and_what_is_repeated_counts_once() -> None:
    line = "\x1b[36m(Worker pid={1}, ip=10.0.0.1)\x1b[0m step {0} loss 0.{0}{2}"
    repeated = "\x1b[32m [repeated 5x across cluster]\x1b[0m"
    lines = [line.format(step, pid, repeated if step == 3 else "") for step in (1, 2, 3) for pid in (7, 8)]
    found = points(lines)
    assert [(dict(one.labels)["worker"], one.step) for one in found] == [
        (who, n) for n in (1, 2) for who in ("0", "Worker pid=8")
    ]


def stamped(second: float, step: int) -> str:
    return f"[2025-11-24T16:00:{int(second):02}Z] step {step} loss 0.{step}"


def test_lines_stamped_in_whole_seconds_have_the_times_of_their_arrival() -> None:
    begun_s, text = 1_764_000_000.0, a_text()
    found = [
        one
        for i in range(1, 41)
        for one in points([stamped(0.3 * i, 10 * i)], Arrival(begun_s + 0.3 * i, begun_s + 0.3 * i), text)
    ]
    assert [one.time_s for one in found] == pytest.approx([begun_s + 0.3 * i for i in range(1, 41)])


def test_what_was_written_before_goes_on_evenly_within_its_seconds() -> None:
    """The pace that the stamps allow, in place of one that jumps between 20 and 40 steps a second."""
    found = points([stamped(0.3125 * i, 10 * i) for i in range(180)])
    times = np.array([one.time_s for one in found])
    assert (np.floor(times - 1_764_000_000) == np.floor(0.3125 * np.arange(180))).all()
    assert (10 / np.diff(times[20:]) == pytest.approx(32, rel=0.05)) is True


def test_evenly_keeps_each_time_in_its_second_and_in_order() -> None:
    rng = np.random.default_rng(3)
    written = np.cumsum(rng.exponential(0.2, 500))
    found = evenly(list(range(500)), np.floor(written).tolist())
    assert (np.floor(found) == np.floor(written)).all()
    assert all(a <= b for a, b in itertools.pairwise(found))


def test_steps_of_one_time_count_towards_the_next() -> None:
    """Four lines a second, each of ten steps: 40 steps a second, not 10."""
    time_s = np.repeat(np.arange(5.0), 4)
    found = units_of(time_s, 10.0 * np.arange(20), np.zeros(20, np.int64))
    assert found.units.tolist() == [40.0] * 4
    assert found.seconds.tolist() == [0.025] * 4


def test_the_state_of_an_earlier_version_is_gone_on_from() -> None:
    """Its steps had other fields: what comes now is another segment."""
    state = {
        "names": ["loss"],
        "refused": [],
        "pending": {},
        "steps": [0, 40, 40, 0, None, None, True, 2],
        "tasks": True,
    }
    text = TextLog("a", "x.log", 1_764_000_000.0, state, lambda who, kept: TextNumbers("a", labels_of(), state=kept))
    found = points(["step 41 loss 0.5", "step 42 loss 0.4"], text=text)
    assert [(one.step, one.segment) for one in found] == [(41, 3), (42, 3)]


@pytest.mark.parametrize("template", ["{0}: episode reward 0.{0} steps {1}", "{0}: reward 0.{0} batch {1}"])
def test_numbers_that_rise_with_what_is_counted_are_no_tasks(template: str) -> None:
    found = points([template.format(number, 64 * number) for number in range(1, 9)])
    assert {one.labels for one in found} == {labels_of(worker="0", source="text")}


def test_tasks_of_srun_come_again_and_count_the_same() -> None:
    lines = [f"{task}: step {step} loss {task}.{step}" for step in range(1, 4) for task in range(3)]
    found = points(lines)
    assert [(dict(one.labels)["worker"], one.step, one.values) for one in found[1:]] == [
        (str(task), step, (float(f"{task}.{step}"),)) for step in range(1, 4) for task in range(3)
    ][1:]


def test_a_decimal_comma_is_no_sign_of_thousands() -> None:
    assert [one.values for one in points(["step 1 loss 0,693", "step 2 loss 1,234", "step 3 loss 0.5"])] == [(0.5,)]
    thousands = points(["step 1,000 loss 2.5", "step 1,001 loss 1,234.5", "step 1,002, loss 3"])
    assert [(one.step, one.values) for one in thousands] == [(1000, (2.5,)), (1001, (1234.5,)), (1002, (3.0,))]


def test_stamps_of_a_clock_that_went_back_stay_in_their_second() -> None:
    stamps = [100, 100, 101, 101, 102, 50, 50, 51, 51]
    lines = [f"2025-11-24 08:{at // 60:02}:{at % 60:02} step {step} loss 0.5" for step, at in enumerate(stamps, 1)]
    times = [one.time_s for one in points(lines)]
    since = times[0] - stamps[0]  # type: ignore[operator]
    assert all(0 <= time_s - since - at < 2 for time_s, at in zip(times, stamps, strict=True))  # type: ignore[operator]


def test_the_unit_is_known_after_a_start() -> None:
    text = a_text()
    points(["Epoch 1 loss 0.5", "Epoch 2 loss 0.4"], text=text)
    assert text.state()["unit"] == "epoch"
    assert "unit" not in a_text().state()


def test_the_unit_of_a_run_that_is_over_is_known_after_a_start(tmp_path: Path) -> None:
    """Its run.json is read again, its text is not."""
    ingest = Ingest(tmp_path / "logs")
    (ingest.root / "a").mkdir()
    (ingest.root / "a/run.json").write_text('{"command": "python train.py"}')
    (ingest.root / "a/train.log").write_text("Epoch 1 loss 0.5\nEpoch 2 loss 0.4\n")
    ingest.until(lambda: (run := ingest.run("a")) and run.info.get("unit") == "epoch", "the unit is not told")
    for _ in range(2):
        ingest.restart()
        for _ in range(5):
            ingest.turn()
        run = ingest.run("a")
        assert run is not None and (run.info["unit"], run.info["command"]) == ("epoch", "python train.py")


def test_a_step_that_is_drawn_again_was_reached_once() -> None:
    """tqdm draws a step, and half a second later the same one with its loss."""
    time_s, step = np.array([0.0, 0.4, 0.5, 0.9, 1.0, 1.4]), np.array([10.0, 10, 20, 20, 30, 30])
    found = units_of(time_s, step, np.zeros(6, np.int64))
    assert (found.start_s.tolist(), found.end_s.tolist(), found.units.tolist()) == (
        [0.0, 0.5],
        [0.5, 1.0],
        [10.0, 10.0],
    )


def test_epochs_of_one_text_are_no_steps_of_a_run_whose_bar_counts_steps(tmp_path: Path) -> None:
    """As where tqdm draws a bar and `logging` writes a file."""
    ingest = Ingest(tmp_path / "logs")
    folder = ingest.root / "a"
    folder.mkdir()
    bar = [
        f"epoch 0: {100 * step // 40}%| | {step}/40 [00:0{step // 10}<00:09, 9.5it/s, loss={1 / step:.3f}]\r"
        for step in range(1, 40)
    ]
    with (folder / "errors.log").open("w") as file:
        file.write("".join(bar))
    ingest.until(lambda: (run := ingest.run("a")) and (run.last_step or 0) > 30, "the bar is not read")
    for epoch in range(2):
        with (folder / "train.log").open("a") as file:
            file.write(f"epoch {epoch}: train_loss={1 / (epoch + 1):.3f} lr=0.1\n")
        ingest.until(
            lambda epoch=epoch: [one.points for one in ingest.store.series("a", "train_loss")] == [epoch + 1],
            "not read",
        )  # type: ignore[misc]
    run = ingest.run("a")
    assert run is not None and run.last_step in (38, 39) and "unit" not in run.info
    ingest.close()
