"""What the kernel tells of followed folders."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.inotify import Inotify

DEADLINE_S = 10.0


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bool]] = []  # folder, name, whether it is a folder
        self.inotify = Inotify(lambda folder, name, is_folder: self.heard.append((folder.name, name, is_folder)), lambda: None)

    def wait(self, event: tuple[str, str, bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while event not in self.heard:
            assert time.monotonic() < deadline, f"{event} is not among {self.heard}"
            time.sleep(0.005)
        self.heard.clear()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.inotify.close()


def test_it_tells_of_files_and_folders_that_are_made_written_moved_and_removed(listener: Listener, tmp_path: Path) -> None:
    listener.inotify.follow(tmp_path)
    file = tmp_path / "metrics.jsonl"
    file.touch()
    listener.wait((tmp_path.name, "metrics.jsonl", False))
    with file.open("a") as opened:
        opened.write("{}\n")
    listener.wait((tmp_path.name, "metrics.jsonl", False))
    file.rename(tmp_path / "größer.jsonl")
    listener.wait((tmp_path.name, "größer.jsonl", False))
    (tmp_path / "größer.jsonl").unlink()
    listener.wait((tmp_path.name, "größer.jsonl", False))
    (tmp_path / "run").mkdir()
    listener.wait((tmp_path.name, "run", True))


def test_a_folder_that_is_left_or_removed_is_not_followed(listener: Listener, tmp_path: Path) -> None:
    left, removed, kept = (tmp_path / name for name in ("left", "removed", "kept"))
    for folder in (left, removed, kept):
        folder.mkdir()
        listener.inotify.follow(folder)
    listener.inotify.leave(left)
    (left / "a").touch()
    removed.rmdir()
    (kept / "b").touch()
    listener.wait(("kept", "b", False))  # events come in their order: those before it have been told
    assert listener.inotify.followed == {kept}
    with pytest.raises(FileNotFoundError):
        listener.inotify.follow(removed)


def test_a_folder_that_is_made_again_can_be_followed_again(listener: Listener, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("first", "second"):
        run.mkdir()
        listener.inotify.follow(run)
        (run / name).touch()
        listener.wait(("run", name, False))
        (run / name).unlink()
        run.rmdir()
        deadline = time.monotonic() + DEADLINE_S
        while run in listener.inotify.followed:
            assert time.monotonic() < deadline, "a removed folder is still followed"
            time.sleep(0.005)


def test_fifty_of_them_leave_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = held()
    for _ in range(50):
        inotify = Inotify(lambda folder, name, is_folder: None, lambda: None)
        inotify.follow(tmp_path)
        inotify.close()
    assert held() == before
