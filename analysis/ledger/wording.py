"""The ledger in words: one sentence, and the ten lines of `deepseek-dashboard why`."""

from __future__ import annotations

from ..stacks.frames import file_name
from . import kinds
from .kinds import BUSY, LABELS, Charged, TimeKind
from .shares import LEAST_S, KindRow, Ledger

IN_SENTENCE = 4  # rows beside the first
MOST_LINES = 10
TOGETHER = "GPU busy (compute or communication, not separated)"
PARTS = {"compute": "compute", "communication": "communication", "copy": "copies"}
LEAST_PART = 0.5  # percent of the window; a smaller part of the busy time is not named
TIERS = {"A": "from stacks alone", "B": "from stacks and the log", "C": "from stacks and traced steps"}
SIGNALS = {
    "driver samples": "the driver's utilization samples",
    "GPM": "the GPU's own activity counters (GPM)",
    "MIG instance": "the MIG instance's own activity counters",
    "none": "no counter of the GPU",
}


def label_of(kind: TimeKind, ledger: Ledger) -> str:
    """`GPU busy`; where the device is the CPU, `computing`. With several ranks, communication counts as busy."""
    if kind == BUSY and ledger.device == "CPU":
        return "computing"
    if kind == BUSY and ledger.ranks > 1 and not ledger.busy_parts:
        return TOGETHER
    if ledger.device == "host" and kind == "launch":
        return "handing work to the GPU"
    return LABELS[kind]


def place_of(place: Charged) -> str:
    """`data.py:88 decode`; "" without a line."""
    frame = place.frame
    return f"{file_name(frame.file)}:{frame.line or '?'} {frame.name.rpartition('.')[2]}" if frame else ""


def share_of(row: KindRow) -> str:
    """`27 %`, or `about 27 %` where the range is wide."""
    return f"{'' if row.most - row.least <= kinds.SURE.value else 'about '}{row.share:.0f} %"


def sentence_of(ledger: Ledger) -> str:
    """Rows below 2 points are added up as "other"."""
    if not ledger.rows:
        return why_empty(ledger)
    shown, small = large_rows(ledger)
    parts = []
    for row in shown[: IN_SENTENCE + 1]:
        where = place_of(row.lines[0].place) if row.lines else ""
        where = where or (parts_of_busy(ledger) if row.kind == BUSY else "")
        parts.append(f"{label_of(row.kind, ledger)} {share_of(row)}{f' ({where})' if where else ''}")
    rest = small + sum(row.share for row in shown[IN_SENTENCE + 1 :])
    shares = ", ".join([*parts, *([f"other {rest:.0f} %"] if rest >= 0.5 else [])])
    return f"{shares}.{f' {queued}' if (queued := queued_of(ledger)) else ''}"


def queued_of(ledger: Ledger) -> str:
    """`Besides, 12 min in the queue.`; "" where it was in none."""
    return f"Besides, {_seconds(ledger.queued_s)} in the queue." if ledger.queued_s >= LEAST_S else ""


def parts_of_busy(ledger: Ledger) -> str:
    """`compute 48 %, communication 13 %` where steps were traced, else `probably communication: 10 to 30 %`; "" where nothing shows any."""
    if parts := ledger.busy_parts:
        named = [part for part in parts if part.kind == "compute" or part.share >= LEAST_PART]
        return ", ".join(f"{PARTS[part.kind]} {part.share:.0f} %" for part in named)
    least, most = ledger.communication or (0.0, 0.0)
    return f"probably communication: {least:.0f} to {most:.0f} %" if most >= kinds.SMALL.value else ""


def why_empty(ledger: Ledger) -> str:
    if ledger.queued_s >= LEAST_S and ledger.seconds - ledger.queued_s < kinds.LEAST_S.value:
        return f"The run was in the queue for {_seconds(ledger.queued_s)} of the window, and on no device: choose a window after its start."
    if ledger.seconds < kinds.LEAST_S.value:
        return f"The window is shorter than {kinds.LEAST_S.value:g} s: choose a longer one, or ask which line it was lost to."
    if ledger.device == "GPU":
        return (
            "No moment of the window has both stacks and a GPU counter: choose a window in which the run was profiled."
        )
    return "No stacks of the run's main thread lie in the window: choose a window in which the run was profiled."


def large_rows(ledger: Ledger) -> tuple[list[KindRow], float]:
    """Those of at least 2 points, with busy whatever it is; and the points of all others."""
    large = [row for row in ledger.rows if row.kind == BUSY or row.share >= kinds.SMALL.value]
    return large, sum(row.share for row in ledger.rows) - sum(row.share for row in large)


def lines_of(ledger: Ledger, run: str) -> list[str]:
    """At most ten lines for a shell: what was looked at, a line for each row, and how far it may be trusted."""
    head = f"{run}: {_seconds(ledger.seconds)} profiled, {covered_of(ledger)}"
    if not ledger.rows:
        return [head, why_empty(ledger)]
    shown, small = large_rows(ledger)
    queued = [f"besides  {_seconds(ledger.queued_s)} in the queue"] if ledger.queued_s >= LEAST_S else []
    most = MOST_LINES - 3 - len(queued)
    kept, rest = shown[:most], small + sum(row.share for row in shown[most:])
    width = max(len(label_of(row.kind, ledger)) for row in kept)
    rows = [_line(row, ledger, width) for row in kept]
    other = [f"{rest:5.1f} %  other"] if rest >= 0.05 else []
    hidden = " A potential saving includes what the row slows elsewhere." if any(map(_saves_more, kept)) else ""
    return [head, *rows, *other, *queued, f"{foot_of(ledger)}{hidden}"]


def _line(row: KindRow, ledger: Ledger, width: int) -> str:
    label = label_of(row.kind, ledger)
    where = place_of(row.lines[0].place) if row.lines else ""
    where = where or (parts_of_busy(ledger) if row.kind == BUSY else "")
    notes = [f"{row.least:.0f} to {row.most:.0f} %"] if row.most - row.least > kinds.SURE.value else []
    if _saves_more(row):
        notes.append(f"potential saving up to {row.saves_at_most:.0f} %")
    if row.exposed_by is not None and (exposed := place_of(row.exposed_by)):
        notes.append(f"costs time since {exposed} waits for the GPU")
    noted = f" ({'; '.join(notes)})" if notes else ""
    return f"{row.share:5.1f} %  {label:<{width}}  {where}{noted}".rstrip()


def _saves_more(row: KindRow) -> bool:
    return row.saves_at_most > row.share + kinds.SMALL.value


def covered_of(ledger: Ledger) -> str:
    """`from stacks and the log, 97 % of it seen`"""
    share = f", {100 * ledger.covered_share:.0f} % of it seen" if ledger.covered_share < 0.995 else ""
    return f"{TIERS[ledger.tier]}{share}"


def foot_of(ledger: Ledger) -> str:
    """What the shares are of."""
    whose = (
        "the service's threads, taken as one"
        if any(row.kind == "idle" for row in ledger.rows)
        else "the main thread's time"
    )
    if ledger.device == "CPU":
        return f"The device is the CPU: shares are of {whose}."
    if ledger.device == "host":
        return f"No counter says how busy the GPU was: shares are of {whose}."
    if ledger.traced and ledger.busy_parts:
        trace = ledger.traced.trace
        return f"Busy by {SIGNALS[ledger.signal]}; its parts as in the traced steps {trace.first_step} to {trace.last_step}."
    return f"Busy by {SIGNALS[ledger.signal]}; what a GPU did while busy is not judged."


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
