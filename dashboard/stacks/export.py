"""Flame trees as folded text and as speedscope's file format, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.stacks.fold import FlameTree
from analysis.stacks.tree import Weighed
from collectors.records import Frame

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

_LABEL = re.compile(r"(.*) \((.*):(\d+)\)", re.DOTALL)


def to_folded(tree: FlameTree) -> str:
    """`main;forward (model.py:7);matmul (model.py:9) 1250000` a line, in microseconds of self time: what flamegraph.pl reads."""
    names = [re.sub(r"[;\n]", ":", _label(frame)) for frame in tree.frames]
    lines = [f"{';'.join(names[frame] for frame in stack)} {us}" for stack, us in _stacks(tree) if us]
    return "\n".join([*lines, ""])


def from_folded(text: str) -> Weighed:
    """What `to_folded` wrote."""
    frames: dict[Frame, int] = {}
    rows = [line.rpartition(" ")[::2] for line in text.splitlines()]
    stacks = [tuple(frames.setdefault(_frame(name), len(frames)) for name in stack.split(";")) for stack, _ in rows]
    return _weighed(list(frames), stacks, [int(us) / 1e6 for _, us in rows])


def to_speedscope(tree: FlameTree, name: str = "profile") -> dict[str, Any]:
    """A sampled profile, a sample for each node that has self time."""
    stacks = [(stack, us / 1e6) for stack, us in _stacks(tree) if us]
    profile = {
        "type": "sampled",
        "name": name,
        "unit": "seconds",
        "startValue": 0,
        "endValue": sum(self_s for _, self_s in stacks),
        "samples": [stack for stack, _ in stacks],
        "weights": [self_s for _, self_s in stacks],
    }
    frames = [
        {"name": frame.name, "file": frame.file, "line": frame.line} if frame.line else {"name": frame.name}
        for frame in tree.frames
    ]
    return {"$schema": SCHEMA, "name": name, "shared": {"frames": frames}, "profiles": [profile]}


def from_speedscope(file: dict[str, Any]) -> Weighed:
    """The first profile of a file with sampled profiles."""
    (profile, *_) = file["profiles"]
    frames = [Frame(frame["name"], frame.get("file", ""), frame.get("line", 0)) for frame in file["shared"]["frames"]]
    return _weighed(frames, [tuple(sample) for sample in profile["samples"]], profile["weights"])


def _stacks(tree: FlameTree) -> Iterator[tuple[list[int], int]]:
    """Each node as its path of frames from the root, with its self time in microseconds."""
    paths: list[list[int]] = []
    for frame, parent, self_s in zip(tree.frame.tolist(), tree.parent.tolist(), tree.self_s.tolist(), strict=True):
        paths.append([*paths[parent], frame] if parent >= 0 else [frame])
        yield paths[-1], round(self_s * 1e6)


def _weighed(frames: list[Frame], stacks: list[tuple[int, ...]], seconds: list[float]) -> Weighed:
    return Weighed(frames, stacks, np.array([len(stack) for stack in stacks], np.int64), np.array(seconds, np.float64))


def _label(frame: Frame) -> str:
    return f"{frame.name} ({frame.file}:{frame.line})" if frame.file else frame.name


def _frame(label: str) -> Frame:
    found = _LABEL.fullmatch(label)
    return Frame(found[1], found[2], int(found[3])) if found else Frame(label, "", 0)
