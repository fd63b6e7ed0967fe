"""The collector's Unix socket, by which the web process asks for things: one JSON object a line each way."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FILE = "control.sock"
TIMEOUT_S = 2.0

Verb = Callable[..., Any]


class ControlError(Exception):
    """The collector does not answer, or refuses; the text says which."""


class ControlServer:
    """Answers `{"verb": "watch", "runs": ["a"], "until": 1.5}` with `{"ok": ...}` or `{"error": "..."}`."""

    def __init__(self, data_dir: Path, verbs: Mapping[str, Verb]) -> None:
        path = data_dir / FILE
        path.unlink(missing_ok=True)  # left behind by a killed writer; we hold its lock
        with short_path(data_dir) as address:
            self._server = _Server(address, _Handler)
            Path(address).chmod(0o600)
        self._server.verbs = verbs
        self._path = path
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="control", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink(missing_ok=True)


def ask(data_dir: Path, verb: str, **arguments: object) -> Any:
    """One question to the live collector. Raises ControlError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, short_path(data_dir) as address:
            connection.settimeout(TIMEOUT_S)
            connection.connect(address)
            connection.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise ControlError(f"the collector does not answer ({error})") from error
    if "error" in answer or "ok" not in answer:
        raise ControlError(str(answer.get("error", "the collector closed the connection")))
    return answer["ok"]


@contextmanager
def short_path(data_dir: Path) -> Iterator[str]:
    """A socket's path may have 107 bytes, a data folder's more: it is reached through its descriptor."""
    descriptor = os.open(data_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{FILE}"
    finally:
        os.close(descriptor)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    verbs: Mapping[str, Verb]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    timeout = TIMEOUT_S

    def handle(self) -> None:
        try:
            request = json.loads(self.rfile.readline(1 << 16))
            verb = self.server.verbs[request.pop("verb")]
            answer = {"ok": verb(**request)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            answer = {"error": f"bad request: {error}"}
        try:
            self.wfile.write(json.dumps(answer).encode() + b"\n")
        except OSError:  # the asker is gone
            return
