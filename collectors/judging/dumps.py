"""Read the dumps of PyTorch's flight recorder, which a job writes when a collective times out."""

from __future__ import annotations

import io
import os
import pickle
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..process.activity import RunProcess
from ..process.proc import PROC, environment_of
from ..rights.acting import NotGiven, acting_as, rights_of_process

PREFIXES = ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")  # variables; their value, and the rank behind it
USUAL = "/tmp/nccl_trace_rank_"  # PyTorch's own
MOST_BYTES = 64 << 20


class _PlainPickle(pickle.Unpickler):
    """Of numbers, texts, lists and tables alone: a file that another program wrote may run nothing here."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it has a persistent id")


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
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        known = os.fstat(descriptor)
        if not stat.S_ISREG(known.st_mode) or known.st_size > MOST_BYTES or known.st_mtime < since_s:
            return None
        data = file.read(MOST_BYTES)
    try:
        return _PlainPickle(io.BytesIO(data)).load()
    except Exception:  # whatever a broken pickle raises
        return None
