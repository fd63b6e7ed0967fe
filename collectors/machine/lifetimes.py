"""Records the processes of runs and how they end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from deepseek.log.redaction import without_secrets

from ..records import Event
from .exit_reason import ExitReason, killed_for_memory, last_error, of_code, schedulers_word, verdict_of
from .finder import Finder
from .proc import PROC, alive, boot_id, command_of, environment_of, folder_of, printable
from .ranks import identity_of
from .run_state import (
    CLOCK_SLACK_S,
    DENIED,
    EXIT,
    PREEMPTING,
    SCHEDULER,
    SEEN,
    WORST_FIRST,
    RunActivity,
    RunProcess,
    claims_of,
    end_of,
    end_state,
    is_silent,
    last_ends,
    last_sign_s,
    names_a_process,
    newest_by_rank,
    seconds,
    whole,
)
from .writers import started_in

LOOK_S = (1.0, 30.0)  # between two looks at all runs: at least, and at most
LOOK_SHARE = 0.01  # of a core
GRACE_S = 0.6  # from when a process is gone until its end is judged: its last lines are read meanwhile
OPEN_GRACE_S = (
    3.0  # ... of a log that was left open: what tells of it are files of other runs, which may not be found yet
)
UNREAD_S = 10.0  # ... at most, where news of its run are not read yet
REMOTE_GRACE_S = 5.0  # ... of a folder on another machine: what is known of its files may be 3 s old, and it is polled
DENIED_AFTER_S = 3.0  # from when a process is found to be another run's until that is believed
QUIET_S = 2.0  # without a sign, of a run without a known process: its last lines are looked at early
JUDGED_AT_ONCE = 20  # runs that were over before we looked, of which the last lines are read at a time
COMMAND_LENGTH = 4000


REVOKED_BY = {
    SEEN: (DENIED,),
    DENIED: (SEEN,),
}  # what an event of a process takes back of what was written of it before
_Key: TypeAlias = tuple[str, int, int]  # run, pid, start ticks


class _KnownProcess(NamedTuple):
    run: str
    process: RunProcess


class LifetimeCollector:
    """Checks every half second whether the known processes still live, and looks less often for new ones."""

    name = "runs"
    period_s = 0.5

    def __init__(
        self,
        live_runs: Callable[[Collection[str] | None], Iterable[RunActivity]],
        finder: Finder,
        last_lines: Callable[[str], Sequence[str]],
        *,
        host: str,
        written: Iterable[Event] = (),
        on_found: Callable[[Mapping[str, Sequence[RunProcess]]], None] = lambda found: None,
        on_new: Callable[[str, RunProcess], None] = lambda run, process: None,
        is_unread: Callable[[str], bool] = lambda run: False,
        grace_s: float = GRACE_S,
    ) -> None:
        """`live_runs` of some names, or all; `last_lines` of a run's text log, oldest first; `written` are the events that an earlier collector recorded.

        `on_found` gets each look's living processes, by run; `on_new` each process once. The end of a process is
        judged `grace_s` after it is gone, and not while news of the run `is_unread`.
        """
        self._live_runs, self._finder, self._last_lines, self._host = live_runs, finder, last_lines, host
        self._on_found, self._on_new, self._is_unread, self._grace_s = on_found, on_new, is_unread, grace_s
        self._known: dict[_Key, _KnownProcess] = {}
        self._gone: dict[_Key, float] = {}  # when they were, CLOCK_MONOTONIC
        self._meanwhile: dict[
            _Key, float
        ] = {}  # gone between two looks: the run's last sign at the look before, as in `_quiet`
        self._codes: dict[tuple[int, int], int] = {}  # exit statuses of the dashboard's own children
        self._activities: dict[str, RunActivity] = {}
        self._naming: dict[int, list[str]] | None = None  # by pid, the runs whose files name it; since the last look
        self._settled: dict[
            str, RunActivity
        ] = {}  # what was known of runs of which nothing is to be said: news change that
        self._judged: dict[str, float] = {}  # by run, its last sign when its last lines were read
        self._heard: dict[str, float] = {}  # ... when they were read early
        self._quiet: dict[
            str, float
        ] = {}  # by run, its last sign at the look before: until the next one its lines are stored
        self._look_at_s = 0.0
        self._denied: dict[_Key, float] = {}  # since when the finder says that the process is another run's
        self._heard_of: set[_Key] = set()  # what the finder had found when it was last asked
        self._written: set[tuple[str, str, object, object]] = set()  # run, kind, pid, start ticks: of this boot
        for event in written:
            if event.fields.get("boot_id") == boot_id():
                name = whole(event.fields.get("pid")), whole(event.fields.get("pid_start_ticks"))
                self._written.add((event.run, event.kind, *name))
                self._written -= {(event.run, kind, *name) for kind in REVOKED_BY.get(event.kind, ())}
                self._remember(event)
            elif (judged_s := seconds(event.fields.get("judged_s"))) is not None:
                self._judged[event.run] = judged_s

    def _remember(self, event: Event) -> None:
        """A process that an earlier collector has seen, or seen the end of."""
        pid, ticks = whole(event.fields.get("pid")), whole(event.fields.get("pid_start_ticks"))
        if pid is None or ticks is None:
            return
        key = event.run, pid, ticks
        if event.kind in (EXIT, DENIED):
            self._known.pop(key, None)
            self._meanwhile.pop(key, None)
        else:
            self._known[key] = _KnownProcess(event.run, RunProcess(pid, event.rank, ticks))
            if not alive(pid, ticks):
                self._meanwhile[key] = math.nan

    def collect(self) -> list[Event]:
        found = self._look() if time.monotonic() >= self._look_at_s or self._others_found_one() else []
        return [*found, *self._ended()]

    def knows_a_process_of(self, run: str) -> bool:
        """Whether one lives, or its end is not judged yet."""
        return any(key[0] == run for keys in (self._known, self._gone, self._meanwhile) for key in list(keys))

    def exited(self, pid: int, start_ticks: int, code: int) -> None:
        """The exit status of one of the dashboard's own children; from any thread."""
        self._codes[pid, start_ticks] = code

    def close(self) -> None:
        """Nothing is held open."""

    def _others_found_one(self) -> bool:
        """Whether the profiler has found a process that was not seen here: it may be gone before the next look is due."""
        found = {
            (run, process.pid, process.start_ticks)
            for run, processes in self._finder.found().items()
            for process in processes
        }
        news = found - self._heard_of
        self._heard_of = found
        return bool(news)

    def _look(self) -> list[Event]:
        begun_s = time.thread_time()
        self._activities = {activity.run: activity for activity in self._live_runs(None)}
        self._naming = None
        found = self._finder.find(self._activities.values())
        self._on_found(found)
        events = [
            event for run, processes in found.items() for event in self._noticed(self._activities.get(run), processes)
        ]
        events += self._let_go(found)
        events += self._denials()
        self._look_at_those_gone_meanwhile()
        unsettled = [activity for run, activity in self._activities.items() if self._settled.get(run) is not activity]
        events += self._note_those_gone_before(unsettled)
        events += self._silent(unsettled)
        self._settle(unsettled)
        shortest_s, longest_s = LOOK_S
        self._look_at_s = time.monotonic() + min(
            longest_s, max(shortest_s, (time.thread_time() - begun_s) / LOOK_SHARE)
        )
        return events

    def _noticed(self, activity: RunActivity | None, processes: Iterable[RunProcess]) -> Iterable[Event]:
        """One event for each process that is new."""
        for process in processes if activity else ():
            assert activity is not None
            key = activity.run, process.pid, process.start_ticks
            if key not in self._known:
                self._known[key] = _KnownProcess(activity.run, process)
                self._written -= {(activity.run, kind, *key[1:]) for kind in (EXIT, *REVOKED_BY[SEEN])}  # it is back
                if self._is_new(activity.run, SEEN, process):
                    self._on_new(activity.run, process)
                    about = self._about(process)
                    if self._has_another_run(key):
                        del about["mono_s"]  # it began this one later than itself
                    yield Event(activity.run, SEEN, time.time(), process.rank, fields=about)

    def _denials(self) -> list[Event]:
        """Denials that have lasted: until its end is read, a run whose log its process has just closed looks like a copy of another run."""
        denied = {
            (run, process.pid, process.start_ticks): (process, owner)
            for run, denials in self._finder.denied().items()
            for process, owner in denials
        }
        now_s = time.monotonic()
        self._denied = {key: self._denied.get(key, now_s) for key in denied}
        lasting = [
            key
            for key, since_s in self._denied.items()
            if now_s - since_s >= DENIED_AFTER_S and not self._is_unread(key[0])
        ]
        return [event for key in lasting for event in self._deny(key[0], *denied[key])]

    def _deny(self, run: str, process: RunProcess, owner: str) -> list[Event]:
        """The event that the run names another run's process: its end says nothing of this one."""
        for keys in (self._known, self._gone, self._meanwhile):
            keys.pop((run, process.pid, process.start_ticks), None)
        if not self._is_new(run, DENIED, process):
            return []
        self._written -= {(run, kind, process.pid, process.start_ticks) for kind in REVOKED_BY[DENIED]}
        text = f"Process {process.pid}, which this run names, is of the run {owner}"
        return [
            Event(run, DENIED, time.time(), process.rank, text=text, fields={**self._name_of(process), "owner": owner})
        ]

    def _has_another_run(self, key: _Key) -> bool:
        return any(written[1:] == (SEEN, *key[1:]) and written[0] != key[0] for written in self._written)

    def _let_go(self, found: Mapping[str, Sequence[RunProcess]]) -> Iterable[Event]:
        """Events of processes that live on but have left a run: a notebook's, one that began the next run, or a wrapper's.

        While lines come they are let go only where another process is seen to write them.
        """
        now_s = time.time()
        for key, (run, process) in list(self._known.items()):
            activity = self._activities.get(run)
            others = [other for other in found.get(run, ()) if other.rank == process.rank]
            deleted = activity is not None and not others and _is_deleted(activity)
            if process in others or (
                activity is not None and not others and not deleted and not is_silent(activity, now_s)
            ):
                continue
            if not alive(process.pid, process.start_ticks):
                continue  # its end is judged
            del self._known[key]
            if activity is not None and process.rank not in last_ends(activity) and self._is_new(run, EXIT, process):
                why = "the folder of this run was deleted" if deleted else "no longer writes this run"
                verdict = ExitReason("ended", f"Process {process.pid} continues, and {why}")
                instead = {"writer_pid": others[0].pid} if others else {}
                yield self._exit(run, process.rank, verdict, {**self._name_of(process), **instead})

    def _look_at_those_gone_meanwhile(self) -> None:
        """Read their last lines once a run has given no sign from one look to the next."""
        for key, before_s in list(self._meanwhile.items()):
            activity = self._activities.get(key[0])
            if activity is None:
                continue
            self._meanwhile[key] = last_sign_s(activity)
            if self._meanwhile[key] == before_s:
                del self._meanwhile[key]
                self._gone[key] = -math.inf

    def _is_new(self, run: str, kind: str, process: RunProcess) -> bool:
        key = run, kind, process.pid, process.start_ticks
        if key in self._written:
            return False
        self._written.add(key)
        return True

    def _about(self, process: RunProcess) -> dict[str, Any]:
        identity = identity_of(environment_of(process.pid))
        identified: Mapping[str, Any] = {
            name: value for name, value in identity._asdict().items() if value is not None and name != "rank"
        }
        words = {
            "cwd": folder_of(process.pid),
            "command": " ".join(without_secrets(command_of(process.pid)))[:COMMAND_LENGTH],
        }
        moment = {"mono_s": round(time.monotonic(), 3)}
        return {
            **self._name_of(process),
            **moment,
            **identified,
            **{name: printable(text) for name, text in words.items() if text},
        }

    def _name_of(self, process: RunProcess) -> dict[str, Any]:
        return {"pid": process.pid, "pid_start_ticks": process.start_ticks, "boot_id": boot_id(), "host": self._host}

    def _ended(self) -> list[Event]:
        """Events of processes that are gone, once there was time to read their last lines."""
        now_s = time.monotonic()
        for key, known in self._known.items():
            if (
                key not in self._gone
                and key not in self._meanwhile
                and not alive(known.process.pid, known.process.start_ticks)
            ):
                self._gone[key] = now_s
                self._look_at_s = 0.0
        waiting = {key[1:] for key, gone_s in self._gone.items() if now_s - gone_s < self._grace_s}
        self._look_again_at([key for key in self._gone if key[1:] not in waiting])
        waiting |= {
            key[1:] for key, gone_s in self._gone.items() if key[1:] not in waiting and self._is_late(key, gone_s)
        }
        over: dict[
            tuple[int, int], dict[str, float]
        ] = {}  # by process and run: what one of its runs says is true of the others
        for (run, *process), gone_s in self._gone.items():
            if (name := (process[0], process[1])) not in waiting:
                over.setdefault(name, {})[run] = gone_s
        events: list[Event] = []
        for (pid, ticks), ended in over.items():
            code = self._codes.pop((pid, ticks), None)
            for run, gone_s in ended.items():
                del self._gone[run, pid, ticks]
                others = (ended.keys() | self._beside((run, pid, ticks))) - {run}
                events += self._judge(self._known.pop((run, pid, ticks)), code, gone_s, others)
        return events

    def _look_again_at(self, keys: Collection[_Key]) -> None:
        """What was known at the last look may lack the ends of these, and of open logs the other runs of their process."""
        if not keys:
            return
        self._activities |= {activity.run: activity for activity in self._live_runs({run for run, *_ in keys})}
        if any(self._is_open(key) for key in keys):
            self._activities = {activity.run: activity for activity in self._live_runs(None)}
            self._naming = None

    def _is_open(self, key: _Key) -> bool:
        """Whether its process ended without closing this run's log, by which nothing is known of how."""
        activity = self._activities.get(key[0])
        end = None if activity is None else end_of(activity, self._known[key].process)
        return end is not None and end_state(end)[0] == "ended"

    def _beside(self, key: _Key) -> set[str]:
        """The other runs whose files name a process that did not say how it ends, by a start event or as its keeper did: more than are
        shared by it, and also where nobody saw it."""
        run, _, ticks = key
        activity = self._activities.get(run)
        own = (
            next((start for start in activity.starts if start.fields.get("pid_start_ticks") == ticks), None)
            if activity
            else None
        )
        if own is None or not self._is_open(key):
            return set()
        if self._naming is None:
            self._naming = {}
            for other in self._activities.values():
                for pid in {other.info.get("pid"), *(start.fields.get("pid") for start in other.starts)}:
                    if (named := whole(pid)) is not None:
                        self._naming.setdefault(named, []).append(other.run)
        found = (
            self._activities[name]
            for name in self._naming.get(own.fields.get("pid", 0), ())
            if name in self._activities
        )
        return {other.run for other in found if other.run != run and _names(other, own)}

    def _is_late(self, key: _Key, gone_s: float) -> bool:
        """Whether its end may stand in a file that waits to be read or to be found, on a busy machine or behind others, or that is about to
        be written."""
        if time.monotonic() - gone_s >= UNREAD_S:
            return False
        if self._is_unread(key[0]) or (time.monotonic() - gone_s < OPEN_GRACE_S and self._is_open(key)):
            return True
        return any(map(self._is_about_to_be_told, [key[0], *self._beside(key)]))

    def _is_about_to_be_told(self, run: str) -> bool:
        """Whether the program of the run is gone, and its keeper has not written yet how it ended."""
        activity = self._activities.get(run)
        if (
            activity is None
            or activity.single_file
            or any(end_state(end)[0] != "ended" for end in last_ends(activity).values())
        ):
            return False
        started = started_in(activity.folder)
        return started is not None and not alive(*started)

    def _judge(self, known: _KnownProcess, code: int | None, gone_s: float, others: Collection[str]) -> list[Event]:
        """`code`: the exit status, where it was our own child; `others`: the other runs of the process."""
        process, activity = known.process, self._activities.get(known.run)
        if activity is not None and (end := end_of(activity, process)) is not None:
            words = self._word_beside(known, end, code, lambda: self._told(process, end.time_s, others, is_open=True))
            return [word._replace(time_s=self._moment(known, others)) for word in words]
        if not self._is_new(known.run, EXIT, process):
            return []
        starts = activity.starts if activity else []
        ended_s = time.time() - (time.monotonic() - gone_s) if gone_s > 0 else math.inf
        verdict = verdict_of(
            process.pid,
            self._last_lines(known.run),
            code=code,
            out_of_memory=killed_for_memory(process.pid, process.start_ticks),
            promised_end=any(start.rank == process.rank and names_a_process(start) for start in starts),
            told=next(iter(self._told(process, ended_s, others)), None),
        )
        return [self._exit(known.run, process.rank, verdict, self._name_of(process), self._moment(known, others))]

    def _moment(self, known: _KnownProcess, others: Iterable[str]) -> float:
        """When a process ended, by the keeper of one of its runs, which waited for it, else now. Not before the run's last line, which may
        have been read late: lines after an exit are another process's."""
        now_s, process = time.time(), known.process
        activities = [activity for run in (known.run, *others) if (activity := self._activities.get(run)) is not None]
        ends = [end for activity in activities if (end := end_of(activity, process)) is not None]
        kept_s = next((end.time_s for end in ends if end.fields.get("pid") == process.pid), now_s)
        signs_s = [last_sign_s(activity) for activity in activities if activity.run == known.run]
        return min(now_s, max([kept_s, *signs_s]))

    def _told(
        self, process: RunProcess, ended_s: float, others: Collection[str], *, is_open: bool = False
    ) -> list[ExitReason]:
        """What the other runs of a process say of its end: that of its keeper alone, else the worst first of ends that were logged
        when it ended, and of tracebacks. That a script closed one log tells nothing of another one that it left open (`is_open`).
        """
        found: list[ExitReason] = []
        for run in sorted(others):
            activity = self._activities.get(run)
            end = None if activity is None else end_of(activity, process)
            if end is not None and "pid" in end.fields:
                return [ExitReason(*end_state(end))]
            said = None if end is None or end.time_s < ended_s - CLOCK_SLACK_S else ExitReason(*end_state(end))
            if said is not None and said.state != "ended" and not (is_open and said == ("finished", "")):
                found.append(said)
            else:
                lines = self._last_lines(run)
                error = last_error(lines)
                found += filter(None, [schedulers_word(lines) or (ExitReason("failed", error) if error else None)])
        return sorted(found, key=lambda how: WORST_FIRST.index(how.state))

    def _word_beside(
        self, known: _KnownProcess, end: Event, code: int | None, told: Callable[[], list[ExitReason]] = list
    ) -> list[Event]:
        """Why a run was stopped by a signal, where its log says it: its scheduler, or a launcher that stops all ranks when one fails.
        Of one that did not close its log also how it ended, by the end of its text, the exit status, or what is `told` by other runs."""
        status, reason = str(end.fields.get("status")), str(end.fields.get("reason", ""))
        is_open = status == "ended"
        lines = (
            self._last_lines(known.run)
            if is_open or (status in ("finished", "killed") and PREEMPTING.search(reason))
            else []
        )
        error = last_error(lines) if is_open or status == "finished" else None
        word = schedulers_word(lines) or (ExitReason("failed", error) if error else None)
        if word is None and is_open:
            words = [of_code(known.process.pid, code)] if code is not None else told()
            word = next(iter(words), ExitReason("ended", reason))
        if word is None or not self._is_new(known.run, EXIT, known.process):
            return []
        return [self._exit(known.run, known.process.rank, word, {**self._name_of(known.process), "by": SCHEDULER})]

    def _exit(
        self, run: str, rank: int, verdict: ExitReason, fields: Mapping[str, Any], time_s: float | None = None
    ) -> Event:
        when = time.time() if time_s is None else time_s
        return Event(run, EXIT, when, rank, text=verdict.reason, fields={**fields, "state": verdict.state})

    def _settle(self, unsettled: Iterable[RunActivity]) -> None:
        """Leave those alone that are over, and have said or been found to have ended: of 10,000 runs nearly all."""
        now_s, busy = time.time(), {known.run for known in self._known.values()}
        if len(self._settled) > len(self._activities):  # some were forgotten
            self._settled = {run: settled for run, settled in self._settled.items() if run in self._activities}
        for activity in unsettled:
            run, speaks_for_itself = activity.run, bool(activity.starts or activity.ends)
            judged = speaks_for_itself or self._judged.get(run) == last_sign_s(activity, now_s)
            if judged and run not in busy and not self._has_open_start(activity):
                self._settled[run] = activity

    def _note_those_gone_before(self, unsettled: Iterable[RunActivity]) -> list[Event]:
        """Processes of start events that were already gone when these were read: judged like all others, once their last lines are.

        Events of those that are copies of another run's.
        """
        events: list[Event] = []
        for activity in unsettled:
            if not activity.starts or not self._has_open_start(activity):
                continue
            told = [end for end in activity.ends if end_state(end)[0] != "ended"]
            for claim in claims_of(activity._replace(seen=(), ends=told), self._host, PROC):
                process = claim.process
                key = activity.run, process.pid, process.start_ticks
                if (
                    claim.lives
                    or key in self._known
                    or key in self._gone
                    or (activity.run, DENIED, *key[1:]) in self._written
                ):
                    continue
                if (owner := self._copied_from(activity, process)) is not None:
                    events += self._deny(activity.run, process, owner)
                else:
                    self._known[key], self._gone[key] = _KnownProcess(activity.run, process), time.monotonic()
        return events

    def _copied_from(self, activity: RunActivity, process: RunProcess) -> str | None:
        """The run whose process this was seen to be, if the start event that names it stood in that run's file before it did in ours."""
        named = {(start.time_s, start.rank) for start in _named(activity, process)}
        made_s = _events_changed_s(activity, process.rank)
        for run, kind, *name in self._written:
            other = self._activities.get(run) if kind == SEEN and name == [process.pid, process.start_ticks] else None
            if other is None or run == activity.run or _events_changed_s(other, process.rank) >= made_s:
                continue
            if any((one.time_s, one.rank) in named for one in _named(other, process)):
                return run
        return None

    def _has_open_start(self, activity: RunActivity) -> bool:
        """Whether a rank has started on this boot, and no end of it is known."""
        ended = {rank for rank, end in last_ends(activity).items() if end_state(end)[0] != "ended"}
        for rank, start in newest_by_rank(activity.starts).items():
            pid, ticks = whole(start.fields.get("pid")), whole(start.fields.get("pid_start_ticks"))
            here = start.fields.get("boot_id") == boot_id() and rank not in ended
            if (
                here
                and (activity.run, EXIT, pid, ticks) not in self._written
                and (activity.run, SEEN, pid, ticks) not in self._written
                and (activity.run, DENIED, pid, ticks) not in self._written
            ):
                return True
        return False

    def _silent(self, unsettled: Iterable[RunActivity]) -> list[Event]:
        """Events of runs without a known process, from the end of their log. A traceback decides early, as of a failed start."""
        events: list[Event] = []
        now_s, read = time.time(), 0
        busy = {known.run for known in self._known.values()}
        for activity in unsettled:
            run, sign_s = activity.run, last_sign_s(activity, now_s)
            if run in busy or activity.starts or activity.ends or not is_silent(activity, now_s, QUIET_S):
                continue
            over = is_silent(activity, now_s)
            if self._judged.get(run) == sign_s or (not over and self._heard.get(run) == sign_s):
                continue
            if self._quiet.get(run) != sign_s:
                self._quiet[run] = sign_s
                continue
            (self._judged if over else self._heard)[run], read = sign_s, read + 1
            lines = self._last_lines(run)
            if verdict := schedulers_word(lines) or ((error := last_error(lines)) and ExitReason("failed", error)):
                self._judged[run] = sign_s
                events.append(self._exit(run, 0, verdict, {"judged_s": sign_s}, sign_s or now_s))
            if read >= JUDGED_AT_ONCE:
                break
        return events


def _names(activity: RunActivity, start: Event) -> bool:
    """Whether a run's files name the process of another one's start event: in one of its own, or as its keeper started it."""
    process = pid, ticks, boot = tuple(start.fields.get(name) for name in ("pid", "pid_start_ticks", "boot_id"))
    if any(
        tuple(other.fields.get(name) for name in ("pid", "pid_start_ticks", "boot_id")) == process
        for other in activity.starts
    ):
        return True
    return boot == boot_id() and not activity.single_file and started_in(activity.folder) == (pid, ticks)


def _events_changed_s(activity: RunActivity, rank: int) -> float:
    """When a rank's file of events was last changed, or made, by the kernel's own time, which no copy keeps; infinite for none."""
    try:
        return (activity.folder / (f"events.rank{rank}.jsonl" if rank else "events.jsonl")).stat().st_ctime
    except OSError:
        return math.inf


def _named(activity: RunActivity, process: RunProcess) -> list[Event]:
    """Its start events of that process."""
    name = process.pid, process.start_ticks
    return [
        start for start in activity.starts if (start.fields.get("pid"), start.fields.get("pid_start_ticks")) == name
    ]


def _is_deleted(activity: RunActivity) -> bool:
    """Whether the folder is gone that made a process a run: nothing else does."""
    return bool(activity.info.get("attached")) and not activity.folder.exists()
