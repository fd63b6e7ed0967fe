"""The collector's Unix socket, for requests of the web process: one JSON object per line each way."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from access import unix_socket
from access.unix_socket import short_path

FILE = "control.sock"
TIMEOUT_S = 2.0
MAX_CONNECTIONS = 32  # at a time; the next one is closed at once
MAX_BYTES = 1 << 16  # of a question
MAX_ANSWER_BYTES = 64 << 20

log = logging.getLogger(__name__)

Verb = Callable[..., Any]


class ControlError(Exception):
    """The collector does not answer, or refuses; the text says which."""


class ControlServer:
    """Answers `{"verb": "watch", "runs": ["a"], "until": 1.5}` with `{"ok": ...}` or `{"error": "..."}`."""

    def __init__(self, data_dir: Path, verbs: Mapping[str, Verb]) -> None:
        path = data_dir / FILE
        path.unlink(missing_ok=True)  # left behind by a killed writer; we hold its lock
        with short_path(path) as address:
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
        with unix_socket.connect(data_dir / FILE, TIMEOUT_S) as connection:
            answer = unix_socket.ask(connection, {"verb": verb, **arguments}, MAX_ANSWER_BYTES)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ControlError(
            "no collector is at work: the dashboard starts it again, so try again in a moment"
        ) from error
    except (OSError, ValueError) as error:
        raise ControlError("the collector does not answer: try again in a moment") from error
    if not isinstance(answer, dict) or not answer.keys() & {"error", "ok"}:
        raise ControlError("the collector answers as no version of it does")
    if "error" in answer:
        raise ControlError(str(answer["error"]))
    return answer["ok"]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS
    verbs: Mapping[str, Verb]

    def __init__(self, address: str, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(address, handler)
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no further thread can be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(socketserver.StreamRequestHandler):
    server: _Server
    timeout = TIMEOUT_S

    def handle(self) -> None:
        try:
            line = self.rfile.readline(MAX_BYTES)
        except OSError:  # gone, or too slow
            return
        try:
            request = json.loads(line)
            verb = self.server.verbs[request.pop("verb")]
            answer = json.dumps({"ok": verb(**request)})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            answer = json.dumps({"error": f"bad request: {error}"})
        except Exception as error:  # an error affects only its request; it is logged, and sent as the answer
            log.warning("a question cannot be answered", exc_info=True)
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        try:
            self.wfile.write(answer.encode() + b"\n")
        except OSError:  # the client is gone
            return
