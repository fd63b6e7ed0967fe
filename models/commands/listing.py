"""`deepseek-models list`: the table of the zoo, filtered; without PyTorch, in 50 ms."""

from __future__ import annotations

import argparse

from access.program import Command, positive


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", default="", metavar="TASK", help="only models for this task, such as image-classification"
    )
    parser.add_argument("--max-mb", type=positive, metavar="MB", help="maximum size of the weights")
    parser.add_argument(
        "--max-ms", type=positive, metavar="MS", help="maximum median latency on this host, as timed by suggest"
    )
    parser.add_argument(
        "--licence", default="", metavar="NAME", help="only models under this licence, such as apache-2.0"
    )
    parser.add_argument("--here", action="store_true", help="only models downloaded to this host")
    parser.add_argument(
        "--non-commercial", action="store_true", help="include models whose licence forbids commercial use"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(parsed: argparse.Namespace) -> int:
    from ..zoo import table
    from ..zoo.folder import models_folder, read
    from ..zoo.local_files import is_on_this_host
    from ..zoo.table import megabytes

    folder = models_folder()
    rows = table.selected(parsed.task, parsed.max_mb, parsed.licence, non_commercial=parsed.non_commercial)
    locked, times = read(folder), table.read(folder)
    untimed = 0
    if parsed.max_ms is not None:
        untimed = sum(row.name not in times for row in rows)
        rows = [row for row in rows if row.name in times and times[row.name].p50_ms <= parsed.max_ms]
    here = {row.name for row in rows if is_on_this_host(row, folder, locked)}
    if parsed.here:
        rows = [row for row in rows if row.name in here]
    if parsed.json:
        import json

        whole = [table.find(row.name) for row in rows]
        print(json.dumps([{**row._asdict(), "here": row.name in here} for row in whole], indent=1))
        return 0
    lines = [("NAME", "TASK", "PARAMETERS", "MB", "LICENCE", "METRIC", "MS HERE", "STATE")]
    for row in rows:
        size, time = megabytes(row), times.get(row.name)
        lines.append(
            (
                row.name,
                row.task,
                f"{row.parameters / 1e6:,.1f} M" if row.parameters else "",
                f"{size:,.0f}" if size is not None else "",
                row.licence or "unstated",
                f"{row.metric['value']:g} {row.metric['name']}" if row.metric else "",
                f"{time.p50_ms:,.1f}" if time else "",
                "here" if row.name in here else "pinned" if row.pinned or row.name in locked else "unpinned",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(
        "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )
    )
    hidden = (
        0
        if parsed.non_commercial
        else len(table.selected(parsed.task, parsed.max_mb, parsed.licence, non_commercial=True))
    )
    hidden -= len(table.selected(parsed.task, parsed.max_mb, parsed.licence)) if hidden else 0
    notes = [f"{hidden} more forbid commercial use: --non-commercial"] if hidden else []
    notes += [f"{untimed} were not timed on this host: deepseek-models suggest"] if untimed else []
    print("\n".join(["", f"{len(rows)} models", *notes]) if rows else "\n".join(["no model passes", *notes]))
    return 0


COMMAND = Command("list", "List the models of the zoo.", arguments, run)
