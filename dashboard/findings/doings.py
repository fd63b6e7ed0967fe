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
OLD_S = 5.0  # then what was known is known no more
PATIENCE_S = 0.05  # of who asks: a collector that lives answers sooner, and the list of runs waits for no other
WORDS = get_args(Standing)


class Doings:
    """May be asked from many threads; the collector is asked once a second at most, and one that does not answer is not waited for."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._known: dict[str, Doing] = {}
        self._asking: threading.Thread | None = None
        self._asked_s = self._known_s = -OLD_S  # monotonic; the last question, and the last answer

    def of(self, run: str) -> Doing | None:
        """None while it makes steps, and where the collector does not know, does not judge or does not answer."""
        with self._lock:
            asking = None
            if self._asking is None and time.monotonic() - self._asked_s >= KEPT_S:
                asking = threading.Thread(target=self._renew, name="doings", daemon=True)
                asking.start()
                self._asking = asking
        if asking is not None:
            asking.join(PATIENCE_S)
        return self._known.get(run) if time.monotonic() - self._known_s < OLD_S else None

    def _renew(self) -> None:
        try:
            self._known, self._known_s = self._ask(), time.monotonic()
        finally:
            with self._lock:
                self._asked_s, self._asking = time.monotonic(), None

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
