"""What the daemon asks of a place where the plan starts attempts: this host (`local.py`). Slurm plans by itself (`service/slurm_driver.py`).

An executor keeps nothing in memory that it could not find again: `look` answers from what the kernel and files say, so that a
daemon that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from ..queue import OpenAttempt
from ..state_folder import QueueError


class ProcessName(NamedTuple):
    """Unique over reboots."""

    boot_id: str
    pid: int
    ticks: int  # of the boot's clock, at its start


class WantedAttempt(NamedTuple):
    """One start of a job."""

    job: int
    number: int  # 1 for its first attempt
    argv: tuple[str, ...]
    cwd: str
    environment: Mapping[str, str]
    slots: tuple[str, ...]
    gpus: tuple[str, ...] = ()  # UUIDs, for CUDA_VISIBLE_DEVICES
    cores: tuple[int, ...] = ()  # on which alone it runs; () for all
    run: Path | None = None  # the folder of its run
    log_dir: Path | None = None


class AttemptEnd(NamedTuple):
    code: int | None  # negative for a signal; None: not known
    ended_s: float | None = None
    said: str = ""  # a sentence, "" where the code says it all
    begun: bool = True  # whether the command was executed at all


class AttemptSeen(NamedTuple):
    """What has become of an attempt."""

    state: Literal["starting", "running", "ended"]
    process: ProcessName | None = None  # once it is known
    end: AttemptEnd | None = None  # where it has ended


class NotNow(QueueError):
    """An attempt could not be started, and it is not the job's fault: it is tried again."""


class Executor(Protocol):
    """Raises QueueError, with a sentence, where an attempt cannot be started; `look` never does."""

    def start(self, wanted: WantedAttempt) -> None:
        """The attempt stands in the queue's file already. Returns at once. Raises NotNow where another try may help."""

    def look(self, attempt: OpenAttempt) -> AttemptSeen: ...

    def processes(self, attempts: Sequence[OpenAttempt]) -> dict[tuple[int, int], list[int]]:
        """The pids of each, by job and number, in one look."""

    def ask_to_end(self, attempt: OpenAttempt) -> bool:
        """SIGTERM; False where there is nothing to ask: its program has ended."""

    def withdraw(self, attempt: OpenAttempt) -> None:
        """Its program is not there yet: it is not to come."""

    def kill(self, attempt: OpenAttempt) -> None:
        """It was asked, and its time is over."""
