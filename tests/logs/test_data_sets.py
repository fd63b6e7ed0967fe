"""A JSONL file is metrics by its first 50 lines, of at most 64 kB; data is listed, and read only where a user asks for it."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from collectors.logs.formats.jsonl import HEAD_BYTES, guess_content
from tests.conftest import Dashboard, dashboard, wait_for
from tests.support.ingesting import Ingest
from tests.support.ingesting import ingest as ingest  # a fixture

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "the",
    "lazy",
    "dog",
    "and",
    "runs",
    "away",
    "from",
    "all",
    "of",
    "them",
]
Make = Callable[[int], dict[str, Any]]


def prose(number: int, words: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=words))


METRICS: dict[str, Make] = {
    "our own": lambda i: {"time_s": 1.5 + i, "step": i, "train/loss": 1 / (i + 1)},
    "two kinds of line": lambda i: (
        {"step": i, "loss": 0.5} if i % 10 else {"step": i, "eval/acc": 0.5, "eval/loss": 1, "n": 7}
    ),
    "no step": lambda i: {"loss": 1 / (i + 1)},
    "names of its own": lambda i: {"iter": i, "foo": 0.5, "bar": 3},
    "a date": lambda i: {"date": f"2026-11-24T10:{i:02}:00", "foo": i % 3},
    "with a few words": lambda i: {"step": i, "lr": 1e-3, "split": "train", "mode": "fp16", "seconds": 0.5},
    "a JSON logger": lambda i: {
        "level": "INFO",
        "timestamp": 1764000000 + i,
        "step": i,
        "loss": 0.5,
        "message": "step done",
    },
    "nested": lambda i: {"global_step": i, "train": {"loss": 0.5, "acc": {"top1": 0.1}}},
    "NaN": lambda i: {"step": i, "loss": math.nan},
    "a resumed run": lambda i: {"step": i % 30, "foo": 0.5},
    "many values": lambda i: {"step": i, **{f"layer{n}/norm": 0.5 for n in range(200)}},
    "a description first": lambda i: (
        {"step": i, "loss": 0.5} if i else {"config": {"model": "x" * 3000}, "argv": ["a"] * 40}
    ),
}
DATA: dict[str, Make] = {
    "prose": lambda i: {"text": prose(i, 80)},
    "prose with an id": lambda i: {"id": i, "text": prose(i, 80)},
    "tweets": lambda i: {"timestamp": 1764000000 + i, "text": prose(i, 25), "likes": i % 7, "shares": 3},
    "chat": lambda i: {
        "messages": [{"role": "user", "content": prose(i, 30)}, {"role": "assistant", "content": prose(-i, 50)}]
    },
    "preferences": lambda i: {"prompt": prose(i, 20), "chosen": prose(i, 40), "rejected": prose(-i, 40), "score": 0.5},
    "tokens": lambda i: {"input_ids": list(range(500)), "labels": list(range(500)), "length": 500},
    "points": lambda i: {"x": math.sin(i), "y": math.cos(i), "label": i % 2},
    "ever other keys": lambda i: {f"k{i}-{n}": n for n in range(5)},
    "lists": lambda i: [i, prose(i, 5)],  # type: ignore[dict-item,return-value]
    "long lines": lambda i: {"step": i, "loss": 0.5, "image": "x" * 100_000},
}


def written(path: Path, make: Make, lines: int) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(make(i))}\n" for i in range(lines)))
    return path.read_bytes()


@pytest.mark.parametrize("name", METRICS)
def test_metrics_look_like_metrics_from_the_first_line_on(tmp_path: Path, name: str) -> None:
    data = written(tmp_path / "x.jsonl", METRICS[name], 60)
    for count in range(60):
        if name != "a description first" or count > 2:
            assert guess_content(b"".join(data.splitlines(keepends=True)[:count])[:HEAD_BYTES]).why == "", count
    assert guess_content(data[:HEAD_BYTES]).sure


@pytest.mark.parametrize("name", DATA)
def test_data_looks_like_data(tmp_path: Path, name: str) -> None:
    assert guess_content(written(tmp_path / "x.jsonl", DATA[name], 60)[:HEAD_BYTES]).why


@pytest.mark.parametrize("seed", range(5))
def test_any_bytes_are_judged(seed: int) -> None:
    chance = random.Random(seed)
    data = b"\n".join(chance.randbytes(chance.randrange(200)) for _ in range(100))
    assert guess_content(data[:HEAD_BYTES]) is not None
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    assert (
        guess_content(b"\n".join([deep, b'{"step": 1e999}', b'{"step": "NaN", "time": true}', b"null", b""] * 20))
        is not None
    )


def test_of_a_data_set_of_20_gigabytes_the_first_64_kilobytes_are_read(
    ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ingest.root / "a/train.jsonl"
    written(path, DATA["chat"], 1000)
    os.truncate(path, 20 * 10**9)
    read: list[int] = []
    pread = os.pread

    def noticed(number: int, count: int, at: int) -> bytes:
        if Path(f"/proc/self/fd/{number}").readlink() == path:
            read.append(at + count)
        return pread(number, count, at)

    monkeypatch.setattr(os, "pread", noticed)
    written(ingest.root / "a/metrics.jsonl", METRICS["our own"], 100)
    (ingest.root / "a/eval.csv").write_text("step,length\n" + "".join(f"{i},1\n" for i in range(30)))
    ingest.until(lambda: (run := ingest.run("a")) and run.points >= 130 and run.files_aside == 1, "not read")
    offset = ingest.store.offsets()["a/train.jsonl"]
    assert (offset.offset, offset.lines_read, offset.is_data) == (0, 0, True)
    assert "is not read: its lines have more text" in offset.trouble and ingest.tail.trouble() == ""
    ingest.restart()
    ingest.until(lambda: not ingest.tail._schedule, "still busy")
    assert read and max(read) == HEAD_BYTES


def test_a_users_word_is_kept(ingest: Ingest) -> None:
    path = ingest.root / "a/points.jsonl"
    written(path, DATA["points"], 100)
    ingest.until(lambda: (run := ingest.run("a")) and run.files_aside == 1, "not set aside")
    with pytest.raises(ValueError, match="is not a file"):
        ingest.tail.read_anyway("a/other.jsonl")
    ingest.restart()
    ingest.until(lambda: not ingest.tail._schedule, "still busy")
    ingest.tail.read_anyway("a/points.jsonl")
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 300 and run.files_aside == 0, "not read")
    ingest.restart()
    with path.open("a") as file:
        file.write('{"x": 1}\n')
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 301, "not read on")
    assert not ingest.store.offsets()["a/points.jsonl"].is_data


def test_a_file_that_turns_out_to_be_data_is_left_and_one_that_turns_out_to_be_metrics_is_read(ingest: Ingest) -> None:
    first = ingest.root / "a/first.jsonl"
    written(first, lambda i: {"x": i % 2}, 10)
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 10, "too few to say")
    written(ingest.root / "b/second.jsonl", DATA["prose"], 4)
    ingest.until(lambda: (run := ingest.run("b")) and run.files_aside == 1, "not set aside")
    with first.open("a") as file:
        file.writelines('{"x": 0}\n' for _ in range(100_000))
    with (ingest.root / "b/second.jsonl").open("a") as file:
        file.writelines(f'{{"step": {i}, "loss": 0.5}}\n' for i in range(40))
    ingest.until(lambda: (run := ingest.run("a")) and run.files_aside == 1, "not set aside")
    ingest.until(lambda: (run := ingest.run("b")) and run.points >= 40, "not read")
    run = ingest.run("a")
    assert run is not None and run.points == 10


def test_the_own_name_is_always_read(ingest: Ingest) -> None:
    for name in ("metrics.jsonl", "metrics.rank3.jsonl"):
        written(ingest.root / "a" / name, DATA["points"], 100)
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 600, "not read")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Dashboard]:
    written(tmp_path / "logs/a/points.jsonl", DATA["points"], 100)
    written(tmp_path / "logs/a/metrics.jsonl", METRICS["our own"], 100)
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        wait_for(lambda: running.run("a").get("files_aside") == 1)
        yield running


def test_the_page_lists_it_and_has_a_button(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=a")
    button = page.locator(".files-button")
    wait_for(lambda: button.inner_text() == "1 data file not read")
    button.click()
    page.get_by_role("button", name="Read it after all").click()
    wait_for(lambda: "It is read now." in page.locator(".files").inner_text())
    wait_for(lambda: running.run("a").get("points") == 400)
