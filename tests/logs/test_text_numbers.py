"""Metrics that a training prints: those that it means are found, and nothing else is."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.logs.formats.text import TextLog
from collectors.logs.formats.text.lines import LineReader
from collectors.logs.formats.text.numbers import PROGRESS, TextNumbers
from collectors.records import ITEMS_PER_S, LogLine, Points, labels_of
from tests.support.cost import times
from tests.support.following import RECORDED, Follower, series_of


def reader(state: dict[str, object] | None = None) -> TextLog:
    numbers = TextNumbers("a", labels_of(host="box"), state=state)
    return TextLog("a", "train.log", 1_764_000_000.0, state, lambda rank, kept: numbers)


def read(lines: Sequence[str]) -> dict[str, list[tuple[int | None, float]]]:
    found = series_of(reader().parse([line.encode() for line in lines], None))
    return {name: values for name, values in found.items() if not name.startswith(PROGRESS)}


def only(kind: type, records: Sequence[object]) -> list[object]:
    return [record for record in records if isinstance(record, kind)]


STEPS: list[int | None] = [1, 2, 3, 4]
UNKNOWN = [None] * 4
FOUND = {
    "loss=2.{0} step {0}00": ({"loss"}, [100, 200, 300, 400]),
    "{{'loss': 2.{0}, 'learning_rate': 5e-05, 'epoch': 0.{0}}}": ({"loss", "learning_rate", "epoch"}, UNKNOWN),
    "{{'loss': '2.{0}', 'grad_norm': '1.{0}', 'epoch': '{0}'}}": ({"loss", "grad_norm"}, STEPS),
    "epoch {0} | loss 0.{0}": ({"loss"}, STEPS),
    "Epoch {0}/10 - 4s - loss: 0.{0} - acc: 0.9{0}": ({"loss", "acc"}, STEPS),
    "2026-11-24 16:22:0{0},500 INFO [trainer.py:123] Epoch [1/5], Step [{0}00/500], Loss: 0.{0}": (
        {"loss"},
        [100, 200, 300, 400],
    ),
    "step {0}00: train loss 1.{0}, val loss 1.3{0}": ({"train_loss", "val_loss"}, [100, 200, 300, 400]),
    "iter {0}: loss 2.{0}, time 12.3ms, mfu {0}.1%": ({"loss", "mfu"}, STEPS),
    "Train Epoch: 1 [{0}00/60000 (1%)]\tLoss: 0.{0}": ({"loss"}, UNKNOWN),
    "Epoch 0: {0}%|#   | {0}/100 [00:01<00:09,  9.50it/s, loss=0.{0}, v_num=0]": ({"loss"}, STEPS),
    "Training:  {0}%|█▌  | {0}/100 [00:01<00:09,  9.50it/s]": (set(), STEPS),
    "fit:  {0}%|█▌  | {0}/100 [00:01<00:09,  9.50it/s, loss=0.{0}]": ({"loss"}, STEPS),
    "{0}/100 [00:01<00:09, 9.5it/s, loss=0.{0}]": ({"loss"}, STEPS),
    "[rank0]: step: {0} | train/loss: 0.{0} | tokens_per_sec: {0}00.5": ({"train/loss", "tokens_per_sec"}, STEPS),
    "step={0} loss=nan": ({"loss"}, STEPS),
    "[Epoch {0}] train: loss=0.{0} acc=7{0}.1% | val: loss=0.9{0} acc=6{0}.1%": (
        {"loss", "acc", "val_loss", "val_acc"},
        STEPS,
    ),
    "Epoch {0} train: loss=0.{0} | val: loss=0.9{0}": ({"loss", "val_loss"}, STEPS),
    "Epoch {0} Train Loss: 0.{0} Acc: 7{0}.1% Val Loss: 0.9{0} Acc: 6{0}.1%": (
        {"train_loss", "acc", "val_loss", "val_acc"},
        STEPS,
    ),
    "epoch {0} | train: loss 0.{0} | val: loss 0.3{0} | lr 0.00{0}": ({"train_loss", "val_loss", "lr"}, STEPS),
    "epoch {0} | val: loss 0.3{0} acc 0.{0} | learning_rate 0.00{0} | grad_norm 1.{0}": (
        {"val_loss", "val_acc", "learning_rate", "grad_norm"},
        STEPS,
    ),
    "step {0} [train] loss=0.5{0} [val] loss=0.3{0} lr=0.00{0} gnorm=1.{0} epoch_time=3.{0}": (
        {"train_loss", "val_loss", "lr", "gnorm", "epoch_time"},
        STEPS,
    ),
    "step {0} (train) loss: 0.5{0} (val) loss: 0.3{0}, wd: 0.{0}, optim0_lr0: 0.0{0}, mem: {0}5.5, sec_per_it: 0.{0}": (
        {"train_loss", "val_loss", "wd", "optim0_lr0", "mem", "sec_per_it"},
        STEPS,
    ),
    "step {0} train: loss 0.5{0} time 1.{0} | val: loss 0.3{0} time 0.{0}": (
        {"loss", "time", "val_loss", "val_time"},
        STEPS,
    ),
    "Validation: step {0} loss 0.3{0} lr 0.00{0}": ({"val_loss", "lr"}, STEPS),
    "Epoch(train) [1][{0}/500]  lr: 1.0e-0{0}  eta: 0:10:00  loss: 0.{0}": ({"lr", "loss"}, STEPS),
}


@pytest.mark.parametrize("template", FOUND)
def test_the_usual_ways_to_print_a_metric_are_read(template: str) -> None:
    names, steps = FOUND[template]
    found = read([template.format(step) for step in STEPS])
    assert set(found) == names
    assert all([step for step, _ in values] == steps for values in found.values())


@pytest.mark.parametrize(
    "template",
    [
        "step {0}: listening on http://10.0.0.{0}:8080/x?y=1",
        "step {0}: saved to /data/run={0}/checkpoint-{0}.pt",
        "step {0}: torch=2.{0}.1 cuda=12.{0}.0",
        "step {0}: date=2026-11-0{0} time=10:0{0}:00",
        "step {0}: memory=1{0}GB speed=1{0}ms/it",
        "step {0}: rank=3 pid=4242 host1:29500 workers=8 batch_size=32",
        '  File "/home/me/step_{0}.py", line {0}, in step',
        "TrainingArguments(num_train_epochs=3, learning_rate=5e-05, seed=4{0}, warmup_steps={0}00)",
        "epoch {0} took {0} minutes",
        "commit=1e{0}f3ab step {0}",
    ],
)
def test_what_only_looks_like_one_is_not(template: str) -> None:
    assert read([template.format(step) for step in STEPS]) == {}


def test_a_key_is_a_series_once_it_stood_on_three_lines_with_a_growing_step_and_has_those_points() -> None:
    lines = ["step 1 speed=5.5", "step 2 speed=4.5", "step 3 speed=3.5", "step 4 speed=2.5"]
    assert read(lines[:2]) == {}
    assert read(lines[:3]) == {"speed": [(1, 5.5), (2, 4.5), (3, 3.5)]}
    assert read(lines)["speed"][-1] == (4, 2.5)
    assert read(["step 5 speed=1.5"] * 9) == {}


@pytest.mark.parametrize(("from_zero", "every"), [(True, 1), (True, 7), (False, 10)])
def test_text_that_counts_samples_has_their_rate_without_the_validation(from_zero: bool, every: int) -> None:
    """As pytorch/examples prints it: 60,000 samples an epoch, in batches of 64, 1,600 a second, and 20 s of test behind each epoch."""
    state: dict[str, object] | None = None
    rates, seen, now_s = [], 0, 1_764_000_000.25
    for epoch in (1, 2, 3):
        numbers = TextNumbers("a", labels_of(host="box"), state=orjson.loads(orjson.dumps(state)))
        for batch in range(0 if from_zero else 10, 938, 10):
            if batch % every == 0:
                line = f"Train Epoch: {epoch} [{batch * 64}/60000 ({batch / 9.38:.0f}%)]\tLoss: 0.{batch + 1}"
                found = numbers.points(line, now_s + batch * 64 / 1600)
                seen += len([one for one in found if one.step is not None])
                rates += [one.values[0] for one in found if one.names == (ITEMS_PER_S,)]
        now_s += 37.5
        numbers.points("Test set: Average loss: 0.1, Accuracy: 9800/10000 (98%)", now_s + 20)
        now_s += 22
        state = numbers.state()
    assert len(rates) >= 20
    assert rates == pytest.approx([1600] * len(rates))
    assert not seen, "no sample is a step"


def rates_of(lines: Sequence[tuple[float, str]]) -> list[float]:
    numbers = TextNumbers("a", labels_of(host="box"))
    found = [one for time_s, line in lines for one in numbers.points(line, time_s)]
    return [one.values[0] for one in found if one.names == (ITEMS_PER_S,)]


def printed(epochs: int, stall_s: float = 0.0) -> list[tuple[float, str]]:
    """1,600 samples a second, a test of 8 s behind each epoch, and one stall in the middle of each."""
    lines, now_s = [], 1_764_000_000.25
    for epoch in range(1, epochs + 1):
        for batch in range(0, 938, 10):
            lines.append(
                (now_s, f"Train Epoch: {epoch} [{batch * 64}/60000 ({batch / 9.38:.0f}%)]\tLoss: 0.{batch + 1}")
            )
            now_s += 0.4 + stall_s * (batch == 470)
        now_s += 8
        lines.append((now_s, f"Test set: Average loss: 0.{epoch}, Accuracy: 98{epoch}0/10000 (98%)"))
    return lines


@pytest.mark.parametrize("flushed_every", [10**9, 37])
@pytest.mark.parametrize("held_bytes", [512, 1024, 4096, 8192, 65536])
def test_buffered_output_has_the_rate_from_buffer_to_buffer_or_none(held_bytes: int, flushed_every: int) -> None:
    arrived: list[tuple[float, str]] = []
    held: list[str] = []
    for place, (time_s, line) in enumerate(printed(12)):
        held.append(line)
        if sum(map(len, held)) >= held_bytes or place % flushed_every == flushed_every - 1:
            arrived += [(time_s + 0.2 * place / len(held), text) for place, text in enumerate(held)]
            held = []
    assert all(rate == pytest.approx(1600, rel=0.15) for rate in rates_of(arrived))


def counting(places: Sequence[int], every_s: float = 1.0, total: int = 60_000) -> list[tuple[float, str]]:
    now_s = 1_764_000_000.25
    return [
        (now_s + at * every_s, f"Train Epoch: 1 [{place}/{total} (1%)]\tLoss: 0.{at + 1}")
        for at, place in enumerate(places)
    ]


VALIDATIONS = [
    "Test set: Average loss: 0.1, Accuracy: 9800/10000 (98%)",
    "val_loss: 0.31",
    "Validation loss: 0.3",
    "valid loss: 0.3",
    "{'eval_loss': 0.3}",
    "Test accuracy: 94.1%",
    "Validation Loss: 0.3, Accuracy: 95.1",
    "Epoch 1 val_acc 0.9",
    "Epoch 1: train_loss 0.4 val_loss 0.3",
]


@pytest.mark.parametrize("report", VALIDATIONS)
def test_however_a_validation_is_reported_its_time_is_not_the_trainings(report: str) -> None:
    lines = counting(range(0, 6400, 64))
    later = [(time_s + 30, line) for time_s, line in lines[50:]]
    rates = rates_of([*lines[:50], (lines[50][0] + 29, report), *later])
    assert len(rates) > 40 and rates == pytest.approx([64] * len(rates))


def test_counts_of_several_programs_or_of_two_loaders_have_no_rate_together() -> None:
    clients = [line for place in range(200) for line in (64 * place, 12_000 + 64 * place, 24_000 + 64 * place)]
    assert not rates_of(counting(clients, 0.4))
    two = [
        both
        for one in zip(counting(range(0, 6400, 64)), counting(range(0, 64_000, 640), total=200_000), strict=True)
        for both in one
    ]
    assert not rates_of([(1_764_000_000.25 + 0.5 * at, line) for at, (_, line) in enumerate(two)])


def test_a_text_that_says_no_epoch_has_no_rate_across_two() -> None:
    first = counting(range(0, 12_800, 640))
    later = [(time_s + 45, line) for time_s, line in first]
    rates = rates_of([*first, *later])
    assert len(rates) > 15 and rates == pytest.approx([640] * len(rates), rel=0.01)


def test_lines_that_are_read_late_have_the_rate_of_the_time_between() -> None:
    lines = counting(range(0, 6400, 64))
    late = rates_of(
        [(max(time_s, lines[36][0]) if 30 < at <= 36 else time_s, line) for at, (time_s, line) in enumerate(lines)]
    )
    assert len(late) > 40 and late == pytest.approx([64] * len(late), rel=0.01)
    caught_up = [
        (lines[90][0] - 3.6 + 0.06 * (at - 30), line) if 30 < at <= 90 else (time_s, line)
        for at, (time_s, line) in enumerate(lines)
    ]
    assert rates_of(caught_up) == pytest.approx([64] * len(rates_of(caught_up)), rel=0.08)


def test_a_stall_is_a_dip_of_the_rate() -> None:
    rates = rates_of(printed(3, stall_s=6.0))
    assert sum(rate == pytest.approx(1600) for rate in rates) >= 20
    assert len([rate for rate in rates if rate < 800]) == 3


@pytest.mark.parametrize("every_s", [0.02, 0.15, 0.29, 0.31, 0.7, 1.1, 1.3, 1.6, 1.9, 2.2, 3.0])
def test_however_often_lines_come_the_rate_is_told_of_all_their_time_and_a_slow_stretch_is_seen(every_s: float) -> None:
    """Ten minutes of lines that do not come evenly, the middle two of which take twice as long."""
    chance = random.Random(7)
    lines, now_s = [], 1_764_000_000.25
    for place in range(round(600 / every_s)):
        lines.append((now_s, f"Train Epoch: 1 [{place * 640}/64000000 ({place / 100:.0f}%)]\tLoss: 0.{place + 1}"))
        now_s += every_s * chance.uniform(0.9, 1.1) * (2 if 240 <= place * every_s <= 360 else 1)
    numbers = TextNumbers("a", labels_of(host="box"))
    told = [one for time_s, line in lines for one in numbers.points(line, time_s) if one.names == (ITEMS_PER_S,)]
    times = [one.time_s or 0.0 for one in told]
    usual = 640 / every_s
    assert max(later - before for before, later in itertools.pairwise(times)) < max(5.0, 5 * every_s)
    assert sum(0.85 * usual < one.values[0] < 1.15 * usual for one in told) > 0.6 * len(told)
    slow = [time_s for one, time_s in zip(told, times, strict=True) if one.values[0] < 0.6 * usual]
    assert slow[-1] - slow[0] > 200
    assert not [one for one in told if not 0.4 * usual < one.values[0] < 1.2 * usual]


def test_samples_within_the_resolution_of_their_times_have_no_rate() -> None:
    numbers = TextNumbers("a", labels_of(host="box"))
    lines = [(f"Train Epoch: 1 [{count}/60000]\tLoss: 0.5{count}", count // 640) for count in range(0, 6400, 640)]
    assert not [
        one for line, second in lines for one in numbers.points(line, 1e9 + second) if one.names == (ITEMS_PER_S,)
    ]
    numbers = TextNumbers("a", labels_of(host="box"))
    assert not [one for line, _ in lines for one in numbers.points(line, None) if one.names == (ITEMS_PER_S,)]


def test_an_epoch_goes_on_where_the_last_one_ended() -> None:
    lines = [f"Epoch [{epoch}/2], Step [{step}/3], Loss: 0.5" for epoch in (1, 2) for step in (1, 2, 3)]
    assert [step for step, _ in read(lines)["loss"]] == [1, 2, 3, 4, 5, 6]


def test_a_training_that_starts_again_is_a_new_segment() -> None:
    lines = [f"step {step}: loss 0.5{step}" for step in (100, 200, 300, 1, 2)]
    found = reader().parse([line.encode() for line in lines], None)
    assert [record.segment for record in found if isinstance(record, Points)] == [0, 0, 0, 1, 1]


def test_what_hugging_face_prints_is_read() -> None:
    found = read((RECORDED / "hugging_face" / "train.log").read_text().splitlines())
    assert {"loss", "learning_rate", "grad_norm"} <= set(found) and len(found["loss"]) == 8


def test_points_have_the_time_of_their_line_and_say_that_they_were_read_from_text() -> None:
    lines = [f"2025-11-24T16:00:0{step}Z step {step} loss=0.{step}".encode() for step in STEPS]
    found = [record for record in reader().parse(lines, None) if isinstance(record, Points)]
    assert [record.time_s for record in found] == [1764000000.0 + step for step in STEPS]
    assert {record.labels for record in found} == {(("host", "box"), ("source", "text"))}


def test_a_run_with_metrics_of_its_own_needs_none_from_its_text(follower: Follower, tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "train.log").write_text("".join(f"step {step} loss=0.{step}\n" for step in STEPS))
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step":1,"train/loss":0.5}\n')
    assert sorted(follower.values(5)) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert {record.run for record in follower.records if isinstance(record, Points) and record.names == ("loss",)} == {
        "b"
    }


PIECES = [
    "step ",
    "epoch ",
    "loss",
    "=",
    ": ",
    "3",
    "0.5",
    "/",
    "[",
    "]",
    "<",
    "nan",
    "e-4",
    "it/s",
    " ",
    ",",
    "'",
    "{",
    "val ",
    "x.y",
    "-",
    "12:30",
]


@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
)
@settings(deadline=None, max_examples=200)
def test_it_may_be_cut_and_resumed_anywhere(lines: list[str], cuts: list[int]) -> None:
    data = [line.encode() for line in lines]
    expected = reader().parse(data, None)
    found, text = [], reader()
    for since, until in itertools.pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
        found += text.parse(data[since:until], None)
        text = reader(orjson.loads(orjson.dumps(text.state())))
    for kind in (LogLine, Points):
        assert repr(only(kind, found)) == repr(only(kind, expected))


@given(
    st.lists(
        st.sampled_from([template.format(3) for template in FOUND])
        | st.lists(st.sampled_from(PIECES), max_size=8).map(lambda parts: "step 3 loss=0.5 " + "".join(parts))
        | st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
@settings(deadline=None, max_examples=200)
def test_what_is_remembered_of_a_line_changes_nothing(lines: list[str], data: st.DataObject) -> None:
    """Lines come again with other numbers."""
    reader = LineReader()
    for line in lines * 3:
        again = "".join(
            data.draw(st.sampled_from(["3", "7", "12", "1.5"])) if part.isdigit() else part
            for part in re.split(r"(\d+)", line)
        )
        for text in (line, again):
            assert repr(reader.read(text)) == repr(LineReader().read(text)), text


@given(st.text(max_size=1_000) | st.lists(st.sampled_from(PIECES), max_size=200).map("".join))
@settings(max_examples=300, deadline=None)
def test_any_text_is_looked_at_in_little_time(text: str) -> None:
    began_s = time.process_time()
    numbers = TextNumbers("a", ())
    for line in ("step 1 " + text)[:1_000], text[:1_000]:
        assert all(isinstance(value, float) for point in numbers.points(line, None) for value in point.values)
    assert time.process_time() - began_s < 5.0, "some milliseconds at rest"


@pytest.mark.parametrize(
    "part", ["a", "a ", "1", "1/", "loss ", "train ", "step ", "'", "[", "=", "a=", "1.", "epoch [", "   ", "-"]
)
def test_no_line_makes_the_search_slow(part: str) -> None:
    def look(text: str) -> None:
        line = (text * 1_000)[:1_000]
        for _ in range(5):
            TextNumbers("a", ()).points(line, None)
            TextNumbers("a", ()).points("step 1 " + line[:900], None)

    assert times(lambda: look(part), lambda: look("loss 0.25 lr 1e-3 ")) < 10


def test_the_lines_themselves_stay_as_they_are() -> None:
    lines = [b"step 1 loss=0.5", b"\x1b[32mstep 2\x1b[0m loss=0.4", b"step 3 loss=0.3"]
    found = reader().parse(lines, None)
    assert [record.text.encode() for record in found if isinstance(record, LogLine)] == lines
    assert series_of(found) == {"loss": [(1, 0.5), (2, 0.4), (3, 0.3)]}
