"""`deepseek-jobs explain 7`: why it waits, and what would start it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from access.program import Command

from ..plan import high_slots
from .command import job_argument
from .text import amount, clock, counted, listed, noun, placed_on, resources, spoken

if TYPE_CHECKING:
    from ..view import JobRow, QueueView, SlotRow


def run(parsed: argparse.Namespace) -> int:
    from ..state_folder import state_folder
    from ..view import QueueView

    view = QueueView(state_folder())
    for line in explained(view, view.find(parsed.job)):
        print(line)
    return 0


def explained(view: QueueView, row: JobRow) -> Iterator[str]:
    """A sentence a line."""
    slots = view.slots()
    if row.state not in ("queued", "held"):
        yield f"job {row.id} is {row.state}{f': {row.reason}' if row.reason else ''}{f' on {placed_on(row, slots)}' if row.on else ''}"
        return
    yield f"job {row.id} asks for {resources(row, slots)}; it {row.reason or 'has not been looked at yet'}"
    if row.state == "held":
        yield f"what starts it: deepseek-jobs release {row.id}"
    if view.daemon() is None:
        yield "no daemon runs, so nothing starts; start one with: deepseek-jobs daemon"
    if row.place == "local":
        yield from _of_slots(view, row)
        yield from _of_family(view, row)
    if row.queued_s:
        yield f"it has waited {spoken(row.waited_s + time.time() - row.queued_s)}{_first_in_first_out(view, row) if row.place == 'local' else '; Slurm plans it'}"


def _of_slots(view: QueueView, row: JobRow) -> Iterator[str]:
    """Who has what."""
    slots, jobs = view.slots(), view.jobs()
    free = [slot for slot in slots if not slot.foreign and not any(slot.id in other.on for other in jobs)]
    yield f"free now: {listed([slot.name for slot in free]) or 'nothing'} of {counted(len(slots), noun(slots))}"
    for slot in slots:
        holders = [other for other in jobs if slot.id in other.on]
        for other in holders:
            yield f"{slot.name}: job {other.id} ({other.run}), {other.state} since {clock(other.started_s or other.submitted_s)}"
        if slot.foreign:
            yield f"{slot.name}: {slot.why}"
    if len(free) < row.slots and not row.shares and any(other.shares for other in jobs if other.on):
        yield "it would share a slot with a job that allows it, had it been submitted with --share"
    if row.high and len(free) < row.slots:
        yield _of_high(row, slots, jobs)


def _of_high(row: JobRow, slots: Sequence[SlotRow], jobs: Sequence[JobRow]) -> str:
    """Whether others may have to make room for it."""
    most, held = (
        high_slots(len(slots)),
        sum(other.slots for other in jobs if other.high and other.on and other.id != row.id),
    )
    if held + row.slots > most:
        return f"no job makes room for it: high jobs may have {most} of {counted(len(slots), noun(slots))} that way, and have {held}"
    can = [f"job {other.id}" for other in jobs if other.on and other.resumes and not other.high]
    if not can:
        return "no job that runs can make room: none has --resume-with"
    they = "it has" if len(can) == 1 else "they have"
    return f"as a high job it may have {listed(can)} make room, once {they} run for a while (an hour, if the rule least_run_s is not set)"


def _of_family(view: QueueView, row: JobRow) -> Iterator[str]:
    """What is known of jobs like it."""
    record = view.family(row.family)
    last = record.durations_s[-2:]
    if last:
        yield f"jobs like it took {spoken(sum(last) / len(last))} lately, so it is expected to"
    else:
        yield "no job like it has ended yet, so its duration is taken for the median of all"
    if row.shares and record.units_per_s is None:
        yield "it shares no slot yet: jobs like it have logged no steps, so what a neighbour does to them could not be checked"
    elif row.shares and record.peak_mib is None:
        yield "it shares no slot yet: the memory of jobs like it has not been measured"
    elif row.shares and record.peak_mib:
        activity = "" if record.activity is None else f" and keep a slot {record.activity:.0%} busy"
        yield f"jobs like it peak at {amount(record.peak_mib)}{activity}"


def _first_in_first_out(view: QueueView, row: JobRow) -> str:
    fifo = view.carried().fifo
    if fifo is None:
        return ""
    started_s = fifo.starts_s.get(row.id)
    return (
        f"; first in, first out would have started it at {clock(started_s)}"
        if started_s
        else "; first in, first out would not have started it yet"
    )


COMMAND = Command("explain", "Explain why a job waits and what would start it.", job_argument, run)
