"""The state of a run, by the rules of docs/log-format.md."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from pathlib import Path

from ..records import Event
from .activity import SCHEDULER, RunActivity, RunState, StateName, is_ahead, last_ends, last_sign_s, spoken
from .claims import CLOCK_SLACK_S, Claim, ClaimStrength, claims_of
from .identity import job_of
from .proc import PROC

STALLED_AFTER_S = 30.0
SILENT_AFTER_S = 60.0  # where no process is known
INTERVALS = 20  # ... or this many median intervals between lines, whichever is longer
OVER: frozenset[StateName] = frozenset({"ended", "finished", "failed", "killed", "preempted", "requeued"})
SILENT = RunState("ended", "", None)  # nothing says that it ended but that it says nothing
MAY_GO_ON_S = 600.0  # a run that is only silent is not let go before
STATUSES: dict[str, StateName] = {
    "finished": "finished",
    "killed": "killed",
    "ended": "ended",
}  # of an end event; any other is an error
WORST_FIRST: tuple[StateName, ...] = ("failed", "killed", "requeued", "preempted", "finished", "ended")
PREEMPTING = re.compile(
    r"(?i)\b(?:stopped|ended) by (SIGTERM|SIGUSR1|exit code 75)$"
)  # a scheduler, or who takes the machine away, sends them


def state_of(activity: RunActivity, now_s: float, *, host: str | None = None, proc: Path = PROC) -> RunState:
    """Whether a run continues, else how it ended. Costs about 30 us per rank."""
    return _in_queue(activity, _or_preempted(activity, _state_of(activity, now_s, host, proc)))


def _believed(activity: RunActivity, now_s: float) -> RunActivity:
    """Without a last line years ahead, nor the pace that it was part of."""
    ahead = is_ahead(activity.last_line_s, now_s)
    return activity._replace(last_line_s=None, median_interval_s=None) if ahead else activity


def _or_preempted(activity: RunActivity, state: RunState) -> RunState:
    """Not finished nor killed by itself, where a signal that asks to make room ended it."""
    signal = PREEMPTING.search(state.reason) if state.state in ("finished", "killed") else None
    if signal is None:
        return state
    job, _ = job_of([*activity.starts, *activity.seen])
    how = (
        f"Stopped by {signal[1].upper()}"
        if signal[1].isupper()
        else "It saved and ended with exit code 75, to be started again"
    )
    return RunState("preempted", f"{how}{f' in job {job}' if job else ''}", state.pid)


def _in_queue(activity: RunActivity, state: RunState) -> RunState:
    """A job that waits for its first attempt, or its next; one that was cancelled had nothing go wrong with it."""
    newest = _newest(event for event in activity.queue if isinstance(event.fields.get("job"), int))
    if newest is None or newest.kind == "queued":
        return state
    job, begun_s = (
        newest.fields["job"],
        max((event.time_s for event in (*activity.starts, *activity.seen)), default=0.0),
    )
    if begun_s > newest.time_s:
        return state
    if newest.kind == "failed":  # what its files and processes say of it comes first
        return RunState("failed", newest.text, state.pid) if state.state == "ended" else state
    if newest.kind == "cancelled":
        return (
            RunState("ended", f"Cancelled as job {job}", state.pid)
            if state.state not in ("running", "stalled")
            else state
        )
    again = newest.text.partition(": ")[2] if newest.kind == "requeued" else ""
    return RunState("queued", f"Waits in the queue as job {job}{f': {again}' if again else ''}", None)


def _state_of(activity: RunActivity, now_s: float, host: str | None, proc: Path) -> RunState:
    ends = last_ends(activity)
    for end in ends.values():
        status, reason = said_by(end)
        if status not in ("finished", "ended"):
            word = _schedulers(activity, [end]) if status == "killed" and PREEMPTING.search(reason) else None
            return word or RunState(status, reason, end.fields.get("pid"))
    claims = claims_of(activity, host or socket.gethostname(), proc)
    living, gone = [claim for claim in claims if claim.lives], [claim for claim in claims if not claim.lives]
    over = _over(_believed(activity, now_s), gone)
    if over and not (living and over.state == "ended" and gone[0].strength < ClaimStrength.START):
        return over
    if living:
        return _alive_state(activity, now_s, living[0].process.pid)
    if ends and ends.keys() >= {start.rank for start in activity.starts}:
        unknown = [end for end in ends.values() if said_by(end)[0] == "ended"]  # of a rank that did not close its log
        state: StateName = "ended" if unknown else "finished"
        return _schedulers(activity, ends.values()) or RunState(state, _foremost(unknown or ends.values()), None)
    return _without_process(_believed(activity, now_s), now_s)


def _over(activity: RunActivity, gone: list[Claim]) -> RunState | None:
    """How it ended by those of its processes that are gone, the worst first; None where it goes on without them."""
    exits = {(event.fields.get("pid"), event.fields.get("pid_start_ticks")): event for event in activity.exits}
    found = [_exit_state(claim, exits.get((claim.process.pid, claim.process.start_ticks))) for claim in gone]
    if gone and gone[0].strength < ClaimStrength.START and _was_taken_up(activity):
        return None
    return min(found, key=lambda state: WORST_FIRST.index(state.state), default=None)


def _was_taken_up(activity: RunActivity) -> bool:
    """Whether lines came after its process was gone: another one writes them, which is not known yet."""
    last_exit_s = max((event.time_s for event in activity.exits), default=None)
    return last_exit_s is not None and (activity.last_line_s or 0.0) > last_exit_s + CLOCK_SLACK_S


def _exit_state(claim: Claim, event: Event | None) -> RunState:
    pid = claim.process.pid
    if event is None:
        return RunState("ended", f"Process {pid} is gone", pid)
    return RunState(_state_in(event), event.text or f"Process {pid} is gone", pid)


def _state_in(event: Event) -> StateName:
    """Of an exit event."""
    state = event.fields.get("state")
    return next((name for name in WORST_FIRST if name == state), "ended")


def _schedulers(activity: RunActivity, ends: Iterable[Event]) -> RunState | None:
    """What its scheduler wrote of the end of a run that has closed its log itself."""
    since_s = min(end.time_s for end in ends) - CLOCK_SLACK_S
    verdict = _newest(
        event for event in activity.exits if event.fields.get("by") == SCHEDULER and event.time_s >= since_s
    )
    return RunState(_state_in(verdict), verdict.text, None) if verdict else None


def _foremost(ends: Iterable[Event]) -> str:
    """The reason of the ranks that were stopped by a signal, else of the lowest: others say that they stopped with another rank."""
    reasons = [_reason(end) for end in ends]
    return next((reason for reason in reasons if PREEMPTING.search(reason)), reasons[0])


def _reason(end: Event) -> str:
    return str(end.fields.get("reason") or end.text)


def _alive_state(activity: RunActivity, now_s: float, pid: int) -> RunState:
    sign_s = last_sign_s(activity, now_s)
    if not sign_s or is_ahead(activity.last_line_s, now_s):
        return RunState("running", "", pid)
    silent_s = now_s - max(sign_s, min(activity.beside_s or 0.0, now_s))
    speaks = activity.last_line_s is not None or not activity.info.get(
        "attached"
    )  # of a process that was attached no line is due
    serves = activity.info.get("kind") == "service"  # it says nothing while no request comes
    if not speaks or serves or silent_s <= _patience_s(activity, STALLED_AFTER_S):
        return RunState("running", "", pid)
    usual = "" if activity.median_interval_s is None else f" (normal {spoken(activity.median_interval_s)})"
    return RunState("stalled", f"No line for {spoken(silent_s)}{usual}", pid)


def _without_process(activity: RunActivity, now_s: float) -> RunState:
    """From its lines alone, and the end of its log."""
    verdict = _newest(event for event in activity.exits if "pid" not in event.fields)
    if verdict and (activity.last_line_s or 0.0) <= verdict.time_s + CLOCK_SLACK_S:
        return RunState(_state_in(verdict), verdict.text, None)
    if is_silent(activity, now_s):
        return SILENT
    return RunState("running", "", None)


def said_by(end: Event) -> tuple[StateName, str]:
    """The state and the reason in an end event."""
    return STATUSES.get(str(end.fields.get("status", "finished")), "failed"), _reason(end)


def is_silent(activity: RunActivity, now_s: float, at_least_s: float = SILENT_AFTER_S) -> bool:
    """Whether a run without a known process has been silent for so long that it is over."""
    return now_s - last_sign_s(activity, now_s) >= _patience_s(_believed(activity, now_s), at_least_s)


def _newest(events: Iterable[Event]) -> Event | None:
    return max(events, key=lambda event: event.time_s, default=None)


def _patience_s(activity: RunActivity, at_least_s: float) -> float:
    return max(at_least_s, INTERVALS * (activity.median_interval_s or 0.0))
