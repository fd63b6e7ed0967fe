"""How long models take on this host: measured by `suggest`, kept in `measured.json`, read by `list`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelsError
from .folder import write_whole

NAME = "measured.json"


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
    try:
        text = place.read_text()
    except FileNotFoundError:
        return {}
    from ..runtimes.this_host import processor

    try:
        return {name: Latency(**entry) for name, entry in json.loads(text).get(processor(), {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelsError(f"{place} cannot be read ({error}): remove it, and models are timed again") from error


def keep(folder: Path, found: dict[str, Latency]) -> None:
    """Beside what was measured before, and on other hosts that share the folder. Raises ModelsError where it cannot be written."""
    from ..runtimes.this_host import processor

    place = folder / NAME
    before = json.loads(place.read_text()) if place.exists() else {}
    mine = {**before.get(processor(), {}), **{name: latency._asdict() for name, latency in found.items()}}
    write_whole(place, json.dumps({**before, processor(): mine}, indent=1) + "\n")
