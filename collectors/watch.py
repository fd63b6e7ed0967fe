"""Notice which files below a folder change: by inotify where that works, by comparing sizes where it does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
from watchdog.observers.api import ObservedWatch

EVENTS: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileDeletedEvent, FileMovedEvent]
EVENTS += [DirCreatedEvent, DirMovedEvent]
MAX_WATCHED = 64  # folders followed by inotify, each a thread of watchdog; the others are looked at by the scan
LIVELY_S = 3600.0  # a folder whose files changed this recently is followed
SCAN_S = 2.0
SCAN_SHARE = 0.02  # a scan may take this share of the time: a folder of 10,000 runs is looked at less often
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "beegfs", "fuse.sshfs", "fuse.s3fs"}


class FolderWatch:
    """Hands out the files below a root that are new or have changed. Hidden folders and links that lead outside are left alone."""

    def __init__(self, root: Path, accept: Callable[[str], bool], wake: threading.Event, *, poll_only: bool = False) -> None:
        """`accept` judges a file name; `wake` is set when something changed."""
        self._root, self._accept, self._wake = root.resolve(), accept, wake
        self._lock = threading.Lock()
        self._dirty: set[Path] = set()
        self._seen: dict[Path, tuple[int, int, int]] = {}  # inode, size, mtime_ns
        self._next_scan = 0.0
        self._watches: dict[Path, ObservedWatch] = {}
        self._observer = None if poll_only else Observer()
        if self._observer is not None:
            self._observer.start()
            self._follow(self._root)

    def take(self) -> list[Path]:
        """What changed since last asked; a scan of the whole tree is part of it every few seconds."""
        with self._lock:
            dirty, self._dirty = self._dirty, set()
        now = time.monotonic()
        if now >= self._next_scan:
            dirty |= set(self._scan())
            took = time.monotonic() - now
            self._next_scan = time.monotonic() + max(SCAN_S, took / SCAN_SHARE)
        return sorted(path for path in dirty if self._inside(path))

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def _scan(self) -> Iterator[Path]:
        lively: dict[Path, float] = {}
        seen: dict[Path, tuple[int, int, int]] = {}
        for path, stat in self._files():
            mark = seen[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if self._seen.get(path) != mark:
                yield path
            lively[path.parent] = max(lively.get(path.parent, 0.0), stat.st_mtime)
        self._seen = seen
        self._follow_the_lively(lively)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in filter(self._accept, names):
                path = Path(folder, name)
                try:
                    yield path, path.stat()
                except OSError:  # gone since it was listed, or a link to nowhere
                    continue

    def _follow_the_lively(self, newest: dict[Path, float]) -> None:
        if self._observer is None:
            return
        since = time.time() - LIVELY_S
        wanted = [folder for folder in sorted(newest, key=lambda path: newest[path], reverse=True) if newest[folder] >= since]
        keep = {self._root, *wanted[:MAX_WATCHED]}
        for folder in [folder for folder in self._watches if folder not in keep]:
            self._observer.unschedule(self._watches.pop(folder))
        for folder in keep - self._watches.keys():
            self._follow(folder)

    def _follow(self, folder: Path) -> None:
        assert self._observer is not None
        try:
            self._watches[folder] = self._observer.schedule(_Handler(self._noticed), str(folder), event_filter=EVENTS)
        except OSError:  # the folder is gone, or the user's inotify watches are used up: the scan finds its changes
            return

    def _noticed(self, event: FileSystemEvent) -> None:
        """Runs in watchdog's thread."""
        paths = [Path(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path]
        if event.is_directory:
            if all(path.name.startswith(".") for path in paths):
                return
            self._next_scan = 0.0
        else:
            with self._lock:
                self._dirty.update(path for path in paths if self._accept(path.name))
                if not self._dirty:
                    return
        self._wake.set()

    def _inside(self, path: Path) -> bool:
        return not path.is_symlink() or path.resolve().is_relative_to(self._root)


class _Handler(FileSystemEventHandler):
    def __init__(self, noticed: Callable[[FileSystemEvent], None]) -> None:
        self._noticed = noticed

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._noticed(event)


def is_remote(path: Path) -> bool:
    """Whether a folder lies on a network file system, where inotify is blind and SQLite's locks are not to be trusted."""
    return file_system_of(path) in REMOTE


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the mount that holds a path, e.g. `ext4`."""
    target = path.resolve()
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        _, mount, fs_type, *_ = line.split()
        mount = mount.encode().decode("unicode_escape")  # blanks are written \040
        if target.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, fs_type
    return kind
