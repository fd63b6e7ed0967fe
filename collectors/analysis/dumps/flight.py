"""What PyTorch's flight recorder says of a job whose ranks wait for each other.

The fields are those of `torch/csrc/distributed/c10d/FlightRecorder`, versions 2.x: a dictionary a rank with `entries` and `pg_status`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

LIBRARY = "/torch/"  # part of the path of frames that are not the user's own
MOST_NAME = 100
MOST_NUMBER = 2**63
MOST_GROUPS = 1_000  # of a rank; a job has some dozens


class FlightRank(NamedTuple):
    """How far one rank has come in one process group. `place` is the user's line of its newest collective, "" where unknown."""

    rank: int
    group: str
    entered: int  # number of its newest collective
    done: int  # ... that is complete
    operation: str
    place: str


def flight_ranks(dumps: Mapping[int, Any]) -> list[FlightRank]:
    """By rank and group, of which a rank has at most 1,000; what is not as PyTorch writes it is left out."""
    found = []
    for rank, dump in sorted(dumps.items()):
        entries = dump.get("entries") if isinstance(dump, dict) else None
        if not isinstance(entries, list):
            continue
        newest: dict[str, dict[str, Any]] = {}
        done: Counter[str] = Counter()
        for entry in entries:
            group = _group(entry)
            number = _number(entry) if group is not None else -1
            if group is None or number < 0 or entry.get("is_p2p"):
                continue
            if group not in newest and len(newest) >= MOST_GROUPS:
                continue
            if number >= _number(newest.get(group)):
                newest[group] = entry
            if _word(entry.get("state")) == "completed" or entry.get("retired"):
                done[group] = max(done[group], number)
        for group, entry in newest.items():
            found.append(
                FlightRank(rank, group, _number(entry), done[group], _word(entry.get("profiling_name")), _place(entry))
            )
    return found


def flight_sentence(ranks: list[FlightRank]) -> str:
    """Which rank did not come to the collective that the others wait in, or calls another one; "" where nothing shows it."""
    groups = Counter(row.group for row in ranks)
    for group, _ in groups.most_common():
        rows = [row for row in ranks if row.group == group]
        furthest = max(row.entered for row in rows)
        late = [row for row in rows if row.entered < furthest]
        there = [row for row in rows if row.entered == furthest]
        if late:
            who = ", ".join(str(row.rank) for row in late[:8])
            at = f" ({there[0].place})" if there[0].place else ""
            last = f", whose last one is number {late[0].entered}{f' at {late[0].place}' if late[0].place else ''}"
            return (
                f"By the flight recorder rank{'s' if len(late) > 1 else ''} {who} did not come to collective {furthest}, "
                f"{there[0].operation}{at}{last}."
            )
        operations = Counter(row.operation for row in there)
        if len(operations) > 1:
            usual, _ = operations.most_common(1)[0]
            odd = next(row for row in there if row.operation != usual)
            return (
                f"By the flight recorder rank {odd.rank} calls {odd.operation}{f' at {odd.place}' if odd.place else ''} "
                f"where the others call {usual}."
            )
    return ""


def _group(entry: object) -> str | None:
    group = entry.get("process_group") if isinstance(entry, dict) else None
    return _word(group[0]) if isinstance(group, (tuple, list)) and group else None


def _word(value: object) -> str:
    """A text or a number; "" for all else, whose text may be longer than any memory."""
    if isinstance(value, str):
        return value[:MOST_NAME]
    return str(value) if isinstance(value, int) and -MOST_NUMBER < value < MOST_NUMBER else ""


def _number(entry: dict[str, Any] | None) -> int:
    number = entry.get("collective_seq_id") if entry else None
    return number if isinstance(number, int) and number < MOST_NUMBER else -1


def _place(entry: dict[str, Any]) -> str:
    """`train.py:88`: frames stand from the leaf to the root."""
    frames = entry.get("frames")
    for frame in frames if isinstance(frames, list) else []:
        file = frame.get("filename") if isinstance(frame, dict) else None
        if isinstance(file, str) and file and LIBRARY not in file:
            return f"{file.rpartition('/')[2][:MOST_NAME]}:{_word(frame.get('line'))}"
    return ""
