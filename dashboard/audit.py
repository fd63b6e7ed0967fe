"""`<data>/audit.jsonl`: a line for each change of state, with who made it and from where. It holds no secrets, and no more than 2 MiB."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from threading import Lock

FILE, OLDER = "audit.jsonl", "audit.1.jsonl"
MAX_BYTES = 1 << 20  # of a file; the one before is kept
MAX_CHARS = 500  # of a value
AGAIN_S, MAX_REMEMBERED = 60.0, 1024
FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

log = logging.getLogger(__name__)


class Audit:
    """From many threads. A disk that takes nothing costs the line and no change; that is logged, once."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._lock = Lock()
        self._failed = False
        self._said_s: dict[tuple[str, str, str], float] = {}

    def add(self, who: str, where: str, what: str) -> None:
        """`add("uid 1000", "127.0.0.1", "POST /api/v1/settings")`"""
        row = {
            "time_s": round(time.time(), 3),
            "who": who[:MAX_CHARS],
            "from": where[:MAX_CHARS],
            "what": what[:MAX_CHARS],
        }
        line = json.dumps(row).encode() + b"\n"
        try:
            with self._lock:
                self._append(line)
        except OSError as error:
            if not self._failed:
                log.warning("cannot write %s (%s): changes are not noted there", self._path, error.strerror)
            self._failed = True

    def add_once(self, who: str, where: str, what: str) -> None:
        """At most once a minute: a viewer who logs in all the time would push out the lines about changes."""
        now_s, key = time.monotonic(), (who, where, what)
        with self._lock:
            if now_s - self._said_s.get(key, -AGAIN_S) < AGAIN_S:
                return
            if len(self._said_s) >= MAX_REMEMBERED:
                self._said_s.clear()
            self._said_s[key] = now_s
        self.add(who, where, what)

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, FLAGS, 0o600)
        try:
            os.write(descriptor, line)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size > MAX_BYTES:
            self._path.replace(self._path.with_name(OLDER))
