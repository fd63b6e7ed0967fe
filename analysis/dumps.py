"""What PyTorch dumps into files beside a run: the NCCL flight recorder and snapshots of a GPU's memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from typing_extensions import TypedDict

from collectors.message import Message, counted, phrase
from collectors.records import Searched

from .collectives import is_comparable, is_symmetric, late_rank, wait_of

# What held the memory of a card, by the line that allocated it: from the snapshot of PyTorch's caching allocator.
#
# The fields are those of `torch.cuda.memory._snapshot()`, versions 2.x: `segments`, each with its `blocks`, each with `frames`
# where `_record_memory_history` was on, the innermost first. Little is imported: a process of its own reads it.

MAX_ROWS = 20
MAX_BLOCKS = 2_000_000
MAX_FRAMES = 200  # of a block that are looked through for the user's own
MAX_TEXT = 300
LIBRARIES = (
    "/torch/",
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
)  # parts of paths of frames that are not the user's own


class AllocationRow(TypedDict):
    """`file` is "" where no history was recorded."""

    file: Searched
    line: int
    function: Searched
    bytes: int
    blocks: int


class MemorySnapshot(TypedDict):
    """The largest rows first; `rest_bytes` is what further lines hold. `reserved_bytes` is what the allocator has of the cards."""

    name: Searched  # of its file
    reserved_bytes: int
    allocated_bytes: int
    rows: list[AllocationRow]
    rest_bytes: int
    trouble: Searched  # why there are no rows, in one sentence; "" where there are


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
    rows = [_row(place, size, blocks) for place, (size, blocks) in order[:MAX_ROWS]] if named else []
    return {
        "name": name[:MAX_TEXT],
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
    left = MAX_BLOCKS
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
    known = [frame for frame in (frames if isinstance(frames, list) else [])[:MAX_FRAMES] if isinstance(frame, dict)]
    python = [frame for frame in known if _text(frame.get("filename"))[-3:] == ".py"]
    own = next((frame for frame in python if not any(part in frame["filename"] for part in LIBRARIES)), None)
    frame = own or next(iter(python), None)
    if frame is None:
        return "", 0, ""
    return frame["filename"][-MAX_TEXT:], _whole(frame.get("line")), _text(frame.get("name"))[:MAX_TEXT]


def _text(value: object) -> str:
    """ "" for what is none: the text of a table may be longer than any memory."""
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else 0


# What PyTorch's flight recorder says of a job whose ranks wait for each other.
#
# The fields are those of `torch/csrc/distributed/c10d/FlightRecorder`, versions 2.x: a dictionary a rank with `entries` and `pg_status`.

LIBRARY = "/torch/"  # part of the path of frames that are not the user's own
MAX_NAME = 100
MAX_NUMBER = 2**63
MAX_GROUPS = 1_000  # of a rank; a job has some dozens
MAX_TIMED = 200  # collectives of a group, the newest
MAX_MS = 1e9


class FlightRank(NamedTuple):
    """How far one rank has come in one process group. `place` is the user's line of its newest collective, "" where unknown."""

    rank: int
    group: str
    entered: int  # number of its newest collective
    done: int  # ... that is complete
    operation: str
    place: str
    timed: tuple[tuple[int, float], ...] = ()  # number and seconds of its newest that end together on all ranks


def flight_ranks(dumps: Mapping[int, Any]) -> list[FlightRank]:
    """By rank and group, of which a rank has at most 1,000; what is not as PyTorch writes it is left out."""
    found = []
    for rank, dump in sorted(dumps.items()):
        entries = dump.get("entries") if isinstance(dump, dict) else None
        if not isinstance(entries, list):
            continue
        newest: dict[str, dict[str, Any]] = {}
        done: Counter[str] = Counter()
        timed: dict[str, deque[tuple[int, float]]] = {}
        for entry in entries:
            group = _group(entry)
            number = _number(entry) if group is not None else -1
            if group is None or number < 0 or entry.get("is_p2p"):
                continue
            if group not in newest and len(newest) >= MAX_GROUPS:
                continue
            if number >= _number(newest.get(group)):
                newest[group] = entry
            if _word(entry.get("state")) == "completed" or entry.get("retired"):
                done[group] = max(done[group], number)
            ms = entry.get("duration_ms")  # with TORCH_NCCL_ENABLE_TIMING=1
            is_time = isinstance(ms, (int, float)) and not isinstance(ms, bool) and 0 <= ms < MAX_MS
            if is_time and is_symmetric(_word(entry.get("profiling_name"))):
                timed.setdefault(group, deque(maxlen=MAX_TIMED)).append((number, ms / 1e3))
        for group, entry in newest.items():
            found.append(
                FlightRank(
                    rank,
                    group,
                    _number(entry),
                    done[group],
                    _word(entry.get("profiling_name")),
                    _place_of_entry(entry),
                    tuple(timed.get(group, ())),
                )
            )
    return found


def flight_sentence(ranks: list[FlightRank]) -> Message | None:
    """Which rank did not come to the collective that the others wait in, or calls another one; None where nothing shows it."""
    groups = Counter(row.group for row in ranks)
    for group, _ in groups.most_common():
        rows = [row for row in ranks if row.group == group]
        furthest = max(row.entered for row in rows)
        late = [row for row in rows if row.entered < furthest]
        there = [row for row in rows if row.entered == furthest]
        if late:
            return counted(
                "By the flight recorder rank {ranks} did not come to collective {number}, {operation}{at}, whose last one is number {last}{last_at}.",
                "By the flight recorder ranks {ranks} did not come to collective {number}, {operation}{at}, whose last one is number {last}{last_at}.",
                len(late),
                ranks=[row.rank for row in late[:8]],
                number=furthest,
                operation=there[0].operation,
                at=phrase(" ({place})", place=there[0].place) if there[0].place else None,
                last=late[0].entered,
                last_at=_at(late[0]),
            )
        operations = Counter(row.operation for row in there)
        if len(operations) > 1:
            usual, _ = operations.most_common(1)[0]
            odd = next(row for row in there if row.operation != usual)
            return phrase(
                "By the flight recorder rank {rank} calls {operation}{at} where the others call {usual}.",
                rank=odd.rank,
                operation=odd.operation,
                at=_at(odd),
                usual=usual,
            )
    return None


def flight_late_sentence(ranks: list[FlightRank]) -> Message | None:
    """Which rank usually came last into the collectives that were timed; None where none does, or nothing was timed."""
    for group, _ in Counter(row.group for row in ranks if row.timed).most_common():
        rows = [row for row in ranks if row.group == group]
        collectives: dict[int, dict[int, float]] = {}
        for row in rows:
            for number, seconds in row.timed:
                collectives.setdefault(number, {})[row.rank] = seconds
        late = late_rank([wait_of(one) for one in collectives.values() if is_comparable(one, len(rows))])
        if late is not None:
            return phrase(
                "Before that, rank {rank} came last into {last:,} of {compared:,} collectives.", **late._asdict()
            )
    return None


def _at(row: FlightRank) -> Message | None:
    return phrase(" at {place}", place=row.place) if row.place else None


def _group(entry: object) -> str | None:
    group = entry.get("process_group") if isinstance(entry, dict) else None
    return _word(group[0]) if isinstance(group, (tuple, list)) and group else None


def _word(value: object) -> str:
    """A text or a number; "" for all else, whose text may be longer than any memory."""
    if isinstance(value, str):
        return value[:MAX_NAME]
    return str(value) if isinstance(value, int) and -MAX_NUMBER < value < MAX_NUMBER else ""


def _number(entry: dict[str, Any] | None) -> int:
    number = entry.get("collective_seq_id") if entry else None
    return number if isinstance(number, int) and number < MAX_NUMBER else -1


def _place_of_entry(entry: dict[str, Any]) -> str:
    """`train.py:88`: frames stand from the leaf to the root."""
    frames = entry.get("frames")
    for frame in frames if isinstance(frames, list) else []:
        file = frame.get("filename") if isinstance(frame, dict) else None
        if isinstance(file, str) and file and LIBRARY not in file:
            return f"{file.rpartition('/')[2][:MAX_NAME]}:{_word(frame.get('line'))}"
    return ""
