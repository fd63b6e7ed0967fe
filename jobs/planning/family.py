"""What was measured of a family of jobs, and how long its next one is likely to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

UNKNOWN_S = 3600.0  # where no job has ended yet


class FamilyRecord(NamedTuple):
    """Of the jobs of one family on one kind of card; None is not measured."""

    peak_mib: float | None = None  # a slot
    activity: float | None = None  # of the SMs alone, 0 to 1
    data_bound: float = 0.0  # share of a step that waits for data, alone
    loader_cores: float = 0.0  # that its data loaders keep busy, a job
    units_per_s: float | None = None  # alone
    durations_s: tuple[float, ...] = ()  # of work, of jobs that ended by themselves, the newest last


NOTHING = FamilyRecord()


def predicted_s(record: FamilyRecord, usual_s: float) -> float:
    """Seconds of work: the mean of the last two (Tsafrir, Etsion, Feitelson 2007), else what is usual of all jobs. At least a second."""
    last = record.durations_s[-2:]
    return max(1.0, sum(last) / len(last) if last else usual_s)


def outlived(predicted: float, done_s: float) -> float:
    """A job that has outlived its prediction goes on for as long as it has run: durations have long tails."""
    return predicted if done_s < predicted else 2 * done_s


def longest_s(record: FamilyRecord, usually_long_s: float) -> float:
    """How long the next one may take, if it may not be late: as long as any before, where at least two are known."""
    return max(record.durations_s) if len(record.durations_s) > 1 else max(usually_long_s, *record.durations_s, 0.0)


def usual(records: Mapping[str, FamilyRecord]) -> tuple[float, float]:
    """The median of all durations that are known, and the length that one in ten exceeds."""
    durations = sorted(seconds for record in records.values() for seconds in record.durations_s)
    if not durations:
        return UNKNOWN_S, UNKNOWN_S
    return durations[len(durations) // 2], durations[int(0.9 * len(durations))]
