"""Profiles: the samples of a window as columns, and how far they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from collectors.records import (
    ONE_AFTER_THE_OTHER_S,
    WITHOUT_A_GAP_S,
    Frame,
    StackRecording,
)
from collectors.store.store import Process, ResidentMemory, StackColumns


def columns(profiles: Sequence[StackRecording], lo: float, hi: float) -> StackColumns:
    """`profiles`: those of a run that are within the window."""
    frames: dict[Frame, int] = {}
    stacks: dict[tuple[int, ...], int] = {}
    processes: dict[Process, int] = {}
    rows: list[tuple[Any, ...]] = []
    for profile in profiles:
        process = processes.setdefault(Process(profile.run, profile.rank, profile.pid, profile.role), len(processes))
        for sample in profile.samples:
            begun_s = profile.start_s + (sample.mono_ns - profile.start_mono_ns) / 1e9
            start_s, end_s = max(begun_s, lo), min(begun_s + sample.duration_ns / 1e9, hi)
            if start_s >= end_s:
                continue
            stack = stacks.setdefault(
                tuple(frames.setdefault(frame, len(frames)) for frame in sample.stack), len(stacks)
            )
            cpu_s = np.nan if sample.cpu_ns is None else sample.cpu_ns / 1e9
            gil = -1 if sample.gil is None else int(sample.gil)
            rows.append((start_s, end_s - start_s, process, sample.tid, stack, sample.resolved, gil, cpu_s))
    columns = list(zip(*sorted(rows, key=lambda row: row[0]), strict=True)) or [()] * 8
    types = (np.float64, np.float64, np.int32, np.int64, np.int32, np.bool_, np.int8, np.float64)
    arrays: list[Any] = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    threads = {(profile.pid, tid): name for profile in profiles for tid, name in profile.threads.items()}
    inside = [_share(profile, lo, hi) for profile in profiles]
    samples = round(sum(profile.count * share for profile, share in zip(profiles, inside, strict=True)))
    covered = _union([(max(span(profile)[0], lo), min(span(profile)[1], hi)) for profile in profiles])
    tables = list(frames), list(stacks), list(processes), threads
    return StackColumns(*tables, *arrays, samples, max((one.hz for one in profiles), default=0.0), covered)


def resident(profiles: Sequence[StackRecording], lo: float, hi: float) -> dict[Process, ResidentMemory]:
    """`profiles`: those of a run that are within the window."""
    rows: dict[Process, list[tuple[float, float]]] = {}
    for profile in profiles:
        for size in profile.resident:
            time_s = profile.start_s + (size.mono_ns - profile.start_mono_ns) / 1e9
            if lo <= time_s < hi:
                process = Process(profile.run, profile.rank, profile.pid, profile.role)
                rows.setdefault(process, []).append((time_s, size.kib * 1024.0))
    return {process: ResidentMemory(*np.array(sorted(sizes)).T) for process, sizes in rows.items()}


def reach(profiles: Sequence[StackRecording]) -> float | None:
    """As far as all processes of a run that were lately looked at."""
    ends: dict[tuple[str, int], float] = {}
    for profile in profiles:
        process = profile.host, profile.pid
        ends[process] = max(span(profile)[1], ends.get(process, 0.0))
    return min((end for end in ends.values() if end > max(ends.values()) - ONE_AFTER_THE_OTHER_S), default=None)


def is_within(profile: StackRecording, lo: float, hi: float) -> bool:
    return span(profile)[0] < hi and span(profile)[1] > lo


def span(profile: StackRecording) -> tuple[float, float]:
    return profile.start_s, profile.start_s + (profile.end_mono_ns - profile.start_mono_ns) / 1e9


def _share(profile: StackRecording, lo: float, hi: float) -> float:
    start_s, end_s = span(profile)
    return (min(end_s, hi) - max(start_s, lo)) / (end_s - start_s)


def _union(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for lo, hi in sorted(ranges):
        if found and lo <= found[-1][1] + WITHOUT_A_GAP_S:
            found[-1] = found[-1][0], max(hi, found[-1][1])
        else:
            found.append((lo, hi))
    return found
