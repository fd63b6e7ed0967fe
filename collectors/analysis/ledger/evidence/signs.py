"""By which frames and phases of the step log the ledger knows what a thread is at: one row a sign."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ....records import Frame
from ...stacks.waits import reason_of
from ..kinds import TimeKind


class Sign(NamedTuple):
    kind: TimeKind
    function: str  # a pattern for the function's name, without its class
    file: str = ""  # a part of the path
    own: bool = True  # a name says so only in the user's own code


SIGNS: Final = (  # the first kind that any frame of a stack shows
    Sign("checkpoint", "", "/torch/distributed/checkpoint/", own=False),
    Sign("checkpoint", r"^(save|save_file|_save|_legacy_save)$", "/safetensors/", own=False),
    Sign("checkpoint", r"^(save|write|store)_(checkpoint|ckpt|model|state)|^_?checkpoint$"),
    Sign("validation", r"^(run_|do_)?(eval|evaluate|evaluation|validate|validation)(_\w+)?$|^(test|eval|val)_(epoch|loop)$"),
    Sign("data", "", "/torch/utils/data/", own=False),
    Sign("data", r"^__getitems?__$|^collate(_\w+)?$|(^|_)(decode|augment|tokenize)(_|$)"),
    Sign("data", r"^(get|next|load|read|fetch|make|pad)_(next_)?(batch|data|sample|image|item|shard|example)s?$"),
    Sign("log", "", "/logging/__init__.py", own=False),
    Sign("log", "", "/torch/utils/tensorboard/", own=False),
    Sign("log", "", "/wandb/", own=False),
    Sign("log", r"^(write_|flush_)?logs?$|^log_(?!prob|softmax|likelihood|sum)\w+$"),
)
PHASES: Final[dict[str, TimeKind]] = {  # names that RunLog, the adapters and the trainer use
    **dict.fromkeys(("data", "load", "batch", "dataloader", "fetch"), "data"),
    **dict.fromkeys(("log", "logging", "report"), "log"),
    **dict.fromkeys(("checkpoint", "save"), "checkpoint"),
    **dict.fromkeys(("validation", "val", "eval", "evaluate", "evaluation", "test"), "validation"),
}
EVENTS: Final[dict[str, TimeKind]] = {
    "checkpoint": "checkpoint",
    "validation": "validation",
    "compile": "compile",
    "recompile": "compile",
}
TORCH: Final = "/torch/"
BACKWARD: Final = "_engine_run_backward"

_REASONS: Final[dict[str, TimeKind]] = {"checkpoint": "checkpoint", "recompiling": "compile"}
_PATTERNS: Final = [(sign, re.compile(sign.function)) for sign in SIGNS]


def sign_of(frames: list[Frame], own: list[bool]) -> TimeKind | None:
    """What a stack is at, from the root to the leaf; None where no frame shows it."""
    for frame in frames[: _import_in(frames, own)]:
        if kind := _REASONS.get(reason_of(frame)):
            return kind
    for sign, pattern in _PATTERNS:
        for frame, is_own in zip(frames, own, strict=True):
            name = frame.name.rpartition(".")[2]
            if sign.file in frame.file and (is_own or not sign.own) and (not sign.function or pattern.search(name)):
                return sign.kind
    return None


def _import_in(frames: list[Frame], own: list[bool]) -> int:
    """Place of the first library below own code that is being imported: what runs then is Python, also where it is a compiler's."""
    begun = own.index(True) if True in own else len(frames)
    places = (place for place in range(begun + 1, len(frames)) if frames[place].name == "<module>" and not own[place])
    return next(places, len(frames))
