"""Which processes belong to a run, and whether they live: start events held against /proc."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .proc import PROC, TICKS_PER_S, alive, boot_id, contained, start_ticks
from .records import Event

CLOCK_SLACK_S = 2.0  # between a wall clock and the kernel's boot time plus ticks
STALLED_AFTER_S = 30.0
SILENT_AFTER_S = 60.0  # where no process is known
INTERVALS = 20  # ... or this many median intervals between lines, whichever is longer
WRITERS_FOR_S = 86400.0  # a run that was silent for longer is not looked for among open files: that walks over all of /proc
WRITERS_EVERY_S = 10.0
BOOTED_EVERY_S = 60.0
CONTAINED_EVERY_S = 1.0  # at most so often is /proc walked for the processes of containers


class RunActivity(NamedTuple):
    """What is known of a run from its files: all that its processes and its state are judged by."""

    run: str
    folder: Path
    info: Mapping[str, Any]  # run.json; {} where there is none
    starts: list[Event]
    ends: list[Event]
    last_line_s: float | None
    median_interval_s: float | None


class RunProcess(NamedTuple):
    """A process of this machine that belongs to a run. With its start ticks, the pid is unique on this boot."""

    pid: int  # as seen from here: a process of a container knows itself by another one
    rank: int
    start_ticks: int  # field 22 of /proc/<pid>/stat


class RunState(NamedTuple):
    state: Literal["running", "stalled", "crashed", "finished"]
    reason: str  # one sentence, "" where the state says it all
    pid: int | None  # of the lowest living rank; where it crashed, of the process that is gone


class _Claim(NamedTuple):
    """What a run says of a process of this machine and this boot."""

    process: RunProcess
    lives: bool


def processes_of(activity: RunActivity, *, host: str | None = None, proc: Path = PROC) -> list[RunProcess]:
    """The living processes of a run on this machine, by rank.

    They are those of its start events, else of run.json, else the ones that hold its files open for writing. A rank that
    has logged its end is left out, whatever its process goes on to do.
    """
    claims = _claims(activity, host or socket.gethostname(), proc)
    if claims or activity.starts or activity.ends:
        return [claim.process for claim in claims if claim.lives]
    return _writers_of(activity.folder, proc) if _lately(activity) else []


def state_of(activity: RunActivity, now_s: float, *, host: str | None = None, proc: Path = PROC) -> RunState:
    """Whether a run goes on, by the rules of docs/log-format.md. Costs about 30 us a rank."""
    ends = _last_ends(activity)
    for end in ends.values():
        if end.fields.get("status", "finished") != "finished":
            return RunState("crashed", _reason(end), end.fields.get("pid"))
    claims = _claims(activity, host or socket.gethostname(), proc)
    for claim in claims:
        if not claim.lives:
            pid = claim.process.pid
            return RunState("crashed", f"Killed: process {pid} is gone without an end event", pid)
    if claims:
        return _alive_state(activity, now_s, claims[0].process.pid)
    if ends and ends.keys() >= _newest_by_rank(activity.starts).keys():
        return RunState("finished", _reason(next(iter(ends.values()))), None)
    return _state_without_process(activity, now_s, proc)


def _claims(activity: RunActivity, host: str, proc: Path) -> list[_Claim]:
    """By rank, without the ranks that have ended."""
    ended = _last_ends(activity)
    if activity.starts:
        starts = _newest_by_rank(activity.starts)
        claims = [_claim_of_start(start, host, proc) for rank, start in starts.items() if rank not in ended]
    else:
        claims = [] if 0 in ended else [_claim_of_info(activity.info, host, proc)]
    return [claim for claim in claims if claim]


def _claim_of_start(start: Event, host: str, proc: Path) -> _Claim | None:
    """Boot, pid and start ticks name a process, whatever its container calls the host; that it is gone needs the host, or to have seen it."""
    pid, ticks = start.fields.get("pid"), start.fields.get("pid_start_ticks")
    if start.fields.get("boot_id") != boot_id(proc) or not isinstance(pid, int) or not isinstance(ticks, int):
        return None
    here = _seen(proc).pid_here(pid, ticks, start.time_s)
    if here is not None:
        return _Claim(RunProcess(here, start.rank, ticks), alive(here, ticks, proc))
    return _Claim(RunProcess(pid, start.rank, ticks), False) if start.fields.get("host") == host else None


class _Seen:
    """Which pid a process has here that calls itself by another in its container. What was found once, or is gone, stays so."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._here: dict[tuple[int, int], int | None] = {}  # by the process's own pid and start ticks
        self._contained: dict[tuple[int, int], int | None] = {}  # None where two containers have such a process
        self._walked_s = 0.0  # Unix seconds

    def pid_here(self, pid: int, ticks: int, started_s: float) -> int | None:
        """`started_s`: the process lived at that time, so that a later walk that does not find it will never."""
        key = pid, ticks
        if key not in self._here:
            if alive(pid, ticks, self._proc):
                self._here[key] = pid
            elif self._walk_after(started_s):
                self._here[key] = self._contained.get(key)
        return self._here.get(key)

    def _walk_after(self, time_s: float) -> bool:
        now_s = time.time()
        if self._walked_s <= time_s and now_s - self._walked_s >= CONTAINED_EVERY_S:
            self._contained, self._walked_s = contained(self._proc), now_s
        return self._walked_s > time_s


@functools.cache
def _seen(proc: Path) -> _Seen:
    return _Seen(proc)


def _claim_of_info(info: Mapping[str, Any], host: str, proc: Path) -> _Claim | None:
    """run.json knows no start ticks: whoever has its pid must have started before it was written."""
    pid, started_s = info.get("pid"), info.get("started_s")
    if info.get("host") != host or not isinstance(pid, int) or not isinstance(started_s, int | float):
        return None
    booted_s = _booted_s(proc, int(time.monotonic() / BOOTED_EVERY_S))
    if started_s < booted_s:
        return None
    ticks = start_ticks(pid, proc)
    lives = ticks is not None and booted_s + ticks / TICKS_PER_S <= started_s + CLOCK_SLACK_S
    return _Claim(RunProcess(pid, 0, ticks or 0), lives)


@functools.lru_cache(maxsize=1)
def _booted_s(proc: Path, turn: int) -> float:
    """Unix seconds; moves when the clock is set. On a machine of many cores the file takes a millisecond."""
    stat = (proc / "stat").read_text()
    return float(stat[stat.index("btime ") :].split(maxsplit=2)[1])


def _last_ends(activity: RunActivity) -> dict[int, Event]:
    """By rank, the end of its newest attempt; a rank that started again has none."""
    starts = _newest_by_rank(activity.starts)
    ends = _newest_by_rank(activity.ends)
    return {rank: end for rank, end in ends.items() if rank not in starts or end.time_s >= starts[rank].time_s}


def _newest_by_rank(events: Iterable[Event]) -> dict[int, Event]:
    newest = {event.rank: event for event in sorted(events, key=lambda event: event.time_s)}
    return dict(sorted(newest.items()))


def _reason(end: Event) -> str:
    return str(end.fields.get("reason") or end.text)


def _alive_state(activity: RunActivity, now_s: float, pid: int) -> RunState:
    silent_s = now_s - _last_sign_s(activity)
    if silent_s <= _patience_s(activity, STALLED_AFTER_S):
        return RunState("running", "", pid)
    normal = "" if activity.median_interval_s is None else f" (normal {spoken(activity.median_interval_s)})"
    return RunState("stalled", f"No line for {spoken(silent_s)}{normal}", pid)


def _state_without_process(activity: RunActivity, now_s: float, proc: Path) -> RunState:
    if now_s - _last_sign_s(activity) < _patience_s(activity, SILENT_AFTER_S):
        return RunState("running", "", None)
    writers = _writers_of(activity.folder, proc) if not activity.starts and _lately(activity) else []
    if writers:
        return _alive_state(activity, now_s, writers[0].pid)
    return RunState("finished", "no process known", None)


def _last_sign_s(activity: RunActivity) -> float:
    """When the run last gave a sign of life: its newest line, else its newest start."""
    starts = [start.time_s for start in activity.starts]
    return max([activity.last_line_s or 0.0, *starts, float(activity.info.get("started_s") or 0.0)])


def _patience_s(activity: RunActivity, at_least_s: float) -> float:
    return max(at_least_s, INTERVALS * (activity.median_interval_s or 0.0))


def _lately(activity: RunActivity) -> bool:
    return time.time() - _last_sign_s(activity) < WRITERS_FOR_S


def _writers_of(folder: Path, proc: Path) -> list[RunProcess]:
    pids = _writers(proc, int(time.monotonic() / WRITERS_EVERY_S)).get(folder.resolve(), ())
    return [RunProcess(pid, 0, ticks) for pid in pids if (ticks := start_ticks(pid, proc)) is not None]


@functools.lru_cache(maxsize=1)
def _writers(proc: Path, turn: int) -> Mapping[Path, list[int]]:
    """By folder, who holds a file of it open for writing. One walk over /proc for all runs: about 3 us an open file."""
    writers: dict[Path, list[int]] = {}
    for process in (entry for entry in proc.iterdir() if entry.name.isdigit()):
        for folder in {path.parent for path in _written_by(process)}:
            writers.setdefault(folder, []).append(int(process.name))
    return writers


def _written_by(process: Path) -> Iterator[Path]:
    with suppress(OSError):  # gone, or another user's
        for link in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                path = link.readlink()
                if str(path).startswith("/") and not str(path).startswith("/dev/") and _for_writing(process / "fdinfo" / link.name):
                    yield path


def _for_writing(fdinfo: Path) -> bool:
    flags = fdinfo.read_text().split("flags:", 1)[1].split(maxsplit=1)[0]
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def spoken(seconds: float) -> str:
    """`0.1 -> "0.1 s"`, `95 -> "95 s"`, `1200 -> "20 min"`, `10260 -> "2 h 51 min"`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
