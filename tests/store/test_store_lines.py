"""What every store must do with lines of text, progress bars and events."""

from __future__ import annotations

from collectors.records import Event, LogLine, ProgressBar
from collectors.store.store import LineColumns, LineTexts, LogQuery, Store
from tests.support.stored import START_S, Open
from tests.support.stored import opened as opened  # a fixture
from tests.support.stored import store as store  # a fixture


def test_events_come_back_in_order_of_time(store: Store) -> None:
    later = Event("a", "end", START_S + 9, 1, 5, None, "done", {"status": "ok"})
    store.append([later, Event("a", "start", START_S, fields={"pid": 7}), Event("b", "note", START_S + 1)])
    assert [event.kind for event in store.events()] == ["start", "note", "end"]
    assert store.events("a", START_S + 1) == [later]
    assert [event.kind for event in store.events(None, None, START_S + 1)] == ["start", "note"]
    assert {run.name for run in store.runs()} == {"a", "b"}


def test_log_lines_are_found_by_run_text_level_and_time(store: Store) -> None:
    levels = [40 if i % 10 == 0 else 20 for i in range(100)]
    lines = [
        LogLine("ab"[i % 2], "out.log", START_S + i, level, f"Step {i} ☃\x1b[0m", None, i + 1)
        for i, level in enumerate(levels)
    ]
    store.append(lines[:50])
    store.append(lines[50:])
    assert store.logs(LogQuery(limit=3)) == (lines[-3:], 100, 98)
    assert store.logs(LogQuery(run="b", limit=1)).lines == lines[-1:]
    assert store.logs(LogQuery(text="sTEP 42")) == ([lines[42]], 1, None)
    assert store.logs(LogQuery(level=30)) == (lines[::10], 10, None)
    assert store.logs(LogQuery(from_s=START_S + 10, to_s=START_S + 12)).lines == lines[10:13]


def test_lines_come_as_columns_texts_and_templates(opened: Open) -> None:
    store, reader = opened(True), opened(False)
    texts = ["step 1 loss 0.5", "saved /a/b/c.pt", "step 2 loss 0.25", "\ud800", ""] * 5
    lines = [
        LogLine("ab"[i % 3 == 2], f"{i % 2}.log", START_S - i, 10 * (i % 6), text, None if i % 2 else i, i + 1)
        for i, text in enumerate(texts)
    ]
    for at in range(0, 25, 7):
        store.append(lines[at : at + 7])
    for run in "ab":
        own = [line for line in lines if line.run == run]
        extent = reader.line_extents()[run]
        assert extent == (len(own), own[0].number, own[-1].number, 0) and reader.line_extents(["none", run]) == {
            run: extent
        }
        blocks: list[LineColumns] = []
        reader.line_columns(run, own[3].number, blocks.append)
        rows = [row for block in blocks for row in zip(*(column.tolist() for column in block[2:6]), strict=True)]
        files = [block.files[file] for block in blocks for file in block.file.tolist()]
        ranks = [rank for block in blocks for rank in block.rank.tolist()]
        assert [(number, time_s, level) for number, time_s, level, _ in rows] == [
            (line.number, line.time_s, line.level) for line in own[4:]
        ]
        assert files == [line.file for line in own[4:]] and ranks == [
            -1 if line.rank is None else line.rank for line in own[4:]
        ]
        read: dict[int, str] = {}

        def take(block: LineTexts, read: dict[int, str] = read) -> bool:
            assert not read or int(block.number[-1]) < min(read), "the newest first"
            read |= {number: block.text(at) for at, number in enumerate(block.number.tolist())}
            return True

        reader.line_texts(run, 0, extent.last, take)
        assert read == {line.number: line.text for line in own}
        assert reader.lines(run, [own[2].number, own[0].number, 10**9]) == [own[0], own[2]]
        templates = reader.templates(run)
        assert [template.id for template in templates] == list(range(1, len(templates) + 1)) and len(templates) == 4
        assert sum(template.lines for template in templates) == len(own)
        step = next(template for template in templates if template.text == "step # loss #")
        steps = [line for line in own if line.text.startswith("step")]
        ends = min(line.time_s for line in steps), max(line.time_s for line in steps)
        assert step[2:] == (steps[0].text, False, max(line.level for line in steps), len(steps), *ends)
    store.delete("a")
    assert reader.templates("a") == [] and reader.line_extents().keys() == {"b"} and reader.lines("a", [1]) == []


def test_a_progress_bar_is_one_row_a_file_and_no_line(store: Store) -> None:
    def bars(since: int) -> list[str]:
        return [bar.text for bar in store.since(since, {"a"}).bars]

    first = store.append([ProgressBar("a", "x.log", START_S, "1%"), ProgressBar("b", "x.log", START_S, "7%")])
    second = store.append([ProgressBar("a", "x.log", START_S + 5, "2%"), ProgressBar("a", "y.log", START_S + 9, "3%")])
    assert [(bar.file, bar.text) for bar in store.bars("a")] == [("x.log", "2%"), ("y.log", "3%")]
    assert sorted(bars(0)) == sorted(bars(first)) == ["2%", "3%"] and bars(second) == []
    store.append([ProgressBar("a", "x.log", START_S + 10, "")])
    assert [bar.text for bar in store.bars("a")] == ["3%"] and bars(second) == [""]
    assert store.logs(LogQuery()).total == 0 and store.bars("none") == []
    assert [(run.name, run.last_time_s) for run in store.runs()] == [("a", START_S + 10), ("b", START_S)]


def test_pages_of_log_lines_meet_without_gap_or_overlap(store: Store) -> None:
    lines = [LogLine("a", "out.log", START_S, 20, f"line {i}", None, i + 1) for i in range(23)]
    for one in lines:
        store.append([one])
    found: list[LogLine] = []
    before = None
    for _ in range(3):
        page = store.logs(LogQuery(before=before, limit=10))
        found, before = [*page.lines, *found], page.before
        assert page.total == 23
    assert found == lines and before is None
