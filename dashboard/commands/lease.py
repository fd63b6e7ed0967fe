"""A dashboard for the process that started it (`open_logs` in client/): ends with that process."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .. import address

LOOK_S = 0.5
INPUT = 0


class Lease(threading.Thread):
    """Its borrower is our parent. A child of the borrower may hold our standard input open for longer than the borrower lives."""

    def __init__(self) -> None:
        super().__init__(name="loan", daemon=True)
        self._parent = os.getppid()
        self._is_needed: Callable[[], bool] = lambda: False

    def hold(self, data_dir: Path, url: str) -> None:
        """A dashboard lives already: say where, and keep it from ending before the loan does."""
        address.keep_alive(data_dir, os.getpid())
        print(f"DeepSeek Dashboard: {url} lives already", flush=True)
        self._wait()

    def end_with_it(self, is_needed: Callable[[], bool]) -> None:
        """End this process once the loan is over, and nothing else needs it."""
        self._is_needed = is_needed
        self.start()

    def run(self) -> None:
        self._wait()
        while self._is_needed():
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    def _wait(self) -> None:
        while os.getppid() == self._parent:
            ready, _, _ = select.select([INPUT], [], [], LOOK_S)
            if ready:  # its end; or a line, where a child of the borrower holds it open
                os.read(INPUT, 4096)
                return
