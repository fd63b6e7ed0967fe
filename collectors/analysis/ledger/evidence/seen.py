"""A main thread's spans as the samples that the rules for a GPU go by."""

from __future__ import annotations

import numpy as np

from ...stacks.traces import Bools, Floats, Traces
from .. import rules
from ..idle.moments import FREE, LAUNCHES, WAITS, Moments, Spans, looks
from ..kinds import NUMBER, Charged, TimeKind
from .stands import Stand, statements_of

ON_CPU = 0.3  # share of a core with which a call into C is taken for launching
NEARLY = 0.9  # samples come a little early or late
LAUNCHING: tuple[TimeKind, ...] = ("launch", "validation")


def moments_of(main: Traces, stands: list[Stand], logged: np.ndarray, gil_s: Floats, hz: float) -> Moments:
    """`logged`: number of the kind that the step log gives for each span, -1 where it gives none.

    A call into C at an own line, without the GIL and on a core, is taken for launching: a wait for the GPU that is not recognised
    looks the same, and taking that for own Python is the costlier mistake.
    """
    order = np.argsort(main.start_s, kind="stable")
    main, logged, gil_s = main.take(order), logged[order], gil_s[order]
    running = np.nan_to_num(main.running, nan=0.0)
    without_gil = gil_s > main.seconds / 2
    into_c = (main.gil == 0) & (running > ON_CPU) & ~without_gil
    kinds = np.array([NUMBER[stand.kind] for stand in stands], np.int64)[main.stack]
    is_python = (kinds == NUMBER["python"]) & (np.array([stand.how == "runs" for stand in stands], bool)[main.stack])
    kinds = np.where(is_python & into_c, NUMBER["launch"], kinds)
    kinds = np.where(is_python & without_gil, NUMBER["gil"], kinds)
    state = np.array([_state(stand) for stand in stands], np.int64)[main.stack]
    state = np.where(is_python & into_c, LAUNCHES, state)
    other = (logged >= 0) & (kinds != NUMBER["sync"]) & (kinds != NUMBER["compile"])
    kinds = np.where(other, logged, kinds)
    state = np.where(other & (state == LAUNCHES) & (logged != NUMBER["validation"]), FREE, state)
    places, place = _places(main, stands, kinds)
    period_s = 1 / hz if hz > 0 else 0.01
    span, time_s, seconds = looks(Spans(main.start_s, main.end_s, main.stack), period_s)
    return Moments(
        time_s=time_s,
        seconds=seconds,
        state=state[span],
        place=place[span],
        position=main.stack[span],
        statement=statements_of(main)[main.stack][span],
        opaque=(np.array([stand.opaque for stand in stands], bool) | _usually_stand(main, period_s))[main.stack][span],
        places=places,
        period_s=period_s,
    )


def _usually_stand(main: Traces, period_s: float) -> Bools:
    """Of each stack, whether it mostly stands for long: a loop over layers looks alike throughout, and launches all the while."""
    new = np.r_[True, (main.stack[1:] != main.stack[:-1])] if len(main.stack) else np.zeros(0, bool)
    stretch = np.cumsum(new) - 1
    long = np.bincount(stretch, main.seconds)[stretch] >= rules.STANDS.value * period_s * NEARLY
    count = len(main.stacks)
    long_s = np.bincount(main.stack[long], main.seconds[long], count)
    usually: Bools = long_s > np.bincount(main.stack, main.seconds, count) / 2
    return usually


def _state(stand: Stand) -> int:
    if stand.how == "waits for the GPU":
        return WAITS
    return LAUNCHES if stand.how == "computes" and stand.kind in LAUNCHING else FREE


def _places(main: Traces, stands: list[Stand], kinds: np.ndarray) -> tuple[list[Charged], np.ndarray]:
    width = len(NUMBER)
    by_number = {number: kind for kind, number in NUMBER.items()}
    keys, which = np.unique(main.stack * width + kinds, return_inverse=True)
    numbers: dict[Charged, int] = {}
    found = [
        numbers.setdefault(stands[key // width].place._replace(kind=by_number[key % width]), len(numbers))
        for key in keys.tolist()
    ]
    return list(numbers), np.array(found, np.int64)[which] if len(found) else np.zeros(0, np.int64)
