"""Why a job waits, in words: "waits for 2 GPUs; job 12 should end 14:20". A time is said only where jobs like it have ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from .job import Job
from .layout import Layout, Reservation
from .slot import Slot

FAR_S = 20 * 3600.0  # from there on the day is named, too


def each_in_words(number: int, slots: tuple[Slot, ...]) -> str:
    """`each of 2 GPUs`, `1 core slot`."""
    return f"{'each of ' if number > 1 else ''}{slots_in_words(number, slots)}"


def slots_in_words(number: int, slots: tuple[Slot, ...]) -> str:
    noun = "core slot" if slots and all(slot.cores for slot in slots) else "GPU"
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_in_words(at_s: float, now_s: float) -> str:
    """`14:20`, `Thu 14:20`, `3 Dec 14:20`, in local time"""
    form = (
        "%H:%M"
        if at_s - now_s < FAR_S
        else "%a %H:%M"
        if at_s - now_s < 6 * 86400
        else f"{time.localtime(at_s).tm_mday} %b %H:%M"
    )
    return time.strftime(form, time.localtime(at_s))


class Reasons:
    """Sentences for the jobs that wait after a plan. What several jobs wait for alike is looked up once."""

    def __init__(
        self,
        slots: tuple[Slot, ...],
        layout: Layout,
        reservation: Reservation | None,
        now_s: float,
        expected_s: Callable[[Job], float | None] = lambda job: None,
    ) -> None:
        """`expected_s`: how long jobs like it take; None where none has ended."""
        self._slots, self._layout, self._reservation, self._now_s = slots, layout, reservation, now_s
        self._expected_s = expected_s
        self._known: dict[tuple[int, float | None, bool], tuple[str, str]] = {}
        self.blocked: set[int] = set()
        """Jobs that no end of another job of the queue helps."""

    def impossible(self, job: Job, need_mib: float | None) -> str:
        """Of a job that no waiting helps."""
        self.blocked.add(job.id)
        if job.slots > len(self._slots):
            return f"asks for {slots_in_words(job.slots, self._slots)}; this host has {len(self._slots)}"
        largest = max((slot.memory_mib or 0.0) for slot in self._slots) / 1024
        wanted = each_in_words(job.slots, self._slots)
        return f"needs {(need_mib or 0.0) / 1024:.1f} GiB on {wanted}; the largest has {largest:.1f} GiB"

    def promised(self, job: Job) -> str:
        stopping = sorted({other.id for slot in job.promised for other in self._layout.jobs.get(slot, [])})
        return f"starts when {_jobs(stopping)} {'have' if len(stopping) > 1 else 'has'} saved and stopped"

    def waits(self, job: Job, need_mib: float | None, ahead: int) -> str:
        """Behind so many others."""
        reserved = self._reservation is not None and self._reservation.job == job.id
        key = job.slots, need_mib, reserved
        if key not in self._known:
            self._known[key] = slots_in_words(job.slots, self._slots), self._until(job.slots, need_mib, reserved)
        wanted, until = self._known[key]
        if self._layout.usable(need_mib) < job.slots:
            self.blocked.add(job.id)
        behind = f" behind {ahead} job{'s' if ahead > 1 else ''}" if ahead else ""
        return f"waits for {wanted}{behind}; {until}"

    def _until(self, slots: int, need_mib: float | None, reserved: bool) -> str:
        free, reservation = len(self._layout.free(need_mib)), self._reservation
        if free < slots or reservation is None or reserved:
            return self._which_ends(slots, need_mib)
        at = time_in_words(reservation.at_s, self._now_s)
        return f"what is free is kept for job {reservation.job}, which should start {at}"

    def _which_ends(self, slots: int, need_mib: float | None) -> str:
        """The job whose end should make enough slots free."""
        layout = self._layout
        if (usable := layout.usable(need_mib)) < slots:
            absent = sum(slot.absent for slot in self._slots)
            used = len(self._slots) - usable - absent
            said = [f"others use {used}"] * (used > 0) + [f"the driver does not name {absent}"] * (absent > 0)
            return f"{' and '.join(said)} of {len(self._slots)}"
        end_s, slot = layout.by_end(need_mib)[slots - 1]
        if end_s == float("inf"):
            return f"some are kept for job {min(layout.kept_for.values())}"
        if not layout.jobs[slot]:
            return "it is next"
        last = max(layout.jobs[slot], key=lambda job: job.id)
        if last.state == "stopping":
            return (
                f"job {last.id} should have saved and stopped by {time_in_words(max(end_s, self._now_s), self._now_s)}"
            )
        expected_s = self._expected_s(last)
        if expected_s is None:
            return f"job {last.id} has to end, and no job like it has ended yet"
        if last.done(self._now_s) >= expected_s:
            return f"job {last.id} has to end, and has run longer than jobs like it"
        return f"job {last.id} should end {time_in_words(max(end_s, self._now_s), self._now_s)}"


def _jobs(ids: list[int]) -> str:
    names = [str(job) for job in ids]
    return (
        f"job {names[0]}"
        if len(names) == 1
        else f"jobs {', '.join(names[:-1])} and {names[-1]}"
        if names
        else "its neighbour"
    )
