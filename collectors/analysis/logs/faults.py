"""What a line of a log says went wrong, where it is not an exception of Python: the GPU, the kernel, the scheduler, the other ranks.

The wording and meaning of CUDA's errors are those of `cudaError_t` in NVIDIA's CUDA Runtime API documentation ("Data types used by
CUDA Runtime"), of Xid errors those of NVIDIA's "XID Errors" documentation. The messages of PyTorch are those of its CUDA caching
allocator ("CUDA semantics: Memory management"), of `ProcessGroupNCCL` and of `torch.utils.data`. Slurm's are those of `slurmstepd`.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

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
    """A pattern of a line, and the sentence on it, whose `{names}` are the pattern's groups. A strong fault explains an exception."""

    kind: FaultKind
    pattern: re.Pattern[str]
    sentence: str


class FoundFault(NamedTuple):
    kind: FaultKind
    sentence: str
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
    13: "a graphics engine exception: usually the program accessed memory out of bounds",
    31: "a GPU memory page fault: the program accessed an address that is not mapped",
    43: "the GPU stopped processing: the program ran into an error",
    48: "a double-bit ECC error: the GPU's memory failed",
    63: "ECC page retirement or row remapping was recorded",
    64: "ECC page retirement or row remapping failed",
    74: "an NVLink error",
    79: "the GPU has fallen off the bus",
    94: "a contained ECC error: only this program is affected",
    95: "an uncontained ECC error: the GPU needs a reset",
    119: "the GPU's firmware (GSP) did not answer in time",
}
XID = re.compile(r"NVRM: Xid \((?P<place>[^)]+)\): (?P<number>\d+)")

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
ROWS = tuple(FaultPattern(kind, re.compile(pattern), sentence) for kind, pattern, sentence in _ROWS)


def fault_in(text: str) -> FoundFault | None:
    """The first row that matches."""
    if found := OUT_OF_MEMORY.search(text):
        return FoundFault("cuda", _memory(found.groupdict()), None)
    if found := NCCL.search(text):
        what = (
            f"rank {found['rank']} waited {int(found['ran']) / 1000:,.0f} s in {found['what']} number {found['number']}"
        )
        limit = f"the limit is {int(found['limit']) / 1000:,.0f} s"
        return FoundFault(
            "collective", f"A collective of NCCL timed out: {what} for the other ranks, {limit}", int(found["rank"])
        )
    if found := DEVICE_ASSERT.search(text):
        usual = "usually an index is out of range, such as a label beyond the number of classes"
        return FoundFault("cuda", f"The assertion `{found['what']}` of a CUDA kernel failed: {usual}", None)
    if found := XID.search(text):
        meaning = XIDS.get(int(found["number"]), "see NVIDIA's list of Xid errors")
        return FoundFault("cuda", f"The driver reports Xid {found['number']} of GPU {found['place']}: {meaning}", None)
    for row in ROWS:
        if found := row.pattern.search(text):
            words = {name: value or "no reason is given" for name, value in found.groupdict().items()}
            return FoundFault(row.kind, row.sentence.format_map(words), None)
    return None


def _memory(words: dict[str, str | None]) -> str:
    gpu = f"GPU {words['gpu']}" if words["gpu"] else "The GPU"
    room = f", {words['free']} of {words['total']} were free" if words["total"] else ""
    used = f"; PyTorch held {words['used']} and {words['reserved']} more in its cache" if words["used"] else ""
    return f"{gpu} ran out of memory: {words['asked']} were asked for{room}{used}"
