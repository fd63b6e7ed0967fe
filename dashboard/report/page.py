"""Findings as texts and pictures, in the order of the page: what the templates draw, nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from collectors import VERSION
from collectors.analysis.blame.verdict import Verdict
from collectors.analysis.ledger.contrast import time_of
from collectors.analysis.ledger.wording import covered_of, foot_of, sentence_of
from collectors.analysis.stacks.traces import Range
from collectors.redaction import redacted

from .curve_paths import PlotPicture, ends_of, picture_of
from .findings import Findings
from .flame_boxes import FlameBoxes, boxes_of
from .ledger_rows import ContrastRow, LedgerPicture, contrast_rows, ledger_picture
from .log_rows import ChangeRow, FaultText, changes_of, faults_of
from .surroundings import DifferenceText, KeyText, SectionText, differences_of, sections_of
from .texts import clock_of, figure, length_of, moment_of, range_of, said, shortened

if TYPE_CHECKING:
    from .rendering import Detail

NO_TIMES = "The points of this run have no times, so nothing is known of its seconds."
NO_STACKS = "No stacks of this window are stored, so nothing is known of its functions."
NO_CURVES = "The run has no loss and no steps, and nothing of the machine was recorded in this window."
MOST_NAME = 120  # characters of a run's name


class EvidenceText(NamedTuple):
    name: str
    window: str
    normal: str


class VerdictText(NamedTuple):
    title: str
    sentence: str
    aside: str
    evidence: list[EvidenceText]


class LedgerText(NamedTuple):
    sentence: str
    aside: str
    picture: LedgerPicture
    first: str  # the ends of the lane
    last: str


class ContrastText(NamedTuple):
    sentence: str
    rows: list[ContrastRow]
    other: str
    unit: str  # "" where seconds of a unit are not known of both


class FlameText(NamedTuple):
    drawn: FlameBoxes
    about: str


@dataclass(frozen=True)
class ReportPage:
    """An empty note stands for nothing to be said."""

    run: str
    heading: str
    about: str
    facts: list[KeyText]
    verdicts: list[VerdictText]
    verdict_note: str
    ledger: LedgerText | None
    ledger_note: str
    contrast: ContrastText | None
    contrast_note: str
    differs: list[DifferenceText]
    differs_more: int
    flame: FlameText | None
    flame_note: str
    plots: list[PlotPicture]
    plots_more: int
    others: int
    plots_note: str
    faults: list[FaultText]
    faults_note: str
    changes: list[ChangeRow]
    log_where: str
    log_sentence: str
    log_note: str
    sections: list[SectionText]
    made: str
    version: str


def page_of(found: Findings, detail: Detail) -> ReportPage:
    run, window, zone = found.run, found.window, found.time_zone
    name = shortened(run.stored.name, MOST_NAME)
    shown = shortened(run.about.name, MOST_NAME)
    plots, plots_more = _plots(found, detail)
    crash, log = found.crash.value, found.log.value
    whole = found.query.window is None
    return ReportPage(
        run=name,
        heading=shown or name,
        about=f"{'The whole run' if whole else 'A window'}: {range_of(*window, zone)}, {length_of(window[1] - window[0])}"
        if window
        else NO_TIMES,
        facts=_facts(found, detail.characters, name if shown else ""),
        verdicts=_verdicts(found, detail),
        verdict_note=_verdict_note(found),
        ledger=_ledger(found, detail),
        ledger_note=found.ledger.note,
        contrast=_contrast(found, detail),
        contrast_note=found.contrast.note,
        differs=differences_of(found.differs, detail.rows, detail.characters),
        differs_more=max(0, len(found.differs) - detail.rows),
        flame=_flame(found, detail),
        flame_note=found.flame.note or ("" if found.flame.value else NO_STACKS),
        plots=plots,
        plots_more=plots_more,
        others=found.curves.value.others if found.curves.value else 0,
        plots_note=found.curves.note or ("" if plots else NO_CURVES),
        faults=faults_of(crash, zone, detail.rows, detail.characters) if crash else [],
        faults_note=found.crash.note,
        changes=changes_of(log, zone, detail.rows, detail.characters) if log else [],
        log_where="this window" if not whole else "the slowest stretch",
        log_sentence=said(log.sentence, 2 * detail.characters) if log else "",
        log_note=_log_note(found),
        sections=sections_of(run.stored.info, 3 * detail.rows, detail.characters),
        made=moment_of(found.made_s, zone),
        version=VERSION,
    )


def _facts(found: Findings, characters: int, name: str) -> list[KeyText]:
    run = found.run
    stored = run.stored
    reason = said(run.state_reason, characters)
    rows = [
        KeyText("Run", name),
        KeyText("State", f"{run.state}{f': {reason}' if reason and reason != run.state else ''}"),
        KeyText("Began", moment_of(run.started_s, found.time_zone)),
        KeyText("Ended", moment_of(run.ended_s, found.time_zone)),
        KeyText("Last step", "" if stored.last_step is None else f"{stored.last_step:,}"),
        KeyText("Rank", "" if found.query.rank is None else str(found.query.rank)),
        KeyText("Ranks", said(run.ranks.note, characters)),
        KeyText("Tags", shortened(", ".join(run.about.tags), characters)),
        KeyText("Note", said(run.about.note, 2 * characters)),
        KeyText("Not read", shortened(_unread(found), characters)),
    ]
    return [row for row in rows if row.value]


def _unread(found: Findings) -> str:
    stored = found.run.stored
    counts = [(stored.lines_skipped, "lines"), (stored.fields_skipped, "fields"), (stored.files_aside, "files")]
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _verdicts(found: Findings, detail: Detail) -> list[VerdictText]:
    texts = []
    if found.verdict.value is not None:
        texts.append(_verdict("The window", found.verdict.value, detail))
    if found.slowest.value is not None:
        lo, hi = found.slowest.value.window
        title = f"The slowest stretch: {range_of(lo, hi, found.time_zone)}, {length_of(hi - lo)}"
        texts.append(_verdict(title, found.slowest.value.verdict, detail))
    return texts


def _verdict(title: str, verdict: Verdict, detail: Detail) -> VerdictText:
    rows = [
        EvidenceText(
            shortened(row.name, detail.characters), _measured(row.window, row.unit), _measured(row.baseline, row.unit)
        )
        for row in verdict.evidence[: detail.rows]
        if row.window or row.baseline
    ]
    notes = [
        f"Confidence: {verdict.confidence}" if verdict.confidence else "",
        f"{verdict.samples:,} samples beside {verdict.baseline_samples:,} of the run's normal"
        if verdict.baseline_samples
        else "",
        said(verdict.contradiction.rstrip("."), detail.characters),
    ]
    return VerdictText(title, said(verdict.sentence, 2 * detail.characters), _sentences(notes), rows)


def _measured(value: float | None, unit: str) -> str:
    """`0.00055, "s/step" -> "550 µs/step"`"""
    if value is None:
        return ""
    return f"{time_of(value)}{unit[1:]}" if unit.startswith("s/") and 0 < value < 1e9 else figure(value, unit)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentences(notes: list[str]) -> str:
    return " ".join(f"{note}." for note in notes if note)


def _verdict_note(found: Findings) -> str:
    return found.slowest.note if found.query.window is None else found.verdict.note


def _ledger(found: Findings, detail: Detail) -> LedgerText | None:
    ledger = found.ledger.value
    if ledger is None:
        return None
    sentence = _capital(shortened(sentence_of(ledger), 3 * detail.characters))
    if not ledger.rows:
        return LedgerText(sentence, "", LedgerPicture([], [], []), "", "")
    aside = f"{_capital(covered_of(ledger))}. {foot_of(ledger)}"
    ends = _ends(ledger.window, found.time_zone)
    return LedgerText(sentence, aside, ledger_picture(ledger, detail.characters, detail.blocks), *ends)


def _ends(window: Range, zone: str) -> tuple[str, str]:
    """With the day where the two are of different ones."""
    lo, hi = (moment_of(end, zone) for end in window)
    if lo[:10] == hi[:10]:
        return clock_of(window[0], zone), clock_of(window[1], zone)
    return lo[:16], hi[:16]


def _contrast(found: Findings, detail: Detail) -> ContrastText | None:
    contrast = found.contrast.value
    if contrast is None:
        return None
    unit = contrast.mine.unit_name if contrast.changes and contrast.changes[0].seconds is not None else ""
    return ContrastText(
        shortened(redacted(contrast.sentence), 4 * detail.characters),
        contrast_rows(contrast, detail.characters),
        shortened(contrast.other.run, MOST_NAME),
        shortened(unit, 40),
    )


def _flame(found: Findings, detail: Detail) -> FlameText | None:
    flame = found.flame.value
    if flame is None:
        return None
    tree = flame.tree
    part = (
        ""
        if flame.window == found.window
        else f"Only {range_of(*flame.window, found.time_zone)}, as stacks of hours are many. "
    )
    return FlameText(
        boxes_of(tree, detail.boxes, detail.characters),
        f"{part}{tree.samples:,} samples, {length_of(tree.seconds)} of the main threads.",
    )


def _plots(found: Findings, detail: Detail) -> tuple[list[PlotPicture], int]:
    curves = found.curves.value
    if curves is None:
        return [], 0
    words = _ends(found.window, found.time_zone) if found.window else None
    ends = ends_of(curves, found.window, words)
    marked = found.slowest.value.window if found.slowest.value and found.window else None
    shown = curves.plots[: detail.plots]
    pictures = [picture_of(plot, ends, marked, detail.places, detail.lines, detail.characters) for plot in shown]
    return [picture for picture in pictures if picture is not None], len(curves.plots) - len(shown)


def _log_note(found: Findings) -> str:
    if found.log.note:
        return found.log.note
    log = found.log.value
    if log is None or log.sentence:
        return ""
    return f"{_capital(log.reason)}." if log.reason else "The log says nothing in it that it does not say otherwise."
