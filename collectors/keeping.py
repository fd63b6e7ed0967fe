"""How long runs are kept: `keep: 30d` in the file that describes a run (`<data>/runs/<run>.yaml`). Without it, forever."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from access.files import bytes_of

from .store.store import Run
from .user_files import ABOUT_FOLDER, file_name
from .yaml_tree import YamlError, tree_of

KEY = "keep"
FOREVER = "forever"
PERIOD = re.compile(r"([1-9]\d{0,4})d")
DAY_S = 86400.0
MAX_BYTES = 256 << 10


def days_of(text: str) -> float | None:
    """`30d` -> 30; None for `forever`. Raises ValueError."""
    if text in ("", FOREVER):
        return None
    found = PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(f"{KEY}: a number of days such as 30d, or {FOREVER}")
    return float(found[1])


def over(runs: Iterable[Run], data_dir: Path, now_s: float) -> Iterator[tuple[Run, float]]:
    """Runs whose newest line is older than they are to be kept, with the days. A file that cannot be understood keeps its run."""
    try:
        described = {path.name for path in (data_dir / ABOUT_FOLDER).iterdir()}
    except OSError:
        return
    for run in runs:
        if run.last_time_s is None or (name := file_name(run.name)) not in described:
            continue
        with suppress(OSError, ValueError, YamlError):
            table = tree_of(bytes_of(data_dir / ABOUT_FOLDER / name, most=MAX_BYTES).decode()).value
            node = table.get(KEY) if isinstance(table, dict) else None
            days = days_of(node.value) if node is not None and isinstance(node.value, str) else None
            if days is not None and run.last_time_s + days * DAY_S < now_s:
                yield run, days
