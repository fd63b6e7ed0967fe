"""Several runs compared: configuration that differs, steps per second, and values at a common step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from analysis.history import History
from analysis.stacks.spans import Interval
from analysis.step_log import StepLog
from collectors.step_axis import stepper
from collectors.store.store import Buckets, Series, Store

# What differs between runs: their configuration, command, commit, packages, variables and hardware.
#
# `differences([{"config": {"lr": 1}}, {"config": {"lr": 2}}])` has one row: section `config`, key `lr`, values 1 and 2.

Section: TypeAlias = Literal["config", "command", "git", "packages", "environment", "hardware", "other"]
SECTIONS: tuple[Section, ...] = ("config", "command", "git", "packages", "environment", "hardware", "other")

MAX_KEYS = 4000  # of a run's section
MAX_DEPTH = 20  # what lies deeper is compared as a whole
MAX_CHARACTERS = 400  # of a value that is shown; all of it is compared
COMMAND = ("command", "cwd")
GIT = ("git_commit", "git_branch", "git_dirty")
PACKAGES = ("python", "torch", "cuda", "nccl")
HARDWARE = ("host", "gpu", "driver", "gpu_topology", "world_size")
OF_ONE_START = frozenset(
    ("pid", "started_s", "run", "argv", "git_note", "config", "environment", "versions", "attached", "trace")
)
SHOWN_APART = frozenset((*COMMAND, *GIT, *PACKAGES, *HARDWARE)) | OF_ONE_START


class Missing:
    """The value of a key that a run does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


class Difference(NamedTuple):
    """One key, with a value for each run in the order in which they were given; `MISSING` where a run does not have it."""

    section: Section
    key: str
    values: tuple[Any, ...]
    odd: tuple[bool, ...]  # whose value is not that of most runs; none where no value is that of most
    differs: bool


def differences(infos: Sequence[Mapping[str, Any]], *, everything: bool = False) -> list[Difference]:
    """By section, then in the order in which the runs name their keys; with `everything` also the keys that are equal."""
    rows: list[Difference] = []
    for section in SECTIONS:
        found = [of_section(info, section) for info in infos]
        rows += [
            row for key in dict.fromkeys(key for part in found for key in part) if (row := _row(section, key, found))
        ]
    return rows if everything else [row for row in rows if row.differs]


def of_section(info: Mapping[str, Any], section: Section) -> dict[str, Any]:
    """The flat keys of one section of what is known of a run: `{"optimizer.lr": 0.001}`."""
    return flat(_PARTS[section](info))


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """`{"model": {"depth": 12}} -> {"model.depth": 12}`. Lists and empty tables are values. A second key of one name has a number behind it."""
    found: dict[str, Any] = {}
    for key, value in _leaves(table, "", 0):
        name, count = key, 1
        while name in found and not same(found[name], value):
            name, count = f"{key} ({count + 1})", count + 1
        found[name] = value
        if len(found) >= MAX_KEYS:
            break
    return found


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON: 1 and 1.0 are, true and 1 are not."""
    return canonical(one) == canonical(other)


def canonical(value: Any) -> str | bytes:
    """Equal for equal values."""
    if isinstance(value, Missing):
        return "MISSING"
    if isinstance(value, bool) or value is None:
        return orjson.dumps(value)
    if isinstance(value, int | float):
        return f"number {_number(value)}"
    if isinstance(value, str):
        return f"text {value}"
    try:
        return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates, integers of more than 64 bits
        return repr(value)


def shown(value: Any) -> Any:
    """What an answer carries of a value: long texts, tables and lists as text that is cut."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        try:
            value = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:
            value = repr(value)
    return value if len(value) <= MAX_CHARACTERS else f"{value[:MAX_CHARACTERS]}…"


def odd_ones(values: Sequence[Any]) -> tuple[bool, ...]:
    """`[1, 1, 2] -> (False, False, True)`; none is odd where two values are equally common."""
    forms = [canonical(value) for value in values]
    common = Counter(forms).most_common(2)
    if len(common) < 2 or common[0][1] == common[1][1]:
        return (False,) * len(forms)
    return tuple(form != common[0][0] for form in forms)


def _row(section: Section, key: str, found: Sequence[Mapping[str, Any]]) -> Difference:
    values = tuple(part.get(key, MISSING) for part in found)
    return Difference(section, key, values, odd_ones(values), len({canonical(value) for value in values}) > 1)


def _leaves(table: Mapping[Any, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and value and depth < MAX_DEPTH:
            yield from _leaves(value, f"{key}.", depth + 1)
        else:
            yield key, value


def _number(value: int | float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        value = int(value)
    return repr(value)


def _plain(value: Any) -> Any:
    """Numbers inside of lists and tables as those outside: 1.0 is 1."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _command(info: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a run say it as one text, its process as words."""
    argv = info.get("argv")
    words = " ".join(map(str, argv)) if isinstance(argv, list) else argv
    said = {"command": info.get("command", words), "cwd": info.get("cwd")}
    return {key: value for key, value in said.items() if value is not None}


def _named(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda info: {name: info[name] for name in names if info.get(name) is not None}


_PARTS: dict[Section, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
    "config": lambda info: _table(info.get("config")),
    "command": _command,
    "git": _named(*GIT),
    "packages": lambda info: {**_table(info.get("versions")), **_named(*PACKAGES)(info)},
    "environment": lambda info: _table(info.get("environment")),
    "hardware": _named(*HARDWARE),
    "other": lambda info: {key: value for key, value in info.items() if key not in SHOWN_APART},
}


# What the series of several runs said at the last step that all of these runs have reached.

MAX_VALUES = 4000  # series of all runs together that are read
MAX_NAMES = 60  # rows


class CommonValue(NamedTuple):
    """One series, with an item for each run: None where it has none up to that step."""

    series: str
    values: tuple[float | None, ...]
    steps: tuple[int | None, ...]  # where the value was logged, at or before the common step


class CommonStep(NamedTuple):
    """`step` is None where no run has steps; `note` says what is missing."""

    step: int | None
    values: list[CommonValue]
    left_out: int  # series that at least two of the runs have
    note: str


def at_common_step(store: Store, runs: Sequence[str], wanted: Callable[[str], bool] = lambda name: True) -> CommonStep:
    """Reads the newest attempt of each run that has got so far. Series that only one of several runs has are left out."""
    known = [by_name(store.series(run)) for run in runs]
    reached = [newest_step(series) for series in known]
    stepped = [step for step in reached if step is not None]
    without = [run for run, step in zip(runs, reached, strict=True) if step is None]
    note = f"without steps: {', '.join(without[:3])}{' and others' if len(without) > 3 else ''}" if without else ""
    if not stepped:
        return CommonStep(None, [], 0, note)
    step = min(stepped)
    names = shared_names([{name for name in series if wanted(name)} for series in known], list(known))
    most = max(1, min(MAX_NAMES, MAX_VALUES // max(1, len(runs))))
    rows = [_last_of(store, series, names[:most], step) for series in known]
    values = [
        CommonValue(
            name,
            tuple(row.get(name, (None, None))[0] for row in rows),
            tuple(row.get(name, (None, None))[1] for row in rows),
        )
        for name in names[:most]
    ]
    return CommonStep(step, values, max(0, len(names) - most), note)


def by_name(series: Sequence[Series]) -> dict[str, Series]:
    """Of several ranks the lowest, in the order in which the run has named them."""
    found: dict[str, Series] = {}
    for row in series:
        if row.name not in found or _rank(row) < _rank(found[row.name]):
            found[row.name] = row
    return found


def newest_step(series: Mapping[str, Series]) -> int | None:
    found = stepper([*series.values()])
    return found.last_step if found else None


def shared_names(names: Sequence[set[str]], in_order: Sequence[Mapping[str, Series]]) -> list[str]:
    """Those of most runs first, then in the order in which the runs name them; of several runs not those that only one has."""
    counts: dict[str, int] = {}
    for some, known in zip(names, in_order, strict=True):
        for name in known:
            if name in some:
                counts[name] = counts.get(name, 0) + 1
    least = min(2, len(names))
    return sorted((name for name, count in counts.items() if count >= least), key=lambda name: -counts[name])


def _last_of(
    store: Store, series: Mapping[str, Series], names: Sequence[str], step: int
) -> dict[str, tuple[float | None, int | None]]:
    ids = {series[name].id: name for name in names if name in series}
    found = store.range(list(ids), None, step, "step", 1)
    return {name: newest_of(found[number]) for number, name in ids.items()}


def newest_of(buckets: Buckets) -> tuple[float | None, int | None]:
    """The last value of the newest attempt, and its step."""
    if not len(buckets.segment):
        return None, None
    at = len(buckets.segment) - 1 - int(np.argmax(buckets.segment[::-1]))
    step = buckets.step[at]
    return float(buckets.last[at]), int(step) if np.isfinite(step) else None


def _rank(series: Series) -> int:
    text = dict(series.labels).get("rank", "0")
    return int(text) if text.isascii() and text.isdigit() else 0


# How fast a run's steps are, and whether another run's are slower by more than both vary: medians of stretches, and their interval.

STRETCHES = 20  # of consecutive steps: neighbouring steps are alike, stretches hardly
MIN_STEPS = 2 * STRETCHES
WITHIN = 2.09  # standard errors that hold 95 %, of 20 stretches
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean
MIN_CHANGE = 0.05  # runs of one script differ by less for no reason that anything records (docs/design/run-time.md#0202-slower-than-the-last-run)
CORES_TAKEN = 0.25  # by other programs, more than beside the other run: worth a word,
FULL_PCT = 80.0  # and where all cores are so busy, the reason of all that follows (docs/design/blame.md#0095-cores-that-others-took)
BUSY, OF_RUN, OF_CORE = "host/cpu_pct", "host/run_cpu_pct", "host/cpu_core_pct"

Floats = NDArray[np.float64]


class HostLoad(NamedTuple):
    """While a run went on: how busy all cores were, and how many of them other programs kept busy."""

    busy_pct: float
    others_cores: float


class Pace(NamedTuple):
    """Seconds of a unit of work in the steady part of a run; `error` is the standard error of its logarithm."""

    step_s: float
    error: float
    steps: int
    quartiles_s: tuple[float, float]  # of the stretches
    unit: str = "step"  # what is counted; only paces of the same unit can be compared
    window: Interval = (0.0, 0.0)
    host: HostLoad | None = None  # None where that was not measured


class Change(NamedTuple):
    """`ratio` 0.18: a step takes 18% longer than before; `lo` and `hi` are its 95% interval, as far as both runs vary in themselves."""

    ratio: float
    lo: float
    hi: float
    apart: bool  # the middle halves of both runs' stretches have nothing in common

    @property
    def counts(self) -> bool:
        """Whether it is more than noise."""
        return abs(self.ratio) >= MIN_CHANGE and (self.lo > 0 or self.hi < 0) and self.apart


def steady_steps(log: StepLog, window: Interval) -> Floats:
    """Seconds of each step of the window in order, without the first ones, checkpoints, validations and compilations."""
    if log.steps is None:
        return np.zeros(0)
    steps = log.steps
    inside = (steps.start_s >= window[0]) & (steps.end_s <= window[1])
    for lo, hi in log.left_out(window):
        inside &= ~((steps.end_s > lo) & (steps.start_s < hi))
    seconds: Floats = steps.seconds[inside]
    return seconds[np.isfinite(seconds) & (seconds > 0)]


def pace_of(seconds: Floats) -> Pace | None:
    """None of fewer steps than 40: they say too little."""
    if len(seconds) < MIN_STEPS:
        return None
    medians = np.log([float(np.median(part)) for part in np.array_split(seconds, STRETCHES)])
    middle = float(np.median(medians))
    deviation = 1.4826 * float(np.median(np.abs(medians - middle)))
    low, high = np.exp(np.percentile(medians, [25, 75])).tolist()
    return Pace(math.exp(middle), MEDIAN_ERROR * deviation / math.sqrt(STRETCHES), len(seconds), (low, high))


def change_of(now: Pace, before: Pace) -> Change:
    log_ratio = math.log(now.step_s / before.step_s)
    half = WITHIN * math.hypot(now.error, before.error)
    slower, faster = (now, before) if log_ratio > 0 else (before, now)
    apart = slower.quartiles_s[0] > faster.quartiles_s[1]
    return Change(math.expm1(log_ratio), math.expm1(log_ratio - half), math.expm1(log_ratio + half), apart)


def is_cpu_contended(now: Pace, before: Pace) -> bool:
    """Whether other programs kept the slower run from the cores, and not the faster one: then the two cannot be compared."""
    slower, faster = (now, before) if now.step_s > before.step_s else (before, now)
    if slower.host is None or faster.host is None:
        return False
    more = slower.host.others_cores - faster.host.others_cores
    return more >= CORES_TAKEN and slower.host.busy_pct >= FULL_PCT


def load_of(history: History, window: Interval) -> HostLoad | None:
    """None where the machine or the run itself was not measured then."""
    known = history.machine_series()
    cores = len({dict(series.labels).get("core") for series in known if series.name == OF_CORE})
    own = [series for series in known if series.name == OF_RUN and dict(series.labels).get("run") == history.run]
    busy_pct, own_pct = (
        _mean(history, some, window) for some in ([series for series in known if series.name == BUSY], own)
    )
    if not cores or busy_pct is None or own_pct is None:
        return None
    return HostLoad(busy_pct, max(0.0, cores * busy_pct / 100 - len(own) * own_pct / 100))


def _mean(history: History, series: Sequence[Series], window: Interval) -> float | None:
    values = history.values(series, [window]) if series else {}
    found = next(iter(values.values()), [np.zeros(0)])[0]
    return float(found.mean()) if len(found) else None
