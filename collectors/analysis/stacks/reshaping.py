"""Other looks at the same stacks: only some of them, without some frames, rolled up, or from the leaf to the root."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ...records import Frame
from .joining import Locks
from .traces import Ints
from .trie import Weighed
from .trust import LineOf, no_source
from .waits import BACKWARD, wait_at, wait_of

Roll: TypeAlias = Literal["function", "module", "file"]

_LIBRARIES = re.compile(r".*/(?:(?:site|dist)-packages|lib(?:64)?/python\d[\d.]*)/")


class Reshaping(NamedTuple):
    """Patterns are case-insensitive substrings of `name file`; with * or ? globs over all of it."""

    waits: bool = True  # False: without the time in which a thread only waits
    focus: str = ""  # only stacks in which a frame matches, from the first such frame on
    hide: str = ""  # without the frames that match: their callees move up to their callers
    roll: Roll = "function"
    invert: bool = False  # from the leaf to the root

    def of(self, one: Weighed, line_of: LineOf = no_source, computes_backward: bool = False) -> Weighed:
        """The parts of the shape in the order of its fields."""
        if not self.waits:
            one = at_work(one, line_of, computes_backward)
        if self.focus:
            one = focused(one, matching(one.frames, self.focus))
        if self.hide:
            one = hidden(one, matching(one.frames, self.hide))
        if self.roll != "function":
            one = rolled(one, self.roll)
        return inverted(one) if self.invert else one


def matching(frames: list[Frame], pattern: str) -> set[int]:
    """The indices of the frames that match."""
    pattern = pattern.lower()
    wanted = pattern if "*" in pattern or "?" in pattern else f"*{glob.escape(pattern)}*"
    return {i for i, frame in enumerate(frames) if fnmatch.fnmatchcase(f"{frame.name} {frame.file}".lower(), wanted)}


def at_work(one: Weighed, line_of: LineOf, computes_backward: bool = False) -> Weighed:
    """The stacks whose last frame does not wait."""
    locks = Locks(one.frames, line_of)

    def waits(frame: Frame) -> bool:
        row, text = wait_of(frame), line_of(frame.file, frame.line)
        return (
            bool(row and not (row is BACKWARD and computes_backward)) or wait_at(text, locks.entered(text)) is not None
        )

    waiting = {i for i, frame in enumerate(one.frames) if waits(frame)}
    kept = [i for i, stack in enumerate(one.stacks) if not stack or stack[-1] not in waiting]
    return Weighed(one.frames, [one.stacks[i] for i in kept], one.trusted[kept], one.seconds[kept])


def focused(one: Weighed, wanted: set[int]) -> Weighed:
    starts = [next((i for i, frame in enumerate(stack) if frame in wanted), -1) for stack in one.stacks]
    kept = [i for i, start in enumerate(starts) if start >= 0]
    return Weighed(
        one.frames,
        [one.stacks[i][starts[i] :] for i in kept],
        np.array([max(0, int(one.trusted[i]) - starts[i]) for i in kept], np.int64),
        one.seconds[kept],
    )


def hidden(one: Weighed, unwanted: set[int]) -> Weighed:
    return _each(one, lambda stack: [i for i, frame in enumerate(stack) if frame not in unwanted])


def rolled(one: Weighed, roll: Roll) -> Weighed:
    """One frame a file or module; neighbours in the same one become one."""
    frames = [_rolled(frame, roll) for frame in one.frames]
    numbers: dict[Frame, int] = {}
    places = [numbers.setdefault(frame, len(numbers)) for frame in frames]
    moved = one._replace(frames=list(numbers), stacks=[tuple(places[frame] for frame in stack) for stack in one.stacks])
    return _each(moved, lambda stack: [i for i, frame in enumerate(stack) if i == 0 or frame != stack[i - 1]])


def inverted(one: Weighed) -> Weighed:
    """A stack that is not trusted to its leaf is not trusted at all when the leaf comes first."""
    lengths = np.array([len(stack) for stack in one.stacks], np.int64)
    trusted = np.where(one.trusted >= lengths, lengths, 0)
    return one._replace(stacks=[stack[::-1] for stack in one.stacks], trusted=trusted)


def module_of(file: str) -> str:
    """`torch.nn.modules.module` for a library's file, `data` for a file of the user's."""
    inside = _LIBRARIES.sub("", file)
    parts = inside if inside != file else file.rpartition("/")[2]
    return parts.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _each(one: Weighed, kept: Callable[[tuple[int, ...]], list[int]]) -> Weighed:
    """Each stack with only these of its frames."""
    places = [kept(stack) for stack in one.stacks]
    stacks = [tuple(stack[i] for i in place) for stack, place in zip(one.stacks, places, strict=True)]
    trusted: Ints = np.array(
        [sum(i < depth for i in place) for place, depth in zip(places, one.trusted.tolist(), strict=True)], np.int64
    )
    return one._replace(stacks=stacks, trusted=trusted)


def _rolled(frame: Frame, roll: Roll) -> Frame:
    if not frame.file:
        return frame
    return Frame(module_of(frame.file) if roll == "module" else frame.file.rpartition("/")[2], frame.file, 0)
