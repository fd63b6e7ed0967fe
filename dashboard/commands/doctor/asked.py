"""The diagnosis of a running dashboard, made by a process of its own: the web process loads no driver for it, and none can hang it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..command import ROOT

WITHIN_S = 15.0
_turn = threading.Lock()  # one at a time: it looks through all of /proc


class NoDiagnosis(Exception):
    """The text is one sentence."""


def diagnosis(log_dirs: Sequence[Path], data_dir: Path, port: int | None) -> dict[str, Any]:
    """What `deepseek-dashboard doctor --json` prints. About 1 s of another process. Raises NoDiagnosis."""
    folders = [word for folder in log_dirs for word in ("--log-dir", str(folder))] + ["--data-dir", str(data_dir)]
    command = [
        sys.executable,
        str(ROOT / "app.py"),
        "doctor",
        "--json",
        *folders,
        *(["--port", str(port)] if port else []),
    ]
    with _turn:
        try:
            done = subprocess.run(command, capture_output=True, timeout=WITHIN_S, stdin=subprocess.DEVNULL)
            found = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            raise NoDiagnosis(
                f"the diagnosis takes more than {WITHIN_S:g} s; type: deepseek-dashboard doctor"
            ) from None
        except (OSError, ValueError):
            raise NoDiagnosis("the diagnosis could not be made; type: deepseek-dashboard doctor") from None
    if not isinstance(found, dict):
        raise NoDiagnosis("the diagnosis could not be made; type: deepseek-dashboard doctor")
    return found
