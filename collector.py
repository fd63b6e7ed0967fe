"""The collector process: the only writer of the store.

python -m collector --log-dir ./logs
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from alerts.collector import AlertsCollector
from analysis.findings.collector import FindingsCollector
from analysis.history import History
from analysis.stacks import frames
from collectors import VERSION, catalog, folders, keeping, retention, rights, user_files, writer_lock
from collectors.collector_process import EXIT_AGAIN, EXIT_FOLDER_GONE
from collectors.control import ControlServer, Verb
from collectors.folders import is_remote
from collectors.logs import user_events
from collectors.logs.outputs import OutputFiles
from collectors.logs.tail import LogFolderTail
from collectors.logs.tombstones import UNDO_S, LastKnown, Tombstones, last_known
from collectors.machine.exit_reason import words_at_the_end
from collectors.machine.finder import Finder
from collectors.machine.gpus import GpuCollector
from collectors.machine.host import HostCollector
from collectors.machine.inventory import described
from collectors.machine.lifetimes import GRACE_S, REMOTE_GRACE_S, LifetimeCollector
from collectors.machine.nvml import StaleLibrary
from collectors.machine.run_state import OWN_LIFETIMES, SEEN, RunActivity, processes_of
from collectors.options import CollectorOptions, add_flags, options_of
from collectors.provenance import RAN
from collectors.provenance.collector import ProvenanceCollector
from collectors.records import Record
from collectors.runtime import return_freed_memory
from collectors.sampler.profile import ProfileCollector
from collectors.sampler.samplers import choose
from collectors.store.engines import open_store
from collectors.store.store import Limits, LogQuery, Store, StoreError, Thinning
from collectors.supervisor import HungCollector, Quarantine, Supervisor
from collectors.trace_requests import NoEntry, ask_for_trace, entry_of

THIN_AFTER_S = 7 * 86400.0  # samples of the machine
WATCH_S = 0.5  # how often the parent and the data folder are checked
EXIT_WITHIN_S = 4.0  # at the end, even if a thread hangs
FRESH_S = 0.4  # how old an answer about the runs' processes may be: three collectors use it
LAST_LINES = 200  # of a run's text log, that are searched for the reason of its end
MAX_WATCHED = 200  # runs, of one question
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m collector", description=__doc__.splitlines()[0])
    add_flags(parser)
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started us, is gone")
    parsed = parser.parse_args(arguments)
    return_freed_memory()
    log_dir: Path = parsed.log_dir.resolve()
    options = options_of(parsed, log_dir, parsed.data_dir or folders.data_dir_of(log_dir))
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO)
    os.umask(0o077)  # no other user may read the data folder
    rights.look_at_others(options.as_root)
    try:
        folders.make_private(options.data_dir)
        held = writer_lock.take(options.data_dir, VERSION, options.as_json())
    except writer_lock.Locked as error:
        logging.error("%s", error)
        return 2
    except OSError as error:
        logging.error(
            "cannot write to %s (%s); choose another folder with --data-dir", options.data_dir, error.strerror
        )
        return 2
    try:
        collectors = Collectors(options, held, parsed.parent)
    except StoreError as error:
        logging.error("%s", error)
        return 1
    return collectors.run()


class Collectors:
    """All collectors of one log folder, their store, and the socket for requests of the web process."""

    def __init__(self, options: CollectorOptions, held: int, parent: int | None) -> None:
        """`held` is the descriptor of the lock."""
        log_dir, data_dir = options.log_dir, options.data_dir
        self._tree, self._data_dir, self._held, self._parent = options.tree, data_dir, held, parent
        self._ending = threading.Event()
        self._exit_code = 0
        self._host = socket.gethostname()
        thinning = Thinning(
            THIN_AFTER_S,
            kept=lambda lo, hi: retention.windows(self._store, data_dir, lo, hi),
            whole=frozenset(metric.name for metric, _ in catalog.rows() if not metric.unit and not metric.counter),
            counters=frozenset(metric.name for metric, _ in catalog.rows() if metric.counter),
        )
        limits = Limits(options.retention_s, options.max_bytes or None, options.pause, thinning)
        self._store: Store = open_store(data_dir, write=True, limits=limits)
        wake = threading.Event()
        outputs = OutputFiles([data_dir])
        self._quarantine = Quarantine(data_dir, self._tree)
        offsets = self._store.offsets()
        tombstones = self._tombstones = Tombstones(data_dir)
        self._expiry = keeping.Expiry(data_dir)
        is_polled = any(map(is_remote, self._tree.tops))
        tail = self._tail = LogFolderTail(
            log_dir,
            self._host,
            offsets,
            wake,
            poll_only=is_polled,
            left_alone=self._quarantine.reason,
            outputs=outputs.files,
            only=options.only,
            front=options.front,
            last_times={run.name: run.last_time_s for run in self._store.runs()},
            tombstones=tombstones,
            remove=self._store.delete,
            rename=self._rename,
        )
        live_runs = tail.live_runs
        finder = Finder(self._host, fresh_s=FRESH_S)
        self._gpu = GpuCollector(self._host)
        provenance = ProvenanceCollector(
            tail.learn,
            lambda: described(self._gpu.inventory()),
            host=self._host,
            written=self._store.events(kinds=(SEEN, RAN)),
        )
        self._lives = LifetimeCollector(
            live_runs,
            finder,
            self._last_words,
            host=self._host,
            written=self._store.events(kinds=OWN_LIFETIMES),
            on_found=outputs.look,
            on_new=provenance.noticed,
            is_unread=tail.is_unread,
            grace_s=REMOTE_GRACE_S if is_polled else GRACE_S,
        )
        self._profile = ProfileCollector(
            live_runs,
            choose(options.sampler, self._host),
            host=self._host,
            enabled=options.profile,
            budget_pct=options.profile_budget,
            finder=finder,
        )
        self._judge = self._make_judge(live_runs, finder) if options.judge else None
        self._alerts = (
            AlertsCollector(self._store, data_dir, finder, live_runs=live_runs, inventory=self._gpu.inventory)
            if options.judge
            else None
        )
        judges = [judge for judge in (self._judge, self._alerts) if judge is not None]

        def on_stored(records: Sequence[Record]) -> None:
            for judge in judges:
                judge.take(records)

        self._supervisor = Supervisor(
            self._store, on_stale=self._start_again, on_stuck=self._give_up, on_stored=on_stored
        )
        self._supervisor.add(tail, wake)
        self._supervisor.add(HostCollector(self._host, data_path=data_dir, processes=finder.found))
        self._supervisor.add(self._lives)
        self._supervisor.add(self._gpu)
        self._supervisor.add(self._profile)
        self._supervisor.add(provenance)
        if options.scrape:
            self._scrape(options.scrape)
        self._added = user_events.AddedEvents(data_dir, offsets.values(), tombstones.has)
        self._supervisor.add(self._added)
        if self._judge:
            self._supervisor.add(self._judge)
        if self._alerts:
            self._supervisor.add(self._alerts)
        self._control = ControlServer(data_dir, self._verbs())

    def _scrape(self, addresses: Sequence[str]) -> None:
        from collectors.options import target_of
        from collectors.scrape import KnownGpu, ScrapeCollector  # with HTTP and its parsers 4 MB

        def gpus() -> dict[str, KnownGpu]:
            return {uuid: KnownGpu(*known) for uuid, known in self._gpu.measured().items()}

        self._supervisor.add(ScrapeCollector([target_of(text) for text in addresses], self._host, gpus))

    def _make_judge(
        self, live_runs: Callable[[Collection[str]], list[RunActivity]], finder: Finder
    ) -> FindingsCollector:
        return FindingsCollector(
            self._store,
            live_runs,
            finder,
            host=self._host,
            line_of=frames.SourceTexts(self._store, frames.owner_of_folders(self._tree)).line_of,
            inventory=self._gpu.inventory,
            health=lambda: self._supervisor.health(),
            last_lines=self._last_lines,
            is_behind=self._tail.is_behind,
        )

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ending.set())
        self._supervisor.start()
        while not self._ending.wait(WATCH_S):
            self._look_around()
            if self._expiry.is_due():
                try:
                    self._delete_what_was_kept_long_enough()
                except Exception:  # of a store or a file that cannot be read just now
                    logging.exception("what is to be deleted is not known; asked again in a minute")
        last = threading.Timer(EXIT_WITHIN_S, os._exit, (self._exit_code,))  # a thread that hangs must not delay us
        last.daemon = True
        last.start()
        self._control.close()
        self._supervisor.stop()
        if self._exit_code == EXIT_FOLDER_GONE:
            os._exit(EXIT_FOLDER_GONE)  # closing would remove the write-ahead logs that now have these names
        self._store.close()
        last.cancel()
        return self._exit_code

    def _look_around(self) -> None:
        """End when our parent is gone, or when what we write is no longer in the folder of that name."""
        if self._parent is not None and os.getppid() != self._parent:
            logging.warning("process %d, which started this one, is gone: ending", self._parent)
            self._ending.set()
        elif not writer_lock.is_held(self._held, self._data_dir) or not self._store.in_place():
            logging.warning("the data folder %s, or a file in it, was removed: starting again", self._data_dir)
            self._exit_code = EXIT_FOLDER_GONE
            self._ending.set()

    def _start_again(self, error: StaleLibrary) -> None:
        """A driver upgrade leaves the old library mapped: only a new process can load the new one."""
        logging.warning("starting again: %s", error)
        self._exit_code = EXIT_AGAIN
        self._ending.set()

    def _give_up(self, stuck: HungCollector) -> None:
        """Only a new process ends a thread that hangs; its input is set aside first."""
        if not self._quarantine.add(stuck):
            logging.error("%s; starting again did not help before, and is not tried any more", stuck.sentence)
            return
        logging.error("starting again without %s", stuck.input or stuck.collector)
        os._exit(EXIT_AGAIN)

    def _verbs(self) -> dict[str, Verb]:
        return {
            "ping": lambda: True,
            "status": self._status,
            "watch": self._watch,
            "profile": self._switch_profile,
            "exited": self._lives.exited,
            "read": self._tail.read_anyway,
            "delete": self._delete,
            "restore": self._restore,
            "trace": self._trace,
            "doings": lambda: self._judge.doings() if self._judge else {},
            "alerts": lambda: self._alerts.status() if self._alerts else {},
            "test_alert": self._test_alert,
        }

    def _test_alert(self, receiver: str) -> dict[str, str]:
        if self._alerts is None:
            raise ValueError("the collector was started with --no-findings: it sends no alerts")
        return self._alerts.test(receiver)

    def _trace(self, run: str, steps: int = 3, rank: int = 0) -> dict[str, str]:
        """The `id` of the trace to come, or why there will be none, as the end of a sentence."""
        stored = self._store.run(run)
        try:
            if stored is None:
                raise NoEntry("there is no such run")
            entry = entry_of(self._tree, run, stored.info)
            if not any(activity.run == run and processes_of(activity) for activity in self._tail.live_runs()):
                raise NoEntry("no process of it is alive here")
            return {"id": ask_for_trace(entry, self._tree.path_of(run), steps, rank), "refused": ""}
        except NoEntry as error:
            return {"id": "", "refused": str(error)}

    def _delete(self, run: str, known: Any = None, undo_s: float = UNDO_S) -> dict[str, str]:
        """Why it cannot be deleted, or "": then the tail deletes it in its next turn."""
        if self._lives.knows_a_process_of(run):
            return {"refused": "one of its processes is running, or ended a moment ago"}
        return {"refused": self._tail.delete(run, last_known(known), undo_s)}

    def _delete_what_was_kept_long_enough(self) -> None:
        for stored, days in keeping.over(self._store.runs(), self._data_dir, time.time()):
            if not self._tombstones.has(stored.name):
                known = LastKnown(
                    "ended",
                    f"it was to be kept for {days:g} days",
                    stored.first_time_s,
                    stored.last_time_s,
                    stored.last_time_s,
                    stored.last_step,
                    stored.series,
                    stored.points,
                )
                refused = self._delete(stored.name, known._asdict())["refused"]
                logging.info("%r, kept for %g days, is deleted%s", stored.name, days, refused and f" not: {refused}")

    def _rename(self, run: str, new: str, paths: Mapping[str, str]) -> bool:
        """As `Store.rename`, with what users say about the run. That goes first: an interrupted rename is completed at the next start."""
        if self._store.series(new) or self._store.line_extents([new]):
            return False
        user_files.rename_about(self._data_dir, run, new)
        return self._added.rename(run, new, lambda moves: self._store.rename(run, new, {**paths, **moves}))

    def _restore(self, run: str) -> bool:
        found = self._tombstones.of(run)
        if found is not None and not found.purge_s:
            self._added.restore(run)
        return self._tail.restore(run)

    def _last_lines(self, run: str) -> list[str]:
        return [line.text for line in self._store.logs(LogQuery(run, limit=LAST_LINES)).lines]

    def _last_words(self, run: str) -> list[str]:
        known = self._store.run(run)
        lines = self._store.logs(LogQuery(run, limit=LAST_LINES)).lines
        rows = [(line.time_s, line.text) for line in lines]
        return words_at_the_end(rows, known.last_time_s if known else None, History(self._store, run).stepped_since)

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "host": self._host,
            "collectors": [health._asdict() for health in self._supervisor.health()],
            "profile": self._profile.status()._asdict(),
            "gpu": self._gpu.inventory().as_dict(),
        }

    def _watch(self, runs: list[str], until: float) -> None:
        """Pages show these runs until then: their stacks are delivered with little delay."""
        for run in runs[:MAX_WATCHED]:
            self._profile.watch(run, until)

    def _switch_profile(self, action: str) -> None:
        match action:
            case "on" | "off":
                self._profile.set_enabled(action == "on")
            case "retry":
                self._profile.retry()
            case _:
                raise ValueError(f"profile takes on, off or retry, not {action!r}")


if __name__ == "__main__":
    sys.exit(main())
