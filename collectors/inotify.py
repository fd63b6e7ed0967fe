"""The kernel's word on what changes in folders: one descriptor and one thread for as many folders as there are."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
from collections.abc import Callable
from pathlib import Path

# <sys/inotify.h>
IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR, IN_ISDIR = 0x4000, 0x8000, 0x01000000, 0x40000000
IN_CLOEXEC = os.O_CLOEXEC
CHANGES = IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows, padded with zeros
READ_BYTES = 1 << 16


class Inotify:
    """Tells of files and folders that are made, written, moved or removed in the followed folders, not in those below them."""

    def __init__(self, noticed: Callable[[Path, str, bool], None], overflowed: Callable[[], None]) -> None:
        """`noticed(folder, name, is_folder)` and `overflowed`, after which anything may have changed, run in the thread. Raises OSError."""
        self._noticed, self._overflowed = noticed, overflowed
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._checked(self._libc.inotify_init1(IN_CLOEXEC))
        self._ending = os.eventfd(0, os.EFD_CLOEXEC)
        self._folders: dict[int, Path] = {}  # by watch
        self._watches: dict[Path, int] = {}
        self._thread = threading.Thread(target=self._read, name="inotify", daemon=True)
        self._thread.start()

    @property
    def followed(self) -> set[Path]:
        return set(self._watches)

    def follow(self, folder: Path) -> None:
        """Raises OSError: the folder is gone, or the user's watches are used up."""
        watch = self._checked(self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), CHANGES | IN_ONLYDIR))
        self._folders[watch], self._watches[folder] = folder, watch

    def leave(self, folder: Path) -> None:
        watch = self._watches.pop(folder, None)
        if watch is not None:
            self._libc.inotify_rm_watch(self._descriptor, watch)  # refused where the folder is gone, and the watch with it

    def close(self) -> None:
        os.eventfd_write(self._ending, 1)
        self._thread.join()
        os.close(self._descriptor)
        os.close(self._ending)

    def _checked(self, answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer

    def _read(self) -> None:
        poll = select.poll()
        for descriptor in (self._descriptor, self._ending):
            poll.register(descriptor, select.POLLIN)
        while self._ending not in [descriptor for descriptor, _ in poll.poll()]:
            self._tell(os.read(self._descriptor, READ_BYTES))

    def _tell(self, events: bytes) -> None:
        at = 0
        while at < len(events):
            watch, mask, _, length = EVENT.unpack_from(events, at)
            at += EVENT.size + length
            if mask & IN_Q_OVERFLOW:
                self._overflowed()
            elif mask & IN_IGNORED:
                folder = self._folders.pop(watch, None)
                if folder is not None and self._watches.get(folder) == watch:
                    del self._watches[folder]
            elif watch in self._folders:
                self._noticed(self._folders[watch], os.fsdecode(events[at - length : at].rstrip(b"\0")), bool(mask & IN_ISDIR))
