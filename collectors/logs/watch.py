"""Notices which files of a log folder are new or have changed: inotify, and polling where that is not available."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from ..folders import FOLDER as RECEIVED

# List a folder piece by piece, with what shows of each file whether it has changed.

PIECE = 32  # entries of a folder, after which a slice may end


class FileStamp(NamedTuple):
    """What of a file shows that it changed."""

    inode: int
    size: int
    ctime_ns: int


Files: TypeAlias = dict[str, tuple[FileStamp, float]]
"""By path, what shows that a file changed, and when it was written, Unix seconds."""


Folders: TypeAlias = dict[str, int]
"""By path the inode, as the list of the folder above says it: another one is another folder of that name."""

ANY_INODE = -1  # of a folder that was in no list yet
NONE_KNOWN: Folders = {}


def listed(
    folder: str, accept: Callable[[str], bool], known: Mapping[str, int] = NONE_KNOWN
) -> Generator[set[str], None, tuple[Files, Folders]]:
    """Returns the accepted files of one folder, and the folders in it that are not hidden, nor `known`; yields where a slice may end."""
    files: Files = {}
    folders: Folders = {}
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries, 1):
                if number % PIECE == 0:
                    yield set()
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder and known.get(entry.path) in (
                    entry.inode(),
                    ANY_INODE,
                ):  # one of 10,000 runs beside a new one
                    continue
                if is_folder and not is_hidden(entry.name):
                    folders[entry.path] = entry.inode()
                # A folder that is called like a file is reported; in a place where any name is a file's, it is only a folder.
                if (
                    accept(entry.path)
                    and (not is_folder or accept(entry.name))
                    and (mark := mark_of(entry.path)) is not None
                ):
                    files[entry.path] = mark
                    yield set()  # over a network each look at a file may take a while
    except OSError:  # gone since it was listed, or not ours to read
        pass
    return files, folders


def mtime_ns_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return None


def mark_of(path: str) -> tuple[FileStamp, float] | None:
    """None for what is gone since it was listed. Of what is no file, and of a link to nowhere, only that it is there."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return _mark_of_link(path)
    if not stat.S_ISREG(found.st_mode):
        return FileStamp(found.st_ino, 0, 0), 0.0
    return FileStamp(found.st_ino, found.st_size, found.st_ctime_ns), found.st_mtime


def _mark_of_link(path: str) -> tuple[FileStamp, float] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return FileStamp(found.st_ino, 0, 0), 0.0


def is_hidden(name: str) -> bool:
    return name.startswith(".") and name != RECEIVED


# Work that is done a slice at a time, and goes on where it was left.


class IncrementalScan:
    """Work that is done a slice at a time, and that yields the files that it finds changed."""

    def __init__(self, work: Callable[[], Iterator[set[str]]]) -> None:
        self._work = work
        self._rest: Iterator[set[str]] | None = None

    @property
    def is_under_way(self) -> bool:
        return self._rest is not None

    def go_on(self, slice_s: float) -> set[str]:
        """Until the slice or the work is over."""
        until_s, found = time.monotonic() + slice_s, set[str]()
        rest, self._rest = self._rest or self._work(), None  # after an error it begins anew
        for changed in rest:
            found |= changed
            if time.monotonic() > until_s:
                self._rest = rest
                break
        return found

    def drop(self) -> None:
        """Begin anew when it next goes on."""
        self._rest = None


# Notice which files below a folder change: by inotify where that works, by comparing sizes where it does not.

logging.getLogger("watchdog.observers.inotify").setLevel(
    logging.CRITICAL
)  # a folder that is no longer followed is no error
EVENTS: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent]
EVENTS += [DirCreatedEvent, DirMovedEvent]
MAX_WATCHED = 64  # folders followed by inotify, each a thread of watchdog; the others are polled
LIVELY_S = 3600.0  # a folder whose files changed this recently is followed
SCAN_S = 2.0
SLICE_S = 0.02  # of a scan at a time: live files must not wait for a folder of 10,000 runs
FIRST_SLICE_S = 0.05  # ... of the first one, before which little is known
LATELY_S = 60.0  # what was written since is not left until the first scan is over
GLANCE_S = 0.9  # how often active folders that inotify does not follow are polled
MAX_GLANCED = 1_000
SHARE = 0.02  # of the time that a scan, or a glance, may take: a folder of 10,000 runs is polled less often
LONGEST_S = (
    2.0  # between two slices: on a busy machine a slice may take ten times as long, and lines are still looked for
)


class _PolledFolder(NamedTuple):
    """A folder that is looked at once a second, or as often as there is time for."""

    mtime_ns: int  # 0 where it is to be listed
    files: list[str]
    at_s: float  # of the last look, CLOCK_MONOTONIC

    @classmethod
    def not_yet(cls) -> _PolledFolder:
        """Just found by a scan."""
        return cls(0, [], time.monotonic())


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
        self._tops = [str(top) for top in tops] or [str(root.resolve())]
        self._root, self._accept, self._wake = str(root.resolve()), accept, wake
        self._lock = threading.Lock()
        self._dirty: set[str] = set()  # files
        self._fresh: dict[str, None] = {}  # folders that are new
        self._seen: dict[str, FileStamp] = {}
        self._scanned: dict[str, FileStamp] = {}  # by the scan that is under way
        self._folders: Folders = {}  # that were listed, or are about to be
        self._newest: dict[
            str, float
        ] = {}  # folder -> when a file in it was last written, Unix seconds; events are of now
        self.is_complete = False  # whether every folder was looked at once
        self._hands_out_all = False  # by the next scan, whether it has changed or not
        self._first = [folder for folder in map(str, first) if self._is_inside(folder) and folder not in self._tops]
        self._scan, self._fresh_ones = IncrementalScan(self._whole_tree), IncrementalScan(self._list_the_fresh)
        self._to_list_ones = IncrementalScan(self._list_changed)
        self._to_list: dict[str, int] = {}  # folders in which something came or went, and their times
        self._next_scan_s = self._next_glance_s = self._next_list_s = self._listed_s = 0.0
        self._glanced: dict[str, _PolledFolder] = {}  # by folder
        self._watches: dict[str, ObservedWatch] = {}
        self._followed: tuple[int, int] | None = None  # the root that inotify follows
        self._observer = None if poll_only else _observer()
        self._follow_anew()

    def take(self) -> list[Path]:
        """What changed since last asked; a part of a scan of the whole tree is done with it. Until `is_complete`, also what was there."""
        if not self.is_there():
            return []
        self._follow_anew()
        with self._lock:
            dirty, self._dirty = self._dirty, set()
        dirty |= self._look_into_the_fresh()
        if time.monotonic() >= self._next_scan_s:
            dirty |= self._scan_on()
        if time.monotonic() >= self._next_glance_s:
            dirty |= self._glance()
        if self._to_list_ones.is_under_way or (self._to_list and time.monotonic() >= self._next_list_s):
            dirty |= self._list_on()
        return [Path(path) for path in sorted(dirty)]

    def is_there(self) -> bool:
        """Whether the root itself is: it may be removed, and come back."""
        return os.path.isdir(self._root)  # noqa: PTH112  # ten times a second

    def newest_s(self, folder: Path) -> float:
        """When a file of it was last written, as the newest scan saw it, or an event since; Unix seconds."""
        return self._newest.get(str(folder), 0.0)

    def seen(self) -> list[str]:
        """The paths of all files that were found so far."""
        return list(self._seen)

    def forget(self, path: Path) -> None:
        """A file that was handed out and could not be found: when it is seen next, it is new."""
        self._seen.pop(str(path), None)
        self._scanned.pop(str(path), None)

    def look_again(self) -> None:
        """All files count as changed."""
        self._hands_out_all = True
        for sliced in (self._scan, self._fresh_ones, self._to_list_ones):
            sliced.drop()
        self._next_scan_s = 0.0

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
        for sliced in (self._scan, self._fresh_ones, self._to_list_ones):
            sliced.drop()

    def _look_into_the_fresh(self) -> set[str]:
        """New folders at once, whatever else there is; those that are many, in several turns."""
        found = self._fresh_ones.go_on(SLICE_S) if self._fresh or self._fresh_ones.is_under_way else set()
        if self._fresh or self._fresh_ones.is_under_way:
            self._wake.set()
        return found

    def _list_the_fresh(self) -> Iterator[set[str]]:
        while self._fresh:
            with self._lock:
                folder = next(iter(self._fresh))
                del self._fresh[folder]
            if folder != self._root:
                self._unfollow(folder)  # a new one with the name of one that was followed
            self._attend_to(folder)  # before it is listed: what comes meanwhile is noticed
            files, folders = yield from listed(folder, self._accept)
            self._folders.setdefault(folder, ANY_INODE)
            self._folders |= folders
            with self._lock:
                self._fresh |= dict.fromkeys(folders)
                self._newest.setdefault(folder, time.time())  # its first file may come later
            yield self._changed(folder, files, self._seen)

    def _scan_on(self) -> set[str]:
        """In slices; the first scan, and one that hands out all, without pauses between them."""
        began_s = time.monotonic()
        is_waited_for = not self.is_complete or self._hands_out_all
        found = self._scan.go_on(FIRST_SLICE_S if is_waited_for else SLICE_S)
        took_s = time.monotonic() - began_s
        if not is_waited_for:
            self._next_scan_s = time.monotonic() + max(
                0.0 if self._scan.is_under_way else SCAN_S, min(took_s / SHARE, LONGEST_S)
            )
        else:
            self._wake.set()
        return found

    def _whole_tree(self) -> Iterator[set[str]]:
        first, self._first = self._first, []
        before: dict[str, FileStamp] | None = {} if self._hands_out_all else None
        for folder in first:
            files, _ = yield from listed(folder, self._accept)
            yield self._found_first(folder, files, self._seen)
        seen = self._scanned = {}
        folders: dict[str, bool] = {}  # those with files are true
        inodes: Folders = {}
        waiting = [*self._tops]
        while waiting:
            folder = waiting.pop()
            files, inner = yield from listed(folder, self._accept)
            inodes |= inner
            waiting += sorted(inner)  # the last name first: of numbers and of dates the newest
            folders[folder] = bool(files)
            seen |= {path: mark for path, (mark, _) in files.items()}
            known = self._seen if before is None else before
            yield self._changed(folder, files, known) if self.is_complete else self._found_first(folder, files, known)
        self._seen, self._folders = (
            seen,
            {folder: self._folders.get(folder, ANY_INODE) for folder in self._glanced} | inodes,
        )
        since = {*self._watches, *self._glanced} - folders.keys()  # appeared behind the scan
        lively_s = time.time() - LIVELY_S
        with self._lock:
            self._newest = {
                folder: newest_s
                for folder, newest_s in self._newest.items()
                if folder in since or folders.get(folder) or (folder in folders and newest_s > lively_s)
            }
        self._follow_the_lively()
        self.is_complete = True
        self._hands_out_all = self._hands_out_all and before is None

    def _found_first(self, folder: str, files: Files, seen: dict[str, FileStamp]) -> set[str]:
        """What is written now is followed from then on, although the first scan is not over."""
        found = self._changed(folder, files, seen)
        if self._newest.get(folder, 0.0) > time.time() - LATELY_S and len(self._glanced) < MAX_GLANCED:
            self._attend_to(folder)
        return found

    def _changed(self, folder: str, files: Files, seen: dict[str, FileStamp]) -> set[str]:
        """Files of one folder that are not as they were seen."""
        if files:
            self._newest[folder] = max(mtime_s for _, mtime_s in files.values())
        changed = {path for path, (mark, _) in files.items() if seen.get(path) != mark}
        seen |= {path: files[path][0] for path in changed}
        return changed

    def _glance(self) -> set[str]:
        """In slices: first at folders that have waited longest, for how long ago they were written to."""
        began_s, now_s = time.monotonic(), time.time()

        def urgency(folder: str) -> float:
            calm_s = now_s - (self._written_s(folder) or now_s)
            return (began_s - self._glanced[folder].at_s) / (GLANCE_S + max(0.0, calm_s))

        found: set[str] = set()
        for folder in sorted(self._glanced, key=urgency, reverse=True):
            found |= self._glance_at(folder)
            if time.monotonic() - began_s > SLICE_S:
                break
        self._next_glance_s = time.monotonic() + max(GLANCE_S, min((time.monotonic() - began_s) / SHARE, LONGEST_S))
        return found

    def _glance_at(self, folder: str) -> set[str]:
        glanced, mtime_ns = self._glanced[folder], mtime_ns_of(folder)
        if mtime_ns is None:
            del self._glanced[folder]
            self._folders.pop(folder, None)
            return set()
        if mtime_ns != glanced.mtime_ns:  # a file or a folder came or went
            self._to_list[folder] = mtime_ns
        marks = {path: mark for path in glanced.files if (mark := mark_of(path)) is not None}
        self._glanced[folder] = glanced._replace(at_s=time.monotonic())
        return self._changed(folder, marks, self._seen)

    def _list_on(self) -> set[str]:
        """Folders in which a file or a folder came or went: one of 10,000 runs in several turns, and less often."""
        began_s = time.thread_time()
        found = self._to_list_ones.go_on(SLICE_S)
        self._listed_s += time.thread_time() - began_s
        if not self._to_list_ones.is_under_way:
            self._next_list_s, self._listed_s = time.monotonic() + self._listed_s / SHARE, 0.0
        if self._fresh or self._to_list_ones.is_under_way:
            self._wake.set()
        return found

    def _list_changed(self) -> Iterator[set[str]]:
        for folder, mtime_ns in [*self._to_list.items()]:
            del self._to_list[folder]
            files, folders = yield from listed(folder, self._accept, known=self._folders)
            self._folders |= folders
            with self._lock:
                self._fresh |= dict.fromkeys(folders)
            if folder in self._glanced:
                self._glanced[folder] = _PolledFolder(mtime_ns, list(files), time.monotonic())
            yield self._changed(folder, files, self._seen)

    def _attend_to(self, folder: str) -> None:
        if len(self._watches) < MAX_WATCHED:
            self._follow(folder)
        if folder not in self._watches:
            self._glance_also_at(folder)

    def _glance_also_at(self, folder: str) -> None:
        if len(self._glanced) >= MAX_GLANCED:
            del self._glanced[min(self._glanced, key=self._written_s)]
        self._glanced[folder] = _PolledFolder.not_yet()

    def _written_s(self, folder: str) -> float:
        """When something in it was written, Unix seconds; 0 where that is not known yet."""
        changed_s = self._glanced[folder].mtime_ns / 1e9 if folder in self._glanced else 0.0
        return max(self._newest.get(folder, 0.0), changed_s)

    def _follow_the_lively(self) -> None:
        """Folders that were written to lately, each with the one above it, where the next run appears."""
        now_s = time.time()
        written_s = {
            folder: min(newest_s, now_s)
            for folder, newest_s in self._newest.copy().items()
            if newest_s >= now_s - LIVELY_S
        }
        lively = sorted(written_s, key=written_s.__getitem__, reverse=True)
        parents = {folder: os.path.dirname(folder) for folder in lively}  # noqa: PTH120
        above = list(dict.fromkeys(parent for parent in parents.values() if parent.startswith(self._root)))
        with_above = (
            place for folder, parent in parents.items() for place in (folder, parent) if place.startswith(self._root)
        )
        keep = set(list(dict.fromkeys([self._root, *with_above]))[:MAX_WATCHED])
        if self._observer is not None:
            for folder in [folder for folder in self._watches if folder not in keep]:
                self._unfollow(folder)
            for folder in keep:
                self._follow(folder)
        where_new = [folder for folder in [*self._tops, *above] if self._is_inside(folder)]  # runs appear
        lately = sorted(dict.fromkeys([*self._glanced, *lively]), key=self._written_s, reverse=True)
        kept = [folder for folder in dict.fromkeys([*where_new, *lately]) if folder not in self._watches][:MAX_GLANCED]
        self._glanced = {folder: self._glanced.get(folder) or _PolledFolder.not_yet() for folder in kept}

    def _follow_anew(self) -> None:
        """A folder that was removed takes its watch with it; one that came back is a new one."""
        if self._observer is None:
            return
        alive = {emitter.watch for emitter in self._observer.emitters if emitter.is_alive()}
        root = _identity(self._root)
        moved = root != self._followed  # another folder has its name: the followed ones need not be below it
        for folder in [folder for folder, watch in self._watches.items() if moved or watch not in alive]:
            self._unfollow(folder)
        if self._root not in self._watches:
            self._followed = root
            self._follow(self._root)
            self._scan.drop()
            self._next_scan_s = 0.0

    def _follow(self, folder: str) -> None:
        if self._observer is None or folder in self._watches:
            return
        try:
            self._watches[folder] = self._observer.schedule(_ChangeHandler(self._noticed), folder, event_filter=EVENTS)
        except (
            OSError
        ):  # the folder is gone, or the user's inotify watches are used up: polls and scans find its changes
            return

    def _unfollow(self, folder: str) -> None:
        if self._observer is not None and folder in self._watches:
            self._observer.unschedule(self._watches.pop(folder))

    def _is_inside(self, path: str) -> bool:
        return any(_is_below(path, top) for top in self._tops)

    def _noticed(self, event: FileSystemEvent) -> None:
        """Runs in watchdog's thread."""
        paths = [
            path for name in (event.src_path, event.dest_path) if name and self._is_inside(path := os.fsdecode(name))
        ]
        with self._lock:
            if event.is_directory:
                found = [path for path in paths if not is_hidden(os.path.basename(path))]  # noqa: PTH119
                self._fresh |= dict.fromkeys(found)
            else:
                found = [path for path in paths if self._accept(path)]
                self._dirty.update(found)
                self._newest |= {os.path.dirname(path): time.time() for path in found}  # noqa: PTH120
        if found:
            self._wake.set()


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top.rstrip('/')}/")


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode; None where there is nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _observer() -> BaseObserver | None:
    """None where the user's inotify instances are used up: then all is glanced at and scanned."""
    try:
        observer = Observer()
    except OSError:
        return None
    observer.start()
    return observer


class _ChangeHandler(FileSystemEventHandler):
    def __init__(self, noticed: Callable[[FileSystemEvent], None]) -> None:
        self._noticed = noticed

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._noticed(event)
