"""Reads what NCCL's Inspector writes: a file per process, a line per collective, without a change of the training script.

Its lines as of versions v4.0 to v4.3 of the format, where v4.3 gives the communicator once, before its collectives:
https://github.com/NVIDIA/nccl/blob/master/plugins/profiler/inspector/inspector_json.cc
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...records import COLLECTIVE_S, SAMPLED_S, SAMPLED_SEQUENCE, Points, Record, labels_of
from . import Arrival, Tally
from .jsonl import objects
from .values import as_count, as_number, as_time, escape_control

FOLDER = re.compile(
    r"(?:^|/)nccl-inspector[^/]*$"
)  # `nccl-inspector-<job>` unless NCCL_INSPECTOR_DUMP_DIR names another
FILE = re.compile(r".+-pid\d+\.log")
BUS_BYTES_PER_S, DROPPED = "nccl/bus_bytes_per_s", "nccl/dropped"
INTERVAL_S = 1.0
MAX_COMMUNICATORS = 64  # of a process
MAX_SAMPLED = 4  # collectives of one communicator and interval, of those that are read at once
SYMMETRIC = ("AllReduce", "AllGather", "AllGatherV", "ReduceScatter", "All2All")  # each rank needs all others
MAX_ID, MAX_RANKS, MAX_US, MAX_GB_PER_S = 64, 10_000_000, 1e12, 1e6


class _Dump(NamedTuple):
    """Of which communicator collectives are, and when they were written."""

    communicator: str
    rank: int  # in the communicator
    ranks: int
    host: str
    time_s: float


class _Sum:
    """Collectives of one communicator that were written in the same interval."""

    def __init__(self) -> None:
        self.seconds, self.bytes, self.timed_s, self.dropped, self.count = 0.0, 0.0, 0.0, 0, 0
        self._sampled: list[tuple[int, str, int, float]] = []
        self._limit = 1 << 32

    def sample(self, collective: Mapping[str, Any], seconds: float) -> None:
        """Keeps it where the hash of its sequence number is below a limit, which is halved when there are too many.

        So two ranks keep the same collectives, and one that is at another limit keeps a part of these or more.
        """
        sequence = collective.get("coll_sn")
        if type(sequence) is not int:
            return
        mixed = sequence * 0x85EBCA6B & 0xFFFFFFFF
        place = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF  # no rhythm of a step's collectives shows in it
        if place < self._limit and 0 <= sequence < 1 << 53 and (kind := collective.get("coll")) in SYMMETRIC:
            self._sampled.append((place, kind, sequence, seconds))
            while len(self._sampled) > MAX_SAMPLED:
                self._limit >>= 1
                self._sampled = [one for one in self._sampled if one[0] < self._limit]

    def sampled(self) -> dict[str, list[tuple[float, float]]]:
        """By kind, sequence numbers and seconds."""
        found: dict[str, list[tuple[float, float]]] = {}
        for _, kind, sequence, seconds in self._sampled:
            found.setdefault(kind, []).append((float(sequence), seconds))
        return found


class InspectorFile:
    """One process's file. Jobs have thousands of collectives a second: what is kept is sums of about a second, by communicator, and a sample
    of collectives, the same of each rank.

    The rank of the process is that in its largest communicator: in a smaller one ranks are counted anew.
    """

    def __init__(self, run: str, state: Mapping[str, Any]) -> None:
        self.tally = Tally()
        self._run = run
        self._shared: Mapping[str, Any] = {key: state[key] for key in ("header", "metadata") if key in state}
        self._ranks, self._rank = as_count(state.get("ranks")) or 0, as_count(state.get("rank")) or 0
        known = state.get("communicators")
        self._communicators: list[str] = list(known) if isinstance(known, list) else []

    def state(self) -> dict[str, Any]:
        own = {"ranks": self._ranks, "rank": self._rank, "communicators": self._communicators}
        return {**self._shared, **own}

    def parse(self, lines: Sequence[bytes], arrival: Arrival | None) -> list[Record]:
        sums: dict[tuple[str, str, float], _Sum] = {}
        for fields in objects(lines, self.tally):
            self._take(fields, sums)
        return [points for key, found in sums.items() for points in self._points(*key, found)]

    def _take(self, fields: Mapping[str, Any], sums: dict[tuple[str, str, float], _Sum]) -> None:
        statistics, collective = fields.get("dump_stats"), fields.get("coll_perf")
        if isinstance(statistics, dict):
            self._shared = {"header": fields.get("header"), "metadata": fields.get("metadata")}
        elif not isinstance(collective, dict):
            return  # point to point, or a step of the network
        dump = _dump_of(fields if "header" in fields else self._shared)
        if dump is None:
            self.tally.skip_line("a collective of no communicator")
            return
        if dump.communicator not in self._communicators:
            if len(self._communicators) >= MAX_COMMUNICATORS:
                self.tally.skip_line(f"more than {MAX_COMMUNICATORS} communicators")
                return
            self._communicators.append(dump.communicator)
        if dump.ranks >= self._ranks:
            self._ranks, self._rank = dump.ranks, dump.rank
        into = sums.setdefault((dump.communicator, dump.host, dump.time_s - dump.time_s % INTERVAL_S), _Sum())
        if isinstance(statistics, dict):
            into.dropped += as_count(statistics.get("coll_dropped_since_last_dump"), most=1 << 53) or 0
        elif isinstance(collective, dict):
            self._add(collective, into)

    def _add(self, collective: Mapping[str, Any], into: _Sum) -> None:
        us, speed = as_number(collective.get("coll_exec_time_us")), as_number(collective.get("coll_busbw_gbs"))
        if us is None or not 0 <= us < MAX_US:
            self.tally.skip_field("coll_exec_time_us", "is not a time in microseconds")
            return
        seconds = us / 1e6
        into.sample(collective, seconds)
        into.count += 1
        into.seconds += seconds
        if speed is not None and 0 <= speed < MAX_GB_PER_S:
            into.timed_s += seconds
            into.bytes += speed * 1e9 * seconds

    def _points(self, communicator: str, host: str, time_s: float, found: _Sum) -> Iterator[Points]:
        values: dict[str, float] = {}
        if found.count:
            values[COLLECTIVE_S] = found.seconds
        if found.timed_s:
            values[BUS_BYTES_PER_S] = found.bytes / found.timed_s
        values |= {DROPPED: float(found.dropped)} if found.dropped or not found.count else {}
        about = {"host": host, "rank": self._rank or None, "communicator": communicator}
        yield Points(self._run, labels_of(**about), tuple(values), tuple(values.values()), time_s, None)
        for kind, pairs in found.sampled().items():
            labels = labels_of(**about, collective=kind)
            for pair in pairs:
                yield Points(self._run, labels, (SAMPLED_SEQUENCE, SAMPLED_S), pair, time_s, None)


def _dump_of(fields: Mapping[str, Any]) -> _Dump | None:
    header, metadata = fields.get("header"), fields.get("metadata")
    if not isinstance(header, dict) or not isinstance(metadata, dict):
        return None
    ranks, rank = as_count(header.get("n_ranks"), 1, MAX_RANKS), as_count(header.get("rank"), 0, MAX_RANKS)
    us = as_number(metadata.get("dump_timestamp_us"))
    time_s = None if us is None else as_time(us / 1e6)
    communicator, host = header.get("id"), metadata.get("hostname")
    if ranks is None or rank is None or time_s is None or not isinstance(communicator, str):
        return None
    named = escape_control(host[:MAX_ID]) if isinstance(host, str) else ""
    return _Dump(escape_control(communicator[:MAX_ID]), rank, ranks, named, time_s)


def run_folder(path: Path) -> Path:
    """`.../a/nccl-inspector-123/box-pid7.log -> .../a`"""
    return path.parent.parent
