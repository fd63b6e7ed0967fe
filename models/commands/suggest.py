"""`deepseek-models suggest`: which models of a task are fast and small enough on this host, by timing them."""

from __future__ import annotations

import argparse
import sys

from access.program import Command, count, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True, metavar="TASK", help="such as image-classification")
    parser.add_argument(
        "--max-ms", type=positive, required=True, metavar="MS", help="maximum median latency on this host"
    )
    parser.add_argument("--max-mb", type=positive, required=True, metavar="MB", help="size of the weights")
    parser.add_argument("--top", type=count, default=3, metavar="N", help="stop when this many pass (default: 3)")
    parser.add_argument(
        "--seconds",
        type=positive,
        default=60.0,
        metavar="S",
        help="start no new timing after this long (default: 60)",
    )
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="cores per model (default: 1)")
    parser.add_argument(
        "--non-commercial", action="store_true", help="include models whose licence forbids commercial use"
    )


def run(parsed: argparse.Namespace) -> int:
    from ..zoo.folder import models_folder
    from ..zoo.suggest import suggest

    found = suggest(
        models_folder(),
        parsed.task,
        parsed.max_ms,
        parsed.max_mb,
        parsed.seconds,
        parsed.top,
        parsed.threads,
        parsed.non_commercial,
        lambda sentence: print(sentence, file=sys.stderr),
    )
    for suggestion in found.rows:
        row, latency = suggestion.row, suggestion.latency
        metric = f", {row.metric['value']:g} {row.metric['name']}" if row.metric else ""
        get = "here" if suggestion.here else f"deepseek-models fetch {row.name}"
        print(
            f"{row.name}: {latency.p50_ms:,.1f} ms, {latency.p99_ms:,.1f} ms p99 ({latency.runtime}, {counted(latency.threads)}){metric}; {get}"
        )
    print(f"{len(found.rows)} of {found.tried} timed models pass; {found.candidates} are small enough")
    if found.failed:
        name, why = next(iter(found.failed.items()))
        print(f"{len(found.failed)} could not be timed, {name} because {why}")
    if found.tried + len(found.failed) < found.candidates and len(found.rows) < parsed.top:
        print("the time was over before all were timed: run it again, and it goes on where it stopped")
    return 0


def counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


COMMAND = Command("suggest", "Suggest models that are fast and small enough on this host.", arguments, run)
