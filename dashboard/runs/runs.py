"""All runs and their states, updated as records arrive, so that thousands cost what changes."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from analysis.findings.life import Activity
from collectors.folders import LogTree
from collectors.lines.tracebacks import shortened
from collectors.logs.tombstones import MAX_TEXT, LastKnown
from collectors.machine.finder import Gpus, RanksSeen, gpus_of, ranks_of
from collectors.machine.proc import descendants, environment_of
from collectors.machine.ranks import RankIdentity, identity_of, job_of
from collectors.machine.run_state import (
    LIFETIMES,
    SEEN,
    RunActivity,
    RunProcess,
    StateName,
    is_ahead,
    run_ended_s,
    run_started_s,
    state_of,
    whole,
)
from collectors.queue_events import moves_of
from collectors.records import Event
from collectors.rights import claims_count
from collectors.store.store import Run, Store

from ..user_files.deleted_runs import DeletedRun
from ..user_files.run_notes import NOTHING, RunNotes

ALIVE = ("running", "stalled")
PURGED = "it is deleted: its curves have left the store, its files stay"
RESTORABLE = "it is deleted, and can be restored as it was until {}"
UNKNOWN_END = "it is deleted, and an earlier version did not keep how it ended; Restore reads its files again"
OVER: tuple[StateName, ...] = ("ended", "finished", "failed", "killed", "preempted", "requeued")
BUDGET_S = 0.1  # of one look, for the states that may have changed; the others wait for the next look
KEPT_S = 60.0  # a run that is over is looked at so often: something may hold its files again
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunView:
    """One run, by its files and its processes."""

    stored: Run
    state: StateName
    state_reason: str
    pid: int | None
    started_s: float | None
    ranks: RanksSeen
    cwd: str  # of run.json, else of the process; "" where unknown
    ended_s: float | None = None  # as its files or its end say; None while it lives, and where nothing says so
    about: RunNotes = NOTHING
    deleted: bool = False
    restarts: int = 0  # of its rank that started most often
    host: str = ""  # of run.json, else of its newest process; "" where unknown
    job_id: str | None = None  # of its newest process, where a launcher gave one
    restart_count: int | None = None  # how often that job was started anew, as its launcher counts
    doing: Activity | None = None  # what it is at, while it lives and makes no steps
    attempts: tuple[
        str, ...
    ] = ()  # the runs that are attempts of one training, the newest last; () where it is the only one


_Process: TypeAlias = tuple[int | None, int | None, str]  # pid, start ticks and boot


@dataclass(frozen=True)
class _CachedView:
    view: RunView
    lifetimes: int  # how many events it was judged by
    looked_s: float  # monotonic


@dataclass(frozen=True)
class RankView:
    """A living process of a run."""

    process: RunProcess
    identity: RankIdentity
    gpus: Gpus


class Runs:
    """May be asked from many threads."""

    def __init__(
        self, store: Store, logs: Path | LogTree, doing_of: Callable[[str], Activity | None] = lambda run: None
    ) -> None:
        self._store, self._tree, self._doing_of = store, LogTree.of(logs), doing_of
        self._lock = threading.Lock()
        self._lifetimes: dict[str, list[Event]] = {}
        self._names: set[str] = set()  # of the last look
        self._seq = 0  # the lifetimes hold all events up to this
        self._kept: dict[str, _CachedView] = {}
        self._beside: dict[_Process, dict[str, float]] = {}  # by process and living run of it, its newest line

    def views(self) -> list[RunView]:
        """All runs, the newest first."""
        with self._lock:
            stored = self._read()
            kept = {run.name: self._kept[run.name] for run in stored if run.name in self._kept}
            self._beside = self._shared(stored, kept)
            until_s = time.monotonic() + BUDGET_S
            for run in sorted(
                stored, key=lambda run: _urgency(run, kept.get(run.name), self._lifetimes.get(run.name, ()))
            ):
                before, events = kept.get(run.name), self._lifetimes.get(run.name, [])
                if before is None or (_may_differ(run, before, events) and time.monotonic() < until_s):
                    kept[run.name] = _CachedView(self.view(run, events), len(events), time.monotonic())
                elif before.view.stored is not run:
                    kept[run.name] = replace(before, view=replace(before.view, stored=run))
            self._kept = kept
        now_s = time.time()
        return sorted(
            (found.view for found in kept.values()), key=lambda view: _recency(view.stored, now_s), reverse=True
        )

    def view(self, run: Run, lifetimes: list[Event]) -> RunView:
        """A run with impossible files or processes costs only its own state."""
        activity = self.activity(run, lifetimes)
        try:
            state = state_of(activity, time.time())
            ranks = ranks_of(activity, socket.gethostname())
        except (ValueError, TypeError, OverflowError, AttributeError, KeyError, OSError) as error:
            log.warning("the state of run %r is unknown: %r", run.name, error)
            return RunView(
                run, "ended", f"its state is unknown: {error}", None, run.first_time_s, RanksSeen([], None, ""), ""
            )
        started_s = run_started_s(run.info, [*activity.starts, *activity.seen], run.first_time_s)
        folders = [event.fields.get("cwd") for event in reversed(activity.seen)]
        said = [run.info.get("cwd")] if claims_count() else []
        cwd = next((folder for folder in [*said, *folders] if isinstance(folder, str) and folder), "")
        job_id, restart_count = job_of([*activity.starts, *activity.seen])
        attempts = Counter(event.rank for event in activity.starts)
        hosts = [
            run.info.get("host"),
            *(event.fields.get("host") for event in reversed([*activity.seen, *activity.starts])),
        ]
        return RunView(
            run,
            state.state,
            state.reason,
            state.pid,
            started_s,
            ranks,
            cwd,
            None if state.state in ALIVE else run_ended_s(activity),
            restarts=max(attempts.values(), default=1) - 1,
            host=next((host for host in hosts if isinstance(host, str) and host), ""),
            job_id=job_id,
            restart_count=restart_count,
            doing=self._doing_of(run.name) if state.state in ALIVE else None,
        )

    def activity(self, run: Run, lifetimes: list[Event]) -> RunActivity:
        starts, ends, seen = ([event for event in lifetimes if event.kind == kind] for kind in ("start", "end", SEEN))
        folder = self._tree.path_of(run.name)
        queue = moves_of(lifetimes)
        lines_s = (
            newest
            for event in seen
            for name, newest in self._beside.get(_process_of(event), {}).items()
            if name != run.name
        )
        activity = RunActivity(
            run.name,
            folder,
            run.info,
            starts,
            ends,
            run.last_time_s,
            run.median_interval_s,
            queue=queue,
            beside_s=max(lines_s, default=None),
        )
        return activity.with_lives(lifetimes)

    def _shared(self, stored: Sequence[Run], kept: Mapping[str, _CachedView]) -> dict[_Process, dict[str, float]]:
        found: dict[_Process, dict[str, float]] = {}
        for run in stored:
            before = kept.get(run.name)
            if run.last_time_s is None or (before is not None and before.view.state not in ALIVE):
                continue
            for event in self._lifetimes.get(run.name, ()):
                if event.kind == SEEN:
                    found.setdefault(_process_of(event), {})[run.name] = run.last_time_s
        return found

    def living(self) -> Iterator[RunActivity]:
        """What is known of the runs that go on."""
        for view in self.views():
            if view.state in ALIVE:
                yield self.activity(view.stored, self._lifetimes.get(view.stored.name, []))

    def _read(self) -> list[Run]:
        """What is stored now, and the events since the last look."""
        newest = self._store.seq()
        stored = self._store.runs()
        if newest < self._seq:  # another store
            self._lifetimes, self._seq, self._names = {}, 0, set()
        if newest > self._seq:
            for event in self._store.events_after(self._seq, LIFETIMES):
                self._lifetimes.setdefault(event.run, []).append(event)
            self._seq = newest
        names = {run.name for run in stored}
        for new in names - self._names if self._names else ():  # one that was renamed has events of before
            self._lifetimes[new] = self._store.events(new, kinds=LIFETIMES)
        for gone in self._lifetimes.keys() - names:
            del self._lifetimes[gone]
        self._names = names
        return stored


def _process_of(event: Event) -> _Process:
    fields = event.fields
    return whole(fields.get("pid")), whole(fields.get("pid_start_ticks")), str(fields.get("boot_id"))


def _may_differ(run: Run, kept: _CachedView, events: Sequence[Event]) -> bool:
    changed = kept.view.stored is not run or kept.lifetimes != len(events)
    return changed or kept.view.state in ALIVE or time.monotonic() - kept.looked_s > KEPT_S


def _recency(run: Run, now_s: float) -> float:
    """When its newest line was written, in the order of runs. Times years ahead say nothing of that: such a run must not hide all others."""
    last_s = run.last_time_s or 0.0
    return 0.0 if is_ahead(last_s, now_s) else last_s


def _urgency(run: Run, kept: _CachedView | None, events: Sequence[Event]) -> tuple[int, float]:
    """New runs first, then those that live or have changed, then the others; of each the one that was looked at longest ago."""
    if kept is None:
        return 0, 0.0
    changed = kept.view.stored is not run or kept.lifetimes != len(events)
    return (1 if changed or kept.view.state in ALIVE else 2), kept.looked_s


def rank_view(process: RunProcess, gpus: Sequence[Mapping[str, Any]]) -> RankView:
    environment = environment_of(process.pid)
    pids = {process.pid, *descendants(process.pid)}
    return RankView(process, identity_of(environment), gpus_of(pids, environment, gpus))


def deleted_view(found: DeletedRun) -> RunView:
    """Nothing is stored of it but what was known when it was deleted."""
    known = found.known
    state: StateName = next((state for state in OVER if state == known.state), "ended")
    restorable = RESTORABLE.format(time.strftime("%H:%M", time.localtime(found.purge_s))) if found.purge_s else ""
    reason = "; ".join(filter(None, [known.reason, restorable or (PURGED if known.state else UNKNOWN_END)]))
    ranks = RanksSeen([], None, "")
    return RunView(
        _unstored(found.run, known),
        state,
        reason,
        None,
        known.started_s,
        ranks,
        "",
        ended_s=known.ended_s,
        about=found.about,
        deleted=True,
    )


def known_of(view: RunView) -> LastKnown:
    """What stays readable of a run that is deleted."""
    stored = view.stored
    return LastKnown(
        view.state,
        shortened(view.state_reason, MAX_TEXT),
        view.started_s,
        view.ended_s,
        stored.last_time_s,
        stored.last_step,
        stored.series,
        stored.points,
    )


@lru_cache(4096)
def _unstored(run: str, known: LastKnown) -> Run:
    """The same object again: it has not changed."""
    last_step = None if known.last_step is None else int(known.last_step)
    times = (known.started_s, known.last_time_s, last_step, None)
    return Run(
        run,
        {},
        *times,
        int(known.series),
        int(known.points),
        timed=False,
        lines_read=0,
        lines_skipped=0,
        fields_skipped=0,
    )
