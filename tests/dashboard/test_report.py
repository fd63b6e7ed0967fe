"""A report is one file that is inert, self-contained and at most a megabyte, whatever the run is; a part that fails costs only itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ledger.contrast import LedgerSide, contrast
from collectors.records import Frame, LogLine, Points, RunInfo
from collectors.store.engines import open_store
from collectors.store.sqlite import points
from collectors.store.store import QueryAborted, QueryDeadline, asked
from dashboard.commands import main
from dashboard.logs.changes import LogChanges
from dashboard.queries import Queries
from dashboard.report import contents
from dashboard.report import page as rendering
from dashboard.report.contents import LATE, PartBudget, ReportContents, ReportPart, ReportQuery, gather
from dashboard.report.page import DETAILS, MAX_BYTES, html_of, visible
from dashboard.runs.comparison import differences
from dashboard.stacks.stacks import Stacks
from tests.dashboard.test_any_request import RUNS, records
from tests.support.reported import DECODE, LINEAR, MINUTES, MODULE, SLOW, T0, fill, inert, opened, profile, report_of
from tests.support.serving import Web, served

WHOLE = (T0, T0 + 60 * MINUTES)
HOSTILE = (
    "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'`&lt;{{7*7}}{%x%}\u202e\x00\x1b[31m]]>-->"
)


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queries]:
    """Two runs that are as they should be, and those of the tests of any request."""
    folder = tmp_path_factory.mktemp("reported")
    writer = open_store(folder, write=True)
    fill(writer, "run")
    fill(writer, "starved", data_ms=60, t0=T0 + 1e5)
    writer.append(records())
    queries = opened(folder)
    yield queries
    queries.close()
    writer.close()


@pytest.fixture(scope="module")
def web(queries: Queries) -> Iterator[Web]:
    with served(queries) as web:
        yield web


def test_a_whole_run_says_what_its_slowest_stretch_was_lost_to(queries: Queries) -> None:
    text = report_of(queries, "run").text
    assert "The whole run" in text and "The slowest stretch" in text
    assert "Where every second went" in text and "GPU busy 70%" in text and "decode_image" in text
    assert "train/loss" in text and "steps per second" in text and "GPU memory" in text
    assert "retrying shard" in text and "What it ran with" in text and "f" * 40 in text


def test_secrets_are_left_out(queries: Queries) -> None:
    text = report_of(queries, "run").text
    assert "abc123secret" not in text and "hunter2" not in text
    assert "python train.py --api-key <left out> --lr 0.1" in text and "https://<left out>@host/x" in text


def test_a_window_is_blamed_itself(queries: Queries) -> None:
    text = report_of(queries, "run", window=SLOW).text
    assert "A window" in text and "The window" in text
    assert "The whole run" not in text


def test_two_runs_are_compared_in_words(queries: Queries) -> None:
    text = report_of(queries, "starved", against="run").text
    assert "Beside run" in text and "starved spends" in text and "than run" in text


@pytest.mark.parametrize("window", [None, (T0 + 1, T0 + 2), (T0 - 1e6, T0 + 1e6), (0.0, 1.0), (T0 + 1e8, T0 + 2e8)])
@pytest.mark.parametrize("run", RUNS)
def test_any_run_has_a_report(queries: Queries, run: str, window: tuple[float, float] | None) -> None:
    """Without stacks, without steps, without times, of several ranks, of values that are not finite, with nothing at all."""
    parsed = report_of(queries, run, window=window)
    assert visible(run) in parsed.text and "Flame graph" in parsed.text


@pytest.mark.parametrize(("last", "said"), [(math.nan, "NaN"), (math.inf, "∞"), (0.25, "0.25")])
def test_a_curve_says_its_last_value_whatever_it_is(tmp_path: Path, last: float, said: str) -> None:
    store = open_store(tmp_path, write=True)
    store.append(
        [Points("a", (), ("train/loss",), (last if step == 9 else 0.75,), T0 + step, step) for step in range(10)]
    )
    queries = opened(tmp_path)
    figure = report_of(queries, "a").text.partition("train/loss")[2].split()[0]
    queries.close()
    store.close()
    assert figure == said


@settings(max_examples=8, deadline=None)
@given(
    names=st.lists(
        st.text(min_size=1, max_size=40).filter(lambda text: text.encode("utf-8", "ignore").decode() == text),
        max_size=4,
    ),
    value=st.sampled_from([0.0, float("nan"), float("inf"), -1e308, 1e308, 5e-324]),
)
def test_hostile_names_stay_texts(tmp_path_factory: pytest.TempPathFactory, names: list[str], value: float) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    hostile = [HOSTILE, *names]
    with_store = open_store(folder, write=True)
    run = HOSTILE.replace("\x00", "")
    info = {"cwd": HOSTILE, "command": HOSTILE, "config": dict.fromkeys(hostile, HOSTILE), "unit": HOSTILE}
    with_store.append([RunInfo(run, info)])
    stack = tuple(Frame(name, f"/job/{name}.py", i) for i, name in enumerate(hostile))
    with_store.append([profile(run, T0, [(50, stack), (50, (MODULE, *stack))], seconds=5)])
    series = tuple(dict.fromkeys(f"{name}/loss" for name in hostile))
    for step in range(12):
        with_store.append(
            [Points(run, (("rank", HOSTILE), ("x", "y")), series, (value,) * len(series), T0 + step, step)]
        )
        with_store.append([LogLine(run, HOSTILE, T0 + step, 40, HOSTILE)])
    queries = opened(folder)
    parsed = report_of(queries, run)
    assert (
        "alert(1)" in parsed.text and "[U+202E]" in parsed.text and "49" not in parsed.text.partition("Made")[0][:200]
    )
    queries.close()
    with_store.close()


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReportContents]:
    """Ten thousand series, megabytes in a line of its log, thousands of long functions and keys, all of characters that escapes make longer."""
    folder = tmp_path_factory.mktemp("huge")
    store = open_store(folder, write=True)
    long = "\U000e0001<'&\"" * 60
    config = {f"{long}{i}": long * 5 for i in range(600)}
    store.append(
        [
            RunInfo(
                "huge",
                {"cwd": "/job", "command": long * 99, "config": config, "versions": config, "environment": config},
            )
        ]
    )
    stacks = [
        (
            10,
            tuple(
                Frame(f"{long}{(i * 7 + depth) % 997}", f"/job/{long[:80]}{i % 50}.py", depth + 1)
                for depth in range(2 + i % 90)
            ),
        )
        for i in range(500)
    ]
    store.append([profile("huge", T0, stacks, seconds=10)])
    names = tuple(f"{long[:40]}{i}/loss" for i in range(10_000))
    for step in range(3):
        store.append([Points("huge", (("host", "box"),), names, (1.0,) * len(names), T0 + 10 * step, step)])
    for rank in range(20):
        labels = (("host", "box"), ("rank", str(rank)))
        store.append(
            [Points("huge", labels, ("train/loss",), (rank + step / 7,), T0 + step / 100, step) for step in range(2000)]
        )
    lines = [f"Traceback (most recent call last):\n  {long * 2500}"] + [f"{i} {long * 40}" for i in range(40)]
    store.append([LogLine("huge", f"{long}.log", T0 + i / 2, 40, text) for i, text in enumerate(lines)])
    queries = opened(folder)
    found = gather(queries, ReportQuery("huge", patience=20.0))
    assert found.ledger.value is not None
    sides = LedgerSide("huge", found.ledger.value, 1.0, long), LedgerSide(long, found.ledger.value, 2.0, long)
    beside = differences([found.run.stored.info, {"config": dict.fromkeys(config, "<" * 400)}])
    yield replace(found, contrast=ReportPart(contrast(*sides)), differs=beside)
    queries.close()
    store.close()


def test_a_huge_run_has_a_report_of_a_megabyte_at_most(huge: ReportContents) -> None:
    parsed = inert(html_of(huge))
    assert "other series of the run are not drawn" in parsed.text


def test_the_last_detail_always_fits(huge: ReportContents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "DETAILS", DETAILS[-1:])
    page = html_of(huge)
    inert(page)
    assert len(page) < MAX_BYTES / 2


def test_a_part_that_fails_or_takes_too_long_costs_only_itself(
    queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object, **__: object) -> None:  # never comes to an end by itself
        while True:
            found = asked.get()
            assert found is not None
            found.check()
            time.sleep(0.01)

    monkeypatch.setattr(Stacks, "fold", late)
    parsed = report_of(queries, "run", patience=0.05)
    assert LATE in parsed.text and "GPU busy 70%" in parsed.text
    monkeypatch.undo()
    monkeypatch.setattr(LogChanges, "crash", late)
    assert LATE in report_of(queries, "run", patience=0.05).text


def test_of_too_many_steps_the_last_ones_are_looked_at(queries: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LONG_S", 100.0)
    monkeypatch.setattr(points, "MAX_OPENED", 5000)
    assert "The slowest stretch" not in report_of(queries, "run").text, "it lies before them"
    assert "steps per second" in report_of(queries, "run").text


def test_a_report_ends_with_its_client() -> None:
    whole = QueryDeadline(60.0)
    before = asked.set(whole)
    try:

        def gone() -> None:
            whole.end("the client is gone")
            found = asked.get()
            assert found is not None
            found.check()

        with pytest.raises(QueryAborted, match="client is gone"):
            PartBudget(10.0).part(5.0, gone)
        assert asked.get() is whole
    finally:
        asked.reset(before)


def test_no_part_is_begun_when_the_time_is_over() -> None:
    assert PartBudget(-1.0).part(5.0, lambda: 7).note == LATE


def test_the_route_answers_a_file_that_cannot_run(web: Web) -> None:
    answer = web.ask("/api/v1/report", run="run", from_=SLOW[0], to=SLOW[1])
    assert answer.status == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="report-run.html"'
    assert b"default-src 'none'" in answer.body
    assert "A window" in inert(answer.body).text
    assert web.ask("/api/v1/report", run="run").status == 200


@pytest.mark.parametrize(
    ("asked_for", "status", "word"),
    [
        ({"run": "none"}, 404, "no run"),
        ({"run": "run", "against": "none"}, 404, "no run"),
        ({"run": "run", "from_": T0}, 400, "give both"),
        ({"run": "run", "from_": T0 + 5, "to": T0}, 400, "later"),
        ({"run": "run", "from_": "nan", "to": T0}, 400, "from"),
    ],
)
def test_a_wrong_question_gets_one_sentence(web: Web, asked_for: dict[str, object], status: int, word: str) -> None:
    answer = web.ask("/api/v1/report", **asked_for)
    assert answer.status == status and word in answer.json["error"]


def test_ledgers_are_compared_over_http(web: Web) -> None:
    found = web.ask("/api/v1/ledger/compare", run="starved", against="run").json
    assert found["sentence"].startswith("starved spends") and found["unit"] == "step"
    assert sum(change["share"] - change["other_share"] for change in found["changes"]) == pytest.approx(0, abs=0.1)
    assert web.ask("/api/v1/ledger/compare", run="starved", against="none").status == 404
    assert web.ask("/api/v1/ledger/compare", run="starved").status == 400


def test_the_command_writes_a_file_and_never_over_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    store = open_store(logs / ".deepseek", write=True)
    fill(store)
    store.close()
    place = ["--log-dir", str(logs)]
    target = tmp_path / "x.html"
    assert main(["report", "run", "-o", str(target), *place]) == 0
    assert f"{target}: " in capsys.readouterr().out
    assert "The whole run" in inert(target.read_bytes()).text
    assert main(["report", "run", "-o", str(target), *place]) == 2
    assert "is there already" in capsys.readouterr().err
    window = ["--from", str(SLOW[0]), "--to", str(SLOW[1])]
    assert main(["report", "run", "-o", str(tmp_path / "w.html"), *window, *place]) == 0
    assert "A window" in inert((tmp_path / "w.html").read_bytes()).text
    capsys.readouterr()
    for words, said in (
        (["nope"], "no run 'nope'"),
        (["run", "--against", "nope"], "no run 'nope'"),
        (["run", "--from", "10", "--to", "5"], "--to must be later"),
        (["run", "--data-dir", str(tmp_path / "none")], "there is no store"),
    ):
        assert main(["report", *words, "-o", str(tmp_path / "y.html"), *place]) == 2
        assert said in capsys.readouterr().err
    assert main(["report", "run", "-o", str(tmp_path / ("y" * 300)), *place]) == 2
    assert "cannot write" in capsys.readouterr().err
    assert main(["report", "run", "-o", str(tmp_path / "no" / "y.html"), *place]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_why_compares_with_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    store = open_store(logs / ".deepseek", write=True)
    fill(store, "run")
    fill(store, "starved", data_ms=60, t0=T0 + 1e5)
    store.close()
    assert main(["why", "starved", "--against", "run", "--log-dir", str(logs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("starved:") and lines[-1].startswith("starved spends")
    assert main(["why", "starved", "--against", "nope", "--log-dir", str(logs)]) == 2
    assert "no stacks of a run 'nope'" in capsys.readouterr().err


def test_the_frames_of_the_window_stand_in_the_graph(queries: Queries) -> None:
    text = report_of(queries, "run", window=WHOLE).text
    assert DECODE.name in text and f"torch {LINEAR.name}" in text
