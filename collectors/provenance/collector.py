"""Look once at each process that is seen in a run: what ran, as an event and as the run's information where its files say nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import deepseek.log

from ..machine.proc import TICKS_PER_S, alive, boot_id
from ..machine.run_state import SEEN, RunProcess, whole
from ..records import Event, Record, SourceText
from . import DIFF, RAN

PACKAGES = (
    Path(__file__).parents[2],
    Path(deepseek.log.__file__).parents[2],
)  # the folders of `collectors` and `deepseek.log`
START = "import sys; sys.path += sys.argv[2:]; from collectors.provenance.probe import main; sys.exit(main())"
LOOK_S = 20.0  # of one look, which begins later on a busy machine; then it is ended
MAX_WAITING = 1000  # processes
MAX_BYTES = 8 << 20  # of one answer
ONE_BY_ONE = {"OMP_NUM_THREADS": "1"}

log = logging.getLogger("collectors")


class _ProbeTarget(NamedTuple):
    run: str
    process: RunProcess


class _Probe(NamedTuple):
    wanted: _ProbeTarget
    child: subprocess.Popen[bytes]
    answer: IO[bytes]
    until_s: float  # CLOCK_MONOTONIC


class ProvenanceCollector:
    """`noticed` may be called from any thread; `collect` and `close` belong to one."""

    name = "provenance"
    period_s = 1.0

    def __init__(
        self,
        learn: Callable[[str, dict[str, Any]], None],
        machine: Callable[[], Mapping[str, Any]],
        *,
        host: str,
        written: Iterable[Event] = (),
    ) -> None:
        """`learn` takes what is known of a run; `machine` says what is known of the GPUs; `written` are the events `process` and `ran` that are stored."""
        self._learn, self._machine, self._host = learn, machine, host
        self._waiting: deque[_ProbeTarget] = deque(maxlen=MAX_WAITING)
        self._look: _Probe | None = None
        self._left: list[subprocess.Popen[bytes]] = []  # were ended, but do not go
        self._ranks: dict[str, int] = {}  # by run: the rank that its information is from
        self._remember(written)

    def noticed(self, run: str, process: RunProcess) -> None:
        """A process was seen in a run for the first time."""
        self._waiting.append(_ProbeTarget(run, process))

    def collect(self) -> list[Record]:
        """What the look that has ended has found; then the next one begins."""
        records: list[Record] = []
        self._left = [child for child in self._left if child.poll() is None]
        look = self._look
        if look is not None and (look.child.poll() is not None or time.monotonic() > look.until_s):
            self._look = None
            records = self._found(look)
        while self._look is None and self._waiting:
            self._begin(self._waiting.popleft())
        return records

    def close(self) -> None:
        if self._look is not None:
            self._end(self._look)

    def _remember(self, written: Iterable[Event]) -> None:
        """Give the runs what is stored of them, and look at living processes that no look has reached."""
        open_: dict[tuple[str, object, object], Event] = {}
        for event in written:
            key = event.run, event.fields.get("pid"), event.fields.get("pid_start_ticks")
            if event.kind == SEEN:
                open_[key] = event
            else:
                open_.pop(key, None)
                self._inform(event.run, event.rank, event.fields.get("what"))
        for event in open_.values():
            pid, ticks = whole(event.fields.get("pid")), whole(event.fields.get("pid_start_ticks"))
            if pid is not None and ticks is not None and event.fields.get("boot_id") == boot_id() and alive(pid, ticks):
                self.noticed(event.run, RunProcess(pid, event.rank, ticks))

    def _inform(self, run: str, rank: int, what: object) -> None:
        """The lowest rank speaks for its run."""
        if isinstance(what, dict) and rank <= self._ranks.get(run, rank):
            self._ranks[run] = rank
            self._learn(run, what)

    def _begin(self, wanted: _ProbeTarget) -> None:
        if not alive(wanted.process.pid, wanted.process.start_ticks):
            return
        answer = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the look
        command = [sys.executable, "-S", "-P", "-c", START, str(wanted.process.pid), *map(str, PACKAGES)]
        environment = {**os.environ, **ONE_BY_ONE, "PYTHONPATH": ""}
        child = subprocess.Popen(
            command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._look = _Probe(wanted, child, answer, time.monotonic() + LOOK_S)

    def _found(self, look: _Probe) -> list[Record]:
        self._end(look)
        run, process = look.wanted
        what = answer_of(look)
        if what is None or not alive(process.pid, process.start_ticks):
            return []  # not certain that it was this process that was looked at
        diff = what.pop("diff", "")
        what = {**what, **self._machine()}
        self._inform(run, process.rank, what)
        name = {"pid": process.pid, "pid_start_ticks": process.start_ticks, "boot_id": boot_id(), "host": self._host}
        records: list[Record] = [Event(run, RAN, time.time(), process.rank, fields={**name, "what": what})]
        if isinstance(diff, str) and diff:
            since_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + process.start_ticks / TICKS_PER_S
            records.append(SourceText(run, DIFF, hashlib.sha256(diff.encode()).hexdigest(), diff, since_s))
        return records

    def _end(self, look: _Probe) -> None:
        """With all that it has started."""
        if look.child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(look.child.pid, signal.SIGKILL)
            try:
                look.child.wait(0.2)
            except subprocess.TimeoutExpired:  # a file system that hangs
                self._left.append(look.child)


def answer_of(look: _Probe) -> dict[str, Any] | None:
    """None where it has found nothing in its time."""
    with look.answer as file:
        file.seek(0)
        data = file.read(MAX_BYTES)
    try:
        what = json.loads(data)
    except ValueError:
        log.info(
            "what ran as process %d is not known: the look has ended with %s",
            look.wanted.process.pid,
            look.child.returncode,
        )
        return None
    return what if isinstance(what, dict) else None
