"""A ledger as a bar, a table and a lane of its blocks; and two ledgers beside each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collectors.analysis.ledger.account import lane_of
from collectors.analysis.ledger.contrast import LedgerContrast
from collectors.analysis.ledger.kinds import BUSY, KINDS, TimeKind
from collectors.analysis.ledger.shares import KindRow, Ledger
from collectors.analysis.ledger.wording import label_of, large_rows, place_of, share_of

from .texts import length_of, shortened

BLOCKS = 160  # of the lane
NAMED_PCT = 6.0  # of the bar: a narrower part has no room for its share
LEAST_POINTS = 0.05  # less is written as 0
HEIGHT, WIDTH = 40.0, 1000.0


class BarPart(NamedTuple):
    """`left` and `width` are percent of the bar."""

    kind: TimeKind
    left: float
    width: float
    name: str
    title: str


class LanePath(NamedTuple):
    kind: TimeKind
    path: str


class LedgerTableRow(NamedTuple):
    kind: TimeKind
    label: str
    share: str
    length: str
    range: str  # "" where the share is sure
    saves: str
    place: str
    exposed: str


class ContrastRow(NamedTuple):
    kind: TimeKind
    label: str
    share: str
    other_share: str
    points: str
    seconds: str  # a unit
    other_seconds: str
    place: str


class LedgerPicture(NamedTuple):
    parts: list[BarPart]
    rows: list[LedgerTableRow]
    lane: list[LanePath]


def ledger_picture(ledger: Ledger, characters: int, blocks: int = BLOCKS) -> LedgerPicture:
    parts, left = [], 0.0
    for row in ledger.rows:
        label = f"{label_of(row.kind, ledger)} {share_of(row)}"
        width = max(0.0, min(row.share, 100.0 - left))
        parts.append(BarPart(row.kind, left, width, share_of(row) if width >= NAMED_PCT else "", label))
        left += width
    return LedgerPicture(
        parts,
        [_row(row, ledger, characters) for row in ledger.rows if row.share >= LEAST_POINTS or row.kind == BUSY],
        lane_paths(ledger, blocks),
    )


def _row(row: KindRow, ledger: Ledger, characters: int) -> LedgerTableRow:
    wide = row not in large_rows(ledger)[0] or row.most - row.least > 0.5
    exposed = place_of(row.exposed_by) if row.exposed_by else ""
    return LedgerTableRow(
        row.kind,
        label_of(row.kind, ledger),
        f"{row.share:.1f} %",
        length_of(row.seconds),
        f"{row.least:.1f} to {row.most:.1f} %" if wide and row.most > row.least else "",
        f"{row.saves_at_most:.0f} %" if row.saves_at_most >= 0.5 else "",
        shortened(
            ", ".join([*dict.fromkeys(filter(None, (place_of(line.place) for line in row.lines)))][:2]), characters
        ),
        shortened(exposed, characters),
    )


def lane_paths(ledger: Ledger, blocks: int) -> list[LanePath]:
    """For each kind the area that it takes of each block, on top of the kinds before it. Gaps are time that was not seen."""
    lane = lane_of(ledger.account, blocks)
    whole_s = lane.seconds.sum(axis=1)
    lo, hi = ledger.window
    if not len(whole_s) or not hi > lo:
        return []
    share = lane.seconds / np.maximum(whole_s, 1e-9)[:, None]
    x = np.clip((lane.start_s - lo) / (hi - lo), 0, 1) * WIDTH
    wide = np.maximum(np.clip((lane.end_s - lo) / (hi - lo), 0, 1) * WIDTH - x, 0.0)
    foot = np.cumsum(share, axis=1)
    found = []
    for number, kind in enumerate(KINDS):
        there = np.flatnonzero((share[:, number] > 0.002) & (wide > 0))
        columns = (x[there], HEIGHT * (1 - foot[there, number]), wide[there], HEIGHT * share[there, number])
        path = "".join(
            f"M{a:.1f} {b:.1f}h{w:.1f}v{h:.1f}h-{w:.1f}z"
            for a, b, w, h in zip(*(c.tolist() for c in columns), strict=True)
        )
        if path:
            found.append(LanePath(kind, path))
    return found


def contrast_rows(found: LedgerContrast, characters: int) -> list[ContrastRow]:
    return [
        ContrastRow(
            change.kind,
            change.label,
            f"{change.share:.1f} %",
            f"{change.other_share:.1f} %",
            f"{change.points:+.1f}".replace("-", "−") if abs(change.points) >= LEAST_POINTS else "0",
            "" if change.seconds is None else length_of(change.seconds),
            "" if change.other_seconds is None else length_of(change.other_seconds),
            shortened(place_of(change.place) if change.place else "", characters),
        )
        for change in found.changes
        if max(change.share, change.other_share) >= LEAST_POINTS
    ]
