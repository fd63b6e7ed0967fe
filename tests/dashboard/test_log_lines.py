"""What the Logs page asks of lines: each answer is that of going through all of them one by one."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collectors.records import LogLine
from collectors.store.engines import open_store
from collectors.store.sqlite import logs
from collectors.store.store import QueryAborted, QueryDeadline, Store, asked
from dashboard.logs import lines, table
from dashboard.logs import search as search_module
from dashboard.logs.lines import LineQuery, LogLines, NoSuchTemplate
from dashboard.logs.search import BadExpression, Needle, finder, pieces
from dashboard.logs.table import LineFilter

T0 = 1_764_000_000.0
TEXTS = (
    "step {} loss 0.{}",
    "ERROR shard {} of {} failed",
    "Saved /a/b/{}.pt",
    "Überall {} \ud800 {}",
    "",
    "x" * 300 + " {}",
    "[{}] {}",
)
ALL = LineQuery(None, LineFilter())


def made(count: int, seed: int, runs: str = "a") -> list[LogLine]:
    """Times go back now and then, as where several files are read one after the other."""
    chance = random.Random(seed)
    found = []
    for at in range(count):
        text = chance.choice(TEXTS).format(chance.randrange(1000), chance.randrange(100))
        when = T0 + at - chance.randrange(0, 40, 8)
        rank = chance.choice([None, 0, 3])
        found.append(
            LogLine(
                chance.choice(runs), f"{chance.randrange(3)}.log", when, chance.choice([0, 20, 25, 40, 300]), text, rank
            )
        )
    return found


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(logs, "BLOCK_LINES", 50)
    monkeypatch.setattr(table, "CHUNK", 64)
    opened = open_store(tmp_path, write=True)
    yield opened
    opened.close()


def stored(store: Store, runs: str = "a") -> list[LogLine]:
    """By time, then by arrival, as the store returns them."""
    extents = store.line_extents(None)
    found = [line for run in extents if run in runs for line in store.lines(run, list(range(extents[run].last + 1)))]
    return sorted(found, key=lambda line: (line.time_s, line.number))


def as_stored(found: lines.LineStretch) -> list[LogLine]:
    return [LogLine(*line[: len(LogLine._fields)]) for line in found.lines]


def numbers(found: lines.LineStretch) -> list[int]:
    return [line.number for line in found.lines]


def finished(asking: LogLines, asked_for: LineQuery) -> lines.LineStretch:
    """Asked until all is searched."""
    while True:
        found = asking.stretch(asked_for, 0, 2000)
        if found.search is None or found.search.done:
            return found


FILTERS = [
    LineFilter(),
    LineFilter(from_s=T0 + 100, to_s=T0 + 180),
    LineFilter(from_s=T0 + 1e6),
    LineFilter(level=25, files={"1.log", "no such file"}),
    LineFilter(ranks={3}, to_s=T0 + 250),
    LineFilter(shown={1, 2, 60_000}, level=1),
    LineFilter(hidden={1, 3}),
]


@pytest.mark.parametrize("asked_for", FILTERS)
def test_a_stretch_is_that_of_the_filtered_list(store: Store, asked_for: LineFilter) -> None:
    store.append(made(333, 1))
    asking = LogLines(store)
    template = {line.number: line.template for line in asking.stretch(ALL, 0, 2000).lines}
    kept = [line for line in stored(store) if is_wanted(line, template[line.number], asked_for)]
    everything = asking.stretch(LineQuery(("a",), asked_for), 0, 2000)
    assert as_stored(everything) == kept and everything.total == len(kept) and everything.left_out == 0
    for offset, limit in ((0, 7), (60, 70), (len(kept) - 3, 10), (len(kept), 5), (10**12, 5), (5, 0)):
        found = asking.stretch(LineQuery(("a",), asked_for), offset, limit)
        assert numbers(found) == [line.number for line in kept[max(0, offset) : max(0, offset) + limit]]
    at = asking.stretch(LineQuery(("a",), asked_for), 0, 5, at_s=T0 + 150.5)
    assert at.offset == sum(line.time_s < T0 + 150.5 for line in kept)
    for line in kept[:: max(1, len(kept) // 5)]:
        around = asking.stretch(LineQuery(("a",), asked_for), 0, 9, around=line.number)
        assert line.number in numbers(around) and numbers(around) == [
            kept_line.number for kept_line in kept[around.offset :][:9]
        ]
    density, total, _ = asking.density(LineQuery(("a",), asked_for), 13)
    assert density.counts.sum() == total == len(kept)
    assert density.counts.sum(axis=1).tolist() == [
        sum(min(line.level // 10, 5) == at for line in kept) for at in range(6)
    ]


def is_wanted(line: LogLine, template: int, asked_for: LineFilter) -> bool:
    inside = (asked_for.from_s is None or line.time_s >= asked_for.from_s) and (
        asked_for.to_s is None or line.time_s <= asked_for.to_s
    )
    source = (not asked_for.files or line.file in asked_for.files) and (
        not asked_for.ranks or line.rank in asked_for.ranks
    )
    shown = (not asked_for.shown or template in asked_for.shown) and template not in asked_for.hidden
    return inside and source and shown and line.level >= asked_for.level


def test_lines_that_come_are_put_where_their_time_is(store: Store) -> None:
    asking = LogLines(store)
    assert asking.stretch(ALL, 0, 5) == ([], 0, 0, 0, None)
    for seed in range(8):
        store.append(made(40, seed, "ab"))
        for runs in (None, ("a",), ("a", "b"), ("b", "none")):
            found = asking.stretch(LineQuery(runs, LineFilter()), 0, 2000)
            assert as_stored(found) == stored(store, "ab" if runs is None else "".join(runs))
        while store.compact(0.1):
            pass


def test_a_deleted_run_is_gone_and_read_anew(store: Store) -> None:
    asking, search = LogLines(store), LineQuery(("a",), LineFilter(), Needle("loss"), True)
    store.append(made(100, 1))
    before = finished(asking, search)
    store.delete("a")
    assert asking.stretch(search, 0, 10).total == 0 and asking.stretch(ALL, 0, 10).total == 0
    assert asking.templates(ALL, 5, 10)[1] == [] and store.templates("a") == []
    store.append(made(100, 1))
    after = finished(asking, search)
    assert [line.text for line in after.lines] == [line.text for line in before.lines] and after.total > 0


NEEDLES = [
    (Needle("LOSS 0."), lambda text: "loss 0." in text.lower()),
    (Needle("LOSS", case=True), lambda text: False),
    (Needle("über"), lambda text: "über" in text.lower()),
    (Needle("\n"), lambda text: False),
    (Needle(r"\d{3} of \d+ failed$", regex=True), lambda text: re.search(r"\d{3} of \d+ failed$", text)),
    (Needle(r"^s.*7\b", regex=True), lambda text: re.search(r"^s.*7\b", text, re.IGNORECASE | re.ASCII)),
    (Needle(r"^$", regex=True), lambda text: text == ""),
    (Needle(r"x*", regex=True), lambda text: True),
]


@pytest.mark.parametrize(("sought", "is_hit"), NEEDLES)
def test_a_search_in_slices_finds_what_each_line_says(
    store: Store, sought: Needle, is_hit: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "SLICE_S", 0.0)  # as little as a question does
    monkeypatch.setattr(search_module, "PIECE_BYTES", 200)
    monkeypatch.setattr(search_module, "LONG_BYTES", 400)
    asking, question = LogLines(store), LineQuery(None, LineFilter(), sought, True)
    store.append(made(150, 1, "ab"))
    first = asking.stretch(question, 0, 10).search
    assert first is not None and 0 < first.searched < first.lines == 150 and not first.done, (
        "the count goes on when it is asked again"
    )
    store.append(made(30, 2, "ab"))
    while store.compact(0.1):
        pass
    found = finished(asking, question)
    assert callable(is_hit)
    expected = [line for line in stored(store, "ab") if is_hit(line.text)]
    assert as_stored(found) == expected and found.total == len(expected)
    assert found.search == (180, 180, len(expected), True)
    density, _, _ = asking.density(question._replace(only_hits=False), 7)
    assert density.hits is not None and density.hits.sum() == len(expected)
    hit = [line.number for line in expected]
    order = [line.number for line in stored(store, "ab")]
    start = order[60]
    later = next((number for number in order[61:] if number in hit), None)
    earlier = next((number for number in order[59::-1] if number in hit), None)
    plain = question._replace(only_hits=False)
    assert (
        asking.next(plain, start, "hit", back=False).number == later
        and asking.next(plain, start, "hit", back=True).number == earlier
    )


def test_the_newest_lines_are_searched_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(made(400, 1))
    monkeypatch.setattr(search_module, "SLICE_S", 0.0)
    found = LogLines(store).stretch(LineQuery(("a",), LineFilter(), Needle("o"), True), 0, 2000)
    assert found.search is not None and not found.search.done and min(numbers(found)) > 300


def test_an_expression_that_cannot_be_is_refused_in_one_sentence_and_a_dear_one_ends() -> None:
    for text in ("(", "a{1001}", r"(?:.{0,900}a){1}.{0,900}z", "\\", "(?P<", "[z-a]"):
        with pytest.raises(BadExpression, match="no regular expression"):
            finder(Needle(text, regex=True))
    dear = Needle(r"(?:x?[a-f0-9]){300}z", regex=True)
    texts = b"\n".join([b"0123456789abcdef" * 4096, b"short"])
    assert [list(piece.found) for piece in pieces(dear, finder(dear), texts, 2)] == [[], []]


def test_templates_are_counted_in_the_window(store: Store) -> None:
    store.append(made(333, 1, "ab"))
    asking = LogLines(store)
    every = asking.stretch(ALL, 0, 2000).lines
    counts = Counter((line.run, line.template) for line in every)
    (lo, hi), found, total, _ = asking.templates(ALL, 9, 100)
    assert {(counted.run, stored.id): counted.lines for stored, counted in found} == counts and total == len(counts)
    assert (lo, hi) == (every[0].time_s, every[-1].time_s)
    for stored_template, counted in found:
        own = [line for line in every if (line.run, line.template) == (counted.run, counted.id)]
        assert counted.strokes.sum() == counted.lines == stored_template.lines and counted.level == min(
            255, max(line.level for line in own)
        )
        assert (counted.first_time_s, counted.last_time_s) == (own[0].time_s, own[-1].time_s)
        assert (stored_template.first_time_s, stored_template.last_time_s) == (own[0].time_s, own[-1].time_s)
        assert stored_template.level == max(line.level for line in own)
    part = LineQuery(("a",), LineFilter(from_s=T0 + 50, to_s=T0 + 99))
    assert sum(counted.lines for _, counted in asking.templates(part, 9, 100)[1]) == asking.stretch(part, 0, 0).total


def test_a_number_of_the_lines_of_a_template_is_a_curve(store: Store) -> None:
    store.append([LogLine("a", "x.log", T0 + at, 20, f"step {at} loss {at / 8}") for at in range(100)])
    asking = LogLines(store)
    template, curve = asking.field("a", 1, 1, LineFilter(from_s=T0 + 10), 1000)
    assert template.text == "step # loss #" and curve.total == 90
    np.testing.assert_array_equal(curve.value, np.arange(10, 100) / 8)
    _, few = asking.field("a", 1, 0, LineFilter(), 5)
    assert (
        few.total == 100
        and few.value.tolist() == [0, 24, 49, 74, 99]
        and few.time_s.tolist() == [T0 + at for at in (0, 24, 49, 74, 99)]
    )
    for number, field in ((1, 2), (9, 0), (1, -1)):
        with pytest.raises(NoSuchTemplate):
            asking.field("a", number, field, LineFilter(), 5)


@pytest.mark.parametrize("share", [None, 0.5, 1e-3, 1.0])
@pytest.mark.parametrize("most", [1, 2, 7, 1000])
def test_evenly_chosen_rows_are_those_of_the_whole_list(share: float | None, most: int) -> None:
    length = 3 * table.CHUNK + 5
    mask = None if share is None else np.random.default_rng(0).random(length) < share
    rows = table.FilteredRows(11, 11 + length, mask)
    listed = rows.rows(0, rows.total)
    wanted = listed if len(listed) <= most else listed[np.linspace(0, len(listed) - 1, most).astype(np.int64)]
    assert rows.evenly(most).tolist() == wanted.tolist()


def test_tables_are_bounded_and_say_what_they_leave_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_ROWS", 100)
    store.append(made(400, 1))
    asking = LogLines(store)
    found = asking.stretch(ALL, 0, 2000)
    assert found.total + found.left_out == 400 and 80 <= found.total <= 100 and min(numbers(found)) > 300
    store.append(made(30, 2))
    found = asking.stretch(ALL, 0, 2000)
    assert found.total + found.left_out == 430 and 80 <= found.total <= 100


def test_a_question_that_is_over_leaves_a_search_that_goes_on(store: Store) -> None:
    store.append(made(300, 1))
    asking, question = LogLines(store), LineQuery(("a",), LineFilter(), Needle("loss"), True)
    over = QueryDeadline(10.0)
    over.end("the client is gone")
    before = asked.set(over)
    with pytest.raises(QueryAborted):
        asking.stretch(question, 0, 10)
    asked.reset(before)
    assert finished(asking, question).total == sum("loss" in line.text for line in stored(store))


def test_three_thousand_runs_are_one_list(store: Store) -> None:
    store.append([LogLine(f"run-{at}", "x.log", T0 - at, 20, f"line {at}") for at in range(3000)])
    asking = LogLines(store)
    found = asking.stretch(ALL, 2990, 20)
    assert found.total == 3000 and [line.text for line in found.lines] == [f"line {at}" for at in range(9, -1, -1)]
    assert finished(asking, LineQuery(None, LineFilter(), Needle("line 299"), True)).total == 11


def test_a_line_of_a_mebibyte_binary_noise_and_a_clock_that_jumps_are_lines_as_others(store: Store) -> None:
    noise = bytes(range(256)).decode("latin-1")
    odd = [
        "x" * (1 << 20) + " needle",
        "needle first " + "y" * (1 << 20),
        noise,
        "\ud800",
        "",
        "12 34",
        "\u202e needle \x1b[31m",
    ]
    when = [T0, T0 - 86_400, T0 + 1e9, T0, 0.0, T0, -1e9]
    store.append([LogLine("a", "x.log", time_s, 20, text) for time_s, text in zip(when, odd, strict=True)])
    asking = LogLines(store)
    assert [line.time_s for line in asking.stretch(ALL, 0, 10).lines] == sorted(when)
    found = finished(asking, LineQuery(("a",), LineFilter(), Needle("needle"), True))
    assert sorted(numbers(found)) == [1, 2, 7] and max(len(line.text) for line in found.lines) < 20_000
    seen = finished(asking, LineQuery(("a",), LineFilter(), Needle("^.*needle", regex=True), True))
    assert sorted(numbers(seen)) == [2, 7], "an expression sees the first 16 kB of a line"
    assert finished(asking, LineQuery(("a",), LineFilter(), Needle(noise[32:127]), True)).total == 1
    assert sum(template.lines for template in store.templates("a")) == len(odd)


def test_lines_that_arrive_while_the_table_is_read_come_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(made(60, 0))
    asking, read_columns = LogLines(store), store.line_columns
    more = [made(60, 1), made(60, 2)]

    def read_late(*arguments: Any) -> None:
        if more:
            store.append(more.pop())
        read_columns(*arguments)

    monkeypatch.setattr(store, "line_columns", read_late)
    for _ in range(4):
        asking.stretch(ALL, 0, 2000)
    assert sorted(numbers(asking.stretch(ALL, 0, 2000))) == sorted(line.number for line in stored(store))


def test_a_run_may_be_deleted_and_written_while_it_is_read(store: Store) -> None:
    asking, failures = LogLines(store), list[BaseException]()
    ends = threading.Event()

    def read() -> None:
        try:
            while not ends.is_set():
                for question in (ALL, LineQuery(("a",), LineFilter(level=1), Needle("loss"), True)):
                    found = asking.stretch(question, 0, 50)
                    assert len(found.lines) <= found.total
                    asking.templates(question, 5, 10)
                    asking.density(question, 5)
                    asking.next(question, 1, "hit", back=False)
        except BaseException as error:  # the test shows it
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for seed in range(12):
        store.append(made(60, seed, "ab"))
        store.compact(0.05)
        if seed % 3 == 2:
            store.delete("a")
    ends.set()
    for reader in readers:
        reader.join()
    assert not failures, failures
    assert asking.stretch(ALL, 0, 2000).total == len(stored(store, "ab"))
