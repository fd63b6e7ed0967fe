"""Finds and reads what PyTorch dumped beside a run: the flight recorder of NCCL, snapshots of a card's memory."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from collectors.machine.proc import PROC, environment_of
from collectors.machine.run_state import RunProcess
from collectors.rights import NotGiven, rights_of_process, with_rights
from collectors.untrusted import OverLimit, ReaderProcess, SafeUnpickler

from ..dumps import MAX_TEXT, FlightRank, MemorySnapshot, flight_ranks, snapshot_of

MAX_MEMORY_BYTES = 3 << 30
READ_WITHIN_S = 8.0  # all dumps of a run, or one snapshot
PREFIXES = (
    "TORCH_FR_DUMP_TEMP_FILE",
    "TORCH_NCCL_DEBUG_INFO_TEMP_FILE",
)  # variables; their value, and the rank behind it
USUAL = "/tmp/nccl_trace_rank_"  # PyTorch's own
MAX_DUMP_BYTES = 64 << 20
SUFFIXES = (".pickle", ".pkl")  # of snapshots
MAX_SNAPSHOT_BYTES = 256 << 20
MAX_NAMES = 10_000  # of a folder, that are looked at
MAX_TRIED = 3  # files: a job of many ranks writes one a rank

log = logging.getLogger("collectors")


class DumpReader:
    """Reads them in a process with limits: a file with the name of a dump may be anything."""

    def __init__(self) -> None:
        self._process = ReaderProcess("dumps", memory_bytes=MAX_MEMORY_BYTES, timeout_s=READ_WITHIN_S)

    def flight(self, processes: Sequence[RunProcess], since_s: float, proc: Path = PROC) -> list[FlightRank]:
        """What the flight recorders of these processes have dumped since then; what cannot be read is left out."""
        found: list[FlightRank] = []
        until_s = time.monotonic() + READ_WITHIN_S
        for process in processes:
            environment = environment_of(process.pid, proc)
            prefix = next((environment[name] for name in PREFIXES if environment.get(name)), USUAL)
            path = f"{prefix}{process.rank}"
            try:
                left_s = max(0.0, until_s - time.monotonic())
                found += self._process.read(read_flight, process, path, since_s, proc, timeout_s=left_s)
            except (OverLimit, OSError) as error:
                log.warning("the flight recorder's dump %s %s", path, error)
        return found

    def snapshot(self, folders: Iterable[Path], since_s: float, until_s: float) -> MemorySnapshot | None:
        """The newest that was written in these folders between the two times; None where there is none. Takes up to READ_WITHIN_S."""
        written = sorted(
            (found for folder in dict.fromkeys(folders) for found in _written(folder, since_s, until_s)), reverse=True
        )
        for _, size, path in written[:MAX_TRIED]:
            name = Path(path).name.encode("utf-8", "replace").decode()
            if size > MAX_SNAPSHOT_BYTES:
                return _unread(
                    name, f"It has {size >> 20} MiB, too many to be read here: open it at pytorch.org/memory_viz."
                )
            try:
                found = self._process.read(read_snapshot, path, name, since_s)
            except OverLimit as error:
                return _unread(name, f"It {error}: open it at pytorch.org/memory_viz.")
            except OSError as error:
                return _unread(name, f"It could not be read: {error.strerror}.")
            if found is not None:
                return found
        return None

    def close(self) -> None:
        self._process.close()


# For the process that reads.


def read_flight(process: RunProcess, path: str, since_s: float, proc: Path) -> list[FlightRank]:
    """Empty for what is not as PyTorch writes it."""
    return flight_ranks({process.rank: _content(dump_of(process.pid, path, since_s, proc))})


def read_snapshot(path: str, name: str, since_s: float) -> MemorySnapshot | None:
    """None for what is no snapshot."""
    return snapshot_of(name, _content(open_plain_file(path, since_s, MAX_SNAPSHOT_BYTES)))


def dump_of(pid: int, path: str, since_s: float, proc: Path = PROC) -> IO[bytes] | None:
    """With the rights of the process, whose environment names the file; in a folder for all, such as /tmp, only what its user wrote.

    None for a file that is not there, too old, too large, a link, or not a plain file.
    """
    try:
        rights = rights_of_process(pid, proc)
        with with_rights(rights):
            file = open_plain_file(path, since_s, MAX_DUMP_BYTES)
            folder = os.stat(os.path.dirname(path))  # noqa: PTH116, PTH120
    except (OSError, ValueError, KeyError, NotGiven):
        return None
    if file is not None and folder.st_mode & stat.S_IWOTH and os.fstat(file.fileno()).st_uid != rights.uid:
        file.close()
        return None
    return file


def open_plain_file(path: str, since_s: float, most_bytes: int) -> IO[bytes] | None:
    """None for a file that is not there, was written before, is larger, a link, or not a plain file. It never waits for a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    file = os.fdopen(descriptor, "rb")
    known = os.fstat(descriptor)
    if stat.S_ISREG(known.st_mode) and known.st_size <= most_bytes and known.st_mtime >= since_s:
        return file
    file.close()
    return None


def _content(file: IO[bytes] | None) -> Any:
    """None for what is no pickle of plain values."""
    if file is None:
        return None
    with file:
        try:
            return SafeUnpickler(file).load()
        except MemoryError:
            raise
        except Exception:  # a broken pickle raises whatever the operation does that it names
            return None


def _written(folder: Path, since_s: float, until_s: float) -> Iterable[tuple[float, int, str]]:
    """When, how large and where."""
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(MAX_NAMES), entries, strict=False):
                if entry.name.endswith(SUFFIXES) and entry.is_file(follow_symlinks=False):
                    known = entry.stat(follow_symlinks=False)
                    if since_s <= known.st_mtime <= until_s and known.st_uid == os.getuid():
                        yield known.st_mtime, known.st_size, entry.path
    except OSError:  # gone, or not ours to read
        return


def _unread(name: str, why: str) -> MemorySnapshot:
    return {
        "name": name[:MAX_TEXT],
        "reserved_bytes": 0,
        "allocated_bytes": 0,
        "rows": [],
        "rest_bytes": 0,
        "trouble": why,
    }
