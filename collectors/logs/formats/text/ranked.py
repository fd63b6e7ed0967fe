"""Which process of a job has printed a line, where a launcher writes it in front of each."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .words import COUNTER

LONGEST = 40  # characters of a prefix
PREFIX = re.compile(
    r"\[(?:(?:rank|local_rank|default|trainer|worker)[ :]{0,2}(?P<torch>\d{1,6})\]:?"  # [rank3]: of PyTorch, [default0]: of torchrun, [rank: 3]
    r"|(?:\d{1,9}[.,])?(?P<mpi>\d{1,6})\](?:<(?:stdout|stderr)>:|<std(?:out|err)>))[ \t]?",  # [1,3]<stdout>: of Open MPI
    re.IGNORECASE,
)
TASK = re.compile(r" {0,5}(\d{1,5}): ")  # of `srun --label`
WORKER = re.compile(
    r"(?:\x1b\[[\d;]{0,12}m)*\(([\w.:<>\-]{1,80} pid=\d{1,10})(?:, ip=[\w.:]{1,60})?\)(?:\x1b\[[\d;]{0,12}m)* ?"
)  # of Ray
REPEATED = re.compile(r"(?:\x1b\[[\d;]{0,12}m){0,4}\s?\[repeated \d{1,9}x across (?:cluster|all nodes)\]")


class Worker(NamedTuple):
    """What Ray says of a line."""

    name: str  # RayTrainWorker pid=123
    text: str  # the line without it
    is_repeated: bool  # it stands for lines of other workers, which are not shown


def split_rank(text: str) -> tuple[int | None, str]:
    """`"[rank3]: loss 2" -> (3, "loss 2")`; None where no rank stands in front."""
    found = PREFIX.match(text, 0, LONGEST)
    return (None, text) if found is None else (int(found["torch"] or found["mpi"]), text[found.end() :])


def split_worker(text: str) -> Worker | None:
    """`"(RayTrainWorker pid=7, ip=10.0.0.1) loss 2" -> Worker("RayTrainWorker pid=7", "loss 2", False)`"""
    found = WORKER.match(text)
    if found is None:
        return None
    rest = text[found.end() :]
    repeated = REPEATED.search(rest) if "[repeated " in rest else None
    return Worker(found[1], rest[: repeated.start()] if repeated else rest, repeated is not None)


class Tasks:
    """What `srun --label` writes in front of each line: `3: step 5 loss 2`. Steps of a program look the same: `3: loss 2 batch 64`.

    They are told apart by the second line: steps rise by one with what the line counts, tasks come back or count the same.
    """

    def __init__(self, state: list[Any] | None = None) -> None:
        """`state` is an earlier `state`."""
        are_tasks, last = state if isinstance(state, list) else (None, None)
        self._are_tasks: bool | None = are_tasks  # None while it is not known
        self._last: tuple[int, str] | None = tuple(last) if last else None  # the number and the count of the last line

    def state(self) -> list[Any]:
        """[] before there was a line."""
        return [self._are_tasks, self._last] if self._last else []

    def split(self, text: str) -> tuple[int, str] | None:
        """`"3: step 5 loss 2" -> (3, "step 5 loss 2")`; None where that is no task, or not known to be one."""
        found = TASK.match(text) if self._are_tasks is not False else None
        if found is None:
            return None
        number = int(found[1])
        if self._are_tasks is None:
            count = COUNTER.search(text, found.end())
            if count is None:
                return None
            before, self._last = self._last, (number, count["done"])
            if before is None:
                return None
            self._are_tasks = number != before[0] + 1 or count["done"] == before[1]
            if not self._are_tasks:
                return None
        return number, text[found.end() :]
