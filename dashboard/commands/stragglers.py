"""What `deepseek-dashboard open operations.parquet` prints: which rank, stage or kind of operation held a distributed job up."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from access.program import UsageError
from collectors.message import percent, time_of

if TYPE_CHECKING:
    from analysis.traces.replay import Place, Replay, Slowdown, Worker

SUFFIXES = (".parquet", ".csv", ".csv.gz")
MAX_MEMORY_BYTES, MAX_READ_S = 8 << 30, 300.0
MAX_SHOWN, MAX_NAMED = 6, 3
GONE = {
    "stages": "stages that compute equally long",
    "workers": "workers of a stage that compute equally long",
    "lengths": "microbatches of equal lengths",
    "pauses": "passes of a microbatch that take as long as its length and its worker say",
    "communication": "usual durations of communication",
    "other": "usual durations of all other operations",
}
SAID = {"forward-pp-comm": "transfers of the forward pass", "backward-pp-comm": "transfers of the backward pass"}
MAX_GAPS = 1.05  # measured / replayed: above it much is not in the operations
TOO_LONG = 0.99  # measured / replayed


def is_table(file: Path) -> bool:
    return file.name.endswith(SUFFIXES)


def show_stragglers(files: Sequence[Path], *, as_json: bool) -> int:
    from analysis.traces.operations import replay_of_file
    from analysis.traces.replay import ReplayError
    from collectors.untrusted import OverLimit, ReaderProcess

    if len(files) > 1:
        raise UsageError("one table of operations is opened at a time: it holds the operations of all ranks")
    (file,) = files
    with closing(ReaderProcess("operations", memory_bytes=MAX_MEMORY_BYTES, timeout_s=MAX_READ_S)) as process:
        try:
            found = process.read(replay_of_file, file)
        except (ReplayError, OverLimit) as error:
            raise UsageError(f"{file} is not opened: it {error}") from None
        except OSError as error:
            raise UsageError(f"{file} cannot be read ({error.strerror or error})") from None
    print(json.dumps(json_of(found, file.name)) if as_json else "\n".join(lines_of(found, file.name)))
    return 0


def sentence_of(found: Replay) -> str:
    """What is to be fixed first."""
    from analysis.traces.replay import MIN_SLOWDOWN

    if found.gaps >= MAX_GAPS and found.gaps > found.slowdown:
        share, at = percent(100 * (1 - 1 / found.gaps)), _at(found.gaps_at, found)
        return f"{share} of each step passes between operations{at and f', most of it {at}'}: find out what the hosts do then, such as loading data."
    if found.slowdown < MIN_SLOWDOWN:
        return "No stragglers: steps would take about as long if every operation took its usual time."
    cause = found.causes[0]
    match cause.name:
        case "stages":
            stage = max(range(len(found.stage_pace)), key=found.stage_pace.__getitem__)
            pace = _longer(found.stage_pace[stage])
            text = (
                f"Pipeline stages are uneven: stage {stage} computes {pace} the others on average. Move layers off it."
            )
        case "workers":
            text = _slow_workers(found)
        case "lengths":
            text = (
                "Microbatches differ in length: their forward and backward passes are slow together (correlation"
                f" {found.correlation:.2f}), as with sequences of different lengths. Balance the tokens per microbatch."
            )
        case "pauses" if found.is_noise:
            return (
                "Noise: passes vary by chance, and each step waits for the slowest rank. No rank alone makes a step more than"
                f" {percent(100 * (max(row.slowdown for row in found.by_dp_rank) - 1))} longer."
            )
        case "pauses":
            text = (
                "Single passes stall, forward and backward independently: look for pauses on the hosts, such as garbage collection,"
                " and for GPUs whose clocks change."
            )
        case "communication":
            text = f"Communication is slow: {_longest(found, of_communication=True)}. Check the network."
        case _:
            text = f"One operation is slow: {_longest(found, of_communication=False)}. Find out what it does on the slow ranks."
    return f"{text} This would recover {percent(100 * cause.gives_back)} of the lost time."


def _longer(pace: float) -> str:
    return f"{pace:.1f} times as long as" if pace >= 1.15 else f"{percent(100 * (pace - 1))} longer than"


def _slow_workers(found: Replay) -> str:
    slow = sorted((worker for worker in found.workers if worker.is_slow), key=lambda worker: -worker.pace)
    named, pace = _listed(list(map(name_of, slow)), MAX_NAMED), _longer(slow[0].pace)
    named = named[0].upper() + named[1:]
    if len(slow) == 1:
        steps = len(found.steps)
        times = f", most of it in {slow[0].slow_steps:,} of {steps:,} steps" if slow[0].slow_steps < steps else ""
        return f"{named} computes {pace} the others of its stage{times}: check its GPU and host."
    return f"{named} compute up to {pace} the others of their stage: check their GPUs and hosts."


def _longest(found: Replay, *, of_communication: bool) -> str:
    from analysis.traces.replay import COMMUNICATION, COMPUTE, TYPE_OF

    kinds = {TYPE_OF.get(kind, kind) for kind in COMMUNICATION}
    rows = [row for row in found.by_type if row.name not in COMPUTE and (row.name in kinds) == of_communication]
    name = max(rows, key=lambda row: row.slowdown).name
    at = _at(found.longest_at.get(name, ()), found)
    return f"{SAID.get(name, name)}{at and f' {at}'}"


def _at(places: Sequence[Place], found: Replay) -> str:
    """ "" where it is everywhere."""
    if len(places) in (0, len(found.workers)):
        return ""
    dp_ranks, stages = sorted({one.dp_rank for one in places}), sorted({one.stage for one in places})
    if len(places) < len(dp_ranks) * len(stages):
        ranks = {(worker.dp_rank, worker.stage): worker for worker in found.workers}
        return f"on {_listed([name_of(ranks[place]) for place in places], MAX_NAMED)}"
    parts = [
        f"{what}{'s' * (len(numbers) > 1)} {_listed(list(map(str, numbers)), MAX_NAMED)}"
        for what, numbers, count in (
            ("dp rank", dp_ranks, len(found.by_dp_rank)),
            ("stage", stages, len(found.by_stage)),
        )
        if len(numbers) < count
    ]
    return f"on {', '.join(parts)}"


def name_of(worker: Worker) -> str:
    place = f"dp rank {worker.dp_rank}, stage {worker.stage}"
    return f"rank {worker.rank} ({place})" if worker.rank >= 0 else f"the worker of {place}"


def lines_of(found: Replay, name: str) -> list[str]:
    steps, dp_ranks, stages = len(found.steps), len(found.by_dp_rank), len(found.by_stage)
    from analysis.traces.replay import MIN_SLOWDOWN

    lines = [
        f"{name}: {_counted(steps, 'step')} on {_counted(dp_ranks * stages, 'worker')}"
        f" ({_counted(dp_ranks, 'dp rank')} of {_counted(stages, 'stage')})",
        "",
        sentence_of(found),
        "",
        f"  {time_of(found.measured_s.mean()):>8}  measured",
        f"  {time_of(found.replayed_s.mean()):>8}  replayed: an operation starts as soon as what it waits for has ended",
        f"  {time_of(found.ideal_s):>8}  ideal: each operation takes the usual time of its kind; the slowdown is {found.slowdown:.3f}",
        "",
        *(_shares(found) if found.slowdown >= MIN_SLOWDOWN else ()),
        "Slowdown if only this one keeps its own durations, and everything else takes its usual time:",
        *_table("stage", [(row.name, row.slowdown) for row in found.by_stage]),
        *_table("dp rank", [(row.name, row.slowdown) for row in found.by_dp_rank]),
        *_table("worker", [(name_of(worker), worker.slowdown) for worker in found.workers]),
        *_table("operation", [(SAID.get(row.name, row.name), row.slowdown) for row in found.by_type]),
    ]
    notes = []
    if found.gaps < TOO_LONG:
        notes.append(
            f"The replay takes {percent(100 * (1 / found.gaps - 1))} longer than was measured: operations do not wait for each other as"
            " is assumed, so these numbers are rough."
        )
    elif found.gaps > MAX_GAPS:
        notes.append(
            f"{percent(100 * (1 - 1 / found.gaps))} of each step passes between operations, so these numbers are rough."
        )
    notes += [f"Left out: {one.what}, since {one.why}." for one in found.left_out]
    return [*lines, *([""] if notes else []), *notes]


def _shares(found: Replay) -> list[str]:
    """The first is what the sentence says."""
    slowest = _listed(list(map(name_of, found.slowest)), MAX_NAMED)
    usual = [
        (f"usual durations on the slowest 3% of workers: {slowest}", found.slowest_share),
        (f"usual durations on the last stage, {len(found.by_stage) - 1}", found.last_stage_share),
    ]
    return [
        "Lost time recovered by fixing each of these, alone and after those above it:",
        f"  {'alone':>8}  {'after':>8}",
        *(f"  {_share(cause.alone):>8}  {_share(cause.gives_back):>8}  {GONE[cause.name]}" for cause in found.causes),
        f"Share of the slowdown of {found.slowdown:.3f} recovered by one of these alone:",
        *(f"  {_share(share):>8}  {what}" for what, share in usual),
        "",
    ]


def _share(share: float) -> str:
    return percent(round(100 * share, 2) + 0.0)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _table(title: str, rows: Sequence[tuple[str, float]]) -> list[str]:
    """The slowest first."""
    ordered = sorted(rows, key=lambda row: -row[1])
    width = max(len(name) for name, _ in ordered[:MAX_SHOWN])
    lines = [
        f"  {title if not place else '':10} {name:{width}}  {slowdown:.3f}"
        for place, (name, slowdown) in enumerate(ordered[:MAX_SHOWN])
    ]
    return lines + [f"  {'':10} and {len(rows) - MAX_SHOWN:,} more"] * (len(rows) > MAX_SHOWN)


def _listed(texts: list[str], shown: int) -> str:
    return ", ".join(texts[:shown]) + (f" and {len(texts) - shown:,} more" if len(texts) > shown else "")


def json_of(found: Replay, name: str) -> dict[str, Any]:
    steps = [str(step) for step in found.steps.tolist()]

    def by_step(rows: Sequence[Slowdown]) -> dict[str, Any]:
        return {row.name: dict(zip(steps, row.by_step, strict=True)) for row in rows if row.by_step}

    return {
        "file": name,
        "sentence": sentence_of(found),
        "slowdown": found.slowdown,
        "gaps": found.gaps,
        "ideal_s": found.ideal_s,
        "measured_s": dict(zip(steps, found.measured_s.tolist(), strict=True)),
        "replayed_s": dict(zip(steps, found.replayed_s.tolist(), strict=True)),
        "by_dp_rank": {row.name: row.slowdown for row in found.by_dp_rank},
        "by_stage": {row.name: row.slowdown for row in found.by_stage},
        "by_type": {row.name: row.slowdown for row in found.by_type},
        "workers": [worker._asdict() for worker in found.workers],
        "slowest": [worker._asdict() for worker in found.slowest],
        "slowest_share": found.slowest_share,
        "last_stage_share": found.last_stage_share,
        "stage_pace": list(found.stage_pace),
        "correlation": found.correlation if math.isfinite(found.correlation) else None,
        "gives_back": {cause.name: cause.gives_back for cause in found.causes},
        "gives_back_alone": {cause.name: cause.alone for cause in found.causes},
        "is_noise": found.is_noise,
        "longest_at": {name: [place._asdict() for place in places] for name, places in found.longest_at.items()},
        "gaps_at": [place._asdict() for place in found.gaps_at],
        "left_out": [one._asdict() for one in found.left_out],
        "by_dp_rank_by_step": by_step(found.by_dp_rank),
        "by_stage_by_step": by_step(found.by_stage),
        "by_type_by_step": by_step(found.by_type),
    }
