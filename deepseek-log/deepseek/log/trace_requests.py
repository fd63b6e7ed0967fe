"""The folder through which a user asks a run for a trace: `trace.request` lies in it, and the answer is written beside it.

It is `<log folder>/.deepseek/traces/<run>`, of the data folder, and `run.json` names it. Only the user whose process this is may ask:
the folder and the file must be that user's, writable by no other, and the file no link. Without a request a look costs one failed
open, about 3 us once a second, in the writer thread.
"""

from __future__ import annotations

import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Any, NamedTuple
from urllib.parse import quote

from .files import warn

DATA_FOLDER, TRACES = ".deepseek", "traces"
REQUEST = "trace.request"
MAX_REQUEST_BYTES = 4096
FRESH_S = 60.0  # an older request was meant for an earlier process
LATEST_S = 1e11  # Unix seconds: a later time is none
MAX_STEPS = 20
LONGEST_NAME = 150  # characters of a folder's name, before it is cut and gets a hash
ID = re.compile(r"[0-9a-f]{8,32}")
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_REQUEST = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
OPEN_ANSWER = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TraceRequest(NamedTuple):
    id: str
    steps: int
    rank: int


class OddRequest(Exception):
    """It is not followed; the text says why, as the end of a sentence."""


def named_in_info(run: str) -> str:
    """As run.json names it, relative to the run's folder: `sweep/a -> ../../.deepseek/traces/sweep%2Fa`.

    So it is right where the log folder has another name, too, as outside of a container.
    """
    depth = len(run.split("/"))
    return "/".join([*[".."] * depth, DATA_FOLDER, TRACES, _name_of(run)])


class TraceFolder:
    """One rank's view of the folder. Nothing is made before a user asks."""

    def __init__(self, run_folder: Path, run: str, rank: int) -> None:
        self.path = Path(os.path.normpath(run_folder / named_in_info(run)))
        self._rank = rank
        self._taken: set[str] = set()

    def look(self) -> TraceRequest | None:
        """A request for this rank, each but once; what is odd is ignored, and said once on stderr."""
        try:
            folder = os.open(self.path, OPEN_FOLDER)
        except OSError:  # nothing was asked yet
            return None
        try:
            request = self._read(folder)
        except FileNotFoundError:
            return None
        except (OSError, OddRequest) as error:
            warn(f"a request for a trace in {self.path} is ignored: {_reason(error)}")
            return None
        finally:
            os.close(folder)
        if request is None or request.rank != self._rank or request.id in self._taken:
            return None
        self._taken.add(request.id)  # it stays in the folder until its answer is about to be written
        return request

    def answer(self, request: TraceRequest, data: bytes) -> None:
        """Take the request away and write `trace-<id>.json` as a whole. Raises OSError.

        In this order: who finds the answer may ask again at once.
        """
        folder = os.open(self.path, OPEN_FOLDER)
        try:
            _check_ours(os.fstat(folder), "its folder")
            self._take_away(folder, request)
            _write_whole(folder, f"trace-{request.id}.json", data)
        except OddRequest as error:
            raise PermissionError(1, str(error)) from error
        finally:
            os.close(folder)

    def _take_away(self, folder: int, request: TraceRequest) -> None:
        """Unless another one stands there by now."""
        with suppress(OSError, OddRequest):
            if (found := self._read(folder)) is None or found.id == request.id:
                os.unlink(REQUEST, dir_fd=folder)

    def _read(self, folder: int) -> TraceRequest | None:
        """Raises OSError, OddRequest."""
        file = os.open(REQUEST, OPEN_REQUEST, dir_fd=folder)
        try:
            _check_ours(os.fstat(folder), "its folder")
            found = os.fstat(file)
            _check_ours(found, "it")
            if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                raise OddRequest("it is no file of its own")
            if found.st_size > MAX_REQUEST_BYTES:
                raise OddRequest(f"it is longer than {MAX_REQUEST_BYTES:,} bytes")
            data = os.read(file, MAX_REQUEST_BYTES)
        finally:
            os.close(file)
        return parsed(data, time())


def parsed(data: bytes, now_s: float) -> TraceRequest | None:
    """`b'{"id":"0123abcd","steps":3,"rank":0,"time_s":1.5}'`; None for one that is too old. Raises OddRequest."""
    try:
        fields: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise OddRequest("it is not JSON") from None
    if not isinstance(fields, dict):
        raise OddRequest("it is not a JSON object")
    name, steps, rank = fields.get("id"), fields.get("steps"), fields.get("rank")
    time_s: Any = fields.get("time_s")
    if not isinstance(name, str) or not ID.fullmatch(name):
        raise OddRequest("its id is not one")
    if type(steps) is not int or not 1 <= steps <= MAX_STEPS:
        raise OddRequest(f"its steps are not a number from 1 to {MAX_STEPS}")
    if type(rank) is not int or rank < 0:
        raise OddRequest("its rank is not one")
    if type(time_s) not in (int, float) or not 0 <= time_s < LATEST_S:
        raise OddRequest("its time is not one")
    return TraceRequest(name, steps, rank) if abs(now_s - time_s) <= FRESH_S else None


def _name_of(run: str) -> str:
    """`sweep/a -> sweep%2Fa`; no two runs share one."""
    name = quote(run, safe="", errors="surrogatepass")
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) <= LONGEST_NAME:
        return name
    import hashlib  # OpenSSL takes 4 ms, for those only whose run has such a name

    return f"{name[:LONGEST_NAME]}%-{hashlib.blake2b(run.encode(errors='surrogatepass'), digest_size=10).hexdigest()}"


def _check_ours(found: os.stat_result, what: str) -> None:
    """Raises OddRequest where another user could have written it."""
    if found.st_uid != os.geteuid():
        raise OddRequest(f"{what} belongs to another user (id {found.st_uid})")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OddRequest(f"other users may write to {what}")


def _write_whole(folder: int, name: str, data: bytes) -> None:
    """Raises OSError; then nothing of it is left."""
    new = f".{name}.{os.getpid()}"
    file = os.open(new, OPEN_ANSWER, 0o600, dir_fd=folder)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise
    finally:
        os.close(file)


def _reason(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)
