"""Every question that pages put to the store and to the collector, answered by frozen dataclasses."""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alerts.config import UserRule, is_of
from alerts.preview import Preview, preview_of
from collectors.control import ControlError, ask
from collectors.folders import LogTree
from collectors.machine.proc import descendants
from collectors.machine.run_state import LIFETIMES, SEEN, began_s, processes_of
from collectors.provenance import DIFF
from collectors.records import Event, Offset, ProgressBar, Sample, Searched
from collectors.store.store import (
    Axis,
    Buckets,
    Delta,
    LastPoint,
    LogPage,
    LogQuery,
    Run,
    SampleNames,
    SampleQuery,
    Series,
    Store,
)

from .boards.files import BoardFile, Boards
from .boards.overview import OVERVIEW, Logged, overview_of
from .findings import ActivityReader, Alerts, FindingsReader
from .jobs import JobsReader
from .logs.changes import LogChanges
from .logs.lines import LogLines
from .machine import Cost, CostMeter, GpuUser, HostProcesses, HostSnapshot, Machine, RunOfProcess, values_now
from .runs.previous_run import RunDetail, requeued
from .runs.run_ledgers import RunLedgers
from .runs.run_values import RunComparer
from .runs.runs import Runs, RunView, deleted_view, rank_view
from .runs.search import NamedPage, SearchHits, SearchQuery, Sources, search
from .runs.table import RunsSource, RunsTable
from .samples import Checkpoint, NotShown, RunPlaces, SampleContent, checkpoints_of, read_sample
from .series.curves import Curves
from .stacks.flame import Prefetcher
from .stacks.stacks import Stacks
from .user_files.deleted_runs import DeletedRun, DeletedRuns
from .user_files.directions import Direction, directions_of
from .user_files.run_notes import RunNotesReader, about_run, of_program
from .user_files.settings import Settings, settings_of

SILENT = (
    "The collector does not answer; it is started again by itself. What is logged meanwhile is read then; "
    "samples of the machine and of stacks have a gap."
)
NO_RUN = "no run {!r}; GET /api/v1/runs lists them"
MAX_EVENTS = 20_000
MAX_NOTES = 2000  # the newest, that are searched
MAX_CHECKPOINTS = 2_000  # of a run, the newest
RESERVED, RESERVED_FRESH_S = "memory/reserved_bytes", 120.0


class NotFound(Exception):
    """No such run or series; the text is one sentence with the remedy."""


class BadRequest(Exception):
    """A parameter that cannot be; the text is one sentence with the remedy."""


class BadField(BadRequest):
    """A change that cannot be, for the value of one of its fields; `field` is its key."""

    def __init__(self, sentence: str, field: str) -> None:
        super().__init__(sentence)
        self.field = field


class Remedy(NamedTuple):
    sentence: Searched
    remedy: Searched


@dataclass(frozen=True)
class Profiler:
    """Which sampler is at work, and why there may be no stacks."""

    sampler: str
    note: Remedy | None


class RunSize(NamedTuple):
    """What a run takes: in the store, and in its own files, which are the user's."""

    store_bytes: int
    files: int
    file_bytes: int


@dataclass(frozen=True)
class DashboardState:
    """What the frame of every page shows: collectors, GPUs, profiler, own cost."""

    time_s: float
    host: str
    log_dir: str
    read_only: str | None
    collectors: list[dict[str, Any]]
    gpus: list[dict[str, Any]]
    gpu_note: str | None
    profile: dict[str, Any]
    cost: Cost
    problems: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return "ok" if self.collectors and all(row["state"] == "ok" for row in self.collectors) else "degraded"


class Queries:
    """One object for the whole web process; its methods are called from many threads. None of them changes anything: see `mutations.py`."""

    def __init__(
        self,
        store: Store,
        logs: Path | LogTree,
        data_dir: Path,
        read_only: Callable[[], str | None] = lambda: None,
        note: Callable[[], str] = lambda: "",
    ) -> None:
        """`read_only` says why this dashboard cannot steer the collector, while it cannot; `note` what else is to be said of it.

        `log_dir` is the folder in which new runs are made.
        """
        tree = LogTree.of(logs)
        self._store, self.tree, self.data_dir = store, tree._replace(root=tree.root.resolve()), data_dir
        self.log_dir = self.tree.home
        self._meter, self._runs = CostMeter(), Runs(store, self.tree, ActivityReader(data_dir).of)
        self.stacks = Stacks(store, self.tree)
        self.curves = Curves(store)
        self.boards = Boards(data_dir, (self.log_dir, self.tree.root))
        self.lines, self.findings = LogLines(store), FindingsReader(store)
        self.alerts, self.jobs = Alerts(data_dir, self.findings, self._begun_s), JobsReader(self.tree)
        self.log_changes = LogChanges(self.logs, self.run, self.stacks.show_sources, self.stacks.stepped_since)
        self.ahead = Prefetcher(self.stacks.minutes, self.stacks.ledgers)
        self.read_only, self._note = read_only, note
        self._host_processes = HostProcesses(self._owners)
        self._notes, self._deleted = RunNotesReader(data_dir), DeletedRuns(data_dir)
        self.comparing = RunComparer(store, self.runs, self.stored_run, self.tree)
        self.run_ledgers = RunLedgers(store, self.stacks.ledgers, self.tree, data_dir, self.comparing.attempts)
        of_store = store.outcomes, store.names, store.configs
        self.table = RunsTable(
            RunsSource(self.cursor, self._known_runs, *of_store, self.directions, lambda: self.settings().values)
        )

    def close(self) -> None:
        """Stops background prefetching and the process that reads traces."""
        self.ahead.close()
        self.stacks.close()

    # -- runs ----------------------------------------------------------------------------------------------------------

    def runs(self) -> list[RunView]:
        """All runs, the newest first, with what users say about them, else their programs."""
        deleted = self._deleted.pending()
        views = [view for view in requeued(self._runs.views()) if view.stored.name not in deleted]
        said = self._notes.of([view.stored.name for view in views])
        abouts = [said.get(view.stored.name) or of_program(view.stored.info) for view in views]
        return [
            view if about is view.about else replace(view, about=about)
            for view, about in zip(views, abouts, strict=True)
        ]

    def run(self, name: str) -> RunDetail:
        stored = self.stored_run(name)
        lifetimes = self._store.events(name, kinds=LIFETIMES)
        attempts = [event for event in lifetimes if event.kind == "start"]
        gpus = self._collector().get("gpu", {}).get("gpus", [])
        processes = [rank_view(process, gpus) for process in processes_of(self._runs.activity(stored, lifetimes))]
        view = replace(
            self._runs.view(stored, lifetimes), about=about_run(self.data_dir, name, of_program(stored.info))
        )
        return RunDetail(view, attempts, processes, self.comparing.attempts(name))

    def _begun_s(self, run: str) -> float:
        """When the newest attempt of a run began, in its own folder or as another run; minus infinity where nothing says it."""
        begun = self._store.events(run, kinds=("start", SEEN))
        views = self._runs.views()
        later = self.comparing.finder.find(views).get(run)
        names = later.runs if later else ()
        others = [view.started_s for view in views if view.stored.name in names and view.started_s is not None]
        return max([*(began_s(event) for event in begun), *others], default=-math.inf)

    def configs(self, runs: Sequence[str]) -> dict[str, dict[str, object]]:
        """Of these runs, of those that have one, flat: `{"a": {"optimizer.lr": 0.1}}`."""
        return self._store.configs(runs)

    def deleted(self) -> list[DeletedRun]:
        """Runs that users have deleted, whose files may still be there."""
        return self._deleted.all()

    def deleted_run(self, run: str) -> DeletedRun | None:
        return self._deleted.one(run)

    def _known_runs(self) -> list[RunView]:
        """With their attempts, and with those that were deleted: the table shows them where a user asks for them."""
        runs = self.comparing.finder.joined(self.runs())
        stored = {view.stored.name for view in runs}
        return [*runs, *(deleted_view(found) for found in self.deleted() if found.run not in stored)]

    def directions(self) -> dict[str, Direction]:
        """Of series, where a user has said whether less or more is better."""
        return directions_of(self.data_dir)

    def sparklines(self, runs: Sequence[str], buckets: int) -> dict[str, tuple[str, Axis, Buckets]]:
        """The loss of each of these runs that has one, over its steps, or over time where it has none: of several ranks, the first."""
        losses = self.table.losses(runs)
        found = self._store.outcomes(list(losses), set(losses.values()))
        columns = found.labels, found.run, found.name, found.id.tolist(), np.isfinite(found.last_step).tolist()
        first_last = sorted(zip(*columns, strict=True), reverse=True)
        chosen: dict[str, tuple[int, Axis]] = {
            run: (number, "step" if stepped else "time")
            for _, run, name, number, stepped in first_last
            if losses[run] == name
        }
        ranges: dict[int, Buckets] = {}
        for axis in {axis for _, axis in chosen.values()}:
            ids = [number for number, its in chosen.values() if its == axis]
            ranges |= self._store.range(ids, None, None, axis, buckets)
        return {run: (losses[run], chosen[run][1], ranges[chosen[run][0]]) for run in losses if run in chosen}

    def files(self, run: str) -> list[Offset]:
        """What was read of each file of a run. Raises NotFound."""
        self.check_run(run)
        return [offset for offset in self._store.offsets().values() if offset.run == run]

    def diff(self, run: str) -> str:
        """What differed from the commit when the run's newest process began, without secrets; "" where nothing is known. Raises NotFound."""
        self.check_run(run)
        found = self._store.source_text(run, DIFF)
        return found.text if found else ""

    def events(self, run: str | None, lo: float | None, hi: float | None) -> list[Event]:
        """At most 20,000, the newest. Raises NotFound."""
        self.check_run(run)
        return self._store.events(run, lo, hi, most=MAX_EVENTS)

    def search(self, text: str, pages: Sequence[NamedPage], runs: Sequence[str], most: int) -> SearchHits:
        """Runs, series, pages and notes that match, the best first; `runs` are the shown ones."""
        notes = self._store.events(kinds=("note",), most=MAX_NOTES)
        return search(SearchQuery(text), Sources(pages, self.runs(), self._store.series, notes), runs, most)

    # -- points --------------------------------------------------------------------------------------------------------

    def series(self, run: str | None, match: str = "") -> list[Series]:
        """Raises NotFound."""
        found = self._store.series(run, match)
        if not found:
            self.check_run(run)
        return found

    def board(self, name: str, run: str | None) -> BoardFile | None:
        """A file's, or the one that is made of what the run logs, unless a user has a file of that name."""
        found = self.boards.named(name)
        return overview_of(self._logged(run)) if found is None and name == OVERVIEW else found

    def _logged(self, run: str | None) -> Logged:
        if run is None or not self.has_run(run):
            return Logged((), self.curves.machine_names([]))
        lines = self._store.logs(LogQuery(run, limit=1)).lines
        machine = self.curves.machine_names([run])
        return Logged(self._store.series(run), machine, self._store.profiled_from(run) is not None, bool(lines))

    def last(self, series: Sequence[Series]) -> dict[int, LastPoint]:
        return self._store.last([found.id for found in series])

    def changed(self) -> bool:
        return self._store.changed()

    def cursor(self) -> int:
        """Asked before a read: what that surely holds, so that deltas after it continue it."""
        return self._store.seq()

    def since(self, cursor: int, lines_of: Collection[str]) -> Delta:
        return self._store.since(cursor, lines_of)

    def logs(self, query: LogQuery) -> LogPage:
        """Raises NotFound."""
        self.check_run(query.run)
        return self._store.logs(query)

    def bars(self, run: str | None) -> list[ProgressBar]:
        """The progress bars at the end of a run's text logs; none without a run."""
        return [] if run is None else self._store.bars(run)

    # -- samples and files ---------------------------------------------------------------------------------------------

    def series_names(self) -> list[str]:
        """Of all runs and the machine, by name."""
        return sorted(self._store.names())

    def rule_preview(self, rule: UserRule, lo: float) -> Preview:
        """When a rule would have fired since then. Raises ExpressionError, StoreError, TooMuch."""
        runs = [view.stored.name for view in self.runs() if is_of(rule.runs, view.stored.name)]
        return preview_of(self._store, rule, runs, time.time(), lo)

    def sample_names(self, run: str) -> SampleNames:
        """Raises NotFound."""
        self.check_run(run)
        return self._store.sample_names(run)

    def samples(self, query: SampleQuery) -> list[Sample]:
        """Raises NotFound."""
        self.check_run(query.run)
        return self._store.samples(query)

    def sample(self, run: str, number: int) -> SampleContent:
        """Its bytes. Raises NotFound, also where its file is gone, has changed since, or is not one of the run's."""
        where = self._places(run)
        found = self._store.samples(SampleQuery(run, number=number, data=True))
        if not found:
            raise NotFound(f"run {run!r} has no sample {number}; GET /api/v1/samples lists them")
        try:
            return read_sample(found[0], where)
        except NotShown as error:
            raise NotFound(str(error)) from error

    def checkpoints(self, run: str) -> list[Checkpoint]:
        """By time. Raises NotFound."""
        where = self._places(run)
        events = self._store.events(run, kinds=("checkpoint",), most=MAX_CHECKPOINTS)
        return checkpoints_of(events, where.folder, where.uid)

    def _places(self, run: str) -> RunPlaces:
        self.check_run(run)
        files = [offset.path for offset in self._store.offsets().values() if offset.run == run]
        return RunPlaces.of(self.tree, run, self.stacks.shown_folder_of(run), files)

    # -- profile -------------------------------------------------------------------------------------------------------

    def profiler(self, run: str | None) -> Profiler:
        profile = self._collector().get("profile", {})
        said = profile if profile.get("state") == "off" else profile.get("runs", {}).get(run, {})
        note = Remedy(said["sentence"], said.get("remedy", "")) if said.get("sentence") else None
        return Profiler(str(profile.get("sampler", "")), note)

    def stored_run(self, run: str) -> Run:
        """Raises NotFound where there is no such run."""
        if (stored := self._store.run(run)) is None:
            raise NotFound(NO_RUN.format(run))
        if run in self._deleted.pending():
            raise NotFound(f"{run!r} is deleted; restore it on the Runs page")
        return stored

    def size_of(self, run: str) -> RunSize:
        """What a run takes: in the store, and in its own files. Raises NotFound."""
        paths = [self.tree.path_of(offset.path) for offset in self.files(run)]
        sizes = []
        for path in paths:
            with suppress(OSError):
                sizes.append(path.stat().st_size)
        return RunSize(self._store.size_of(run), len(sizes), sum(sizes))

    def check_run(self, run: str | None) -> None:
        """Raises NotFound where there is no such run; None, for the machine, passes."""
        if run is not None:
            self.stored_run(run)

    def has_run(self, run: str) -> bool:
        return self._store.run(run) is not None and run not in self._deleted.pending()

    # -- the machine ---------------------------------------------------------------------------------------------------

    def machine(self) -> Machine:
        """Its GPUs, and the newest value of each of its series."""
        answer = self._collector()
        gpu = answer.get("gpu", {})
        series, gpus = self._store.series(None), gpu.get("gpus", [])
        values = values_now(series, self.last(series), gpus, time.time())
        return Machine(
            str(answer.get("host") or socket.gethostname()), gpus, gpu.get("note"), gpu.get("looks", []), values
        )

    def gpu_users(self) -> list[GpuUser]:
        """Who uses which GPU, in the order of the GPUs."""
        gpus = self._collector().get("gpu", {}).get("gpus", [])
        found = [(gpu, process) for gpu in gpus for process in gpu["processes"]]
        owners = self._owners() if found else {}
        cards = Counter(process["pid"] for _, process in found)
        users = []
        for gpu, process in found:
            owner = owners.get(process["pid"])
            alone = (
                owner is not None and not owner.is_worker and cards[process["pid"]] == 1
            )  # of several GPUs it says one number
            users.append(
                GpuUser(gpu["index"], gpu["mig"], process, owner, self._reserved(owner) if owner and alone else None)
            )
        return users

    def _reserved(self, rank: RunOfProcess) -> float | None:
        """Bytes that PyTorch's allocator holds, where the rank logs that and did so lately."""
        mine = [
            row
            for row in self._store.series(rank.run)
            if row.name == RESERVED and int(dict(row.labels).get("rank", "0")) == rank.rank
        ]
        last = self.last(mine[:1]).get(mine[0].id) if mine else None
        is_fresh = last is not None and last.time_s is not None and time.time() - last.time_s < RESERVED_FRESH_S
        return last.value if last is not None and is_fresh else None

    def host_processes(self) -> HostSnapshot:
        """The processes of this host that use most of it now."""
        return self._host_processes.look()

    def owner_of(self, pid: int) -> RunOfProcess | None:
        """The run that a process belongs to."""
        return self._owners().get(pid)

    def _owners(self) -> dict[int, RunOfProcess]:
        """By pid, the living runs' processes and their children."""
        owners: dict[int, RunOfProcess] = {}
        for activity in self._runs.living():
            for process in processes_of(activity):
                rank = RunOfProcess(activity.run, process.rank)
                owners |= {process.pid: rank, **dict.fromkeys(descendants(process.pid), rank._replace(is_worker=True))}
        return owners

    # -- the dashboard itself ------------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        return settings_of(self.data_dir)

    def state(self) -> DashboardState:
        answer = self._collector()
        gpu = answer.get("gpu", {})
        return DashboardState(
            time_s=time.time(),
            host=str(answer.get("host") or socket.gethostname()),
            log_dir=str(self.log_dir),
            read_only=self.read_only(),
            collectors=answer.get("collectors", []),
            gpus=gpu.get("gpus", []),
            gpu_note=gpu.get("note"),
            profile=answer.get("profile", {"state": "starting", "sentence": "", "remedy": ""}),
            cost=self._meter.read(answer.get("pid")),
            problems=self._problems(answered=bool(answer)),
        )

    def _problems(self, *, answered: bool) -> list[str]:
        """What is said of the collector where its own account is missing, or not all; the worst first."""
        said = ["" if answered else self.read_only() or "", self._note()]
        return [sentence for sentence in said if sentence] or ([] if answered else [SILENT])

    def _collector(self) -> dict[str, Any]:
        """The collector's own account; {} while it is down."""
        try:
            answer: dict[str, Any] = ask(self.data_dir, "status")
        except ControlError:
            return {}
        return answer
