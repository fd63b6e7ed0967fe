"""Thin the profiles of one machine file: rows of a minute, in which each span is the sum of its stack."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ....records import WITHOUT_A_GAP_S
from .. import stacks
from ..stacks import NS, UNKNOWN, ProfileRow, StackSpans
from .spans import TimeSpans

MINUTE_S = 60
MINUTE_NS = MINUTE_S * NS
SLICE_S = 600  # of a run's time, in one transaction

_RUNS = "SELECT DISTINCT run FROM profile"
_BOUNDS = "SELECT min(end_s), max(end_s) FROM profile WHERE run = ? AND end_s >= ? AND end_s < ?"
_ROWS = f"""SELECT {stacks.COLUMNS} FROM profile WHERE run = ? AND end_s >= ? AND end_s < ? AND thinned = 0
  ORDER BY rank, pid, host, start_s"""


class StackSlice(NamedTuple):
    """A run's rows that end in this range."""

    run: str
    after_s: float
    before_s: float


class MinutePiece(NamedTuple):
    """What of a row lies in one minute."""

    row: ProfileRow
    minute: int
    start_s: float
    end_s: float
    samples: int
    errors: int
    spans: StackSpans


def slices(db: sqlite3.Connection, after_s: float, before_s: float) -> Iterator[StackSlice]:
    for (run,) in db.execute(_RUNS).fetchall():
        first_s, last_s = db.execute(_BOUNDS, (run, after_s, before_s)).fetchone()
        if first_s is not None:
            for number in range(math.floor(first_s / SLICE_S), math.floor(last_s / SLICE_S) + 1):
                yield StackSlice(run, max(after_s, number * SLICE_S), min(before_s, (number + 1) * SLICE_S))


def plan(
    db: sqlite3.Connection, part: StackSlice, kept: TimeSpans
) -> tuple[list[ProfileRow], list[tuple[object, ...]]]:
    """Rows, and those that replace them. What is damaged stays, as does what touches a kept window."""
    old: list[ProfileRow] = []
    pieces: list[MinutePiece] = []
    for row in map(ProfileRow._make, db.execute(_ROWS, part).fetchall()):
        if not kept.touches(row.start_s, row.end_s) and (spans := row.read()) is not None:
            old.append(row)
            pieces += _pieces(row, spans)
    chains: list[list[MinutePiece]] = []
    for piece in pieces:
        if chains and _continues(chains[-1][-1], piece):
            chains[-1].append(piece)
        else:
            chains.append([piece])
    return old, [_summed(chain) for chain in chains]


def _pieces(row: ProfileRow, spans: StackSpans) -> Iterator[MinutePiece]:
    """Cut at whole minutes; what of its spans lies before or behind the row stays with its first or last piece."""
    first, last = (
        math.floor(row.start_s / MINUTE_S),
        max(math.floor(row.start_s / MINUTE_S), math.ceil(row.end_s / MINUTE_S) - 1),
    )
    whole_s = row.end_s - row.start_s
    given = 0
    for minute in range(first, last + 1):
        start_s = row.start_s if minute == first else float(minute * MINUTE_S)
        end_s = row.end_s if minute == last else float((minute + 1) * MINUTE_S)
        upto = row.samples if minute == last else round(row.samples * (end_s - row.start_s) / whole_s)
        lo = None if minute == first else minute * MINUTE_NS
        hi = None if minute == last else (minute + 1) * MINUTE_NS
        yield MinutePiece(
            row, minute, start_s, end_s, upto - given, row.errors if minute == first else 0, _cut(spans, lo, hi)
        )
        given = upto


def _cut(spans: StackSpans, lo: int | None, hi: int | None) -> StackSpans:
    """CPU time is cut in proportion; what is rounded away goes to the later part, so that the parts add up."""
    if lo is None and hi is None:
        return spans
    begin, end = spans.start_ns, spans.start_ns + spans.duration_ns
    start = begin if lo is None else np.clip(lo, begin, end)
    stop = end if hi is None else np.clip(hi, begin, end)
    known = spans.cpu_ns != UNKNOWN
    cpu = np.where(known, _share_of(spans, stop - begin) - _share_of(spans, start - begin), UNKNOWN)
    keep = stop > start
    return StackSpans(
        *(column[keep] for column in spans._replace(start_ns=start, duration_ns=stop - start, cpu_ns=cpu))
    )


def _share_of(spans: StackSpans, upto_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """In whole microseconds, as they are stored."""
    part = spans.cpu_ns / stacks.US * (upto_ns / np.maximum(spans.duration_ns, 1))
    shares: NDArray[np.int64] = np.floor(part + 1e-6).astype(np.int64) * stacks.US
    return np.where(upto_ns >= spans.duration_ns, spans.cpu_ns, shares)


def _continues(before: MinutePiece, piece: MinutePiece) -> bool:
    same = before.row[1:8] == piece.row[1:8] and before.minute == piece.minute
    return same and abs(piece.start_s - before.end_s) <= WITHOUT_A_GAP_S


def _summed(chain: Sequence[MinutePiece]) -> tuple[object, ...]:
    """The row of a minute: of each thread and stack one span, in the order in which they came first, one behind the other."""
    spans = StackSpans(*(np.concatenate(column) for column in zip(*(piece.spans for piece in chain), strict=True)))
    first, last = chain[0], chain[-1]
    order = np.lexsort((spans.start_ns, spans.tid))
    spans = StackSpans(*(column[order] for column in spans))
    key = np.stack(
        [spans.tid, spans.stack, spans.gil, spans.resolved, (spans.cpu_ns == UNKNOWN).astype(np.int64)], axis=1
    )
    _, came, group = np.unique(key, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    duration, cpu = np.zeros(len(came), np.int64), np.zeros(len(came), np.int64)
    np.add.at(duration, group, spans.duration_ns)
    np.add.at(cpu, group, np.where(spans.cpu_ns == UNKNOWN, 0, spans.cpu_ns))
    summed = StackSpans(*(column[came] for column in spans))
    summed = summed._replace(duration_ns=duration, cpu_ns=np.where(summed.cpu_ns == UNKNOWN, UNKNOWN, cpu))
    in_order = np.lexsort((came, summed.tid))
    summed = StackSpans(*(column[in_order] for column in summed))
    laid = stacks.laid_out(summed, 1.0, round(first.start_s * 1e6) * stacks.US)
    threads = orjson.dumps(
        {tid: name for piece in chain for tid, name in orjson.loads(piece.row.threads).items()}
    ).decode()
    counts = (sum(piece.samples for piece in chain), sum(piece.errors for piece in chain), threads, len(laid.tid))
    return (*first.row[1:8], first.start_s, last.end_s, *counts, stacks.encode(laid), 1)


def replace(db: sqlite3.Connection, old: Sequence[ProfileRow], new: Sequence[tuple[object, ...]]) -> None:
    """Within the caller's transaction."""
    stacks.replace(db, old, *new)
