"""Read the dumps of PyTorch's flight recorder, which a job writes when a collective times out."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..process.activity import RunProcess
from ..process.proc import PROC, environment_of
from ..rights.acting import NotGiven, acting_as, rights_of_process
from .plain_pickle import PlainPickle, open_plain_file

PREFIXES = ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")  # variables; their value, and the rank behind it
USUAL = "/tmp/nccl_trace_rank_"  # PyTorch's own
MOST_BYTES = 64 << 20


def flight_dumps(processes: Sequence[RunProcess], since_s: float, proc: Path = PROC) -> dict[int, Any]:
    """By rank, of these processes, written since then; what cannot be read is left out."""
    found = {}
    for process in processes:
        environment = environment_of(process.pid, proc)
        prefix = next((environment[name] for name in PREFIXES if environment.get(name)), USUAL)
        dump = dump_of(process.pid, f"{prefix}{process.rank}", since_s, proc)
        if dump is not None:
            found[process.rank] = dump
    return found


def dump_of(pid: int, path: str, since_s: float, proc: Path = PROC) -> Any:
    """With the rights of the process, whose environment names the file; in a folder for all, such as /tmp, only what its user wrote."""
    try:
        rights = rights_of_process(pid, proc)
        with acting_as(rights):
            folder, file = os.stat(os.path.dirname(path)), os.lstat(path)  # noqa: PTH116, PTH120
            is_planted = bool(folder.st_mode & stat.S_IWOTH) and file.st_uid != rights.uid
            return None if is_planted else read_dump(path, since_s)
    except (OSError, ValueError, KeyError, NotGiven):
        return None


def read_dump(path: str, since_s: float) -> Any:
    """None for a file that is not there, too old, too large, a link, not a plain file, or not as PyTorch writes it."""
    file = open_plain_file(path, since_s, MOST_BYTES)
    if file is None:
        return None
    with file:
        data = file.read(MOST_BYTES)
    try:
        return PlainPickle(io.BytesIO(data)).load()
    except Exception:  # whatever a broken pickle raises
        return None
