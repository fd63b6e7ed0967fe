"""Finds the files of a log folder that are new or have changed: one table of folders, one heap of due looks."""

from __future__ import annotations

import ctypes
import errno
import logging
import math
import os
import random
import re
import stat
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple, cast

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify_c import Watch
from watchdog.utils import BaseThread

from ..folders import FOLDER as RECEIVED

# Every folder always has a time at which it is looked at next. What the kernel reports makes a look come sooner and does nothing else:
# events that are late, lost or never sent cost time, but no line.

SLICE_S = 0.02  # of one `take`: live files must not wait for a folder of 10,000 runs
FIRST_SLICE_S = 0.05  # ... during the first look, before which little is known
SHORTEST_S, LONGEST_S = 1.0, 60.0  # between two looks at a folder,
AGE_SHARE = 0.05  # which is this share of the time since something in it changed
SHARE = 0.02  # of the time that all looks may take: with many folders the periods of those at rest are stretched,
MAX_STRETCH = 60.0  # by no more than this
REPORTED_STRETCH = 4.0  # and by no less than this where the kernel reports changes
MAX_REST_S = 2.0  # after a slice of looks: on a busy machine one may take ten times as long as it should
SETTLE_S = 2.0  # a folder that has just changed is listed once more after this: two changes may leave the same mtime
RECENT_S = 60.0  # such a change is no older than this: a file server's clock may differ from ours
RELIST_S = 600.0  # any folder is listed this often: some file systems do not keep its mtime
MAX_FOUND = 1_000  # files of one `take`
MAX_FOLDERS = 200_000
MAX_FOLLOWED = 50_000  # folders that watchdog follows, at about 1 kB each

AT_ONCE, NOT_DUE, NOT_LISTED = 0.0, math.inf, -1


class FileMark(NamedTuple):
    """Shows that a file has changed."""

    inode: int
    size: int
    ctime_ns: int


CHANGED = FileMark(0, -1, 0)  # the mark of no file


class FoundFile(NamedTuple):
    """A file that is new, has changed or is gone."""

    path: Path
    is_first_look: bool  # it was there before the log folder was watched
    written_s: float  # when it, or on the first look any file of its folder, was last written; Unix seconds


@dataclass(slots=True)
class Folder:
    """What was seen of one folder."""

    due_s: float = NOT_DUE  # the next look, CLOCK_MONOTONIC
    inode: int = 0
    mtime_ns: int = NOT_LISTED  # as of the last list
    relist_s: float = 0.0  # when it is listed though its mtime is the same, CLOCK_MONOTONIC
    changed_s: float = 0.0  # when something in it changed, CLOCK_MONOTONIC
    files: dict[str, FileMark] = field(default_factory=dict)  # by name
    stats_per_s: float = 0.0  # calls of `stat` that its looks take
    look: Iterator[None] | None = None  # one that is under way


class FolderWatch:
    """Hands out the files below a root that are new or have changed. Hidden folders are left alone, and links are not walked into."""

    def __init__(
        self,
        root: Path,
        accept: Callable[[str], bool],
        wake: threading.Event,
        *,
        poll_only: bool = False,
        tops: Sequence[Path] = (),
        first: Iterable[Path] = (),
    ) -> None:
        """`accept` judges the path of a file; `wake` is set when something changed. With `tops`, folders below `root`, nothing else is looked at.

        The files of the folders `first` are looked at before all others.
        """
        self._root, self._accept = str(root.resolve()), accept
        self._tops = [str(top) for top in tops] or [self._root]
        self._there: dict[str, FolderIdentity] = {}  # of the tops
        self._folders: dict[str, Folder] = {}  # by path
        self._new: list[str] = []  # folders to be looked at at once, the last one first
        self._due: list[tuple[float, str]] = []  # a heap; an entry counts where its folder is due at that time
        self._found: dict[str, FoundFile] = {}  # not handed out yet
        self._until_s = self._rest_until_s = 0.0
        self._stats_per_s, self._stat_s = 0.0, 1e-5  # of all folders; how long one takes
        self._random = random.Random(1)  # spreads the looks at folders that were found together
        self.is_complete = False  # whether every folder that was there has been looked at
        self._were_sent = False  # whether the kernel reported changes
        self._events = None if poll_only else FolderEvents(self._tops, accept, self._is_known, wake)
        for folder in [*self._tops, *reversed([*map(str, first)])]:
            if top_of(folder, self._tops) is not None:
                self._look_soon(folder)

    def take(self) -> list[FoundFile]:
        """What has changed since the last call, as far as a slice of time reaches. Until `is_complete`, also what was there."""
        there = {top: identity for top in self._tops if (identity := identity_of(top)) is not None}
        self.is_complete = self.is_complete or not there  # what comes later was not there before
        for top in there:
            if top not in self._folders or there[top] != self._there.get(top):  # new, back, or another one of that name
                for path in [top, *[path for path in self._folders if top_of(path, [top])]]:
                    self._look_soon(path)
        self._there = there
        began_s, slice_s = time.monotonic(), SLICE_S if self.is_complete else FIRST_SLICE_S
        for part, look in enumerate((self._look_at_reported, self._look_at_new, self._look_at_due), 1):
            self._until_s = began_s + slice_s * part / 3
            if there:
                look()
        found = [self._found.pop(path) for path in list(self._found)[:MAX_FOUND]]
        self.is_complete = self.is_complete or not self.has_more
        if self._events is not None and self.is_complete:
            self._events.follow(there if len(self._folders) <= MAX_FOLLOWED else None)
            if self._were_sent and not self._events.are_sent:
                self._look_at_all()  # the next look at some may be minutes away
            self._were_sent = self._events.are_sent
            if self._events.is_check_due:
                self._events.check({path: folder.inode for path, folder in self._folders.items()})
        return found

    @property
    def has_more(self) -> bool:
        """Whether there are new folders to look at, or files left to hand out."""
        return bool(self._new or self._found)

    def is_there(self) -> bool:
        """Whether the root itself is: it may be removed, and come back."""
        return os.path.isdir(self._root)  # noqa: PTH112  # ten times a second

    def trouble(self) -> str:
        """One sentence on why changes are found late, or not at all; "" where they are found at once."""
        if len(self._folders) >= MAX_FOLDERS:
            return f"{self._root} has more than {MAX_FOLDERS:,} folders, and the rest is not read; choose a smaller --log-dir"
        if len(self._folders) > MAX_FOLLOWED and self._events is not None:
            return f"{self._root} has more than {MAX_FOLLOWED:,} folders, so that changes are only found by polling; choose a smaller --log-dir"
        return self._events.trouble if self._events is not None else ""

    def seen(self) -> Iterator[str]:
        """The paths of all files that are known."""
        return (path_in(folder, name) for folder, known in self._folders.items() for name in known.files)

    def forget(self, path: Path) -> None:
        """A file that was handed out and could not be found: when it is seen next, it is new."""
        if folder := self._folders.get(str(path.parent)):
            folder.files.pop(path.name, None)
            folder.relist_s = 0.0

    def look_again(self) -> None:
        """All files count as changed, and all folders are looked at at once, whatever look an error has ended."""
        self._new, self._due = [], []
        for path, folder in self._folders.items():
            folder.files, folder.relist_s, folder.look = dict.fromkeys(folder.files, CHANGED), 0.0, None
            folder.due_s = NOT_DUE
            self._look_soon(path)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

    def _is_known(self, path: str) -> bool:
        """Whether that is a file which was seen before; from any thread."""
        place, _, name = path.rpartition("/")
        folder = self._folders.get(place)
        return folder is not None and name in folder.files

    def _look_at_all(self) -> None:
        for path in self._folders:
            self._look_soon(path)

    def _look_at_reported(self) -> None:
        """Look at what the kernel has reported: at that file alone, since thousands may lie beside it."""
        while self._events is not None and (event := self._events.pop()) is not None:
            path, is_folder = event
            place, _, name = path.rpartition("/")
            folder = self._folders.get(place)
            if is_folder:
                self._look_soon(path)
            elif folder is None or folder.mtime_ns == NOT_LISTED:
                self._look_soon(place)
            else:
                self._look_at_file(place, folder, name)
            if self._is_slice_over():
                return

    def _look_at_new(self) -> None:
        """Look at new folders, and at those that are known to have changed."""
        while self._new:
            path = self._new.pop()
            folder = self._folders.get(path)
            if folder is not None and folder.due_s == AT_ONCE:
                self._look_on(path, folder)
                if folder.look is not None:
                    self._look_soon(path)
            if self._is_slice_over():
                return

    def _look_at_due(self) -> None:
        """Look at the folders whose time has come."""
        began_s = time.thread_time()
        while self._due and max(self._due[0][0], self._rest_until_s) <= time.monotonic():
            due_s, path = heappop(self._due)
            folder = self._folders.get(path)
            if folder is not None and folder.due_s == due_s:
                self._look_on(path, folder)
                if (
                    folder.look is not None
                ):  # goes on first: a large folder would wait for all the others again and again
                    self._look_at(due_s, path, folder)
            if self._is_slice_over():
                self._rest_until_s = time.monotonic() + min((time.thread_time() - began_s) / SHARE, MAX_REST_S)
                return

    def _look_on(self, path: str, folder: Folder) -> None:
        """Until the slice or the look is over; then its next one has a time."""
        folder.due_s = NOT_DUE
        look = folder.look or self._look(path, folder)
        folder.look = None if next(look, END) is END else look

    def _look(self, path: str, folder: Folder) -> Iterator[None]:
        """Look at one folder; yields where a slice is over."""
        began_s, found = time.monotonic(), stat_of_folder(path, is_top=path in self._tops)
        if found is None:
            self._drop(path)
            return
        is_new = folder.mtime_ns == NOT_LISTED
        if folder.inode not in (0, found.st_ino):  # another folder of that name
            folder.files.clear()
            folder.mtime_ns = 0
        folder.inode = found.st_ino
        is_changed = found.st_mtime_ns != folder.mtime_ns
        if is_changed or began_s >= folder.relist_s:
            written_s = yield from self._list(path, folder)
            if is_changed:
                rests_s = time.time() - (written_s or found.st_mtime) if is_new and not self.is_complete else 0.0
                folder.changed_s = began_s - max(0.0, rests_s)
            folder.mtime_ns = found.st_mtime_ns
            is_recent = is_changed and time.time() - found.st_mtime < RECENT_S
            folder.relist_s = began_s + (SETTLE_S if is_recent else RELIST_S)
        else:
            for name in list(folder.files):
                self._look_at_file(path, folder, name)
                if self._is_slice_over():
                    yield
        period_s = self._period_s(folder)
        self._look_at(time.monotonic() + period_s * (self._random.random() if is_new else 1.0), path, folder)

    def _list(self, path: str, folder: Folder) -> Generator[None, None, float]:
        """Takes all its files and its new folders; returns when one of its files was last written, Unix seconds."""
        is_first_look = folder.mtime_ns == NOT_LISTED and not self.is_complete
        marks: dict[str, tuple[FileMark, float]] = {}
        folders: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if is_folder and not is_hidden(entry.name):
                        known = self._folders.get(entry.path)
                        if known is None or known.inode not in (0, entry.inode()):
                            folders.append(entry.path)
                    # A folder that is called like a file is reported; in a place where any name is a file's, it is only a folder.
                    is_file = self._accept(entry.path) and (not is_folder or self._accept(entry.name))
                    if is_file and (mark := self._mark_of(entry.path)) is not None:
                        marks[entry.name] = mark
                    if self._is_slice_over():
                        yield
        except OSError:  # gone since it was found, or not ours to read
            pass
        else:
            for name in folder.files.keys() - marks.keys():
                self._look_at_file(path, folder, name)
        written_s = max((written_s for _, written_s in marks.values()), default=0.0)
        for name, (seen, _) in marks.items():
            if folder.files.get(name) != seen:
                folder.files[name] = seen
                self._report(path_in(path, name), is_first_look, written_s)
        for new in sorted(folders):  # the last name is looked at first: of numbers and of dates the newest
            self._look_soon(new)
        return written_s

    def _look_at_file(self, place: str, folder: Folder, name: str) -> None:
        path = path_in(place, name)
        found = self._mark_of(path)
        if found is None:
            if folder.files.pop(name, None) is not None:
                self._report(path, False, 0.0)  # what was read of it so far may not be all
        elif folder.files.get(name) != found[0]:
            folder.files[name] = found[0]
            folder.changed_s = time.monotonic()
            self._report(path, False, found[1])

    def _mark_of(self, path: str) -> tuple[FileMark, float] | None:
        began_s = time.monotonic()
        found = mark_of(path)
        self._stat_s += (time.monotonic() - began_s - self._stat_s) / 256
        return found

    def _report(self, path: str, is_first_look: bool, written_s: float) -> None:
        self._found.setdefault(path, FoundFile(Path(path), is_first_look, written_s))

    def _period_s(self, folder: Folder) -> float:
        """Until the next look: the shorter, the later something in the folder has changed."""
        by_age_s = min(AGE_SHARE * (time.monotonic() - folder.changed_s), LONGEST_S)
        stats_per_s = (1 + len(folder.files)) / max(SHORTEST_S, by_age_s)
        self._stats_per_s += stats_per_s - folder.stats_per_s
        folder.stats_per_s = stats_per_s
        stretch = min(self._stats_per_s * self._stat_s / SHARE, MAX_STRETCH)
        if self._events is not None and (self._events.are_sent or not self.is_complete):  # soon, if not yet
            stretch = max(REPORTED_STRETCH, stretch)
        return max(SHORTEST_S, by_age_s * stretch)

    def _look_at(self, due_s: float, path: str, folder: Folder) -> None:
        folder.due_s = due_s
        heappush(self._due, (due_s, path))

    def _look_soon(self, path: str) -> None:
        folder = self._folders.get(path)
        if folder is None and len(self._folders) < MAX_FOLDERS:
            folder = self._folders[path] = Folder()
        if folder is not None and folder.due_s != AT_ONCE:
            folder.due_s = AT_ONCE
            self._new.append(path)

    def _drop(self, path: str) -> None:
        self._stats_per_s -= self._folders.pop(path).stats_per_s

    def _is_slice_over(self) -> bool:
        return time.monotonic() > self._until_s or len(self._found) >= MAX_FOUND


END = object()


def top_of(path: str, tops: Iterable[str]) -> str | None:
    """The one of these folders that a path is, or lies in, without a hidden folder in between."""
    for top in tops:
        inside = path[len(top.rstrip("/")) :]
        if path == top or (path.startswith(top) and inside.startswith("/")):
            is_hidden_there = "/." in inside and any(map(is_hidden, inside.split("/")))
            return None if is_hidden_there else top
    return None


def path_in(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def is_hidden(name: str) -> bool:
    return name.startswith(".") and name != RECEIVED


def stat_of_folder(path: str, *, is_top: bool) -> os.stat_result | None:
    """None where there is no folder. A link to one counts only where a user has named it."""
    try:
        found = os.stat(path, follow_symlinks=is_top)  # noqa: PTH116
    except OSError:
        return None
    return found if stat.S_ISDIR(found.st_mode) else None


def mark_of(path: str) -> tuple[FileMark, float] | None:
    """The mark of a file, and when it was written, Unix seconds; None for what is gone.

    Of what is no file, and of a link to nowhere, the mark only shows that it is there.
    """
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return _mark_of_link(path)
    if not stat.S_ISREG(found.st_mode):
        return FileMark(found.st_ino, 0, 0), 0.0
    return FileMark(found.st_ino, found.st_size, found.st_ctime_ns), found.st_mtime


def _mark_of_link(path: str) -> tuple[FileMark, float] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return FileMark(found.st_ino, 0, 0), 0.0


# What the kernel reports, by watchdog. It sends nothing for what lies behind a link, nothing below a folder for which no watch was left,
# and nothing more once the folder was moved away; when too much happens, it drops events. Without a filter it also asks for opened and
# closed files, and its own walk over a large tree then never ends.

EVENTS: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent, FileDeletedEvent]
EVENTS += [DirCreatedEvent, DirMovedEvent, DirDeletedEvent]
RETRY_S, FIRST_RETRY_S = (
    60.0,
    1.0,
)  # after watchdog has failed: as it was started, and while it ran; there twice as long each time
CHECK_S = 5.0  # at least, between two checks of which folders have a watch, the second of which believes the first
CHECK_SHARE = 0.002  # of the time that the checks may take
INOTIFY = "anon_inode:inotify"  # the target of such a descriptor
WATCHED_INODE = re.compile(r"^inotify wd:\w+ ino:(\w+)", re.MULTILINE)
IN_MODIFY = 2
STOP_S = 2.0  # for a walk that is under way
MAX_EVENTS = 100_000  # that wait; the looks at all folders find what the rest would have told
REMEDIES = {
    errno.ENOSPC: "sudo sysctl fs.inotify.max_user_watches=524288",
    errno.EMFILE: "sudo sysctl fs.inotify.max_user_instances=1024",
}
# Watchdog 7.1 warns of each folder that it meets twice, with the text of the watch, and that names all others: 300 new folders, one inside
# the other, held the collector for 2 s.
Watch.__repr__ = object.__repr__  # type: ignore[method-assign]
logging.getLogger("watchdog.observers.inotify").setLevel(logging.CRITICAL)  # what it cannot follow is looked at


class FolderIdentity(NamedTuple):
    """Another folder of the same name has another one."""

    device: int
    inode: int


def identity_of(path: str) -> FolderIdentity | None:
    """None where there is nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return FolderIdentity(found.st_dev, found.st_ino)


class FolderEvents(FileSystemEventHandler):
    """The paths that the kernel reports below some folders: one recursive watch for each of them that is there."""

    def __init__(
        self, tops: Sequence[str], accept: Callable[[str], bool], is_known: Callable[[str], bool], wake: threading.Event
    ) -> None:
        """Only files that `accept` takes are reported; `wake` is set for each. Files that `is_known` knows and that grow do not wait for thousands that come or go."""
        self._tops, self._accept, self._is_known, self._wake = tops, accept, is_known, wake
        self._lock = threading.Lock()
        # By path, whether it is a folder: of known files that grow, and of the rest.
        self._reported: tuple[dict[str, bool], dict[str, bool]] = ({}, {})
        self._turn = 0  # which of the two had the last event
        self._followed: dict[str, FolderIdentity | None] = {}  # by the path of each watch
        self._observer: BaseObserver | None = None
        self._threads: list[BaseThread] = []  # its own, and the one that reads from the kernel
        self._work: threading.Thread | None = None
        self._retry_s, self._pause_s = 0.0, FIRST_RETRY_S
        self._check_s = 0.0  # when the next check is due
        self._unwatched: frozenset[str] = frozenset()  # folders without a watch in the last one
        self.are_sent = False  # as far as is known
        self.trouble = ""  # one sentence on why they are not

    def follow(self, there: Mapping[str, FolderIdentity] | None) -> None:
        """Follow the folders that are there, and for the others the folder in which they will be made; None follows nothing.

        Costs little unless one has come, gone or been replaced. Then watchdog walks over all of it, in a thread of its own.
        """
        places = () if there is None else (top if top in there else _nearest(top) for top in self._tops)
        wanted = {place: (there or {}).get(place) or identity_of(place) for place in places}
        if (self._work is not None and self._work.is_alive()) or time.monotonic() < self._retry_s:
            return
        if not all(each.is_alive() for each in self._threads):  # an error of its own; nothing more would be reported
            self._stop()
            self._poll("watchdog has failed", None, self._pause_s)
            self._pause_s = min(2 * self._pause_s, RETRY_S)
        elif wanted != self._followed or not all(
            each.is_alive() for each in self._emitters
        ):  # one ends with its folder
            self._followed = wanted
            self._work = threading.Thread(target=self._watch, args=(list(wanted),), name="watch", daemon=True)
            self._work.start()

    def pop(self) -> tuple[str, bool] | None:
        """The path of the next event, and whether it is a folder; known files that grow and the rest take turns."""
        with self._lock:
            self._turn = 1 - self._turn
            paths = self._reported[self._turn] or self._reported[1 - self._turn]
            path = next(iter(paths), None)
            return None if path is None else (path, paths.pop(path))

    @property
    def is_check_due(self) -> bool:
        is_idle = self._work is None or not self._work.is_alive()
        return (self.are_sent or bool(self._unwatched)) and is_idle and time.monotonic() >= self._check_s

    def check(self, inodes: Mapping[str, int]) -> None:
        """Find out whether the kernel has a watch for each of these folders: watchdog passes over those for which none was left."""
        self._work = threading.Thread(target=self._check, args=(inodes,), name="watch", daemon=True)
        self._work.start()

    def close(self) -> None:
        if self._work is not None:
            self._work.join(STOP_S)
        self._stop()

    def _stop(self) -> None:
        """End watchdog, whatever of it has ended already: what one thread left undone is an error in the next."""
        for thread in (*self._emitters, *self._threads):
            with suppress(Exception):
                thread.stop()
        for thread in self._threads:
            thread.join(STOP_S)
        self._observer, self._threads = None, []

    @property
    def _emitters(self) -> Iterable[BaseThread]:
        return self._observer.emitters if self._observer is not None else ()

    def _watch(self, places: Sequence[str]) -> None:
        try:
            if self._observer is None:
                # A folder that is moved or filled while watchdog walks over it is met twice.
                warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning)
                before = set(threading.enumerate())
                observer = Observer()
                observer.start()
                self._observer = observer
                self._threads = [
                    each for each in threading.enumerate() if each not in before and isinstance(each, BaseThread)
                ]
            self._observer.unschedule_all()
            for place in places:
                self._observer.schedule(self, place, recursive=place in self._tops, event_filter=EVENTS)
        except FileNotFoundError:  # gone again
            self._followed = {}
        except Exception as error:  # a limit of the kernel, or a fault of the library: all is found without it
            number, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (None, repr(error))
            self._poll(reason, number, RETRY_S)
        else:
            self.are_sent, self.trouble = True, ""
            with self._lock:  # what came meanwhile was not reported
                self._reported[0].update(dict.fromkeys(set(self._tops).intersection(places), True))
        self._wake.set()

    def _poll(self, reason: str | None, number: int | None, pause_s: float) -> None:
        """All is found by looking, until watchdog is tried again."""
        self._retry_s, self._followed = time.monotonic() + pause_s, {}
        self.are_sent, self.trouble = False, _polled(reason, number)

    def _check(self, inodes: Mapping[str, int]) -> None:
        began_s, watched = time.thread_time(), watched_inodes()
        before = self._unwatched
        lacking = (path for path, inode in inodes.items() if inode and inode not in watched)
        self._unwatched = frozenset(path for path in lacking if os.access(path, os.R_OK))
        self._check_s = time.monotonic() + max(CHECK_S, (time.thread_time() - began_s) / CHECK_SHARE)
        lasting = before & self._unwatched  # a new folder gets its watch a little later
        if self.are_sent and lasting and watch_error(next(iter(lasting))) == errno.ENOSPC:
            self.are_sent = False
            self.trouble = _polled("the limit of inotify watches is reached", errno.ENOSPC)
        elif not self.are_sent and (not lasting or watch_error(next(iter(lasting))) == 0):
            self._followed = {}  # watchdog walks over all of it again

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Runs in watchdog's thread."""
        for name in filter(None, (event.src_path, event.dest_path)):
            path = os.fsdecode(cast(str, name))
            if top_of(path, self._tops) is None:  # below the folder in which one will be made
                if not any(top.startswith(path_in(path, "")) for top in self._tops):
                    continue
            elif event.is_directory or self._accept(path):
                with self._lock:
                    is_growing = isinstance(event, FileModifiedEvent) and self._is_known(path)
                    paths = self._reported[0 if is_growing else 1]
                    if len(paths) < MAX_EVENTS:
                        paths[path] = event.is_directory
            else:
                continue
            self._wake.set()


def _nearest(path: str) -> str:
    """The nearest folder above that is there."""
    above = os.path.dirname(path)  # noqa: PTH120
    return above if above == path or os.path.isdir(above) else _nearest(above)  # noqa: PTH112


def _polled(reason: str | None, number: int | None) -> str:
    remedy = REMEDIES.get(number or 0, "deepseek-dashboard doctor")
    return f"changes are found by polling, up to a minute late ({reason}); to see them at once, run: {remedy}"


def watched_inodes() -> set[int]:
    """Those for which this process has a watch, by the kernel's own list: about 1 us each."""
    found: set[int] = set()
    with suppress(OSError), os.scandir("/proc/self/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):  # closed meanwhile
                if os.readlink(descriptor.path) == INOTIFY:  # noqa: PTH115  # it is no path
                    text = Path(f"/proc/self/fdinfo/{descriptor.name}").read_text()
                    found.update(int(inode, 16) for inode in WATCHED_INODE.findall(text))
    return found


def watch_error(folder: str) -> int:
    """The error number of setting a watch, which is removed at once; 0 where that is possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return ctypes.get_errno()
    try:
        return 0 if libc.inotify_add_watch(descriptor, os.fsencode(folder), IN_MODIFY) >= 0 else ctypes.get_errno()
    finally:
        os.close(descriptor)
