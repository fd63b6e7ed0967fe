"""What `deepseek-dashboard open operations.parquet` prints: which rank, stage or kind of operation held a distributed job up."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collectors.message import percent, time_of

from .command import UsageError

if TYPE_CHECKING:
    from analysis.traces.replay import Replay, Slowdown, Worker

SUFFIXES = (".parquet", ".csv", ".csv.gz")
MAX_MEMORY_BYTES, MAX_READ_S = 12 << 30, 300.0
MAX_SHOWN, MAX_NAMED = 8, 3
MAX_GAPS = 1.05  # the paper trusts no replay that is further from what was measured
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
        return (
            f"{percent(100 * (1 - 1 / found.gaps))} of a step lies between its operations: look for what the hosts do meanwhile, such as"
            " loading data."
        )
    if found.slowdown < MIN_SLOWDOWN:
        return "No stragglers: nothing that varies between ranks, stages or microbatches makes steps much longer."
    cause = found.causes[0]
    back = f"That would give back {percent(100 * cause.gives_back)} of the slowdown."
    match cause.name:
        case "stages":
            stage = max(range(len(found.stage_pace)), key=found.stage_pace.__getitem__)
            pace = f"{found.stage_pace[stage]:.1f} times as long as the mean of the others"
            return f"Stages are unevenly cut, stage {stage} computes {pace}: move layers away from it. {back}"
        case "workers":
            return f"{_slow_workers(found)} than the others of the same stage: check their GPUs and hosts. {back}"
        case "microbatches":
            from analysis.traces.replay import ALIKE

            if found.correlation >= ALIKE:
                return (
                    "Forward and backward passes vary with the microbatch, both alike"
                    f" (correlation {found.correlation:.2f}), as with sequences of different lengths: balance the tokens of microbatches. {back}"
                )
            return (
                "Passes vary from microbatch to microbatch, but not forward and backward alike: look for pauses of the hosts, such as"
                f" garbage collection, and for GPUs whose clocks change. {back}"
            )
        case "communication":
            return f"{_dearest(found, communication=True)} takes longer than usual at times: check the network. {back}"
    return f"{_dearest(found, communication=False)} takes longer than usual at times. {back}"


def _slow_workers(found: Replay) -> str:
    by_pace = sorted(found.workers, key=lambda worker: -worker.pace)
    slow = [worker for worker in by_pace if worker.pace - 1 >= (by_pace[0].pace - 1) / 2]
    named = ", ".join(map(name_of, slow[:MAX_NAMED])) + (f" and {len(slow) - MAX_NAMED} more" if len(slow) > MAX_NAMED else "")
    verb = "computes" if len(slow) == 1 else "compute"
    return f"{named[0].upper()}{named[1:]} {verb} up to {by_pace[0].pace:.1f} times as long"


def _dearest(found: Replay, *, communication: bool) -> str:
    from analysis.traces.replay import COMMUNICATION, COMPUTE, TYPE_OF

    kinds = {TYPE_OF.get(kind, kind) for kind in COMMUNICATION}
    rows = [row for row in found.by_type if row.name not in COMPUTE and (row.name in kinds) == communication]
    return max(rows, key=lambda row: row.slowdown).name


def name_of(worker: Worker) -> str:
    place = f"dp rank {worker.dp_rank}, stage {worker.stage}"
    return f"rank {worker.rank} ({place})" if worker.rank >= 0 else f"the worker of {place}"


def lines_of(found: Replay, name: str) -> list[str]:
    measured_s, replayed_s = found.measured_s.mean(), found.replayed_s.mean()
    steps, dp_ranks, stages = len(found.steps), len(found.by_dp_rank), len(found.by_stage)
    worst = ", ".join(map(name_of, found.slowest[:MAX_NAMED])) + ", ..." * (len(found.slowest) > MAX_NAMED)
    lines = [
        f"{name}: {steps:,} step{'s' * (steps != 1)} of {time_of(measured_s)} on {dp_ranks * stages:,} workers"
        f" ({dp_ranks:,} dp rank{'s' * (dp_ranks != 1)}, {stages:,} stage{'s' * (stages != 1)})",
        "",
        sentence_of(found),
        "",
        f"Slowdown {found.slowdown:.3f}: the operations of a step take {time_of(replayed_s)}, with usual durations {time_of(found.ideal_s)}."
        f" Between operations lie {percent(100 * (1 - 1 / found.gaps))} of a measured step.",
        "Gives back, each alone: "
        + ", ".join(f"{cause.name} {percent(100 * cause.gives_back)}" for cause in found.causes)
        + f"; the slowest 3% of workers ({worst}) {percent(100 * found.slowest_share)}, the last stage"
        f" {percent(100 * found.last_stage_share)}",
        "",
        "Slowdown where only these have their own durations:",
        _row("stage", found.by_stage),
        _row("dp rank", found.by_dp_rank),
        "  worker     " + _listed([f"{name_of(worker)} {worker.slowdown:.3f}" for worker in found.workers]),
        _row("operation", found.by_type),
    ]
    if found.gaps < TOO_LONG:
        lines.append(
            f"The replay is {percent(100 * (1 / found.gaps - 1))} longer than the steps that were measured: operations do not wait for each"
            " other as is assumed, so these numbers are rough."
        )
    elif found.gaps > MAX_GAPS:
        lines.append("So much lies between operations that these numbers are rough.")
    if found.left_out:
        lines.append("Left out: " + _listed([f"{one.what} ({one.why})" for one in found.left_out]))
    return lines


def _row(name: str, rows: Sequence[Slowdown]) -> str:
    ordered = sorted(rows, key=lambda row: -row.slowdown)
    return f"  {name:10} " + _listed([f"{row.name} {row.slowdown:.3f}" for row in ordered])


def _listed(texts: list[str]) -> str:
    return ", ".join(texts[:MAX_SHOWN]) + (f" and {len(texts) - MAX_SHOWN:,} more" if len(texts) > MAX_SHOWN else "")


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
        "left_out": [one._asdict() for one in found.left_out],
        "by_dp_rank_by_step": by_step(found.by_dp_rank),
        "by_stage_by_step": by_step(found.by_stage),
        "by_type_by_step": by_step(found.by_type),
    }
