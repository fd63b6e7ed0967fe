"""Asks the daemon of a queue to change something: what the command line and the web page share.

    client = QueueClient(state_folder())
    client.submit(request_of(["python", "train.py"], cwd="/home/me/project", environment=os.environ))   # SubmittedJob(job=7, run="train-7")
    client.hold(7); client.release(7); client.cancel(7)

Every call is one JSON object over the daemon's Unix socket, and waits for its answer: 10 s at most. Raises NoDaemon where none runs,
NoAnswer where one runs and does not answer, and QueueError with the daemon's sentence where it refuses. `request_of` is in `jobs/request.py`. Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from collectors.machine.proc import user_of

from .request import JobRequest
from .state_folder import SOCKET, NoAnswer, NoDaemon, QueueError, daemon_of, require_own

ANSWER_S = 10.0
BUSY_S = 10.0  # that a daemon is tried for which more ask than the kernel keeps waiting
MAX_BYTES = 4 << 20  # of a question or an answer
CREDENTIALS = struct.Struct("=iII")  # struct ucred
START_IT = "start one with: deepseek-jobs daemon"


class SubmittedJob(NamedTuple):
    job: int
    run: str  # the name of its run in the log folder


class QueueClient:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def submit(self, request: JobRequest) -> SubmittedJob:
        """Durable once it returns."""
        answer = self.ask("submit", request=request.as_json())
        return SubmittedJob(answer["job"], answer["run"])

    def cancel(self, job: int) -> bool:
        """Whether it ran: it is asked to end, and cancelled when it has."""
        return bool(self.ask("cancel", job=job)["ran"])

    def hold(self, job: int) -> None:
        """A queued job waits until `release`."""
        self.ask("hold", job=job)

    def release(self, job: int) -> None:
        self.ask("release", job=job)

    def stop(self) -> None:
        """End the daemon; jobs run on, and the next daemon takes them over."""
        self.ask("stop")

    def answers(self) -> bool:
        """Whether a daemon is there."""
        try:
            self.ask("about")
        except (NoDaemon, NoAnswer):
            return False
        return True

    def ask(self, what: str, **fields: object) -> dict[str, Any]:
        require_own(self._folder)
        with connected(self._folder) as daemon:
            try:
                daemon.sendall(json.dumps({"do": what, **fields}).encode() + b"\n")
                answer = json.loads(_line(daemon))
            except TimeoutError:
                pid = daemon_of(self._folder)
                raise NoAnswer(
                    f"the daemon{f' (pid {pid})' if pid else ''} has not answered for {ANSWER_S:g} s; what was asked may be done yet: look with "
                    f"deepseek-jobs queue, and if it hangs, end it with kill -9 and ask again: jobs run on"
                ) from None
            except ConnectionError:
                raise NoDaemon(
                    f"the daemon of {self._folder} ended before it answered; see {self._folder}/daemon.log, and ask again"
                ) from None
            except ValueError as error:
                raise NoDaemon(
                    f"the daemon of {self._folder} gave an answer that cannot be read ({error}); see {self._folder}/daemon.log"
                ) from None
        if not isinstance(answer, dict) or "error" in answer:
            raise QueueError(str(answer.get("error") if isinstance(answer, dict) else answer))
        return answer


@contextmanager
def connected(folder: Path) -> Iterator[socket.socket]:
    """The socket of the daemon of this queue, which must be this user's. Its path may be longer than the 107 bytes of an address."""
    try:
        inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise NoDaemon(f"no daemon runs for {folder}; {START_IT}") from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as daemon:
        daemon.settimeout(ANSWER_S)
        try:
            _connect(daemon, f"/proc/self/fd/{inside}/{SOCKET}")
        except BlockingIOError:
            raise NoDaemon(f"the daemon of {folder} is asked too much at once; try again in a moment") from None
        except PermissionError:
            raise QueueError(f"the daemon of {folder} is another user's; each user has a queue of their own") from None
        except OSError:
            raise NoDaemon(f"no daemon runs for {folder}; {START_IT}") from None
        finally:
            os.close(inside)
        if (uid := peer_uid(daemon)) != os.geteuid():
            raise QueueError(f"the daemon of {folder} is run by {user_of(uid)}; each user has a queue of their own")
        yield daemon


def _connect(daemon: socket.socket, address: str) -> None:
    """Tried again for as long as too many others are about to ask. Raises OSError."""
    until_s, pause_s = time.monotonic() + BUSY_S, 0.01
    while True:
        try:
            return daemon.connect(address)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise
        time.sleep(pause_s)
        pause_s = min(0.2, 2 * pause_s)


def peer_uid(connection: socket.socket) -> int:
    """Of the process at the other end, as the kernel says."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return int(CREDENTIALS.unpack(found)[1])


def _line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionResetError
        if len(data) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES >> 20} MiB")
        data += part
    return data
