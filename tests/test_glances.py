"""A folder without inotify and with many runs: what is new is found within seconds, and no look at the folder takes long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors.logs import watch as module
from collectors.logs.watch import FolderWatch

RUNS, GLANCED, LONGEST_S, SOON_S = 600, 300, 0.2, 10.0


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderWatch]:
    """Of a sweep whose runs ended in the last hour, one after the other; each look at a file takes as long as over a network."""
    now_s = time.time()
    for number in range(RUNS):
        write(tmp_path / "sweep" / f"{number:05}" / "metrics.jsonl", now_s - (RUNS - number) * 5)
    monkeypatch.setattr(module, "MAX_GLANCED", GLANCED)
    watch = FolderWatch(tmp_path, lambda path: path.endswith(".jsonl"), threading.Event(), poll_only=True)
    assert len(watch.take()) == RUNS
    for name in ("mark_of", "_mtime_ns"):
        look = getattr(module, name)

        def slowly(path: str, look: Callable[[str], object] = look) -> object:
            until_s = time.perf_counter() + 0.001
            while time.perf_counter() < until_s:
                pass
            return look(path)

        monkeypatch.setattr(module, name, slowly)
    yield watch
    watch.close()


def write(path: Path, time_s: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("{}\n")
    os.utime(path, (time_s, time_s))


def found_after_s(watch: FolderWatch, path: Path) -> float:
    began_s = time.monotonic()
    while True:
        look_s = time.monotonic()
        found = watch.take()
        assert time.monotonic() - look_s < LONGEST_S
        if path in found:
            return time.monotonic() - began_s
        assert time.monotonic() - began_s < 2 * SOON_S, f"{path} is not found"
        time.sleep(0.05)


def test_a_new_run_beside_thousands_is_found_soon_and_so_are_its_lines(watch: FolderWatch, tmp_path: Path) -> None:
    new = tmp_path / "sweep" / "new" / "metrics.jsonl"
    write(new, time.time())
    assert found_after_s(watch, new) < SOON_S
    for _ in range(3):
        write(new, time.time())
        assert found_after_s(watch, new) < SOON_S


def test_a_run_that_goes_on_after_a_long_pause_is_found_as_well(watch: FolderWatch, tmp_path: Path) -> None:
    old = tmp_path / "sweep" / f"{RUNS - GLANCED // 20:05}" / "metrics.jsonl"
    write(old, time.time())
    assert found_after_s(watch, old) < 2 * SOON_S
