"""What differs between runs, what their values go with, and which of them are attempts of one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from collectors.folders import LogTree
from collectors.machine.finder import RanksSeen
from collectors.machine.run_state import StateName
from collectors.records import Event, Points, Record, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Run
from dashboard.queries import Queries
from dashboard.runs import previous_run
from dashboard.runs.comparison import (
    MISSING,
    HostLoad,
    change_of,
    differences,
    flat,
    is_cpu_contended,
    odd_ones,
    pace_of,
    same,
)
from dashboard.runs.previous_run import script_of, speed
from dashboard.runs.run_values import effects, interval, ranks, spearman
from dashboard.runs.runs import RunView
from dashboard.runs.table import TableQuery
from tests.conftest import dashboard, wait_for
from tests.support.serving import Web, served

T0 = 1_764_000_000.0
FEW = settings(max_examples=40)
HOST = labels_of(host="box")
ODD_NAME = "odd, <b>na%2Fme</b>\x1b"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


# -- differences -------------------------------------------------------------------------------------------------------


def test_only_keys_that_differ_are_rows_and_the_odd_one_is_marked() -> None:
    infos = [{"config": {"lr": lr, "model": {"depth": 12, "heads": heads}}} for lr, heads in ((1, 8), (1.0, 8), (2, 4))]
    lr, heads = differences(infos)
    assert (lr.key, lr.values, lr.odd) == ("lr", (1, 1.0, 2), (False, False, True))
    assert (heads.section, heads.key, heads.odd) == ("config", "model.heads", (False, False, True))
    assert [row.key for row in differences(infos, everything=True)] == ["lr", "model.depth", "model.heads"]


def test_nobody_is_odd_where_no_value_is_that_of_most() -> None:
    assert odd_ones([1, 2]) == (False, False)
    assert odd_ones([1, 1, 2, 2, 3]) == (False,) * 5
    assert odd_ones([1, 1, MISSING]) == (False, False, True)


def test_each_part_of_what_ran_has_its_section() -> None:
    before = {
        "command": "python a.py",
        "git_commit": "1",
        "torch": "2.9",
        "environment": {"CUDA_X": "1"},
        "gpu": "A",
        "note": 1,
        "pid": 7,
    }
    now = {
        "argv": ["python", "b.py"],
        "git_commit": "2",
        "torch": "2.10",
        "environment": {},
        "gpu": "B",
        "note": 2,
        "pid": 8,
    }
    found = {row.key: row.section for row in differences([before, now])}
    assert found == {
        "command": "command",
        "git_commit": "git",
        "torch": "packages",
        "CUDA_X": "environment",
        "gpu": "hardware",
        "note": "other",
    }


@FEW
@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), min_size=1, max_size=4))
def test_any_configurations_are_compared(configs: list[dict[str, Any]]) -> None:
    infos = [{"config": config} for config in configs]
    rows = differences(infos, everything=True)
    assert all(len(row.values) == len(row.odd) == len(configs) for row in rows)
    assert [row for row in rows if row.differs] == differences(infos)
    assert differences([infos[0], infos[0]]) == []


@FEW
@given(JSON)
def test_a_value_is_the_same_as_itself_only(value: Any) -> None:
    assert same(value, value)
    assert not same(value, [value])


def test_keys_that_would_share_a_name_are_both_kept() -> None:
    assert flat({"a": {"b": 1}, "a.b": 2}) == {"a.b": 1, "a.b (2)": 2}
    assert flat({"a": {"b": 1}, "a.b": 1}) == {"a.b": 1}


# -- correlation -------------------------------------------------------------------------------------------------------


@FEW
@given(st.lists(st.tuples(st.integers(0, 6), st.floats(-1e6, 1e6)), min_size=3, max_size=40))
def test_rank_correlation_is_that_of_pandas(pairs: list[tuple[int, float]]) -> None:
    import pandas as pd

    x, y = np.array([pair[0] for pair in pairs], float), np.array([pair[1] for pair in pairs])
    assert ranks(x).tolist() == pd.Series(x).rank().tolist()
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert spearman(x, y) == pytest.approx(pd.Series(x).rank().corr(pd.Series(y).rank()), abs=1e-9)


@FEW
@given(st.floats(-1, 1), st.integers(10, 500))
def test_an_interval_holds_its_correlation_and_shrinks_with_more_runs(rho: float, n: int) -> None:
    lo, hi = interval(rho, n)
    assert -1 <= lo <= rho <= hi <= 1 and lo < hi
    more_lo, more_hi = interval(rho, 4 * n)
    assert more_hi - more_lo < hi - lo


def test_effects_say_what_they_rest_on() -> None:
    configs = [
        {"lr": i, "opt": "adam" if i % 2 else "sgd", "seed": f"s{i}", "same": 1, "bf16": i > 5} for i in range(12)
    ]
    values: list[float | None] = [10.0 - i + (5 if i % 2 else 0) for i in range(12)]
    found = effects(configs, values)
    (lr,) = found.correlations
    assert (
        (lr.key, lr.n, lr.note) == ("lr", 12, "") and lr.lo is not None and lr.hi is not None and lr.lo < lr.rho < lr.hi
    )
    assert {row.key: row.n for row in found.spreads} == {"opt": 12, "bf16": 12}
    assert found.left_out == [("seed", "no two runs share a value of it")]
    assert effects(configs[:9], values[:9]).correlations[0].note == "9 runs are too few for an interval; it takes 10"


@FEW
@given(
    st.lists(
        st.tuples(st.dictionaries(st.text(max_size=3), JSON, max_size=4), st.none() | st.floats()),
        max_size=20,
    )
)
def test_any_configurations_and_values_have_effects(rows: list[tuple[dict[str, Any], float | None]]) -> None:
    found = effects([flat(config) for config, _ in rows], [value for _, value in rows])
    assert all(-1 <= row.rho <= 1 for row in found.correlations)
    assert all(math.isfinite(row.spread) or True for row in found.spreads)


# -- pace --------------------------------------------------------------------------------------------------------------


def test_a_slower_run_is_told_from_noise() -> None:
    noise = np.random.default_rng(3)
    before, same_, slower = (pace_of(base * np.exp(noise.normal(0, 0.1, 400))) for base in (0.05, 0.05, 0.059))
    assert before and same_ and slower
    assert not change_of(same_, before).counts
    change = change_of(slower, before)
    assert change.counts and change.lo < 0.18 < change.hi
    assert pace_of(np.full(39, 0.1)) is None


def test_a_run_that_others_kept_from_the_cores_is_not_compared() -> None:
    fast, slow = pace_of(np.full(100, 0.05)), pace_of(np.full(100, 0.06))
    assert fast and slow
    alone, beside = HostLoad(60.0, 0.1), HostLoad(99.0, 1.2)
    assert is_cpu_contended(slow._replace(host=beside), fast._replace(host=alone)) and is_cpu_contended(
        fast._replace(host=alone), slow._replace(host=beside)
    )
    for now, before in ((alone, alone), (beside, beside), (alone, beside), (HostLoad(30.0, 9.0), alone), (None, alone)):
        assert not is_cpu_contended(slow._replace(host=now), fast._replace(host=before))


@pytest.mark.parametrize(
    ("info", "script"),
    [
        ({"command": "python train.py --lr 1", "cwd": "/job"}, "/job/train.py"),
        ({"argv": ["/usr/bin/python3", "-u", "src/train.py"], "cwd": "/job"}, "/job/src/train.py"),
        ({"argv": ["python", "-m", "pkg.train", "x.py"], "cwd": "/job"}, "-m pkg.train /job"),
        ({"command": "torchrun --nproc-per-node 8 train.py --lr 1", "cwd": "/job"}, "/job/train.py"),
        ({"command": "python 'unclosed"}, "'unclosed"),
        ({"command": 7, "argv": "x"}, ""),
        ({}, ""),
    ],
)
def test_the_script_of_a_command(info: dict[str, Any], script: str) -> None:
    assert script_of(info) == script


# -- attempts ----------------------------------------------------------------------------------------------------------


def view(
    name: str,
    began_s: float,
    ended_s: float | None = None,
    job: str | None = None,
    restarts: int | None = None,
    /,
    **info: Any,
) -> RunView:
    run = Run(name, info, began_s, ended_s, None, None, 0, 0, True, 0, 0, 0)
    state: StateName = "ended" if ended_s is not None else "running"
    return RunView(
        run,
        state,
        "",
        None,
        began_s,
        RanksSeen([], None, ""),
        str(info.get("cwd", "")),
        ended_s,
        job_id=job,
        restart_count=restarts,
    )


TRAIN = {"command": "python train.py", "cwd": "/job"}


def test_a_job_that_was_started_again_is_one_run() -> None:
    views = [
        view("a", 0, 100, "7", 0, **TRAIN, config={"lr": 1}),
        view("b", 200, None, "7", 1, **TRAIN, config={"lr": 1}),
        view("c", 300, None, "8", 0, **TRAIN),
    ]
    found = previous_run.attempts_of(views)
    assert found.keys() == {"a", "b"} and found["a"] == found["b"]
    assert found["a"].runs == ("a", "b") and found["a"].rules == ("", "the same job 7, restart 1")
    first, *others = previous_run.requeued(views)
    assert (first.state, first.state_reason) == ("requeued", "Job 7 was started again (restart 1) as b")
    assert others == views[1:]


def test_in_the_table_the_newest_attempt_stands_for_the_others(tmp_path: Path) -> None:
    writer = open_store(tmp_path, write=True)
    for i, name in enumerate(("first", "again", "alone")):
        job = {"job_id": "7", "restarts": i} if i < 2 else {}
        writer.append(
            [RunInfo(name, {**TRAIN, "started_s": T0 + 100 * i}), Event(name, "start", T0 + 100 * i, fields=job)]
        )
        writer.append(
            [Event(name, "end", T0 + 100 * i + 50, fields={"status": "finished", "reason": "stopped by SIGTERM"})]
        )
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)

    def rows(**question: Any) -> dict[str, Any]:
        return {row.name: row.facts.view for row in queries.table.ask(TableQuery(**question)).rows}

    assert rows().keys() == {"again", "alone"} and rows()["again"].attempts == ("first", "again")
    assert rows(text="state:interrupted").keys() == {"first", "again", "alone"}
    assert rows(group="training").keys() == {"first", "again", "alone"}
    assert [rows(text="first", sort="state")["first"].state, rows()["again"].state] == ["requeued", "preempted"]
    assert queries.run("first").same == queries.run("again").same
    queries.close()
    writer.close()


def test_a_job_that_trains_several_things_is_several_runs() -> None:
    sweep = [view(f"lr{i}", 100 * i, 100 * i + 90, "7", **TRAIN, config={"lr": i}) for i in range(3)]
    assert previous_run.attempts_of(sweep) == {}
    together = [view(f"rank{i}", i, 900, "7", **TRAIN, config={"lr": 1}) for i in range(3)]
    assert previous_run.attempts_of(together) == {}, "attempts do not run beside each other"
    other_script = [
        view("train", 0, 90, "7", 0, **TRAIN),
        view("test", 100, 190, "7", 1, command="python test.py", cwd="/job"),
    ]
    assert previous_run.attempts_of(other_script) == {}


def test_a_resumed_checkpoint_joins_runs_also_from_another_host() -> None:
    first = view("exp/a", 0, 100, **TRAIN)
    here = view("exp/b", 200, **TRAIN, config={"trainer.resume": "/logs/exp/a/ckpt/last.pt"})
    there = view(".remote/local/exp/c", 300, **TRAIN, config={"resume_from_checkpoint": "/scratch/out/exp/a/5.pt"})
    other = view("d", 300, **TRAIN, config={"init_from": "/logs/exp/a/ckpt/last.pt", "presume": "/logs/exp/a/x"})
    found = previous_run.attempts_of([first, here, there, other], LogTree(Path("/logs")))
    assert found["exp/a"].runs == ("exp/a", "exp/b", ".remote/local/exp/c")
    assert found["exp/a"].rules[1:] == ("resumed from last.pt of exp/a", "resumed from 5.pt of exp/a")


def test_a_run_that_another_host_goes_on_with_is_one() -> None:
    start = {"host": "n1", "pid": 7, "started_s": 5.0}
    views = [
        view("a", 5, 100, **TRAIN, **start),
        view(".remote/local/a", 5, **TRAIN, **start),
        view(".remote/n2/a", 9, **TRAIN),
    ]
    assert previous_run.attempts_of(views)["a"].runs == ("a", ".remote/local/a")


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def steps_of(run: str, step_s: float, begin_s: float, count: int, last: float = 1.0) -> Iterator[Record]:
    jitter = np.random.default_rng(len(run)).normal(0, 0.05 * step_s, count)
    for step in range(count):
        yield Points(
            run,
            HOST,
            ("train/loss", "other"),
            (last / (1 + step), float(step)),
            begin_s + step * step_s + float(jitter[step]),
            step,
        )


def records() -> Iterator[Record]:
    info = {"command": "python train.py", "cwd": "/job", "gpu": "NVIDIA H100", "host": "box"}
    yield RunInfo("slow", {**info, "torch": "2.10", "started_s": T0 + 5000, "config": {"batch": 24, "out": "/x/slow"}})
    yield RunInfo("fast", {**info, "torch": "2.9", "started_s": T0, "config": {"batch": 32, "out": "/x/fast"}})
    yield RunInfo(
        "alike", {**info, "torch": "2.10", "started_s": T0 + 9000, "config": {"batch": 24, "out": "/x/alike"}}
    )
    yield from steps_of("fast", 0.5, T0, 400)
    yield from steps_of("slow", 0.59, T0 + 5000, 300, 2.0)
    yield from steps_of("alike", 0.59, T0 + 9000, 300)
    printed = {"command": "python printed.py", "cwd": "/job", "host": "box"}
    counts = [("items", 0, 640), ("items again", 900, 640), ("steps", 1800, 0), ("epochs", 2700, 0)]
    for name, begin_s, each in counts:
        yield RunInfo(name, {**printed, "started_s": T0 + begin_s, **({"unit": "epoch"} if name == "epochs" else {})})
        for step in range(200):
            at_s = T0 + begin_s + step * (0.5 if name == "items" else 1.0)
            labels, names = (
                (labels_of(host="box", source="text"), ("progress/item",)) if each else (HOST, ("train/loss",))
            )
            yield Points(name, labels, names, (float(step * each),), at_s, None if each else step)
    yield RunInfo(ODD_NAME, {"config": {"lr": "NaN", "a": {"b": [1, {"c": None}]}, "long": "ä" * 999}})
    yield Event(ODD_NAME, "note", T0)
    yield Points("untimed", HOST, ("train/loss",), (float("nan"),), None, 7)
    yield Points("no steps", HOST, ("train/loss",), (3.0,), T0, None)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder: Path = tmp_path_factory.mktemp("comparing")
    writer = open_store(folder, write=True)
    writer.append(records())
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def test_runs_are_compared_at_the_last_step_that_all_have(web: Web) -> None:
    answer = web.ask("/api/v1/compare", run=["fast", "slow"]).json
    assert (answer["step"], answer["step_note"]) == (299, "")
    rows = {row["series"]: row for row in answer["values"]}
    assert rows["train/loss"]["values"] == [1 / 300, 2 / 300] and rows["other"]["steps"] == [299, 299]
    found = {row["key"]: row["values"] for row in answer["differences"]}
    assert (found["batch"], found["torch"]) == ([32, 24], ["2.9", "2.10"])
    assert {"section": "config", "differ": 2, "known": 2} in answer["sections"]


def test_runs_without_steps_and_odd_ones_are_compared_too(web: Web) -> None:
    answer = web.ask("/api/v1/compare", run=["fast", ODD_NAME, "untimed", "no steps", "fast"], all="true").json
    assert [run["run"] for run in answer["runs"]] == ["fast", ODD_NAME, "untimed", "no steps"]
    assert answer["step"] == 7 and "no steps" in answer["step_note"]
    (loss,) = [row for row in answer["values"] if row["series"] == "train/loss"]
    assert loss["values"][2] == "NaN" and loss["values"][3] is None
    lr = next(row for row in answer["differences"] if row["key"] == "lr")
    assert (lr["values"], lr["missing"]) == ([None, "NaN", None, None], [True, False, True, True])


def test_what_cannot_be_compared_is_said(web: Web) -> None:
    assert web.ask("/api/v1/compare").status == 400
    assert web.ask("/api/v1/compare", run=["fast", "nobody"]).status == 404
    assert (
        web.ask("/api/v1/compare", run=[f"r{i}" for i in range(201)]).json["error"]
        == "201 runs; at most 200 are compared at a time"
    )
    assert web.ask("/api/v1/compare", run="fast", series="nothing").json["values"] == []


def test_a_run_that_is_slower_than_the_last_one_of_its_script_says_so_with_what_differs(web: Web) -> None:
    answer = web.ask("/api/v1/since_last", run="slow").json
    assert answer["previous"] == "fast" and 0.15 < answer["ratio"] < 0.21
    said = r"Each step takes 18% longer than in fast, the last run of train.py on this GPU: 59\d ms per step, previously 50\d ms\. Differs: .*"
    assert re.fullmatch(said, answer["sentence"])
    assert answer["sentence"].endswith("Differs: torch 2.9 → 2.10, batch 32 → 24."), (
        "the name of the run itself is no difference"
    )


def test_a_run_that_is_as_fast_as_the_last_one_says_nothing(web: Web) -> None:
    answer = web.ask("/api/v1/since_last", run="alike").json
    assert (answer["previous"], answer["sentence"], answer["reason"]) == (
        "slow",
        "",
        "as fast as before, as far as both vary",
    )
    assert web.ask("/api/v1/since_last", run="fast").json["reason"] == "it is the first run of this script on this GPU"
    assert web.ask("/api/v1/since_last", run="untimed").json["reason"] == "nothing says which script it runs"
    assert web.ask("/api/v1/since_last", run="nobody").status == 404


@pytest.mark.parametrize(
    ("now_ms", "before_ms", "said"),
    [
        (101, 381, "3.8x as fast as"),
        (381, 101, "Each step takes 3.8x as long as in"),
        (118, 100, "Each step takes 18% longer than in"),
        (74, 100, "Each step takes 26% less time than in"),
        (1, 2000, "2000.0x as fast as"),
        (50, 100, "2.0x as fast as"),
        (104.2, 100, "Each step takes 4.2% longer than in"),
    ],
)
def test_the_difference_of_two_speeds_is_said_at_every_size(now_ms: float, before_ms: float, said: str) -> None:
    assert speed(now_ms / before_ms, "step") == said


def test_only_runs_that_count_the_same_are_compared(web: Web) -> None:
    again = web.ask("/api/v1/since_last", run="items again").json
    assert again["previous"] == "items" and again["sentence"].endswith(
        "1.56 ms per item, previously 781 µs. Nothing that was recorded differs."
    )
    for name, reason in (
        ("items", "it is the first run of this script on this host"),
        ("steps", "earlier runs of this script count items, this one steps: the two cannot be compared"),
        ("epochs", "earlier runs of this script count steps, this one epochs: the two cannot be compared"),
    ):
        answer = web.ask("/api/v1/since_last", run=name).json
        assert (answer["sentence"], answer["previous"], answer["ratio"], answer["reason"]) == ("", None, None, reason)


def test_the_live_page_says_it_where_nothing_is_wrong(tmp_path: Path, page: Page) -> None:
    for name, step_s, begin_s in (("fast", 0.5, T0), ("slow", 0.59, T0 + 5000)):
        folder = tmp_path / "logs" / name
        folder.mkdir(parents=True)
        info = {
            "command": "python train.py",
            "cwd": "/job",
            "started_s": begin_s,
            "host": "box",
            "config": {"batch": name},
        }
        (folder / "run.json").write_text(json.dumps(info))
        lines = [{"time_s": begin_s + step * step_s, "step": step, "train/loss": 1.0} for step in range(200)]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with dashboard(tmp_path / "logs") as running:
        wait_for(lambda: [running.run(name).get("points") for name in ("fast", "slow")] == [200, 200])
        page.goto(f"{running.address}/?run=slow")
        page.wait_for_selector(".finding:has-text('takes 18% longer')")
        sentence = page.locator(".finding").inner_text()
        page.goto("about:blank")
    assert sentence.startswith(
        "Each step takes 18% longer than in fast, the last run of train.py on this host: 590 ms per step, previously 500 ms."
    )
