"""Samples stacks with py-spy: one recorder per process, which always ends with ours."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import orjson

from ..machine.proc import alive, start_ticks, threads, threads_inside
from ..records import Frame, StackRecording, StackSpan
from . import Target, Trouble, refusal

# Read what `py-spy record -f chrometrace` writes: begin and end events become spans of constant stack.
#
# py-spy writes an event only where a stack changes, and closes whatever is open when it stops: a thread that ended in
# between seems to stand in its last stack until then. `thread_id` is Python's (`threading.get_ident()`), not the kernel's.

Stack: TypeAlias = tuple[Frame, ...]


class StackInterval(NamedTuple):
    """A thread stood in one stack. Times are microseconds since the recorder started."""

    start_us: int
    end_us: int
    stack: Stack  # from the root to the leaf


class Trace(NamedTuple):
    threads: dict[int, list[StackInterval]]  # by thread id, in order of time
    first_us: int  # of the first sample; both 0 where there is none
    last_us: int


def parse(raw: bytes) -> Trace:
    """Raises orjson.JSONDecodeError where the file is cut short. 2 MB, which is 10 s of a busy process, take about 50 ms.

    `[{"ph":"B","name":"busy","args":{"filename":"t.py","line":4},"tid":7,"ts":10,...}, {"ph":"E",...,"ts":30}]` ->
    `Trace({7: [Span(10, 30, (Frame("busy", "t.py", 4),))]}, 10, 30)`
    """
    events: list[dict[str, Any]] = orjson.loads(raw)
    readers: dict[int, _OpenFrames] = {}
    frames: dict[tuple[str, str, int], Frame] = {}
    for event in events:
        tid = event["tid"]
        thread = readers.get(tid) or readers.setdefault(tid, _OpenFrames())
        if event["ph"] == "B":
            args = event["args"]
            key = (event["name"], args["filename"], args.get("line") or 0)
            thread.begin(event["ts"], frames.get(key) or frames.setdefault(key, Frame(*key)))
        else:
            thread.end(event["ts"])
    times = [event["ts"] for event in (events[:1] + events[-1:])]
    return Trace({tid: thread.spans for tid, thread in readers.items()}, min(times, default=0), max(times, default=0))


def usual_root(spans: list[StackInterval]) -> tuple[str, str] | None:
    """The function (name, file) at the root of most of a thread's time: a stack with another root was read inconsistently."""
    time_us: Counter[tuple[str, str]] = Counter()
    for span in spans:
        time_us[span.stack[0][:2]] += span.end_us - span.start_us
    return time_us.most_common(1)[0][0] if time_us else None


class _OpenFrames:
    """The open frames of one thread; a span is written when time passes over them."""

    def __init__(self) -> None:
        self.spans: list[StackInterval] = []
        self._open: list[Frame] = []
        self._since_us = 0

    def begin(self, now_us: int, frame: Frame) -> None:
        self._pass(now_us)
        self._open.append(frame)

    def end(self, now_us: int) -> None:
        self._pass(now_us)
        if self._open:  # without a begin in a file whose head is missing
            self._open.pop()

    def _pass(self, now_us: int) -> None:
        if self._open and now_us > self._since_us:
            self.spans.append(StackInterval(self._since_us, now_us, tuple(self._open)))
        self._since_us = now_us


# One window of one process: a `py-spy record` from its start to the file that it leaves.
#
# py-spy holds everything in memory and writes once, at its end, on SIGINT (SIGTERM leaves no file). So a long record is a
# row of windows, and the next one starts before the last one ends.

LONGEST_S = 60  # a recorder that is not ended ends by itself
WRITE_WITHIN_S = 5.0  # after SIGINT; writing takes 10-40 ms
DIE_WITHIN_S = 1.0  # after SIGKILL; one that reads from a hanging file system dies when that answers
COUNTS = re.compile(r"Samples: (\d+) Errors: (\d+)")


def die_with_parent() -> list[str]:
    """A command prefix: the kernel kills what follows when the thread that started it is gone.

    util-linux's setpriv rather than a preexec_fn, which would run Python between fork and exec of a process with threads.
    Where there is no setpriv, LONGEST_S bounds a recorder's life.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


class Recording:
    def __init__(self, program: list[str], target: Target, folder: Path, number: int) -> None:
        """`program` is py-spy with its prefix; the files in `folder` are the window's own."""
        self.hz = target.hz
        self.begin_ns = 0  # CLOCK_MONOTONIC: what was sampled outside belongs to the windows beside it
        self.end_ns: int | None = None
        self.threads_at_end: frozenset[int] = frozenset()  # the kernel's ids; empty where the process ended first
        self._trace = folder / f"{target.pid}-{number}.json"
        self._log = self._trace.with_suffix(".log")
        command = [*program, "record", "--pid", str(target.pid), "--format", "chrometrace", "--rate", f"{target.hz:g}"]
        command += ["--idle", "--nonblocking", "--output", str(self._trace), "--duration", str(LONGEST_S)]
        self._process = start(command, self._log)
        # py-spy counts from when it starts, which is when its exec returns to us, within about 2 ms.
        self.start_mono_ns, self.start_s = time.monotonic_ns(), time.time()
        self._stopped_s: float | None = None

    @property
    def age_s(self) -> float:
        return (time.monotonic_ns() - self.start_mono_ns) / 1e9

    @property
    def samples(self) -> bool:
        """Whether it has attached: it says so once, in its log."""
        return self._log.stat().st_size > 0 and not self.ended

    @property
    def ended(self) -> bool:
        written_s = None if self._stopped_s is None else time.monotonic() - self._stopped_s
        if (written_s or 0.0) > WRITE_WITHIN_S or self.age_s > LONGEST_S + WRITE_WITHIN_S:
            self._process.kill()
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ask it to write its file and end; does not wait."""
        self._process.send_signal(signal.SIGINT)
        self._stopped_s = time.monotonic()

    def take(self) -> bytes:
        """Its output, empty where it wrote none. Once it has ended."""
        return self._trace.read_bytes() if self._trace.exists() else b""

    def said(self) -> str:
        """Why it failed, from its output: the first line and the cause that it gives."""
        if (code := self._process.returncode) < 0:
            return f"the recorder was ended by signal {-code}"
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        causes = [line.removeprefix("0: ") for line in lines[1:] if line.startswith("0: ")]
        return ": ".join([*(line.removeprefix("Error: ").rstrip(".") for line in lines[:1]), *causes])

    def counts(self) -> tuple[int, int]:
        """Samples, over all threads, and failed reads."""
        found = COUNTS.search(self._log.read_text(errors="replace"))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def discard(self) -> None:
        """Remove its files; end it where it still runs."""
        end(self._process)
        self._trace.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with suppress(subprocess.TimeoutExpired):  # it is reaped when it dies later
        process.wait(DIE_WITHIN_S)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a child with its output in a file, unaffected by the terminal's Ctrl-C."""
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment, process_group=0
        )


# The threads of one process: which of the kernel's threads is which of Python's, and its name.

ANSWER_WITHIN_S = 10.0  # it takes 10 ms


class Thread(NamedTuple):
    tid: int  # the kernel's, or Python's where that is not known
    name: str


class ThreadNames:
    """Known from `py-spy dump`, which is asked again only when the kernel's list of threads has changed: it costs 10 ms."""

    def __init__(self, program: list[str], pid: int, folder: Path) -> None:
        self.by_ident: dict[int, Thread] = {}
        self._command = [*program, "dump", "--pid", str(pid), "--nonblocking", "--json"]
        self._pid, self._output = pid, folder / f"{pid}-threads.json"
        self._dump: subprocess.Popen[bytes] | None = None
        self._begun_s = 0.0
        self._seen: frozenset[int] = frozenset()

    def look(self) -> None:
        """Ask for the names of new threads; `poll` takes the answer."""
        now = threads(self._pid)
        if self._dump is None and now != self._seen:
            self._seen, self._begun_s = now, time.monotonic()
            self._dump = start(self._command, self._output)

    def poll(self) -> None:
        if self._dump is None:
            return
        if self._dump.poll() is None and time.monotonic() - self._begun_s < ANSWER_WITHIN_S:
            return
        dump, self._dump = self._dump, None
        if dump.poll() is None:  # read again when the threads change
            end(dump)
        elif dump.returncode == 0:
            found = orjson.loads(self._output.read_bytes())
            here = threads_inside(self._pid)  # py-spy reports the ids that the container knows
            self.by_ident |= {row["thread_id"]: self._thread(row, here) for row in found}
        else:  # the process ended or changed meanwhile
            self._seen = frozenset()

    def _thread(self, row: Mapping[str, Any], here: Mapping[int, int]) -> Thread:
        """Of Python before 3.11 py-spy does not know the kernel's id: there Python's own stands for it, but for the main thread's."""
        tid, name = row["os_thread_id"], row["thread_name"] or ""
        if tid is not None:
            return Thread(here.get(tid, tid), name)
        return Thread(self._pid if name == "MainThread" else row["thread_id"], name)

    def close(self) -> None:
        if self._dump is not None:
            end(self._dump)
        self._output.unlink(missing_ok=True)


# Record one process with py-spy, window after window, each started before the one before it ends.

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

    def finish(self) -> Iterator[StackRecording]:
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

    def _read(self, window: Recording) -> StackRecording | None:
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

    def _profile(self, window: Recording, trace: Trace) -> StackRecording | None:
        origin_ns = window.start_mono_ns
        lo_ns = max(window.begin_ns, origin_ns + trace.first_us * 1000)
        hi_ns = min(window.end_ns or time.monotonic_ns(), origin_ns + trace.last_us * 1000)
        if hi_ns <= lo_ns:
            return None
        names: dict[int, str] = {}
        samples: list[StackSpan] = []
        for ident, spans in trace.threads.items():
            tid, names[tid] = self._names.by_ident.get(ident, (ident, "short-lived"))
            if self._has_ended(ident, window):
                spans = _cut_tail(spans, window.hz)
            samples += _samples(spans, tid, origin_ns, lo_ns, hi_ns)
        count, errors = window.counts()
        kept = (hi_ns - lo_ns) / 1000 / (trace.last_us - trace.first_us)
        return StackRecording(
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


def _cut_tail(spans: list[StackInterval], hz: float) -> list[StackInterval]:
    """The last stack of a thread that ended, as long as one sample stands for: the file does not say how long it stood."""
    if not spans:
        return []
    last = spans[-1]
    return [*spans[:-1], last._replace(end_us=min(last.end_us, last.start_us + round(1e6 / hz)))]


def _samples(spans: list[StackInterval], tid: int, origin_ns: int, lo_ns: int, hi_ns: int) -> Iterator[StackSpan]:
    """The spans of one thread inside [lo_ns, hi_ns). A stack whose root is not the usual one was read inconsistently."""
    root = usual_root(spans)
    for start_us, end_us, stack in spans:
        start_ns, end_ns = max(lo_ns, origin_ns + start_us * 1000), min(hi_ns, origin_ns + end_us * 1000)
        if start_ns < end_ns:
            yield StackSpan(start_ns, end_ns - start_ns, tid, stack, resolved=stack[0][:2] == root)


WINDOW_S = 10.0
HURRIED_WINDOW_S = 2.0
TURN_S = 0.06  # after this time a call starts no recorder and reads no file; the rest waits for the next call
FOLDER_PREFIX = "deepseek-pyspy-"


class PySpy:
    """A Sampler. All calls come from one thread; when that ends, so do the recorders that it started."""

    name = NAME

    def __init__(self, host: str | None = None, program: Path | None = None) -> None:
        """`program` is the py-spy to use; by default the one beside this Python, else the one on the PATH."""
        self._host = host or socket.gethostname()
        self._given, self._program = program, program or find_program()
        _remove_stale_folders()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-{start_ticks(os.getpid())}-"))
        self._recorders: dict[tuple[int, int], Recorder] = {}  # by pid and start ticks
        self._leaving: list[Recorder] = []
        self._missing: dict[int, Trouble] = {}
        self._hurry_until_s = 0.0

    def follow(self, targets: Sequence[Target]) -> None:
        wanted = {(target.pid, target.start_ticks): target for target in targets}
        for key in self._recorders.keys() - wanted.keys():
            recorder = self._recorders.pop(key)
            recorder.leave()
            self._leaving.append(recorder)
        self._missing = {} if self._program else {target.pid: refusal.missing(NAME) for target in targets}
        if self._program is None:
            return
        for key, target in wanted.items():
            if key not in self._recorders:
                self._recorders[key] = Recorder(
                    [*die_with_parent(), str(self._program)], target, self._host, self._folder
                )
            self._recorders[key].target = target  # its rate may have changed

    def hurry(self, until_mono_s: float) -> None:
        self._hurry_until_s = until_mono_s

    def profiles(self) -> Iterable[StackRecording]:
        until_s = time.monotonic() + TURN_S
        profiles: list[StackRecording] = []
        for recorder in [*self._recorders.values(), *self._leaving]:
            with _at_its_own_cost(recorder):
                for profile in recorder.finish():
                    profiles.append(profile)
                    if time.monotonic() > until_s:
                        return profiles
        length_s = HURRIED_WINDOW_S if time.monotonic() < self._hurry_until_s else WINDOW_S
        for recorder in self._recorders.values():
            with _at_its_own_cost(recorder):
                recorder.turn(length_s)
            if time.monotonic() > until_s:
                break
        self._let_go()
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        found = {recorder.target.pid: recorder.trouble for recorder in self._recorders.values() if recorder.trouble}
        return {**found, **self._missing}

    def retry(self) -> None:
        self._program = self._given or find_program()
        for recorder in self._recorders.values():
            recorder.retry()

    def close(self) -> None:
        for recorder in [*self._recorders.values(), *self._leaving]:
            recorder.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _let_go(self) -> None:
        for recorder in [recorder for recorder in self._leaving if recorder.idle]:
            recorder.close()
            self._leaving.remove(recorder)


@contextmanager
def _at_its_own_cost(recorder: Recorder) -> Iterator[None]:
    """An error with one process (its files, its trace, py-spy itself) affects that process only."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        recorder.fail(f"{type(error).__name__}: {error}")


def find_program() -> Path | None:
    beside = Path(sysconfig.get_path("scripts")) / NAME
    on_path = shutil.which(NAME)
    return beside if beside.exists() else Path(on_path) if on_path else None


def _remove_stale_folders() -> None:
    """Remove folders of killed collectors; a folder's name says whose it is."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = re.match(r"(\d+)-(\d+)-", folder.name.removeprefix(FOLDER_PREFIX))
        if owner and not alive(int(owner[1]), int(owner[2])):
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays
