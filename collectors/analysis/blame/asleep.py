"""Lines at which a thread sleeps in a call into C, such as a read of a pipe: it has no core there because it wants none.

Such a call has no frame, and its line may be called anything. What tells it from work that found no core is the kernel's run queue,
which counts a thread only while it is ready to run.
"""

from __future__ import annotations

import numpy as np

from ..ledger.evidence.cores import CoreWaits
from ..stacks.joining import is_head, is_waiting
from ..stacks.traces import Bools, Floats, Ints, Traces
from ..stacks.trust import LineOf
from ..stacks.waits import BACKWARD, wait_of

MOSTLY = 0.5  # of a line's time, asleep if each second on a core cost as much of the run queue at every line
AT_LEAST = 0.25  # ... and even if all of the run queue that is left by lines with the GIL was its own
ON_CPU = 0.05  # of a core: with less of one a line sleeps, where the run queue does not say
OWN_THREADS = (
    "/torch/"  # a part of the path of a library that waits for threads of its own, which may want a core themselves
)


def asleep_in(window: Traces, gil_s: Floats, waits: CoreWaits | None, line_of: LineOf) -> Bools:
    """Which of the stacks end at such a line, by what the main thread did in the window.

    `gil_s`: of each span, seconds in which another thread of the process held the GIL. `waits`: the main thread's, where they are known.
    """
    keys, spans = _lines(window), window.stack
    count = 1 + int(keys.max(initial=-1))
    if not count or not len(spans):
        return np.zeros(len(window.stacks), bool)
    known = np.isfinite(window.running) & ~is_waiting(window, line_of)
    on_share = np.clip(np.nan_to_num(window.running), 0, 1)
    all_s, on_s = np.where(known, window.seconds, 0.0), np.where(known, on_share * window.seconds, 0.0)
    off_s = all_s - on_s
    free_s = np.where(window.gil == 1, 0.0, np.maximum(0.0, off_s - np.minimum(gil_s, off_s)))

    def by_line(seconds: Floats) -> Floats:
        return np.bincount(keys[spans], seconds, count).astype(np.float64)

    line_s, line_on_s, line_free_s = by_line(all_s), by_line(on_s), by_line(free_s)
    hardly_on = (line_on_s <= ON_CPU * line_s) & (line_free_s >= MOSTLY * line_s)
    joined, threaded = _marked(window, keys, count)
    if waits is None:
        found = hardly_on
    else:
        mine = ~joined[keys[spans]]
        queued_s = float(waits.during(window.start_s[mine], window.end_s[mine]).sum())
        each = queued_s / max(float(on_s[mine].sum()), 1e-9)
        left_s = max(0.0, queued_s - float(off_s[mine & (window.gil == 1)].sum()))
        beyond = (line_free_s - each * line_on_s > MOSTLY * line_s) & (line_free_s - left_s > AT_LEAST * line_s)
        found = np.where(joined, hardly_on, beyond & (hardly_on | ~threaded))
    found &= line_s > 0
    return found[keys] if len(keys) else np.zeros(0, bool)


def _lines(traces: Traces) -> Ints:
    """Of each stack a number for its last line, another one where it is a worker's."""
    heads = {i for i, frame in enumerate(traces.frames) if is_head(frame)}
    last = [2 * (stack[-1] + 1) + (not heads.isdisjoint(stack)) if stack else 0 for stack in traces.stacks]
    return np.array(last, np.int64)


def _marked(traces: Traces, keys: Ints, count: int) -> tuple[Bools, Bools]:
    """Which lines are another process's or thread's, and which a library's with threads of its own."""
    joined = np.arange(count) % 2 == 1
    of_library = [OWN_THREADS in frame.file or wait_of(frame) is BACKWARD for frame in traces.frames]
    threaded = np.repeat([False, *of_library], 2)[:count]
    return joined, np.r_[threaded, np.zeros(count - len(threaded), bool)]
