"""What living runs are at, as the collector judges it: starting, compiling, validating, idle, hung."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import get_args

from collectors.analysis.findings.doing import Doing, Standing
from collectors.process.activity import seconds
from collectors.service.control import ControlError, ask

KEPT_S = 1.0
WORDS = get_args(Standing)


class Doings:
    """May be asked from many threads; the collector is asked once a second at most."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._known: dict[str, Doing] = {}
        self._asked_s = -KEPT_S  # monotonic

    def of(self, run: str) -> Doing | None:
        """None while it makes steps, and where the collector does not know, does not judge or does not answer."""
        with self._lock:
            if time.monotonic() - self._asked_s >= KEPT_S:
                self._known = self._ask()
                self._asked_s = time.monotonic()
            return self._known.get(run)

    def _ask(self) -> dict[str, Doing]:
        try:
            answer = ask(self._data_dir, "doings")
        except ControlError:
            return {}
        found = answer.items() if isinstance(answer, dict) else ()
        return {run: doing for run, given in found if (doing := _doing(given)) is not None}


def _doing(given: object) -> Doing | None:
    """Of a collector of another version, what is understood."""
    if not isinstance(given, list) or len(given) != 2 or given[0] not in WORDS:
        return None
    since_s = seconds(given[1])
    return Doing(given[0], since_s) if since_s is not None else None
