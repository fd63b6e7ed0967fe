"""A dashboard whose log folder does not exist yet: says so, and starts once it appears."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

LOOK_S = 0.3


class PendingFolder:
    """Stands in for a collector. What there is to follow, and where its store lies, is only known then: so the command runs once more."""

    def __init__(self, folders: Callable[[], list[Path]]) -> None:
        """`folders` are the log folders that are meant at present, of which one is enough."""
        self._folders = folders

    @property
    def what(self) -> str:
        """`waits for logs, which does not exist yet`"""
        names = " or ".join(map(str, self._folders()))
        return f"waits for {names}, which does not exist yet"

    @property
    def read_only(self) -> str:
        names = " or ".join(str(folder.resolve()) for folder in self._folders())
        return f"Waiting for the log folder {names}, which does not exist yet. It is read as soon as it is there."

    def note(self) -> str:
        return ""

    def is_there(self) -> bool:
        return any(map(_is_folder, self._folders()))

    def begin(self, end: Callable[[], object]) -> None:
        """Call `end` once it is there."""
        threading.Thread(target=self._look, args=(end,), name="waiting", daemon=True).start()

    def start_anew(self, port: int) -> NoReturn:
        """The same command, on the port that this one had; its page is open already."""
        sys.stdout.flush()
        words = [word for word in sys.orig_argv[1:] if word != "--open"]
        os.execv(sys.executable, [sys.executable, *words, *(["--port", str(port)] if port else [])])

    def _look(self, end: Callable[[], object]) -> None:
        while not self.is_there():
            time.sleep(LOOK_S)
        end()


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError:  # above it is something that may not be read: the command that starts says so
        return True
