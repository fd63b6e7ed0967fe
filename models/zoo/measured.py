"""How long models take on this host: measured by `suggest`, kept in `measured.json`, read by `list`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelsError
from .folder import alone, read_table, write_whole

NAME = "measured.json"
REMEDY = "remove it, and models are timed again"
MOST_MS = 1e9


class Latency(NamedTuple):
    """Milliseconds of one call with the inputs that the row states."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    runtime: str  # "torch 2.13.0 eager", "onnxruntime 1.31.1"
    threads: int
    weights: str  # "its own" or "random": times do not depend on them
    date: str


def read(folder: Path) -> dict[str, Latency]:
    """By name, of this host alone. Raises ModelsError for a file that is broken."""
    place = folder / NAME
    table = read_table(place, REMEDY)
    if table is None:
        return {}
    from ..runtimes.this_host import processor

    try:
        return {name: _latency(entry) for name, entry in table.get(processor(), {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelsError(f"{place} cannot be read ({error}); {REMEDY}") from error


def keep(folder: Path, found: dict[str, Latency]) -> None:
    """Beside what was measured before, by other processes and on other hosts that share the folder. Raises ModelsError where it cannot be written."""
    from ..runtimes.this_host import processor

    place = folder / NAME
    with alone(place):
        known = {name: latency._asdict() for name, latency in {**read(folder), **found}.items()}
        write_whole(place, json.dumps({**(read_table(place, REMEDY) or {}), processor(): known}, indent=1) + "\n")


def _latency(entry: dict[str, Any]) -> Latency:
    latency = Latency(**entry)
    if (
        not all(type(value) in (int, float) and 0 <= value < MOST_MS for value in latency[:3])
        or type(latency.threads) is not int
    ):
        raise ValueError("a time that is no number of milliseconds")
    return latency
