"""Notice which files below a folder change: by inotify where that works, by comparing sizes where it does not."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from .inotify import Inotify

MAX_WATCHED = 1000  # folders followed by inotify: a user may have some thousands; the others are looked at by the scan
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
        self._inotify = None if poll_only else self._listen()
        self._follow_the_lively({})

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
        if self._inotify is not None:
            self._inotify.close()

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

    def _listen(self) -> Inotify | None:
        try:
            return Inotify(self._noticed, self._scan_soon)
        except OSError:  # the user's instances are used up: the scan finds all changes
            return None

    def _follow_the_lively(self, newest: dict[Path, float]) -> None:
        if self._inotify is None:
            return
        since = time.time() - LIVELY_S
        wanted = [folder for folder in sorted(newest, key=lambda path: newest[path], reverse=True) if newest[folder] >= since]
        keep = {self._root, *wanted[:MAX_WATCHED]}
        for folder in self._inotify.followed - keep:
            self._inotify.leave(folder)
        for folder in keep - self._inotify.followed:
            with suppress(OSError):  # the folder is gone, or the user's watches are used up: the scan finds its changes
                self._inotify.follow(folder)

    def _noticed(self, folder: Path, name: str, is_folder: bool) -> None:
        """Runs in the thread of inotify."""
        if is_folder and not name.startswith("."):
            self._scan_soon()
        elif not is_folder and self._accept(name):
            with self._lock:
                self._dirty.add(folder / name)
            self._wake.set()

    def _scan_soon(self) -> None:
        self._next_scan = 0.0
        self._wake.set()

    def _inside(self, path: Path) -> bool:
        return not path.is_symlink() or path.resolve().is_relative_to(self._root)


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
