"""Keeps one collector process alive for a log folder: starts it, shares a live one, replaces one that is stopped or silent, restarts a dead one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import VERSION, folders
from .control import ControlError, ask
from .machine.proc import is_stopped
from .options import CollectorOptions
from .writer_lock import UnreadableWriter, Writer, end, writer_of

ROOT = Path(__file__).parents[1]  # holds the package `collectors`, in a checkout as in site-packages
EXIT_AGAIN = 75  # EX_TEMPFAIL: it asks to be started again at once
EXIT_FOLDER_GONE = 76  # its data folder, or a file in it, was removed
BACK_OFF_S = (0.5, 30.0)
HEALTHY_S = 60.0  # after running this long, a death counts as the first
BRIEF_S = 5.0  # one that requests a restart sooner waits as after a death
LOOK_S = 0.5  # how often the child is checked
ASK_EVERY_S = 5.0
STOPPED_S = 4.0  # a collector that is stopped for this long is replaced
SILENT_S = 30.0  # ... and one that has answered, and does no longer
STARTING_S = 600.0  # ... or that never has: it may have a large store to migrate
NOTE_S = 60.0  # how long the page reports that the data folder was removed
POLL_S = 0.1
STOP_S = 2.0


class CollectorProcess(threading.Thread):
    """Owns the collector process; `read_only` says why there is none to own, when another user's writes this store."""

    def __init__(self, options: CollectorOptions) -> None:
        super().__init__(name="collector process", daemon=True)
        self._tree, self._data_dir = options.tree, options.data_dir
        self._options = options.as_json()
        self._command = [sys.executable, "-m", "collector", *options.flags(), "--parent", str(os.getpid())]
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._started_s = self._answered_s = self._asked_s = time.monotonic()
        self._has_answered = False
        self._stopped_since_s: float | None = None
        self._note: tuple[str, float] = ("", 0.0)  # a sentence, and until when it is shown, CLOCK_MONOTONIC
        self._back_off_s = BACK_OFF_S[0]
        self.deaths = 0
        self.read_only: str | None = None
        self._take_over()

    def run(self) -> None:
        while not self._ending.wait(LOOK_S):
            if self._child is None:
                self._take_over()
            elif (code := self._child.poll()) is not None:
                self._restart(code)
            elif reason := self._why_replace(self._child):
                self._say(
                    f"The collector (process {self._child.pid}) {reason}; it was replaced: curves and log lines are complete, stacks have a gap of some seconds."
                )
                self._child.kill()
                self._child.wait()
                self._take_over()

    def stop(self) -> None:
        """End the collector if it is ours, or has no owner."""
        self._ending.set()
        self.join()
        if self._child is not None:
            _end(self._child)

    def note(self) -> str:
        """A sentence on the collector beyond its own report, or ""."""
        if self._stopped_since_s is not None and self._child is not None:
            return f"The collector (process {self._child.pid}) is stopped by a signal; it is replaced after {STOPPED_S:g} s."
        if self._child is None and not self._tree.home.is_dir():
            return f"The log folder {self._tree.home} is gone; collection continues automatically once it is back."
        sentence, until_s = self._note
        if time.monotonic() < until_s:
            return sentence
        missing = [str(top) for top in self._tree.tops[1:] if not top.is_dir()]
        return f"Waiting for the log folder {', '.join(missing)}. It is read as soon as it is there." if missing else ""

    def _restart(self, code: int) -> None:
        lived_s = time.monotonic() - self._started_s
        again = code in (EXIT_AGAIN, EXIT_FOLDER_GONE)
        self.deaths += not again
        if lived_s > HEALTHY_S:
            self._back_off_s = BACK_OFF_S[0]
        if code == EXIT_FOLDER_GONE:
            self._say(
                f"The data folder {self._data_dir}, or a file in it, was removed: the store is reopened and the missing part of the "
                "log files is read again; its machine samples and profiles are lost."
            )
        if not (again and lived_s > BRIEF_S) and self._ending.wait(self._back_off_s):
            return
        self._back_off_s = min(2 * self._back_off_s, BACK_OFF_S[1])
        self._take_over()

    def _why_replace(self, child: subprocess.Popen[bytes]) -> str:
        """Why our own living child is unusable; "" while it works."""
        now_s = time.monotonic()
        if not is_stopped(child.pid):
            self._stopped_since_s = None
        elif self._stopped_since_s is None:
            self._stopped_since_s = now_s
        elif now_s - self._stopped_since_s > STOPPED_S:
            self._stopped_since_s = None
            return "was stopped by a signal"
        if now_s - self._asked_s >= ASK_EVERY_S and self._stopped_since_s is None:
            self._asked_s = now_s
            with contextlib.suppress(ControlError):
                ask(self._data_dir, "ping")
                self._answered_s, self._has_answered = time.monotonic(), True
        silent_s = time.monotonic() - self._answered_s
        return (
            f"did not answer for {silent_s:.0f} s"
            if silent_s > (SILENT_S if self._has_answered else STARTING_S)
            else ""
        )

    def _take_over(self) -> None:
        """One live writer per store: share it if its options equal ours, replace it if its owner is dead, else only read.

        No process is ended on doubt: a writer of another boot, container, user or version may be any process.
        """
        if not self._tree.home.is_dir():
            self._child = None
            return
        self._child, self.read_only = None, None
        if why := folders.not_ours(self._data_dir):
            self.read_only = f"Nothing is written to the data folder {self._data_dir}: {why}. Remove it, or choose another folder with --data-dir."
            return
        writer = writer_of(self._data_dir)
        if writer is None:
            self._start()
        elif isinstance(writer, UnreadableWriter):
            self.read_only = (
                f"{writer.sentence}: this dashboard only reads. End that one, or choose another folder with --data-dir."
            )
        elif not writer.is_here:
            self.read_only = (
                f"A collector in another container or on another host ({writer.host}, process {writer.pid} there) writes this store: "
                "this dashboard only reads. End that one, or choose another folder with --data-dir."
            )
        elif writer.is_orphan:
            self._replace(writer)
        elif writer.options != self._options or writer.version != VERSION:
            self.read_only = (
                f"Another dashboard (process {writer.parent_pid}) collects for this log folder with other options: "
                "this one only reads. End that one to change them."
            )

    def _replace(self, writer: Writer) -> None:
        try:
            gone = end(writer, STOP_S)
        except PermissionError:
            gone = False
        if gone:
            self._start()
        else:
            self.read_only = (
                f"Process {writer.pid} holds the lock of this log folder, and is another user's or no collector: "
                "this dashboard only reads. End it, or choose another folder with --data-dir."
            )

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._started_s = self._answered_s = self._asked_s = time.monotonic()
        self._has_answered, self._stopped_since_s = False, None
        self._child = subprocess.Popen(self._command, env=environment, start_new_session=True, stdin=subprocess.DEVNULL)

    def _say(self, sentence: str) -> None:
        self._note = sentence, time.monotonic() + NOTE_S


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
