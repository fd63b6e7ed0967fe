"""A client of a Unix socket: one JSON object a line each way, and the process at the other end as the kernel knows it."""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

CREDENTIALS = struct.Struct("=iII")  # struct ucred
MIN_PAUSE_S, MAX_PAUSE_S = 0.01, 0.2


class UnixPeer(NamedTuple):
    pid: int
    uid: int


def peer_of(connection: socket.socket) -> UnixPeer:
    """The process that has connected, or that listens. Raises OSError."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, uid, _ = CREDENTIALS.unpack(found)
    return UnixPeer(pid, uid)


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The address of a socket may have 107 bytes, a path more: its folder is opened, and named by the descriptor. Raises OSError."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(path: Path, timeout_s: float, busy_s: float = 0.0) -> socket.socket:
    """`busy_s` is how long it is tried where more ask than the kernel keeps waiting; then BlockingIOError. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    until_s, pause_s = time.monotonic() + busy_s, MIN_PAUSE_S
    try:
        with short_path(path) as address:
            while True:
                try:
                    connection.connect(address)
                    return connection
                except BlockingIOError:
                    if time.monotonic() >= until_s:
                        raise
                time.sleep(pause_s)
                pause_s = min(MAX_PAUSE_S, 2 * pause_s)
    except BaseException:
        connection.close()
        raise


def ask(connection: socket.socket, question: Mapping[str, object], max_bytes: int) -> Any:
    """The answer, as JSON. Raises OSError, of that ConnectionError where there is none; ValueError for one that cannot be read."""
    connection.sendall(json.dumps(question).encode() + b"\n")
    with connection.makefile("rb") as stream:
        line = stream.readline(max_bytes + 1)
    if len(line) > max_bytes:
        raise ValueError(f"it is longer than {max_bytes >> 20} MiB")
    if not line.endswith(b"\n"):
        raise ConnectionResetError
    return json.loads(line)
