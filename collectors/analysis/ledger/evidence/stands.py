"""What each stack of a main thread is: what it is at, at which line of the user's own code, and how it stands there."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ....records import Frame
from ...stacks.joining import waits_of_stacks
from ...stacks.owning import are_own, has_name, library_name, package_path
from ...stacks.serving import IDLE
from ...stacks.traces import Ints, Traces
from ...stacks.trust import LineOf
from ...stacks.waits import Joined, Waiting, reads_gpu
from ..kinds import Charged, TimeKind
from . import signs

How: TypeAlias = Literal["computes", "runs", "waits", "waits for the GPU"]
"""In a library that computes; own Python, or a call into C; for something that is no device; for the device."""

OF_WAIT: dict[str, TimeKind] = {"workers": "data", "lock": "lock", "ranks": "collective"}
LOOP_SHARE = 0.9  # of the samples that any function has: the loop is on nearly all stacks


class Stand(NamedTuple):
    kind: TimeKind  # python where nothing else is known
    how: How
    frame: Frame | None  # the deepest of the user's own code
    leaf: str  # what it called, where the thread stands in another's code
    opaque: bool  # in a backward pass, which has one line
    joined: Joined = ""  # whom it waits for

    @property
    def place(self) -> Charged:
        return Charged(self.kind, self.frame, self.leaf, self.joined)


def stands_of(traces: Traces, own_folder: str, line_of: LineOf) -> list[Stand]:
    """One a stack."""
    own = are_own(traces.frames, own_folder)
    waits = waits_of_stacks(traces, line_of)
    return [_stand(traces, stack, own, wait, line_of) for stack, wait in zip(traces.stacks, waits, strict=True)]


def _stand(traces: Traces, stack: tuple[int, ...], own: list[bool], wait: Waiting | None, line_of: LineOf) -> Stand:
    frames, mine = [traces.frames[i] for i in stack], [own[i] for i in stack]
    if frames == [IDLE]:
        return Stand("idle", "waits", None, "", False)
    sign = signs.sign_of(frames, mine)
    deepest = max((i for i, is_own in enumerate(mine) if is_own), default=-1)
    frame = frames[deepest] if deepest >= 0 else None
    below = [other for other in frames[deepest + 1 :] if has_name(other)]
    leaf = library_name(below[-1]) if below and frame is not None else library_name(frames[-1]) if frames else ""
    backward = any(other.name.endswith(signs.BACKWARD) for other in frames)
    at_line = deepest == len(frames) - 1 and frame is not None
    if backward and sign in (None, "validation"):
        return Stand(sign or "launch", "computes", frame, "backward", True)
    if wait is not None:
        for_gpu = wait.wait.joined == "gpu"
        kind: TimeKind = sign or ("sync" if for_gpu else OF_WAIT.get(wait.wait.joined, "wait"))
        return Stand(kind, "waits for the GPU" if for_gpu else "waits", frame, leaf, False, wait.wait.joined)
    if at_line and frame is not None and reads_gpu(line_of(frame.file, frame.line)):
        return Stand(sign or "sync", "waits for the GPU", frame, leaf, False)
    imports = signs.import_in(frames, mine) < len(frames)
    if (
        frames
        and not imports
        and package_path(frames[-1].file).startswith(signs.TORCH)
        and sign in (None, "validation")
    ):
        return Stand(sign or "launch", "computes", frame, leaf, False)
    return Stand(sign or "python", "runs", frame, leaf, False)


def statements_of(traces: Traces) -> Ints:
    """Of each stack, the statement of the training loop in which it stands: the line of the deepest function on nearly all stacks."""
    seconds = np.bincount(traces.stack, traces.seconds, len(traces.stacks)) if len(traces.stacks) else np.zeros(0)
    total: dict[tuple[str, str], float] = {}
    depth: dict[tuple[str, str], int] = {}
    for stack, its_s in zip(traces.stacks, seconds.tolist(), strict=True):
        if its_s:
            for i, function in enumerate([traces.frames[frame][:2] for frame in stack]):
                total[function] = total.get(function, 0.0) + its_s
                depth[function] = max(depth.get(function, 0), i)
    least_s = LOOP_SHARE * max(total.values(), default=0.0)
    loop = max(
        (function for function in total if total[function] >= least_s),
        key=lambda function: depth[function],
        default=None,
    )
    lines = [
        next((traces.frames[i].line for i in stack if traces.frames[i][:2] == loop), -1) for stack in traces.stacks
    ]
    _, statement = np.unique(np.array(lines, np.int64), return_inverse=True)
    return statement.astype(np.int64)
