"""Boards and odd texts, drawn by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dashboard.boards.board import KINDS, Board, BoardChart, BoardRow, SeriesChoice, Threshold, ValueRange, chosen_of

ODD = "no:#&*!|>'\"%@`{}[],?- \n\t\u00e9\u202e\u2028\u0085x1.~"
words = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20) | st.sampled_from(
    [
        "no",
        "null",
        "1e3",
        "~",
        "yes: x",
        "- a",
        "# not a comment",
        "'",
        '"',
        "{a}",
        "[",
        "12",
        "0x1f",
        "a\nb\n",
        " a",
        "a ",
        "\u202e",
        "x\u2028y",
    ]
)
filled = words.filter(bool)
numbers = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: float(f"{value:.12g}"))
labels = st.dictionaries(filled, words, max_size=3).map(lambda table: tuple(table.items()))
runs = st.lists(filled, max_size=3).map(tuple)
bare = st.sampled_from(
    ["gpu/power_w", "train/loss", "sum(gpu/power_w)", "rate(gpu/energy_j) / train/tokens_per_s", "2 * gpu/power_w"]
).map(chosen_of)
series = bare | st.builds(
    SeriesChoice,
    by=st.sampled_from(["name", "glob"]),
    text=filled,
    runs=runs,
    labels=labels,
    label=words,
    colour=st.none() | st.integers(1, 16),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "series": st.lists(series, min_size=1, max_size=4).map(tuple),
    "x": series,
    "best": st.sampled_from([None, "top left", "top right", "bottom left", "bottom right"]),
    "axis": st.sampled_from([None, "time", "step"]),
    "unit": words,
    "range": st.none()
    | st.tuples(numbers, numbers).filter(lambda ends: ends[0] < ends[1]).map(lambda ends: ValueRange(*ends))
    | numbers.map(lambda low: ValueRange(low, None)),
    "log": st.booleans(),
    "smooth": st.sampled_from(["", "10 s", "20 steps", "1.5 min"]),
    "value": st.sampled_from(["last", "mean", "min", "max", "sum", "change"]),
    "thresholds": st.dictionaries(numbers, st.sampled_from(["ok", "warn", "bad"]), max_size=3).map(
        lambda table: tuple(sorted(Threshold(at, tone) for at, tone in table.items()))
    ),
    "bins": st.integers(2, 200),
    "text": filled,
}


@st.composite
def charts(draw: st.DrawFn) -> BoardChart:
    kind = draw(st.sampled_from(KINDS))
    given = {name: draw(FIELDS[name]) for name in kind.fields if name in kind.needed or draw(st.booleans())}
    return BoardChart(kind.name, draw(words), draw(st.none() | st.integers(1, 12)), **given)


rows = st.builds(BoardRow, charts=st.lists(charts(), max_size=3).map(tuple), title=words, height=st.integers(80, 1200))
boards = st.builds(
    Board,
    title=words,
    about=words,
    window=st.sampled_from(["all", "15 min", "1h", "2.5 d"]),
    axis=st.sampled_from(["time", "step"]),
    runs=runs,
    rows=st.lists(rows, max_size=3).map(tuple),
)
pieces = st.lists(
    st.sampled_from(["title", "rows", "charts", "kind", "line", "series", ":", " ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a", "*a", "!!x", "#", "|", "'", '"', "1", "gpu/power_w", "---", "\t", "?", "x"]),
    max_size=40,
).map("".join)  # fmt: skip
texts = pieces | st.text(ODD, max_size=60) | st.text(max_size=40)
