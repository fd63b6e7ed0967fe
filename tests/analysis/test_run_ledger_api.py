"""Ledgers of whole stored runs: over the API and in a shell, with what it costs, from steps, from stacks alone, and from nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from collectors.message import text_of
from collectors.records import Event, Frame, Labels, Points, Record, RunInfo, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.api.answers import dumps
from dashboard.api.ledger import run_ledger_answer
from dashboard.commands import main
from dashboard.queries import Queries
from dashboard.runs import run_ledgers
from dashboard.runs.run_ledgers import RunLedgers
from dashboard.stacks.stacks import Stacks
from tests.memory_engine import MemoryStore, Shared
from tests.support.axe import serious
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
GPU: Labels = (("gpu", "0"), ("host", "box"), ("uuid", "GPU-1"))
HOUR_S = 3600.0
CONFIG = {"model": {"depth": 12}}
SAVE = Frame("save", "/venv/lib/python3.11/site-packages/torch/serialization.py", 9)
LOOP, LINEAR = (
    Frame("train", "/job/train.py", 40),
    Frame("linear", "/venv/lib/python3.11/site-packages/torch/nn/functional.py", 9),
)


def event(run: str, kind: str, at_s: float, **fields: Any) -> Event:
    seconds = fields.pop("seconds", None)
    return Event(run, kind, T0 + at_s, seconds=seconds, fields={"host": "box", **fields})


def lines(run: str, begin_s: float, steps: Sequence[int], segment: int = 0) -> list[Record]:
    """One a second, the first one a second after the beginning."""
    return [
        Points(run, (), ("train/loss", "phase/validation_s"), (1.0, 0.0), T0 + begin_s + 1 + i, step, segment)
        for i, step in enumerate(steps)
    ]


def two_attempts(run: str, info: dict[str, Any], at_s: float = 0.0) -> list[Record]:
    """100 s: 10 s of start, 40 steps, killed; after 10 s a start of 5 s, and 34 steps from the 30th on; at the end a checkpoint of a second."""
    begun = [event(run, "start", at_s), event(run, "start", at_s + 60)]
    ended = [
        event(run, "exit", at_s + 51),
        event(run, "checkpoint", at_s + 100, seconds=1.0),
        event(run, "end", at_s + 100.0),
    ]
    return [
        RunInfo(run, info),
        *begun,
        *lines(run, at_s + 10, range(40)),
        *lines(run, at_s + 65, range(30, 64), 1),
        *ended,
    ]


def energy() -> list[Record]:
    at_s = np.arange(-10, 121, 0.5)
    names = ("gpu/energy_j", "gpu/utilization_pct")
    return [Points(None, GPU, names, (1000 + 200 * float(s), 90.0), T0 + float(s), None) for s in at_s]


def profile(run: str) -> StackRecording:
    """A minute of which the main thread saves for a quarter."""
    samples = [
        StackSpan(i * 10_000_000, 10_000_000, 7, (LOOP, SAVE if i % 4 == 0 else LINEAR), True, 10_000_000)
        for i in range(6000)
    ]
    return StackRecording(
        run, 0, 7, "main", "box", "native", 100.0, T0 + 5000, 0, 60_000_000_000, {7: "MainThread"}, samples, 6000
    )


def filled(store: Store) -> None:
    store.append(two_attempts("card", {"gpu": "NVIDIA H100", "world_size": 1, "config": CONFIG}))
    store.append(two_attempts("host", {"config": CONFIG}))
    store.append(energy())
    store.append([Points("timeless", (), ("loss",), (0.5,), None, step) for step in range(9)])
    store.append([Points("steps,only 50%/<b>", (), ("loss",), (0.5,), T0 + step, step) for step in range(9)])
    store.append([Points("point", (), ("loss",), (float("nan"),), T0, 1)])
    store.append([RunInfo("stacks", {}), event("stacks", "process", 5000.0, pid=7), profile("stacks")])
    for number in (1, 2):
        run, at_s = f"job-{number}", 200.0 * number
        job = {"job_id": "4127", "restarts": number - 1}
        store.append([RunInfo(run, {"command": "python train.py", "cwd": "/job", "started_s": T0 + at_s})])
        store.append(
            [
                event(run, "start", at_s, **job),
                *lines(run, at_s + 10, range(40)),
                event(run, "end", at_s + 50, status="killed"),
            ]
        )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("logs") / ".deepseek"
    store = open_store(folder, write=True)
    filled(store)
    (folder / "settings.yaml").write_text("price_per_gpu_hour: 3.5\ncurrency: EUR\n")
    yield folder
    store.close()


@pytest.fixture(scope="module")
def web(data_dir: Path) -> Iterator[Web]:
    queries = Queries(open_store(data_dir, write=False), data_dir.parent, data_dir)
    with served(queries) as web:
        yield web
    queries.close()


@pytest.fixture
def ask(web: Web) -> Callable[..., Any]:
    return lambda run: web.ask("/api/v1/ledger", run=run).json


def seconds(answer: Any) -> dict[str, float]:
    assert sum(row["share"] for row in answer["rows"]) == pytest.approx(100, abs=0.1)
    return {row["kind"]: row["seconds"] for row in answer["rows"]}


def test_every_second_of_two_attempts_is_accounted_for(ask: Callable[..., Any]) -> None:
    answer = ask("host")
    assert seconds(answer) == pytest.approx(
        {"training": 30 + 34, "initialisation": 15, "checkpoint": 1, "redone": 10, "between": 9, "ending": 1}
    )
    assert answer["goodput"] == pytest.approx(64) and (answer["steps"], answer["redone_steps"]) == (64, 10)
    assert answer["sentence"].startswith(
        "Goodput 64% of 100 s in 2 attempts: initialisation 15%, steps done again later 10% (10 steps)"
    )
    assert [attempt["ended_by"] for attempt in answer["attempts"]] == ["process exit", "end event"]
    assert {row["kind"]: row["basis"] for row in answer["rows"]}["checkpoint"] == "events with a duration"
    assert (answer["gpus"], answer["paid"]["gpu_hours"], answer["lost"]["cost"]) == (None, None, None)


def test_gpu_hours_energy_and_cost_are_those_of_the_attempts_and_what_of_them_was_lost(ask: Callable[..., Any]) -> None:
    answer = ask("card")
    assert (answer["gpus"], answer["price_per_gpu_hour"], answer["currency"]) == (1, 3.5, "EUR")
    assert answer["paid"] == pytest.approx(
        {"gpu_hours": 91 / HOUR_S, "energy_j": 91 * 200, "cost": 3.5 * 91 / HOUR_S}, rel=0.02
    )
    assert answer["lost"] == pytest.approx(
        {"gpu_hours": 27 / HOUR_S, "energy_j": 27 * 200, "cost": 3.5 * 27 / HOUR_S}, rel=0.02
    )
    assert answer["missing"] == [] and "GPU-hours" not in answer["sentence"], "of a minute nothing is said"


def test_runs_that_are_attempts_of_one_training_are_one_wall_time(ask: Callable[..., Any]) -> None:
    first, second = ask("job-1"), ask("job-2")
    assert first["runs"] == ["job-1", "job-2"] and first["sentence"] == second["sentence"]
    assert seconds(first) == pytest.approx({"training": 40, "redone": 40, "initialisation": 20, "between": 150})
    assert [attempt["run"] for attempt in first["attempts"]] == ["job-1", "job-2"]


def test_without_steps_stacks_say_what_can_be_said_and_a_sentence_what_is_missing(ask: Callable[..., Any]) -> None:
    answer = ask("stacks")
    assert answer["goodput"] is None and answer["at_most"] == pytest.approx(75, abs=1)
    assert seconds(answer)["checkpoint"] == pytest.approx(15, abs=0.5)
    assert {row["kind"]: row["basis"] for row in answer["rows"]}["checkpoint"] == "stacks"
    assert "log each step with RunLog" in answer["missing"][0]


@pytest.mark.parametrize("run", ["timeless", "point"])
def test_without_two_moments_a_sentence_says_so(ask: Callable[..., Any], run: str) -> None:
    answer = ask(run)
    assert (answer["window"], answer["rows"], answer["goodput"]) == (None, [], None)
    assert answer["sentence"].startswith("Fewer than two moments of the run")


def test_odd_names_and_lines_alone_are_answered_and_unknown_runs_are_refused(web: Web, ask: Callable[..., Any]) -> None:
    answer = ask("steps,only 50%/<b>")
    assert answer["goodput"] == pytest.approx(100) and "what lies before its first line" in " ".join(answer["missing"])
    assert web.ask("/api/v1/ledger", run="nope").status == 404
    assert web.ask("/api/v1/ledger").status == 400


@pytest.mark.parametrize("wrong_s", [5.0, 9e10], ids=["1970", "years ahead"])
def test_an_event_of_a_wrong_clock_costs_only_itself(tmp_path: Path, wrong_s: float) -> None:
    store = open_store(tmp_path / ".deepseek", write=True)
    store.append(
        [
            *two_attempts("run", {}),
            Event("run", "start", wrong_s),
            Points("run", (), ("train/loss",), (1.0,), wrong_s, 7),
        ]
    )
    queries = Queries(store, tmp_path, tmp_path / ".deepseek")
    found = queries.run_ledgers.account("run").ledger
    queries.close()
    store.close()
    assert found is not None and found.seconds == pytest.approx(100) and found.goodput == pytest.approx(64)


ODD_TIMES = st.one_of(st.none(), st.sampled_from([0.0, 1e11, T0, T0 + 1e9]), st.floats(T0 - 10, T0 + 300))
FIELDS = st.dictionaries(
    st.sampled_from(["mono_s", "pid_start_ticks", "pid", "status", "world_size"]),
    st.one_of(st.none(), st.text(max_size=3), st.floats(), st.integers()),
)
EVENTS = st.builds(
    Event,
    st.just("odd"),
    st.sampled_from(["start", "end", "process", "exit", "checkpoint", "validation", "compile", "note"]),
    ODD_TIMES.filter(lambda time_s: time_s is not None),
    st.integers(0, 3),
    seconds=st.one_of(st.none(), st.floats(-10, 1e12)),
    fields=FIELDS,
)
LINES = st.builds(
    Points,
    st.just("odd"),
    st.sampled_from([(), (("rank", "1"),)]),
    st.just(("loss", "phase/eval_s")),
    st.tuples(st.floats(), st.floats()),
    ODD_TIMES,
    st.one_of(st.none(), st.integers(-5, 2**53)),
    st.integers(0, 2),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(EVENTS, max_size=8), st.lists(LINES, min_size=1, max_size=25), st.sampled_from([2, 1000]))
def test_whatever_is_stored_of_a_run_is_answered(events: list[Event], points: list[Points], most_points: int) -> None:
    store = MemoryStore(Shared(), True)
    store.append([RunInfo("odd", {"gpu": "a", "world_size": 2}), *events, *points])
    ledgers = RunLedgers(store, Stacks(store).ledgers, Path("/nowhere"), Path("/nowhere"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_ledgers, "MAX_POINTS", most_points)
        answer = run_ledger_answer(ledgers.account("odd"))
    assert answer["sentence"].endswith(".") and dumps(answer)
    assert not answer["rows"] or sum(row["share"] for row in answer["rows"]) == pytest.approx(100, abs=0.1)


def test_a_long_run_is_read_in_rows_of_several_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_ledgers, "MAX_POINTS", 2000)
    monkeypatch.setattr(run_ledgers, "BUCKETS", 300)
    with_store = open_store(tmp_path / ".deepseek", write=True)
    with_store.append(
        [event("long", "start", 0.0), *lines("long", 10, range(2500)), *lines("long", 3000, range(2500, 5000))]
    )
    with_store.append([event("long", "checkpoint", 2000.0, seconds=100.0), event("long", "end", 5600.0)])
    queries = Queries(with_store, tmp_path, tmp_path / ".deepseek")
    found = queries.run_ledgers.account("long")
    queries.close()
    with_store.close()
    assert found.ledger is not None and "read together" in text_of(found.missing[-1])
    shares = {row.kind: row.share for row in found.ledger.rows}
    assert shares == pytest.approx(
        {
            "training": 4899 / 56,
            "initialisation": 10 / 56,
            "checkpoint": 100 / 56,
            "stalled": 490 / 56,
            "ending": 100 / 56,
        },
        abs=1.0,
    )


def test_why_says_the_goodput_in_one_more_line(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--log-dir", str(data_dir.parent), "--data-dir", str(data_dir)]
    assert main(["why", "stacks", *place]) == 0
    assert "Whole run: goodput at most 75% of 60 s" in capsys.readouterr().out.splitlines()[-1]
    assert main(["why", "host", *place]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert "no stacks of it are stored" in first and last.startswith("Whole run: goodput 64% of 100 s")
    assert main(["why", "timeless", *place]) == 2


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_side_panel_of_runs_has_it(page: Page, web: Web, theme: str) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/runs?q=card&theme={theme}")
    page.wait_for_selector("#runs-grid .ag-row .run-cell")
    page.keyboard.press("j")
    page.keyboard.press("i")
    page.wait_for_selector("#about-ledger table")
    text = page.locator("#about-ledger").inner_text()
    assert "Goodput 64% of 100 s in 2 attempts" in text and "64 steps done, 10 of them twice." in text
    assert "training\t64%" in text and "between attempts\t9%\t9 s" in text and "EUR lost" in text
    assert (
        page.locator("#about-ledger tr").first.get_attribute("title")
        == "From: lines of the step log, without all other kinds"
    )
    assert serious(page, "#about-ledger") == []
