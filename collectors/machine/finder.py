"""Finds the processes of all runs in one pass: named by their files, else found as writers, with their ranks."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..folders import is_remote
from ..rights import RunOwners, is_root
from .proc import (
    PROC,
    alive,
    ancestors,
    children,
    descendants,
    embeds_python,
    environment_of,
    identity_of_path,
    parent,
    runs_python,
    start_ticks,
    uid_of,
    uids_of,
    workers_of,
)
from .ranks import MAX_RANKS, identity_of, is_launcher, meeting_of
from .run_state import (
    Claim,
    ClaimStrength,
    RunActivity,
    RunProcess,
    claims_of,
    is_of_another_boot,
    last_sign_s,
    named_by_event_file,
    names_a_process,
    newest_by_rank,
    whole,
)
from .writers import (
    SUFFIXES,
    Appenders,
    Launchers,
    OpenFiles,
    files_in,
    held_files,
    is_shown,
    started_in,
    walk,
    writers_of,
)

WRITERS_FOR_S = 86400.0  # a run that was silent for longer is not looked for among open files
WALK_S = (2.0, 60.0)  # between two walks over /proc: at least, and at most
WALK_SHARE = 0.005  # of a core, for those walks
EAGER_WALK_S, EAGER_SHARE = 1.0, 0.02  # ... at least, and of a core, where a run writes whose process is not known yet
ACTIVE_S = 10.0  # a run writes whose newest line is younger
TRAINS_S = 10.0  # between two looks whether a process only starts others
MAX_NAMING = 32  # runs that name one process, of which it may be
CONFIRMED_S = 10.0  # so old may be what a claim to a process is confirmed by
MAX_RUNS = 8  # of one process: what is sampled is stored once for each
HOLDS_ON_S, INTERVALS = (
    60.0,
    20,
)  # so long, or so many usual intervals, a writer that has closed its file stays the run's
FLUSHES_S = 300.0  # TensorBoard's writer flushes every 120 s
# A run is left if another one of its process was written for so long, or for so many of its usual intervals, while it was silent;
# where both were written side by side, for FLUSHES_S or INTERVALS.
LEFT_S, LEFT_INTERVALS = 10.0, 3


class _Claimant(NamedTuple):
    """A run that claims a process."""

    activity: RunActivity
    claim: Claim
    is_sure: bool = False  # the kernel, an event file's name, our keeper or the command `attach` confirms the claim


class Denial(NamedTuple):
    """A process that a run names, and whose it is."""

    process: RunProcess
    owner: str  # a run


class Finder:
    """Finds a run's processes. One object for all callers: it may be called from several threads."""

    def __init__(self, host: str, proc: Path = PROC, *, fresh_s: float = 0.0) -> None:
        """An answer may be `fresh_s` old."""
        self._host, self._proc, self._fresh_s = host, proc, fresh_s
        self._lock = threading.Lock()
        self._found: dict[str, list[RunProcess]] = {}
        self._found_s = -1e9  # CLOCK_MONOTONIC
        self._settled: dict[
            str, RunActivity
        ] = {}  # what was known of runs that are silent and have no process: only news can give them one
        self._silent: dict[str, RunActivity] = {}  # those of them that a walk may find a writer of
        self._folders: dict[Path, str] = {}  # resolved
        self._open, self._walk_at_s, self._walked_s, self._walk_took_s = OpenFiles({}, {}, {}, {}), 0.0, 0.0, 0.0
        self._holding: dict[
            str, dict[int, int]
        ] = {}  # by run: the start ticks by pid of those that the last walk found
        self._writers: dict[str, dict[int, Claim]] = {}  # by run and pid, those that were found by its files
        self._trains: dict[
            RunProcess, float
        ] = {}  # those that run.json names, and when they were no launchers, CLOCK_MONOTONIC
        self._appenders, self._launchers = Appenders(proc), Launchers(proc)
        self._owners = RunOwners()
        self._remote: dict[Path, bool] = {}
        self._shared: dict[tuple[int, int], list[RunActivity]] = {}  # by pid and start ticks, the foremost run first
        self._confirmed: set[tuple[str, int, int]] = set()  # by run, pid and start ticks, the claims that ever were
        self._denied: dict[str, list[Denial]] = {}
        self._answers: dict[
            tuple[str, str, int, int], tuple[bool, float]
        ] = {}  # and when they were found, CLOCK_MONOTONIC
        self._own = {os.getpid(), os.getppid()}

    def find(self, activities: Iterable[RunActivity]) -> dict[str, list[RunProcess]]:
        """By run, its living processes on this machine, by rank. A process may be of several runs; the foremost of these come first."""
        with self._lock:
            if time.monotonic() - self._found_s > self._fresh_s:
                self._found = self._look(list(activities))
                self._found_s = time.monotonic()
            return self._found

    def found(self) -> dict[str, list[RunProcess]]:
        """The newest answer that any caller has had."""
        return self._found

    def denied(self) -> dict[str, list[Denial]]:
        """By run, the living processes that it names without being confirmed, while they are confirmed for another run."""
        return self._denied

    def _look(self, activities: Sequence[RunActivity]) -> dict[str, list[RunProcess]]:
        looked_at = [activity for activity in activities if self._settled.get(activity.run) is not activity]
        claims = self._claims_of(looked_at)
        unnamed = [activity for activity in looked_at if not claims[activity.run] and self._is_looked_for(activity)]
        if self._is_walk_due(unnamed):
            silent = [activity for activity in activities if self._silent.get(activity.run) is activity]
            looked_at += silent
            unnamed += [activity for activity in silent if self._is_looked_for(activity)]
            self._walk_for(unnamed)
        for activity in unnamed:
            claims[activity.run] = self._writing(activity)
        self._writers = {run: known for run, known in self._writers.items() if run in claims}
        self._appenders.keep_only({activity.run for activity in unnamed})
        self._settle(looked_at, claims, {activity.run for activity in unnamed})
        if len(self._settled) > len(activities):  # some were forgotten
            self._settled = {activity.run: activity for activity in activities if activity.run in self._settled}
        return self._shared_out(
            {activity.run: (activity, made) for activity in looked_at if (made := claims.get(activity.run))}
        )

    def _settle(
        self, looked_at: Iterable[RunActivity], claims: Mapping[str, list[Claim]], unnamed: Collection[str]
    ) -> None:
        """Leave those alone that are silent and have no process: of 10,000 runs nearly all."""
        since_s = time.time() - HOLDS_ON_S
        for activity in looked_at:
            run, is_settled = activity.run, not claims.get(activity.run) and last_sign_s(activity) < since_s
            for kept, belongs in ((self._settled, is_settled), (self._silent, is_settled and run in unnamed)):
                if belongs:
                    kept[run] = activity
                else:
                    kept.pop(run, None)

    def _claims_of(self, activities: Iterable[RunActivity]) -> dict[str, list[Claim]]:
        """By run, the living ones. What a process has started is looked for once, for the newest of the runs that name it."""
        made = {
            activity.run: [
                claim for claim in claims_of(activity._replace(seen=()), self._host, self._proc) if claim.lives
            ]
            for activity in activities
        }
        attached = {claim for activity in activities if activity.info.get("attached") for claim in made[activity.run]}
        naming: dict[tuple[int, int], list[Claim]] = {}
        for claims in made.values():
            for claim in claims:
                naming.setdefault(_key(claim), []).append(claim)
        below: dict[Claim, list[Claim]] = {}
        for same in naming.values():
            newest = sorted(same, key=lambda claim: (claim.strength, claim.since_s))[-MAX_NAMING:]
            trainings = {
                kind: self._trainings_of(claim, attached=kind[1])
                for kind, claim in {(claim.strength, claim in attached): claim for claim in newest}.items()
            }
            for claim in newest:
                found = trainings[claim.strength, claim in attached]
                below[claim] = [
                    claim if one.process == claim.process else one._replace(since_s=claim.since_s) for one in found
                ]
        return {run: [one for claim in claims for one in below.get(claim, ())] for run, claims in made.items()}

    def _trainings_of(self, claim: Claim, *, attached: bool) -> list[Claim]:
        """Where run.json names the shell or launcher that starts the training: the Python processes below it. One that was attached is what
        its user named, and a launcher's are those of its user."""
        pid = claim.process.pid
        if claim.strength not in (ClaimStrength.INFO, ClaimStrength.INFO_WITH_HOST):
            return [claim]
        if attached and not runs_python(pid, self._proc):
            return [claim]
        now_s = time.monotonic()
        if now_s - self._trains.get(claim.process, -math.inf) < TRAINS_S:
            return [claim]
        if not is_launcher(pid, self._proc) if runs_python(pid, self._proc) else embeds_python(pid, self._proc):
            self._trains[claim.process] = now_s
            return [claim]
        able = {child for child in workers_of(pid, self._proc) if not is_launcher(child, self._proc)}
        if attached:
            able = {child for child in able if uid_of(child, self._proc) == uid_of(pid, self._proc)}
        tops = [child for child in able if able.isdisjoint(ancestors(child, self._proc))]
        found = [
            self._claim(child, ticks, claim.strength)
            for child in tops
            if (ticks := start_ticks(child, self._proc)) is not None
        ]
        return [below._replace(since_s=claim.since_s) for below in found] or [claim]

    def _is_looked_for(self, activity: RunActivity) -> bool:
        """A run whose files name no process, here or elsewhere, and which was not silent for a day."""
        if activity.is_received or activity.ends:
            return False
        if any(names_a_process(start) or is_of_another_boot(start, self._proc) for start in activity.starts):
            return False
        return time.time() - last_sign_s(activity) < WRITERS_FOR_S

    def _is_walk_due(self, unnamed: Sequence[RunActivity]) -> bool:
        now_s, now = time.monotonic(), time.time()
        if now_s >= self._walk_at_s:
            return bool(unnamed or self._silent)
        if now_s - self._walked_s <= max(EAGER_WALK_S, self._walk_took_s / EAGER_SHARE):
            return False
        return any(
            now - last_sign_s(activity) < ACTIVE_S and not self._writers.get(activity.run) for activity in unnamed
        )

    def _walk_for(self, unnamed: Sequence[RunActivity]) -> None:
        now_s, begun_s = time.monotonic(), time.thread_time()
        self._holding.clear()
        self._open = walk(
            {folder for activity in unnamed for folder in self._folders_of(activity)}, self._proc, self._launchers
        )
        shortest_s, longest_s = WALK_S
        self._walk_took_s = time.thread_time() - begun_s
        pause_s = min(longest_s, max(shortest_s, self._walk_took_s / WALK_SHARE))
        self._walked_s, self._walk_at_s = now_s, now_s + pause_s

    def _folders_of(self, activity: RunActivity) -> list[str]:
        folder = self._folder((activity.folder / activity.run).parent if activity.single_file else activity.folder)
        return [folder, *(f"{folder}/{part}" for part in activity.parts)]

    def _folder(self, folder: Path) -> str:
        if folder not in self._folders:
            self._folders[folder] = str(folder.resolve())
        return self._folders[folder]

    def _writing(self, activity: RunActivity) -> list[Claim]:
        """The processes that write its files, or did while lines keep coming: a script may reopen its file for each line."""
        now_s = time.time()
        known = self._writers.setdefault(activity.run, {})
        if activity.run not in self._holding:
            self._holding[activity.run] = self._holders(activity)
        holding = self._holding[activity.run]
        goes_on = now_s - (activity.last_line_s or 0.0) < max(
            HOLDS_ON_S, INTERVALS * (activity.median_interval_s or 0.0)
        )
        for pid, claim in list(known.items()):
            if pid in holding and alive(pid, claim.process.start_ticks, self._proc):
                continue
            is_elsewhere = any(pid in pids for pids in self._open.files.values())
            moved_on = is_elsewhere and (activity.last_line_s or 0.0) < now_s - (time.monotonic() - self._walked_s)
            if (
                moved_on
                or not goes_on
                or not alive(pid, claim.process.start_ticks, self._proc)
                or self._was_a_stopgap(claim, holding)
            ):
                del known[pid]
        for pid, ticks in holding.items():
            if pid not in known and alive(pid, ticks, self._proc):
                known[pid] = self._claim(pid, ticks, ClaimStrength.WRITER)
        if not known and now_s - (activity.last_line_s or 0.0) < FLUSHES_S:
            known.update(self._named(activity))
        if not known and goes_on:
            known.update(self._appending(activity))
        return list(known.values())

    def _claim(self, pid: int, ticks: int, strength: ClaimStrength) -> Claim:
        rank = identity_of(environment_of(pid, self._proc)).rank or 0
        return Claim(RunProcess(pid, rank, ticks), True, strength, time.time())

    def _named(self, activity: RunActivity) -> dict[int, Claim]:
        """The process that an event file of TensorBoard is called after."""
        folders = [] if activity.single_file else self._folders_of(activity)
        paths = [path for folder in folders for path in files_in(Path(folder))]
        named = named_by_event_file(paths, self._host, self._proc)
        if named is None or named.pid in self._own:
            return {}
        return {
            named.pid: self._claim(named.pid, named.start_ticks, ClaimStrength.WRITER)._replace(since_s=named.time_s)
        }

    def _appending(self, activity: RunActivity) -> dict[int, Claim]:
        """The process that reopens the run's file for each line. A file on a network file system may be written on another host."""
        if activity.folder not in self._remote:
            self._remote[activity.folder] = is_remote(activity.folder)
        if self._remote[activity.folder] or activity.info.get("host") not in (None, "", self._host):
            return {}
        others = ((run, key) for key, runs in self._shared.items() for run in runs if run.run != activity.run)
        taken = {key[0] for run, key in others if not self._is_whole(run, *key)}
        pid = self._appenders.find(activity, taken | self._own)
        ticks = None if pid is None else start_ticks(pid, self._proc)
        return {} if pid is None or ticks is None else {pid: self._claim(pid, ticks, ClaimStrength.APPENDER)}

    def _was_a_stopgap(self, claim: Claim, holding: Collection[int]) -> bool:
        """Whether it was taken for the writer only while no better one was known: a shell, tee, or a process above the writers."""
        pid = claim.process.pid
        above = not set(descendants(pid, self._proc)).isdisjoint(holding)
        return bool(holding) and (above or claim.strength < ClaimStrength.WRITER or not runs_python(pid, self._proc))

    def _holders(self, activity: RunActivity) -> dict[int, int]:
        paths = self._paths_of(activity)
        pids = writers_of(paths, self._open, self._proc) if paths else []
        return {
            pid: ticks for pid in pids if pid not in self._own and (ticks := start_ticks(pid, self._proc)) is not None
        }

    def _paths_of(self, activity: RunActivity) -> list[str]:
        """The run's open files: all of its folder, or the one file in the log folder itself."""
        folder, folders = self._folder(activity.folder), self._folders_of(activity)
        if activity.files:
            return [path for name in activity.files if (path := f"{folder}/{name}") in self._open.files]
        inside = [path for path in self._open.files if path.rpartition("/")[0] in folders]
        if activity.single_file:
            own = {f"{folder}/{activity.run}{suffix}" for suffix in SUFFIXES}
            return [path for path in inside if path in own]
        return inside

    def _shared_out(self, claims: Mapping[str, tuple[RunActivity, list[Claim]]]) -> dict[str, list[RunProcess]]:
        """Give each process to the run with the best claim, and to all others whose claims are confirmed."""
        rivals: dict[tuple[int, int], list[_Claimant]] = {}
        for activity, made in claims.values():
            for claim in self._allowed(activity, [*made, *self._siblings(made)]):
                rivals.setdefault(_key(claim), []).append(_Claimant(activity, claim))
        self._owners.keep_only(claims)
        self._confirmed = {known for known in self._confirmed if known[1:] in rivals}
        self._denied = {}
        shared = {key: self._sharing(key, contending, claims) for key, contending in rivals.items()}
        self._shared = {key: [rival.activity for rival in having] for key, having in shared.items()}
        found: dict[str, list[RunProcess]] = {}
        for place in range(MAX_RUNS):
            for having in shared.values():
                for rival in having[place : place + 1]:
                    found.setdefault(rival.activity.run, []).append(rival.claim.process)
        return {
            run: sorted(self._mains(processes), key=lambda process: (process.rank, process.pid))
            for run, processes in found.items()
        }

    def _sharing(
        self, key: tuple[int, int], rivals: list[_Claimant], claims: Mapping[str, tuple[RunActivity, list[Claim]]]
    ) -> list[_Claimant]:
        """Those of the runs that claim a process that have it. The best claim comes first: of equal ones that of the foremost run so far,
        unless that was left, else of the newest."""
        if len(rivals) == 1:
            return rivals
        rivals = [rival._replace(is_sure=self._is_sure(rival, claims[rival.activity.run][1])) for rival in rivals]
        staying = self._not_left(self._believed(rivals))
        had = [activity.run for activity in self._shared.get(key, [])]

        def order(rival: _Claimant) -> tuple[int, bool, float]:
            activity, claim, _ = rival
            if claim.strength > ClaimStrength.WRITER:
                return claim.strength, False, claim.since_s
            return claim.strength, had[:1] == [activity.run], activity.last_line_s or 0.0

        first = max(staying, key=order)
        others = [rival for rival in staying if rival.is_sure and rival is not first]
        others.sort(
            key=lambda rival: (not rival.activity.info.get("attached"), last_sign_s(rival.activity, time.time()))
        )
        return [first, *others[:-MAX_RUNS:-1]]

    def _believed(self, rivals: list[_Claimant]) -> list[_Claimant]:
        """Without what only text says, where another claim is confirmed: what the kernel does not show us confirms and denies nothing."""
        owner = next((rival.activity.run for rival in rivals if rival.is_sure), None)
        if owner is None:
            return rivals
        self._confirmed |= {(rival.activity.run, *_key(rival.claim)) for rival in rivals if rival.is_sure}
        shown = is_shown(rivals[0].claim.process.pid, self._proc)
        for rival in rivals:
            if shown and (rival.activity.run, *_key(rival.claim)) not in self._confirmed:
                self._denied.setdefault(rival.activity.run, []).append(Denial(rival.claim.process, owner))
        doubtful = (ClaimStrength.START, ClaimStrength.SIBLING)
        return [rival for rival in rivals if rival.is_sure or not (shown or rival.claim.strength in doubtful)]

    def _is_sure(self, rival: _Claimant, made: Iterable[Claim]) -> bool:
        """Whether the kernel, an event file's name, our keeper or `attach` confirms that a process is the run's. `made`: the run's claims.

        What text alone says may have been copied, or written by anybody; a sibling is as sure as the rank that it was found by.
        """
        activity, claim, _ = rival
        if claim.strength == ClaimStrength.SIBLING:
            return any(self._is_sure(_Claimant(activity, one), ()) for one in made)
        if claim.strength <= ClaimStrength.WRITER:
            return True
        pid, ticks = claim.process.pid, claim.process.start_ticks
        return self._is_whole(activity, pid, ticks) or self._for_a_while(self._is_written_by, activity, pid, ticks)

    def _is_whole(self, activity: RunActivity, pid: int, ticks: int) -> bool:
        """Whether the run is all that its process does, whatever else that logs: our keeper started it for the run, or it was attached."""
        if activity.info.get("attached"):
            return not activity.starts
        return self._for_a_while(self._was_started_for, activity, pid, ticks)

    def _for_a_while(
        self, question: Callable[[RunActivity, int, int], bool], activity: RunActivity, pid: int, ticks: int
    ) -> bool:
        """An answer that may be a few seconds old: a process of 200 open files takes 5 ms."""
        key, now_s = (question.__name__, activity.run, pid, ticks), time.monotonic()
        if key not in self._answers or now_s - self._answers[key][1] > CONFIRMED_S:
            self._answers = {
                known: answer for known, answer in self._answers.items() if now_s - answer[1] <= CONFIRMED_S
            }
            self._answers[key] = question(activity, pid, ticks), now_s
        return self._answers[key][0]

    def _is_written_by(self, activity: RunActivity, pid: int, ticks: int) -> bool:
        """Whether the process holds a file of the run open for writing, or an event file of it is called after the process."""
        files = self._files_of(activity)
        if not {identity_of_path(path) for path in files}.isdisjoint(held_files(pid, self._proc)):
            return True
        named = named_by_event_file(files, self._host, self._proc)
        return named is not None and (named.pid, named.start_ticks) == (pid, ticks)

    def _was_started_for(self, activity: RunActivity, pid: int, ticks: int) -> bool:
        """Whether our keeper started it, or what is above it, for the run: a copy of the run's files says so, too, but nobody holds these."""
        started = None if activity.single_file or activity.files else started_in(activity.folder)
        if started is None or start_ticks(started[0], self._proc) != started[1]:
            return False
        if started[0] != pid and started[0] not in ancestors(pid, self._proc):
            return False
        keepers = (
            started[0],
            parent(started[0], self._proc) or 0,
        )  # the program itself holds its output where a queue started it
        files = {identity_of_path(path) for path in self._files_of(activity)}
        return any(not files.isdisjoint(held_files(keeper, self._proc)) for keeper in keepers)

    def _not_left(self, rivals: list[_Claimant]) -> list[_Claimant]:
        """Without the runs that were silent while another one of the process was written, as a search does that closes none of its logs."""
        written = [
            rival for rival in rivals if rival.is_sure and not self._is_whole(rival.activity, *_key(rival.claim))
        ]
        return [
            rival for rival in rivals if rival not in written or not any(_is_left(rival, other) for other in written)
        ]

    def _files_of(self, activity: RunActivity) -> list[Path]:
        """Those that may be held open: a folder is no file."""
        if activity.single_file or activity.files:
            return self._places_of(activity)[:-1]
        return [
            path
            for folder in (activity.folder, *(activity.folder / part for part in activity.parts))
            for path in files_in(folder)
        ]

    def _allowed(self, activity: RunActivity, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Where we are root: the processes of the user whose run it is, and without `--as-root` those of root's own runs alone."""
        if not is_root():
            return claims
        places = self._places_of(activity)
        pids = {claim.process.pid for claim in claims}
        theirs = self._owners.theirs(activity.run, places, {pid: uids_of(pid, self._proc) for pid in pids})
        return [claim for claim in claims if claim.process.pid in theirs]

    def _places_of(self, activity: RunActivity) -> list[Path]:
        """The files that are the run's, where not all of its folder are, and the folder."""
        single = [f"{activity.run}{suffix}" for suffix in SUFFIXES] if activity.single_file else []
        return [*(activity.folder / name for name in (*single, *activity.files)), activity.folder]

    def left_alone(self) -> dict[str, str]:
        """By run, a sentence without its end on its processes that root does not look at."""
        return self._owners.left_alone()

    def _mains(self, processes: list[RunProcess]) -> list[RunProcess]:
        """Without those below another one of the run, unless they have a rank of their own: forked workers inherit open files."""
        ranks = {process.pid: process.rank for process in processes}
        if len(set(ranks.values())) == len(ranks):
            return processes
        below = {child for pid in ranks for child in descendants(pid, self._proc) if ranks.get(child) == ranks[pid]}
        return [process for process in processes if process.pid not in below]

    def _siblings(self, claims: Sequence[Claim]) -> list[Claim]:
        """The other ranks that the same launcher has started: often rank 0 alone writes."""
        taken, found = {claim.process.pid for claim in claims}, []
        for meeting, above, claim in self._meetings(claims):
            for pid in children(above, self._proc):
                ticks = start_ticks(pid, self._proc)
                if pid in taken or ticks is None or not runs_python(pid, self._proc) or is_launcher(pid, self._proc):
                    continue
                environment = environment_of(pid, self._proc)
                rank = identity_of(environment).rank
                if (
                    meeting_of(environment) == meeting
                    and rank is not None
                    and rank not in {known.process.rank for known in claims}
                ):
                    taken.add(pid)
                    found.append(Claim(RunProcess(pid, rank, ticks), True, ClaimStrength.SIBLING, claim.since_s))
        return found

    def _meetings(self, claims: Sequence[Claim]) -> Iterable[tuple[tuple[str | None, ...], int, Claim]]:
        """The jobs that the processes belong to, with the process that started them; one line each."""
        known = set()
        for claim in claims:
            meeting, above = (
                meeting_of(environment_of(claim.process.pid, self._proc)),
                parent(claim.process.pid, self._proc),
            )
            if meeting and above and above > 1 and (meeting, above) not in known:
                known.add((meeting, above))
                yield meeting, above, claim


def _key(claim: Claim) -> tuple[int, int]:
    """Pid and start ticks."""
    return claim.process.pid, claim.process.start_ticks


def runs_by_pid(found: Mapping[str, Sequence[RunProcess]]) -> dict[int, list[str]]:
    """The runs that each process is of."""
    runs: dict[int, list[str]] = {}
    for run, processes in found.items():
        for process in processes:
            runs.setdefault(process.pid, []).append(run)
    return runs


def _is_left(rival: _Claimant, other: _Claimant) -> bool:
    """Whether the other run was written for long enough while this one was silent. One that was never written beside it is left soon."""
    now_s, interval_s = time.time(), rival.activity.median_interval_s or 0.0
    sign_s, newest_s = (min(now_s, last_sign_s(one.activity, now_s) or one.claim.since_s) for one in (rival, other))
    is_followed = rival.activity.last_line_s is not None and sign_s < other.claim.since_s
    patience_s = max(LEFT_S, LEFT_INTERVALS * interval_s) if is_followed else max(FLUSHES_S, INTERVALS * interval_s)
    return newest_s - sign_s > patience_s


# The visible ranks of a run, and the GPUs of a process.


class RanksSeen(NamedTuple):
    seen: list[int]  # of which a process or a line was seen
    world_size: int | None
    note: str  # one sentence where some are missing: "8 of 16 ranks; 8-15 are not on this host"


def ranks_of(activity: RunActivity, host: str) -> RanksSeen:
    """From the start events of all hosts that write to this folder, and the processes of this one."""
    starts, seen = newest_by_rank(activity.starts), newest_by_rank(activity.seen)
    sizes = [
        *(event.fields.get("world_size") for event in [*seen.values(), *starts.values()]),
        activity.info.get("world_size"),
    ]
    world_size = next((size for size in map(whole, sizes) if size and size <= MAX_RANKS), None)
    away = {
        rank: str(event.fields["host"])
        for rank, event in starts.items()
        if event.fields.get("host") not in (None, "", host)
    }
    here = sorted(rank for rank in starts.keys() | seen.keys() if world_size is None or rank < world_size)
    here = here or ([0] if world_size is None or world_size == 1 else [])
    return RanksSeen(here, world_size, _note(here, world_size, away))


def _note(seen: list[int], world_size: int | None, away: Mapping[int, str]) -> str:
    if world_size is None or (len(seen) >= world_size and not away):
        return ""
    if set(seen) == away.keys() == set(range(world_size)) and len(hosts := {*away.values()}) == 1:
        return f"on {hosts.pop()}"
    missing = sorted(set(range(world_size)) - set(seen)) if world_size <= 4096 else []
    parts = [
        f"{ranges([rank for rank, name in away.items() if name == host])} {_are(away, host)} on {host}"
        for host in sorted({*away.values()})
    ]
    if missing:
        parts.append(f"{ranges(missing)} {'is' if len(missing) == 1 else 'are'} not on this host")
    return f"{len(seen) - len(away)} of {world_size} ranks" + "".join(f"; {part}" for part in parts)


def _are(away: Mapping[int, str], host: str) -> str:
    return "is" if sum(name == host for name in away.values()) == 1 else "are"


def ranges(numbers: Iterable[int]) -> str:
    """`[0, 1, 2, 5] -> "0-2, 5"`"""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in spans)


CUDA, IN_ORDER = "CUDA_VISIBLE_DEVICES", "PCI_BUS_ID"
VISIBLE = (CUDA, "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")  # ROCm numbers cards in PCI order


class Gpus(NamedTuple):
    indices: list[int]
    source: str  # "driver", one of VISIBLE, or "" where nothing says it


def gpus_of(pids: Collection[int], environment: Mapping[str, str], gpus: Sequence[Mapping[str, Any]]) -> Gpus:
    """Those on which the driver lists one of the pids, else what the first of VISIBLE that is set leaves visible; never assumed.

    `gpus` are rows of the inventory: whole cards or MIG instances, in PCI order.
    """
    used = sorted({gpu["index"] for gpu in gpus for process in gpu.get("processes", ()) if process["pid"] in pids})
    if used:
        return Gpus(used, "driver")
    name = next((name for name in VISIBLE if name in environment), "")
    order = environment.get("CUDA_DEVICE_ORDER", "") if name == CUDA else IN_ORDER
    found = _visible(environment[name], order, gpus) if name else None
    return Gpus(sorted(set(found)), name) if found else Gpus([], "")


def _visible(devices: str, order: str, gpus: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """As CUDA reads it: up to the first word that names no device. None where numbers do not say which card is meant."""
    by_uuid = [(str(gpu["uuid"]), int(gpu["index"])) for gpu in gpus]
    cards = sorted({int(gpu["index"]) for gpu in gpus})
    same = len({gpu.get("name") for gpu in gpus if gpu.get("mig") is None}) == 1
    found: list[int] = []
    for word in map(str.strip, devices.split(",")):
        if word.isascii() and word.isdigit():
            if order != IN_ORDER and not same:
                return None  # CUDA numbers the fastest first, and does not say which that is
            if int(word) not in cards:
                break
            found.append(int(word))
        else:
            named = {index for uuid, index in by_uuid if word and uuid.startswith(word)}
            if len(named) != 1:
                break
            found += named
    return found
