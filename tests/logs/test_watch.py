"""A log folder that is watched: every change of every file is handed out, whatever the kernel reports of it, and at once where it does."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer
from watchdog.observers.inotify_c import InotifyFD

from collectors.logs import watch as watch_module
from collectors.logs.tail import Tail
from collectors.logs.watch import FolderEvents, FolderWatch, FoundFile
from collectors.records import Points
from tests.support.running import wait_for


class Watched:
    """A folder, what was handed out of it, and how large each file was then."""

    def __init__(self, root: Path, *, poll_only: bool = False, tops: tuple[Path, ...] = ()) -> None:
        self.root, self.wake = root, threading.Event()
        self.watch = FolderWatch(root, is_log, self.wake, poll_only=poll_only, tops=tops)
        self.found: list[FoundFile] = []
        self.sizes: dict[Path, int] = {}

    def take(self) -> list[FoundFile]:
        found = self.watch.take()
        self.found += found
        self.sizes |= {file.path: size_of(file.path) for file in found}
        return found

    def until_complete(self) -> None:
        wait_for(lambda: self.take() is not None and self.watch.is_complete, because="it is never looked through")

    def until_reported(self) -> None:
        """Until the kernel reports what changes."""

        def is_reported() -> bool:
            self.take()
            self.wake.clear()
            probe = append(self.root / "probe.log")
            return self.wake.wait(0.3) and probe in {file.path for file in self.take()}

        wait_for(is_reported, because="nothing is reported")
        time.sleep(0.1)
        self.take()

    def until_all_are_found(self) -> None:
        """Each file as it is now."""

        def all_are_found() -> bool:
            self.take()
            return all(self.sizes.get(path) == size_of(path) for path in self.root.rglob("*.log"))

        wait_for(all_are_found, because="some are not found")

    def found_after_s(self, path: Path) -> float:
        began_s = time.monotonic()
        wait_for(
            lambda: self.wake.wait(0.01) is not None and path in {file.path for file in self.take()},
            because=f"{path} is not found",
        )
        return time.monotonic() - began_s


def is_log(path: str) -> bool:
    return path.endswith(".log")


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def append(path: Path, text: str = "a line\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
    return path


def make_runs(root: Path, count: int, over_s: float = 0.0) -> None:
    for number in range(count):
        folder = root / f"run-{number:05}"
        folder.mkdir(parents=True)
        (folder / "train.log").write_text("a line\n")
        if over_s:
            os.utime(folder / "train.log", (over_s, over_s))


@pytest.fixture(params=["reported", "polled"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    root = tmp_path / "logs"
    make_runs(root, 3)
    watched = Watched(root, poll_only=request.param == "polled")
    watched.until_complete()
    if request.param == "reported":
        watched.until_reported()
    yield watched
    watched.watch.close()


def test_what_is_there_at_first_is_told_from_what_comes_later(watched: Watched) -> None:
    first = {file.path for file in watched.found if file.is_first_look}
    assert first == {watched.root / f"run-{number:05}" / "train.log" for number in range(3)}
    new = append(watched.root / "run-00001" / "new.log")
    append(watched.root / "run-00002" / "train.log")
    watched.until_all_are_found()
    assert not any(file.is_first_look for file in watched.found if file.path == new)


def test_a_folder_is_moved_away_and_comes_back(watched: Watched) -> None:
    place, away = watched.root / "run-00001", watched.root.parent / "away"
    for _ in range(3):
        place.rename(away)
        for _ in range(20):
            watched.take()
            time.sleep(0.01)
        append(away / "train.log")
        append(away / "new" / "inner.log")
        away.rename(place)
        watched.until_all_are_found()


def test_a_folder_is_renamed_and_made_again(watched: Watched) -> None:
    for number in range(3):
        (watched.root / "run-00001").rename(watched.root / f"old-{number}")
        append(watched.root / "run-00001" / "train.log")
        watched.sizes.clear()
        append(watched.root / f"old-{number}" / "train.log")
        wait_for(
            lambda: (
                watched.take() is not None
                and {watched.root / "run-00001/train.log", watched.root / f"old-{number}/train.log"} <= {*watched.sizes}  # noqa: B023
            ),
            because="not both are found",
        )


@pytest.mark.parametrize("how", ["removed", "moved away"])
def test_the_root_goes_and_another_one_comes(how: str, watched: Watched) -> None:
    for number in range(3):
        if how == "removed":
            shutil.rmtree(watched.root)
        else:
            watched.root.rename(watched.root.parent / f"old-{number}")
        if number:
            assert watched.take() == [] and not watched.watch.is_there()
        live = append(watched.root / "run" / "train.log")
        assert watched.found_after_s(live) < 30
        append(live)
        assert watched.found_after_s(live) < 30
    if watched.watch.trouble():
        pytest.fail(watched.watch.trouble())


def test_another_root_is_followed_by_the_kernel(tmp_path: Path) -> None:
    root = tmp_path / "logs"
    live = append(root / "run" / "train.log")
    watched = Watched(root)
    watched.until_complete()
    root.rename(tmp_path / "old")
    append(live)
    watched.found_after_s(live)
    watched.until_reported()
    watched.watch.close()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("poll_only", [False, True], ids=["reported", "polled"])
def test_the_root_is_made_later(poll_only: bool, depth: int, tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["inner"] * depth)
    watched = Watched(root, poll_only=poll_only)
    for _ in range(3):
        assert watched.take() == [] and watched.watch.is_complete
        time.sleep(0.05)
    watched.wake.clear()
    live = append(root / "run" / "train.log")
    if not poll_only:
        assert watched.wake.wait(30), "its parent is not watched"
    assert watched.found_after_s(live) < 30
    assert not any(file.is_first_look for file in watched.found)
    if not poll_only:
        watched.until_reported()
    watched.watch.close()


def test_one_of_several_folders_is_made_later(tmp_path: Path) -> None:
    tops = tmp_path / "logs", tmp_path / "a" / "runs"
    first = append(tops[0] / "run" / "train.log")
    watched = Watched(tmp_path, tops=tops)
    watched.until_complete()
    append(tmp_path / "elsewhere" / "x.log")
    later = append(tops[1] / "run" / "train.log")
    assert watched.found_after_s(later) < 30
    append(first)
    assert watched.found_after_s(first) < 30
    assert {file.path for file in watched.found} == {first, later}
    watched.watch.close()


def test_links_to_files_are_followed_and_links_to_folders_are_not(watched: Watched) -> None:
    elsewhere = append(watched.root.parent / "elsewhere" / "far.log")
    (watched.root / "run-00000" / "near.log").symlink_to(elsewhere)
    (watched.root / "linked").symlink_to(elsewhere.parent)
    (watched.root / "run-00000" / "loop").symlink_to(watched.root)
    (watched.root / "run-00000" / "lost.log").symlink_to("nothing")
    near = watched.root / "run-00000" / "near.log"
    watched.found_after_s(near)
    for _ in range(3):
        append(elsewhere)  # nothing is reported of it
        assert watched.found_after_s(near) < 30
    append(watched.root / "run-00000" / "lost.log")  # it makes the file that the link names
    watched.until_all_are_found()
    assert not any("linked" in file.path.parts or "loop" in file.path.parts for file in watched.found)


def test_hidden_folders_wake_nobody(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    for name in (".deepseek", ".remote"):
        (tmp_path / name / "inner").mkdir(parents=True)
    watched.until_complete()
    watched.until_reported()
    watched.wake.clear()
    for _ in range(100):
        append(tmp_path / ".deepseek" / "a.log")
        append(tmp_path / ".deepseek" / "inner" / "a.log")
        append(tmp_path / "model.bin")
    assert not watched.wake.wait(0.3)
    assert watched.found_after_s(append(tmp_path / ".remote" / "inner" / "a.log")) < 30
    assert not any(".deepseek" in file.path.parts for file in watched.found)
    watched.watch.close()


# faults of what the kernel reports


def used_up(number: int) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "place", "limit"),
    [(errno.ENOSPC, (Observer, "schedule"), "watches"), (errno.EMFILE, (watch_module, "Observer"), "instances")],
)
def test_without_inotify_all_is_found_and_why_it_is_late_is_said(
    number: int, place: tuple[object, str], limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RETRY_S", 0.5)
    make_runs(tmp_path, 3)
    watched = Watched(tmp_path)
    with monkeypatch.context() as without:
        without.setattr(*place, used_up(number))
        watched.until_complete()
        wait_for(lambda: watched.take() is not None and watched.watch.trouble(), because="nothing is said")
        assert "found by polling" in watched.watch.trouble() and f"max_user_{limit}" in watched.watch.trouble()
        for number in range(3):
            append(tmp_path / f"run-{number:05}" / "train.log")
            append(tmp_path / f"run-{number:05}" / "inner" / "new.log")
        watched.until_all_are_found()
    watched.until_reported()
    assert watched.watch.trouble() == "", "it is tried again"
    watched.watch.close()


def test_folders_for_which_no_watch_is_left_are_polled_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """watchdog passes over them: the kernel's own list shows which they are."""
    monkeypatch.setattr(watch_module, "CHECK_S", 0.2)
    make_runs(tmp_path, 6, over_s=time.time() - 7200)
    real_add = InotifyFD.add_callback

    def add(self: InotifyFD, path: bytes, *others: Any) -> Any:
        if b"run-0000" in path and path[-1:] > b"2":
            raise OSError(errno.ENOSPC, "inotify watch limit reached")
        return real_add(self, path, *others)

    watched = Watched(tmp_path)
    with monkeypatch.context() as short:
        short.setattr(InotifyFD, "add_callback", add)
        short.setattr(watch_module, "watch_error", lambda folder: errno.ENOSPC)
        watched.until_complete()
        wait_for(lambda: watched.take() is not None and watched.watch.trouble(), because="nothing is said")
        assert "sysctl fs.inotify.max_user_watches" in watched.watch.trouble()
        assert watched.found_after_s(append(tmp_path / "run-00001" / "train.log")) < 1.0, "as the kernel reports it"
        append(tmp_path / "run-00005" / "train.log")
        watched.until_all_are_found()
    wait_for(lambda: watched.take() is not None and not watched.watch.trouble(), because="it is not tried again")
    assert watched.found_after_s(append(tmp_path / "run-00005" / "train.log")) < 1.0
    watched.watch.close()


@pytest.mark.parametrize("delivered", [0.0, 0.5], ids=["no event comes", "events are dropped"])
def test_what_is_not_reported_is_found_all_the_same(
    delivered: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where watches are used up below the root, which watchdog passes over, and where the kernel's queue overflows."""
    handle, dice = FolderEvents.on_any_event, random.Random(3)

    def lossy(self: FolderEvents, event: FileSystemEvent) -> None:
        if dice.random() < delivered:
            handle(self, event)

    monkeypatch.setattr(FolderEvents, "on_any_event", lossy)
    root = tmp_path / "logs"
    make_runs(root, 3)
    watched = Watched(root)
    watched.until_complete()
    write_at_random(root, 300)
    watched.until_all_are_found()
    watched.watch.close()


# watchdog's reading thread may end by a KeyError there; the looks find everything, and it is started again
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_is_lost_while_folders_come_go_and_move(watched: Watched) -> None:
    writer = threading.Thread(target=write_at_random, args=(watched.root, 1_500))
    writer.start()
    while writer.is_alive():
        watched.take()
        watched.wake.wait(0.01)
        watched.wake.clear()
    writer.join()
    watched.until_all_are_found()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("watched", ["reported"], indirect=True)
def test_watchdog_is_started_again_when_a_thread_of_it_has_failed(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        monkeypatch.undo()
        raise KeyError("a path")

    monkeypatch.setattr("watchdog.observers.inotify_c.InotifyFD.handle_event", fail)
    line = append(watched.root / "run-00000" / "train.log")  # the event that it fails at
    watched.until_all_are_found()
    assert line in {file.path for file in watched.found}
    watched.until_reported()
    assert watched.watch.trouble() == ""


def write_at_random(root: Path, steps: int) -> None:
    dice = random.Random(7)
    for _ in range(steps):
        name = f"run-{dice.randrange(6):05}"
        folder = root / name / "inner" if dice.random() < 0.3 else root / name
        what = dice.random()
        if what < 0.75:
            append(folder / f"{dice.randrange(3)}.log")
        elif what < 0.85 and folder.exists():
            shutil.rmtree(folder)
        elif folder.exists():
            folder.rename(root / f"moved-{dice.randrange(10**9)}")


# many runs


def test_three_thousand_runs_made_at_once_are_found_and_hold_up_no_other(tmp_path: Path) -> None:
    live = append(tmp_path / "live" / "train.log")
    watched = Watched(tmp_path)
    watched.until_complete()
    watched.until_reported()
    maker = threading.Thread(target=make_runs, args=(tmp_path / "sweep", 3_000))
    maker.start()
    longest_s = 0.0
    while maker.is_alive():
        append(live)
        longest_s = max(longest_s, watched.found_after_s(live))
    maker.join()
    watched.until_all_are_found()
    assert longest_s < 10 and len({file.path for file in watched.found}) == 3_002


@pytest.mark.parametrize("poll_only", [False, pytest.param(True, marks=pytest.mark.long)], ids=["reported", "polled"])
def test_among_ten_thousand_runs_any_that_goes_on_is_found(poll_only: bool, tmp_path: Path) -> None:
    root = tmp_path / "logs"
    make_runs(root, 10_000, over_s=time.time() - 86_400)
    watched = Watched(root, poll_only=poll_only)
    watched.until_complete()
    assert len(watched.found) == 10_000 == sum(1 for _ in watched.watch.seen())
    live = append(root / "live" / "train.log")
    assert watched.found_after_s(live) < 30
    if not poll_only:
        watched.until_reported()
    for _ in range(5):
        append(live)
        assert watched.found_after_s(live) < 30, "polled or not, it is looked at often"
    old = append(root / "run-00017" / "train.log")
    assert watched.found_after_s(old) < 60
    watched.watch.close()


def test_a_look_goes_on_in_the_next_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shortest slices, each ends after one file."""
    looks, look_at = 0, watch_module.mark_of

    def counted(path: str) -> object:
        nonlocal looks
        looks += 1
        return look_at(path)

    monkeypatch.setattr(watch_module, "mark_of", counted)
    for name in ("FIRST_SLICE_S", "SLICE_S"):
        monkeypatch.setattr(watch_module, name, 0.0)
    make_runs(tmp_path, 300)
    watched = Watched(tmp_path, poll_only=True)

    def look() -> None:
        before = looks
        watched.take()
        assert looks - before <= 3, "at what is reported, at new folders and at those whose time has come"

    while not watched.watch.is_complete:
        look()
    assert len(watched.found) == len(watched.sizes) == 300
    late = append(tmp_path / "late" / "train.log")
    deadline_s = time.monotonic() + 60
    while late not in watched.sizes:
        assert time.monotonic() < deadline_s
        look()


def test_one_inotify_instance_serves_all_folders(tmp_path: Path) -> None:
    """A user has 128 of them for all programs."""
    make_runs(tmp_path, 100)

    def instances() -> int:
        links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return sum(os.readlink(link) == "anon_inode:inotify" for link in links if os.path.lexists(link))  # noqa: PTH115

    before, threads = instances(), threading.active_count()
    watched = Watched(tmp_path)
    watched.until_complete()
    watched.until_reported()
    assert instances() - before == 1 and threading.active_count() - threads <= 3
    watched.watch.close()
    assert instances() == before and threading.active_count() == threads


@pytest.mark.parametrize("poll_only", [False, True], ids=["reported", "polled"])
def test_live_runs_are_read_before_old_ones(poll_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "FIRST_SLICE_S", 0.0)  # the first look takes many turns
    now_s = time.time()
    for number in range(30):
        path = append(tmp_path / f"run-{number}" / "metrics.jsonl", '{"step": 1, "loss": 2.0}\n')
        os.utime(path, (written_s := now_s - 3600 - number, written_s))
    live = append(tmp_path / "a-live" / "metrics.jsonl", '{"step": 1, "loss": 2.0}\n')  # the last to be looked at
    tail = Tail(tmp_path, "box", {}, threading.Event(), poll_only=poll_only)
    runs: list[str] = []

    def read() -> list[str]:
        runs.extend(record.run for record in tail.collect() if isinstance(record, Points) and record.run)
        return runs

    wait_for(lambda: len(set(read())) == 31, because="not all are read")
    append(live, '{"step": 2, "loss": 1.0}\n')
    wait_for(lambda: len(read()) == 32, because="it is not followed")
    assert runs[0] == "a-live" and runs[1:31] == [f"run-{number}" for number in range(30)], "the newest first"
    tail.close()
