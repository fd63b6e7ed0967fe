"""The state of a run: running, stalled, finished, failed or killed, from its files and its processes."""

from __future__ import annotations

import functools
import math
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ..folders import is_received
from ..message import spoken
from ..queue_events import CANCELLED, FAILED, MOVES, PLACED, REQUEUED
from ..records import Event
from .proc import PROC, alive, boot_id, contained, pid_namespace, runs_python, start_ticks, uid_of
from .proc import TICKS_PER_S as PROC_TICKS_PER_S
from .ranks import job_of

SEEN, EXIT = "process", "exit"  # events of the collector's own: a process of a run was found; it is gone
DENIED = "denied"  # another one: the run names a process that is another run's, by all that the kernel shows
OWN_LIFETIMES = (SEEN, EXIT, DENIED)
SCHEDULER = "scheduler"  # of an exit event, in its field `by`: what a scheduler wrote of a run that has said itself how it ended
AHEAD_S = 86400.0  # by so much a clock may be wrong
TICKS_PER_S = 100.0  # of `pid_start_ticks`, as Linux shows them to programs on any host
OLDEST_S = 600.0  # an older process did other things before it began the run, as a notebook does
SAME_S = 1.0  # run.json is written just after its process begins
LIFETIMES = ("start", "end", *OWN_LIFETIMES, *MOVES)  # the kinds of event that a run's state is judged by
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
    queue: Sequence[Event] = ()  # moves of a queue of jobs
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


def run_started_s(info: Mapping[str, Any], begun: Sequence[Event], first_line_s: float | None = None) -> float | None:
    """When a run started, everywhere: its first process began it, by its `start` events; else as it was seen, as run.json says, or by its
    first line. None where nothing says it."""
    times_s = {kind: [began_s(event, info) for event in begun if event.kind == kind] for kind in ("start", SEEN)}
    if times_s["start"]:
        return min(times_s["start"])
    if times_s[SEEN]:
        return started_s(info, min([*times_s[SEEN], *filter(None, [first_line_s])]))
    said_s = seconds(info.get("started_s"))
    return first_line_s if said_s is None else said_s


def run_ended_s(activity: RunActivity) -> float | None:
    """When a run ended, everywhere: its last rank did, by the end of its own newest attempt, else as its process was seen to be gone."""
    ends = {rank: end.time_s for rank, end in last_ends(activity).items()}
    starts = newest_by_rank(activity.starts or activity.seen)
    for rank, exited in newest_by_rank(activity.exits).items():
        if rank not in ends and (rank not in starts or exited.time_s >= starts[rank].time_s):
            ends[rank] = exited.time_s
    return max((time_s for time_s in ends.values() if math.isfinite(time_s)), default=None)


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


# What a run's files claim about processes on this machine, as far as the kernel confirms it.

CLOCK_SLACK_S = 2.0  # between a wall clock and the kernel's boot time plus ticks
BOOTED_EVERY_S = 60.0
CONTAINED_EVERY_S = 1.0  # at most so often is /proc walked for the processes of containers
ROOT_UID = 0


class ClaimStrength(IntEnum):
    """How well a claim is founded: a process that two runs claim goes to the stronger one."""

    SIBLING = 0  # another rank of the same launcher
    APPENDER = 1  # what it writes rises with the run's files
    WRITER = 2  # it holds the run's files open
    INFO = 3  # run.json names its pid
    INFO_WITH_HOST = 4
    SEEN = 5  # a look at its processes found it, and the collector wrote down its start ticks
    START = 6  # a start event names pid, boot and start ticks


class Claim(NamedTuple):
    """What a run says of a process of this machine and this boot."""

    process: RunProcess
    lives: bool
    strength: ClaimStrength
    since_s: float  # when it was made, Unix seconds


def processes_of(activity: RunActivity, *, host: str | None = None, proc: Path = PROC) -> list[RunProcess]:
    """The living processes of a run, by rank, from its files or from earlier sightings.

    A rank that has logged its end is left out, even if its process lives on.
    """
    if activity.is_received:
        return []
    named = [claim.process for claim in claims_of(activity, host or socket.gethostname(), proc) if claim.lives]
    beside = (
        [claim.process for claim in _of_seen(activity, proc) if claim.lives]
        if activity.seen and not activity.ends
        else []
    )
    return sorted(
        {process.pid: process for process in [*beside, *named]}.values(),
        key=lambda process: (process.rank, process.pid),
    )


def claims_of(activity: RunActivity, host: str, proc: Path) -> list[Claim]:
    """By rank, without the ranks that have ended, and the processes that were denied: from start events, else what was seen, else run.json."""
    if activity.is_received:
        return []
    ended = last_ends(activity)
    named = {rank: event for rank, event in newest_by_rank(activity.starts).items() if names_a_process(event)}
    if named:
        found = [_of_start(event, activity.folder, host, proc) for rank, event in named.items() if rank not in ended]
    elif 0 in ended and not activity.starts:
        return []
    elif activity.seen:
        found = [*_of_seen(activity, proc)]
    else:
        found = [_of_info(activity.info, activity.folder, host, proc)]
    return [
        claim._replace(lives=claim.lives and not _let_go(activity, claim.process))
        for claim in found
        if claim and not _is_denied(activity, claim.process)
    ]


def _is_denied(activity: RunActivity, process: RunProcess) -> bool:
    """Whether the process was found to be another run's, and not this one's since. A run that was renamed was that other one itself."""
    denied = [event for event in activity.denied if event.fields.get("owner") != activity.run]
    if process.start_ticks:  # else it is gone, and run.json knows none
        denied = _about(process, denied)
    seen_s = max((event.time_s for event in _about(process, activity.seen)), default=-math.inf)
    return any(event.time_s > seen_s for event in denied)


def _let_go(activity: RunActivity, process: RunProcess) -> bool:
    """Whether a living process was seen to have left the run, and no line came since, or another one writes them."""
    left = _exits_of(activity, process)
    return bool(left) and (
        (activity.last_line_s or 0.0) <= max(event.time_s for event in left) + CLOCK_SLACK_S or _is_replaced(left)
    )


def _exits_of(activity: RunActivity, process: RunProcess) -> list[Event]:
    return _about(process, activity.exits)


def _about(process: RunProcess, events: Iterable[Event]) -> list[Event]:
    name = process.pid, process.start_ticks
    return [event for event in events if (event.fields.get("pid"), event.fields.get("pid_start_ticks")) == name]


def _is_replaced(exits: Iterable[Event]) -> bool:
    return any(whole(event.fields.get("writer_pid")) is not None for event in exits)


def names_a_process(event: Event) -> bool:
    """Whether a start event says which process it was, here or elsewhere."""
    fields = event.fields
    known = whole(fields.get("pid")) is not None and whole(fields.get("pid_start_ticks")) is not None
    return known and isinstance(fields.get("boot_id"), str)


def is_of_another_boot(event: Event, proc: Path = PROC) -> bool:
    """Whether a start event says that it was written on another machine, or before this one was booted."""
    boot = event.fields.get("boot_id")
    return isinstance(boot, str) and boot != boot_id(proc)


def may_name(file: Path, pid: int, proc: Path = PROC) -> bool:
    """Whether the file's owner may name a process: its user, or root. Of a link, both owners count. About 15 us."""
    try:
        owners = {file.stat().st_uid, file.lstat().st_uid}
    except OSError:
        return False
    return owners <= {uid_of(pid, proc), ROOT_UID}


def _of_start(start: Event, folder: Path, host: str, proc: Path) -> Claim | None:
    """Boot, pid and start ticks identify a process under any host name; it is dead only if the host matches or it was seen alive."""
    pid, ticks = start.fields["pid"], start.fields["pid_start_ticks"]
    if start.fields["boot_id"] != boot_id(proc):
        return None
    here = _seen(proc).pid_here(pid, ticks, start.time_s)
    if here is None:
        gone = Claim(RunProcess(pid, start.rank, ticks), False, ClaimStrength.START, start.time_s)
        return gone if start.fields.get("host") == host else None
    lives = alive(here, ticks, proc)
    if lives and not _confirmed(folder, start.rank, here, ticks, proc):
        return None
    return Claim(RunProcess(here, start.rank, ticks), lives, ClaimStrength.START, start.time_s)


def _confirmed(folder: Path, rank: int, pid: int, ticks: int, proc: Path) -> bool:
    """Whether every file that this start event may have stood in belongs to a user who may name the process; once so, for good."""
    key = folder, rank, pid, ticks
    if key not in _CONFIRMED:
        files = [
            path for name in ("events.jsonl", f"events.rank{rank}.jsonl") if os.path.lexists(path := folder / name)
        ]
        if not files or not all(may_name(file, pid, proc) for file in files):
            return False
        _CONFIRMED.add(key)
    return True


_CONFIRMED: set[tuple[Path, int, int, int]] = set()  # of living processes: it grows with them only


def _of_seen(activity: RunActivity, proc: Path) -> list[Claim]:
    """The living processes of each rank, else the one found last; none of another boot."""
    by_rank: dict[int, list[Claim]] = {}
    for event in activity.seen:
        pid, ticks = whole(event.fields.get("pid")), whole(event.fields.get("pid_start_ticks"))
        if pid is not None and ticks is not None and event.fields.get("boot_id") == boot_id(proc):
            process = RunProcess(pid, event.rank, ticks)
            lives = alive(pid, ticks, proc) and not _is_replaced(_exits_of(activity, process))
            claim = Claim(process, lives, ClaimStrength.SEEN, event.time_s)
            by_rank.setdefault(event.rank, []).append(claim)
    return [
        claim
        for _, claims in sorted(by_rank.items())
        for claim in [claim for claim in claims if claim.lives] or [max(claims, key=lambda claim: claim.since_s)]
    ]


def _of_info(info: Mapping[str, Any], folder: Path, host: str, proc: Path) -> Claim | None:
    """run.json knows no start ticks: the process that has its pid must have started before the run did.

    Without a host it counts as this host's if such a process lives.
    """
    pid, started_s, named = whole(info.get("pid")), _started_s(info, folder), info.get("host")
    if pid is None or started_s is None or named not in (None, "", host):
        return None
    booted_s = _booted_s(proc, int(time.monotonic() / BOOTED_EVERY_S))
    if started_s < booted_s:
        return None
    ticks = start_ticks(pid, proc)
    lives = ticks is not None and booted_s + ticks / PROC_TICKS_PER_S <= started_s + CLOCK_SLACK_S
    if lives and not may_name(folder / "run.json", pid, proc):
        return None
    if not lives and not named:
        return None
    strength = ClaimStrength.INFO_WITH_HOST if named else ClaimStrength.INFO
    return Claim(RunProcess(pid, 0, ticks or 0), lives, strength, started_s)


class NamedProcess(NamedTuple):
    """The living process that an event file is called after."""

    pid: int
    start_ticks: int
    time_s: float  # when the file was made, Unix seconds


def named_by_event_file(paths: Iterable[Path], host: str, proc: Path = PROC) -> NamedProcess | None:
    """The living process that the newest of TensorBoard's files names; None where it names none of this host.

    `events.out.tfevents.<Unix seconds>.<host>.<pid>.<count>`: the writer opens its file only when it flushes, every two minutes.
    """
    named = [
        (int(found["time"]), int(found["pid"]), path) for path in paths if (found := _names_process(path.name, host))
    ]
    if not named:
        return None
    time_s, pid, path = max(named)
    ticks = start_ticks(pid, proc)
    if ticks is None or pid_namespace(pid, proc) != pid_namespace("self", proc) or not runs_python(pid, proc):
        return None
    began_s = _booted_s(proc, int(time.monotonic() / BOOTED_EVERY_S)) + ticks / PROC_TICKS_PER_S
    return NamedProcess(pid, ticks, time_s) if began_s <= time_s + CLOCK_SLACK_S and may_name(path, pid, proc) else None


def _names_process(name: str, host: str) -> re.Match[str] | None:
    return re.fullmatch(
        rf"events\.out\.tfevents\.(?P<time>\d{{1,12}})\.{re.escape(host)}\.(?P<pid>\d{{1,9}})\.\d.*", name
    )


def _started_s(info: Mapping[str, Any], folder: Path) -> float | None:
    """What run.json says, else when it was written."""
    started_s = seconds(info.get("started_s"))
    if started_s is not None:
        return started_s
    try:
        return (folder / "run.json").stat().st_mtime
    except OSError:
        return None


class _PidMap:
    """Map the pid inside a container to the pid here. A process that was found once, or is gone, stays so."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._here: dict[tuple[int, int], int | None] = {}  # by the process's own pid and start ticks
        self._contained: dict[tuple[int, int], int | None] = {}  # None where two containers have such a process
        self._walked_s = 0.0  # Unix seconds

    def pid_here(self, pid: int, ticks: int, started_s: float) -> int | None:
        """`started_s`: the process lived at that time, so if a later walk does not find it, none will."""
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
        return self._walked_s >= min(time_s, now_s)


@functools.cache
def _seen(proc: Path) -> _PidMap:
    return _PidMap(proc)


@functools.lru_cache(maxsize=1)
def _booted_s(proc: Path, turn: int) -> float:
    """Unix seconds; moves when the clock is set. On a machine of many cores the file takes a millisecond."""
    stat = (proc / "stat").read_text()
    return float(stat[stat.index("btime ") :].split(maxsplit=2)[1])


# The state of a run, by the rules of docs/log-format.md.

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
    newest = _newest(activity.queue)
    if newest is None or newest.kind == PLACED:
        return state
    job, begun_s = (
        newest.fields["job"],
        max((event.time_s for event in (*activity.starts, *activity.seen)), default=0.0),
    )
    if begun_s > newest.time_s:
        return state
    if newest.kind == FAILED:  # what its files and processes say of it comes first
        return RunState("failed", newest.text, state.pid) if state.state == "ended" else state
    if newest.kind == CANCELLED:
        return (
            RunState("ended", f"Cancelled as job {job}", state.pid)
            if state.state not in ("running", "stalled")
            else state
        )
    again = newest.text.partition(": ")[2] if newest.kind == REQUEUED else ""
    return RunState("queued", f"Waits in the queue as job {job}{f': {again}' if again else ''}", None)


def _state_of(activity: RunActivity, now_s: float, host: str | None, proc: Path) -> RunState:
    ends = last_ends(activity)
    for end in ends.values():
        status, reason = end_state(end)
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
        unknown = [end for end in ends.values() if end_state(end)[0] == "ended"]  # of a rank that did not close its log
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


def end_state(end: Event) -> tuple[StateName, str]:
    """The state and the reason in an end event."""
    return STATUSES.get(str(end.fields.get("status", "finished")), "failed"), _reason(end)


def is_silent(activity: RunActivity, now_s: float, at_least_s: float = SILENT_AFTER_S) -> bool:
    """Whether a run without a known process has been silent for so long that it is over."""
    return now_s - last_sign_s(activity, now_s) >= _patience_s(_believed(activity, now_s), at_least_s)


def _newest(events: Iterable[Event]) -> Event | None:
    return max(events, key=lambda event: event.time_s, default=None)


def _patience_s(activity: RunActivity, at_least_s: float) -> float:
    return max(at_least_s, INTERVALS * (activity.median_interval_s or 0.0))
