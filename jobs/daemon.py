"""The daemon of a user's queue: takes a turn (`Dispatcher`) on each event, and at most every ten seconds.

It may be killed at any time. What runs has a keeper of its own, and what it intended is in the queue's file: its successor looks at both.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from collectors.machine.proc import boot_id, start_ticks
from collectors.queue_events import CANCELLED, SUBMITTED, write_queue_event
from deepseek.log.redaction import without_secrets

from . import state_folder
from .dispatcher import Dispatcher
from .host import NOT_NAMED, CoreHost, GpuHost, JobsHost, remembered_from
from .lease import make_folder, owner_trouble
from .local_executor import LocalExecutor
from .processes import DAEMON
from .queue import SLOTS, FileError, JobQueue, cannot_keep
from .request import SLURM, request_from
from .request_socket import RequestSocket
from .run import make_run, remove_if_empty
from .settings import DaemonRules
from .slurm_driver import SlurmDriver
from .state_folder import LOCK, NoDaemon, QueueError, daemon_of

logger = logging.getLogger("deepseek-jobs")

CLEAN_S = 3600.0
MAX_S = 86400.0  # that the kernel is asked to wait at once: it has a limit
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class JobsDaemon:
    """Of one queue, and one user. Raises QueueError where it may not be."""

    def __init__(
        self,
        folder: Path,
        rules: DaemonRules,
        *,
        cores_a_slot: int | None = None,
        idle_limit_mib: float = 0.0,
        leases: Path,
    ) -> None:
        """`cores_a_slot` makes core slots also on a host with GPUs."""
        state_folder.make(folder)
        try:
            self._open(folder.resolve(), rules, cores_a_slot, idle_limit_mib, leases)
        except (OSError, FileError) as error:
            raise QueueError(cannot_keep(error)) from None

    def _open(
        self, folder: Path, rules: DaemonRules, cores_a_slot: int | None, idle_limit_mib: float, leases: Path
    ) -> None:
        os.environ[DAEMON] = str(folder)  # so that keepers are known to be no job's processes
        self._lock = DaemonLock(folder)
        self._folder, self._rules = folder, rules
        self._queue = JobQueue(folder / state_folder.QUEUE)
        host: JobsHost = CoreHost(cores_a_slot)
        lent: Path | None = None
        if cores_a_slot is None:
            make_folder(leases)
            if trouble := owner_trouble(leases):
                logger.warning(trouble)
            gpus = GpuHost(leases, idle_limit_mib, remembered=remembered_from(self._queue.kept(SLOTS)))
            if gpus.there:
                host, lent = gpus, leases
            else:
                gpus.close()
        self._host = host
        self._local = LocalExecutor(folder, lent)
        self._selector = selectors.DefaultSelector()
        self._dispatcher = Dispatcher(folder, self._queue, host, self._local, rules)
        self._slurm = SlurmDriver(folder, self._queue, rules.slurm, rules.look_s, self._local.forget, rules.stuck_s)
        self._requests = RequestSocket(folder, self._selector, self._answer)
        self._ended_pids: dict[int, int] = {}  # pid -> descriptor that is readable once it has ended
        self._stops, self._clean_due_s = False, 0.0
        self._failure = ""  # of the last turn, as it was logged

    def run(self) -> None:
        """Until SIGTERM, SIGINT or `stop`."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in END_SIGNALS:
            signal.signal(number, lambda *_: self._stop())
        self._selector.register(woken, selectors.EVENT_READ, lambda: self._signalled(woken))
        logger.info("looks after %s: %s", self._folder, ", ".join(slot.name for slot in self._dispatcher.seen.values()))
        if all(slot.why == NOT_NAMED for slot in self._dispatcher.seen.values()):
            logger.warning("jobs wait for the GPUs: %s", NOT_NAMED)
        turns = TurnSchedule(self._rules.look_s, time.monotonic())
        while not self._stops:
            ready = self._selector.select(min(MAX_S, max(0.0, turns.due_s - time.monotonic())))
            news = [self._heard(key.data) for key, _ in ready]  # of all, also after the first that brings news
            if any(news):
                turns.hear()
            if self._stops or time.monotonic() < turns.due_s:
                continue
            if why := self._removed():
                logger.error("%s", why)
                break
            began_s = time.monotonic()
            self._take_a_turn()
            by_s = min(self._slurm.due_s, self._dispatcher.due_s)
            turns.turned(began_s, time.monotonic(), unsettled=self._dispatcher.unsettled, by_s=by_s)
        logger.info("ends; jobs run on")

    def close(self) -> None:
        self._requests.close()
        for descriptor in self._ended_pids.values():
            os.close(descriptor)
        self._selector.close()
        self._host.close()
        self._queue.close()
        self._lock.close()

    def _removed(self) -> str:
        """What this daemon cannot be without, as a sentence; "" where all of it is there."""
        if not self._lock.is_there:
            return f"{self._folder} was removed, or its lock"
        if removed := self._queue.removed:
            return f"{removed} was removed, or replaced"
        return ""

    def _heard(self, call: Callable[[], bool]) -> bool:
        """Whether a turn is to follow. What fails costs itself, not the daemon."""
        try:
            return call()
        except Exception:
            logger.exception("an event was lost")
            return True

    def _take_a_turn(self) -> None:
        try:
            self._dispatcher.turn()
            self._slurm.turn(time.time())
            self._failure = ""
        except Exception as error:  # the next turn begins from what the file and the kernel say
            if repr(error) != self._failure:
                why = cannot_keep(error) if isinstance(error, FileError) else repr(error)
                logger.warning("a turn failed and is tried again: %s", why, exc_info=True)
            self._failure = repr(error)
            self._dispatcher.unsettled = True
        self._wait_for(self._dispatcher.pids)
        self._clean()

    def _clean(self) -> None:
        if time.monotonic() < self._clean_due_s:
            return
        self._clean_due_s = time.monotonic() + CLEAN_S
        try:
            self._local.clean({(attempt.job, attempt.number) for attempt in self._queue.intended()}, time.time())
        except (OSError, FileError) as error:
            logger.warning("cannot remove what attempts have left: %s", error)

    def _wait_for(self, pids: set[int]) -> None:
        for pid in self._ended_pids.keys() - pids:
            self._forget(pid)
        for pid in pids - self._ended_pids.keys():
            if start_ticks(pid) is None:  # how it ended is about to be written
                continue
            with suppress(OSError):  # it has ended meanwhile
                descriptor = self._ended_pids[pid] = os.pidfd_open(pid)
                self._selector.register(descriptor, selectors.EVENT_READ, lambda pid=pid: self._has_ended(pid))
        if pids - self._ended_pids.keys():
            self._dispatcher.unsettled = True

    def _has_ended(self, pid: int) -> bool:
        self._forget(pid)
        return True

    def _forget(self, pid: int) -> None:
        descriptor = self._ended_pids.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)

    def _signalled(self, woken: int) -> bool:
        """A child has ended, or we are to end."""
        with suppress(BlockingIOError):
            os.read(woken, 4096)
        self._local.reap()
        return True

    def _stop(self) -> None:
        self._stops = True

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Raises QueueError."""
        what, now_s = asked.get("do"), time.time()
        if what != "stop" and (why := self._removed()):
            logger.error("%s", why)
            self._stop()
            raise NoDaemon(f"{why} while the daemon ran, so it ends; ask again, and a new one begins")
        if what == "submit":
            return self._submit(asked.get("request"), now_s)
        if what == "about":
            return {"pid": os.getpid()}
        if what == "stop":
            self._stop()
            return {"pid": os.getpid()}
        changes: dict[str, Callable[[int, float], object]] = {
            "cancel": self._cancel, "hold": self._queue.hold, "release": self._queue.release,
        }  # fmt: skip
        job = asked.get("job")
        if not isinstance(what, str) or what not in changes:
            raise QueueError(
                f"the daemon cannot {what!r:.100}; it is of another version: end it with deepseek-jobs stop, and start it again"
            )
        if not isinstance(job, int) or isinstance(job, bool):
            raise QueueError(f"the number of a job is a whole number, not {job!r:.100}")
        return {"ran": bool(changes[what](job, now_s))}

    def _submit(self, fields: object, now_s: float) -> dict[str, Any]:
        request = request_from(fields if isinstance(fields, dict) else {})
        (self._slurm if request.place == SLURM else self._dispatcher).require_possible(request)
        made = list[str]()

        def make(number: int) -> str:
            made.append(make_run(request, number))
            return made[-1]

        try:
            job = self._queue.submit(request, now_s, make)
        except Exception:
            for name in filter(None, made):
                remove_if_empty(Path(request.log_dir) / name)
            raise
        run = self._queue.run_of(job)
        write_queue_event(run, SUBMITTED, now_s, f"queued as job {job}", job=job)
        logger.info("job %d is queued: %s", job, " ".join(without_secrets(request.argv))[:200])
        return {"job": job, "run": str(run.relative_to(request.log_dir)) if run else ""}

    def _cancel(self, job: int, now_s: float) -> bool:
        ran = self._queue.cancel(job, now_s)
        if not ran and (run := self._queue.run_of(job)):
            write_queue_event(run, CANCELLED, now_s, f"job {job} was cancelled before it started", job=job)
            remove_if_empty(run)
        return ran


# One daemon a queue: a lock that the kernel gives back when the process ends.


class DaemonLock:
    """Held from construction on. Raises QueueError where another daemon has it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            pid = daemon_of(folder)
            raise QueueError(
                f"a daemon runs already{f' (pid {pid})' if pid else ''}; end it with: deepseek-jobs stop"
            ) from None
        os.ftruncate(self._descriptor, 0)
        name = {"boot_id": boot_id(), "pid": os.getpid(), "ticks": start_ticks(os.getpid())}
        os.pwrite(self._descriptor, json.dumps(name).encode(), 0)

    @property
    def is_there(self) -> bool:
        """Whether it can keep others away: not where its file, or the folder, was removed."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


# When the daemon of a queue takes its next turn.

BETWEEN_S = 0.3  # between two turns, at least, where there is more news
SETTLE_S = 0.1  # until the next look, where something is about to change
SLOW_S, LONG_S = 1.0, 15.0  # the same, where that has not changed for so long


class TurnSchedule:
    """Runs immediately, then every `look_s`; sooner after an event or while state is settling. Monotonic times, in seconds."""

    def __init__(self, look_s: float, now_s: float) -> None:
        self._look_s, self._settled_s = look_s, now_s
        self._turned_s = self.due_s = 0.0

    def hear(self) -> None:
        """There is news: many submissions at once make one turn."""
        self.due_s = min(self.due_s, self._turned_s + BETWEEN_S)

    def turned(self, began_s: float, now_s: float, *, unsettled: bool, by_s: float) -> None:
        """A turn that began at `began_s` is over, and what it looked after wants the next one by `by_s`."""
        self._turned_s = began_s
        if not unsettled:
            self._settled_s = now_s
        soon_s = SETTLE_S if now_s - self._settled_s < LONG_S else SLOW_S
        self.due_s = min(now_s + (min(soon_s, self._look_s) if unsettled else self._look_s), by_s)
