"""`deepseek-dashboard trace RUN --steps 3`: which kernels a few steps of a run launch, by the line of the script."""

from __future__ import annotations

import argparse
import shlex
import time
from typing import TYPE_CHECKING

from access.program import Command, UsageError
from collectors.log_folders import LogFolders, add_place, place_of
from collectors.message import percent

from .why import rank

if TYPE_CHECKING:
    from ..stacks.step_traces import TraceResult

LOOK_S = 0.2
MAX_LINES, MAX_KERNELS = 12, 3  # in a shell
LONGEST_NAME = 60  # characters


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="run name, as shown by the dashboard; the run must use RunLog or an adapter"
    )
    parser.add_argument("--steps", type=steps, default=3, metavar="N", help="number of steps, 1 to 20 (default: 3)")
    parser.add_argument("--rank", type=rank, default=0, metavar="N", help="rank, if there are several (default: 0)")
    add_place(parser)


def steps(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps; give 1 to 20")
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    """1 where no steps were traced."""
    from collectors.control import ControlError, ask

    place = place_of(parsed)
    try:
        answer = ask(place.data_dir, "trace", run=parsed.run, steps=parsed.steps, rank=parsed.rank)
    except ControlError:
        followed = " ".join(f"--log-dir {shlex.quote(str(folder))}" for folder in place.folders)
        raise UsageError(
            f"no dashboard collects for {' and '.join(map(str, place.folders))}: start one with deepseek-dashboard {followed}"
        ) from None
    if answer["refused"]:
        raise UsageError(f"steps of {parsed.run!r} cannot be traced: {answer['refused']}")
    found = _waited_for(parsed, place, str(answer["id"]))
    print("\n".join(lines_of(found, parsed.run)))
    return 0 if found.trace else 1


def _waited_for(parsed: argparse.Namespace, place: LogFolders, name: str) -> TraceResult:
    from contextlib import closing

    from collectors.store.engines import open_store

    from ..stacks.stacks import Stacks

    with closing(open_store(place.data_dir, write=False)) as store:
        stacks = Stacks(store, place.tree)
        while (found := stacks.trace(parsed.run, name, None)).state == "asked":
            time.sleep(LOOK_S)
    return found


def lines_of(found: TraceResult, run: str) -> list[str]:
    """What was traced, then the lines that launched most, each with its dearest kernels."""
    from analysis.ledger.shares import kinds_of_kernels
    from analysis.stacks.frames import file_name

    trace = found.trace
    if trace is None:
        return [found.sentence]
    what = "kernels of the GPU" if trace.device == "GPU" else "operators on the CPU"
    step_ms = 1e3 * (trace.to_s - trace.from_s) / trace.steps
    head = f"{run}: steps {trace.first_step} to {trace.last_step}, {step_ms:.1f} ms per step while traced, {what}; milliseconds of a step"
    total_s = max(sum(kinds_of_kernels(trace).values()), 1e-12)
    rows = []
    for line in found.lines[:MAX_LINES]:
        frame = line.frame
        where = f"{file_name(frame.file)}:{frame.line or '?'} {frame.name}" if frame else "no line of the script"
        rows.append(
            f"{1e3 * line.seconds / trace.steps:9.3f}  {percent(100 * line.seconds / total_s):>6}  {'backward of ' * line.backward}{where}"
        )
        rows += [
            f"{1e3 * kernel.seconds / trace.steps:9.3f}          {kernel.name[:LONGEST_NAME]} x {kernel.calls / trace.steps:g}"
            for kernel in line.kernels[:MAX_KERNELS]
        ]
    busy = trace.busy
    split = (
        [
            f"GPU busy {1e3 * busy.all / trace.steps:.3f}: compute {1e3 * busy.compute / trace.steps:.3f}, "
            f"communication {1e3 * busy.communication / trace.steps:.3f} (and {1e3 * busy.hidden / trace.steps:.3f} behind compute), "
            f"copies {1e3 * busy.copy / trace.steps:.3f}"
        ]
        if busy
        else []
    )
    return [head, *split, *rows, *([found.sentence] if found.sentence else [])]


COMMAND = Command("trace", "Trace a few steps of a live run: kernels by the line that launched them.", arguments, run)
