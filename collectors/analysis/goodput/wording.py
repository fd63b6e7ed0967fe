"""Goodput in words: one sentence, what each kind was computed from, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from ...process.activity import spoken
from .account import Goodput, GoodputRow
from .kinds import LABEL, GoodputKind
from .spans import SpanKind

SHOWN = 4  # kinds of lost time that a sentence names
SMALL_PCT = 0.5  # less is not named
LEAST_HOURS = 0.1  # of GPUs: of fewer nothing is said
SOURCES = ("phases of the step log", "events with a duration", "the gap before an event or value without a duration")
LINE, LINES = "line of the step log", "lines of the step log"


def sentence_of(found: Goodput) -> str:
    """`Goodput 71 % of 3 h 20 min: ...` The largest losses come first."""
    losses = sorted((row for row in found.rows if row.kind not in ("training", "running")), key=lambda row: -row.share)
    named = [_loss(row, found) for row in losses[:SHOWN] if row.share >= SMALL_PCT]
    rest = sum(row.share for row in losses) - sum(row.share for row in losses[: len(named)])
    parts = [*named, *([f"other {rest:.0f} %"] if named and rest >= SMALL_PCT else [])]
    attempts = f" in {len(found.attempts)} attempts" if len(found.attempts) > 1 else ""
    if found.goodput is None and not named:
        return f"Goodput of {spoken(found.seconds)}{attempts} is not known: fewer than two lines have a step and a time.{_lost(found)}"
    head = f"Goodput {found.goodput:.0f} %" if found.goodput is not None else f"Goodput at most {found.at_most:.0f} %"
    return f"{head} of {spoken(found.seconds)}{attempts}{': ' if parts else ''}{', '.join(parts)}.{_lost(found)}"


def _loss(row: GoodputRow, found: Goodput) -> str:
    steps = f" ({found.redone_steps:,} steps)" if row.kind == "redone" else ""
    return f"{LABEL[row.kind]} {row.share:.0f} %{steps}"


def _lost(found: Goodput) -> str:
    hours, all_hours = found.lost.gpu_hours, found.paid.gpu_hours
    return (
        f" Lost: {hours:.1f} of {all_hours:.1f} GPU-hours."
        if hours is not None and all_hours and all_hours >= LEAST_HOURS
        else ""
    )


def basis_of(kind: GoodputKind, found: Goodput) -> str:
    """What the seconds of a kind were computed from."""
    if kind in ("validation", "checkpoint"):
        return _named(kind, found)
    starts = list(dict.fromkeys(row.span.started_by for row in found.attempts))
    ends = list(dict.fromkeys(row.span.ended_by for row in found.attempts if not row.span.alive))
    compiled = " and compilations that are logged" if sum(found.named_s.get("initialisation", ())) > 0 else ""
    return {
        "training": f"{LINES}, without all other kinds",
        "initialisation": f"{_joined([*starts, f'the first {LINE}'])}{compiled}",
        "redone": f"steps in the {LINES} that a later attempt logged again",
        "stalled": f"gaps in the {LINES} of at least 30 s and 20 usual ones",
        "between": _joined([*starts, *ends]),
        "nothing": f"{_joined([*starts, *ends])}, without a {LINE} between them",
        "ending": _joined([f"the last {LINE}", *ends]),
        "running": _joined([*starts, *ends]),
    }[kind]


def _named(kind: SpanKind, found: Goodput) -> str:
    named_s = found.named_s.get(kind, (0.0, 0.0, 0.0))
    return _joined([word for word, seconds in zip(SOURCES, named_s, strict=True) if seconds > 0]) or "stacks"


def missing_of(found: Goodput, *, gpus: bool, priced: bool) -> list[str]:
    """One sentence for each thing that is not known, with what would make it so."""
    kinds = {row.kind for row in found.rows}
    said = []
    if found.goodput is None:
        said.append(
            "Fewer than two lines of the run have a step and a time, so training, initialisation, stalls and redone steps are not separated: "
            "log each step with RunLog or an adapter."
        )
    if found.goodput is not None and not kinds & {"validation", "checkpoint"}:
        said.append(
            "Neither validations nor checkpoints are logged: if there were any, they count as training. Log their phases or events."
        )
    if any(row.span.started_by == "first line" for row in found.attempts):
        said.append("Nothing says when a process of the run began: what lies before its first line is not counted.")
    if gpus and found.paid.energy_j is None:
        said.append("No energy counter of the run's GPUs is stored for its time.")
    if gpus and not priced:
        said.append("The settings have no price for a GPU-hour, so there is no cost.")
    return said


def _joined(words: Sequence[str]) -> str:
    """`["a", "b", "c"] -> "a, b and c"`"""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)
