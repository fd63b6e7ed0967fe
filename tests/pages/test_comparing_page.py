"""The comparison below the grid of runs, in a browser: what differs, figures, colours of the theme, names as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, Route

from collectors.machine.finder import RanksSeen
from collectors.records import Points, Record, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Run
from dashboard.pages.comparison import (
    FIGURES,
    TABS,
    FigureChoice,
    colours_of,
    drawn,
    names_of,
    number,
    read_as,
    said_of,
)
from dashboard.queries import Queries
from dashboard.runs.figures import APART, effects_of, lines_of, parallel, text
from dashboard.runs.run_values import RunValues, column_of, options_of
from dashboard.runs.runs import RunView
from tests.conftest import wait_for
from tests.support.serving import Web, served, served_records

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
HOSTILE = '<img src=x onerror="window.hurt=1">, %2F'
NAMES = [f"sweep/{i:02}" for i in range(12)]
TOKEN = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"


def records() -> Iterator[Record]:
    for i, name in enumerate([*NAMES, HOSTILE]):
        config = {
            "lr": 10 ** -(1 + i % 4),
            "opt": ("adam", "sgd")[i % 2],
            "depth": i,
            HOSTILE: f"<b>{i % 3}</b>",
            "same": 1,
        }
        yield RunInfo(name, {"config": config, "command": "python train.py", "started_s": T0 + i})
        for step in range(20 + i):
            yield Points(
                name, HOST, ("val/loss", HOSTILE), (1.0 + i / 10 if i != 3 else float("nan"), 2.0), T0 + step, step
            )


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder: Path = tmp_path_factory.mktemp("comparing_page")
    writer = open_store(folder, write=True)
    writer.append(records())
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def opened(web: Web, page: Page, runs: list[str], **more: str) -> None:
    from urllib.parse import urlencode

    page.goto(f"http://127.0.0.1:{web.port}/runs?{urlencode([*(('runs', run) for run in runs), *more.items()])}")
    page.wait_for_selector(".comparison-table tbody td")


def rows(page: Page) -> dict[str, list[str]]:
    """Of the tables, by their first cell."""
    read = "(rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent + (cell.classList.contains('odd') ? '*' : '')))"
    return {cells[0]: cells[1:] for cells in page.locator(".comparison-table tbody tr").evaluate_all(read)}


def test_ticked_runs_have_what_differs_and_their_values_at_the_common_step(web: Web, page: Page) -> None:
    opened(web, page, [NAMES[0], NAMES[1], NAMES[4]])
    wait_for(lambda: "val/loss" in rows(page))
    found = rows(page)
    assert found["lr"] == ["0.1", "0.01*", "0.1"] and found["opt"] == ["adam", "sgd*", "adam"] and "same" not in found
    assert found["val/loss"] == ["1", "1.1", "1.4"]
    assert page.locator(".comparison-head h3").all_inner_texts() == [
        "What differs",
        "At step 19, the last that all 3 have",
    ]
    assert page.locator(".js-plotly-plot").count() == 0
    assert not page.evaluate("performance.getEntriesByType('resource').some(({ name }) => name.includes('plotly'))")
    page.locator(".show-all label").click()
    wait_for(lambda: rows(page).get("same") == ["1", "1", "1"])


def test_a_comparison_begins_with_the_loss_whatever_each_run_calls_it(
    page: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def losses() -> Iterator[Record]:
        for run, name in (("a", "val/loss"), ("b", "val_loss"), ("c", "eval_loss")):
            yield RunInfo(run, {"config": {"lr": 1}})
            for step in range(10):
                yield Points(run, HOST, (name, "train/loss", "lr"), (1.0 + step, 5.0, 0.1), T0 + step, step)
        yield from (Points("d", HOST, ("train/loss",), (7.0,), T0 + step, step) for step in range(10))

    with served_records(tmp_path_factory.mktemp("overlay"), losses()) as web:
        page.goto(f"http://127.0.0.1:{web.port}/runs?runs=a&runs=b&runs=c")
        read = "() => globalThis.deepseekPainted?.curves.metric?.curves"
        wait_for(lambda: page.evaluate(read) == 3, because="the three losses are not overlaid")
        metric = page.get_by_label("Metric", exact=True)
        assert metric.evaluate("(select) => select.selectedOptions[0].textContent") == "eval_loss"
        legend = page.get_by_label("Ticked runs").locator("li")
        assert [text.split() for text in legend.all_inner_texts()] == [["a", "10.00"], ["b", "10.00"], ["c", "10.00"]]
        metric.select_option(label="lr")
        wait_for(lambda: "metric=lr" in page.url, because="the metric is not in the address")
        wait_for(
            lambda: [*map(float, legend.all_inner_texts()[0].split()[1:])] == [0.1], because="another metric is drawn"
        )
        page.goto(f"http://127.0.0.1:{web.port}/runs?runs=a&runs=d")
        wait_for(lambda: page.evaluate(read) == 2, because="what both runs have does not come first")
        assert metric.evaluate("(select) => select.selectedOptions[0].textContent") == "train/loss"


def test_more_than_eight_runs_are_said_and_names_are_text_everywhere(web: Web, page: Page) -> None:
    opened(web, page, [HOSTILE, *NAMES])
    assert "13 runs are ticked: the first 8 are in the table" in page.locator(".comparison-table").inner_text()
    assert page.locator(".comparison-table thead").first.locator("th").count() == 8
    for label in map(TABS.get, FIGURES):
        page.locator(".comparison-tabs label", has_text=label).click()
        page.wait_for_selector(".comparison-plot .main-svg")
        wait_for(lambda label=label: page.locator(".comparison-tabs label:has(input:checked)").inner_text() == label)  # type: ignore[misc]
    wait_for(lambda: "Bonett" in page.locator("#comparison-note").inner_text())
    note = page.locator("#comparison-note").inner_text()
    assert "1 of 13 runs have no finite val/loss" in note and "<b>0</b>" in note
    assert page.locator(".comparison img, .comparison b").count() == 0 and page.evaluate("window.hurt") is None


def test_figures_have_the_colours_of_the_theme_and_change_with_it(web: Web, page: Page) -> None:
    opened(web, page, NAMES, theme="dark")
    page.locator(".comparison-tabs label", has_text="Histogram").click()
    bar = page.locator(".comparison-plot .bars .point path").first
    bar.wait_for()

    def matches() -> bool:
        wanted = page.evaluate(f"(name) => {{ const probe = document.createElement('i'); probe.style.color = ({TOKEN})(name); document.body.append(probe); const rgb = getComputedStyle(probe).color; probe.remove(); return rgb; }}", "--accent")  # fmt: skip
        return bool(bar.evaluate("(path) => getComputedStyle(path).fill") == wanted)

    wait_for(matches)
    page.keyboard.press("t")
    wait_for(lambda: page.evaluate("document.documentElement.dataset.theme") == "light" and matches())


def test_a_run_has_one_colour_in_its_row_in_the_table_and_in_a_figure_and_keeps_it(web: Web, page: Page) -> None:
    opened(web, page, NAMES[:3])
    page.locator(".comparison-tabs label", has_text="Scatter").click()

    def colours() -> list[list[str]]:
        """Of rows, by name; of the table's columns; of the figure's dots."""
        return cast(
            "list[list[str]]",
            page.evaluate("""() => [
              [...document.querySelectorAll("#runs-grid .ag-row.ticked input")].map((box) => box.style.accentColor),
              [...document.querySelector(".comparison-table thead")?.querySelectorAll(".swatch") ?? []].map((swatch) => swatch.style.background),
              [...document.querySelectorAll(".comparison-plot .point")].map((dot) => getComputedStyle(dot).fill)]"""),
        )

    wait_for(lambda: colours()[1] == ["var(--c1)", "var(--c2)", "var(--c3)"], because="they take colours in turn")
    wait_for(lambda: sorted(colours()[0]) == ["var(--c1)", "var(--c2)", "var(--c3)"])
    wait_for(lambda: len(set(colours()[2])) == 3, because="each dot has its run's colour")
    page.get_by_label(f"Tick {NAMES[0]}", exact=True).click()
    wait_for(lambda: colours()[1] == ["var(--c2)", "var(--c3)"], because="the others keep theirs")
    page.reload()
    wait_for(lambda: colours()[1] == ["var(--c2)", "var(--c3)"], because="a reload keeps them, too")
    page.get_by_label(f"Tick {NAMES[0]}", exact=True).click()
    wait_for(lambda: colours()[1] == ["var(--c2)", "var(--c3)", "var(--c1)"], because="it takes the free one")


def measured(configs: list[dict[str, Any]], values: list[float | None]) -> RunValues:
    views = [
        RunView(
            Run(f"r{i}", {}, None, None, None, None, 0, 0, False, 0, 0, 0),
            "ended",
            "",
            None,
            None,
            RanksSeen([], None, ""),
            "",
        )
        for i in range(len(configs))
    ]
    return RunValues(views, configs, {"loss": values}, 0)


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)
CONFIGS = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(["lr", "opt", "<b>"]), VALUES), st.none() | st.floats()), max_size=12
)


@settings(max_examples=80)
@given(CONFIGS, st.sampled_from([*TABS, "nothing"]))
@example([({}, 0.0), ({}, 0.0), ({}, sys.float_info.max)], "histogram")
@example([({}, 0.0), ({}, 1.2e308)], "histogram")
def test_any_runs_have_any_figure(runs: list[tuple[dict[str, Any], float | None]], tab: str) -> None:
    import json

    found = measured([config for config, _ in runs], [value for _, value in runs])
    for name in ["series:loss", *options_of(found), "config:missing"]:
        figure, note = drawn(found, FigureChoice(tab, name, "series:loss"), {})
        json.dumps(figure, allow_nan=False)
        assert isinstance(note, str)
        assert len(column_of(found, name).numbers) == len(runs)
    assert isinstance(said_of(effects_of(found, "series:loss")), str)


@settings(deadline=None, max_examples=80)
@given(CONFIGS)
def test_an_odd_run_costs_itself_and_no_axis(runs: list[tuple[dict[str, Any], float | None]]) -> None:
    found = measured([config for config, _ in runs], [value for _, value in runs])
    lines = lines_of(found, "series:loss")
    whole = [i for i, value in enumerate(column_of(found, "series:loss").numbers) if value is not None]
    assert sorted([*lines.places, *lines.lacking]) == whole and (2 * len(lines.places) > len(whole) or not whole)
    assert all(column.numbers[i] is not None for column in lines.columns for i in lines.places)
    for dimension in parallel(lines)["data"][0]["dimensions"]:
        assert len(dimension["values"]) == len(lines.places)
        assert len(dimension.get("ticktext", dimension.get("tickvals", []))) <= 1 + 1 / APART


def test_a_run_with_fewer_keys_is_left_out_and_said() -> None:
    sweep: list[dict[str, Any]] = [{"lr": 10 ** -(1 + i % 4), "width": 64 * (1 + i), "seed": i} for i in range(12)]
    found = measured([*sweep, {"lr": 0.5}, {"odd": 1}], [float(i) for i in range(14)])
    figure, note = drawn(found, FigureChoice("parallel", "config:lr", "series:loss"), {})
    assert figure is not None
    lr, width, seed, loss = figure["data"][0]["dimensions"]
    assert [axis["label"] for axis in (lr, width, seed, loss)] == ["lr", "width", "seed", "loss (last)"]
    assert lr["ticktext"] == ["0.0001", "0.001", "0.01", "0.1"] and len(lr["values"]) == 12
    assert "Left out, since not all these keys are known of them: r12, r13." in note


def test_each_dot_has_the_colour_of_its_tick_and_is_a_ring_where_lines_are_dashed() -> None:
    found = measured([{"lr": i} for i in range(20)], [float(i) for i in range(20)])
    ticked = [[f"r{i}", i + 1 if i < 16 else None] for i in range(20)]
    figure, _ = drawn(found, FigureChoice("scatter", "config:lr", "series:loss"), colours_of(ticked))
    assert figure is not None
    marker = figure["data"][0]["marker"]
    assert marker["color"] == [f"var(--c{i + 1})" for i in range(16)] + 4 * ["var(--ink-3)"]
    assert marker["symbol"] == 8 * ["circle"] + 8 * ["circle-open"] + 4 * ["circle"]


@pytest.mark.parametrize("ticked", [None, "a", ["a"], [["a"]], [[1, 2]], [["a", 1, 2]], {"a": 1}])
def test_what_a_browser_sends_as_ticked_runs_is_looked_at(ticked: Any) -> None:
    assert names_of(ticked) == [] and colours_of(ticked) == {}


def test_a_colour_that_there_is_not_is_grey() -> None:
    ticked = [["a", 0], ["b", 17], ["c", True], ["d", "1"], ["e", [1]], ["f", 16]]
    assert names_of(ticked) == [*"abcdef"] and colours_of(ticked) == {"f": 16}


def test_figures_say_which_value_of_a_series_they_draw(page: Page, tmp_path: Path) -> None:
    writer = open_store(tmp_path, write=True)
    for run, values in {"a": (3.0, 1.0, 2.0), "b": (4.0, 2.0, 3.0, 5.0)}.items():
        writer.append([RunInfo(run, {"config": {"lr": len(values)}})])
        writer.append(
            [Points(run, HOST, ("val/loss", "lr"), (value, 9.0), T0 + step, step) for step, value in enumerate(values)]
        )
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    wanted = FigureChoice("scatter", "series:lr", "series:val/loss")
    for reading, title, values in (
        ("best", "best", (1, 2)),
        ("last", "last", (2, 5)),
        ("step", "at step 2", (2, 3)),
        (7, "last", (2, 5)),
    ):
        read = read_as(queries, ["a", "b"], wanted, reading)
        column = column_of(read, "series:val/loss")
        assert (column.title, column.numbers) == (f"val/loss ({title})", values)
        figure, _ = drawn(read, wanted, {})
        assert figure is not None and figure["layout"]["yaxis"]["title"]["text"] == column.title
    assert column_of(read_as(queries, ["a", "b"], wanted, "best"), "series:lr").title == "lr (last)", (
        "no direction is known of it"
    )
    with served(queries) as web:
        opened(web, page, ["a", "b"])
        held: list[Route] = []
        page.route("**/*plotly*", lambda route: held.append(route))
        page.locator(".comparison-tabs label", has_text="Scatter").click()
        word = "() => getComputedStyle(document.querySelector('.comparison-plot'), '::before').content"
        wait_for(lambda: page.evaluate(word) == '"Drawing …"', because="no word in place of the figure")
        wait_for(lambda: page.evaluate("true") and bool(held))  # a look at the page lets requests arrive
        for route in held:
            route.continue_()
        page.wait_for_selector(".comparison-plot .main-svg")
        assert page.evaluate(word) == "none" and "val/loss (best)" in page.locator(".comparison-plot").inner_text()
    queries.close()
    writer.close()


def test_names_are_inert_in_figures() -> None:
    assert text('<a href="javascript:1">x</a>\u202e') == '&lt;a href="javascript:1"&gt;x&lt;/a&gt;[U+202E]'
    assert text("$x$") == "&#36;x&#36;" and len(text("x" * 99)) == 48
    assert (number(0.1234567), number(123456.0), number(float("nan")), number(float("-inf"))) == (
        "0.1235",
        "123,456",
        "NaN",
        "-∞",
    )
