"""Traces on demand: the writer thread finds the request, the training thread begins and ends at steps.

While nothing is asked for, the training thread meets none of this. From a request to the end of its trace the log's queue is a
`StepWatch`, which passes lines on and notices where a step ends: at the first line of a later step.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from .files import warn
from .trace_requests import TraceFolder

if TYPE_CHECKING:
    from .step_trace import StepTrace

LOOK_S = 1.0  # how often a request is looked for
WRITING_S = 10.0  # how long the end of a script waits for the answer


class StepWatch:
    """A log's queue while a trace is wanted."""

    def __init__(self, queue: Any, logged: Callable[[object], None]) -> None:
        self._queue, self._logged = queue, logged

    def append(self, item: Any) -> None:
        self._queue.append(item)
        if len(item) == 3:  # time, step, values
            self._logged(item[1])


class Tracing:
    """Whatever fails here costs the trace, never the training. One trace at a time."""

    def __init__(
        self,
        folder: TraceFolder,
        watch: Callable[[Callable[[object], None] | None], None],
        report: Callable[[str, int, float], None],
    ) -> None:
        """`watch` has the log pass the steps that it logs to a function, or to none; `report` logs a text, a step and seconds."""
        self._folder, self._watch, self._report = folder, watch, report
        self._next_look_s = 0.0
        self._trace: StepTrace | None = None
        self._writing: threading.Thread | None = None
        self._closed = False

    def look(self) -> None:
        """For the writer thread: find a request, and end a trace whose steps do not come."""
        now_s = monotonic()
        if now_s < self._next_look_s:
            return
        self._next_look_s = now_s + LOOK_S
        try:
            if self._trace is not None:
                self._trace.look(now_s)
            elif self._writing is None or not self._writing.is_alive():
                self._find()
        except Exception as error:
            warn(f"no steps can be traced ({type(error).__name__}: {error})")

    def close(self) -> None:
        """The log ends, and a trace with it. For the thread that trains."""
        self._closed = True
        if self._trace is not None:
            self._trace.abandon("the run ended before the steps that were to be traced")
        if self._writing is not None:
            self._writing.join(WRITING_S)

    def disown(self) -> None:
        """This process is a forked child."""
        if self._trace is not None:
            from .step_trace import leave_in_child

            self._trace = None
            leave_in_child()

    def _find(self) -> None:
        request = self._folder.look()
        if request is None or self._closed:
            return
        from .step_trace import StepTrace  # for those only who ask: it loads ctypes

        self._trace = StepTrace(request, self._ended)
        self._watch(self._trace.step_logged)

    def _ended(self, trace: StepTrace) -> None:
        """In whichever thread it ended; a thread of its own does the rest."""
        self._watch(None)
        self._trace = None
        if not trace.error:
            self._report(trace.title, trace.last_step, trace.to_s - trace.from_s)
        with suppress(RuntimeError):  # the interpreter is ending
            self._writing = threading.Thread(target=self._write, args=(trace,), name="run-log-trace", daemon=True)
            self._writing.start()

    def _write(self, trace: StepTrace) -> None:
        try:
            data = json.dumps(trace.answer(), separators=(",", ":")).encode(errors="backslashreplace")
            self._folder.answer(trace.request, data)
        except Exception as error:
            warn(f"the trace {trace.request.id} is lost ({type(error).__name__}: {error})")
