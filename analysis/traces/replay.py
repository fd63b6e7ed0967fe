"""What a distributed job's steps would have taken had some operations taken their usual time: which rank, stage or kind of operation
holds it up, and what is to be fixed.

    found = replay_of(operations)        # analysis.traces.operations reads them from a file
    found.slowdown, found.by_stage, found.causes[0]

An operation begins when all that it waits for has ended. That gives a graph, and a pass through it in topological order gives the end of a
step for any set of durations. The method and its definitions are those of J. Lin et al., "Understanding Stragglers in Large Model Training
Using What-if Analysis" (OSDI 2025, arXiv:2505.05713), in the details those of its artifact (github.com/ByteDance-Seed/StragglerAnalysis,
named below by its files). Each is stated where it is computed; what is not theirs is said to be ours. Steps are independent: memory and
time grow with the number of rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from statistics import NormalDist
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from collectors.arrays import Bools, Floats, Ints

FORWARD, BACKWARD = "forward-compute", "backward-compute"
FORWARD_SEND, FORWARD_RECEIVE = "forward-send", "forward-recv"
BACKWARD_SEND, BACKWARD_RECEIVE = "backward-send", "backward-recv"
GATHER, SCATTER, SEPARATE = "params-all-gather", "grads-reduce-scatter", "separate-grads-all-reduce"
LAYERNORM, EMBEDDING = "layernorm-grads-all-reduce", "embedding-grads-all-reduce"
COLLECTION, CLIP, OPTIMIZER = "gc", "optimizer-clip-main-grad", "optimizer"

COMPUTE: Final = (FORWARD, BACKWARD)
TRANSFERS: Final = (FORWARD_SEND, FORWARD_RECEIVE, BACKWARD_SEND, BACKWARD_RECEIVE)
COLLECTIVES: Final = (GATHER, SCATTER, SEPARATE)  # of the ranks of a stage
COMMUNICATION: Final = (*TRANSFERS, *COLLECTIVES, LAYERNORM, EMBEDDING, CLIP)
KINDS: Final = (*COMPUTE, *COMMUNICATION, COLLECTION, OPTIMIZER)
TYPE_OF: Final = {
    FORWARD_SEND: "forward-pp-comm",
    FORWARD_RECEIVE: "forward-pp-comm",
    BACKWARD_SEND: "backward-pp-comm",
    BACKWARD_RECEIVE: "backward-pp-comm",
}  # a transfer is recorded on both of its sides

CLOCKS_APART_S = 5e-5  # of two ranks, where a transfer is matched with what it serves
LATEST_S = 0.01  # a rank that ended this long before the last one began was not in the same collective
WORST_PCT = 3  # of the workers
MIN_SLOWDOWN = 1.03  # below it nothing holds the job up
BY_CHANCE = 0.01  # how likely a worker of a job without slow ones is said to be slow
QUARTILES_APART = 1.349  # of a normal distribution, in its standard deviation
MAX_TIME_S = 1e12
MAX_STEPS, MAX_STAGES, MAX_WORKERS = 1_000_000, 1_024, 131_072
MAX_OPERATIONS = 200_000  # of one replica of the model in one step
MAX_BY_STEP = 1_000_000  # numbers by step that are given
CLOSE = 1 << 22  # of what is numbered: the greatest less the least
MAX_NAMED, MAX_TEXT = 5, 200
NONE = -1
BLOCK = 1 << 17  # durations that are replayed at once, of each operation

Small: TypeAlias = npt.NDArray[np.integer]


class ReplayError(Exception):
    """The operations cannot be replayed; the text is a sentence that begins with what has them."""


class Operations(NamedTuple):
    """A row each, in any order. -1 stands for what is not known; times that are not known are NaN."""

    dp_rank: Small
    stage: Small
    rank: Small
    step: Small
    kind: Small  # place in `kinds`
    start_s: npt.NDArray[np.floating]
    duration_s: npt.NDArray[np.floating]
    sequence: Small  # of those of the same kind, stage and step
    chunk: Small  # of the model, within the stage
    microbatch: Small
    model_chunk: Small  # of the model, within all stages
    kinds: tuple[str, ...]


class LeftOut(NamedTuple):
    """Steps or rows that are not replayed."""

    what: str  # "step 7", "12 rows", ...
    why: str


class Slowdown(NamedTuple):
    """How many times as long steps take where only this has its own durations and all else takes its usual time."""

    name: str
    slowdown: float
    by_step: tuple[float, ...]  # () where there are too many; see MAX_BY_STEP


class Worker(NamedTuple):
    """A dp rank's part of a stage."""

    dp_rank: int
    stage: int
    rank: int  # -1 where it is not known
    slowdown: float
    pace: float  # its computation, in that of the workers of its stage that are not slow (ours)
    is_slow: bool  # it computes longer than chance explains, and by at least half of what the slowest worker of all does (ours)
    slow_steps: int  # in which it is, all of them if it is slow throughout


class Place(NamedTuple):
    dp_rank: int
    stage: int


CauseName: TypeAlias = Literal["stages", "workers", "lengths", "pauses", "communication", "other"]
CAUSES: Final[tuple[CauseName, ...]] = get_args(CauseName)


class Cause(NamedTuple):
    """Shares of what is gone without all causes (ours)."""

    name: CauseName
    alone: float  # what is gone without this cause
    gives_back: float  # the same, once those before it are gone: together they are 1


class Replay(NamedTuple):
    """Seconds and slowdowns of the steps that are replayed, in their order."""

    steps: Ints
    measured_s: Floats
    replayed_s: Floats  # with each operation's own duration, and nothing between what it waits for and its start
    ideal_s: float  # with usual durations; the same for all steps
    gaps: float  # measured / replayed, of means: what the operations do not show, such as a late host
    slowdown: float  # replayed / ideal, of means
    by_dp_rank: tuple[Slowdown, ...]
    by_stage: tuple[Slowdown, ...]
    by_type: tuple[Slowdown, ...]
    workers: tuple[Worker, ...]  # the slowest first
    slowest: tuple[Worker, ...]  # the slowest 3 % of them
    slowest_share: float  # of the slowdown, that their usual durations give back (M_W)
    last_stage_share: float  # of the slowdown, that usual durations of the last stage give back (M_S)
    stage_pace: tuple[float, ...]  # computation of each stage's usual workers, in that of the mean of the others (ours)
    correlation: float  # of the ranks of forward and backward passes of the same microbatches; NaN where not known
    causes: tuple[Cause, ...]  # in the order of what each gives back alone
    longest_at: dict[
        str, tuple[Place, ...]
    ]  # by operation: where it takes longest, by at least half of the most (ours)
    is_noise: bool  # passes vary by chance, and neither a rank alone nor passes that are longer than chance gives make steps much longer (ours)
    gaps_at: tuple[Place, ...]  # where most time lies between operations, likewise (ours)
    left_out: tuple[LeftOut, ...]


def replay_of(operations: Operations) -> Replay:
    """Raises ReplayError."""
    kept, rows_left_out = _usable(operations)
    try:
        job, steps_left_out = _job_of(operations, kept)
        graph = _graph_of(job)
    except ReplayError as error:
        raise ReplayError(
            "; ".join([str(error), *(f"{what} left out, since {why}" for what, why in rows_left_out)])
        ) from None
    return _replayed(job, graph, (*rows_left_out, *steps_left_out))


# The operations of a job as a block: each step and each replica of the model (dp rank) has the same ones.


class _Job(NamedTuple):
    """Durations and starts are [operation, step, dp rank]; the other arrays are by operation."""

    steps: Ints
    dp_ranks: Ints
    stage: Ints
    kind: npt.NDArray[np.str_]
    sequence: Ints
    chunk: Ints
    model_chunk: Ints
    microbatch: Ints
    ranks: Ints  # [stage, dp rank]
    start_s: Floats
    duration_s: Floats

    @property
    def stages(self) -> int:
        return int(self.stage.max()) + 1

    def name(self, operation: int) -> str:
        return f"{self.kind[operation]} {self.sequence[operation]} of stage {self.stage[operation]}"

    def rows(self, *kinds: str, stage: int | None = None) -> Ints:
        """Operations of these kinds, in the order of their number."""
        found = np.flatnonzero(np.isin(self.kind, kinds) & ((self.stage == stage) | (stage is None)))
        return found[np.argsort(self.sequence[found], kind="stable")]


class _Cells(NamedTuple):
    """Rows in the order of step, operation and dp rank. Operations and dp ranks are places in `operations` and `dp_ranks`."""

    steps: Ints
    operations: Ints  # of a stage, kind and number each, as one number
    dp_ranks: Ints
    rows: Ints
    within: Ints  # the operation and the dp rank of each row, as one number
    firsts: Ints  # places of each step
    counts: Ints
    is_twice: Bools  # the row before is the same operation

    def of(self, within: int) -> tuple[int, int]:
        """The operation and the dp rank."""
        operation, dp = divmod(within, len(self.dp_ranks))
        return int(self.operations[operation]), int(self.dp_ranks[dp])


def _job_of(table: Operations, kept: Ints) -> tuple[_Job, list[LeftOut]]:
    """Steps that have the operations that most steps have; the others are left out."""
    sequences, sequence_of = _numbered(table.sequence[kept])
    kind_of, stage_of = table.kind[kept].astype(np.int64), np.clip(table.stage[kept], 0, MAX_STAGES - 1)
    cells = _cells(table, kept, (stage_of * len(table.kinds) + kind_of) * len(sequences) + sequence_of)
    faults = _faults(table, cells)
    whole = faults == ""
    if not whole.any():
        raise ReplayError(f"has no step that can be replayed; step {cells.steps[0]} cannot, since {faults[0]}")
    sums = np.add.reduceat(_hashed(cells.within), cells.firsts)
    sets, set_of, times = np.unique(
        np.stack([cells.counts.astype(np.uint64), sums], axis=1)[whole], axis=0, return_inverse=True, return_counts=True
    )  # of operations in a step
    usual = max(range(len(sets)), key=lambda place: (times[place], sets[place][0]))
    chosen = np.zeros(len(whole), bool)
    chosen[np.flatnonzero(whole)[set_of.ravel() == usual]] = True
    rows = cells.rows[np.repeat(chosen, cells.counts)]
    at = int(cells.firsts[np.argmax(chosen)])  # the first step that is replayed
    reference = cells.within[at : at + int(sets[usual][0])]

    def said(within: int) -> str:
        operation, dp_rank = cells.of(within)
        place, number = divmod(operation, len(sequences))
        stage, kind = divmod(place, len(table.kinds))
        there = kept[(table.dp_rank[kept] == dp_rank) & (table.stage[kept] == stage)]
        rank = int(table.rank[there].max()) if len(there) else NONE
        worker = f"rank {rank} (dp rank {dp_rank}, stage {stage})" if rank >= 0 else f"dp rank {dp_rank}, stage {stage}"
        return f"{table.kinds[kind]} {sequences[number]} of {worker}"

    operations, dp_ranks = np.unique(reference // len(cells.dp_ranks)), np.unique(reference % len(cells.dp_ranks))
    if len(reference) != len(operations) * len(dp_ranks):
        all_ = (operations[:, None] * len(cells.dp_ranks) + dp_ranks).ravel()
        raise ReplayError(
            f"has no {said(int(np.setdiff1d(all_, reference)[0]))} in step {cells.steps[np.argmax(chosen)]}, which other dp ranks have:"
            " the operations of all ranks are needed"
        )
    faults[whole & ~chosen] = "it has other operations than most steps, or not of all ranks"
    for place in np.flatnonzero(whole & ~chosen)[:MAX_NAMED]:
        first = int(cells.firsts[place])
        within = cells.within[first : first + int(cells.counts[place])]
        if len(lost := np.setdiff1d(reference, within)):
            faults[place] = f"it has no {said(int(lost[0]))}, which most steps have"
        else:
            faults[place] = f"it has {said(int(np.setdiff1d(within, reference)[0]))}, which most steps have not"
    left_out = [LeftOut(_named("step", cells.steps[faults == why]), why) for why in sorted(set(faults[~chosen]))]
    shape = int(chosen.sum()), len(operations), len(dp_ranks)

    def block(values: npt.NDArray[np.floating]) -> Floats:
        return np.ascontiguousarray(values[rows].astype(np.float64).reshape(shape).transpose(1, 0, 2))

    of_step = rows[: len(reference)].reshape(shape[1:])  # of the first step
    first = of_step[:, 0]  # of its first dp rank
    stage_of = table.stage[first].astype(np.int64)
    stages = int(stage_of.max()) + 1
    if len(without := np.setdiff1d(np.arange(stages), stage_of)):
        raise ReplayError(f"has no operation of stage {without[0]}, but of later ones")
    ranks = np.full((stages, len(dp_ranks)), NONE, np.int64)
    ranks[stage_of] = table.rank[of_step]
    chunk, model_chunk = table.chunk[first].astype(np.int64), table.model_chunk[first].astype(np.int64)
    job = _Job(
        cells.steps[chosen].astype(np.int64),
        cells.dp_ranks[dp_ranks].astype(np.int64),
        stage_of,
        np.array([table.kinds[kind] for kind in table.kind[first]], np.str_),
        table.sequence[first].astype(np.int64),
        chunk,
        np.where(model_chunk >= 0, model_chunk, np.maximum(chunk, 0) * stages + stage_of),
        table.microbatch[first].astype(np.int64),
        ranks,
        block(table.start_s),
        block(table.duration_s),
    )
    return job, left_out


def _usable(table: Operations) -> tuple[Ints, list[LeftOut]]:
    """Rows of kinds that are known, with a step."""
    if not len(table.step):
        raise ReplayError("has no operations")
    left_out = []
    known = np.array([kind in KINDS for kind in table.kinds] + [False])[table.kind]
    if not known.all():
        named = [
            printable(table.kinds[place]) for place in np.unique(table.kind[~known])[: MAX_NAMED + 1] if place >= 0
        ]
        said = f"of a kind that is not known, {', '.join(named[:MAX_NAMED])}" if named else "without a kind"
        left_out.append(_rows_left_out(~known, said))
    if not known.any():
        raise ReplayError(f"has no operation of a kind that is known: {left_out[0].why}; known are {', '.join(KINDS)}")
    if (lost := known & (table.step < 0)).any():
        left_out.append(_rows_left_out(lost, "without a step, or with one that is negative or no whole number"))
    kept = np.flatnonzero(known & (table.step >= 0))
    if not len(kept):
        raise ReplayError(f"has no operation with a step: {left_out[-1].what} need one that is a whole number from 0")
    return kept, left_out


def _cells(table: Operations, kept: Ints, operation: Ints) -> _Cells:
    steps, step_of = _numbered(table.step[kept])
    dp_ranks, dp_of = _numbered(table.dp_rank[kept])
    operations, operation_of = _numbered(operation)
    stages = len(np.unique(np.clip(table.stage[kept], 0, MAX_STAGES)))
    for count, most, what in (
        (len(steps), MAX_STEPS, "steps"),
        (stages * len(dp_ranks), MAX_WORKERS, "workers, which are its dp ranks times its stages"),
        (len(operations), MAX_OPERATIONS, "different operations in one replica of the model"),
    ):
        if count > most:
            raise ReplayError(f"has {count:,} {what}; at most {most:,} are replayed")
    replica = len(operations) * len(dp_ranks)
    cell = step_of.astype(np.int64) * replica + operation_of.astype(np.int64) * len(dp_ranks) + dp_of
    order = np.argsort(cell)
    cell = cell[order]
    firsts = np.searchsorted(cell, np.arange(len(steps)) * replica)
    counts = np.diff(np.append(firsts, len(cell)))
    is_twice = np.append(False, cell[1:] == cell[:-1])
    cell %= replica
    return _Cells(steps, operations, dp_ranks, kept[order], cell, firsts, counts, is_twice)


def _faults(table: Operations, cells: _Cells) -> npt.NDArray[np.object_]:
    """Why each step is left out; "" where it has no odd row."""
    rows = cells.rows
    start_s, duration_s, stage = table.start_s[rows], table.duration_s[rows], table.stage[rows]
    faults = np.full(len(cells.steps), "", object)
    for is_odd, why in (
        (cells.is_twice, "the same operation twice"),
        (stage >= MAX_STAGES, f"an operation of stage {MAX_STAGES:,} or above, which is more than any pipeline has"),
        (table.dp_rank[rows] < 0, "an operation without a dp rank"),
        (stage < 0, "an operation without a stage"),
        (table.sequence[rows] < 0, "an operation without a number (seq_id)"),
        (~(np.abs(start_s) < MAX_TIME_S), "an operation without a start that is a number of seconds"),
        (duration_s < 0, "an operation with a negative duration"),
        (~(duration_s < MAX_TIME_S), "an operation without a duration that is a number of seconds"),
    ):
        faults[np.logical_or.reduceat(is_odd, cells.firsts)] = f"it has {why}"
    return faults


def printable(text: str) -> str:
    """As a part of a line."""
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_TEXT])


def _rows_left_out(rows: Bools, why: str) -> LeftOut:
    count = int(rows.sum())
    return LeftOut(f"{count:,} row{'s' * (count > 1)}", f"{'it is' if count == 1 else 'they are'} {why}")


def _named(what: str, numbers: Ints) -> str:
    """`step 7`, `steps 7, 8, 9, 11, 12 and 30 more`"""
    said = ", ".join(map(str, numbers[:MAX_NAMED].tolist()))
    more = f" and {len(numbers) - MAX_NAMED:,} more" if len(numbers) > MAX_NAMED else ""
    return f"{what}{'s' * (len(numbers) > 1)} {said}{more}"


def _numbered(values: Small) -> tuple[Ints, npt.NDArray[np.int32]]:
    """The different values in order, and the place of each of the rows among them: `np.unique`, without sorting where they are close."""
    least, most = int(values.min()), int(values.max())
    if most - least >= CLOSE:
        found, place_of = np.unique(values, return_inverse=True)
        return found.astype(np.int64), place_of.astype(np.int32)
    offsets = values - np.asarray(least, values.dtype) if least >= 0 else values.astype(np.int64) - least
    is_there = np.zeros(most - least + 1, bool)
    is_there[offsets] = True
    return np.flatnonzero(is_there) + least, (np.cumsum(is_there, dtype=np.int32) - 1)[offsets]


def _hashed(numbers: Ints) -> npt.NDArray[np.uint64]:
    """As splitmix64 does, so that sums of different sets differ."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


# What waits for what.


class _Node(NamedTuple):
    """Operations that begin together, when all that they wait for has ended: one of a rank, or what several do together."""

    members: tuple[int, ...]
    waits_for: tuple[int, ...]
    across: bool  # all dp ranks do it together
    done: tuple[int, ...]  # nobody waits for these from here on
    is_together: bool  # a transfer or a collective


class _Graph(NamedTuple):
    nodes: tuple[_Node, ...]  # each behind those that it waits for
    last: frozenset[int]  # operations that nobody waits for


class _Links:
    def __init__(self, operations: int) -> None:
        self.before: list[list[int]] = [[] for _ in range(operations)]
        self.groups: list[tuple[int, ...]] = []

    def chain(self, operations: Sequence[int], after: Sequence[int] = ()) -> None:
        """Each waits for the one before it."""
        for operation in operations:
            self.before[operation] += after
            after = [operation]


def _graph_of(job: _Job) -> _Graph:
    """The dependencies of the artifact (`dependency_model.py`), from the schedule of the first dp rank in the first step: all dp ranks and
    steps have the same one.

    - On a stage, forward and backward passes wait for the one before, and so do transfers of the same kind, and gathers and scatters.
    - A receive serves the pass that comes next: the pass waits for it, and it waits for the pass of that direction before. A send waits for
      its pass. The n-th send of a stage is the n-th receive of the stage that it goes to.
    - The first backward transfer waits for the second last pass before the first backward pass.
    - The first forward pass of a chunk of the model waits for the last gather of its parameters. After the last pass of a stage come
      garbage collection, the all-reduces of layernorms and of embeddings, scatters of gradients, clipping, the optimizer. Where
      scatters overlap with passes (there is a `separate-grads-all-reduce`), each waits for the last backward pass of its chunk instead.
    - What several do together begins on all of them when the last is there: a transfer on both sides, the all-reduce of embeddings on the
      first and the last stage, gathers and scatters on all dp ranks of a stage, clipping on all ranks.
    """
    links = _Links(len(job.stage))
    end_s = job.start_s[:, 0, 0] + job.duration_s[:, 0, 0]
    start_s = job.start_s[:, 0, 0]
    overlaps = (job.kind == SEPARATE).any()
    sides: dict[tuple[str, int], list[int]] = {}  # of transfers with a peer, by kind and stage
    for stage in range(job.stages):
        rows = {kind: job.rows(kind, stage=stage).tolist() for kind in KINDS}
        passes = _by_start(job, job.rows(*COMPUTE, stage=stage))
        if not passes:
            raise ReplayError(f"has no forward or backward pass of stage {stage}")
        links.chain(passes)
        for kind in TRANSFERS:
            links.chain(_by_start(job, job.rows(kind, stage=stage)))
        links.chain(_by_start(job, job.rows(GATHER, SCATTER, stage=stage)))
        for way in COMPUTE:
            for is_send in (True, False):
                kind = f"{way.removesuffix('compute')}{'send' if is_send else 'recv'}"
                sides[kind, stage] = _matched(job, links, rows[kind], rows[way], is_send, start_s, end_s)
        firsts = [place for place, operation in enumerate(passes) if job.kind[operation] == BACKWARD][:1]
        for kind in (BACKWARD_SEND, BACKWARD_RECEIVE):
            if firsts and firsts[0] >= 2 and rows[kind]:
                links.before[rows[kind][0]].append(passes[firsts[0] - 2])
        for gather in {int(job.chunk[one]): one for one in rows[GATHER]}.values():  # the last of each chunk
            served = [one for one in rows[FORWARD] if job.chunk[one] == job.chunk[gather]]
            if served:
                links.before[min(served, key=lambda one: start_s[one])].append(gather)
        if overlaps:
            for scatter in {int(job.chunk[one]): one for one in reversed(rows[SCATTER])}.values():  # the first of each
                served = [one for one in rows[BACKWARD] if job.chunk[one] == job.chunk[scatter]]
                if served:
                    links.before[scatter].append(max(served, key=lambda one: end_s[one]))
        after = [max(passes, key=lambda one: end_s[one])]
        links.chain(rows[COLLECTION], after)
        after = (rows[COLLECTION] or after)[-1:]
        if overlaps:
            after, then = after + rows[SCATTER][-1:], rows[SEPARATE]
        else:
            then = rows[SCATTER]
        links.chain([*rows[LAYERNORM], *rows[EMBEDDING], *then, *rows[CLIP], *rows[OPTIMIZER]], after)
        links.groups += [(one,) for kind in COLLECTIVES for one in rows[kind]]
    _pair(job, links, sides)
    for kind in (EMBEDDING, CLIP):
        together = job.rows(kind)
        links.groups += [
            tuple(together[job.sequence[together] == number].tolist()) for number in np.unique(job.sequence[together])
        ]
    return _sorted(job, links)


def _by_start(job: _Job, rows: Ints) -> list[int]:
    found: list[int] = rows[np.lexsort([job.kind[rows], job.sequence[rows], job.start_s[rows, 0, 0]])].tolist()
    return found


def _matched(
    job: _Job, links: _Links, transfers: list[int], passes: list[int], is_send: bool, start_s: Floats, end_s: Floats
) -> list[int]:
    """Those that have a peer, in order. The first and last stage may record transfers that never happened: some before the first pass or
    after the last, which serve none, and those of the model's ends, which have no peer."""
    if not transfers or not passes:
        return []
    if is_send:
        first_s = end_s[passes].min() - CLOCKS_APART_S
        serving = [one for one in transfers if end_s[one] >= first_s]
    else:
        last_s = start_s[passes].max() + CLOCKS_APART_S
        serving = [one for one in transfers if start_s[one] <= last_s]
    if len(serving) not in (0, len(passes), len(passes) - 1):
        raise ReplayError(
            f"has {len(serving)} {job.kind[transfers[0]]} of stage {job.stage[transfers[0]]} for {len(passes)} passes, so that"
            " they cannot be matched"
        )
    skipped = len(passes) - len(serving) if not is_send else 0
    last_chunk = int(job.model_chunk[np.isin(job.kind, COMPUTE)].max())
    is_forth = job.kind[passes[0]] == FORWARD
    edge = last_chunk if is_forth == is_send else 0  # its transfer would be the model's own input or output
    paired = []
    for number, transfer in enumerate(serving, skipped):
        own = passes[number]
        if is_send:
            links.before[transfer].append(own)
        else:
            links.before[own].append(transfer)
            links.before[transfer] += passes[max(0, number - 1) : number]
        if job.model_chunk[own] != edge:
            paired.append(transfer)
    return paired


def _pair(job: _Job, links: _Links, sides: dict[tuple[str, int], list[int]]) -> None:
    grouped = set()
    for send, receive, forth in ((FORWARD_SEND, FORWARD_RECEIVE, 1), (BACKWARD_SEND, BACKWARD_RECEIVE, -1)):
        for stage in range(job.stages):
            peer = (stage + forth) % job.stages
            sent, received = sides[send, stage], sides[receive, peer]
            lacking = (receive, peer) if len(received) < len(sent) else (send, stage)
            numbers = job.sequence[job.rows(lacking[0], stage=lacking[1])]
            lost = np.setdiff1d(np.arange(numbers.max(initial=-1) + 1), numbers)
            if len(sent) != len(received) and len(lost):
                raise ReplayError(f"has no {lacking[0]} {lost[0]} of stage {lacking[1]} in any step, but later ones")
            if len(sent) != len(received):
                raise ReplayError(
                    f"has {len(sent)} {send} behind a pass of stage {stage} and {len(received)} {receive} before one of stage {peer},"
                    " which should be as many"
                )
            links.groups += zip(sent, received, strict=True)
            grouped |= {*sent, *received}
    links.groups += [(one,) for one in job.rows(*TRANSFERS).tolist() if one not in grouped]


def _sorted(job: _Job, links: _Links) -> _Graph:
    """Raises ReplayError where operations wait for each other."""
    together = {operation: group for group in links.groups for operation in group}
    across = set(job.rows(*COLLECTIVES, CLIP).tolist())
    node_of: dict[int, int] = {}
    members: list[tuple[int, ...]] = []
    for operation in range(len(job.stage)):
        if operation not in node_of:
            group = together.get(operation, (operation,))
            node_of |= dict.fromkeys(group, len(members))
            members.append(group)
    before = [sorted({one for member in group for one in links.before[member]}) for group in members]
    after: list[list[int]] = [[] for _ in members]
    open_ = [0] * len(members)
    for node, waits_for in enumerate(before):
        for earlier in {node_of[one] for one in waits_for}:
            after[earlier].append(node)
            open_[node] += 1
    ready = deque(node for node, count in enumerate(open_) if not count)
    order = []
    while ready:
        order.append(node := ready.popleft())
        for later in after[node]:
            open_[later] -= 1
            if not open_[later]:
                ready.append(later)
    if len(order) < len(members):
        stuck = members[next(node for node, count in enumerate(open_) if count)][0]
        raise ReplayError(f"has operations that wait for each other in a circle, such as {job.name(stuck)}")
    last_use = {one: node for node in order for one in before[node]}
    done: dict[int, list[int]] = {}
    for one, node in last_use.items():
        done.setdefault(node, []).append(one)
    nodes = tuple(
        _Node(
            members[node],
            tuple(before[node]),
            members[node][0] in across,
            tuple(done.get(node, ())),
            members[node][0] in together,
        )
        for node in order
    )
    return _Graph(nodes, frozenset(range(len(job.stage))) - last_use.keys())


def _ends(graph: _Graph, seconds: Callable[[int], Floats]) -> Floats:
    """[...]: when the last operation ends, for durations of each that are [..., dp rank]. A step begins at 0."""
    ends: dict[int, Floats] = {}
    step_s = np.zeros((1, 1))
    for node in graph.nodes:
        begin = np.zeros((1, 1))
        for earlier in node.waits_for:
            begin = np.maximum(begin, ends[earlier])
        if node.across:
            begin = begin.max(axis=-1, keepdims=True)
        for member in node.members:
            ends[member] = begin + seconds(member)
            if member in graph.last:
                step_s = np.maximum(step_s, ends[member])
        for earlier in node.done:
            del ends[earlier]
    found: Floats = step_s.max(axis=-1)
    return found


# What if.


def _own_s(job: _Job, graph: _Graph) -> Floats:
    """Durations without waiting for others (`wia.get_transfer_time`): what several do together lasts from when the last of them began; on a
    side that had ended well before that, it lasts nothing."""
    own_s = job.duration_s.copy()
    for node in graph.nodes:
        if node.is_together:
            rows = list(node.members)
            begun = job.start_s[rows].max(axis=0)
            if node.across:
                begun = begun.max(axis=-1, keepdims=True)
            lasted = job.start_s[rows] + job.duration_s[rows] - begun
            own_s[rows] = np.where(lasted <= -LATEST_S, 0.0, lasted)
    return own_s


def _usual_s(job: _Job, own_s: Floats) -> Floats:
    """[operation]: the mean of all of its kind in the job, of communication the median
    (`analysis_util.simulation_analysis_reduce_dim_v4`)."""
    usual_s = np.zeros(len(job.kind))
    for kind in np.unique(job.kind):
        rows = job.kind == kind
        usual_s[rows] = np.median(own_s[rows]) if kind in COMMUNICATION else own_s[rows].mean()
    return usual_s


class _WhatIf:
    """Lengths of steps, [scenario, step]."""

    def __init__(self, job: _Job, graph: _Graph) -> None:
        self.job, self.graph = job, graph
        self.own_s = _own_s(job, graph)
        self.usual_s = _usual_s(job, self.own_s)

    def with_own(self, own: Bools) -> Floats:
        """Where those that are chosen, [scenario, operation, dp rank or 1], have their own durations and the others usual ones."""
        return np.concatenate(
            [
                self._steps(
                    lambda operation, steps, part=part: np.where(  # type: ignore[misc]
                        part[:, operation, None], self.own_s[operation, steps], self.usual_s[operation]
                    ),
                    len(part) * len(self.job.dp_ranks),
                )
                for part in _split(own, max(1, BLOCK // len(self.job.dp_ranks)))
            ]
        )

    def with_own_dp_rank(self) -> Floats:
        """[dp rank, step]: where one dp rank has its own durations. The others are alike, so that one stands for all of them."""
        alone = self.own_s.shape[2] == 1

        def seconds(operation: int, steps: slice) -> Floats:
            own = self.own_s[operation, steps].T[:, :, None]
            return own if alone else np.concatenate([own, np.full(own.shape, self.usual_s[operation])], axis=2)

        return self._steps(seconds, 2 * len(self.job.dp_ranks))

    def with_(self, seconds_s: Callable[[int, slice], Floats]) -> Floats:
        """[step]: with these durations of an operation in some steps, [step, dp rank]."""
        found: Floats = self._steps(lambda operation, steps: seconds_s(operation, steps)[None], len(self.job.dp_ranks))[
            0
        ]
        return found

    def _steps(self, seconds: Callable[[int, slice], Floats], width: int) -> Floats:
        """`width`: durations of an operation in a step."""
        steps = len(self.job.steps)
        size = max(1, BLOCK // width)
        parts = [slice(at, at + size) for at in range(0, steps, size)]
        return np.concatenate(
            [_ends(self.graph, lambda operation, part=part: seconds(operation, part)) for part in parts],  # type: ignore[misc]
            axis=1,
        )


def _split(own: Bools, size: int) -> Iterator[Bools]:
    return (own[at : at + size] for at in range(0, len(own), size))


def _replayed(job: _Job, graph: _Graph, left_out: tuple[LeftOut, ...]) -> Replay:
    if not (job.kind == FORWARD).any() and not (job.kind == BACKWARD).any():
        raise ReplayError("has no forward or backward passes")
    what_if = _WhatIf(job, graph)
    measured_s = (job.start_s + job.duration_s).max(axis=(0, 2)) - job.start_s.min(axis=(0, 2))
    types = np.array([TYPE_OF.get(kind, kind) for kind in job.kind])
    type_names = np.unique(types)
    own = np.concatenate(
        [
            np.ones((1, len(job.stage)), bool),
            np.arange(job.stages)[:, None] == job.stage,
            type_names[:, None] == types,
            (job.stage != job.stages - 1)[None],
        ]
    )
    found_s = what_if.with_own(own[:, :, None])
    ideal_s = float(_ends(graph, lambda operation: what_if.usual_s[operation, None, None])[0])
    replayed_s, stages_s = found_s[0], found_s[1 : 1 + job.stages]
    types_s, without_last_s = found_s[1 + job.stages : -1], found_s[-1].mean()
    dp_s = what_if.with_own_dp_rank()
    if not ideal_s > 0:
        raise ReplayError("has operations that all take no time")
    lost_s = replayed_s.mean() - ideal_s

    def share(step_s: float) -> float:
        """Of the slowdown that is given back: (replayed - this) / (replayed - ideal), of means (equation 5,
        `explain_slowdown.py`: there it is `rem`)."""
        return float((replayed_s.mean() - step_s) / lost_s) if abs(lost_s) > 1e-9 * ideal_s else 0.0

    is_given = len(job.steps) * (len(dp_s) + len(stages_s) + len(types_s)) <= MAX_BY_STEP

    def slowdowns(names: Sequence[object], lengths_s: Floats) -> tuple[Slowdown, ...]:
        """Equation 2: the mean length with only these durations, over the ideal one (`wia.decompose_by_opgroup`)."""
        by_step = (lengths_s / ideal_s).tolist() if is_given else [()] * len(lengths_s)
        rows = zip(names, (lengths_s.mean(axis=1) / ideal_s).tolist(), by_step, strict=True)
        return tuple(Slowdown(str(name), slowdown, tuple(each)) for name, slowdown, each in rows)

    by_dp_rank, by_stage = slowdowns(job.dp_ranks.tolist(), dp_s), slowdowns(range(job.stages), stages_s)
    correlation = _correlation(job, what_if.own_s)
    parts = _Parts(job, what_if, correlation)
    workers = _workers(job, by_dp_rank, by_stage, parts)
    slowest = workers[: -(-len(workers) * WORST_PCT // 100)]
    is_slowest = np.zeros((job.stages, len(job.dp_ranks)), bool)
    for worker in slowest:
        is_slowest[worker.stage, np.searchsorted(job.dp_ranks, worker.dp_rank)] = True
    without_slowest_s = what_if.with_own(~is_slowest[job.stage][None])[0].mean()
    causes = _causes(lambda gone: float(replayed_s.mean() - what_if.with_(parts.without(gone)).mean()))
    is_noise = (
        causes[0].name == "pauses"
        and max(one.slowdown for one in by_dp_rank) < MIN_SLOWDOWN
        and float(replayed_s.mean()) < MIN_SLOWDOWN * float(what_if.with_(parts.without_outliers()).mean())
    )
    return Replay(
        job.steps,
        measured_s,
        replayed_s,
        ideal_s,
        float(measured_s.mean() / replayed_s.mean()),
        float(replayed_s.mean() / ideal_s),
        by_dp_rank,
        by_stage,
        slowdowns(type_names.tolist(), types_s),
        workers,
        slowest,
        share(without_slowest_s),
        share(without_last_s),
        parts.stage_pace,
        correlation,
        causes,
        {
            name: _late(job, what_if.own_s[types == name] - what_if.usual_s[types == name, None, None], types == name)
            for name in type_names.tolist()
        },
        is_noise,
        _late(job, _gaps_s(job, graph), np.ones(len(job.stage), bool)),
        left_out,
    )


def _workers(
    job: _Job, by_dp_rank: Sequence[Slowdown], by_stage: Sequence[Slowdown], parts: _Parts
) -> tuple[Worker, ...]:
    """A worker is as slow as its dp rank and its stage both are: the lower of their slowdowns (equation 4, `compute_mw.get_rank_scores`).
    Among equal ones the lower rank comes first."""
    pace = parts.worker_pace
    found = [
        Worker(
            int(job.dp_ranks[dp]),
            stage,
            int(job.ranks[stage, dp]),
            min(by_dp_rank[dp].slowdown, by_stage[stage].slowdown),
            float(pace[stage, dp]),
            bool(parts.is_slow[stage, dp]),
            int(parts.slow_steps[stage, dp]),
        )
        for stage in range(job.stages)
        for dp in range(len(job.dp_ranks))
    ]
    return tuple(sorted(found, key=lambda worker: (-worker.slowdown, worker.rank)))


class _Parts:
    """The passes' durations as a product: of the mean of the kind, what the stage makes of it, what a slow worker makes of that, what the
    length of the microbatch does, and what is left, such as pauses (ours). A cause is gone where its factor is 1, and where communication, or
    all else, takes its usual time. A slow worker, which may be slow at times only, is replaced by one that always takes what is usual in its
    stage."""

    def __init__(self, job: _Job, what_if: _WhatIf, correlation: float) -> None:
        own_s = what_if.own_s
        self._own_s, self._usual_s = own_s, what_if.usual_s
        self._is_pass, self._is_communication = np.isin(job.kind, COMPUTE), np.isin(job.kind, COMMUNICATION)
        self._kind, self._stage, self._microbatch = job.kind, job.stage, job.microbatch
        self._stage_s = np.zeros(len(job.kind))  # means of workers that are not slow
        self.is_slow, self.slow_steps = _slow(job, own_s)  # [stage, dp rank]
        worker_s = np.zeros((job.stages, len(job.dp_ranks)))  # of the passes of a worker in a step
        self._base_s = np.zeros((len(job.kind), *own_s.shape[1:]))  # of a slow worker its mean in each step
        for kind in COMPUTE:
            for stage in range(job.stages):
                if len(rows := job.rows(kind, stage=stage)):
                    means_s = own_s[rows].mean(axis=(0, 1))
                    worker_s[stage] += means_s * len(rows)
                    self._stage_s[rows] = means_s[~self.is_slow[stage]].mean()
                    self._base_s[rows] = np.where(self.is_slow[stage], own_s[rows].mean(axis=0), self._stage_s[rows][0])
        usual_s = np.array([times[~slow].mean() for times, slow in zip(worker_s, self.is_slow, strict=True)])
        self.worker_pace = _ratio(worker_s, np.broadcast_to(usual_s[:, None], worker_s.shape))
        self.stage_pace = tuple(_beside_others(usual_s[None])[0].tolist())
        self._goal_s = np.zeros(len(job.kind))  # where stages are even
        for kind in COMPUTE:
            if (rows_of := job.kind == kind).any():
                self._goal_s[rows_of] = self._stage_s[rows_of].mean()
        self._one = np.ones(own_s.shape[1:])
        self._length = _lengths(job, own_s, self._base_s, max(0.0, float(np.nan_to_num(correlation))))

    def without(self, causes: Collection[CauseName]) -> Callable[[int, slice], Floats]:
        def seconds(operation: int, steps: slice) -> Floats:
            found_s = self._own_s[operation, steps]
            if not self._is_pass[operation]:
                is_usual = ("communication" if self._is_communication[operation] else "other") in causes
                return np.full(found_s.shape, self._usual_s[operation]) if is_usual else found_s
            length = self._length.get(int(self._microbatch[operation]), self._one)[steps]
            base_s = self._base_s[operation, steps]
            if "pauses" in causes:
                found_s = base_s * length
            if "lengths" in causes:
                found_s = found_s / length
            if "workers" in causes:
                found_s = np.where(self.is_slow[self._stage[operation]], self._stage_s[operation], found_s)
            if "stages" in causes:
                found_s = found_s * _ratio(self._goal_s[operation], self._stage_s[operation])
            return found_s

        return seconds

    def without_outliers(self) -> Callable[[int, slice], Floats]:
        """Where no pass is longer than normally distributed noise gives, of the size that the quartiles of its kind and stage have."""
        is_pass = np.flatnonzero(self._is_pass).tolist()
        limit = NormalDist().inv_cdf(1 - BY_CHANCE / self._own_s[is_pass].size)
        most = np.ones(len(self._stage))
        for kind, stage in {(self._kind[one], self._stage[one]) for one in is_pass}:
            rows = np.flatnonzero((self._kind == kind) & (self._stage == stage))
            low, middle, high = np.percentile(
                np.concatenate([self._times(one, slice(None)) for one in rows.tolist()]), (25, 50, 75)
            )
            most[rows] = middle + limit * (high - low) / QUARTILES_APART

        def seconds(operation: int, steps: slice) -> Floats:
            own_s = self._own_s[operation, steps]
            if not self._is_pass[operation]:
                return own_s
            return own_s * np.minimum(1.0, _ratio(most[operation], self._times(operation, steps)))

        return seconds

    def _times(self, operation: int, steps: slice) -> Floats:
        """A pass in multiples of what its stage, its worker and its length make of it."""
        length = self._length.get(int(self._microbatch[operation]), self._one)
        return _ratio(self._own_s[operation, steps], (self._base_s[operation] * length)[steps])


def _slow(job: _Job, own_s: Floats) -> tuple[Bools, Ints]:
    """Workers that are slow, [stage, dp rank], and in how many steps. The fastest half of a stage is usual, and the slowest of these is what
    the others are compared with: a worker is slow where the mean of its microbatches is higher by more than chance gives, and by at least half
    of what that is for the slowest worker. Chance is the standard error, from how the microbatches of a step differ on the same worker, so that
    a worker with a few long sequences is not slow, and one that is slow in some steps is. Of one pass nothing is known, so there is no chance.
    """
    shape = job.stages, len(job.dp_ranks)
    slower, steps_of = np.zeros(shape), np.full(shape, len(job.steps), np.int64)
    limit = NormalDist().inv_cdf(1 - BY_CHANCE / (job.stages * len(job.dp_ranks)))
    for stage in range(job.stages):
        rows = job.rows(*COMPUTE, stage=stage)
        known = job.microbatch[rows] >= 0
        _, microbatch_of = np.unique(np.where(known, job.microbatch[rows], job.sequence[rows]), return_inverse=True)
        spent_s = np.zeros((microbatch_of.max() + 1, *own_s.shape[1:]))
        for row, microbatch in zip(rows, microbatch_of.ravel(), strict=True):
            spent_s[microbatch] += own_s[row]
        step_s = spent_s.mean(axis=0)
        mean_s = step_s.mean(axis=0)
        place = np.argsort(mean_s, kind="stable")[max(0, len(mean_s) // 2 - 1)]
        variance = _variance(spent_s)
        variance = np.maximum(variance, variance.mean()) / (spent_s.shape[0] * spent_s.shape[1])
        error_s = np.sqrt(variance + variance[place])
        more_s = mean_s - mean_s[place]
        is_more = more_s > np.maximum(limit * error_s, 1e-9 * mean_s)
        slower[stage] = np.where(is_more, more_s / max(float(mean_s[place]), 1e-300), 0.0)
        more_by_step_s = step_s - mean_s[place]
        is_step = more_by_step_s >= more_by_step_s.max(axis=0) / 2
        count = is_step.sum(axis=0)
        others = len(job.steps) - count
        rest_s = np.where(is_step, 0.0, more_by_step_s).sum(axis=0) / np.maximum(others, 1)
        is_at_times = (others > 0) & (rest_s <= limit * error_s * np.sqrt(len(job.steps) / np.maximum(others, 1)))
        steps_of[stage] = np.where(is_at_times, count, len(job.steps))
    return (slower > 0) & (slower >= slower.max() / 2), steps_of


def _variance(spent_s: Floats) -> Floats:
    """[dp rank]: of microbatches of a step, or where there is one in each, of steps. [microbatch, step, dp rank]"""
    if len(spent_s) == 1:
        spent_s = spent_s.transpose(1, 0, 2)
    if len(spent_s) == 1:
        return np.zeros(spent_s.shape[2])
    found: Floats = spent_s.var(axis=0, ddof=1).mean(axis=0)
    return found


def _lengths(job: _Job, own_s: Floats, base_s: Floats, alike: float) -> dict[int, Floats]:
    """By microbatch, [step, dp rank]: how long its sequences are, as a multiple of the usual. All passes of the microbatch share that, on all
    stages, so it is the lower median of their durations in multiples of what their worker takes, which a pause in one of them leaves alone. As
    in a regression, it counts as far as forward and backward passes go together."""
    found = {}
    rows = job.rows(*COMPUTE)
    for microbatch in np.unique(job.microbatch[rows]).tolist():
        if microbatch >= 0:
            own = rows[job.microbatch[rows] == microbatch]
            middle = (len(own) - 1) // 2
            times = np.partition(_ratio(own_s[own], base_s[own]), middle, axis=0)[middle]
            found[microbatch] = 1 + alike * (times - 1)
    mean = float(np.mean([each.mean() for each in found.values()])) if found else 1.0
    return {microbatch: np.maximum(each / mean, 1e-9) for microbatch, each in found.items()}


def _beside_others(rows: Floats) -> Floats:
    """Each as a multiple of the mean of the others of its row; 1 where it is alone."""
    others = (rows.sum(axis=1, keepdims=True) - rows) / max(1, rows.shape[1] - 1)
    return _ratio(rows, others)


def _ratio(one: Floats | float, other: Floats) -> Floats:
    """1 where the other is 0."""
    found: Floats = np.divide(one, other, out=np.ones_like(other), where=other > 0)
    return found


def _causes(saved_s: Callable[[Collection[CauseName]], float]) -> tuple[Cause, ...]:
    """`saved_s`: by how much a step is shorter without some causes."""
    all_s = saved_s(CAUSES)

    def share(causes: Collection[CauseName]) -> float:
        return saved_s(causes) / all_s if abs(all_s) > 1e-12 else 0.0

    alone = {cause: share({cause}) for cause in CAUSES}
    ordered = sorted(CAUSES, key=lambda cause: -alone[cause])
    shares = [0.0, alone[ordered[0]], *(share(ordered[:count]) for count in range(2, len(ordered))), 1.0]
    return tuple(
        Cause(cause, alone[cause], after - before)
        for cause, before, after in zip(ordered, shares, shares[1:], strict=False)
    )


def _late(job: _Job, late_s: Floats, rows: Bools) -> tuple[Place, ...]:
    """Workers where operations are late, [operation, step, dp rank], by at least half of what they are where they are most."""
    by_worker = np.zeros((job.stages, len(job.dp_ranks)))
    np.add.at(by_worker, job.stage[rows], late_s.sum(axis=1))
    most = by_worker.max()
    return tuple(
        Place(int(job.dp_ranks[dp]), int(stage)) for stage, dp in np.argwhere((by_worker >= most / 2) & (most > 0))
    )


def _gaps_s(job: _Job, graph: _Graph) -> Floats:
    """Seconds between the end of what an operation of one rank waits for and its start."""
    gaps_s = np.zeros_like(job.start_s)
    end_s = job.start_s + job.duration_s
    begun_s = job.start_s.min(axis=(0, 2))[:, None]
    for node in graph.nodes:
        if not node.is_together:
            for member in node.members:
                ready_s = end_s[list(node.waits_for)].max(axis=0) if node.waits_for else begun_s
                gaps_s[member] = np.maximum(0.0, job.start_s[member] - ready_s)
    return gaps_s


def _correlation(job: _Job, own_s: Floats) -> float:
    """Of ranks (Spearman's), so that a few pauses hide nothing: of the forward and the backward pass of a microbatch in a chunk, each less the
    mean of its kind in that step of that worker if there are several; the mean over the stages (ours). Sequences that are long are slow in both;
    a worker that is slow for a step is in none."""
    found = []
    for stage in range(job.stages):
        forth, back = (
            {(int(job.model_chunk[one]), int(job.microbatch[one])): one for one in job.rows(kind, stage=stage)}
            for kind in COMPUTE
        )
        both = sorted(key for key in forth.keys() & back.keys() if key[1] >= 0)
        sides = [own_s[[side[key] for key in both]] for side in (forth, back)]
        if len(both) > 1:
            sides = [side - side.mean(axis=0) for side in sides]
        if both and all(side.std() > 0 for side in sides):
            found.append(float(np.corrcoef(_ranks(sides[0]), _ranks(sides[1]))[0, 1]))
    return float(np.mean(found)) if found else float("nan")


def _ranks(values: Floats) -> Floats:
    """Places in order, of equal ones their mean."""
    _, place_of, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    found: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place_of]
    return found
