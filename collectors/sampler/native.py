"""The native sampler: its process, its output stream, and windows of stacks made of it."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from ..records import Frame, Resident, StackRecording, StackSpan
from . import Target, Trouble, refusal
from .build import find_program

VERSION = 2
LONGEST_LINE = 65536  # bytes
MAX_NUMBERS = 1 << 20  # texts, frames or stacks; the sampler restarts numbering at 65,536
MAX_SPANS = 1 << 20  # that wait for the end of their windows
MAX_THREADS = 1 << 16
MAX_TARGETS = 1 << 12  # whose faults are counted; the sampler takes 1,024
MAX_FAULTS = 100  # impossible lines of one target
MAX_GARBAGE = 1000  # impossible lines that name no target
LATEST_NS = 1 << 62
EMPTY = 0  # number of the stack without a frame
HELD_GIL, CUT = 1, 2


class Fate(NamedTuple):
    """What became of a target."""

    target: int
    is_now: Literal["attached", "refused", "gone"]
    reason: str = (
        ""  # of a refusal: permission, python, version, free-threaded, crowd; stream: its lines are impossible
    )
    detail: str = ""  # of the reason; of an attached one the version of its Python, e.g. "3.11.7"


class SampleBatch(NamedTuple):
    """The spans of a target between two moments, CLOCK_MONOTONIC; the next window begins where it ends."""

    target: int
    start_ns: int
    end_ns: int
    samples: int
    errors: int
    hz: float
    threads: dict[int, str]  # names, by id, of those that have a span
    spans: list[StackSpan]
    resident: Sequence[Resident] = ()


class StreamError(Exception):
    """This is not the sampler's output; the text is one sentence."""


class _MalformedLine(Exception):
    """An impossible line; the text is one sentence."""


class StreamReader:
    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._messages: list[Fate | SampleBatch] = []
        self._texts: dict[int, str] = {}
        self._frames: dict[int, Frame] = {}
        self._callers: dict[int, tuple[int, Frame]] = {}  # by stack: its caller's stack, and its last frame
        self._stacks: dict[int, tuple[Frame, ...]] = {}  # those that were asked for
        self._threads: dict[int, dict[int, str]] = defaultdict(dict)  # by target
        self._spans: dict[int, list[StackSpan]] = defaultdict(list)  # by target
        self._waiting = 0  # spans in all
        self._resident: dict[int, list[Resident]] = defaultdict(list)  # by target
        self._faults: dict[int, int] = {}  # by target: impossible lines, since it was first named
        self._lost: dict[int, int] = {}  # the same, since its last window
        self._garbage = 0
        self._endless = False  # the current line is skipped up to its end

    def feed(self, data: bytes) -> list[Fate | SampleBatch]:
        """The windows that these bytes completed. A window of 500 spans takes about 1.5 ms. Raises StreamError, which ends the stream."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._endless:
            lines, self._endless = lines[1:], False
        for line in lines:
            self._read(line)
        if len(self._rest) > LONGEST_LINE:
            if not self._endless:
                self._count_garbage("a line of the native sampler has no end")
            self._rest, self._endless = b"", True
        messages, self._messages = self._messages, []
        return messages

    def _read(self, line: bytes) -> None:
        try:
            kind, *values = _parse(line)
            types, read = KINDS[kind]
        except (ValueError, TypeError, KeyError):  # no JSON, no list, no such kind
            self._count_garbage(f"not a line of the native sampler: {line[:80]!r}")
            return
        if not self._begun and kind != "native":
            raise StreamError(f"the native sampler does not begin with its version: {line[:80]!r}")
        target = values[0] if kind in OF_A_TARGET and values and type(values[0]) is int else None
        if target is not None and kind not in ENDS and self._faults.get(target, 0) >= MAX_FAULTS:
            return
        try:
            if tuple(map(type, values)) != types:
                raise _MalformedLine(f"not a line of the native sampler here: {line[:80]!r}")
            read(self, *values)
        except KeyError:
            self._count_fault(target, f"the native sampler refers to an undefined id: {line[:80]!r}")
        except _MalformedLine as fault:
            self._count_fault(target, str(fault))

    def _count_fault(self, target: int | None, sentence: str) -> None:
        if target is None:
            self._count_garbage(sentence)
            return
        _make_room(self._faults, target)
        _make_room(self._lost, target)
        self._faults[target] = self._faults.get(target, 0) + 1
        self._lost[target] = self._lost.get(target, 0) + 1
        if self._faults[target] == MAX_FAULTS:
            self._drop(target)
            self._messages.append(Fate(target, "refused", "stream", sentence))

    def _count_garbage(self, sentence: str) -> None:
        self._garbage += 1
        if self._garbage > MAX_GARBAGE or not self._begun:
            raise StreamError(sentence)

    def _drop(self, target: int) -> None:
        self._waiting -= len(self._spans.pop(target, ()))
        self._threads.pop(target, None)
        self._resident.pop(target, None)
        self._lost.pop(target, None)

    def _native(self, version: int) -> None:
        if self._begun:
            raise _MalformedLine("the native sampler sends its version twice")
        if version != VERSION:
            raise StreamError(
                f"the native sampler is of another version ({version}, not {VERSION}); build it again: make setup"
            )
        self._begun = True

    def _attached(self, target: int, version: str, _took_us: int) -> None:
        self._messages.append(Fate(target, "attached", detail=version))

    def _refused(self, target: int, reason: str, detail: str) -> None:
        self._messages.append(Fate(target, "refused", reason, detail))

    def _gone(self, target: int) -> None:
        self._drop(target)
        self._faults.pop(target, None)
        self._messages.append(Fate(target, "gone"))

    def _text(self, number: int, text: str) -> None:
        _bound(self._texts, MAX_NUMBERS)
        self._texts[number] = text

    def _frame(self, number: int, file: int, function: int, line: int) -> None:
        _bound(self._frames, MAX_NUMBERS)
        if line < 0 or line >= LATEST_NS:
            raise _MalformedLine(f"the native sampler names line {line}")
        self._frames[number] = Frame(self._texts[function], self._texts[file], line)

    def _stack(self, number: int, caller: int, frame: int) -> None:
        _bound(self._callers, MAX_NUMBERS)
        if number <= caller or (caller != EMPTY and caller not in self._callers):  # so a walk over callers ends
            raise _MalformedLine(f"the native sampler names stack {number} called by {caller}")
        self._callers[number] = (caller, self._frames[frame])

    def _thread(self, target: int, tid: int, name: int) -> None:
        text = self._texts[name]
        _bound(self._threads, MAX_TARGETS)
        threads = self._threads[target]
        _bound(threads, MAX_THREADS)
        threads[tid] = text

    def _span(
        self, target: int, tid: int, start_ns: int, duration_ns: int, stack: int, flags: int, cpu_ns: int
    ) -> None:
        possible = (
            0 <= start_ns < LATEST_NS and 0 < duration_ns < LATEST_NS and cpu_ns < LATEST_NS and 0 <= tid < LATEST_NS
        )
        if not possible or self._waiting >= MAX_SPANS:
            raise _MalformedLine(
                f"the native sampler sends too many spans, or an impossible one: {start_ns} {duration_ns}"
            )
        cpu = None if cpu_ns < 0 else cpu_ns
        gil, whole = bool(flags & HELD_GIL), not flags & CUT
        self._spans[target].append(StackSpan(start_ns, duration_ns, tid, self._frames_of(stack), gil, cpu, whole))
        self._waiting += 1

    def _memory(self, target: int, mono_ns: int, kib: int) -> None:
        _bound(self._resident, MAX_TARGETS)
        track = self._resident[target]
        if not (0 <= mono_ns < LATEST_NS and 0 <= kib < LATEST_NS) or len(track) >= MAX_SPANS:
            raise _MalformedLine(f"the native sampler sends an impossible size of memory: {mono_ns} {kib}")
        track.append(Resident(mono_ns, kib))

    def _frames_of(self, stack: int) -> tuple[Frame, ...]:
        known = self._stacks.get(stack)
        if known is None:
            frames, caller = [], stack
            while caller != EMPTY:
                caller, frame = self._callers[caller]
                frames.append(frame)
            known = self._stacks[stack] = tuple(reversed(frames))
        return known

    def _window(self, target: int, start_ns: int, end_ns: int, samples: int, errors: int, hz: float) -> None:
        if not 0 <= start_ns <= end_ns < LATEST_NS or min(samples, errors) < 0 or max(samples, errors) >= LATEST_NS:
            raise _MalformedLine(f"the native sampler sends an impossible window: {start_ns} {end_ns}")
        spans = self._spans.pop(target, [])
        self._waiting -= len(spans)
        errors += self._lost.pop(target, 0)
        self._messages.append(
            SampleBatch(
                target,
                start_ns,
                end_ns,
                samples,
                errors,
                hz,
                self._threads.pop(target, {}),
                spans,
                tuple(self._resident.pop(target, ())),
            )
        )

    def _reset(self) -> None:
        self._texts, self._frames, self._callers, self._stacks = {}, {}, {}, {}
        self._spans.clear()
        self._threads.clear()
        self._resident.clear()
        self._waiting = 0


def _parse(line: bytes) -> Any:
    """Raises ValueError. Bytes that are not UTF-8, which the sampler should not write, cost a character and not the line."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return orjson.loads(line.decode("utf-8", "replace"))


def _bound(known: dict[int, Any], most: int) -> None:
    if len(known) >= most:
        raise _MalformedLine("the native sampler explains too many numbers")


def _make_room(counts: dict[int, int], target: int) -> None:
    """So that targets that were never followed do not fill the memory."""
    if target not in counts and len(counts) >= MAX_TARGETS:
        del counts[next(iter(counts))]


KINDS: dict[str, tuple[tuple[type, ...], Callable[..., None]]] = {
    "native": ((int,), StreamReader._native),
    "attached": ((int, str, int), StreamReader._attached),
    "refused": ((int, str, str), StreamReader._refused),
    "gone": ((int,), StreamReader._gone),
    "n": ((int, str), StreamReader._text),
    "f": ((int, int, int, int), StreamReader._frame),
    "k": ((int, int, int), StreamReader._stack),
    "t": ((int, int, int), StreamReader._thread),
    "s": ((int, int, int, int, int, int, int), StreamReader._span),
    "m": ((int, int, int), StreamReader._memory),
    "w": ((int, int, int, int, int, float), StreamReader._window),
    "reset": ((), StreamReader._reset),
}
OF_A_TARGET = frozenset(("attached", "refused", "gone", "t", "s", "m", "w"))  # its number comes first
ENDS = frozenset(("refused", "gone"))  # also of a target whose other lines are skipped


# The native sampler's process, and the pipes to it and from it.

PIPE_BYTES = 1 << 20
MAX_READ = 4 << 20  # bytes in one call; what is more waits
END_WITHIN_S = 2.0
HANGS_AFTER_S = 10.0  # in one process; a look takes 10 us, finding a Python 10 ms
TURN = struct.Struct(
    "=QQ"
)  # what main.c shows: the target's number, and since when (CLOCK_MONOTONIC ns), 0 while there is none


class RunningSampler:
    """A sampler that runs. The subclass says how it is had, and how it is let go."""

    def __init__(self, commands: int, output: int, turn: int) -> None:
        """Descriptors, which are closed with it: its standard input and output, and the memory in which it shows its turn."""
        self._commands, self._output, self._turn = commands, output, turn
        self._reader = StreamReader()
        self._begun_s = time.monotonic()
        self._window_s = 0.0
        self._stuck = False
        os.set_blocking(commands, False)
        os.set_blocking(output, False)
        with suppress(PermissionError):  # this user has too many large pipes already
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def pid(self) -> int | None:
        """None where it is not our child."""
        return None

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._begun_s

    def send(self, command: str) -> None:
        try:
            os.write(self._commands, f"{command}\n".encode())
        except BlockingIOError:
            self._stuck = True
        except BrokenPipeError:  # it has ended: `read` says so
            self._stuck = False

    def hangs_in(self) -> int | None:
        """The number of the target that it has been looking at for too long."""
        number, since_ns = TURN.unpack(os.pread(self._turn, TURN.size, 0))
        return number if since_ns and (time.monotonic_ns() - since_ns) / 1e9 > HANGS_AFTER_S else None

    def set_window(self, window_s: float) -> None:
        if window_s != self._window_s:
            self._window_s = window_s
            self.send(f"w {window_s * 1000:.0f}")

    def read(self) -> tuple[list[Fate | SampleBatch], str]:
        """What has come, and why no more will come, "" while it runs. Does not wait."""
        messages: list[Fate | SampleBatch] = []
        taken = 0
        try:
            while data := os.read(self._output, PIPE_BYTES):
                messages += self._reader.feed(self.mine(data))
                taken += len(data)
                if taken >= MAX_READ:
                    return messages, ""
        except BlockingIOError:  # no more for now
            return messages, "it does not take commands" if self._stuck else ""
        except StreamError as error:
            return messages, str(error)
        return messages, self.how_it_ended()

    def mine(self, data: bytes) -> bytes:
        """What of the output is meant for us."""
        return data

    def how_it_ended(self) -> str:
        return "it closed its output"

    def close(self) -> None:
        for descriptor in (self._commands, self._output, self._turn):
            os.close(descriptor)


class ChildSampler(RunningSampler):
    """Started by us. It ends when its input does, also when we are killed."""

    def __init__(self, program: Path) -> None:
        turn = os.memfd_create("turn")
        os.ftruncate(turn, TURN.size)
        command = [str(program), str(turn)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, process_group=0, pass_fds=[turn]
            )
        except OSError:
            os.close(turn)
            raise
        assert self._process.stdin
        assert self._process.stdout
        super().__init__(self._process.stdin.fileno(), self._process.stdout.fileno(), turn)

    @property
    def pid(self) -> int:
        return self._process.pid

    def how_it_ended(self) -> str:
        try:
            code = self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}"

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(0 if self.hangs_in() is not None else END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with suppress(
                subprocess.TimeoutExpired
            ):  # it reads from what does not answer, and is reaped when that does
                self._process.wait(END_WITHIN_S)
        self._process.stdout.close()
        os.close(self._turn)


# Sample stacks with our own sampler: one resident process for all targets, written in C (native/README.md).

NAME = "native"
SPOKEN = "The native sampler"
WINDOW_S = 5.0
HURRIED_WINDOW_S = 0.5
RETRY_S = 60.0  # a refused process is tried again
RESTART_S = (0.0, 1.0, 5.0, 60.0)  # after the first, second, ... end in a row of the sampler itself
TROUBLE_AFTER = 3  # ends in a row
SOUND_AFTER_S = 60.0  # an end after this run time starts a new row
RETRY_HUNG_S = 600.0  # a process that hung it: each try may cost all others ten seconds
HANGING = "does not come back from process {pid}: its memory or its files do not answer"
NOT_BUILT = Trouble(
    f"{SPOKEN} was not built on this machine.",
    "sudo apt-get install gcc libc6-dev, then: make setup (or install the dashboard again)",
    other_may=True,
)
OTHER_MAY = {  # reasons to refuse a process that py-spy may not share
    "python": "finds no Python that it knows in process {pid}",
    "version": "does not know Python {detail}, the version of process {pid}",
    "free-threaded": "cannot read the free-threaded Python {detail} of process {pid}",
    "crowd": "has no room for process {pid} ({detail})",
    "stream": "is not understood in what it says of process {pid} ({detail})",
}


@dataclass
class _FollowedTarget:
    """A target with its number in the sampler."""

    number: int
    target: Target
    trouble: Trouble | None = None
    retry_at_s: float | None = None  # None while the sampler has it
    hung: bool = False  # the sampler hung on it


class NativeSampler:
    """A Sampler. All calls come from one thread."""

    name = NAME

    def __init__(
        self,
        host: str | None = None,
        program: Path | None = None,
        start: Callable[[Path], RunningSampler] = ChildSampler,
    ) -> None:
        """`program` is the sampler to use, by default the one built beside this file; `start` starts it."""
        self._host, self._start = host or socket.gethostname(), start
        self._given, self._program = program, program or find_program()
        self._resident: RunningSampler | None = None
        self._start_at_s = 0.0
        self._ends = 0  # of the resident process, in a row
        self._broken: Trouble | None = None
        self._numbers = 0
        self._followed: dict[tuple[int, int], _FollowedTarget] = {}  # by pid and start ticks
        self._by_number: dict[int, _FollowedTarget] = {}  # also released ones, until their last window has arrived
        self._hurry_until_s = 0.0

    @property
    def pid(self) -> int | None:
        """Of the resident process."""
        return self._resident.pid if self._resident else None

    def follow(self, targets: Sequence[Target]) -> None:
        wanted = {(target.pid, target.start_ticks): target for target in targets}
        for key in self._followed.keys() - wanted.keys():
            self._send(f"- {self._followed.pop(key).number}")
        for key, target in wanted.items():
            followed = self._followed.get(key)
            if followed is None:
                self._begin(_FollowedTarget(0, target))
            elif followed.target != target:
                rate_changed, followed.target = followed.target.hz != target.hz, target
                if rate_changed and followed.retry_at_s is None:
                    self._ask_for(followed)
        self._keep_running()

    def hurry(self, until_mono_s: float) -> None:
        self._hurry_until_s = until_mono_s

    def profiles(self) -> Iterable[StackRecording]:
        self._keep_running()
        if self._resident is None:
            return []
        messages, end = self._resident.read()
        wall_s = time.time() - time.monotonic_ns() / 1e9
        profiles = [profile for message in messages for profile in self._take(message, wall_s)]
        if end:
            self._ended(end)
            return profiles
        if (number := self._resident.hangs_in()) is not None:
            self._set_aside(number)
            return profiles
        if profiles:
            self._broken = None
        self._retry_refused()
        self._resident.set_window(HURRIED_WINDOW_S if time.monotonic() < self._hurry_until_s else WINDOW_S)
        return profiles

    def troubles(self) -> dict[int, Trouble]:
        general = self._broken or (NOT_BUILT if self._program is None else None)
        return {
            pid: trouble for (pid, _), followed in self._followed.items() if (trouble := general or followed.trouble)
        }

    def retry(self) -> None:
        self._program = self._given or find_program()
        self._start_at_s = 0.0
        for followed in self._followed.values():
            if followed.retry_at_s is not None:
                followed.retry_at_s = 0.0

    def close(self) -> None:
        if self._resident:
            self._resident.close()
            self._resident = None

    def _keep_running(self) -> None:
        """Start the resident process when there is something to follow, and send it everything."""
        if self._resident or not self._followed or self._program is None or time.monotonic() < self._start_at_s:
            return
        try:
            self._resident = self._start(self._program)
        except OSError as error:  # for another machine, or no longer there
            self._ended(str(error))
            return
        self._by_number.clear()
        for followed in list(self._followed.values()):
            if not followed.hung or time.monotonic() >= (followed.retry_at_s or 0.0):
                self._begin(followed)

    def _begin(self, followed: _FollowedTarget) -> None:
        """Under a new number: data with an older number is of an earlier attempt, or of another process with its pid."""
        self._numbers += 1
        followed.number, followed.retry_at_s, followed.hung = self._numbers, None, False
        self._followed[followed.target.pid, followed.target.start_ticks] = followed
        self._by_number[followed.number] = followed
        self._ask_for(followed)

    def _ask_for(self, followed: _FollowedTarget) -> None:
        target = followed.target
        self._send(f"+ {followed.number} {target.pid} {target.start_ticks} {target.hz:g}")

    def _send(self, command: str) -> None:
        if self._resident:
            self._resident.send(command)

    def _take(self, message: Fate | SampleBatch, wall_s: float) -> list[StackRecording]:
        """The profiles that a message brings."""
        followed = self._by_number.get(message.target)
        if followed is None:
            return []
        match message:
            case Fate(is_now="attached"):
                followed.trouble = None
            case Fate(is_now="refused"):
                followed.trouble = _trouble(followed.target.pid, message)
                followed.retry_at_s = time.monotonic() + RETRY_S
                if message.reason == "stream":  # the sampler itself has it still
                    self._send(f"- {followed.number}")
            case Fate(is_now="gone"):
                del self._by_number[message.target]
            case SampleBatch():
                profile = _profile(followed.target, message, self._host, wall_s)
                return [profile] if profile else []
        return []

    def _retry_refused(self) -> None:
        now_s = time.monotonic()
        for followed in self._followed.values():
            if followed.retry_at_s is not None and now_s >= followed.retry_at_s:
                self._begin(followed)

    def _set_aside(self, number: int) -> None:
        """Drop the process that the sampler hangs on: another sampler continues with all others."""
        self.close()
        followed = self._by_number.get(number)
        if followed is not None:
            followed.trouble = Trouble(f"{SPOKEN} {HANGING.format(pid=followed.target.pid)}.", "")
            followed.retry_at_s, followed.hung = time.monotonic() + RETRY_HUNG_S, True
        self._keep_running()

    def _ended(self, why: str) -> None:
        lived_s = self._resident.age_s if self._resident else 0.0
        self.close()
        self._ends = 1 if lived_s > SOUND_AFTER_S else self._ends + 1
        self._start_at_s = time.monotonic() + RESTART_S[min(self._ends, len(RESTART_S)) - 1]
        self._broken = (
            Trouble(f"{SPOKEN} does not run: {why}.", "", other_may=True) if self._ends >= TROUBLE_AFTER else None
        )


def _trouble(pid: int, refused: Fate) -> Trouble | None:
    """In words; None where the process has ended meanwhile."""
    if (text := OTHER_MAY.get(refused.reason)) is None:
        return refusal.trouble(pid, SPOKEN, refused.detail)
    return Trouble(f"{SPOKEN} {text.format(pid=pid, detail=refused.detail)}.", "", other_may=True)


def _profile(target: Target, window: SampleBatch, host: str, wall_s: float) -> StackRecording | None:
    if window.end_ns <= window.start_ns:
        return None
    return StackRecording(
        run=target.run,
        rank=target.rank,
        pid=target.pid,
        role=target.role,
        host=host,
        sampler=NAME,
        hz=window.hz,
        start_s=wall_s + window.start_ns / 1e9,
        start_mono_ns=window.start_ns,
        end_mono_ns=window.end_ns,
        threads=window.threads,
        samples=window.spans,
        count=window.samples,
        errors=window.errors,
        resident=window.resident,
    )
