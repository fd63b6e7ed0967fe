"""Traces of several ranks of one job: rank by rank, and which rank the others waited for.

The kernel of a collective is shortest on the rank that came last (`analysis/collectives.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal, NamedTuple, TypeAlias

from ..collectives import wait_of
from .steps import Collective, StepTrace

ENDS_WITHIN_S = 5e-4  # of each other: kernels of one collective on cards with one clock
ENDS_APART = 10  # times the tolerance, at least: collectives of a rank, half of them
MIN_FOUND = 0.4  # of the collectives of the rank with the fewest, to believe that they are the same
CLOCKS_AGREE_S = 1e-3

Match: TypeAlias = Literal["sequence", "end"]


@dataclass
class RankRow:
    """Of one rank. What it waited and was waited for is of all matched collectives together, without the transfer itself."""

    trace: StepTrace
    matched: int = 0  # collectives that were found on another rank, too
    last: int = 0  # of them: the others waited for this rank
    waited_s: float = 0.0
    waited_for_s: float = 0.0  # the longest wait of another rank, of those collectives at which this rank was last


@dataclass
class RankComparison:
    """`by` is how collectives of two ranks are known to be the same: by process group and sequence, or by their end on one clock; None
    where none are. `said`: what cannot be said, in sentences."""

    rows: list[RankRow]
    by: Match | None = None
    matched: int = 0
    said: list[str] = field(default_factory=list)


class _Part(NamedTuple):
    """A rank's kernel of a collective."""

    rank: int
    collective: Collective

    @property
    def end_s(self) -> float:
        return self.collective.from_s + self.collective.seconds


def compare_ranks(traces: Iterable[StepTrace]) -> RankComparison | None:
    """Of those that say which rank they are, of each the first; None with fewer than two."""
    by_rank: dict[int, StepTrace] = {}
    for trace in traces:
        if trace.is_ranked and not trace.error:
            by_rank.setdefault(trace.rank, trace)
    if len(by_rank) < 2:
        return None
    found = RankComparison([RankRow(by_rank[rank]) for rank in sorted(by_rank)])
    sizes = {trace.world_size for trace in by_rank.values() if trace.world_size}
    if len(sizes) > 1:
        found.said.append(
            f"The traces are of jobs with {' and '.join(f'{size:,}' for size in sorted(sizes))} ranks, so their collectives are not compared."
        )
        return found
    steps = {(trace.first_step, trace.last_step) for trace in by_rank.values()}
    if len(steps) > 1:
        found.said.append("The ranks were traced in different steps.")
    matches = list(_by_sequence(by_rank))
    found.by = "sequence" if matches else None
    if not matches and (matches := _by_end(by_rank)):
        found.by = "end"
    found.matched = len(matches)
    rows = {row.trace.rank: row for row in found.rows}
    for parts in matches:
        _count(parts, rows)
    found.said += _said(found, by_rank, matches, max(sizes, default=0))
    return found


def _count(parts: Sequence[_Part], rows: dict[int, RankRow]) -> None:
    wait = wait_of({part.rank: part.collective.seconds for part in parts})
    for part in parts:
        row = rows[part.rank]
        row.matched += 1
        row.waited_s += part.collective.seconds - wait.work_s
        if part.rank == wait.last:
            row.last += 1
            row.waited_for_s += wait.longest_s


def _by_sequence(traces: dict[int, StepTrace]) -> Iterator[list[_Part]]:
    """One collective may have several kernels: the first of a rank is that of the others' first."""
    found: dict[tuple[str, str, int, int], list[_Part]] = {}
    for rank, trace in traces.items():
        seen: Counter[tuple[str, str, int]] = Counter()
        for one in trace.collectives:
            if one.sequence >= 0 and one.group:
                key = one.group, one.name, one.sequence
                found.setdefault((*key, seen[key]), []).append(_Part(rank, one))
                seen[key] += 1
    return (parts for parts in found.values() if len(parts) > 1)


def _by_end(traces: dict[int, StepTrace]) -> list[list[_Part]]:
    """Those that have no sequence; [] where too few end together to be the same on one clock."""
    kinds: dict[tuple[str, str], list[_Part]] = {}
    for rank, trace in traces.items():
        for one in trace.collectives:
            if one.sequence < 0:
                kinds.setdefault((one.group, one.name), []).append(_Part(rank, one))
    matches: list[list[_Part]] = []
    for parts in kinds.values():
        parts.sort(key=lambda part: part.end_s)
        within_s = min(ENDS_WITHIN_S, _usual_gap_s(parts) / ENDS_APART)
        together: list[_Part] = []
        for part in parts:
            if together and (
                part.end_s - together[0].end_s > within_s or any(part.rank == one.rank for one in together)
            ):
                matches.append(together)
                together = []
            together.append(part)
        matches.append(together)
    matches = [parts for parts in matches if len(parts) > 1]
    fewest = min(len(trace.collectives) for trace in traces.values())
    return matches if len(matches) >= MIN_FOUND * max(1, fewest) else []


def _usual_gap_s(parts: Sequence[_Part]) -> float:
    """The median time between the ends of one rank, of the rank where it is shortest."""
    gaps = []
    for rank in {part.rank for part in parts}:
        ends = [part.end_s for part in parts if part.rank == rank]
        gaps += [median(b - a for a, b in pairwise(ends))] if len(ends) > 1 else []
    return min(gaps, default=ENDS_WITHIN_S * ENDS_APART)


def _said(
    found: RankComparison, traces: dict[int, StepTrace], matches: Sequence[Sequence[_Part]], world_size: int
) -> list[str]:
    said = []
    if not any(trace.collectives for trace in traces.values()):
        return ["The traces have no kernels of collectives, so nothing says which rank the others waited for."]
    if found.by is None:
        said.append(
            "Which rank came last is not known: the traces do not number their collectives (newer versions of PyTorch do), and too few end at"
            " the same moment to be the same ones on one clock."
        )
    elif found.by == "end":
        said.append(
            "The traces do not number their collectives: those that end at the same moment are taken for the same, which holds for ranks"
            " with one clock, as on one host."
        )
    elif (apart_s := _clocks_apart_s(matches)) > CLOCKS_AGREE_S:
        said.append(
            f"The clocks of the ranks differ by {apart_s:.3g} s, by the ends of their collectives: durations are compared, and moments of"
            " two ranks are not."
        )
    if found.by and world_size > len(traces):
        said.append(
            f"{len(traces)} of {world_size:,} ranks are here: last means the last of these, and all of them may have waited for another one."
        )
    return said


def _clocks_apart_s(matches: Sequence[Sequence[_Part]]) -> float:
    """The largest offset of any rank to the one that it shares most collectives with, as the median of its ends."""
    offsets: dict[tuple[int, int], list[float]] = {}
    for parts in matches:
        first = parts[0]
        for part in parts[1:]:
            offsets.setdefault((first.rank, part.rank), []).append(part.end_s - first.end_s)
    return max(abs(median(ends)) for ends in offsets.values())
