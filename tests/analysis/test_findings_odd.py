"""Numbers of odd trainings: NaN that is over by the time it is looked at, and NaN that says that there is no value."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from collectors.records import Finding
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from dashboard.findings import FindingsReader
from tests.support.judged import T0, JudgedRuns
from tests.support.planted_findings import PlantedRun, Values, loss_of

NAN = math.nan


def judged_for(folder: Path, values: Values, *, step_s: float, seconds: float) -> JudgedRuns:
    store = open_store(folder, write=True)
    judged = JudgedRuns(store, stored=False)
    run = PlantedRun("run", values, lambda step, since_s: step_s, 1, math.inf)
    run.planted_s = math.inf
    judged.begin("run")
    judged.go_on(seconds, run.second)
    store.close()
    return judged


@pytest.mark.parametrize("first", [100, 113])
@pytest.mark.parametrize("step_s", [0.02, 0.7])
def test_nan_for_many_steps_is_found_though_it_has_recovered_by_the_next_look(
    tmp_path: Path, step_s: float, first: int
) -> None:
    judged = judged_for(
        tmp_path,
        lambda step, since_s, dice: {"train/loss": NAN if first <= step < first + 15 else loss_of(step, dice)},
        step_s=step_s,
        seconds=(first + 60) * step_s + 60,
    )
    (found,) = judged.of("nan_lasting")
    assert (found.weight, found.step, found.over) == ("alert", first, True)
    assert found.sentence.endswith(f"NaN or infinite for 15 steps since step {first}, and has values again.")
    assert found.to_s - found.from_s == pytest.approx(14 * step_s, abs=0.1)
    assert T0 < found.from_s < T0 + (first + 2) * step_s + 1.0


def test_nan_for_a_few_steps_now_and_then_is_no_alert(tmp_path: Path) -> None:
    judged = judged_for(
        tmp_path,
        lambda step, since_s, dice: {"train/loss": NAN if step % 300 in range(100, 108) else loss_of(step, dice)},
        step_s=0.1,
        seconds=200,
    )
    assert not judged.of("nan_lasting")


def test_nan_between_the_steps_that_are_logged_is_an_alert_only_where_it_lasts_longer_than_it_does(
    tmp_path: Path,
) -> None:
    def values(step: int, since_s: float | None, dice: random.Random) -> dict[str, float]:
        return {"train/loss": loss_of(step, dice) if step % 20 == 0 and step < 1000 else NAN}

    judged = judged_for(tmp_path, values, step_s=0.1, seconds=120)
    first, lasting = judged.of("nan_lasting")
    assert first.over
    assert first.from_s < T0 + 5.0, "until it has come and gone it may be one"
    assert (lasting.over, lasting.step) == (False, 981)


class NoList(SqliteStore):
    def findings(self, *args: Any, **more: Any) -> list[Finding]:
        raise AssertionError("all findings are read for one")


def test_one_finding_is_read_alone_whatever_its_id(tmp_path: Path) -> None:
    ids = ["a", "a b\n", "' OR 1=1 --", "ä/\U0001f600", "\x00", "%", "x" * 300]
    store = NoList(tmp_path, write=True)
    store.append([Finding(id_, f"run {id_}", "crash", "alert", T0, T0, True, "It failed.") for id_ in ids])
    found = FindingsReader(store)
    for id_ in ids:
        row = found.finding(id_)
        assert row is not None
        assert row.run == f"run {id_}"
    assert [found.finding(id_) for id_ in ("", "b", "A", "\ud800", "a\x00")] == [None] * 5
    store.close()
