"""Read the dumps of PyTorch's flight recorder, which a job writes when a collective times out."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..analysis.dumps.flight import FlightRank, flight_ranks
from ..process.activity import RunProcess
from ..process.proc import PROC, environment_of
from ..rights.acting import NotGiven, acting_as, rights_of_process
from .apart import NotInTime, read_apart
from .plain_pickle import PlainPickle, open_plain_file

PREFIXES = (
    "TORCH_FR_DUMP_TEMP_FILE",
    "TORCH_NCCL_DEBUG_INFO_TEMP_FILE",
)  # variables; their value, and the rank behind it
USUAL = "/tmp/nccl_trace_rank_"  # PyTorch's own
MOST_BYTES = 64 << 20
READ_WITHIN_S = 8.0  # all of them


def flight_dumps(processes: Sequence[RunProcess], since_s: float, proc: Path = PROC) -> list[FlightRank]:
    """Of these processes, written since then; what cannot be read is left out."""
    found: list[FlightRank] = []
    until_s = time.monotonic() + READ_WITHIN_S
    for process in processes:
        environment = environment_of(process.pid, proc)
        prefix = next((environment[name] for name in PREFIXES if environment.get(name)), USUAL)
        file = dump_of(process.pid, f"{prefix}{process.rank}", since_s, proc)
        if file is not None:
            with file:
                found += read_dump(file, process.rank, until_s - time.monotonic())
    return found


def dump_of(pid: int, path: str, since_s: float, proc: Path = PROC) -> IO[bytes] | None:
    """With the rights of the process, whose environment names the file; in a folder for all, such as /tmp, only what its user wrote.

    None for a file that is not there, too old, too large, a link, or not a plain file.
    """
    try:
        rights = rights_of_process(pid, proc)
        with acting_as(rights):
            folder, file = os.stat(os.path.dirname(path)), os.lstat(path)  # noqa: PTH116, PTH120
            is_planted = bool(folder.st_mode & stat.S_IWOTH) and file.st_uid != rights.uid
            return None if is_planted else open_plain_file(path, since_s, MOST_BYTES)
    except (OSError, ValueError, KeyError, NotGiven):
        return None


def read_dump(file: IO[bytes], rank: int, within_s: float = READ_WITHIN_S) -> list[FlightRank]:
    """Empty for what is not as PyTorch writes it, or costs too much."""
    try:
        rows = read_apart(rows_of, file, max(0.0, within_s)) or []
    except (NotInTime, OSError):
        return []
    return [FlightRank(rank, *row) for row in rows]


def rows_of(file: IO[bytes]) -> list[Any]:
    """For the process that reads: without the rank."""
    return [row[1:] for row in flight_ranks({0: PlainPickle(file).load()})]
