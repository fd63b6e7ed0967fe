"""Sample one process for some seconds, and report in a few lines of text where its time went."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from ..machine.proc import alive, start_ticks
from ..message import percent
from ..records import Frame, StackRecording, StackSpan
from . import Target
from .samplers import FallbackSampler

PYTHONS = "list those of Python with: pgrep -af python"
HZ = 100.0
HOTTEST = 10
THREADS = 20
POLL_S = 0.05
GRACE_S = 2.0  # for what was recorded of a process that has ended
NS = 1e9
COMPUTES = 0.1  # of a core, on the average: a thread that waits has next to nothing of one

WaitOf: TypeAlias = Callable[[tuple[Frame, ...]], str]
"""What a stack waits for, `"data loader"`; "" where it is at work."""


class ReportRefused(Exception):
    """The process cannot be sampled; the text is one sentence with the remedy."""


def record_profiles(pid: int, seconds: float, sampler: FallbackSampler, wait_of: WaitOf) -> list[str]:
    """Closes the sampler. Raises ReportRefused."""
    with contextlib.closing(sampler):
        ticks = start_ticks(pid)
        if ticks is None:
            raise ReportRefused(f"there is no process {pid}; {PYTHONS}")
        profiles = _record(sampler, Target("", 0, pid, ticks, "main", HZ), seconds)
    return list(lines(profiles, pid, wait_of))


def lines(profiles: list[StackRecording], pid: int, wait_of: WaitOf) -> Iterator[str]:
    """The main thread's hottest lines and waits, then a line for each other thread."""
    threads: dict[int, list[StackSpan]] = {}
    for sample in (sample for profile in profiles for sample in profile.samples):
        threads.setdefault(sample.tid, []).append(sample)
    if not threads:
        yield f"Process {pid} showed no Python stack."
        return
    names = {tid: name for profile in profiles for tid, name in profile.threads.items()}
    seconds, samples = _seen_s(profiles), sum(profile.count for profile in profiles)
    yield f"Process {pid}: {seconds:.1f} s by {profiles[-1].sampler} at {profiles[-1].hz:g} Hz, {samples:,} samples"
    main = threads.pop(pid, [])
    yield from ["", f"{names.get(pid) or 'MainThread'}: {_times(main, wait_of)}", "   own s   share  line"]
    for frame, own_ns in _hottest(main).most_common(HOTTEST):
        yield f"{own_ns / NS:8.2f}  {percent(100 * own_ns / _total_ns(main)):>6}  {_place(frame)}"
    yield from _others(threads, names, wait_of)


def _record(sampler: FallbackSampler, target: Target, seconds: float) -> list[StackRecording]:
    """The profiles of that many seconds, of fewer if the process ends or Ctrl-C comes first. Raises ReportRefused."""
    profiles: list[StackRecording] = []
    give_up_s = float("inf")
    sampler.follow([target])
    sampler.hurry(float("inf"))
    with contextlib.suppress(KeyboardInterrupt):
        while _seen_s(profiles) < seconds and time.monotonic() < give_up_s:
            profiles += sampler.profiles()
            if trouble := sampler.troubles().get(target.pid):
                raise ReportRefused(f"{trouble.sentence.rstrip('.')}; {trouble.remedy or PYTHONS}")
            if not alive(target.pid, target.start_ticks):
                give_up_s = min(give_up_s, time.monotonic() + GRACE_S)
            time.sleep(POLL_S)
    return profiles


def _others(threads: Mapping[int, list[StackSpan]], names: Mapping[int, str], wait_of: WaitOf) -> Iterator[str]:
    """Sorted, the threads that wait least first."""
    if threads:
        yield ""
    busiest = sorted(threads, key=lambda tid: _waited(threads[tid], wait_of).total() - _total_ns(threads[tid]))
    for tid in busiest[:THREADS]:
        ((frame, _),) = _hottest(threads[tid]).most_common(1)
        yield f"{names.get(tid, tid)}: {_times(threads[tid], wait_of)}, most at {_place(frame)}"
    if len(busiest) > THREADS:
        yield f"... and {len(busiest) - THREADS} more threads"


def _times(samples: Sequence[StackSpan], wait_of: WaitOf) -> str:
    """`"38% waiting (data loader 31%, queue 7%), 55% on a CPU, 7% asleep or in the kernel"`; the CPU where the sampler knows it"""
    if not samples:
        return "not seen"
    total_ns, waited = _total_ns(samples), _waited(samples, wait_of)
    kinds = ", ".join(f"{what} {percent(100 * ns / total_ns)}" for what, ns in waited.most_common())
    said = f"{percent(100 * waited.total() / total_ns)} waiting{f' ({kinds})' if kinds else ''}"
    known = [sample for sample in samples if sample.cpu_ns is not None]
    if not known:
        return said
    cpu_ns = sum(sample.cpu_ns or 0 for sample in known)
    off_ns = sum(sample.duration_ns for sample in known) - cpu_ns - _waited(known, wait_of).total()
    off = f", {percent(100 * off_ns / total_ns)} asleep or in the kernel" if off_ns >= total_ns / 200 else ""
    return f"{said}, {percent(100 * cpu_ns / total_ns)} on a CPU{off}"


def _waited(samples: Iterable[StackSpan], wait_of: WaitOf) -> Counter[str]:
    """Nanoseconds without a core by kind of wait. A kind that has a tenth of a core or more computes, as a backward pass does on the CPU."""
    all_ns: Counter[str] = Counter()
    cpu_ns: Counter[str] = Counter()
    for sample in samples:
        if what := wait_of(sample.stack):
            all_ns[what] += sample.duration_ns
            cpu_ns[what] += sample.cpu_ns or 0
    return Counter({what: ns - cpu_ns[what] for what, ns in all_ns.items() if cpu_ns[what] < COMPUTES * ns})


def _hottest(samples: Iterable[StackSpan]) -> Counter[Frame]:
    """Nanoseconds by a thread's line."""
    own: Counter[Frame] = Counter()
    for sample in samples:
        own[sample.stack[-1]] += sample.duration_ns
    return own


def _total_ns(samples: Iterable[StackSpan]) -> int:
    return sum(sample.duration_ns for sample in samples)


def _seen_s(profiles: Iterable[StackRecording]) -> float:
    return sum(profile.end_mono_ns - profile.start_mono_ns for profile in profiles) / NS


def _place(frame: Frame) -> str:
    """`data.py:88 decode_image`, with the folder where the name alone says nothing: `models/__init__.py:3 build`."""
    parts = frame.file.split("/")
    return f"{'/'.join(parts[-2:] if parts[-1] == '__init__.py' else parts[-1:])}:{frame.line} {frame.name}"
