"""What is known of a run from its files and from what was seen of its processes: all that its state is judged by."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ..received import is_received
from ..records import Event

SEEN, EXIT = "process", "exit"  # events of the collector's own: a process of a run was found; it is gone
DENIED = "denied"  # another one: the run names a process that is another run's, by all that the kernel shows
OWN_LIFETIMES = (SEEN, EXIT, DENIED)
SCHEDULER = "scheduler"  # of an exit event, in its field `by`: what a scheduler wrote of a run that has said itself how it ended
AHEAD_S = 86400.0  # by so much a clock may be wrong
TICKS_PER_S = 100.0  # of `pid_start_ticks`, as Linux shows them to programs on any host
OLDEST_S = 600.0  # an older process did other things before it began the run, as a notebook does
SAME_S = 1.0  # run.json is written just after its process begins
QUEUE = (
    "submitted",
    "queued",
    "requeued",
    "cancelled",
    "failed",
)  # events of a queue of jobs, with its number as `job`; `queued` ends the waiting
LIFETIMES = ("start", "end", *OWN_LIFETIMES, *QUEUE)  # the kinds of event that a run's state is judged by
TEXT_SUFFIXES = (".log", ".out", ".err", ".txt")
LIKE_A_LOG = re.compile(
    r"(?i)(?<![a-z])(log(s|ging)?|std(out|err)|out(put)?s?|err(ors?)?|console|nohup|prints?)(?![a-z])"
)


class RunActivity(NamedTuple):
    """What is known of a run from its files: all that its processes and its state are judged by."""

    run: str
    folder: Path
    info: Mapping[str, Any]  # run.json; {} where there is none
    starts: list[Event]
    ends: list[Event]
    last_line_s: float | None
    median_interval_s: float | None
    seen: Sequence[Event] = ()  # what the collector wrote down of its processes
    exits: Sequence[Event] = ()
    single_file: bool = False  # a file in the log folder itself
    files: Sequence[str] = ()  # names in its folder of the only files that are the run's; () for all of them
    parts: Sequence[str] = ()  # names of the folders in its folder whose files are the run's, too
    queue: Sequence[Event] = ()  # what a queue of jobs did with it
    denied: Sequence[Event] = ()
    beside_s: float | None = None  # the newest line of the other runs of its processes

    @property
    def is_received(self) -> bool:
        """Another host handed it over: it has no process here, whatever it says."""
        return is_received(self.run)

    def with_lives(self, events: Iterable[Event]) -> RunActivity:
        """With what the collector wrote down of its processes; events of other kinds are left out."""
        kinds: dict[str, list[Event]] = {kind: [] for kind in OWN_LIFETIMES}
        for event in events:
            if event.kind in kinds:
                kinds[event.kind].append(event)
        return self._replace(seen=kinds[SEEN], exits=kinds[EXIT], denied=kinds[DENIED])


class RunProcess(NamedTuple):
    """A process of this machine that belongs to a run. With its start ticks, the pid is unique on this boot."""

    pid: int  # as seen from here: a process of a container knows itself by another one
    rank: int
    start_ticks: int  # field 22 of /proc/<pid>/stat


StateName: TypeAlias = Literal[
    "queued", "running", "stalled", "ended", "finished", "failed", "killed", "preempted", "requeued"
]


class RunState(NamedTuple):
    state: StateName
    reason: str  # one sentence, "" where the state says it all
    pid: int | None  # of the lowest living rank; where it failed or was killed, of the process that is gone


def is_text(name: str) -> bool:
    """Whether a file of that name is a text log. Other *.txt are data: requirements.txt, a corpus."""
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and dot + suffix in TEXT_SUFFIXES and (suffix != "txt" or LIKE_A_LOG.search(stem) is not None)


def newest_by_rank(events: Iterable[Event]) -> dict[int, Event]:
    newest = {event.rank: event for event in sorted(events, key=lambda event: event.time_s)}
    return dict(sorted(newest.items()))


def last_ends(activity: RunActivity) -> dict[int, Event]:
    """By rank, the end of its newest attempt; a rank that started again has none."""
    starts, ends = newest_by_rank(activity.starts), newest_by_rank(activity.ends)
    began_s = (
        -math.inf if activity.starts else seconds(activity.info.get("started_s")) or -math.inf
    )  # of a program under `run`
    return {
        rank: end for rank, end in ends.items() if end.time_s >= (starts[rank].time_s if rank in starts else began_s)
    }


def began_s(begun: Event, info: Mapping[str, Any] | None = None) -> float:
    """When the process of a `start` or `process` event began the run: before its imports, and before a collector saw it.

    `mono_s` and `pid_start_ticks` count from the same boot. A process that was attached, or is old, did other things before; `info`,
    the run's run.json, then says when it began the run, if it names that process.
    """
    info = info or {}
    mono_s, pid, ticks = (begun.fields.get(name) for name in ("mono_s", "pid", "pid_start_ticks"))
    seen_s, start_ticks = seconds(mono_s), whole(ticks)
    age_s = seen_s - start_ticks / TICKS_PER_S if seen_s is not None and start_ticks is not None else 0.0
    if 0 <= age_s <= OLDEST_S and not info.get("attached"):
        return begun.time_s - age_s
    said_s = seconds(info.get("started_s"))
    names_it = pid is not None and info.get("pid") == pid
    return (
        said_s if names_it and said_s is not None and 0 <= begun.time_s - said_s <= max(age_s, SAME_S) else begun.time_s
    )


def started_s(info: Mapping[str, Any], known_s: float) -> float:
    """When a run started by its run.json, if that is up to a day before `known_s`, by which it had; else `known_s`."""
    said = (seconds(info.get(name)) for name in ("started_s", "first_started_s"))
    earlier = (time_s for time_s in said if time_s is not None and known_s - AHEAD_S <= time_s <= known_s + SAME_S)
    return min(known_s, max(earlier, default=known_s))


def end_of(activity: RunActivity, process: RunProcess) -> Event | None:
    """The end that a process's own attempt has logged, which others may have followed; of one without a start, that of the newest."""
    mine = [start for start in activity.starts if start.rank == process.rank]
    # A container has pids of its own, and the ticks of this machine.
    own = [start.time_s for start in mine if start.fields.get("pid_start_ticks") == process.start_ticks]
    if not own:
        return last_ends(activity).get(process.rank)
    until_s = min((start.time_s for start in mine if start.time_s > max(own)), default=math.inf)
    ends = [end for end in activity.ends if end.rank == process.rank and max(own) <= end.time_s <= until_s]
    return max(ends, key=lambda end: end.time_s, default=None)


def last_sign_s(activity: RunActivity, now_s: float = math.inf) -> float:
    """When the run last gave a sign of life: its newest line, else its newest start; 0 for none that can be believed at `now_s`."""
    times = [
        activity.last_line_s,
        *(start.time_s for start in activity.starts),
        seconds(activity.info.get("started_s")),
    ]
    return max((time_s for time_s in times if time_s is not None and not is_ahead(time_s, now_s)), default=0.0)


def is_ahead(time_s: float | None, now_s: float) -> bool:
    """Whether a time lies so far in the future that it proves nothing."""
    return time_s is not None and time_s > now_s + AHEAD_S


def seconds(value: object) -> float | None:
    """A finite number that a file gave, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def whole(value: object) -> int | None:
    """A whole number that a file gave, in the range of a pid or of clock ticks, or None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def spoken(seconds: float) -> str:
    """`0.1 -> "0.1 s"`, `95 -> "95 s"`, `1200 -> "20 min"`, `10260 -> "2 h 51 min"`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 9.5 else f"{round(seconds, 3):.1g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
