"""Ledgers in words: of a window one sentence and the ten lines of `deepseek-dashboard why`, of a whole run its goodput."""

from __future__ import annotations

from collections.abc import Sequence

from collectors.message import Message, Sentence, percent, phrase, text_of

from ..stacks.frames import file_name
from . import kinds
from .kinds import BUSY, LABELS, LOST, SHORT, ChargeTarget, TimeKind
from .prediction import spoken
from .run_ledger import RunLedger
from .shares import MIN_S, KindRow, Ledger

IN_SENTENCE = 4  # rows beside the first
MAX_LINES = 10
PARTS = {"compute": phrase("compute"), "communication": phrase("communication"), "copy": phrase("copies")}
MIN_PART = 0.5  # percent; a smaller part of the whole, or of the busy time, is not named
TIERS = {
    "A": phrase("from stacks alone"),
    "B": phrase("from stacks and the log"),
    "C": phrase("from stacks and traced steps"),
}
SIGNALS = {
    "driver samples": phrase("the driver's utilization samples"),
    "GPM": phrase("the GPU's own activity counters (GPM)"),
    "MIG instance": phrase("the MIG instance's own activity counters"),
    "none": phrase("no counter of the GPU"),
}


def label_of(kind: TimeKind, ledger: Ledger | RunLedger) -> Message:
    """`GPU busy`; where the device is the CPU, `computing`. With several ranks, communication counts as busy."""
    if isinstance(ledger, RunLedger):
        return phrase(LABELS[kind])
    if kind == BUSY and ledger.device == "CPU":
        return phrase("computing")
    if kind == BUSY and ledger.ranks > 1 and not ledger.busy_parts:
        return phrase("GPU busy (compute or communication, not separated)")
    if ledger.device == "host" and kind == "launch":
        return phrase("handing work to the GPU")
    return phrase(LABELS[kind])


def short_of(kind: TimeKind, ledger: Ledger) -> Message:
    """Where there is no room for the label: `data` of `waiting for data`."""
    return phrase("computing") if kind == BUSY and ledger.device == "CPU" else phrase(SHORT[kind])


def place_of(place: ChargeTarget) -> str:
    """`data.py:88 decode`; "" without a line."""
    frame = place.frame
    return f"{file_name(frame.file)}:{frame.line or '?'} {frame.name.rpartition('.')[2]}" if frame else ""


def share_of(row: KindRow) -> Message:
    """`27%`, or `about 27%` where the range is wide."""
    if row.most - row.least <= kinds.SURE.value:
        return phrase("{share_pct:percent}", share_pct=row.share)
    return phrase("about {share_pct:percent}", share_pct=row.share)


def sentence_of(ledger: Ledger) -> Message:
    """Rows below 2 points are added up as "other"."""
    if not ledger.rows:
        return why_empty(ledger)
    shown, small = large_rows(ledger)
    named, others = shown[: IN_SENTENCE + 1], shown[IN_SENTENCE + 1 :]
    parts = _parts(named, small + sum(row.share for row in others), ledger)
    if ledger.queued_s < MIN_S:
        return phrase("{parts}.", parts=parts)
    return phrase("{parts}. Besides, {queued_s:rounded} in the queue.", parts=parts, queued_s=ledger.queued_s)


def _parts(rows: Sequence[KindRow], rest: float, ledger: Ledger | RunLedger) -> list[Message]:
    """These rows, and the points of all others."""
    other = [phrase("other {share_pct:percent}", share_pct=rest)] if rest >= MIN_PART else []
    return [*(_part(row, ledger) for row in rows), *other]


def _part(row: KindRow, ledger: Ledger | RunLedger) -> Message:
    """`waiting for data 27% (data.py:88 decode)`"""
    label, share, about = label_of(row.kind, ledger), share_of(row), _about(row, ledger)
    if not about:
        return phrase("{label} {share}", label=label, share=share)
    return phrase("{label} {share} ({about})", label=label, share=share, about=about)


def _about(row: KindRow, ledger: Ledger | RunLedger) -> Sentence | None:
    """Its dearest line, or what a GPU did while it was busy; of a whole run, how many steps were done again."""
    if isinstance(ledger, RunLedger):
        return phrase("{steps:,} steps", steps=ledger.redone_steps) if row.kind == "redone" else None
    where = place_of(row.lines[0].place) if row.lines else ""
    return where or (parts_of_busy(ledger) if row.kind == BUSY else None)


def parts_of_busy(ledger: Ledger) -> Message | None:
    """`compute 48%, communication 13%` where steps were traced, else `probably communication: 10 to 30%`; None where nothing shows any."""
    if parts := ledger.busy_parts:
        named = [
            phrase("{part} {share_pct:percent}", part=PARTS[part.kind], share_pct=part.share)
            for part in parts
            if part.kind == "compute" or part.share >= MIN_PART
        ]
        return phrase("{parts}", parts=named) if named else None
    least, most = ledger.communication or (0.0, 0.0)
    if most < kinds.SMALL.value:
        return None
    return phrase("probably communication: {least_pct:.0f} to {most_pct:percent}", least_pct=least, most_pct=most)


def why_empty(ledger: Ledger) -> Message:
    if ledger.queued_s >= MIN_S and ledger.seconds - ledger.queued_s < kinds.MIN_S.value:
        return phrase(
            "The run was in the queue for {queued_s:rounded} of the window, and on no device: choose a window after its start.",
            queued_s=ledger.queued_s,
        )
    if ledger.seconds < kinds.MIN_S.value:
        return phrase(
            "Less than {least_s:g} s of the run lies in this window, too little to say where time went; drag over it to see its lines.",
            least_s=kinds.MIN_S.value,
        )
    if not ledger.profiled:
        return phrase("No stacks of the run are stored, so where its time went is not known.")
    if ledger.device == "GPU":
        return phrase(
            "No moment of the window has both stacks and a GPU counter: choose a window in which the run was profiled."
        )
    return phrase(
        "No stacks of the run's main thread lie in the window: choose a window in which the run was profiled."
    )


def large_rows(ledger: Ledger) -> tuple[list[KindRow], float]:
    """Those of at least 2 points, with busy whatever it is; and the points of all others."""
    large = [row for row in ledger.rows if row.kind == BUSY or row.share >= kinds.SMALL.value]
    return large, sum(row.share for row in ledger.rows) - sum(row.share for row in large)


def lines_of(ledger: Ledger, run: str) -> list[str]:
    """At most ten lines for a shell: what was looked at, a line for each row, and how far it may be trusted."""
    head = phrase(
        "{run}: {seconds:rounded} profiled, {covered}", run=run, seconds=ledger.seconds, covered=covered_of(ledger)
    )
    if not ledger.rows:
        return [text_of(head), text_of(why_empty(ledger))]
    shown, small = large_rows(ledger)
    queued = []
    if ledger.queued_s >= MIN_S:
        queued.append(text_of(phrase("besides  {queued_s:rounded} in the queue", queued_s=ledger.queued_s)))
    most = MAX_LINES - 3 - len(queued)
    kept, rest = shown[:most], small + sum(row.share for row in shown[most:])
    width = max(len(text_of(label_of(row.kind, ledger))) for row in kept)
    rows = [_line(row, ledger, width) for row in kept]
    other = [f"{percent(rest):>5}  {text_of(phrase('other'))}"] if rest >= 0.05 else []
    foot = [foot_of(ledger)]
    if any(row.prediction for row in kept):
        foot.append(
            phrase(
                "A fix saves so much of the window's time, for the same steps; the range is meant to hold nine in ten measured savings."
            )
        )
    return [text_of(head), *rows, *other, *queued, " ".join(map(text_of, foot))]


def _line(row: KindRow, ledger: Ledger, width: int) -> str:
    notes = []
    if row.most - row.least > kinds.SURE.value:
        notes.append(phrase("{least_pct:.0f} to {most_pct:percent}", least_pct=row.least, most_pct=row.most))
    if row.prediction is not None:
        notes.append(spoken(row.prediction))
    if row.exposed_by is not None and (exposed := place_of(row.exposed_by)):
        notes.append(phrase("costs time since {place} waits for the GPU", place=exposed))
    noted = f" ({'; '.join(map(text_of, notes))})" if notes else ""
    label, about = text_of(label_of(row.kind, ledger)), text_of(_about(row, ledger))
    return f"{percent(row.share):>5}  {label:<{width}}  {about}{noted}".rstrip()


def basis_of(ledger: Ledger) -> Message:
    """How the shares are known, and what they are of."""
    rank = phrase("rank {rank} of {ranks}, ", rank=ledger.rank, ranks=ledger.ranks) if ledger.ranks > 1 else None
    return phrase("{rank}{covered}. {foot}", rank=rank, covered=covered_of(ledger), foot=foot_of(ledger))


def covered_of(ledger: Ledger) -> Message:
    """`from stacks and the log, 97% of it seen`"""
    tier = TIERS[ledger.tier]
    if ledger.covered_share >= 0.995:
        return tier
    return phrase("{tier}, {seen_pct:percent} of it seen", tier=tier, seen_pct=100 * ledger.covered_share)


def foot_of(ledger: Ledger) -> Message:
    """What the shares are of."""
    if any(row.kind == "idle" for row in ledger.rows):
        whose = phrase("the service's threads, taken as one")
    else:
        whose = phrase("the main thread's time")
    if ledger.device == "CPU":
        return phrase("The device is the CPU: shares are of {whose}.", whose=whose)
    if ledger.device == "host":
        return phrase("No counter says how busy the GPU was: shares are of {whose}.", whose=whose)
    signal = SIGNALS[ledger.signal]
    if ledger.traced and ledger.busy_parts:
        trace = ledger.traced.trace
        return phrase(
            "Busy by {signal}; its parts as in the traced steps {first_step} to {last_step}.",
            signal=signal,
            first_step=trace.first_step,
            last_step=trace.last_step,
        )
    return phrase("Busy by {signal}; what a GPU did while busy is not judged.", signal=signal)


# A whole run in words: its goodput in one sentence, what each kind was computed from, and what is missing.

MIN_HOURS = 0.1  # of GPUs: of fewer nothing is said
NO_TIME = phrase(
    "Fewer than two moments of the run are known, so there is no wall time to share out: log lines with time_s, or use RunLog."
)
SOURCES = (
    phrase("phases of the step log"),
    phrase("events with a duration"),
    phrase("the gap before an event or value without a duration"),
)


def run_sentence_of(found: RunLedger) -> Message:
    """`Goodput 71% of 3 h 20 min: ...` The largest losses come first."""
    losses = sorted((row for row in found.rows if row.kind in LOST), key=lambda row: -row.share)
    named = [row for row in losses[:IN_SENTENCE] if row.share >= MIN_PART]
    attempts = None
    if len(found.attempts) > 1:
        attempts = phrase(" in {attempts} attempts", attempts=len(found.attempts))
    if found.goodput is None and not named:
        return phrase(
            "Goodput of {seconds:spoken}{attempts} is not known: fewer than two lines have a step and a time.{lost}",
            seconds=found.seconds,
            attempts=attempts,
            lost=_lost(found),
        )
    parts = _parts(named, sum(row.share for row in losses[len(named) :]), found)
    if found.goodput is not None:
        head = phrase("Goodput {share_pct:percent}", share_pct=found.goodput)
    else:
        head = phrase("Goodput at most {share_pct:percent}", share_pct=found.at_most)
    return phrase(
        "{head} of {seconds:spoken}{attempts}{losses}.{lost}",
        head=head,
        seconds=found.seconds,
        attempts=attempts,
        losses=phrase(": {parts}", parts=parts) if named else None,
        lost=_lost(found),
    )


def run_line_of(found: RunLedger) -> str:
    """For a shell: `Whole run: goodput 71% of ...`"""
    text = text_of(run_sentence_of(found))
    return f"Whole run: {text[:1].lower()}{text[1:]}"


def _lost(found: RunLedger) -> Message | None:
    hours, all_hours = found.lost.gpu_hours, found.paid.gpu_hours
    if hours is None or not all_hours or all_hours < MIN_HOURS:
        return None
    return phrase(" Lost: {hours:.1f} of {all_hours:.1f} GPU-hours.", hours=hours, all_hours=all_hours)


def run_basis_of(kind: TimeKind, found: RunLedger) -> Message | None:
    """What the seconds of a kind were computed from."""
    if kind in ("validation", "checkpoint"):
        named_s = found.named_s.get(kind, (0.0, 0.0, 0.0))
        return _joined([words for words, seconds in zip(SOURCES, named_s, strict=True) if seconds > 0]) or phrase(
            "stacks"
        )
    starts = [phrase(by) for by in dict.fromkeys(row.span.started_by for row in found.attempts)]
    ends = [phrase(by) for by in dict.fromkeys(row.span.ended_by for row in found.attempts if not row.span.alive)]
    edges = _joined([*starts, *ends])
    match kind:
        case "training":
            return phrase("lines of the step log, without all other kinds")
        case "initialisation":
            begun = _joined([*starts, phrase("the first line of the step log")])
            is_compiled = sum(found.named_s.get("initialisation", ())) > 0
            return phrase("{begun} and compilations that are logged", begun=begun) if is_compiled else begun
        case "redone":
            return phrase("steps in the lines of the step log that a later attempt logged again")
        case "stalled":
            return phrase("gaps in the lines of the step log of at least 30 s and 20 usual ones")
        case "nothing":
            return phrase("{edges}, without a line of the step log between them", edges=edges)
        case "ending":
            return _joined([phrase("the last line of the step log"), *ends])
    return edges


def missing_of(found: RunLedger, *, gpus: bool, priced: bool) -> list[Message]:
    """One sentence for each thing that is not known, with what would make it so."""
    kinds = {row.kind for row in found.rows}
    said = []
    if found.goodput is None:
        said.append(
            phrase(
                "Fewer than two lines of the run have a step and a time, so training, initialisation, stalls and redone steps are not separated: log each step with RunLog or an adapter."
            )
        )
    if found.goodput is not None and not kinds & {"validation", "checkpoint"}:
        said.append(
            phrase(
                "Neither validations nor checkpoints are logged: if there were any, they count as training. Log their phases or events."
            )
        )
    if any(row.span.started_by == "first line" for row in found.attempts):
        said.append(
            phrase("Nothing says when a process of the run began: what lies before its first line is not counted.")
        )
    if gpus and found.paid.energy_j is None:
        said.append(phrase("No energy counter of the run's GPUs is stored for its time."))
    if gpus and not priced:
        said.append(phrase("The settings have no price for a GPU-hour, so there is no cost."))
    return said


def _joined(words: Sequence[Message]) -> Message | None:
    """`a, b and c`; None for none."""
    if len(words) < 2:
        return words[0] if words else None
    return phrase("{words} and {last}", words=words[:-1], last=words[-1])
