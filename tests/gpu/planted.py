"""The planted causes: what the ledger and blame should say of each."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

CauseName: TypeAlias = Literal[
    "decoding",
    "workers",
    "syncs",
    "launches",
    "gil",
    "logging",
    "checkpoints",
    "validation",
    "garbage",
    "copies",
    "lock",
    "python",
]


RUN = "checked"  # the training's name as a run


class Cause(NamedTuple):
    name: CauseName
    kind: str  # of the ledger
    function: str  # of training.py, that blame should name
    needs_card: bool = False  # on a CPU it is work like any other


CAUSES = (
    Cause("decoding", "data", "decode_image"),
    Cause("workers", "data", "decode_in_worker"),
    Cause("syncs", "sync", "read_losses", needs_card=True),
    Cause("launches", "launch", "many_small_kernels", needs_card=True),
    Cause("gil", "gil", "tokenize"),
    Cause("logging", "log", "write_log"),
    Cause("checkpoints", "checkpoint", "save_checkpoint"),
    Cause("validation", "validation", "validate"),
    Cause("garbage", "gc", "gc"),
    Cause("copies", "copy", "upload", needs_card=True),
    Cause("lock", "lock", "write_cache"),
    Cause("python", "python", "count_words"),
)


class Turn(NamedTuple):
    """While a cause is on; Unix seconds."""

    cause: CauseName
    begin_s: float
    end_s: float


class Timing(NamedTuple):
    """How long the stretches of the plan are, in seconds."""

    healthy_first_s: float
    cause_s: float
    healthy_s: float  # after each


def turns_of(names: list[CauseName], begin_s: float, timing: Timing) -> list[Turn]:
    """One cause after the other."""
    length_s = timing.cause_s + timing.healthy_s
    starts = [begin_s + timing.healthy_first_s + at * length_s for at in range(len(names))]
    return [Turn(name, start_s, start_s + timing.cause_s) for name, start_s in zip(names, starts, strict=True)]
