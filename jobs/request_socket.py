"""The daemon's socket: one JSON object a question, one an answer, for processes of its own user only.

Nothing that a question holds ends the daemon: what cannot be done is a sentence to the one who asked (`client.py`).
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from access.unix_socket import peer_of, short_path

from .client import MAX_BYTES
from .queue import FileError, cannot_keep
from .state_folder import SOCKET, QueueError

SEND_S = 1.0
MAX_CLIENTS = 64  # that are about to ask; of more, the one that has been silent for longest is dropped
BACKLOG = 1024  # that are not accepted yet; the kernel's own limit may be lower
FULL_S = 0.05  # until the next try, where no more files can be opened

logger = logging.getLogger("deepseek-jobs")

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class RequestSocket:
    """`answer` gets what was asked; a QueueError that it raises is the answer."""

    def __init__(self, folder: Path, selector: selectors.BaseSelector, answer: Answer) -> None:
        self._selector, self._answer, self._path = selector, answer, folder / SOCKET
        self._waiting: dict[
            socket.socket, bytes
        ] = {}  # what each has said so far; the one that was silent for longest first
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        unheard = folder / f"{SOCKET}.new"
        before = os.umask(0o177)
        try:
            unheard.unlink(missing_ok=True)
            with short_path(unheard) as address:
                self._listener.bind(address)
        finally:
            os.umask(before)
        self._inode = unheard.stat().st_ino
        self._listener.listen(BACKLOG)
        unheard.replace(self._path)  # now that it answers; over that of a daemon that was killed: the lock is ours
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for client in [*self._waiting]:
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        with suppress(OSError):  # the folder was removed
            if self._path.stat().st_ino == self._inode:  # else the next daemon's
                self._path.unlink()

    def _accept(self) -> bool:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:  # too many open files
            logger.warning("cannot hear who asks: %s", error)
            time.sleep(FULL_S)
            return False
        if peer_of(client).uid != os.geteuid():
            self._send(client, {"error": "this queue is another user's; each user has a queue of their own"})
            client.close()
            return False
        if len(self._waiting) >= MAX_CLIENTS:
            self._drop(next(iter(self._waiting)))
        client.setblocking(False)
        self._waiting[client] = b""
        self._selector.register(client, selectors.EVENT_READ, lambda: self._read(client))
        return False

    def _read(self, client: socket.socket) -> bool:
        """Whether something was asked."""
        if client not in self._waiting:  # dropped since the selector looked
            return False
        try:
            part = client.recv(1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        data = self._waiting.pop(client) + part
        self._waiting[client] = data
        if part and not data.endswith(b"\n") and len(data) <= MAX_BYTES:
            return False
        if data.endswith(b"\n"):
            self._send(client, self._answered(data))
        self._drop(client)
        return data.endswith(b"\n")

    def _answered(self, data: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(data)
        except (ValueError, RecursionError):
            asked = None
        if not isinstance(asked, dict):
            return {"error": "that is no JSON object"}
        try:
            return self._answer(asked)
        except QueueError as error:
            return {"error": str(error)}
        except (FileError, OSError) as error:
            logger.warning("cannot %.100s: %s", asked.get("do"), error)
            return {"error": cannot_keep(error)}
        except Exception as error:
            logger.exception("cannot do what was asked: %.300s", asked)
            return {"error": f"the daemon cannot do that ({type(error).__name__}: {error}); see its log"}

    def _send(self, client: socket.socket, answer: dict[str, Any]) -> None:
        client.settimeout(SEND_S)
        with suppress(OSError):  # it has gone
            client.sendall(json.dumps(answer).encode() + b"\n")

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        del self._waiting[client]
        client.close()
