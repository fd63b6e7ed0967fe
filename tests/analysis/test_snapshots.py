"""Snapshots of a card's memory, in the layout of `torch.cuda.memory._snapshot()`; no card is here to write one."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.dumps import MAX_ROWS, snapshot_of
from analysis.findings import dumps
from analysis.findings.dumps import DumpReader
from collectors.records import Event
from collectors.store.store import Store
from tests.support.judged import T0, JudgedRuns, point

MIB = 1 << 20
LIBRARY = {"filename": "/env/site-packages/torch/nn/modules/linear.py", "line": 134, "name": "forward"}
NATIVE = {"filename": "??", "line": 0, "name": "c10::cuda::CUDACachingAllocator::malloc"}


def block(size: int, line: int, state: str = "active_allocated") -> dict[str, Any]:
    frames = [NATIVE, LIBRARY, {"filename": "/job/model.py", "line": line, "name": "attention"}]
    return {"address": 1, "size": size, "requested_size": size, "state": state, "frames": frames if line else []}


def dump(*blocks: dict[str, Any]) -> dict[str, Any]:
    segment = {"device": 0, "address": 1, "total_size": sum(each["size"] for each in blocks), "blocks": list(blocks)}
    return {"segments": [segment], "device_traces": [[]]}


class Runs:
    """A pickle that would make a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def write(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture(scope="module")
def reader() -> Iterator[DumpReader]:
    reader = DumpReader()
    yield reader
    reader.close()


def test_what_is_in_use_is_summed_by_the_users_own_line_the_largest_first() -> None:
    found = snapshot_of(
        "oom.pickle", dump(block(MIB, 7), block(5 * MIB, 9), block(3 * MIB, 7), block(64 * MIB, 9, "inactive"))
    )
    assert found is not None
    assert [(row["file"], row["line"], row["bytes"] // MIB, row["blocks"]) for row in found["rows"]] == [
        ("/job/model.py", 9, 5, 1),
        ("/job/model.py", 7, 4, 2),
    ]
    assert (found["allocated_bytes"], found["reserved_bytes"], found["rest_bytes"], found["trouble"]) == (
        9 * MIB,
        73 * MIB,
        0,
        "",
    )


def test_many_lines_are_a_rest() -> None:
    found = snapshot_of("oom.pickle", dump(*(block(line * MIB, line) for line in range(1, MAX_ROWS + 6))))
    assert found is not None and len(found["rows"]) == MAX_ROWS and found["rest_bytes"] == 15 * MIB


def test_without_a_history_it_says_how_to_record_one() -> None:
    found = snapshot_of("oom.pickle", dump(block(MIB, 0)))
    assert found is not None and not found["rows"] and "_record_memory_history()" in found["trouble"]


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["segments", "blocks", "frames", "state", "size", "x"]), inner)))  # fmt: skip
def test_anything_else_is_no_snapshot_or_has_no_rows(content: object) -> None:
    found = snapshot_of("x", content)
    assert found is None or not found["rows"]


def test_the_newest_file_of_the_time_is_read_and_one_that_runs_something_is_not(
    tmp_path: Path, reader: DumpReader
) -> None:
    now_s = time.time()
    write(tmp_path / "weights.pkl", Runs(tmp_path / "made"))
    write(tmp_path / "vocabulary.pickle", {"a": 1})
    write(tmp_path / "oom.pickle", dump(block(MIB, 7)))
    os.utime(tmp_path / "oom.pickle", (now_s - 5, now_s - 5))
    os.utime(write(tmp_path / "earlier.pickle", dump(block(MIB, 8))), (now_s - 500, now_s - 500))
    found = reader.snapshot([tmp_path, tmp_path / "none", tmp_path], now_s - 60, now_s + 60)
    assert found is not None and found["name"] == "oom.pickle" and found["rows"][0]["line"] == 7
    assert not (tmp_path / "made").exists()
    assert reader.snapshot([tmp_path], now_s + 100, now_s + 160) is None


def test_what_is_no_plain_file_or_broken_is_left_out(tmp_path: Path, reader: DumpReader) -> None:
    now_s = time.time()
    os.mkfifo(tmp_path / "pipe.pickle")
    (tmp_path / "link.pickle").symlink_to(write(tmp_path / "elsewhere", dump(block(MIB, 7))))
    (tmp_path / "half.pickle").write_bytes(pickle.dumps(dump(block(MIB, 7)))[:-20])
    assert reader.snapshot([tmp_path], now_s - 60, now_s + 60) is None


def test_a_large_one_and_one_that_takes_long_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.time()
    write(tmp_path / "oom.pickle", dump(block(MIB, 7)))
    monkeypatch.setattr(dumps, "READ_WITHIN_S", 0.0)
    reader = DumpReader()
    slow = reader.snapshot([tmp_path], now_s - 60, now_s + 60)
    reader.close()
    assert slow is not None and slow["trouble"] == "It was not read within 0 s: open it at pytorch.org/memory_viz."
    monkeypatch.setattr(dumps, "MAX_SNAPSHOT_BYTES", 10)
    large = reader.snapshot([tmp_path], now_s - 60, now_s + 60)
    assert large is not None and "too many to be read here" in large["trouble"]


@pytest.mark.parametrize(
    ("reason", "kept"), [("torch.OutOfMemoryError: CUDA out of memory.", True), ("ValueError: no", False)]
)
def test_a_crash_for_want_of_memory_keeps_what_held_it(store: Store, tmp_path: Path, reason: str, kept: bool) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run")
    judged.collector._live_runs = lambda names: [run._replace(folder=tmp_path) for run in judged._live(names)]
    judged.go_on(90, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    os.utime(write(tmp_path / "oom.pickle", dump(block(MIB, 7))), (judged.now_s, judged.now_s))
    judged.take([Event("run", "end", judged.now_s, fields={"status": "failed", "reason": reason})])
    judged.go_on(10)
    [crash] = judged.of("crash")
    assert bool(crash.fields.get("snapshot")) == kept
