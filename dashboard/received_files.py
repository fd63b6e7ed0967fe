"""Runs handed over by other hosts: their files, quotas and order."""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from access.files import Unwritable
from collectors.folders import FOLDER
from collectors.logs.recognition import format_of

from .queries import BadRequest

# Append what another host hands over to its copy of the run's files, each byte exactly once.
#
# The sender says at which offset its bytes belong. They are taken if that is how long the file is here; else the answer is the length,
# and the sender goes on from there. They are on the disk before the answer is.

MAX_BYTES = 4 << 20  # of a request
QUOTA_BYTES = 20 << 30  # of all files of a writer
MAX_RUNS, MAX_FILES = 10_000, 200_000  # of a writer: folders with files, and files
NEW_RUNS, NEW_FILES, NEW_PER_S = 300, 3_000, 60.0  # that a writer may begin within that time
RECOUNT_S = 60.0  # between two counts of what a writer has that is at its limit
SOON = f"; deletions are noticed within {RECOUNT_S:.0f} s"
HEAD_BYTES = 256
LONGEST_NAME, DEEPEST = 200, 8  # bytes of a file's or folder's name; folders of a run
REPLACED = "run.json"  # describes a run, and is written anew each time it starts: whole, at offset 0
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

T = TypeVar("T")


class OffsetConflict(Exception):
    """The file has another length here: the sender goes on from there."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size:,} bytes here; go on from offset {size}")
        self.size = size


class ReceivedFiles:
    """The files of one writer. From many threads: what is appended to a file is appended whole, one after the other."""

    def __init__(self, log_dir: Path, writer: str, quota_bytes: int = QUOTA_BYTES) -> None:
        self._log_dir, self._writer, self._quota = log_dir, writer, quota_bytes
        self._lock = Lock()  # for what is counted
        self._used = _RunningTotal(partial(_bytes_below, log_dir / FOLDER / writer))
        self._files = _RunningTotal(partial(_files_below, log_dir / FOLDER / writer))
        self._begun: deque[tuple[float, bool]] = (
            deque()
        )  # when files were begun lately, CLOCK_MONOTONIC, and whether a run was with them

    def append(self, run: str, file: str, offset: int, data: bytes, head: str = "") -> int:
        """The length of the file then. `head`, where it is given, is that of the sender's file (`head_of`).

        Raises BadRequest, OffsetConflict, Unwritable.
        """
        folders = _checked(run, file)
        self._admit(run, file)
        try:
            with self._folder(folders) as folder:
                self._reserve(len(data))
                if file == REPLACED and offset == 0:
                    return _replace(folder, file, data)
                return _append(folder, file, offset, data, head)
        except OSError as error:
            place = "/".join((FOLDER, self._writer, run, file))
            raise Unwritable(f"cannot write {place} ({error.strerror or error})") from error

    def _admit(self, run: str, file: str) -> None:
        """Count a file that is new. Raises Unwritable where a writer has begun too many of them, or has them."""
        with self._lock:
            if file in self._files.value.get(run, ()):
                return
            is_new_run, now_s = run not in self._files.value, time.monotonic()
            while self._begun and now_s - self._begun[0][0] > NEW_PER_S:
                self._begun.popleft()
            runs, files = sum(new for _, new in self._begun), len(self._begun)
            if files >= NEW_FILES or (is_new_run and runs >= NEW_RUNS):
                raise Unwritable(
                    f"{FOLDER}/{self._writer} has begun {runs:,} runs and {files:,} files within {NEW_PER_S:.0f} s, "
                    f"and may begin {NEW_RUNS:,} and {NEW_FILES:,}: try again in a minute"
                )
            if _is_full(self._files.value, is_new_run) and _is_full(self._files.again(), is_new_run):
                raise Unwritable(
                    f"{FOLDER}/{self._writer} has {len(self._files.value):,} runs, and may have {MAX_RUNS:,} with {MAX_FILES:,} files: "
                    f"delete runs there that are no longer needed{SOON}"
                )
            self._files.value.setdefault(run, set()).add(file)
            self._begun.append((now_s, is_new_run))

    @contextmanager
    def _folder(self, names: list[str]) -> Iterator[int]:
        """A descriptor of the run's folder; what is missing is made, and no link is followed."""
        held = [os.open(self._log_dir, FOLDER_FLAGS & ~os.O_NOFOLLOW)]
        try:
            for name in (FOLDER, self._writer, *names):
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=held[-1])
                    os.fsync(held[-1])
                held.append(os.open(name, FOLDER_FLAGS, dir_fd=held[-1]))
            yield held[-1]
        finally:
            for descriptor in held:
                os.close(descriptor)

    def _reserve(self, count: int) -> None:
        """Raises Unwritable where the writer has used up its share."""
        with self._lock:
            if self._used.value + count > self._quota and self._used.again() + count > self._quota:
                raise Unwritable(
                    f"{FOLDER}/{self._writer} has {self._used.value / 1e9:,.1f} GB, and may have {self._quota / 1e9:,.1f} GB: "
                    f"delete runs there that are no longer needed{SOON}"
                )
            self._used.value += count


class _RunningTotal(Generic[T]):
    """What a walk over all files of a writer has found, which its owner keeps up to date; what is deleted counts until the next walk."""

    def __init__(self, walk: Callable[[], T]) -> None:
        self._walk = walk
        self._walked_s = -math.inf  # CLOCK_MONOTONIC

    @cached_property
    def value(self) -> T:
        found, self._walked_s = self._walk(), time.monotonic()
        return found

    def again(self) -> T:
        """Counted anew, unless that was done a moment ago: a writer at its limit may ask thousands of times."""
        if time.monotonic() - self._walked_s >= RECOUNT_S:
            del self.value
        return self.value


def _checked(run: str, file: str) -> list[str]:
    """The names of the run's folders. Raises BadRequest."""
    folders = run.split("/")
    if len(folders) > DEEPEST:
        raise BadRequest(f"run: at most {DEEPEST} folders, not {len(folders)}")
    for name in (*folders, file):
        if (
            not name
            or name.startswith(".")
            or not name.isprintable()
            or len(name.encode(errors="replace")) > LONGEST_NAME
            or "/" in name
        ):
            raise BadRequest(
                f"{name!r} is no name for a run or a file: 1 to {LONGEST_NAME} printable bytes, and no dot in front"
            )
    known = format_of(f"{run}/{file}")
    if known is None or known.reading == "database":
        raise BadRequest(f"{file!r} is no file of a run that is followed; docs/integrations.md lists them")
    return folders


def head_of(data: bytes) -> str:
    """By which a file is known again: `b'{"time_s":...' -> "9f86d081884c7d65"`, of its first bytes as far as the offset."""
    return hashlib.sha256(data[:HEAD_BYTES]).hexdigest()[:16]


def _append(folder: int, file: str, offset: int, data: bytes, head: str) -> int:
    descriptor = os.open(file, FILE_FLAGS, 0o600, dir_fd=folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # another dashboard may serve the same folder
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BadRequest(f"{file!r} is no regular file here")
        if found.st_size != offset:
            raise OffsetConflict(found.st_size)
        if head and head != head_of(os.pread(descriptor, min(HEAD_BYTES, offset), 0)):
            raise BadRequest(f"{file} is of another run that has this name already: give the run a new name")
        _write_all(descriptor, data, back_to=offset)
        os.fsync(descriptor)
        if offset == 0:
            os.fsync(folder)
        return offset + len(data)
    finally:
        os.close(descriptor)


def _replace(folder: int, file: str, data: bytes) -> int:
    fresh = f".{file}.{os.getpid()}.{id(data)}"
    descriptor = os.open(fresh, FILE_FLAGS | os.O_EXCL, 0o600, dir_fd=folder)
    try:
        _write_all(descriptor, data, back_to=0)
        os.fsync(descriptor)
        os.rename(fresh, file, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise
    finally:
        os.close(descriptor)
    os.fsync(folder)
    return len(data)


def _write_all(descriptor: int, data: bytes, back_to: int) -> None:
    """All of it or nothing: a full disk may have taken a part."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, back_to)
        raise


def _is_full(files: Mapping[str, Collection[str]], is_new_run: bool) -> bool:
    return (is_new_run and len(files) >= MAX_RUNS) or sum(map(len, files.values())) >= MAX_FILES


def _files_below(folder: Path) -> dict[str, set[str]]:
    """By run, the names of its files."""
    return {
        str(Path(parent).relative_to(folder)): {name for name in files if not name.startswith(".")}
        for parent, _, files in os.walk(folder)
        if files
    }


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118
    return total
