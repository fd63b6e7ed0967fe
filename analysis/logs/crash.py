"""Why a run ended, from its last lines: traceback, fatal signal, GPU error, kernel or scheduler message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from collectors.lines.tracebacks import CrashFrame, ExceptionRecord, Traceback, makes_steps, shortened, tracebacks
from collectors.message import Message, phrase, text_of
from collectors.records import LogLine

# What a line of a log says went wrong, where it is not an exception of Python: the GPU, the kernel, the scheduler, the other ranks.
#
# The wording and meaning of CUDA's errors are those of `cudaError_t` in NVIDIA's CUDA Runtime API documentation ("Data types used by
# CUDA Runtime"), of Xid errors those of NVIDIA's "XID Errors" documentation. The messages of PyTorch are those of its CUDA caching
# allocator ("CUDA semantics: Memory management"), of `ProcessGroupNCCL` and of `torch.utils.data`. Slurm's are those of `slurmstepd`.

FaultKind: TypeAlias = Literal[
    "exception",
    "fatal",
    "cuda",
    "collective",
    "peer_gone",
    "out_of_memory",
    "time_limit",
    "preempted",
    "disk_full",
    "shared_memory",
    "worker",
    "exit",
]


class FaultPattern(NamedTuple):
    """A pattern of a line, and the template of the sentence on it, whose `{names}` are the pattern's groups. A strong fault explains an exception."""

    kind: FaultKind
    pattern: re.Pattern[str]
    template: str


class FaultMatch(NamedTuple):
    kind: FaultKind
    said: Message  # without a full stop
    rank: int | None  # that the line itself names


OUT_OF_MEMORY = re.compile(
    r"out of memory\. Tried to allocate (?P<asked>[\d.]+ [KMGT]?i?B)"
    r"(?:.{0,400}?GPU (?P<gpu>\d+) has a total capacity of (?P<total>[\d.]+ [KMGT]?i?B) of which (?P<free>[\d.]+ [KMGT]?i?B) is free)?"
    r"(?:.{0,400}?Of the allocated memory (?P<used>[\d.]+ [KMGT]?i?B) is allocated by PyTorch, and (?P<reserved>[\d.]+ [KMGT]?i?B) is reserved)?"
)
DEVICE_ASSERT = re.compile(
    r"(?<![\w./-])(?P<file>[\w./-]{1,400}\.cuh?):(?P<line>\d{1,9}): .{0,400}?[Aa]ssertion [`'\"]?(?P<what>.{1,400}?)[`'\"]? failed"
)
NCCL = re.compile(
    r"\[Rank (?P<rank>\d+)\] Watchdog caught collective operation timeout: WorkNCCL\(SeqNum=(?P<number>\d+), OpType=(?P<what>\w+),"
    r".{0,400}?Timeout\(ms\)=(?P<limit>\d+)\).{0,400}?ran for (?P<ran>\d+) milliseconds"
)
XIDS = {
    13: phrase("a graphics engine exception: usually the program accessed memory out of bounds"),
    31: phrase("a GPU memory page fault: the program accessed an address that is not mapped"),
    43: phrase("the GPU stopped processing: the program ran into an error"),
    48: phrase("a double-bit ECC error: the GPU's memory failed"),
    63: phrase("ECC page retirement or row remapping was recorded"),
    64: phrase("ECC page retirement or row remapping failed"),
    74: phrase("an NVLink error"),
    79: phrase("the GPU has fallen off the bus"),
    94: phrase("a contained ECC error: only this program is affected"),
    95: phrase("an uncontained ECC error: the GPU needs a reset"),
    119: phrase("the GPU's firmware (GSP) did not answer in time"),
}
XID = re.compile(r"NVRM: Xid \((?P<place>[^()]+)\): (?P<number>\d+)")

_ROWS: tuple[tuple[FaultKind, str, str], ...] = (
    ("out_of_memory", r"(?:Memory cgroup o|O)ut of memory: Killed process (?P<pid>\d+) \((?P<name>[^)]*)\)(?:.{0,400}?anon-rss:(?P<rss>\d+)kB)?",
     "The kernel's OOM killer ended process {pid} ({name}): the host or its memory limit had no memory left"),
    ("out_of_memory", r"oom[-_]kill(?: event|:constraint=|er)|Detected \d+ oom.kill event",
     "The OOM killer of the kernel ended a process of the job: its memory limit was reached"),
    ("time_limit", r"CANCELLED AT (?P<at>\S+) DUE TO TIME LIMIT", "Slurm ended the job at {at}: its time limit was reached"),
    ("preempted", r"CANCELLED AT (?P<at>\S+) DUE TO PREEMPTION", "Slurm ended the job at {at}: it was preempted by another one"),
    ("preempted", r"CANCELLED AT (?P<at>\S+) DUE TO NODE FAILURE", "Slurm ended the job at {at}: a node failed"),
    ("preempted", r"slurmstepd: error: \*\*\* (?:JOB|STEP) \S+ ON \S+ CANCELLED AT (?P<at>\S+)", "Slurm cancelled the job at {at}"),
    ("disk_full", r"No space left on device", "The disk is full: nothing could be written any more"),
    ("disk_full", r"Disk quota exceeded", "The disk quota is used up: nothing could be written any more"),
    ("shared_memory", r"[Bb]us error.{0,400}(?:shared memory|\(shm\)|shm)",
     "A data loader's worker ran out of shared memory: make /dev/shm larger (docker run --shm-size) or use fewer workers"),
    ("worker", r"DataLoader worker \(pid\(?s?\)? ?(?P<pid>[\d, ]+)\) (?:is killed by signal: (?P<what>[\w ]+)|exited unexpectedly)",
     "The data loader's worker {pid} ended: {what}"),
    ("cuda", r"device-side assert triggered",
     "An assertion in a CUDA kernel failed: usually an index is out of range, such as a label beyond the number of classes"),
    ("cuda", r"an illegal memory access was encountered|invalid device pointer",
     "A CUDA kernel read or wrote an address that is not its own: run with CUDA_LAUNCH_BLOCKING=1 to find which"),
    ("cuda", r"uncorrectable ECC error encountered", "The GPU's memory has an uncorrectable ECC error: the hardware is at fault"),
    ("cuda", r"[Uu]ncorrectable NVLink error|peer GPU memory over nvlink", "NVLink failed, or a GPU that was reached through it"),
    ("cuda", r"no kernel image is available for execution on the device",
     "This build of CUDA code has no kernels for the GPU: install a build for its compute capability"),
    ("cuda", r"CUDA driver version is insufficient", "The NVIDIA driver is older than this CUDA runtime needs: update the driver"),
    ("cuda", r"CUDA error: unspecified launch failure", "A CUDA kernel failed on the device, usually by an invalid address"),
    ("cuda", r"CUDA error: misaligned address", "A CUDA kernel used an address that is not aligned to its type"),
    ("cuda", r"CUDA error: invalid device ordinal", "A GPU was asked for that is not there: see CUDA_VISIBLE_DEVICES"),
    ("cuda", r"all CUDA-capable devices are busy or unavailable", "The GPU is in use by another process in exclusive mode, or unavailable"),
    ("cuda", r"CUBLAS_STATUS_(?P<what>\w+)", "cuBLAS failed with {what}: often the GPU has no memory left"),
    ("cuda", r"CUDA error: (?P<what>[^\n]*\S)", "CUDA reports: {what}"),
    ("collective", r"Timed out waiting (?P<ms>\d+)ms for (?P<what>send|recv) operation",
     "A collective of gloo timed out: the other rank did not {what} within {ms} ms"),
    ("peer_gone", r"Connection closed by peer|Connection reset by peer", "Another rank is gone: its connection was closed"),
)  # fmt: skip
ROWS = tuple(FaultPattern(kind, re.compile(pattern), template) for kind, pattern, template in _ROWS)


def fault_in(text: str) -> FaultMatch | None:
    """The first row that matches."""
    if found := OUT_OF_MEMORY.search(text):
        return FaultMatch("cuda", _memory(found.groupdict()), None)
    if found := NCCL.search(text):
        said = phrase(
            "A collective of NCCL timed out: rank {rank} waited {waited_s:,.0f} s in {what} number {number} for the other ranks, the limit is {limit_s:,.0f} s",
            rank=found["rank"],
            waited_s=int(found["ran"]) / 1000,
            what=found["what"],
            number=found["number"],
            limit_s=int(found["limit"]) / 1000,
        )
        return FaultMatch("collective", said, int(found["rank"]))
    if found := DEVICE_ASSERT.search(text):
        said = phrase(
            "The assertion `{what}` of a CUDA kernel failed: usually an index is out of range, such as a label beyond the number of classes",
            what=found["what"],
        )
        return FaultMatch("cuda", said, None)
    if found := XID.search(text):
        said = phrase(
            "The driver reports Xid {number} of GPU {place}: {meaning}",
            number=found["number"],
            place=found["place"],
            meaning=XIDS.get(int(found["number"]), phrase("see NVIDIA's list of Xid errors")),
        )
        return FaultMatch("cuda", said, None)
    for row in ROWS:
        if found := row.pattern.search(text):
            values = {name: value or phrase("no reason is given") for name, value in found.groupdict().items()}
            return FaultMatch(row.kind, phrase(row.template, **values), None)
    return None


def _memory(words: dict[str, str | None]) -> Message:
    room = used = None
    if words["total"]:
        room = phrase(", {free} of {total} were free", free=words["free"], total=words["total"])
    if words["used"]:
        used = phrase(
            "; PyTorch held {used} and {reserved} more in its cache", used=words["used"], reserved=words["reserved"]
        )
    return phrase(
        "{gpu} ran out of memory: {asked} were asked for{room}{used}",
        gpu=phrase("GPU {gpu}", gpu=words["gpu"]) if words["gpu"] else phrase("The GPU"),
        asked=words["asked"],
        room=room,
        used=used,
    )


AROUND_S = 180.0  # before the last fault: what is as near as that may have led to it
OUTLIVED_S = 5.0  # what ends a process leaves it this long to say more, at most
MAX_FAULTS, MAX_LINES, MAX_CHARACTERS = 20, 400, 300
NOT_OURS = re.compile(r"site-packages|dist-packages|/lib/python\d|^<frozen |^<string>$")
CONSEQUENCES = (
    "ChildFailedError",
    "DistBackendError",
    "BrokenPipeError",
    "ConnectionResetError",
    "EOFError",
    "CalledProcessError",
)
STOPPED = ("KeyboardInterrupt", "SystemExit", "SignalException")  # the end was asked for
ROOT_CAUSE = re.compile(r"Root Cause \(first observed failure\):")
SUMMARY = re.compile(r"^\s*(?P<key>rank|exitcode|traceback)\s*: (?P<value>.+)$")
NUMBER = re.compile(r"-?\d+")
ABORTED = re.compile(r"terminate called after throwing an instance of '(?P<what>[^']+)'")
SIGNAL = re.compile(r"^(?P<what>Segmentation fault|Aborted|Killed|Bus error|Illegal instruction)(?: \(core dumped\))?$")


class Fault(NamedTuple):
    """One thing that went wrong."""

    kind: FaultKind
    said: Message
    time_s: float
    rank: int | None
    lines: tuple[LogLine, ...]
    frames: tuple[CrashFrame, ...] = ()  # from the root to the leaf; () without Python's stack
    exception: str = ""
    message: str = ""
    led_by: tuple[ExceptionRecord, ...] = ()  # earlier exceptions of a chain, the first one first; the parts of a group

    @property
    def sentence(self) -> str:
        return text_of(self.said)

    @property
    def own_frame(self) -> CrashFrame | None:
        return own_frame(self.frames)


def own_frame(frames: Sequence[CrashFrame]) -> CrashFrame | None:
    """The innermost that is not of a library."""
    return next(
        (frame for frame in reversed(frames) if not NOT_OURS.search(frame.file)), frames[-1] if frames else None
    )


class Crash(NamedTuple):
    """The fault that was first among those at the end of the run, and the others in their order."""

    cause: Fault
    others: tuple[Fault, ...]
    ranks: int  # that failed


def crash_of(
    lines: Sequence[LogLine],
    kernel: Sequence[LogLine] = (),
    went_on_until_s: float | None = None,
    stepped_s: Sequence[float] = (),
    *,
    uncaught_only: bool = False,
) -> Crash | None:
    """`lines` are the last ones of the run, of all files and ranks, by arrival; `kernel` the kernel log's of that time. None without a fault.

    An exception was caught if the run made several steps after it (`stepped_s`, when each was logged, in order) or, where nothing says that
    the run failed, if it said something long after it: `went_on_until_s` is when it last did. `uncaught_only` is for a run of which nothing
    says that anything went wrong: what its program printed of exceptions that it caught is not why it ended.
    """
    found = tracebacks(lines)
    inside = {id(line) for traceback in found for line in traceback.lines}
    found = [traceback for traceback in found if traceback.is_uncaught or not uncaught_only]
    faults = [
        _of_traceback(traceback) for traceback in found if not _is_outlived(traceback, went_on_until_s, stepped_s)
    ]
    faults += _of_lines([line for line in lines if id(line) not in inside])
    faults += [fault for fault in _of_lines(kernel) if fault.kind in ("out_of_memory", "cuda")]
    faults += _of_torchrun(lines)
    if not faults:
        return None
    last_s = max(fault.time_s for fault in faults)
    near = sorted((fault for fault in faults if fault.time_s >= last_s - AROUND_S), key=lambda fault: fault.time_s)
    cause = min(near, key=lambda fault: (_weight(fault), fault.time_s))
    if cause.kind == "exception" and cause.rank is None:
        cause = [fault for fault in near if _weight(fault) == _weight(cause)][
            -1
        ]  # of one process, the last that was raised
    ranks = {fault.rank for fault in near if fault.rank is not None}
    others = tuple(fault for fault in near if fault is not cause)
    return Crash(cause._replace(said=_with_rank(cause, len(ranks))), others[-MAX_FAULTS:], len(ranks))


def _is_outlived(traceback: Traceback, went_on_until_s: float | None, stepped_s: Sequence[float]) -> bool:
    """Of one rank of several, what the others said later is no sign of its life."""
    if traceback.rank is not None or traceback.is_dump:
        return False
    if went_on_until_s is not None and traceback.time_s + OUTLIVED_S < went_on_until_s:
        return True
    said_s = traceback.lines[-1].time_s
    return makes_steps([time_s for time_s in stepped_s if time_s > said_s])


def _weight(fault: Fault) -> int:
    """The least explains the others: what the machine reports before what Python raises of it, and that before what follows in other ranks."""
    if fault.kind == "peer_gone" or fault.exception.rpartition(".")[2] in CONSEQUENCES:
        return 4
    if fault.kind == "exit":
        return 3
    if fault.exception in STOPPED:
        return 2
    return 0 if fault.kind in ("out_of_memory", "time_limit", "preempted", "shared_memory") else 1


def _of_traceback(traceback: Traceback) -> Fault:
    last = traceback.last
    rank, lines = traceback.rank, traceback.lines[-MAX_LINES:]
    if traceback.is_dump:
        at = _at(last.frames)
        dumped = phrase(
            "Python was ended by a fatal error, {error}{what}{at}",
            error=last.exception,
            what=phrase(": {message}", message=last.message) if last.message else None,
            at=at,
        )
        return Fault("fatal", dumped, traceback.time_s, rank, lines, last.frames, last.exception, last.message)
    fault = fault_in(f"{last.exception}: {last.message}")
    name = last.exception or phrase("an exception")
    message = shortened(last.message.split("\n")[0], MAX_CHARACTERS)
    sentence = (
        phrase("{fault} ({error}{at})", fault=fault.said, error=name, at=_at(last.frames))
        if fault
        else phrase(
            "{error}{message}{at}",
            error=name,
            message=phrase(": {message}", message=message) if message else None,
            at=_at(last.frames),
        )
    )
    led_by = (*traceback.raised[:-1], *traceback.parts)
    kind = fault.kind if fault else "exception"
    return Fault(kind, sentence, traceback.time_s, rank, lines, last.frames, last.exception, last.message, led_by)


def _at(frames: Sequence[CrashFrame]) -> Message | None:
    """`, at train.py:42 in step`"""
    frame = own_frame(frames)
    if frame is None:
        return None
    return phrase(
        ", at {file}:{line}{function}",
        file=frame.file.replace("\\", "/").rpartition("/")[2],
        line=frame.line,
        function=phrase(" in {function}", function=frame.function) if frame.function else None,
    )


def _of_lines(lines: Sequence[LogLine]) -> list[Fault]:
    """Of lines that are no part of a traceback; the first of equal sentences."""
    found: dict[str, Fault] = {}
    for line in lines:
        text = line.text.strip()
        fault = fault_in(text)
        if fault is None and (signal := SIGNAL.match(text)):
            found.setdefault(
                text,
                Fault(
                    "fatal",
                    phrase("The process was ended by a signal: {signal}", signal=signal["what"]),
                    line.time_s,
                    line.rank,
                    (line,),
                ),
            )
        elif fault is None and (aborted := ABORTED.search(text)):
            found.setdefault(
                text,
                Fault(
                    "fatal",
                    phrase("C++ code threw {what}, which ended the process", what=aborted["what"]),
                    line.time_s,
                    line.rank,
                    (line,),
                ),
            )
        elif fault is not None and len(found) < MAX_FAULTS:
            rank = fault.rank if fault.rank is not None else line.rank
            found.setdefault(text_of(fault.said), Fault(fault.kind, fault.said, line.time_s, rank, (line,)))
    return list(found.values())


def _of_torchrun(lines: Sequence[LogLine]) -> list[Fault]:
    """The root cause in torchrun's own summary: which rank failed first, by which exit code."""
    for place in range(len(lines) - 1, -1, -1):
        if ROOT_CAUSE.search(lines[place].text):
            said = {
                found["key"]: found["value"]
                for line in lines[place : place + 12]
                if (found := SUMMARY.match(line.text))
            }
            rank = NUMBER.search(said.get("rank", ""))
            code = NUMBER.search(said.get("exitcode", ""))
            if rank is None or code is None:
                return []
            how = said.get("traceback", "")
            signal = how.split("(")[-1].rstrip(")") if how.startswith("Signal") else None
            failed = phrase(
                "Rank {rank} failed first, with exit code {code}{signal}",
                rank=rank[0],
                code=code[0],
                signal=phrase(" ({signal})", signal=signal) if signal is not None else None,
            )
            return [Fault("exit", failed, lines[place].time_s, int(rank[0]), tuple(lines[place : place + 8]))]
    return []


def _with_rank(fault: Fault, ranks: int) -> Message:
    """A sentence of its own."""
    if fault.rank is None or fault.kind in ("exit", "collective"):
        return phrase("{fault}.", fault=fault.said)
    if ranks < 2:
        return phrase("Rank {rank}: {fault}.", rank=fault.rank, fault=fault.said)
    return phrase(
        "Rank {rank}, the first of {ranks} ranks that failed: {fault}.",
        rank=fault.rank,
        ranks=ranks,
        fault=fault.said,
    )
