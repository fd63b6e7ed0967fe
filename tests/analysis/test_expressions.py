"""The language of expressions: what it reads, its units, its sentences, its limits, and its documentation."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings

from analysis.expressions import evaluation, values
from analysis.expressions.evaluation import SeriesRequirement, compile
from analysis.expressions.language import (
    FUNCTIONS,
    MAX_CHARACTERS,
    QUANTITIES,
    SCALES,
    STEPS,
    ExpressionError,
    Matcher,
    SeriesSelector,
    read,
    unit_of_series,
    written,
)
from analysis.expressions.values import FUNCTIONS_OF_ONE, Raster, SeriesColumns
from collectors.store.store import QueryAborted, QueryDeadline, TooMuch, asked
from tests.support.expression_texts import texts
from tests.support.expressions import bucketed, evaluated, raw, series

DOCUMENT = (Path(__file__).parents[2] / "docs" / "expressions.md").read_text()
EXAMPLES = re.findall(
    r"^\| `([^`]+)` \| ([^|]+) \|(?: `([^`]+)`)? \|$", DOCUMENT.split("## Examples")[1].split("## ")[0], re.MULTILINE
)
NAMES = (
    "gpu/power_w", "gpu/energy_j", "gpu/temperature_c", "gpu/utilization_pct", "gpu/memory_used_bytes", "gpu/memory_total_bytes",
    "train/loss", "train/tokens_per_s", "train/grad_norm", "phase/data_s", "phase/forward_s", "odd name, with (this)",
)  # fmt: skip


def house() -> list[SeriesColumns]:
    """Two GPUs and two runs with a series of each name."""
    place = np.arange(200) / 2
    found = []
    for name in NAMES:
        for number in "01":
            run = "" if name.startswith("gpu/") else "ab"[int(number)]
            labels = (("host", "box"),) if run else (("gpu", number), ("host", "box"))
            found.append(series(name, raw(place, np.linspace(1, 100, 200), np.arange(200)), run, labels))
    return [*found, found[-1]._replace(clock=True), found[-2]._replace(clock=True)]


def test_the_document_has_examples() -> None:
    assert len(EXAMPLES) >= 20


@pytest.mark.parametrize(("text", "unit"), [(text, unit) for text, _, unit in EXAMPLES])
def test_the_examples_of_the_document_run(text: str, unit: str) -> None:
    one_run = [row for row in house() if row.run != "b" or 'run="b"' in text]
    found = compile(text).over(one_run)
    assert found and {row.unit for row in found} == {unit}
    assert all(np.isfinite(row.buckets.last).any() for row in found)


def test_the_document_names_every_function_suffix_and_unit() -> None:
    assert all(f"`{name}(" in DOCUMENT or f"`{name}`" in DOCUMENT for name in FUNCTIONS)
    assert all(re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", DOCUMENT) for name in QUANTITIES)
    assert all(re.search(rf"\d{name}`", DOCUMENT) for name in SCALES)
    assert {name for name, row in FUNCTIONS.items() if row.kind == "each"} == {*FUNCTIONS_OF_ONE, "clamp"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x * 0 + 2 + 3 * 4", 14), ("x * 0 + (2 + 3) * 4", 20), ("x * 0 - 2 ^ 2", -4), ("x * 0 + 2 ^ 3 ^ 2", 512), ("x * 0 + 2 ^ -1", 0.5),
        ("x * 0 + 12 / 2 / 3", 2), ("x * 0 + 7 - 2 - 1", 4), ("x * 0 + 1 < 2", 1), ("x * 0 + 3k + 2Ki", 5048), ("x * 0 + .5 + 1e1", 10.5),
        ("-(x * 0 + 1)", -1), ("x*0+1", 1), ("x * 0 + (1 min + 1500 ms) / 1 s", 61.5), ("\n x * 0\t+\n1 ", 1), ("x * 0 + 5 GB / 1 MB", 5000),
        ("x * 0 + sqrt(abs(-16))", 4), ("x * 0 + if(x > 4, 5, 6)", 6), ("x * 0 + clamp(7, 0, 2)", 2),
    ],
)  # fmt: skip
def test_operators_bind_as_in_arithmetic(text: str, value: float) -> None:
    assert evaluated(text, series("x", raw([0.0], [3.0]))).buckets.last.tolist() == [value]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "the expression is empty"),
        ("x +", 4, "ends where a series, a number or a function should follow"),
        ("(x", 3, "ends where a closing )"),
        ("x)", 2, "unexpected )"),
        ("x & y", 3, "unexpected &"),
        ("x y", 3, "unexpected y"),
        ('"x', 1, "the quote is not closed"),
        ("gpu/energy_j rate / x", 14, "a function stands before its series; write rate(gpu/energy_j)"),
        ("avrage(x)", 1, "unknown function avrage; did you mean mean?"),
        ("sumn(x)", 1, "did you mean sum?"),
        ("frobnicate(x)", 1, "unknown function frobnicate"),
        ("1 + sum()", 5, "sum takes 1 argument"),
        ("abs(x, y)", 1, "abs takes 1 argument, as in abs(x); this has 2"),
        ("quantile(90, x)", 10, "between 0 and 1"),
        ("quantile(x, 0.9)", 10, "quantile takes a number here, as in quantile(share, x)"),
        ("clamp(x, 3, 2)", 10, "the lower bound of clamp is above the upper one"),
        ("ema(x, -1)", 9, "the half-life of ema is above 0"),
        ("shift(x, 5 W)", 10, "takes a duration or a number of steps"),
        ("rate(x) over 10 s", 9, "rate takes no over; write mean(rate(x)) over"),
        ("sum(x) over 10", 13, "expected a duration"),
        ("sum(x) over 10 W", 13, "a duration or a number of steps above 0"),
        ("sum by gpu (x) over 10 s", 16, "one of over and by"),
        ("mean(3)", 6, "mean takes a series, not a number"),
        ("rate(1 + 2) * x", 8, "rate takes a series, not a number"),
        ("if(1, 0, x)", 4, "if takes a condition with a series, not a number"),
        ("1 + 2", 1, "there is no series"),
        ("x{} +", 6, "ends where"),
        ("{}", 1, "empty braces"),
        ('x{gpu="0}', 7, "the quote is not closed"),
        ("x{gpu}", 6, "expected one of = != =~ !~"),
        ("x per minute", 7, "unexpected minute; expected step"),
        ("1e999 * x", 1, "too large"),
        ("x < 1 < 2", 7, "unexpected <"),
        ("x" * (MAX_CHARACTERS + 1), MAX_CHARACTERS + 1, "at most 2,000 characters"),
        ("-" * 150 + "x", 101, "at most 100 levels deep"),
        ("+".join("x" * 150), 1, "at most 100 levels deep"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        compile(text)
    assert words in str(raised.value) and raised.value.column == column
    assert str(raised.value).startswith(f"column {column}: ") and "\n" not in str(raised.value)


def test_needs_are_selectors_with_how_far_they_look() -> None:
    needs = compile('mean(shift(rate(a{gpu="0"}), 60 s)) over 10 s + ema(b, 2) - shift(c, -5 s) per step').needs
    selector = SeriesSelector("a", (Matcher("gpu", "=", "0"),))
    found = [(need.selector, need.before, need.after, need.neighbour) for need in needs]
    assert found == [
        (selector, 70.0, 0.0, True),
        (SeriesSelector("b"), 128.0, 0.0, False),
        (SeriesSelector("c"), 0.0, 5.0, False),
        (STEPS, 0.0, 0.0, True),
    ]
    assert isinstance(needs[0], SeriesRequirement) and str(needs[0].selector) == 'a{gpu="0"}'


def test_selectors_choose_by_labels() -> None:
    def chosen(text: str) -> list[tuple[str, str]]:
        selector = compile(text).needs[0].selector
        return [
            (row.run, row.name) for row in house() if not row.clock and selector.matches(row.run, row.name, row.labels)
        ]

    assert chosen('gpu/power_w{gpu!="0"}') == [("", "gpu/power_w")]
    assert chosen('{name=~"PHASE/*", run="b"}') == [("b", "phase/data_s"), ("b", "phase/forward_s")]
    assert chosen('train/loss{rank=""}') == [("a", "train/loss"), ("b", "train/loss")]
    assert chosen('train/loss{host!~"b?x"}') == [] and chosen("'odd name, with (this)'{run='a'}") == [
        ("a", "odd name, with (this)")
    ]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("gpu/power_w * 1 s", "J"), ("gpu/energy_j / 1 h", "W"), ("rate(gpu/energy_j) / train/tokens_per_s", "J/token"),
        ("gpu/power_w / train/steps_per_s", "J/step"), ("1 / gpu/power_w", "1/W"), ("gpu/power_w ^ 2", "W^2"), ("sqrt(gpu/power_w ^ 2)", "W"),
        ("rate(gpu/memory_used_bytes)", "B/s"), ("host/disk_read_bytes_per_s * 1 min", "B"), ("gpu/power_w / gpu/power_limit_w", ""),
        ("gpu/power_w + 5", "W"), ("5 - gpu/power_w", "W"), ("gpu/power_w > 5 W", ""), ("gpu/power_w * train/loss", ""),
        ("train/loss + gpu/power_w", ""), ("log(gpu/power_w)", ""), ("gpu/utilization_pct", "%"), ("gpu/utilization_pct / 100 %", ""),
        ("gpu/utilization_pct * gpu/power_w", "% W"), ("count(gpu/power_w)", ""), ("stddev(gpu/power_w) over 3 s", "W"),
        ("if(train/loss, gpu/power_w, 0)", "W"), ("gpu/power_w per step", "J/step"), ("train/images_per_s", "image/s"), ("rate(step)", "step/s"),
        ("gpu/power_w ^ 0.5", "W^0.5"), ("gpu/power_w ^ 99", ""), ("my/copy_s", "s"), ("my/thing", ""),
    ],
)  # fmt: skip
def test_units_are_carried_through(text: str, unit: str) -> None:
    assert compile(text).unit(lambda selector: unit_of_series(selector.name)) == unit


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("gpu/power_w + gpu/energy_j", 13),
        ("gpu/power_w > 5 J", 13),
        ("if(train/loss, gpu/power_w, 3 s)", 1),
        ("clamp(gpu/power_w, 0, 5 J)", 23),
        ("1 + (gpu/power_w - gpu/power_w * 2 s)", 18),
        ("gpu/power_w / gpu/power_w + gpu/power_w", 27),
    ],
)
def test_unlike_units_are_a_sentence(text: str, column: int) -> None:
    with pytest.raises(ExpressionError, match="the units differ") as raised:
        compile(text).unit(lambda selector: unit_of_series(selector.name))
    assert raised.value.column == column


def test_on_the_step_axis_rates_are_per_step() -> None:
    expression = compile("rate(gpu/energy_j)")
    assert expression.unit(lambda _: "J", "step") == "J/step" and expression.unit(lambda _: "J") == "W"


@pytest.mark.parametrize("unit", ["", "W", "J/token", "B/s", "1/s", "%", "°C", "MHz", "W^2/B", "step/s", "J s"])
def test_units_are_written_as_they_are_read(unit: str) -> None:
    assert written(read(unit)) == unit


def test_names_with_anything_in_them_can_be_quoted() -> None:
    for name in ("a b", 'with "quotes"', "back\\slash", "a-b", "1/x", "line\nbreak", "🙂", "over", "(", "step"):
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        assert compile(quoted).needs[0].selector == SeriesSelector(name)


def test_a_question_that_is_over_ends_the_evaluation() -> None:
    expression, columns = compile("quantile(0.5, x) over 100 s"), [series("x", raw(np.arange(1e4), np.ones(10_000)))]
    over = QueryDeadline(0.0)
    token = asked.set(over)
    try:
        with pytest.raises(QueryAborted):
            expression.over(columns)
    finally:
        asked.reset(token)
    with pytest.raises(TooMuch, match="choose a shorter stretch"):
        compile("quantile(0.5, x) over 1e9 s").over(columns)


def test_more_series_than_an_expression_holds_are_a_sentence() -> None:
    columns = [series("x", raw([0.0], [1.0]), labels=(("gpu", str(number)),)) for number in range(201)]
    with pytest.raises(ExpressionError, match="201 series match x; at most 200 may"):
        compile("x").over(columns)


def test_what_is_computed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [
        series("x", raw(np.arange(100.0) + number / 16, np.ones(100)), labels=(("gpu", str(number)),))
        for number in range(10)
    ]
    exact, *_ = compile("sum(x)").over(columns)
    monkeypatch.setattr(values, "MAX_VALUES", 1000)
    cells, *_ = compile("sum(x)").over(columns, Raster(buckets=50))
    assert exact.buckets.last[20] == 10 and cells.buckets.max[20] == 10 and len(cells.buckets.t) == 50
    monkeypatch.setattr(evaluation, "MAX_PLACES", 1500)
    compile("-x").over(columns)
    with pytest.raises(TooMuch, match="more than 1,500 places together"):
        compile("--x").over(columns)


MAX_S = 20.0  # a hang, not a budget


def columns_of(buckets: int) -> list[SeriesColumns]:
    return [row._replace(data=bucketed(row.data, buckets)) for row in house() if not row.name.startswith("phase")]


POINTS, BUCKETED = columns_of(1000), columns_of(7)


@settings(max_examples=400)
@given(texts)
@example("clamp(" * 100)
@example("((((((" * 300)
@example("x ^ 9 ^ 9 ^ 9 ^ 9")
@example('"' + "\\" * 1999)
@example("if(1, 0, train/loss)")
@example('{name=~"' + "*a" * 900 + '"}')
def test_any_text_is_a_result_or_a_sentence(text: str) -> None:
    began_s = time.monotonic()
    try:
        expression = compile(text)
        assert 1 <= len(expression.needs) <= 200
        for columns in (POINTS, BUCKETED):
            for axis in ("time", "step"):
                for found in expression.over(columns, Raster(axis, buckets=20)):  # type: ignore[arg-type]
                    assert len({len(column) for column in found.buckets[:-1]}) == 1 and len(found.buckets.t) <= 20
                    assert not np.isinf(found.buckets.min).any()
    except ExpressionError as error:
        assert str(error) and "\n" not in str(error).replace(text, "") and error.column >= 1
    except TooMuch as error:
        assert str(error)
    assert time.monotonic() - began_s < MAX_S
