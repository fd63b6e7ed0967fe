"""The daemon's socket: one JSON object a question, one an answer, for processes of its own user only."""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..asking import MOST_BYTES, peer_uid
from ..errors import QueueError
from ..state_folder import SOCKET

SEND_S = 1.0
MOST_CLIENTS = 64

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class Door:
    """`answer` gets what was asked; a QueueError that it raises is the answer."""

    def __init__(self, folder: Path, selector: selectors.BaseSelector, answer: Answer) -> None:
        self._selector, self._answer, self._path = selector, answer, folder / SOCKET
        self._waiting: dict[socket.socket, bytes] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)  # of a daemon that was killed: the lock is ours
            self._listener.bind(f"/proc/self/fd/{inside}/{SOCKET}")
        finally:
            os.umask(before)
            os.close(inside)
        self._listener.listen(MOST_CLIENTS)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for client in [*self._waiting]:
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> bool:
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            if peer_uid(client) != os.geteuid() or len(self._waiting) >= MOST_CLIENTS:
                self._send(client, {"error": "this queue is another user's; each user has a queue of their own"})
                client.close()
                return False
            client.setblocking(False)
            self._waiting[client] = b""
            self._selector.register(client, selectors.EVENT_READ, lambda: self._read(client))
        return False

    def _read(self, client: socket.socket) -> bool:
        """Whether something was asked."""
        try:
            part = client.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        data = self._waiting[client] = self._waiting[client] + part
        if part and not data.endswith(b"\n") and len(data) <= MOST_BYTES:
            return False
        if data.endswith(b"\n"):
            self._send(client, self._answered(data))
        self._drop(client)
        return data.endswith(b"\n")

    def _answered(self, data: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(data)
            return self._answer(asked if isinstance(asked, dict) else {})
        except ValueError:
            return {"error": "that is no JSON object"}
        except QueueError as error:
            return {"error": str(error)}

    def _send(self, client: socket.socket, answer: dict[str, Any]) -> None:
        client.settimeout(SEND_S)
        with suppress(OSError):  # it has gone
            client.sendall(json.dumps(answer).encode() + b"\n")

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._waiting[client]
        client.close()
