"""Write a run's scalars, events, text and samples where the dashboard reads them; standard library only, for any script.

    with RunLog("logs", config={"lr": 3e-4}) as log:
        for step in range(1000):
            with log.phase("data"):
                batch = next(batches)
            log.scalars(step, {"train/loss": loss, "train/lr": lr})

The calls only queue: one daemon thread turns what is queued into lines and appends them every 50 ms. Nothing is lost when the
script ends, raises or gets SIGTERM; `kill -9` loses the last 50 ms. How to use it: `docs/run-log.md`; what it writes:
`docs/log-format.md`.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import monotonic, sleep, strftime, time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import endings, ptracer, run_info
from .files import FILE, LogFile, event_line, excerpt, path_of, sample_line, scalars_line, text, text_line, warn
from .phases import LinePhases, Phase
from .run_info import note_of, tags_of
from .trace_requests import TraceFolder, named_in_info
from .tracing import StepWatch, Tracing

if TYPE_CHECKING:
    from .handover import Handover

FLUSH_S = 0.05
BACKLOG_S = 0.001  # the pause between slices while more is queued
SLICE_LINES = 64  # what is encoded in one go, about 0.5 ms: the training thread may be waiting for the GIL meanwhile
GIVE_UP_S = 5.0  # close() waits as long as the writer gets on, and this long when it does not
REASON_CHARS = 1000
LEVEL = re.compile(r"\s{0,8}(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)[:\s]")
_begun_in: set[int] = set()  # this process, once a run of it has begun: the next one did not begin with the process


class RunLog:
    """One process's part of a run. After a fork the child's copy is inert, as is a closed log: calls do nothing.

    `run` may name sub-folders; the name of an existing run continues that run. `name` names the text
    log, and a run without a name; default: the script's name. Rank and world size come from RANK and WORLD_SIZE.
    `unit` names a step: "request", "document". `allow_profiling` lets any process of the same user attach to this one and to
    what it forks, where the kernel would allow its ancestors only (ptrace_scope 1). `server` is the address of a dashboard on another
    host, which a thread hands all files over to as they grow; default: DEEPSEEK_SERVER. `token`, if that asks for one: DEEPSEEK_TOKEN.
    Raises OSError when the folder cannot be written, ValueError for a name that leaves it, or an address that is none.
    """

    def __init__(
        self,
        log_dir: str | Path,
        run: str | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        kind: str = "training",
        unit: str = "step",
        name: str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        allow_profiling: bool = False,
        server: str | None = None,
        token: str | None = None,
    ) -> None:
        if not unit.strip():
            raise ValueError("a unit of work needs a name, e.g. unit='request'")
        self.rank = run_info.env_int("RANK", 0) if rank is None else rank
        self.world_size = run_info.env_int("WORLD_SIZE", 1) if world_size is None else world_size
        name = name or _script_name()
        log_dir = Path(log_dir).absolute()  # files are opened later, and the script may change its folder
        self.folder = _make_folder(log_dir, run, name, self.world_size)
        self.run = self.folder.relative_to(log_dir).as_posix()
        suffix = f".rank{self.rank}" if self.rank else ""
        self._metrics = LogFile(self.folder / f"metrics{suffix}.jsonl")
        self._text = LogFile(self.folder / f"{name}{suffix}.log")
        self._events = LogFile(self.folder / f"events{suffix}.jsonl")
        self._samples = LogFile(self.folder / f"{FILE}{suffix}.jsonl")
        self._files = (
            self._metrics,
            self._text,
            self._samples,
            self._events,
        )  # in the order in which they are written: the end event comes last
        self._lines_queued: deque[
            tuple[float, object, Mapping[str, object]] | tuple[LogFile, str | Callable[[], str]]
        ] = deque()
        self._queue: deque[Any] | StepWatch = (
            self._lines_queued
        )  # where calls put lines: the same, but while steps are traced
        self._stop = self._closing = False
        self._lines = 0
        self._phases = LinePhases()
        self._handover = self._handed_to(server, token or os.environ.get("DEEPSEEK_TOKEN"))
        if allow_profiling:
            ptracer.allow_any()
        start = run_info.process()
        what = {
            "run": self.run,
            "kind": kind,
            "unit": unit,
            "world_size": self.world_size,
            "trace": named_in_info(self.run),
        }
        self._tracing = Tracing(TraceFolder(self.folder, self.run, self.rank), self._watch_steps, self._steps_traced)
        self._info = run_info.InfoFile(self.folder / "run.json", what, config or {}, start)
        if self.rank == 0:
            self._info.write()
        # written at once, because profilers wait for it, with both clocks at one moment
        place = run_info.place(self.rank, self.world_size)
        both = {} if os.getpid() in _begun_in else {"mono_s": round(monotonic(), 6)}
        _begun_in.add(os.getpid())
        self._events.add(event_line(time(), "start", {**place, **start, **both}))
        self._events.flush()
        self._writer = threading.Thread(target=self._write, name="run-log", daemon=True)
        self._writer.start()
        if self._handover:
            self._handover.start()
        endings.watch(self)

    def scalars(self, step: int, values: Mapping[str, object] | None = None, /, **named: object) -> None:
        """Log numbers of one step: Python's, numpy's, or tensors of one element; 0.25 us in an empty loop, about 8 us between other work (benchmarks/run_log.py).

        A device tensor is read (and waited for) in the writer thread, up to 50 ms later: do not change it in place, and while a
        CUDA graph is being captured pass numbers only.
        """
        if self._phases:
            named |= self._phases.take_s_for(step)
        self._queue.append((time(), step, {**values, **named} if values else named))

    def scalars_at(self, time_s: float, step: int, values: Mapping[str, object]) -> None:
        """Late numbers of a step that ended at `time_s` (Unix time); the mapping must not change afterwards."""
        self._queue.append((time_s, step, values))

    def phase(self, name: str) -> Phase:
        """`with log.phase("data"): ...`: the seconds spent in it go with the next `scalars` of its thread as `phase/data_s`; about 0.4 us.

        For one thread, not nested in itself: a phase that is entered again restarts.
        """
        return self._phases[name]

    def event(self, kind: str, **fields: object) -> None:
        """Log an event: `event("checkpoint", step=500, seconds=0.04, text="step 500")`; any JSON values.

        Its time is now, or `time_s=...`; with `seconds`, that is its end.
        """
        rank = {"rank": self.rank} if self.rank else {}
        self._queue.append((self._events, event_line(time(), kind, {**rank, **fields})))

    def alert(self, text: str, severity: str = "alert", **fields: object) -> None:
        """Have the dashboard say so to its receivers: `alert("accuracy below 0.5", step=500)`; a `note` is a mark on the axis only."""
        self.event("alert", text=_text_of(text), severity=severity, **fields)

    def sample(self, name: str, path_or_text: object, step: int | None = None, *, kind: str | None = None) -> None:
        """Log something to look at or to listen to: text, or the path of a file, an image, audio, a table; 3 to 8 us.

        A path is a `Path`, or a string of one line that ends like such a file: `out/7.png`. Write the file before: it is referred
        to, never read or copied, and one that changes later is no longer shown. `kind` is `text`, `table` or `histogram` where
        the text is the JSON of one (docs/log-format.md).
        """
        if not isinstance(path_or_text, (str, os.PathLike)):
            warn(f"sample {text(name)!r} is not logged: {type(path_or_text).__name__} is neither text nor a path")
            return
        try:
            path = path_of(path_or_text)
        except Exception as error:  # the script's folder is gone, or the path's own fault
            warn(f"sample {text(name)!r} is not logged: where its file lies is not known ({type(error).__name__})")
            return
        self._queue.append(
            (self._samples, functools.partial(sample_line, self.folder, time(), name, path_or_text, path, step, kind))
        )

    def add_config(self, config: Mapping[str, Any]) -> None:
        """What is known of the configuration later: `run.json` is written anew within 50 ms; only rank 0 does."""
        if self.rank == 0:
            self._info.add(config)

    def describe(self, *, tags: Iterable[object] | str | None = None, note: object = None) -> None:
        """Tags and a note of the run, which the Runs page shows until somebody edits them there; only rank 0 writes them.

        Up to 20 tags of 50 characters, and 4,000 characters of a note. Numbers become text; what else is no text is left out, and said on stderr.
        """
        if self.rank == 0:
            fields = {"tags": None if tags is None else tags_of(tags), "note": None if note is None else note_of(note)}
            self._info.describe({key: value for key, value in fields.items() if value is not None})

    def text(self, message: str, level: str = "") -> None:
        """A line of the text log; further lines of the message follow it, without a time stamp. Without a level it is the one that the
        message begins with, as in `WARNING: slow batch`, else INFO."""
        said = _text_of(message)
        begins = None if level else LEVEL.match(said)
        self._text_at(time(), said, level or (begins[1] if begins else "INFO"))

    def handler(self) -> logging.Handler:
        """`logging.getLogger().addHandler(log.handler())` sends the script's logging to the text log."""
        return _LogHandler(self)

    def close(self, status: str = "finished", reason: str = "") -> None:
        """Write the queue and the end event. It is called automatically when the script ends."""
        if not self._closing:
            self._tracing.close()
            self._closing = True  # a signal's handler may call this again from within: the second caller only waits
            self.event("end", status=status, reason=excerpt(_text_of(reason), REASON_CHARS))
        self._stop = True
        self._wait_for_writer()
        self._queue = self._lines_queued = deque(maxlen=0)
        if handover := self._handover:
            self._handover = None
            handover.close()
        endings.forget(self)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_after(error)

    def close_after(self, error: BaseException | None) -> None:
        """Close with the exception's message, and its traceback in the text log."""
        status, reason = endings.of(error)
        if error is not None and status == "crashed":
            trace = (
                [f"exit {error.code}\n"]
                if isinstance(error, SystemExit)
                else traceback.format_exception(type(error), error, error.__traceback__)
            )
            self.text("".join(trace), "ERROR")
        self.close(status, reason)

    def disown(self) -> None:
        """Ignore all calls: this process is a forked child, and the log is its parent's."""
        self._queue = self._lines_queued = deque(maxlen=0)
        self._handover = None
        self._tracing.disown()

    def _handed_to(self, server: str | None, token: str | None) -> Handover | None:
        address = server or os.environ.get("DEEPSEEK_SERVER")
        if not address:
            return None
        from .handover import Handover  # http.client takes 20 ms, for those only who ask

        names = [*(file.path.name for file in reversed(self._files)), *(["run.json"] if self.rank == 0 else [])]
        try:
            return Handover(address, token, self.run, self.folder, names)
        except ValueError as error:
            if server:
                raise
            warn(f"DEEPSEEK_SERVER: {error}; the run is logged into {self.folder} only")
            return None

    def _text_at(self, time_s: float, message: str, level: str) -> None:
        self._queue.append((self._text, text_line(time_s, level, _text_of(message))))

    def _watch_steps(self, logged: Callable[[object], None] | None) -> None:
        """Have what is logged pass by; None: no longer. Otherwise a call costs what it does without a trace."""
        self._queue = self._lines_queued if logged is None else StepWatch(self._lines_queued, logged)

    def _steps_traced(self, text: str, step: int, seconds: float) -> None:
        self.event("trace", step=step, seconds=round(seconds, 6), text=text)

    def _write(self) -> None:
        while not self._stop:
            self._write_slice()
            self._tracing.look()
            sleep(BACKLOG_S if self._lines_queued else FLUSH_S)
        while self._lines_queued:
            self._write_slice()
        self._info.flush()
        for file in self._files:
            file.close()

    def _write_slice(self) -> None:
        for _ in range(min(len(self._lines_queued), SLICE_LINES)):
            item = self._lines_queued.popleft()
            try:
                if len(item) == 2:
                    file, line = item
                    file.add(line if isinstance(line, str) else line())
                else:
                    self._metrics.add(scalars_line(*item))
            except BaseException as error:  # a value of the script's own; this thread has all others to write
                warn(f"a line is not logged: {type(error).__name__}")
            self._lines += 1
        for file in self._files:
            file.flush()
        self._info.flush()

    def _wait_for_writer(self) -> None:
        while self._writer.is_alive():
            lines = self._lines
            self._writer.join(GIVE_UP_S)
            if self._writer.is_alive() and self._lines == lines:
                warn(
                    f"gave up on {len(self._lines_queued)} lines of {self.folder}: the writer hangs on a device or a file system"
                )
                return


class _LogHandler(logging.Handler):
    def __init__(self, log: RunLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log._text_at(record.created, self.format(record), record.levelname)


def _text_of(message: object) -> str:
    """Whole, if it is text."""
    return message if isinstance(message, str) else "" if message is None else text(message)


def _script_name() -> str:
    """`python finetune.py -> finetune`, `python -m package -> package`, an interactive session -> python."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.resolve().parent.name if path.stem == "__main__" else path.stem
    return name if name not in ("", "-c", "-m", "-") else "python"


def _make_folder(log_dir: Path, run: str | None, name: str, world_size: int) -> Path:
    started_in = os.environ.get("DEEPSEEK_RUN_FOLDER", "")  # by `deepseek-dashboard run` or `deepseek-jobs`
    if run is None and started_in and log_dir.resolve() in Path(started_in).parents and Path(started_in).is_dir():
        return log_dir / Path(started_in).relative_to(log_dir.resolve())
    if run is None and world_size > 1:
        raise ValueError("several ranks write into one run: name it, e.g. RunLog(log_dir, 'baseline')")
    if run is not None:
        if not run or Path(run).is_absolute() or ".." in Path(run).parts:
            raise ValueError(f"the run's name {run!r} leaves the log folder: use a plain name like 'baseline'")
        (log_dir / run).mkdir(parents=True, exist_ok=True)
        return log_dir / run
    base = folder = log_dir / f"{name}-{strftime('%Y%m%d-%H%M%S')}"
    log_dir.mkdir(parents=True, exist_ok=True)
    others = 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            others += 1
            folder = base.with_name(f"{base.name}-{others}")
        else:
            return folder
