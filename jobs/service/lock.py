"""One daemon a queue: a lock that the kernel gives back when the process ends."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from collectors.process.proc import boot_id, start_ticks

from ..errors import QueueError
from ..state_folder import LOCK, daemon_of


class DaemonLock:
    """Held from construction on. Raises QueueError where another daemon has it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            pid = daemon_of(folder)
            raise QueueError(
                f"a daemon runs already{f' (pid {pid})' if pid else ''}; end it with: deepseek-jobs stop"
            ) from None
        os.ftruncate(self._descriptor, 0)
        name = {"boot_id": boot_id(), "pid": os.getpid(), "ticks": start_ticks(os.getpid())}
        os.pwrite(self._descriptor, json.dumps(name).encode(), 0)

    @property
    def is_there(self) -> bool:
        """Whether it can keep others away: not where its file, or the folder, was removed."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
