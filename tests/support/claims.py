"""A run's folder that may name processes of ours: the pids of start events are believed only where its files are their user's."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


@functools.cache
def claiming_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="claims-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "events.jsonl").touch()
    (folder / "run.json").write_text("{}")
    return folder
