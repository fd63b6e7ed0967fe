"""Asks the daemon of a queue to change something: what the command line and the web page share.

    client = QueueClient(state_folder())
    client.submit(request_of(["python", "train.py"], cwd="/home/me/project", environment=os.environ))   # SubmittedJob(job=7, run="train-7")
    client.hold(7); client.release(7); client.cancel(7)

Every call is one JSON object over the daemon's Unix socket, and waits for its answer: 10 s at most. Raises NoDaemon where none runs,
NoAnswer where one runs and does not answer, and QueueError with the daemon's sentence where it refuses. `request_of` is in `jobs/request.py`. Standard library only.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

from access import unix_socket
from collectors.machine.proc import user_of

from .request import JobRequest
from .state_folder import SOCKET, NoAnswer, NoDaemon, QueueError, daemon_of, require_own

ANSWER_S = 10.0
BUSY_S = 10.0  # that a daemon is tried for which more ask than the kernel keeps waiting
MAX_BYTES = 4 << 20  # of a question or an answer
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
        with connect(self._folder) as daemon:
            try:
                answer = unix_socket.ask(daemon, {"do": what, **fields}, MAX_BYTES)
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


def connect(folder: Path) -> socket.socket:
    """To the daemon of this queue, which must be this user's."""
    try:
        daemon = unix_socket.connect(folder / SOCKET, ANSWER_S, BUSY_S)
    except BlockingIOError:
        raise NoDaemon(f"the daemon of {folder} is asked too much at once; try again in a moment") from None
    except PermissionError:
        raise QueueError(f"the daemon of {folder} is another user's; each user has a queue of their own") from None
    except OSError:
        raise NoDaemon(f"no daemon runs for {folder}; {START_IT}") from None
    if (uid := unix_socket.peer_of(daemon).uid) != os.geteuid():
        daemon.close()
        raise QueueError(f"the daemon of {folder} is run by {user_of(uid)}; each user has a queue of their own")
    return daemon
