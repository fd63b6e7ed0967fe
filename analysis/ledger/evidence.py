"""Evidence of what a thread is doing: frames, phases of the step log, dumps and joined stacks, one row a sign."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Bools, Floats, Ints
from collectors.records import Frame

from .. import step_log
from ..history import History
from ..stacks.frames import are_own, has_name, library_name, package_path
from ..stacks.spans import Interval, TrustedSpans, overlaps, union
from ..stacks.threads import IDLE
from ..stacks.trust import LineOf
from ..stacks.wait_joins import is_head, waits_of_stacks
from ..stacks.waits import OF_IMPORTS, Joined, StackWait, reads_gpu, reason_of
from ..step_log import PHASE, StepLog
from . import kinds as rules
from .kinds import NUMBER, ChargeTarget, TimeKind
from .shares import Account


class StackPattern(NamedTuple):
    kind: TimeKind
    function: str  # a pattern for the function's name, without its class
    package: str = (
        ""  # how the path begins in the folder of libraries; "" where the name says so, in the user's own code alone
    )


SIGNS: Final = (  # the first kind that any frame of a stack shows
    StackPattern("checkpoint", "", "torch/distributed/checkpoint/"),
    StackPattern("checkpoint", r"^(save|save_file|_save|_legacy_save)$", "safetensors/"),
    StackPattern("checkpoint", r"^(save|write|store)_(checkpoint|ckpt|model|state)|^_?checkpoint$"),
    StackPattern(
        "validation",
        r"^(run_|do_)?(eval|evaluate|evaluation|validate|validation)(_\w+)?$|^(test|eval|val)_(epoch|loop)$",
    ),
    StackPattern("data", "", "torch/utils/data/"),
    StackPattern("data", r"^__getitems?__$|^collate(_\w+)?$|(^|_)(decode|augment|tokenize)(_|$)"),
    StackPattern(
        "data", r"^(get|next|load|read|fetch|make|pad)_(next_)?(batch|data|sample|image|item|shard|example)s?$"
    ),
    StackPattern("log", "", "logging/__init__.py"),
    StackPattern("log", "", "torch/utils/tensorboard/"),
    StackPattern("log", "", "wandb/"),
    StackPattern("log", r"^(write_|flush_)?logs?$|^log_(?!prob|softmax|likelihood|sum)\w+$"),
)
PHASES: Final[dict[str, TimeKind]] = {  # names that RunLog, the adapters and the trainer use
    **dict.fromkeys(("data", "load", "batch", "dataloader", "fetch"), "data"),
    **dict.fromkeys(("log", "logging", "report"), "log"),
    **dict.fromkeys(("checkpoint", "save"), "checkpoint"),
    **dict.fromkeys(("validation", "val", "eval", "evaluate", "evaluation", "test"), "validation"),
}
EVENTS: Final[dict[str, TimeKind]] = {
    "checkpoint": "checkpoint",
    "validation": "validation",
    "compile": "compile",
    "recompile": "compile",
}
TORCH: Final = "torch/"
BACKWARD: Final = "_engine_run_backward"

_REASONS: Final[dict[str, TimeKind]] = {"checkpoint": "checkpoint", "recompiling": "compile"}
_PATTERNS: Final = [(sign, re.compile(sign.function)) for sign in SIGNS]


def sign_of(frames: list[Frame], own: list[bool]) -> TimeKind | None:
    """What a stack is at, from the root to the leaf; None where no frame shows it.

    A library that is being imported shows nothing: what runs then is Python, also where it is a compiler's or a loader's.
    """
    shown = list(zip(frames, own, strict=True))[: import_in(frames, own)]
    for frame, _ in shown:
        if kind := _REASONS.get(reason_of(frame._replace(file=f"/{package_path(frame.file)}"))):
            return kind
    for sign, pattern in _PATTERNS:
        for frame, is_own in shown:
            is_there = package_path(frame.file).startswith(sign.package) and not is_own if sign.package else is_own
            if is_there and (not sign.function or pattern.search(frame.name.rpartition(".")[2])):
                return sign.kind
    return None


def import_in(frames: list[Frame], own: list[bool]) -> int:
    """Place of the first import of a library; their number where there is none. The user's own module may do its work while it is imported."""
    for place, frame in enumerate(frames):
        if OF_IMPORTS.search(frame.file):
            imported = next((i for i in range(place, len(frames)) if not OF_IMPORTS.search(frames[i].file)), None)
            if imported is None or not own[imported]:
                return place
    return len(frames)


# What each stack of a main thread is: what it is at, at which line of the user's own code, and how it stands there.

How: TypeAlias = Literal["computes", "runs", "waits", "waits for the GPU"]
"""In a library that computes; own Python, or a call into C; for something that is no device; for the device."""

OF_WAIT: dict[str, TimeKind] = {"workers": "data", "lock": "lock", "ranks": "collective"}
LOOP_SHARE = 0.9  # of the samples that any function has: the loop is on nearly all stacks


class StackState(NamedTuple):
    kind: TimeKind  # python where nothing else is known
    how: How
    frame: Frame | None  # the deepest of the user's own code
    leaf: str  # what it called, where the thread stands in another's code
    opaque: bool  # in a backward pass, which has one line
    joined: Joined = ""  # whom it waits for

    @property
    def place(self) -> ChargeTarget:
        return ChargeTarget(self.kind, self.frame, self.leaf, self.joined)


def stands_of(spans: TrustedSpans, own_folder: str, line_of: LineOf) -> list[StackState]:
    """One a stack."""
    own = are_own(spans.frames, own_folder)
    waits = waits_of_stacks(spans, line_of)
    return [_stand(spans, stack, own, wait, line_of) for stack, wait in zip(spans.stacks, waits, strict=True)]


def _stand(
    spans: TrustedSpans, stack: tuple[int, ...], own: list[bool], wait: StackWait | None, line_of: LineOf
) -> StackState:
    frames, mine = [spans.frames[i] for i in stack], [own[i] for i in stack]
    if frames == [IDLE]:
        return StackState("idle", "waits", None, "", False)
    sign = sign_of(frames, mine)
    deepest = max((i for i, is_own in enumerate(mine) if is_own), default=-1)
    frame = frames[deepest] if deepest >= 0 else None
    below = [other for other in frames[deepest + 1 :] if has_name(other)]
    leaf = library_name(below[-1]) if below and frame is not None else library_name(frames[-1]) if frames else ""
    backward = any(other.name.endswith(BACKWARD) for other in frames)
    at_line = deepest == len(frames) - 1 and frame is not None
    if backward and sign in (None, "validation"):
        return StackState(sign or "launch", "computes", frame, "backward", True)
    if wait is not None:
        for_gpu = wait.wait.joined == "gpu"
        kind: TimeKind = sign or ("sync" if for_gpu else OF_WAIT.get(wait.wait.joined, "wait"))
        return StackState(kind, "waits for the GPU" if for_gpu else "waits", frame, leaf, False, wait.wait.joined)
    if at_line and frame is not None and reads_gpu(line_of(frame.file, frame.line)):
        return StackState(sign or "sync", "waits for the GPU", frame, leaf, False)
    imports = import_in(frames, mine) < len(frames)
    if frames and not imports and package_path(frames[-1].file).startswith(TORCH) and sign in (None, "validation"):
        return StackState(sign or "launch", "computes", frame, leaf, False)
    return StackState(sign or "python", "runs", frame, leaf, False)


def statements_of(spans: TrustedSpans) -> Ints:
    """Of each stack, the statement of the training loop in which it stands: the line of the deepest function on nearly all stacks."""
    seconds = np.bincount(spans.stack, spans.seconds, len(spans.stacks)) if len(spans.stacks) else np.zeros(0)
    total: dict[tuple[str, str], float] = {}
    depth: dict[tuple[str, str], int] = {}
    for stack, its_s in zip(spans.stacks, seconds.tolist(), strict=True):
        if its_s:
            for i, function in enumerate([spans.frames[frame][:2] for frame in stack]):
                total[function] = total.get(function, 0.0) + its_s
                depth[function] = max(depth.get(function, 0), i)
    least_s = LOOP_SHARE * max(total.values(), default=0.0)
    loop = max(
        (function for function in total if total[function] >= least_s),
        key=lambda function: depth[function],
        default=None,
    )
    lines = [next((spans.frames[i].line for i in stack if spans.frames[i][:2] == loop), -1) for stack in spans.stacks]
    _, statement = np.unique(np.array(lines, np.int64), return_inverse=True)
    return statement.astype(np.int64)


# What the workers, threads, processes and ranks did for which the main thread waited: the wait is charged to their lines.

MAX_LINES = 8  # of a wait
JOINED: Final[tuple[Joined, ...]] = ("workers", "child", "threads", "lock", "ranks")
WAITS: Final[tuple[TimeKind, ...]] = ("data", "wait", "lock", "collective", "log", "checkpoint", "validation")


class _Line(NamedTuple):
    frame: Frame
    leaf: str
    kind: TimeKind | None  # that the stack below the wait shows


class BlockingLines:
    """By the line that waited: how long at which lines the others stood meanwhile."""

    def __init__(self, joined: TrustedSpans, own_folder: str) -> None:
        """`joined` is the main thread's time, joined at its waits."""
        own = are_own(joined.frames, own_folder)
        head = [is_head(frame) for frame in joined.frames]
        seconds = np.bincount(joined.stack, joined.seconds, len(joined.stacks)) if len(joined.stacks) else np.zeros(0)
        self._at: dict[Frame, dict[_Line, float]] = {}
        for stack, its_s in zip(joined.stacks, seconds.tolist(), strict=True):
            heads = [place for place, frame in enumerate(stack) if head[frame]] if its_s else []
            above = [frame for frame in stack[: heads[0]] if own[frame]] if heads else []
            if above:
                at = self._at.setdefault(joined.frames[above[-1]], {})
                if (line := _line(joined, stack, heads[-1] + 1, own)) is not None:
                    at[line] = at.get(line, 0.0) + its_s

    def kind_of(self, stand: StackState) -> TimeKind:
        """Of a wait for others: what most of the time below it shows, else what is known of the wait itself."""
        lines = self._at.get(stand.frame, {}) if stand.frame is not None else {}
        shown: dict[TimeKind | None, float] = {}
        for line, its_s in lines.items():
            shown[line.kind] = shown.get(line.kind, 0.0) + its_s
        most = max(shown, key=lambda kind: shown[kind], default=None)
        return most if most is not None and stand.how == "waits" and stand.kind == "wait" else stand.kind

    def lines(self, waiting: Frame) -> dict[_Line, float]:
        """The dearest few."""
        found = self._at.get(waiting, {})
        return dict(sorted(found.items(), key=lambda pair: -pair[1])[:MAX_LINES])


def charged(account: Account, below: BlockingLines) -> Account:
    """With the seconds at waits shared out to the others' lines, as these share the time waited."""
    given: dict[ChargeTarget, float] = {}
    samples = dict(account.samples)
    for place, seconds in account.given.items():
        lines = below.lines(place.frame) if place.kind in WAITS and place.frame is not None else {}
        total_s = sum(lines.values())
        if not total_s:
            given[place] = given.get(place, 0.0) + seconds
            continue
        for line, its_s in lines.items():
            own = ChargeTarget(place.kind, line.frame, line.leaf, place.joined)
            given[own] = given.get(own, 0.0) + seconds * its_s / total_s
            samples[own] = samples.get(own, 0.0) + account.samples.get(place, 0.0) * its_s / total_s
    return account._replace(given=given, samples=samples)


def _line(joined: TrustedSpans, stack: tuple[int, ...], begin: int, own: list[bool]) -> _Line | None:
    below = [place for place in range(begin, len(stack)) if own[stack[place]]]
    if not below:
        return None
    frames = [joined.frames[frame] for frame in stack[begin:]]
    called = [joined.frames[frame] for frame in stack[below[-1] + 1 :] if has_name(joined.frames[frame])]
    kind = sign_of(frames, [own[frame] for frame in stack[begin:]])
    return _Line(joined.frames[stack[below[-1]]], library_name(called[-1]) if called else "", kind)


# What a main thread did, sample by sample, in the terms that the ledger's rules need.

FREE, LAUNCHES, WAITS_FOR_DEVICE = 0, 1, 2  # launches nothing and waits for no GPU; hands work to the GPU; waits for it


class ThreadSamples(NamedTuple):
    """One entry a sample, in order of time; each stands for the time up to the next."""

    time_s: Floats
    seconds: Floats
    state: Ints  # FREE, LAUNCHES or WAITS
    place: Ints  # index into places
    position: Ints  # equal where all lines of the stack are
    statement: Ints  # of the training loop, in which it stands
    opaque: Bools  # the stack looks alike however much goes on, as in a backward pass
    places: list[ChargeTarget]
    period_s: float

    @property
    def kind(self) -> Ints:
        """Number of each sample's kind."""
        return kinds_of(self.places)[self.place]

    def take(self, samples: Ints | Bools | slice) -> ThreadSamples:
        return self._replace(
            time_s=self.time_s[samples],
            seconds=self.seconds[samples],
            state=self.state[samples],
            place=self.place[samples],
            position=self.position[samples],
            statement=self.statement[samples],
            opaque=self.opaque[samples],
        )


def kinds_of(places: list[ChargeTarget]) -> Ints:
    return np.array([NUMBER[place.kind] for place in places], np.int64)


class SampledSpans(NamedTuple):
    """The same where equal neighbours are one entry, as the store keeps them."""

    start_s: Floats
    end_s: Floats
    stack: Ints


def looks(spans: SampledSpans, period_s: float) -> tuple[Ints, Floats, Floats]:
    """Of each sample in spans: its span, its time and its seconds. A span of 35 ms at 100 Hz is four samples of 8.75 ms."""
    length = spans.end_s - spans.start_s
    count = np.maximum(1, np.rint(length / period_s)).astype(np.int64)
    span = np.repeat(np.arange(len(length)), count)
    first = np.cumsum(count) - count
    seconds = (length / count)[span]
    return span, spans.start_s[span] + (np.arange(len(span)) - first[span] + 0.5) * seconds, seconds


def standing(moments: ThreadSamples, samples: float) -> Bools:
    """Whether a launching line stands still for so many samples: it launches nothing meanwhile."""
    if not len(moments.time_s):
        return np.zeros(0, bool)
    new = np.r_[True, moments.position[1:] != moments.position[:-1]]
    stretch = np.cumsum(new) - 1
    long: Bools = np.bincount(stretch)[stretch] >= samples
    still: Bools = (moments.state == LAUNCHES) & long & ~moments.opaque
    return still


# A main thread's spans as the samples that the rules for a GPU go by.

ON_CPU = 0.3  # share of a core with which a call into C is taken for launching
NEARLY = 0.9  # samples come a little early or late
LAUNCHING: tuple[TimeKind, ...] = ("launch", "validation")


def moments_of(
    main: TrustedSpans, stands: list[StackState], logged: np.ndarray, gil_s: Floats, hz: float
) -> ThreadSamples:
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
    span, time_s, seconds = looks(SampledSpans(main.start_s, main.end_s, main.stack), period_s)
    return ThreadSamples(
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


def _usually_stand(main: TrustedSpans, period_s: float) -> Bools:
    """Of each stack, whether it mostly stands for long: a loop over layers looks alike throughout, and launches all the while."""
    new = np.r_[True, (main.stack[1:] != main.stack[:-1])] if len(main.stack) else np.zeros(0, bool)
    stretch = np.cumsum(new) - 1
    long = np.bincount(stretch, main.seconds)[stretch] >= rules.STANDS.value * period_s * NEARLY
    count = len(main.stacks)
    long_s = np.bincount(main.stack[long], main.seconds[long], count)
    usually: Bools = long_s > np.bincount(main.stack, main.seconds, count) / 2
    return usually


def _state(stand: StackState) -> int:
    if stand.how == "waits for the GPU":
        return WAITS_FOR_DEVICE
    return LAUNCHES if stand.how == "computes" and stand.kind in LAUNCHING else FREE


def _places(main: TrustedSpans, stands: list[StackState], kinds: np.ndarray) -> tuple[list[ChargeTarget], np.ndarray]:
    width = len(NUMBER)
    by_number = {number: kind for kind, number in NUMBER.items()}
    keys, which = np.unique(main.stack * width + kinds, return_inverse=True)
    numbers: dict[ChargeTarget, int] = {}
    found = [
        numbers.setdefault(stands[key // width].place._replace(kind=by_number[key % width]), len(numbers))
        for key in keys.tolist()
    ]
    return list(numbers), np.array(found, np.int64)[which] if len(found) else np.zeros(0, np.int64)


# What a run that logs its steps adds: how long each waited for data beyond its lead, and its garbage collections.


class StepLeads(NamedTuple):
    """One entry a step, in order of their ends. What stood between two steps, such as a checkpoint, is no step."""

    end_s: Floats
    data_s: Floats  # how long its data took, at its beginning
    lead_s: Floats  # by how much the host was ahead of the device at its end; NaN where unknown
    whole: Bools  # False for what is no step

    def starved(self) -> tuple[Floats, Floats]:
        """When the device surely had nothing to do for want of data: from the end of the lead to the end of the data phase."""
        begin, before = self.end_s[:-1], self.lead_s[:-1]
        chosen = self.whole[1:] & np.isfinite(before)
        starts, ends = begin + before, begin + self.data_s[1:]
        chosen &= ends > starts
        return starts[chosen], ends[chosen]

    def ahead(self, bounds: Floats, least_share: float) -> Floats:
        """Between each two bounds: of the steps that end there, how many end with the host ahead by this share of a step."""
        took = np.diff(self.end_s, prepend=np.nan)
        known = self.whole & np.isfinite(took) & np.isfinite(self.lead_s)
        which = np.searchsorted(bounds, self.end_s[known], "right") - 1
        inside = (which >= 0) & (which < len(bounds) - 1)
        count = np.bincount(which[inside], minlength=len(bounds) - 1)
        ahead = self.lead_s[known] > least_share * took[known]
        shares: Floats = np.bincount(which[inside], ahead[inside], len(bounds) - 1) / np.maximum(count, 1)
        return shares


def overlapping_s(starts: Floats, ends: Floats, bounds: Floats) -> Floats:
    """Seconds of intervals between each two neighbouring bounds."""
    i, j = overlaps(starts, ends, bounds[:-1], bounds[1:])
    seconds = np.minimum(ends[i], bounds[1:][j]) - np.maximum(starts[i], bounds[:-1][j])
    found: Floats = np.bincount(j, seconds, len(bounds) - 1).astype(np.float64)
    return found


def during(time_s: Floats, ranges: list[Interval]) -> Bools:
    """Which moments lie in these ranges, which neither overlap nor stand out of order."""
    bounds = np.asarray(ranges, np.float64).reshape(-1)
    inside: Bools = np.searchsorted(bounds, time_s, "right") % 2 == 1
    return inside


# What the step log and the events of a run say of each moment, in the ledger's kinds.

AROUND_S = 120.0  # a step, or what stands between two, ends within this of its beginning
CORRECTED = (
    0.5,
    2.0,
)  # by which a step log corrects what samples say of a phase; beyond it the two speak of different things
SEEN_S = 1.0  # of a phase in samples, from which on they are compared
OTHER_PHASE: Final = len(NUMBER)
PHASE_BLOCK = re.compile(r"""(?:async\s+)?with\b.*\bphase\(\s*(?:name\s*=\s*)?["']([^"']{1,100})["']""")
BLOCK_ENDS = re.compile(r"(?:async\s+)?def\b|class\b")  # what stands in it runs elsewhere
MAX_ABOVE = 400  # lines that are read
LEAD, DATA = "host_lead_s", f"{PHASE}data_s"


def phases_around(spans: TrustedSpans, line_of: LineOf) -> list[str]:
    """Of each stack, the name in the innermost `with log.phase("data"):` around its lines; "" where there is none.

    A step log says how long a phase took and not when; where much of a step is in no phase, only the source says which lines are.
    """
    known: dict[tuple[str, int], str] = {}

    def around(frame: Frame) -> str:
        place = frame.file, frame.line
        if place not in known:
            known[place] = _phase_block(*place, line_of) if frame.line > 0 else ""
        return known[place]

    return [next(filter(None, (around(spans.frames[i]) for i in reversed(stack))), "") for stack in spans.stacks]


def _phase_block(file: str, line: int, line_of: LineOf) -> str:
    inner = len(line_of(file, line)) + 1  # the line itself may be the block
    for number in range(line, max(0, line - MAX_ABOVE), -1):
        text = line_of(file, number)
        code = text.lstrip()
        indent = len(text) - len(code)
        if not code or code.startswith("#") or indent >= inner:
            continue
        if found := PHASE_BLOCK.match(code):
            return found[1]
        if indent == 0 or BLOCK_ENDS.match(code):
            return ""
        inner = indent
    return ""


class PhaseShares(NamedTuple):
    """Of the time of the window's steps: what was logged as phases."""

    of_kinds: dict[TimeKind, float]
    outside: float  # all phases
    known: Interval  # from when to when there are steps


class LoggedKinds(NamedTuple):
    """`collections` and `steps` are None where the run logs none."""

    phases: list[tuple[TimeKind, list[Interval]]]
    others: list[Interval]  # in which a phase of no kind went on for sure
    shares: PhaseShares | None  # None where unknown
    events: list[tuple[TimeKind, list[Interval]]]
    collections: list[Interval] | None
    steps: StepLeads | None
    unit_name: str
    period_s: float  # between two samples of the stacks
    names: list[str]  # of all phases
    written: Ints | None = (
        None  # of each stack, the phase that the source names around its line; -1 where it names none
    )

    def beside(self, main: TrustedSpans, line_of: LineOf) -> LoggedKinds:
        """With what the source of these stacks says."""
        if not self.names:
            return self
        numbers = {name: NUMBER[PHASES[name]] if name in PHASES else OTHER_PHASE for name in self.names}
        named = phases_around(main, line_of)
        return self._replace(written=np.array([numbers.get(name, -1) for name in named], np.int64))

    @property
    def any(self) -> bool:
        return bool(self.names or self.collections is not None or self.steps is not None)

    def by_phases(self, main: TrustedSpans) -> Ints:
        """Of each span, number of the kind of its stack's phase: that which the source names around its line, else that in which more
        than half of the stack's samples surely are; -1 where there is none."""
        phase = self._phase_of(main)
        return np.where(phase == OTHER_PHASE, -1, phase)

    def _phase_of(self, main: TrustedSpans) -> Ints:
        """The same, with OTHER_PHASE where that phase is of no kind.

        The moments of the samples count, and not the time up to the next one, which may be longer than a phase.
        """
        span, middle_s, seconds = looks(SampledSpans(main.start_s, main.end_s, main.stack), self.period_s)
        time_s, stack = middle_s - seconds / 2, main.stack[span]
        in_phase_s = np.zeros((len(main.stacks), OTHER_PHASE + 1))
        for number, ranges in [*((NUMBER[kind], ranges) for kind, ranges in self.phases), (OTHER_PHASE, self.others)]:
            inside = during(time_s, ranges)
            in_phase_s[:, number] += np.bincount(stack[inside], seconds[inside], len(main.stacks))
        clear = in_phase_s.max(axis=1) > np.bincount(main.stack, main.seconds, len(main.stacks)) / 2
        of_stack: Ints = np.where(clear, np.argmax(in_phase_s, axis=1), -1)
        if self.written is not None:
            of_stack = np.where(self.written >= 0, self.written, of_stack)
        return of_stack[main.stack]

    def weights(self, main: TrustedSpans, stands: list[StackState]) -> Floats:
        """Of each span, by what its time is multiplied so that each phase has the time that the step log gives it, and all have the same together.

        Looks at a thread amid many short calls fail more often than others where memory is slow to read, so that its phase has too few
        samples. The step log timed it: the samples are weighted by it, phase by phase (post-stratification).

        A stack that is in no phase for sure, but shows a phase's kind, as short waits for data do, counts with it. It may also have been
        outside all phases: then the kind has as much more than its phase, and no more than all the time that no phase covers.
        """
        weights = np.ones(len(main.seconds))
        if self.shares is None:
            return weights
        phase = self._phase_of(main)
        shown = np.array([NUMBER[stand.kind] for stand in stands], np.int64)[main.stack]
        lo, hi = self.shares.known
        rest = known = (main.end_s > lo) & (main.start_s < hi)
        all_s = rest_s = float(main.seconds[known].sum())
        for kind, share in self.shares.of_kinds.items():
            perhaps = known & (phase == -1) & (shown == NUMBER[kind])
            mine = perhaps | (known & (phase == NUMBER[kind]))
            seen_s, logged_s = float(main.seconds[mine].sum()), share * all_s
            beside_s = min(float(main.seconds[perhaps].sum()), self.shares.outside * all_s)
            its_s = min(max(seen_s, logged_s), logged_s + beside_s)
            if seen_s >= SEEN_S and CORRECTED[0] <= its_s / seen_s <= CORRECTED[1]:
                weights[mine] = its_s / seen_s
                rest = rest & ~mine
                rest_s -= its_s
        others_s = float(main.seconds[rest].sum())
        if others_s <= 0 or not CORRECTED[0] <= rest_s / others_s <= CORRECTED[1]:
            return np.ones(len(main.seconds))
        weights[rest] = rest_s / others_s
        return weights

    def by_events(self, time_s: Floats) -> Ints:
        """Number of the kind at each moment; -1 where none is logged."""
        kind = np.full(len(time_s), -1, np.int64)
        for own, ranges in self.events:
            kind[during(time_s, ranges)] = NUMBER[own]
        return kind


def read(history: History, window: Interval, rank: int, period_s: float) -> LoggedKinds:
    log = step_log.read(history, window, rank, AROUND_S)
    around = window[0] - AROUND_S, window[1] + AROUND_S
    events: list[tuple[TimeKind, list[Interval]]] = []
    for name, kind in EVENTS.items():
        if ranges := union(history.during((name,), around)):
            events.append((kind, ranges))
    collections = union(log.collections) if log.collections is not None else None
    others = union([span for name in log.phases.names if name not in PHASES for span in log.phases.ranges(name)])
    return LoggedKinds(
        phases=_phases(log),
        others=others,
        shares=_shares(log, window),
        events=events,
        collections=collections,
        steps=_steps(history, log, around, rank),
        unit_name=log.unit_name,
        period_s=period_s,
        names=log.phases.names,
    )


def _phases(log: StepLog) -> list[tuple[TimeKind, list[Interval]]]:
    known = [(PHASES[name], log.phases.ranges(name)) for name in log.phases.names if name in PHASES]
    return [(kind, union(ranges)) for kind, ranges in known if ranges]


def _shares(log: StepLog, window: Interval) -> PhaseShares | None:
    found = log.phases.shares_within(window)
    if found is None:
        return None
    shares, known = found
    of_kinds: dict[TimeKind, float] = {}
    for name, share in zip(log.phases.names, shares.tolist(), strict=True):
        if name in PHASES:
            of_kinds[PHASES[name]] = of_kinds.get(PHASES[name], 0.0) + share
    return PhaseShares(of_kinds, max(0.0, 1 - float(shares.sum())), known)


def _steps(history: History, log: StepLog, around: Interval, rank: int) -> StepLeads | None:
    """Where each step logs by how much the host was ahead of the GPU at its end."""
    mine = {series.name: series for series in history.series(rank)}
    if LEAD not in mine or DATA not in mine or log.steps is None:
        return None
    found = history.points([mine[LEAD], mine[DATA]], around)
    lead, data = found[mine[LEAD].id], found[mine[DATA].id]
    known = np.isfinite(lead.place) & np.isfinite(lead.value)
    if not known.any():
        return None
    end_s, data_s = data.place, data.value
    place = np.clip(np.searchsorted(lead.place[known], end_s), 0, int(known.sum()) - 1)
    same = lead.place[known][place] == end_s
    lead_s = np.where(same, lead.value[known][place], np.nan)
    return StepLeads(end_s, data_s, lead_s, np.isfinite(data_s))
