"""Lines that a launcher marks with their rank have it as a label, as have their numbers; equal ones are one row of the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectors.logs.formats.text import MAX_RANKS, TextLog, split_rank
from collectors.records import LogLine, labels_of
from collectors.store.store import LogQuery, series_id
from tests.conftest import Ask
from tests.support.ingesting import Ingest


@pytest.mark.parametrize(
    ("line", "rank", "text"),
    [
        ("[rank3]: loss 2", 3, "loss 2"),
        ("[rank3]:[W1124 socket.cpp:1] late", 3, "[W1124 socket.cpp:1] late"),
        ("[rank: 3] Seed set to 42", 3, "Seed set to 42"),
        ("[Rank 12] hello", 12, "hello"),
        ("[default0]:  File 'a.py'", 0, " File 'a.py'"),
        ("[default7]:", 7, ""),
        ("[trainer1]:x", 1, "x"),
        ("[1,3]<stdout>:step 5", 3, "step 5"),
        ("[1,10]<stderr>: step 5", 10, "step 5"),
        ("[2]<stdout>:x", 2, "x"),
        *(
            (line, None, line)
            for line in ("[3] third", "[step100]: loss", "[16:31:02] hi", "[1,3] a, b", "rank3: x", "[rank]: x", "")
        ),
        ("[rank99999999]: x", None, "[rank99999999]: x"),
    ],
)
def test_the_rank_stands_in_front(line: str, rank: int | None, text: str) -> None:
    assert split_rank(line) == (rank, text)


def interleaved(ranks: int, steps: int) -> str:
    """Each rank counts its own steps, one behind the next one."""
    return "".join(
        f"[rank{rank}]: step {step - rank} loss {rank}.{step:03}\n"
        for step in range(10, steps)
        for rank in range(ranks)
    )


def test_lines_and_numbers_have_the_rank(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path / "logs")
    (ingest.root / "a").mkdir()
    text = interleaved(4, 60)
    for part in range(0, len(text), 700):
        with (ingest.root / "a/train.log").open("a") as file:
            file.write(text[part : part + 700])
        ingest.turn()
        if part % 2100 == 0:
            ingest.restart()
    (ingest.root / "a/train.rank5.log").write_text("hello\n")
    ingest.until(lambda: (run := ingest.run("a")) and run.lines_read == 201 and run.points == 200, "not all are read")
    lines = ingest.store.logs(LogQuery("a", limit=1000)).lines
    assert [line.rank for line in lines if line.file == "train.log"] == [0, 1, 2, 3] * 50
    assert lines[0].text == "step 10 loss 0.010"
    assert [line.rank for line in lines if line.text == "hello"] == [5]
    for rank in range(4):
        labels = labels_of(host="box", source="text", rank=rank or None)
        found = ingest.store.points([one := series_id("a", "loss", labels)], None, None, "step")[one]
        assert found.place.tolist() == [step - rank for step in range(10, 60)], rank
        assert set(found.segment.tolist()) == {0}
    ingest.store.settle()  # type: ignore[attr-defined]
    assert [line.rank for line in ingest.store.logs(LogQuery("a", text="loss 2.", limit=1000)).lines] == [2] * 50
    ingest.close()


def test_tracebacks_of_ranks_that_are_mixed_have_their_levels() -> None:
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "ValueError: no"]
    text = (
        "".join(f"[default{rank}]:{line}\n" for line in trace for rank in range(3)) + "[default1]:\n[default0]:fine\n"
    )
    parser = TextLog("a", "x.log", 0.0)
    again = TextLog("a", "x.log", 0.0, json.loads(json.dumps(parser.state())))
    lines = [line for line in again.parse(text.encode().split(b"\n")[:-1], None) if isinstance(line, LogLine)]
    assert [line.level for line in lines[:9]] == [40] * 9 and len(lines) == 10


def test_more_ranks_than_are_remembered_are_lines_all_the_same() -> None:
    parser = TextLog("a", "x.log", 0.0)
    lines = parser.parse([b"[rank%d]: hello" % rank for rank in range(3 * MAX_RANKS)], None)
    assert [line.rank for line in lines if isinstance(line, LogLine)] == list(range(3 * MAX_RANKS))
    assert len(json.dumps(parser.state())) < 100_000


FOLD = """
const { folded, linesIn, rankNames } = await load("logs/line.js");
const line = (rank, text, time_s = 1) => ({ rank, text, time_s, level: 0, file: "x.log" });
"""


def test_equal_lines_of_ranks_fold_to_one_row(ask: Ask) -> None:
    code = (
        FOLD
        + """
    const stamp = (second) => `2026-11-24 16:22:0${second} INFO a`;
    const rows = folded([line(null, "a"), line(0, stamp(1)), line(0, "b"), line(2, stamp(2)), line(1, stamp(1)), line(1, "b"),
      line(0, stamp(3)), line(3, "b", 99), line(null, "a")]);
    return [rows.map(({ ranks, text }) => [text.slice(-1), ranks]), linesIn(rows)];"""
    )
    assert ask(code) == [[["a", []], ["a", [0, 2, 1]], ["b", [0, 1]], ["a", [0]], ["b", [3]], ["a", []]], 9]


def test_ranks_are_named_in_spans(ask: Ask) -> None:
    assert ask(FOLD + "return [[], [3], [2, 0, 1, 5], [0, 2]].map(rankNames);") == [
        "",
        "rank 3",
        "ranks 0-2, 5",
        "ranks 0, 2",
    ]
