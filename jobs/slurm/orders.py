"""What a daemon asks of Slurm in one go, answered by a process of its own: a cluster that does not answer holds up nothing else.

    python jobs/__main__.py slurm FOLDER      orders as JSON on standard input, answers on standard output

FOLDER is the queue's. Its lock keeps the process of a daemon that was killed and that of its successor from submitting at the same time.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ..request import JobRequest, request_from
from .answers import SlurmJob
from .programs import NO_CLUSTER, SlurmError
from .site import site_of
from .slurm import Slurm

SlurmWish: TypeAlias = Literal["hold", "release", "cancel"]
LOCK = "slurm.lock"
MOST_S = 60.0  # after which what is left waits for the next time


class SlurmOrder(NamedTuple):
    """Of one attempt: what has become of it, after what is asked for is done."""

    job: int  # ours
    attempt: int
    number: int | None  # Slurm's; None: not known yet
    folder: Path  # of the run
    name: str
    request: JobRequest | None  # to submit it
    may_be_there: bool = False  # it was submitted before, perhaps: then Slurm is asked first
    wish: SlurmWish | None = None


class SlurmAnswer(NamedTuple):
    """Of one order."""

    job: int
    attempt: int
    number: int | None
    seen: SlurmJob | None = None
    done: SlurmWish | None = None
    error: str = ""  # a sentence


def main(folder: Path) -> int:
    asked = json.load(sys.stdin)
    orders = [order_from(fields) for fields in asked["orders"]]
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    json.dump([answer._asdict() for answer in answers(Slurm(site_of(asked["site"])), orders)], sys.stdout)
    return 0


def answers(slurm: Slurm, orders: Sequence[SlurmOrder]) -> Iterator[SlurmAnswer]:
    """One call of `squeue` for all; what there was no time for has no answer."""
    until_s = time.monotonic() + MOST_S
    try:
        seen = slurm.look({order.number: order.folder for order in orders if order.number is not None})
    except SlurmError as error:
        yield from (SlurmAnswer(order.job, order.attempt, order.number, error=str(error)) for order in orders)
        return
    for order in orders:
        if time.monotonic() < until_s:
            yield _answer(slurm, order, None if order.number is None else seen.get(order.number))


def _answer(slurm: Slurm, order: SlurmOrder, seen: SlurmJob | None) -> SlurmAnswer:
    answer = SlurmAnswer(order.job, order.attempt, order.number, seen)
    try:
        if answer.number is None and order.may_be_there and (found := slurm.find(order.folder)):
            answer = answer._replace(number=found.id, seen=found)
        if answer.number is None and order.wish == "cancel":
            return answer._replace(done="cancel")
        if answer.number is None and order.request:
            number = slurm.submit(order.request, order.name, order.folder, Path(order.request.log_dir))
            answer = answer._replace(number=number)
        if order.wish and answer.number is not None:
            {"hold": slurm.hold, "release": slurm.release, "cancel": slurm.cancel}[order.wish](answer.number)
            answer = answer._replace(done=order.wish)
    except SlurmError as error:
        if order.wish == "cancel" and order.number is None and NO_CLUSTER in str(error):
            return answer._replace(done="cancel")  # nothing can have been submitted from here
        return answer._replace(error=str(error))
    return answer


def as_json(site: Mapping[str, object], orders: Sequence[SlurmOrder]) -> str:
    """For standard input."""
    rows = [
        order._asdict() | {"folder": str(order.folder), "request": order.request.as_json() if order.request else None}
        for order in orders
    ]
    return json.dumps({"site": dict(site), "orders": rows})


def order_from(fields: Mapping[str, Any]) -> SlurmOrder:
    request = request_from(fields["request"]) if fields["request"] else None
    return SlurmOrder(**{**fields, "folder": Path(fields["folder"]), "request": request})


def answers_from(text: bytes) -> list[SlurmAnswer]:
    """Of standard output. Raises ValueError where the process did not come to its end."""
    rows = json.loads(text)
    return [SlurmAnswer(**{**row, "seen": SlurmJob(*row["seen"]) if row["seen"] else None}) for row in rows]
