"""Lines that tell no time: read as they arrive, they are spread evenly; found in a file that was there, they have steps only."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from collectors.records import labels_of
from collectors.store.store import series_id
from tests.support.ingesting import Ingest
from tests.support.ingesting import ingest as ingest  # a fixture

LOSS = series_id("a", "loss", labels_of(host="box"))


def write(root: Path, start: int, stop: int) -> None:
    (root / "a").mkdir(exist_ok=True)
    with (root / "a" / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps({"step": step, "loss": step / 2}) + "\n" for step in range(start, stop))


def test_steps_that_arrive_in_polls_keep_their_rate(ingest: Ingest) -> None:
    """61 steps a second that were read five times a second were counted as 1.6: equal stamps were dropped."""
    step, began_s = 0, time.time()
    while (now_s := time.time()) < began_s + 2.5:
        due = int((now_s - began_s) * 61)
        if due > step:
            write(ingest.root, step, due)
            step = due
        ingest.wake.wait(0.15)  # a beat: several steps come in one read
        ingest.turn()
    ingest.until(lambda: (run := ingest.run("a")) and run.points == step, "not all are read")
    found = ingest.store.range([LOSS], None, None, "time", 10**6)[LOSS]
    assert found.last.tolist() == [number / 2 for number in range(step)]
    assert (np.diff(found.t) > 0).all(), "in their order, and no two at the same moment"
    seconds = np.floor(found.t[found.t > began_s + 0.5] - began_s - 0.5)
    assert abs((seconds == 0).sum() - 61) <= 10 and abs((seconds == 1).sum() - 61) <= 25, (
        "the last second may not be over"
    )
    assert np.median(np.diff(found.t)) == pytest.approx(1 / 61, rel=0.4)
    run = ingest.run("a")
    assert run is not None and run.timed


def test_a_file_that_was_there_has_a_step_axis_and_no_time(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    root.mkdir()
    write(root, 0, 3000)
    (root / "a" / "train.log").write_text(
        "2026-11-24 16:22:01 INFO a log that has times does not make the points have some\n"
    )
    ingest = Ingest(root)
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 3000, "not read")
    for _ in range(2):
        run = ingest.run("a")
        assert run is not None and not run.timed and run.last_step == 2999
        by_step = ingest.store.range([LOSS], None, None, "step", 500)[LOSS]
        assert (by_step.count.sum(), by_step.t[0], by_step.t_end[-1]) == (3000, 0, 2999)
        assert len(ingest.store.range([LOSS], None, None, "time")[LOSS].t) == 0
        assert ingest.store.last([LOSS])[LOSS] == (None, 2999, 1499.5)
        (series,) = ingest.store.series("a")
        assert (series.first_time_s, series.first_step, series.last_step) == (None, 0, 2999)
        ingest.store.settle()
    ingest.restart()
    ingest.turn()
    write(root, 3000, 3010)
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 3010, "what comes live is not read")
    run = ingest.run("a")
    assert run is not None and run.timed, "and has times"
    ingest.close()


def test_no_line_is_older_than_its_file(ingest: Ingest) -> None:
    """The lines of the first look are spread over the time before it, but not over that in which the file was not there."""
    ingest.turn()
    began_s = time.time()
    write(ingest.root, 0, 6)
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 6, "not all are read")
    found = ingest.store.range([LOSS], None, None, "time", 100)[LOSS]
    assert found.t[0] >= began_s - 0.05, "the clock of a file system ticks every few milliseconds"
