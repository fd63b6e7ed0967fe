"""The board that opens first: made of what a run logs and what its host measures, so that no chart of it is empty."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from collectors.store.store import Series

from ..runs.columns import SeriesRoles, roles_of
from .board import Board, BoardChart, BoardRow, SeriesChoice, ValueRange
from .files import BoardFile, written

OVERVIEW = "overview"
IN_A_ROW, MAX_NUMBERS, MAX_OTHERS = 4, 6, 24
WAITS = "phase/data_s * rate(step) * 100"  # of all that a step takes, also what no phase covers
QUANTILES = ("/p1", "/p5", "/p10", "/p25", "/p50", "/p75", "/p90", "/p95", "/p99")
LATE = ("memory/", "phase/", "gpu_phase/")  # behind the series that a user named
PERCENT = ValueRange(0.0, 100.0)


class Logged(NamedTuple):
    """What there is of a run: `series` its own, `machine` the names of its host's."""

    series: Sequence[Series] = ()
    machine: Collection[str] = ()
    has_stacks: bool = False
    has_lines: bool = False


def overview_of(logged: Logged) -> BoardFile:
    """It has no version: it is another one when another run is shown, or the run logs something new."""
    board = Board(
        title="Overview",
        about="Made of what this run logs. Edit it to keep a board of your own.",
        rows=tuple(row for row in _rows(logged) if row.charts),
    )
    return BoardFile(OVERVIEW, "template", written(board), "", board)


def _rows(logged: Logged) -> Iterator[BoardRow]:
    names: dict[str, int] = {}
    for series in logged.series:
        names[series.name] = names.get(series.name, 0) + 1
    roles = roles_of(names)
    losses = [name for name in (*roles.loss[:1], *roles.judged[:1]) if name]
    losses = list(dict.fromkeys(losses))
    phases = [name for name in names if name.startswith("phase/") and name.endswith("_s")]
    yield BoardRow(tuple(_numbers(logged.machine, names, roles))[:MAX_NUMBERS], height=104)
    yield BoardRow(
        (
            *([_line("Loss", *losses)] if losses else []),
            *(
                [BoardChart("stacked", "Where a step goes", series=(SeriesChoice("glob", "phase/*_s"),))]
                if phases
                else []
            ),
        ),
        height=240,
    )
    yield BoardRow(tuple(_machine(logged.machine)), "GPUs" if "gpu/utilization_pct" in logged.machine else "Host")
    others = [name for name in names if name not in (*losses, *phases) and not name.endswith(QUANTILES)]
    others.sort(key=lambda name: name.startswith(LATE))
    for begin in range(0, min(MAX_OTHERS, len(others)), IN_A_ROW):
        yield BoardRow(
            tuple(_line(name, name) for name in others[begin : begin + IN_A_ROW][: MAX_OTHERS - begin]), height=180
        )
    stacks = [BoardChart("flame graph", "Where Python spends its time", width=8)] if logged.has_stacks else []
    lines = [BoardChart("log lines", "Log")] if logged.has_lines else []
    yield BoardRow((*stacks, *lines), height=260)


def _numbers(machine: Collection[str], names: Collection[str], roles: SeriesRoles) -> Iterator[BoardChart]:
    for name in roles.loss[:1]:
        yield _number("Loss", SeriesChoice("name", name))
    for name in roles.judged[:1]:
        if name not in roles.loss[:1]:
            yield _number(name, SeriesChoice("name", name))
    for name in (*roles.tokens[:1], *(name for name in names if name.endswith(("samples_per_s", "steps_per_s")))):
        yield _number(name.rsplit("/", 1)[-1], SeriesChoice("name", name))
    if "phase/data_s" in names:
        yield _number("Waits for data", SeriesChoice("expr", WAITS, label="of a step"), unit="%", value="mean")
    if "gpu/utilization_pct" in machine:
        yield _number("GPU busy", SeriesChoice("expr", "mean(gpu/utilization_pct)", label="all GPUs"))
    elif "host/cpu_pct" in machine:
        yield _number("CPU", SeriesChoice("name", "host/cpu_pct"))
    if "gpu/power_w" in machine:
        yield _number("Power", SeriesChoice("expr", "sum(gpu/power_w)", label="all GPUs"))
    elif "host/memory_used_bytes" in machine:
        yield _number("Host memory", SeriesChoice("name", "host/memory_used_bytes"))


def _number(title: str, series: SeriesChoice, unit: str = "", value: str = "last") -> BoardChart:
    return BoardChart("number", title, series=(series,), unit=unit, value=value)  # type: ignore[arg-type]


def _machine(machine: Collection[str]) -> Iterator[BoardChart]:
    if "gpu/utilization_pct" in machine:
        yield BoardChart("heat map", "GPU busy", series=(SeriesChoice("name", "gpu/utilization_pct"),), range=PERCENT)
        for title, name in (("GPU memory", "gpu/memory_used_bytes"), ("GPU power", "gpu/power_w")):
            if name in machine:
                yield _line(title, name)._replace(range=ValueRange(0.0, None))
        return
    if "host/cpu_pct" in machine:
        waits = [SeriesChoice("name", "host/cpu_iowait_pct", label="waiting for disk")]
        yield BoardChart(
            "line",
            "CPU",
            series=(SeriesChoice("name", "host/cpu_pct", label="busy"), *(one for one in waits if one.text in machine)),
            range=PERCENT,
        )
    if any(name.startswith("host/pressure_") for name in machine):
        yield BoardChart(
            "line", "Pressure", series=(SeriesChoice("glob", "host/pressure_*_pct"),), range=ValueRange(0.0, None)
        )
    reads = [name for name in ("host/run_read_bytes_per_s", "host/run_write_bytes_per_s") if name in machine]
    if reads:
        yield _line("Disk of the run", *reads)._replace(range=ValueRange(0.0, None))


def _line(title: str, *names: str) -> BoardChart:
    return BoardChart("line", title, series=tuple(SeriesChoice("name", name) for name in names))
