"""Record one process with py-spy, window after window, each started before the one before it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import orjson

from ...process.proc import alive, threads
from ...records import Profile, StackSample
from .. import Target, Trouble, refusal
from .chrometrace import Stay, Trace, parse, usual_root
from .names import ThreadNames
from .window import Recording

NAME = "py-spy"
FIRST_WINDOW_S = 1.0  # a new process shows soon
OVERLAP_S = 0.4  # the next window has attached and runs this long before the last one ends
RETRY_S = (0.0, 2.0, 10.0, 60.0)  # after the first, second, ... failure in a row
TROUBLE_AFTER = 2  # failures in a row: the first may be a process that was just starting


class Recorder:
    """Owns the py-spy processes of one target and their files below `folder`."""

    def __init__(self, program: list[str], target: Target, host: str, folder: Path) -> None:
        self.target = target
        self.trouble: Trouble | None = None
        self._program, self._host, self._folder = program, host, folder
        self._names = ThreadNames(program, target.pid, folder)
        self._windows: list[Recording] = []  # oldest first; at most two record, the others are about to end
        self._started = self._delivered = self._failures = 0
        self._retry_at_s = 0.0

    @property
    def idle(self) -> bool:
        return not self._windows

    def turn(self, length_s: float) -> None:
        """Start the next window when the last is `length_s` old; end the last when the next has attached."""
        self._names.poll()
        recording = self._recording()
        if len(recording) == 2:
            last, following = recording
            if following.samples and following.age_s >= OVERLAP_S:
                self._hand_over(last, following)
        elif recording:
            if recording[0].age_s >= (length_s if self._delivered else FIRST_WINDOW_S):
                self._start()
        elif time.monotonic() >= self._retry_at_s and self._lives():
            self._start()

    def finish(self) -> Iterator[Profile]:
        """Read the windows that have ended, one per step, about 50 ms for 10 s of a busy process."""
        for window in [window for window in self._windows if window.ended]:
            self._names.poll()
            self._windows.remove(window)
            try:
                profile = self._read(window)
            finally:
                window.discard()
            if profile:
                self._delivered += 1
                yield profile

    def leave(self) -> None:
        """End all windows; `finish` returns their data."""
        recording = self._recording()
        if len(recording) == 2:
            self._hand_over(*recording)
        for window in self._recording():
            self._end(window)

    def retry(self) -> None:
        self._retry_at_s = 0.0

    def fail(self, said: str) -> None:
        """Something that py-spy does not do: its windows are given up, and it is tried again later."""
        for window in self._windows:
            window.discard()
        self._windows.clear()
        self._failed(said)

    def close(self) -> None:
        for window in self._windows:
            window.discard()
        self._names.close()

    def _recording(self) -> list[Recording]:
        return [window for window in self._windows if window.end_ns is None and not window.ended]

    def _lives(self) -> bool:
        return alive(self.target.pid, self.target.start_ticks)

    def _start(self) -> None:
        self._names.look()
        self._windows.append(Recording(self._program, self.target, self._folder, self._started))
        self._started += 1

    def _hand_over(self, last: Recording, following: Recording) -> None:
        self._end(last)
        following.begin_ns = last.end_ns or 0

    def _end(self, window: Recording) -> None:
        window.end_ns = time.monotonic_ns()
        window.threads_at_end = threads(self.target.pid)
        window.stop()

    def _read(self, window: Recording) -> Profile | None:
        try:
            trace = parse(window.take())
        except orjson.JSONDecodeError:  # empty or cut short: it failed, or was killed while it wrote
            self._failed(window.said())
            return None
        self._failures, self.trouble = 0, None
        return self._profile(window, trace)

    def _failed(self, said: str) -> None:
        if not self._lives():
            return
        self._retry_at_s = time.monotonic() + RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._failures += 1
        if self._failures >= TROUBLE_AFTER:
            self.trouble = refusal.trouble(self.target.pid, NAME, said)

    def _profile(self, window: Recording, trace: Trace) -> Profile | None:
        origin_ns = window.start_mono_ns
        lo_ns = max(window.begin_ns, origin_ns + trace.first_us * 1000)
        hi_ns = min(window.end_ns or time.monotonic_ns(), origin_ns + trace.last_us * 1000)
        if hi_ns <= lo_ns:
            return None
        names: dict[int, str] = {}
        samples: list[StackSample] = []
        for ident, spans in trace.threads.items():
            tid, names[tid] = self._names.by_ident.get(ident, (ident, "short-lived"))
            if self._has_ended(ident, window):
                spans = _cut_tail(spans, window.hz)
            samples += _samples(spans, tid, origin_ns, lo_ns, hi_ns)
        count, errors = window.counts()
        kept = (hi_ns - lo_ns) / 1000 / (trace.last_us - trace.first_us)
        return Profile(
            run=self.target.run,
            rank=self.target.rank,
            pid=self.target.pid,
            role=self.target.role,
            host=self._host,
            sampler=NAME,
            hz=window.hz,
            start_s=window.start_s + (lo_ns - origin_ns) / 1e9,
            start_mono_ns=lo_ns,
            end_mono_ns=hi_ns,
            threads=names,
            samples=samples,
            count=round(count * kept),
            errors=errors,
        )

    def _has_ended(self, ident: int, window: Recording) -> bool:
        """Whether a thread was gone when the window ended, so that py-spy stretched its last stack.

        Where the process itself ended, so did the recorder, and nothing is stretched.
        """
        if not window.threads_at_end or not self._names.by_ident:
            return False
        thread = self._names.by_ident.get(ident)
        return thread is None or (thread.tid != ident and thread.tid not in window.threads_at_end)


def _cut_tail(spans: list[Stay], hz: float) -> list[Stay]:
    """The last stack of a thread that ended, as long as one sample stands for: the file does not say how long it stood."""
    if not spans:
        return []
    last = spans[-1]
    return [*spans[:-1], last._replace(end_us=min(last.end_us, last.start_us + round(1e6 / hz)))]


def _samples(spans: list[Stay], tid: int, origin_ns: int, lo_ns: int, hi_ns: int) -> Iterator[StackSample]:
    """The spans of one thread inside [lo_ns, hi_ns). A stack whose root is not the usual one was read inconsistently."""
    root = usual_root(spans)
    for start_us, end_us, stack in spans:
        start_ns, end_ns = max(lo_ns, origin_ns + start_us * 1000), min(hi_ns, origin_ns + end_us * 1000)
        if start_ns < end_ns:
            yield StackSample(start_ns, end_ns - start_ns, tid, stack, resolved=stack[0][:2] == root)
