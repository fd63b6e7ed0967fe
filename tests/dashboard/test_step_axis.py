"""How far a run is, where its tags count different things: steps, epochs, samples."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

from analysis.findings.working_set import KnownSubjects
from collectors.records import Points
from collectors.store.store import Store
from dashboard.runs.comparison import by_name, newest_step
from tests.conftest import Ask
from tests.support.event_records import framed, number
from tests.support.ingesting import Ingest
from tests.support.ingesting import ingest as ingest  # a fixture
from tests.support.stored import HOST, START_S, Open
from tests.support.stored import opened as opened  # a fixture
from tests.support.stored import store as store  # a fixture
from tests.support.trackio_project import Project

Logged: TypeAlias = tuple[str, int]  # a tag and its step

RUN_ID = "0123456789abcdef0123456789abcdef"


def epochs_of(
    steps: int, epochs: int = 3, every: int = 1, tags: Sequence[str] = ("loss/train", "lr")
) -> Iterator[Logged]:
    """A training that logs every so many of its steps, and at the end of each epoch one tag with the epoch."""
    for epoch in range(epochs):
        for step in range(epoch * steps, (epoch + 1) * steps):
            if step % every == every - 1:
                yield from ((tag, step) for tag in tags)
        yield "loss/test", epoch


def resumed() -> Iterator[Logged]:
    yield from epochs_of(100)
    yield from (("loss/train", step) for step in range(200, 250))
    yield "loss/test", 3


def by_turns() -> Iterator[Logged]:
    """No tag has every step."""
    for step in range(300):
        yield ("even", "odd")[step % 2], step


def of_samples() -> Iterator[Logged]:
    """As Megatron logs."""
    for step in range(1, 200):
        yield "lm loss", step
        yield "lm loss vs samples", 512 * step


def batches_of_validation() -> Iterator[Logged]:
    for epoch in range(3):
        yield from (("loss/train", step) for step in range(epoch * 100, (epoch + 1) * 100))
        yield from (("loss/test", batch) for batch in range(20))


CASES: dict[str, tuple[Callable[[], Iterator[Logged]], int]] = {
    "epochs": (lambda: epochs_of(100), 299),
    "an epoch's tag first": (lambda: itertools.chain([("loss/test", 0)], epochs_of(100)), 299),
    "two epochs of three steps": (lambda: epochs_of(3, 2), 5),
    "fewer points than epochs": (lambda: epochs_of(30, 20, every=50), 599),
    "as many points as epochs": (lambda: epochs_of(50, 10, every=50), 499),
    "resumed": (resumed, 249),
    "by turns": (by_turns, 299),
    "samples": (of_samples, 199),
    "samples alone": (lambda: (("Train/Samples/loss", 64 * step) for step in range(50)), 64 * 49),
    "batches of a validation": (batches_of_validation, 299),
    "epochs alone": (lambda: ((tag, epoch) for epoch in range(10) for tag in ("loss/train", "loss/test")), 9),
}


def points_of(logged: Iterator[Logged]) -> list[Points]:
    return [Points("a", HOST, (tag,), (1.0,), START_S + place / 100, step) for place, (tag, step) in enumerate(logged)]


def last_step(store: Store) -> int | None:
    run = store.run("a")
    assert run is not None
    return run.last_step


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch", [1, 7, 10**6])
def test_the_last_step_is_on_the_axis_of_steps(store: Store, case: str, batch: int) -> None:
    logged, last = CASES[case]
    points = points_of(logged())
    for first in range(0, len(points), batch):
        store.append(points[first : first + batch])
    assert last_step(store) == last
    assert case in ("resumed", "by turns") or newest_step(by_name(store.series("a"))) == last


@pytest.mark.parametrize("packed", [False, True])
def test_a_writer_that_starts_again_knows_the_axis(opened: Open, packed: bool) -> None:
    store = opened(True)
    store.append(points_of(epochs_of(100)))
    while packed and store.compact(1.0):
        pass
    store.close()
    again = opened(True)
    again.append([Points("a", HOST, ("loss/test",), (1.0,), START_S + 10, 3)])
    assert last_step(again) == 299
    again.append([Points("a", HOST, ("loss/train", "lr"), (1.0, 1.0), START_S + 11, 300)])
    assert last_step(again) == 300


def test_a_run_that_is_read_anew_counts_anew(store: Store) -> None:
    store.append(points_of(epochs_of(100)))
    store.delete("a")
    store.append(points_of(("loss/test", epoch) for epoch in range(5)))
    assert last_step(store) == 4


@pytest.mark.parametrize("case", ["epochs", "as many points as epochs", "samples"])
def test_a_rule_sees_the_steps_of_that_axis(case: str) -> None:
    logged, last = CASES[case]
    known = KnownSubjects()
    points = [record._replace(names=(record.names[0].replace("test", "held_out"),)) for record in points_of(logged())]
    known.take(points, START_S + 100.0)
    track = known.runs["a"].tracks["steps", 0]
    steps = track.step.tolist()
    assert steps[-1] == last and sum(after < before for before, after in itertools.pairwise(steps)) <= 1


def test_the_page_counts_on_that_axis_and_its_rate_survives_an_epoch(ask: Ask) -> None:
    found = ask("""
    const { TIME } = await load("lib/axis.js");
    const { SeriesStore } = await load("data/series_store.js");
    const { Series } = await load("data/series.js");
    const row = (name, points) => ({ run: "a", name, labels: {}, t: points.map(([t]) => t), step: points.map(([, step]) => step), v: points.map(() => 1), segment: points.map(() => 0) });
    const steps = Array.from({ length: 600 }, (_, step) => [step / 10, step]);
    const series = new Map();
    for (const each of [row("held_out", [[19.95, 0], [39.95, 1]]), row("loss", steps), row("loss vs samples", steps.map(([t, step]) => [t, 64 * step]))]) {
      const one = new Series(each, 0.5, TIME);
      one.append(each);
      series.set(`a\\n${each.name}\\n`, one);
    }
    const store = new SeriesStore();
    [store.run, store.axis] = ["a", TIME];
    store.replace({ series, failed: new Map(), run: "a", axis: TIME }, true);
    store.onDelta({ series: [row("held_out", [[59.95, 2]])] }, true);
    store.onDelta({ series: [row("loss", [[60, 600]])] }, true);
    return [store.stepper().meta.name, store.pace.step, store.pace.rate];""")
    assert found == ["loss", 600, pytest.approx(10, rel=0.05)]


# -- what programs write -----------------------------------------------------------------------------------------------


def as_tensorboard(root: Path, logged: list[Logged]) -> None:
    (root / "a").mkdir()
    data = b"".join(framed(number(tag, 1.0, step, START_S + place / 100)) for place, (tag, step) in enumerate(logged))
    (root / "a" / "events.out.tfevents.1764000000.box.1.0").write_bytes(data)


def as_jsonl(root: Path, logged: list[Logged]) -> None:
    (root / "a").mkdir()
    lines = ({"time_s": START_S + place / 100, "step": step, tag: 1.0} for place, (tag, step) in enumerate(logged))
    (root / "a" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def as_mlflow(root: Path, logged: list[Logged]) -> None:
    run = root / "mlruns" / "7" / RUN_ID
    (run / "metrics" / "loss").mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("name: tries\n")
    (run / "meta.yaml").write_text("run_name: a\nstatus: 1\nstart_time: 1764000000000\nend_time: null\n")
    for place, (tag, step) in enumerate(logged):
        with (run / "metrics" / tag).open("a") as file:
            file.write(f"{1764000000000 + 10 * place} 1.0 {step}\n")


def as_trackio(root: Path, logged: list[Logged]) -> None:
    project = Project(root / "tries.db")
    for tag, step in logged:
        project.log("a", step, {tag: 1.0})
    project.db.close()


def as_tensorboard_and_text(root: Path, logged: list[Logged]) -> None:
    as_tensorboard(root, logged)
    (root / "a" / "train.log").write_text("".join(f"epoch {epoch}: accuracy {epoch / 7:.3f}\n" for epoch in range(3)))


@pytest.mark.parametrize("write", [as_tensorboard, as_jsonl, as_mlflow, as_trackio, as_tensorboard_and_text])
def test_the_last_step_of_a_format_whose_tags_have_steps_of_their_own(
    ingest: Ingest, write: Callable[[Path, list[Logged]], None]
) -> None:
    logged = [*epochs_of(100)]
    write(ingest.root, logged)
    ingest.until(lambda: any(run.points >= len(logged) for run in ingest.store.runs()), "not all points are read")
    (run,) = ingest.store.runs()
    assert run.last_step == 299
