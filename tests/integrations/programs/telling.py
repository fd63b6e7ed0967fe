"""What each program says to the suite, beside logging."""

import json
import math
import sys
from pathlib import Path
from typing import Any

LOGS, TOLD = Path(sys.argv[1]), Path(sys.argv[2])


def half() -> None:
    """Wait until the suite has looked at what was written so far."""
    print("half", flush=True)
    input()


def as_json(value: float) -> float | str:
    """`nan -> "nan"`: JSON has no such number."""
    value = float(value)
    return value if math.isfinite(value) else str(value)


def tell(
    runs: dict[str, dict[str, list[tuple[int | None, float]]]], config: dict[str, dict[str, Any]] | None = None
) -> None:
    rows = {
        run: {name: [(step, as_json(value)) for step, value in values] for name, values in runs[run].items()}
        for run in runs
    }
    TOLD.write_text(json.dumps({"runs": rows, "config": config or {}}))
