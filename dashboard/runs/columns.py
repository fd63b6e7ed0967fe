"""Columns of the table of runs: `config.lr`, `last.val/acc`, `best.val/acc`, and facts about a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias, get_args

from analysis.directions import HELD_OUT, direction_of, is_held_out, words
from analysis.findings.life import Standing
from collectors.machine.run_state import is_ahead
from collectors.records import ITEMS
from collectors.step_axis import are_near
from collectors.store.store import Outcomes
from deepseek.log.flops import utilization
from deepseek.log.redaction import is_secret

from ..user_files.directions import Direction
from .runs import ALIVE, RunView

# What is known of one run: all that its row is made of.

STEP_NAMES = (
    "steps",
    "max_steps",
    "total_steps",
    "max_iters",
    "num_steps",
    "train_steps",
    "num_train_steps",
    "iterations",
)
EPOCH_NAMES = ("epochs", "num_epochs", "num_train_epochs", "max_epochs", "n_epochs")


class Outcome(NamedTuple):
    """What became of one series, over all ranks of the run. Numbers are NaN where unknown."""

    points: int
    first_time_s: float
    first_step: float
    last_time_s: float
    last_step: float
    last: float
    least: float
    least_step: float
    most: float
    most_step: float


@dataclass(frozen=True)
class Facts:
    """`now_s` is the moment of the look, for what still grows; `price` is for a GPU and an hour."""

    view: RunView
    config: Mapping[str, object]
    outcomes: Mapping[str, Outcome]
    now_s: float
    price: float = 0.0

    @property
    def name(self) -> str:
        return self.view.stored.name

    @property
    def lives(self) -> bool:
        return self.view.state in ALIVE

    @property
    def duration_s(self) -> float | None:
        view = self.view
        end_s = self.now_s if self.lives else view.ended_s or view.stored.last_time_s
        if view.started_s is None or end_s is None or end_s < view.started_s:
            return None
        return end_s - view.started_s

    @property
    def gpus(self) -> int | None:
        """One a rank, on a machine that has some; None where the run says that it uses none."""
        info, ranks = self.view.stored.info, self.view.ranks
        if not info.get("gpu") or str(self.config.get("device", "cuda")).lower().startswith("cpu"):
            return None
        return ranks.world_size or max(1, len(ranks.seen))

    @property
    def gpu_hours(self) -> float | None:
        gpus, duration_s = self.gpus, self.duration_s
        return None if gpus is None or duration_s is None else gpus * duration_s / 3600

    @property
    def total_steps(self) -> float | None:
        return self._configured(STEP_NAMES)

    @property
    def total_epochs(self) -> float | None:
        return self._configured(EPOCH_NAMES)

    def _configured(self, names: tuple[str, ...]) -> float | None:
        ends = {key.rpartition(".")[2]: value for key, value in reversed([*self.config.items()])} | dict(self.config)
        return next((float(value) for name in names if _is_positive(value := ends.get(name))), None)  # type: ignore[arg-type]


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e300


def by_run(found: Outcomes) -> dict[str, dict[str, Outcome]]:
    """Of several ranks the least, the greatest, and the last of the newest."""
    runs: dict[str, dict[str, Outcome]] = {}
    for run, name, outcome in _outcomes(found):
        of_run = runs.setdefault(run, {})
        before = of_run.get(name)
        of_run[name] = outcome if before is None else _both(before, outcome)
    return runs


def _outcomes(found: Outcomes) -> Iterator[tuple[str, str, Outcome]]:
    numbers = zip(*(column.tolist() for column in found[4:]), strict=True)
    return ((run, name, Outcome._make(row)) for run, name, row in zip(found.run, found.name, numbers, strict=True))


def _both(a: Outcome, b: Outcome) -> Outcome:
    newest = b if _or(b.last_time_s, -math.inf) > _or(a.last_time_s, -math.inf) else a
    low = b if _or(b.least, math.inf) < _or(a.least, math.inf) else a
    high = b if _or(b.most, -math.inf) > _or(a.most, -math.inf) else a
    first_time_s = min(_or(a.first_time_s, math.inf), _or(b.first_time_s, math.inf))
    first_step = min(_or(a.first_step, math.inf), _or(b.first_step, math.inf))
    return Outcome(
        a.points + b.points,
        first_time_s if math.isfinite(first_time_s) else math.nan,
        first_step if math.isfinite(first_step) else math.nan,
        *newest[3:6],
        *low[6:8],
        *high[8:10],
    )


def _or(value: float, other: float) -> float:
    return other if value != value else value


# Which of a run's series is its loss, the value that it is judged by, its speed: by the names that programs give them.

MAX_NAMES = 64  # of one role
USUAL_LOSSES = ("train/loss", "loss", "train_loss", "training/loss", "training_loss", "train/total_loss", "total_loss")
BEST_FIRST = ("loss", "ppl", "perplexity", "nll", "wer", "acc", "accuracy", "f1")
PARTS = HELD_OUT | {"train", "training"}  # behind the metric in `Loss/train`
PER_SECOND = ("s", "sec", "second", "seconds")


class SeriesRoles(NamedTuple):
    """For each role the names of series, the first that a run has counts."""

    loss: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()  # validation values, or losses where no run has a validation
    tokens: tuple[str, ...] = ()  # a second
    items: tuple[str, ...] = ()  # how many have passed: samples or steps, by text that does not say which
    mfu: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    epoch: tuple[str, ...] = ()
    energy: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        return {name for role in self for name in role}


def roles_of(names: Mapping[str, int], chosen: Mapping[str, Direction] | None = None) -> SeriesRoles:
    """`names` with the number of their series: the more usual name comes first."""
    usual = sorted(names, key=lambda name: -names[name])
    losses = [name for name in usual if _metric(name) == "loss" and not is_held_out(name)]
    losses.sort(key=lambda name: USUAL_LOSSES.index(name) if name in USUAL_LOSSES else len(USUAL_LOSSES))
    held_out = [name for name in usual if is_held_out(name) and direction_of(name, chosen)]
    held_out.sort(key=_judged_first)
    return SeriesRoles(
        tuple(losses[:MAX_NAMES]),
        tuple((held_out or losses)[:MAX_NAMES]),
        tuple([name for name in usual if _is_tokens_a_second(name)][:MAX_NAMES]),
        tuple([name for name in usual if name == ITEMS]),
        tuple([name for name in usual if words(name)[-1:] == ("mfu",)][:MAX_NAMES]),
        tuple([name for name in usual if _is_memory(name)][:MAX_NAMES]),
        tuple([name for name in usual if words(name)[-1:] in (("epoch",), ("epochs",))][:MAX_NAMES]),
        tuple([name for name in usual if "energy" in words(name)][:MAX_NAMES]),
    )


def quantity_of(name: str) -> tuple[str, ...]:
    """What a series measures, whatever a program calls it: `val/loss`, `val_loss`, `eval_loss` and `Loss/val` are `("validation", "loss")`."""
    found = words(name)
    if HELD_OUT.isdisjoint(found):
        return tuple(word for word in found if word not in PARTS)
    part = "test" if "test" in found else "validation"
    return part, *(word for word in found if word not in PARTS)


class Metric(NamedTuple):
    """`names` are those that programs give the quantity, the most usual first."""

    names: tuple[str, ...]

    @property
    def title(self) -> str:
        return self.names[0]


def metrics_of(runs_of: Mapping[str, Collection[str]]) -> list[Metric]:
    """`runs_of` has the runs of each series. Losses come first, of these the one that most runs have, then what else is better less or more."""
    names_of: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(runs_of, key=lambda name: (-len(runs_of[name]), name)):
        names_of.setdefault(quantity_of(name) or (name,), []).append(name)

    def order(metric: Metric) -> tuple[int, int, bool, str]:
        name = metric.title
        runs = len({run for known in metric.names for run in runs_of[known]})
        if _metric(name) == "loss":
            return 0, -runs, not is_held_out(name), name
        return (1 if direction_of(name) else 2), 0, not is_held_out(name), name

    return sorted((Metric(tuple(names)) for names in names_of.values()), key=order)


def first_of(role: Collection[str], known: Collection[str]) -> str | None:
    return next((name for name in role if name in known), None)


def _judged_first(name: str) -> int:
    metric = _metric(name)
    return BEST_FIRST.index(metric) if metric in BEST_FIRST else len(BEST_FIRST)


def _metric(name: str) -> str:
    """`train/loss`, `Loss/train` -> `loss`; "" where nothing but a part of the data is named."""
    return next((word for word in reversed(words(name)) if word not in PARTS), "")


def _is_tokens_a_second(name: str) -> bool:
    found = words(name)
    counts = bool({"token", "tokens", "tok", "toks"} & set(found))
    return found[-1:] == ("tps",) or (counts and (found[-1] in PER_SECOND or name.endswith("/s")))


def _is_memory(name: str) -> bool:
    found = set(words(name))
    return (
        bool(found & {"memory", "mem", "vram"})
        and bool(found & {"peak", "max", "allocated", "reserved", "used"})
        and not found & {"pct", "percent"}
    )


Cell: TypeAlias = bool | float | str | tuple[str, ...] | None
Kind: TypeAlias = Literal["text", "number", "count", "duration", "time", "bytes", "share", "state", "tags", "curve"]

CHOSEN = ("config.", "last.", "best.", "least.", "most.")  # what a key of a column by choice begins with
STATES = (
    "running",
    "stalled",
    "queued",
    "failed",
    "killed",
    "requeued",
    "preempted",
    "ended",
    "finished",
)  # in the order in which they are sorted
DOINGS: tuple[str, ...] = get_args(Standing)  # words for what a living run is at, beside its state
MAX_WHOLE = 10**300  # a greater whole number may be no double, and stays text
SCALES = {"gb": 1e9, "gib": 2.0**30, "mb": 1e6, "mib": 2.0**20, "kb": 1e3, "kib": 1024.0}


@dataclass(frozen=True)
class TableSetting:
    """What columns depend on, beside the run: the names of series by their role, and the directions that a user chose.

    `zone` is the IANA name of the zone that dates are meant in, "" for the server's.
    """

    roles: SeriesRoles = field(default_factory=SeriesRoles)
    directions: Mapping[str, Direction] = field(default_factory=dict)
    zone: str = ""


Make: TypeAlias = Callable[[Facts, TableSetting], Cell]


class TableColumn(NamedTuple):
    """`width` is in pixels; `direction` says which values are better, where that is known for all runs."""

    key: str
    title: str
    kind: Kind
    width: int
    make: Make
    unit: str = ""
    shown: bool = False  # unless a user chooses others
    help: str = ""
    direction: Direction | None = None
    judged_by: str | None = (
        None  # the first series that runs are judged by, where a cell is of the first that its run has
    )


def column_of(key: str, setting: TableSetting) -> TableColumn | None:
    """None where no column can have this key."""
    if key == "best":
        first = next(iter(setting.roles.judged), "")
        title = f"Best {first}" if first else FIXED[key].title
        return FIXED[key]._replace(title=title, direction=direction_of(first, setting.directions), judged_by=first)
    if key in FIXED:
        return FIXED[key]
    kind, _, name = key.partition(".")
    if not name or f"{kind}." not in CHOSEN:
        return None
    if kind == "config":
        return TableColumn(
            key, name, "text", 72, lambda facts, _: _configured(facts.config.get(name)), help=f"Configuration: {name}"
        )
    direction = direction_of(name, setting.directions)
    if kind == "best":
        return TableColumn(
            key,
            f"best {name}",
            "number",
            104,
            lambda facts, now: _best(facts, name, now)[0],
            help=_best_help(name, direction),
            direction=direction,
        )
    pick = PICKS[kind]
    return TableColumn(
        key, f"{kind} {name}", "number", 104, lambda facts, _: _of(facts, name, pick), direction=direction
    )


def _best_help(name: str, direction: Direction | None) -> str:
    return (
        f"{'The greatest' if direction == 'up' else 'The least'} value of {name}"
        if direction
        else f"Whether less or more of {name} is better is not known"
    )


def best_of(facts: Facts, setting: TableSetting) -> tuple[str, float | None, float | None]:
    """The series that the run is judged by, its best value, and the step of that."""
    name = first_of(setting.roles.judged, facts.outcomes)
    return ("", None, None) if name is None else (name, *_best(facts, name, setting))


def _best(facts: Facts, name: str, setting: TableSetting) -> tuple[float | None, float | None]:
    outcome, direction = facts.outcomes.get(name), direction_of(name, setting.directions)
    if outcome is None or direction is None:
        return None, None
    value, step = (outcome.most, outcome.most_step) if direction == "up" else (outcome.least, outcome.least_step)
    return _known(value), _known(step)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _of(facts: Facts, name: str | None, pick: Callable[[Outcome], float | None]) -> float | None:
    outcome = facts.outcomes.get(name) if name is not None else None
    return None if outcome is None else pick(outcome)


def _configured(value: object) -> Cell:
    if value is None or isinstance(value, bool | str | float) or (isinstance(value, int) and abs(value) <= MAX_WHOLE):
        return value
    return str(value)


def _by_role(role: str, pick: Callable[[Outcome], float | None]) -> Make:
    return lambda facts, setting: _of(facts, first_of(getattr(setting.roles, role), facts.outcomes), pick)


def _text(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _info(*keys: str) -> Make:
    return lambda facts, _: next(
        (_text(facts.view.stored.info[key]) for key in keys if _text(facts.view.stored.info.get(key))), None
    )


def _commit(facts: Facts, _: TableSetting) -> Cell:
    commit = _text(facts.view.stored.info.get("git_commit"))
    return commit and commit[:7] + ("*" if facts.view.stored.info.get("git_dirty") is True else "")


RATED_S = 0.5  # steps within less time say nothing of a rate: lines that are read together have nearly one time


def steps_per_s(facts: Facts, setting: TableSetting) -> float | None:
    """On average, over the points of its loss, else of the longest series on the axis of steps that a column reads."""
    name, last = first_of(setting.roles.loss, facts.outcomes), facts.view.stored.last_step
    on_axis = {
        key: outcome for key, outcome in facts.outcomes.items() if last is None or are_near(outcome.last_step, last)
    }
    found = [on_axis[name]] if name in on_axis else list(on_axis.values())
    rates = [
        (outcome.points, steps / seconds)
        for outcome in found
        if (steps := outcome.last_step - outcome.first_step) > 0
        and (seconds := outcome.last_time_s - outcome.first_time_s) >= RATED_S
    ]
    return max(rates)[1] if rates else None


def items_per_s(facts: Facts, setting: TableSetting) -> float | None:
    """On average over the run, as `steps_per_s`: by how many items its lines have counted."""
    return _of(facts, first_of(setting.roles.items, facts.outcomes), _items_per_s)


def _items_per_s(counted: Outcome) -> float | None:
    items, seconds = counted.most - counted.least, counted.last_time_s - counted.first_time_s
    return items / seconds if items > 0 and seconds > 0 else None


def progress(facts: Facts, setting: TableSetting) -> float | None:
    """0 to 1, by the steps or epochs that the configuration names."""
    steps, epochs, last = facts.total_steps, facts.total_epochs, facts.view.stored.last_step
    if steps is not None and last is not None:
        return min(1.0, max(0.0, last / steps))
    epoch = _of(facts, first_of(setting.roles.epoch, facts.outcomes), lambda outcome: outcome.last)
    return min(1.0, max(0.0, epoch / epochs)) if epochs and epoch is not None and math.isfinite(epoch) else None


def _eta(facts: Facts, setting: TableSetting) -> float | None:
    done, rate, last = progress(facts, setting), steps_per_s(facts, setting), facts.view.stored.last_step
    if not facts.lives or not done or done >= 1:
        return None
    if facts.total_steps is not None and rate and last is not None:
        return (facts.total_steps - last) / rate
    return facts.duration_s * (1 - done) / done if facts.duration_s else None


def _mfu(facts: Facts, setting: TableSetting) -> float | None:
    logged, gpus = _by_role("mfu", _LAST)(facts, setting), facts.gpus
    if logged is not None or gpus is None:
        return logged  # type: ignore[return-value]
    tokens = _by_role("tokens", _LAST)(facts, setting)
    gpu = str(facts.view.stored.info.get("gpu", ""))
    return utilization(facts.config, gpu, gpus, steps_per_s(facts, setting), tokens)  # type: ignore[arg-type]


def _memory(facts: Facts, setting: TableSetting) -> float | None:
    name = first_of(setting.roles.memory, facts.outcomes)
    value = _of(facts, name, lambda outcome: _known(outcome.most))
    unit = (name or "").lower().replace("/", "_").rpartition("_")[2]
    return None if value is None else value * SCALES.get(unit, 1.0)


def _energy(facts: Facts, setting: TableSetting) -> float | None:
    name = first_of(setting.roles.energy, facts.outcomes)
    value = _of(facts, name, lambda outcome: _known(outcome.most))
    unit = (name or "").lower().replace("/", "_").rpartition("_")[2]
    return None if value is None else value / {"kwh": 1.0, "wh": 1e3, "mj": 3.6}.get(unit, 3.6e6)


def _cost(facts: Facts, _: TableSetting) -> float | None:
    hours = facts.gpu_hours
    return None if hours is None or not facts.price else hours * facts.price


def _finite_step(facts: Facts, setting: TableSetting) -> float | None:
    return best_of(facts, setting)[2]


PICKS: dict[str, Callable[[Outcome], float | None]] = {
    "last": lambda outcome: outcome.last,
    "least": lambda outcome: _known(outcome.least),
    "most": lambda outcome: _known(outcome.most),
}
_LAST = PICKS["last"]

COLUMNS = (
    TableColumn("name", "Run", "text", 196, lambda facts, _: facts.view.about.name or facts.name, shown=True),
    TableColumn("state", "State", "state", 96, lambda facts, _: facts.view.state, shown=True),
    TableColumn("curve", "Loss", "curve", 108, lambda facts, setting: first_of(setting.roles.loss, facts.outcomes), shown=True, help="The whole curve, as long as the run got"),
    TableColumn("best", "Best", "number", 104, lambda facts, setting: best_of(facts, setting)[1], shown=True, help="The best validation value; the best training loss only if no run has a validation. A value of another metric says which; val/loss, val_loss and eval_loss are one metric", judged_by=""),
    TableColumn("loss", "Last loss", "number", 88, _by_role("loss", _LAST), shown=True, help="The last value of the training loss", direction="down"),
    TableColumn("best_step", "Best at step", "count", 96, _finite_step, help="The step of the best value"),
    TableColumn("judged", "Best of", "text", 112, lambda facts, setting: best_of(facts, setting)[0] or None, help="Which series the best value is of"),
    TableColumn("steps", "Step", "count", 128, lambda facts, _: facts.view.stored.last_step, shown=True, help="The last step, and how far that is of the configured steps or epochs"),
    TableColumn("progress", "Progress", "share", 80, progress, "of 1"),
    TableColumn("eta", "Time left", "duration", 88, _eta, "s", shown=True),
    TableColumn("duration", "Duration", "duration", 80, lambda facts, _: facts.duration_s, "s", shown=True),
    TableColumn("steps_per_s", "Steps/s", "number", 80, steps_per_s, "1/s", shown=True, help="On average over the run", direction="up"),
    TableColumn("items_per_s", "Items/s", "number", 80, items_per_s, "1/s", shown=True, help="Samples or steps, whichever the log counts: on average over the run", direction="up"),
    TableColumn("tokens_per_s", "Tokens/s", "number", 80, _by_role("tokens", _LAST), "1/s", shown=True, help="The last value that the run logged", direction="up"),
    TableColumn("mfu", "MFU", "number", 72, _mfu, help="Model FLOPs utilization: the last value that the run logged, else by `flops_per_step`, `flops_per_token` or `num_parameters` and the precision of its configuration, and the card's peak", direction="up"),
    TableColumn("memory", "Peak memory", "bytes", 96, _memory, "B", help="The greatest value that the run logged"),
    TableColumn("attempts", "Attempts", "count", 72, lambda facts, _: len(facts.view.attempts) or None, help="Runs that are attempts of the same training: the newest stands for them"),
    TableColumn("training", "Training", "text", 160, lambda facts, _: next(iter(facts.view.attempts), None), help="The first of its attempts: group by it to see all of them"),
    TableColumn("restarts", "Restarts", "count", 72, lambda facts, _: facts.view.restarts or None),
    TableColumn("gpu_hours", "GPU-hours", "number", 88, lambda facts, _: facts.gpu_hours, "h", shown=True, help="One GPU a rank, for as long as the run took"),
    TableColumn("energy", "Energy, kWh", "number", 88, _energy, "kWh", help="Of the run's own series of energy"),
    TableColumn("cost", "Cost", "number", 80, _cost, help="GPU-hours times the price on the Settings page"),
    TableColumn("started", "Started", "time", 96, lambda facts, _: facts.view.started_s, "Unix s", shown=True),
    TableColumn("ended", "Ended", "time", 104, lambda facts, _: facts.view.ended_s, "Unix s"),
    TableColumn("updated", "Last line", "time", 104, lambda facts, _: facts.view.stored.last_time_s, "Unix s"),
    TableColumn("tags", "Tags", "tags", 104, lambda facts, _: facts.view.about.tags or None, shown=True),
    TableColumn("note", "Note", "text", 160, lambda facts, _: facts.view.about.note or None),
    TableColumn("commit", "Commit", "text", 80, _commit, shown=True, help="* with changes beside it"),
    TableColumn("branch", "Branch", "text", 96, _info("git_branch")),
    TableColumn("host", "Host", "text", 96, lambda facts, _: facts.view.host or None),
    TableColumn("user", "User", "text", 80, _info("user")),
    TableColumn("gpu", "GPU", "text", 144, _info("gpu")),
    TableColumn("ranks", "Ranks", "count", 64, lambda facts, _: facts.view.ranks.world_size or len(facts.view.ranks.seen)),
    TableColumn("python", "Python", "text", 72, _info("python")),
    TableColumn("torch", "PyTorch", "text", 80, _info("torch")),
    TableColumn("folder", "Folder", "text", 160, lambda facts, _: facts.name, help="The run's own name: its folder in the log folder"),
    TableColumn("reason", "Reason", "text", 200, lambda facts, _: facts.view.state_reason or None, help="Why it is in this state"),
    TableColumn("points", "Points", "count", 88, lambda facts, _: facts.view.stored.points),
    TableColumn("series", "Series", "count", 72, lambda facts, _: facts.view.stored.series),
)  # fmt: skip
FIXED = {column.key: column for column in COLUMNS}
SHOWN = tuple(column.key for column in COLUMNS if column.shown)


# Which columns are shown unless a user chooses others: those that some run has a value for, and the settings in which runs differ.

MAX_SETTINGS = 5
MAX_SETTING_TEXT = 32  # characters: longer values are no settings to choose between
FEW_RUNS = 4  # with more, a text that is another one in each run is a name
USUAL_SETTINGS = (
    "lr", "learning_rate", "base_lr", "max_lr", "batch", "batch_size", "global_batch_size", "optimizer", "opt", "optim", "model", "arch",
    "precision", "dtype", "weight_decay", "wd", "dropout", "warmup", "warmup_steps", "scheduler", "seed",
)  # fmt: skip


def differing_settings(configs: Sequence[Mapping[str, object]]) -> list[str]:
    """Keys of configurations with several values among the runs that have them, the usual ones first, then those of most runs: no paths, names or long texts."""
    values: dict[str, set[tuple[type, object]]] = {}
    known: Counter[str] = Counter()
    unfit: set[str] = set()
    for config in configs:
        for key, value in config.items():
            if key in unfit:
                continue
            if not _is_setting(value) or is_secret(key):
                unfit.add(key)
                continue
            known[key] += 1
            values.setdefault(key, set()).add((bool if isinstance(value, bool) else object, value))

    def fits(key: str) -> bool:
        several = len(values[key])
        texts = any(isinstance(value, str) for _, value in values[key])
        is_name = texts and several == known[key] > FEW_RUNS
        return key not in unfit and several > 1 and not is_name

    def order(key: str) -> tuple[int, int]:
        end = key.rpartition(".")[2].lower()
        return USUAL_SETTINGS.index(end) if end in USUAL_SETTINGS else len(USUAL_SETTINGS), -known[key]

    return sorted(filter(fits, values), key=order)[:MAX_SETTINGS]


def _is_setting(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_SETTING_TEXT and "/" not in value
    return isinstance(value, bool | int | float) and value == value


def usual_columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """Of these runs; all of them where there is no run yet."""
    if not rows:
        return SHOWN
    kept = [key for key in SHOWN if key in ("name", "state") or any(row.cell(FIXED[key]) is not None for row in rows)]
    configs = [{key: value for key, value in row.facts.config.items() if value != row.name} for row in rows]
    settings = [f"config.{key}" for key in differing_settings(configs)]
    at = 1 + max(kept.index(key) for key in ("state", "curve", "best", "loss") if key in kept)
    return *kept[:at], *settings, *kept[at:]


# A row of the table: a run's facts, and its cells once they were asked for.


class Row:
    """`place` is its place in the usual order. Cells are kept: a run that changes, or a setting, makes another row."""

    def __init__(self, facts: Facts, setting: TableSetting, place: int) -> None:
        self.facts, self.place = facts, place
        started_s = facts.view.started_s
        ahead = started_s is None or is_ahead(started_s, facts.now_s)  # years: it must not hide all others
        self.started_s = -math.inf if ahead or started_s is None else started_s
        self._setting = setting
        self._cells: dict[str, Cell] = {}

    @property
    def name(self) -> str:
        return self.facts.name

    def cell(self, column: TableColumn) -> Cell:
        try:
            return self._cells[column.key]
        except KeyError:
            value = self._cells[column.key] = column.make(self.facts, self._setting)
            return value

    def series_of(self, column: TableColumn) -> int:
        """Which quantity its cell is of: 0 the first of those that runs are judged by. Cells of different quantities cannot be compared."""
        if column.judged_by is None:
            return 0
        known = list(dict.fromkeys(map(quantity_of, self._setting.roles.judged)))
        return known.index(quantity_of(self.judged_by)) if self.judged_by else len(known)

    @property
    def judges_otherwise(self) -> bool:
        """Whether its best value is of another quantity than the first that runs are judged by."""
        first = next(iter(self._setting.roles.judged), "")
        return bool(self.judged_by) and quantity_of(self.judged_by) != quantity_of(first)

    @property
    def judged_by(self) -> str:
        """The first series of those that runs are judged by that it has, or ""."""
        return first_of(self._setting.roles.judged, self.facts.outcomes) or ""

    def direction(self, column: TableColumn) -> Direction | None:
        """Of its cell."""
        return column.direction if column.judged_by is None else direction_of(self.judged_by, self._setting.directions)

    def forget(self, setting: TableSetting) -> None:
        """The cells, since they depend on what has changed."""
        self._setting = setting
        self._cells = {}

    @cached_property
    def text(self) -> str:
        """What words are looked for in: the run's names, tags, note and state."""
        view = self.facts.view
        return "\n".join(
            [
                self.name,
                view.about.name,
                *view.about.tags,
                view.about.note,
                view.state,
                view.doing.word if view.doing else "",
            ]
        ).casefold()


def text_of(value: Cell) -> str:
    """As a filter sees it: `True -> "true"`, `0.001 -> "0.001"`, `12.0 -> "12"`; "" where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "∞" if value > 0 else "-∞"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def number_of(value: Cell) -> float | None:
    """None for what is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
