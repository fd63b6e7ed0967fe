"""Findings that were dealt with: whether a message was made of them or not, they begin once."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from ..small_file import bytes_of, write_bytes
from .outbox import FOLDER

FILE = "seen"
MOST, MOST_BYTES = 40_000, 16 << 20


class SeenFindings:
    """Ids, a line each, in `<data>/alerts/seen`: appended, and cut to the newest when there are twice as many. For one thread."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FOLDER / FILE
        try:
            text = bytes_of(self._path, most=MOST_BYTES).decode("utf-8", "replace")
        except (OSError, ValueError):
            text = ""
        self.is_new = not self._path.exists()  # an alert that is older than this folder is no news
        whole = text[: text.rfind("\n") + 1]
        self._ids = dict.fromkeys(whole.split("\n")[-MOST - 1 : -1])
        self._lines = len(self._ids)
        self._half = whole != text  # killed within a line

    def __contains__(self, id_: str) -> bool:
        return id_ in self._ids

    def add(self, ids: Iterable[str]) -> None:
        new = [id_ for id_ in ids if id_ not in self._ids and "\n" not in id_]
        if not new and self._path.exists():
            return
        if self._half or self._lines + len(new) > 2 * MOST:
            self._rewrite(dict.fromkeys([*list(self._ids)[-MOST:], *new]))
            return
        data = "".join(f"{id_}\n" for id_ in new).encode("utf-8", "replace")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._half = True  # until all of it is there: a disk that fills takes a part
            self._half = os.write(descriptor, data) < len(data)
        finally:
            os.close(descriptor)
        if self._half:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self._ids.update(dict.fromkeys(new))
        self._lines += len(new)

    def _rewrite(self, ids: dict[str, None]) -> None:
        write_bytes(self._path, "".join(f"{id_}\n" for id_ in ids).encode("utf-8", "replace"))
        self._ids, self._lines, self._half = ids, len(ids), False
