"""What held the memory of a card, by the line that allocated it: from the snapshot of PyTorch's caching allocator.

The fields are those of `torch.cuda.memory._snapshot()`, versions 2.x: `segments`, each with its `blocks`, each with `frames`
where `_record_memory_history` was on, the innermost first. Little is imported: a process of its own reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from typing_extensions import TypedDict

MOST_ROWS = 20
MOST_BLOCKS = 2_000_000
MOST_FRAMES = 200  # of a block that are looked through for the user's own
MOST_TEXT = 300
LIBRARIES = (
    "/torch/",
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
)  # parts of paths of frames that are not the user's own


class AllocationRow(TypedDict):
    """`file` is "" where no history was recorded."""

    file: str
    line: int
    function: str
    bytes: int
    blocks: int


class MemorySnapshot(TypedDict):
    """The largest rows first; `rest_bytes` is what further lines hold. `reserved_bytes` is what the allocator has of the cards."""

    name: str  # of its file
    reserved_bytes: int
    allocated_bytes: int
    rows: list[AllocationRow]
    rest_bytes: int
    trouble: str  # why there are no rows, in one sentence; "" where there are


def snapshot_of(name: str, dump: Any) -> MemorySnapshot | None:
    """None for what is no snapshot; blocks that are not as PyTorch writes them are left out."""
    segments = dump.get("segments") if isinstance(dump, dict) else None
    if not isinstance(segments, list) or not all(
        isinstance(segment, dict) and "blocks" in segment for segment in segments[:10]
    ):
        return None
    held: dict[tuple[str, int, str], tuple[int, int]] = {}
    for size, place in _active(segments):
        known, blocks = held.get(place, (0, 0))
        held[place] = known + size, blocks + 1
    order = sorted(held.items(), key=lambda item: -item[1][0])
    allocated = sum(size for _, (size, _) in order)
    named = any(file for (file, _, _), _ in order)
    rows = [_row(place, size, blocks) for place, (size, blocks) in order[:MOST_ROWS]] if named else []
    return {
        "name": name[:MOST_TEXT],
        "reserved_bytes": sum(_whole(segment.get("total_size")) for segment in segments if isinstance(segment, dict)),
        "allocated_bytes": allocated,
        "rows": rows,
        "rest_bytes": allocated - sum(row["bytes"] for row in rows) if named else 0,
        "trouble": "" if named else _without_lines(bool(order)),
    }


def _without_lines(has_blocks: bool) -> str:
    if not has_blocks:
        return "When it was written nothing was allocated any more: write it where the error is raised, before it leaves the function."
    return "It names no lines: call torch.cuda.memory._record_memory_history() before the training begins."


def _row(place: tuple[str, int, str], size: int, blocks: int) -> AllocationRow:
    file, line, function = place
    return {"file": file, "line": line, "function": function, "bytes": size, "blocks": blocks}


def _active(segments: list[Any]) -> Iterator[tuple[int, tuple[str, int, str]]]:
    """Bytes and place of each block in use."""
    left = MOST_BLOCKS
    for segment in segments:
        blocks = segment.get("blocks") if isinstance(segment, dict) else None
        for block in blocks if isinstance(blocks, list) else []:
            if left <= 0:
                return
            left -= 1
            if isinstance(block, dict) and _text(block.get("state"))[:6] == "active":
                yield _whole(block.get("size")), _place(block)


def _place(block: Mapping[str, Any]) -> tuple[str, int, str]:
    """Of the user's innermost frame, else of the innermost that is Python."""
    frames = block.get("frames")
    known = [frame for frame in (frames if isinstance(frames, list) else [])[:MOST_FRAMES] if isinstance(frame, dict)]
    python = [frame for frame in known if _text(frame.get("filename"))[-3:] == ".py"]
    own = next((frame for frame in python if not any(part in frame["filename"] for part in LIBRARIES)), None)
    frame = own or next(iter(python), None)
    if frame is None:
        return "", 0, ""
    return frame["filename"][-MOST_TEXT:], _whole(frame.get("line")), _text(frame.get("name"))[:MOST_TEXT]


def _text(value: object) -> str:
    """ "" for what is none: the text of a table may be longer than any memory."""
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else 0
