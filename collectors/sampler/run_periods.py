"""Which runs a sampled process was of, and from when to when: a script may log one run after the other, and a window of samples reach over several.

A run begins with its start event and ends with its end event, as it was written. What the process does between two runs is the first
one's, and what it does when the last one has ended is no run's. A run that tells neither begins with the last line of the run before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..machine.run_state import RunActivity, RunProcess, end_of
from ..records import StackRecording, StackSpan

REMEMBERED_S = 60.0  # after a process has left its last run: by then its last window has arrived
NS = 1e9


class RunPeriod(NamedTuple):
    """A process's time in a run, Unix seconds; without an end while it lasts."""

    run: str
    rank: int
    from_s: float
    until_s: float = math.inf


class _Process(NamedTuple):
    start_ticks: int
    spells: list[RunPeriod]


class RunPeriods:
    """Of all processes that were lately sampled."""

    def __init__(self) -> None:
        self._of: dict[int, _Process] = {}  # by pid
        self._looked_s = 0.0  # Unix seconds

    def look(self, found: Mapping[str, Sequence[RunProcess]], activities: Mapping[str, RunActivity]) -> None:
        """`found`: the processes of each run now."""
        now_s = time.time()
        here: dict[int, dict[str, RunProcess]] = {}
        for run, processes in found.items():
            for process in processes:
                here.setdefault(process.pid, {})[run] = process
        for pid in here.keys() | self._of.keys():
            known = self._of.get(pid)
            runs = here.get(pid, {})
            ticks = next((process.start_ticks for process in runs.values()), known.start_ticks if known else 0)
            before = known.spells if known and known.start_ticks == ticks else []
            spells = self._looked_at(RunProcess(pid, 0, ticks), before, runs, activities, now_s)
            self._of[pid] = _Process(ticks, [spell for spell in spells if spell.until_s > now_s - REMEMBERED_S])
        self._of = {pid: known for pid, known in self._of.items() if known.spells}
        self._looked_s = now_s

    def left_s(self, pid: int, start_ticks: int) -> float:
        """When a process has left its last run; infinite while it has one."""
        known = self._of.get(pid)
        return (
            max((spell.until_s for spell in known.spells), default=-math.inf)
            if known and known.start_ticks == start_ticks
            else -math.inf
        )

    def is_known(self, pid: int) -> bool:
        return pid in self._of

    def parts(self, profile: StackRecording, pid: int) -> list[StackRecording]:
        """A window for each run of its process, or of the process `pid` above that, as far as it lies in the run; whole where nothing is known."""
        known = self._of.get(pid)
        if known is None:
            return [profile]
        parts = ((spell, part_of(profile, spell.from_s, spell.until_s)) for spell in known.spells)
        return [part._replace(run=spell.run, rank=spell.rank) for spell, part in parts if part is not None]

    def _looked_at(
        self,
        process: RunProcess,
        before: Sequence[RunPeriod],
        here: Mapping[str, RunProcess],
        activities: Mapping[str, RunActivity],
        now_s: float,
    ) -> list[RunPeriod]:
        over = [spell for spell in before if spell.until_s < math.inf]
        lasting = [spell for spell in before if spell.until_s == math.inf and spell.run in here]
        left = [spell for spell in before if spell.until_s == math.inf and spell.run not in here]
        signs_s = [_last_sign_s(spell, process, activities.get(spell.run), now_s) for spell in left]
        since_s = max(signs_s, default=self._looked_s)
        lasting_runs = {spell.run for spell in lasting}
        earlier = {spell.run: spell.until_s for spell in over}
        begun = [
            RunPeriod(
                run,
                one.rank,
                max(_began_s(activities.get(run), one, since_s, now_s), earlier.get(run, 0.0)) if before else -math.inf,
            )
            for run, one in here.items()
            if run not in lasting_runs
        ]
        begins_s = [spell.from_s for spell in (*lasting, *begun)]
        ended = [
            spell._replace(until_s=min((begin_s for begin_s in begins_s if begin_s >= sign_s), default=sign_s))
            for spell, sign_s in zip(left, signs_s, strict=True)
        ]
        return [*over, *ended, *lasting, *begun]


def _last_sign_s(spell: RunPeriod, process: RunProcess, activity: RunActivity | None, now_s: float) -> float:
    """When a run that the process has left had ended: by its end event, else its last line."""
    if activity is None:
        return now_s
    end = end_of(activity, process._replace(rank=spell.rank))
    ended_s = activity.last_line_s if end is None else end.time_s
    return now_s if ended_s is None else min(ended_s, now_s)


def _began_s(activity: RunActivity | None, process: RunProcess, since_s: float, now_s: float) -> float:
    """When a process began a run: by its start event, which in a container has another pid, else `since_s`."""
    starts = () if activity is None else activity.starts
    named = (
        start.rank == process.rank and start.fields.get("pid_start_ticks") == process.start_ticks for start in starts
    )
    times = [start.time_s for start, is_named in zip(starts, named, strict=True) if is_named]
    return min(max(times, default=since_s), now_s)


def part_of(profile: StackRecording, from_s: float, until_s: float) -> StackRecording | None:
    """What of a window lies between two moments, Unix seconds; None where nothing does."""
    length_ns = profile.end_mono_ns - profile.start_mono_ns
    lo_ns = _within((from_s - profile.start_s) * NS, length_ns)
    hi_ns = _within((until_s - profile.start_s) * NS, length_ns)
    if hi_ns <= lo_ns:
        return None
    if hi_ns - lo_ns == length_ns:
        return profile
    start_ns, end_ns, share = profile.start_mono_ns + lo_ns, profile.start_mono_ns + hi_ns, (hi_ns - lo_ns) / length_ns
    samples = [*_cut(profile.samples, start_ns, end_ns)]
    tids = {sample.tid for sample in samples}
    return profile._replace(
        start_s=profile.start_s + lo_ns / NS,
        start_mono_ns=start_ns,
        end_mono_ns=end_ns,
        threads={tid: name for tid, name in profile.threads.items() if tid in tids},
        samples=samples,
        resident=[size for size in profile.resident if start_ns <= size.mono_ns < end_ns],
        count=round(profile.count * share),
        errors=round(profile.errors * share),
    )


def _within(offset_ns: float, length_ns: int) -> int:
    return round(min(max(offset_ns, 0.0), float(length_ns)))


def _cut(samples: Iterable[StackSpan], start_ns: int, end_ns: int) -> Iterable[StackSpan]:
    for sample in samples:
        lo_ns, hi_ns = max(sample.mono_ns, start_ns), min(sample.mono_ns + sample.duration_ns, end_ns)
        if hi_ns > lo_ns:
            cpu_ns = None if sample.cpu_ns is None else sample.cpu_ns * (hi_ns - lo_ns) // sample.duration_ns
            yield sample._replace(mono_ns=lo_ns, duration_ns=hi_ns - lo_ns, cpu_ns=cpu_ns)
