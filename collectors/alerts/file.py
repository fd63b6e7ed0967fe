"""`<data>/alerts.yaml`, read again where it has changed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from ..small_file import SETTLED_NS, Stamp, bytes_of, stamp_of
from .model import AlertSettings, AlertTrouble
from .reading import MOST_BYTES, settings_of

FILE = "alerts.yaml"
NOTHING = AlertSettings()


class AlertsFile:
    """For one thread, or under a lock. Where it can no longer be read at all, what it said before holds."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / FILE
        self.text = ""
        self._stamp: Stamp | None = None
        self._settled = False
        self._unread = False  # the last look could not read it
        self._settings = NOTHING
        self.changes = 0  # rises with each change

    def look(self) -> AlertSettings:
        try:
            stamp = stamp_of(self.path.stat())
        except FileNotFoundError:
            if self._stamp is not None or self._unread:
                self._stamp, self._unread, self.text, self._settings = None, False, "", NOTHING
                self.changes += 1
            return self._settings
        except OSError as error:
            self._keep(f"{self.path} cannot be read ({error.strerror})")
            return self._settings
        if stamp != self._stamp or self._unread or not self._settled:
            self._settled = time.time_ns() - stamp.modified_ns > SETTLED_NS
            self._stamp = stamp
            self._read()
        return self._settings

    def _read(self) -> None:
        try:
            text = bytes_of(self.path, most=MOST_BYTES).decode("utf-8-sig")
        except (OSError, ValueError) as error:
            self._keep(f"{self.path} cannot be read ({error})")
            return
        if text == self.text and self.changes and not self._unread:
            return
        found, known = settings_of(text), self._settings
        self._unread, self.text = False, text
        if found.troubles and not (found.rules or found.receivers or found.policies):
            self._settings = replace(known, troubles=found.troubles, literals=found.literals)
        else:
            self._settings = found
        self.changes += 1

    def _keep(self, what: str) -> None:
        self._unread = True
        if [trouble.what for trouble in self._settings.troubles] != [what]:
            self._settings = replace(self._settings, troubles=(AlertTrouble(1, what),))
            self.changes += 1
