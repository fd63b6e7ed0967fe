"""By which frames and phases of the step log the ledger knows what a thread is at: one row a sign."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ....records import Frame
from ...stacks.owning import package_path
from ...stacks.waits import OF_IMPORTS, reason_of
from ..kinds import TimeKind


class Sign(NamedTuple):
    kind: TimeKind
    function: str  # a pattern for the function's name, without its class
    package: str = (
        ""  # how the path begins in the folder of libraries; "" where the name says so, in the user's own code alone
    )


SIGNS: Final = (  # the first kind that any frame of a stack shows
    Sign("checkpoint", "", "torch/distributed/checkpoint/"),
    Sign("checkpoint", r"^(save|save_file|_save|_legacy_save)$", "safetensors/"),
    Sign("checkpoint", r"^(save|write|store)_(checkpoint|ckpt|model|state)|^_?checkpoint$"),
    Sign(
        "validation",
        r"^(run_|do_)?(eval|evaluate|evaluation|validate|validation)(_\w+)?$|^(test|eval|val)_(epoch|loop)$",
    ),
    Sign("data", "", "torch/utils/data/"),
    Sign("data", r"^__getitems?__$|^collate(_\w+)?$|(^|_)(decode|augment|tokenize)(_|$)"),
    Sign("data", r"^(get|next|load|read|fetch|make|pad)_(next_)?(batch|data|sample|image|item|shard|example)s?$"),
    Sign("log", "", "logging/__init__.py"),
    Sign("log", "", "torch/utils/tensorboard/"),
    Sign("log", "", "wandb/"),
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
TORCH: Final = "torch/"
BACKWARD: Final = "_engine_run_backward"

_REASONS: Final[dict[str, TimeKind]] = {"checkpoint": "checkpoint", "recompiling": "compile"}
_PATTERNS: Final = [(sign, re.compile(sign.function)) for sign in SIGNS]


def sign_of(frames: list[Frame], own: list[bool]) -> TimeKind | None:
    """What a stack is at, from the root to the leaf; None where no frame shows it.

    A library that is being imported shows nothing: what runs then is Python, also where it is a compiler's or a loader's.
    """
    shown = list(zip(frames, own, strict=True))[: import_in(frames, own)]
    for frame, _ in shown:
        if kind := _REASONS.get(reason_of(frame._replace(file=f"/{package_path(frame.file)}"))):
            return kind
    for sign, pattern in _PATTERNS:
        for frame, is_own in shown:
            is_there = package_path(frame.file).startswith(sign.package) and not is_own if sign.package else is_own
            if is_there and (not sign.function or pattern.search(frame.name.rpartition(".")[2])):
                return sign.kind
    return None


def import_in(frames: list[Frame], own: list[bool]) -> int:
    """Place of the first import of a library; their number where there is none. The user's own module may do its work while it is imported."""
    for place, frame in enumerate(frames):
        if OF_IMPORTS.search(frame.file):
            imported = next((i for i in range(place, len(frames)) if not OF_IMPORTS.search(frames[i].file)), None)
            if imported is None or not own[imported]:
                return place
    return len(frames)
