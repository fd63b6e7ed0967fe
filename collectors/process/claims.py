"""What a run's files claim about processes on this machine, as far as the kernel confirms it."""

from __future__ import annotations

import functools
import math
import os
import re
import socket
import time
from collections.abc import Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

from ..records import Event
from .activity import RunActivity, RunProcess, last_ends, newest_by_rank, seconds, whole
from .proc import PROC, TICKS_PER_S, alive, boot_id, contained, pid_namespace, runs_python, start_ticks, uid_of

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
    lives = ticks is not None and booted_s + ticks / TICKS_PER_S <= started_s + CLOCK_SLACK_S
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
    began_s = _booted_s(proc, int(time.monotonic() / BOOTED_EVERY_S)) + ticks / TICKS_PER_S
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


class _SeenProcess:
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
def _seen(proc: Path) -> _SeenProcess:
    return _SeenProcess(proc)


@functools.lru_cache(maxsize=1)
def _booted_s(proc: Path, turn: int) -> float:
    """Unix seconds; moves when the clock is set. On a machine of many cores the file takes a millisecond."""
    stat = (proc / "stat").read_text()
    return float(stat[stat.index("btime ") :].split(maxsplit=2)[1])
