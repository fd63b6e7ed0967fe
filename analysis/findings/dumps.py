"""Reads dumps and pickles of unknown origin in a child process with limits of memory and time."""

from __future__ import annotations

import json
import os
import pickle
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from collectors.machine.proc import PROC, environment_of
from collectors.machine.run_state import RunProcess
from collectors.rights import NotGiven, rights_of_process, with_rights

from ..dumps import MAX_TEXT, FlightRank, MemorySnapshot, flight_ranks, snapshot_of

MAX_MEMORY = 3 << 30
MAX_ANSWER = 16 << 20
ROOT = Path(__file__).parents[2]


class ReadTimeout(Exception):
    """It took longer than it may."""


def read_apart(function: Callable[..., Any], file: IO[bytes], within_s: float, *arguments: str) -> Any:
    """What `function(file, *arguments)` returns, a value of JSON; None where it fails, or returns too much. The function is one of a module's own.

    Raises ReadTimeout; OSError where no process can be started.
    """
    command = [sys.executable, "-P", "-m", __spec__.name, f"{function.__module__}:{function.__name__}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, start_new_session=True
    ) as process:
        try:
            text, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            raise ReadTimeout from None
        finally:
            process.kill()
    try:
        return json.loads(text or b"null")
    except ValueError:  # it was ended in the middle of its answer
        return None


def main() -> None:
    """The process that reads."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(10)
    module, _, name = sys.argv[1].partition(":")
    try:
        found = json.dumps(getattr(import_module(module), name)(sys.stdin.buffer, *sys.argv[2:]))
    except Exception:  # whatever a broken file raises, MemoryError too
        found = "null"
    sys.stdout.write(found if len(found) <= MAX_ANSWER else "null")


if __name__ == "__main__":
    main()


# Read pickles of numbers, texts, lists and tables alone: a file that another program wrote may run nothing here.


class SafeUnpickler(pickle.Unpickler):
    """Raises UnpicklingError for a pickle that names anything to be imported or called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it has a persistent id")


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


# Read the dumps of PyTorch's flight recorder, which a job writes when a collective times out.

PREFIXES = (
    "TORCH_FR_DUMP_TEMP_FILE",
    "TORCH_NCCL_DEBUG_INFO_TEMP_FILE",
)  # variables; their value, and the rank behind it
USUAL = "/tmp/nccl_trace_rank_"  # PyTorch's own
MAX_BYTES = 64 << 20
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
        with with_rights(rights):
            folder, file = os.stat(os.path.dirname(path)), os.lstat(path)  # noqa: PTH116, PTH120
            is_planted = bool(folder.st_mode & stat.S_IWOTH) and file.st_uid != rights.uid
            return None if is_planted else open_plain_file(path, since_s, MAX_BYTES)
    except (OSError, ValueError, KeyError, NotGiven):
        return None


def read_dump(file: IO[bytes], rank: int, within_s: float = READ_WITHIN_S) -> list[FlightRank]:
    """Empty for what is not as PyTorch writes it, or costs too much."""
    try:
        rows = read_apart(rows_of, file, max(0.0, within_s)) or []
    except (ReadTimeout, OSError):
        return []
    return [FlightRank(rank, *row) for row in rows]


def rows_of(file: IO[bytes]) -> list[Any]:
    """For the process that reads: without the rank."""
    return [row[1:] for row in flight_ranks({0: SafeUnpickler(file).load()})]


# Find the memory snapshot that a script wrote beside its logs. It may be large, and a file of that name may be anything: it is read apart.

SUFFIXES = (".pickle", ".pkl")
MAX_SNAPSHOT_BYTES = 256 << 20
MAX_NAMES = 10_000  # of a folder, that are looked at
MAX_TRIED = 3  # files: a job of many ranks writes one a rank


def memory_snapshot(folders: Iterable[Path], since_s: float, until_s: float) -> MemorySnapshot | None:
    """Of the newest that was written in these folders between the two times; None where there is none. Takes up to READ_WITHIN_S."""
    written = sorted(
        (found for folder in dict.fromkeys(folders) for found in _written(folder, since_s, until_s)), reverse=True
    )
    for _, size, path in written[:MAX_TRIED]:
        name = Path(path).name
        if size > MAX_SNAPSHOT_BYTES:
            return _unread(
                name, f"It has {size >> 20} MiB, too many to be read here: open it at pytorch.org/memory_viz."
            )
        found = _read(path, since_s)
        if found is not None:
            return found
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


def _read(path: str, since_s: float) -> MemorySnapshot | None:
    """None for what is no snapshot."""
    file = open_plain_file(path, since_s, MAX_SNAPSHOT_BYTES)
    if file is None:
        return None
    name = Path(path).name.encode("utf-8", "replace").decode()
    with file:
        try:
            return cast(MemorySnapshot | None, read_apart(held_memory, file, READ_WITHIN_S, name))
        except ReadTimeout:
            return _unread(
                name, f"It could not be read within {READ_WITHIN_S:.0f} s: open it at pytorch.org/memory_viz."
            )
        except OSError as error:
            return _unread(name, f"It could not be read: {error.strerror}.")


def held_memory(file: IO[bytes], name: str) -> MemorySnapshot | None:
    """For the process that reads."""
    return snapshot_of(name, SafeUnpickler(file).load())


def _unread(name: str, why: str) -> MemorySnapshot:
    return {
        "name": name[:MAX_TEXT],
        "reserved_bytes": 0,
        "allocated_bytes": 0,
        "rows": [],
        "rest_bytes": 0,
        "trouble": why,
    }
