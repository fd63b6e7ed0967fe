"""What changed since the previous run of the same script on the same GPU."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from collectors.folders import FOLDER, LogTree
from collectors.machine.proc import PYTHON
from collectors.machine.ranks import is_launchers_command, started
from collectors.message import percent
from collectors.records import Event
from collectors.store.store import Run

from .comparison import CORES_TAKEN, MISSING, Change, Difference, Pace, Section, canonical, differences, shown
from .runs import RankView, RunView

NAMED = 4  # differences in the sentence
DOUBLE = 2.0  # from here on a share of the time misleads: it never reaches 100% for what is faster
MAX_VALUE = 40  # characters of a value in it
EXPLAINING: tuple[Section, ...] = ("packages", "config", "git", "hardware", "environment")  # in this order
SAYS_NOTHING = frozenset(("host", "world_size"))  # of the same card
FIRST = ("torch", "cuda", "python", "driver")


class PreviousRunComparison(NamedTuple):
    """`sentence` is "" where nothing is said; `reason` says why."""

    previous: str | None = None
    sentence: str = ""
    reason: str = ""
    now: Pace | None = None
    before: Pace | None = None
    change: Change | None = None
    differs: Sequence[Difference] = ()  # values: before, and now


def script_of(info: Mapping[str, Any]) -> str:
    """The script of a command as an absolute path, or `-m module` with its folder; "" where nothing says it.

    `{"command": "python train.py --lr 1", "cwd": "/job"} -> "/job/train.py"`
    """
    words, cwd = words_of(info), info.get("cwd")
    folder = cwd if isinstance(cwd, str) else ""
    if words and (is_launchers_command(words) or not PYTHON.match(PurePosixPath(words[0]).name)):
        script, module = next((word for word in words if word.endswith(".py")), ""), ""
    else:
        module, script = started(words)
    if script:
        return os.path.normpath(os.path.join(folder, script))  # noqa: PTH118  # of another host, maybe: nothing is looked up
    return f"-m {module} {folder}" if module else ""


def words_of(info: Mapping[str, Any]) -> list[str]:
    argv, command = info.get("argv"), info.get("command")
    if isinstance(argv, list) and argv:
        return [str(word) for word in argv]
    if not isinstance(command, str):
        return []
    try:
        return shlex.split(command)
    except ValueError:  # a quote that is not closed
        return command.split()


def card_of(info: Mapping[str, Any]) -> str:
    """The model of its GPUs, else its host: runs on the same one may be compared."""
    gpu = info.get("gpu")
    return f"GPU {gpu}" if isinstance(gpu, str) and gpu else f"host {info.get('host', '')}"


def place_of(info: Mapping[str, Any]) -> str:
    """What runs with the same `card_of` share: "this GPU", "this host"."""
    return "this GPU" if card_of(info).startswith("GPU ") else "this host"


def earlier(views: Sequence[RunView], run: RunView) -> list[RunView]:
    """Runs that began before it on the same card, the newest first."""
    began_s = run.started_s
    if began_s is None:
        return []
    found = [
        view
        for view in views
        if view.stored.name != run.stored.name
        and view.started_s is not None
        and view.started_s < began_s
        and card_of(view.stored.info) == card_of(run.stored.info)
    ]
    return sorted(found, key=lambda view: view.started_s or 0.0, reverse=True)


def explaining(before: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str]) -> list[Difference]:
    """What differs that may explain a difference in speed: not where the runs' own names stand, as in the folder of their output."""
    found = [row for row in differences([before, now]) if row.section in EXPLAINING and row.key not in SAYS_NOTHING]
    kept = [row for row in found if not _holds_name(row, names)]
    return sorted(kept, key=lambda row: (EXPLAINING.index(row.section), row.key not in FIRST))


def said(
    name: str, script: str, place: str, now: Pace, before: Pace, change: Change, differs: Sequence[Difference]
) -> str:
    """One sentence about two paces of the same unit; "" where the difference may be noise."""
    if not change.counts:
        return ""
    what = PurePosixPath(script.split()[1] if script.startswith("-m ") else script).name
    steps = f"{_seconds(now.step_s)} per {now.unit}, previously {_seconds(before.step_s)}"
    head = f"{speed(1 + change.ratio, now.unit)} {name}, the last run of {what} on {place}: {steps}"
    return f"{head}. {_differs(differs, _taken(now, before))}"


def speed(times: float, unit: str) -> str:
    """How a unit that takes `times` as long compares: `1.18 -> "Each step takes 18% longer than in"`, `0.265 -> "3.8x as fast as"`."""
    if times >= DOUBLE:
        return f"Each {unit} takes {times:.1f}x as long as in"
    if times <= 1 / DOUBLE:
        return f"{1 / times:.1f}x as fast as"
    return f"Each {unit} takes {percent(100 * abs(times - 1))} {'longer' if times > 1 else 'less time'} than in"


def _taken(now: Pace, before: Pace) -> list[str]:
    """What other programs took of the machine, where that has changed."""
    if now.host is None or before.host is None or abs(now.host.others_cores - before.host.others_cores) < CORES_TAKEN:
        return []
    return [f"cores of other programs {before.host.others_cores:.1f} → {now.host.others_cores:.1f}"]


def _differs(rows: Sequence[Difference], taken: Sequence[str]) -> str:
    named = [*taken, *(f"{row.key} {_value(row.values[0])} → {_value(row.values[1])}" for row in rows)]
    if not named:
        return "Nothing that was recorded differs."
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"Differs: {', '.join(named[:NAMED])}{more}."


def _value(value: Any) -> str:
    if value is MISSING:
        return "none"
    text = " ".join(str(shown(value)).split())
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def _seconds(seconds: float) -> str:
    """Three digits: `0.0612 -> "61.2 ms"`."""
    return (
        f"{seconds:.3g} s"
        if seconds >= 1
        else f"{1000 * seconds:.3g} ms"
        if seconds >= 1e-3
        else f"{1e6 * seconds:.3g} µs"
    )


def _holds_name(row: Difference, names: Sequence[str]) -> bool:
    """Whether each of the two has its own run's name in it."""
    return all(isinstance(value, str) and name in value for value, name in zip(row.values, names, strict=True))


# Which runs are attempts of one training: handed over by another host, started again as the same job, or resumed from a checkpoint.
#
# Attempts that log into one folder are one run already; its start events are its attempts.

SLACK_S = 120.0  # between the clocks of two hosts
RESUME = re.compile(r"(?i)(^|[._-])(auto_?)?resume")  # resume, resume_from_checkpoint, trainer.resume; not `presume`
PLACE = re.compile(
    r"(?i)(dir|path|folder|file|name|ckpt|checkpoint|resume|output|restart)s?$"
)  # keys that may differ between attempts
CUT_SHORT = ("preempted", "killed", "ended")
MAX_PARTS = 24  # of a path


class RunAttempts(NamedTuple):
    """`rules` say of each run why it belongs to the others, "" for the first."""

    runs: tuple[str, ...]  # by their start, the newest last
    rules: tuple[str, ...]


@dataclass(frozen=True)
class RunDetail:
    """A run with its own attempts, its processes, and the other runs that are attempts of it."""

    run: RunView
    attempts: list[Event]
    processes: list[RankView]
    same: RunAttempts | None = None  # with it among them


class _Link(NamedTuple):
    later: str
    earlier: str
    rule: str


class AttemptFinder:
    """Finds attempts again and again: of a run that has not changed it remembers what it resumed. May be asked from many threads."""

    def __init__(self, logs: Path | LogTree | None) -> None:
        self._tree = LogTree.of(logs) if logs else None
        self._kept: dict[str, tuple[Run, tuple[PurePosixPath, ...]]] = {}

    def find(self, views: Sequence[RunView]) -> dict[str, RunAttempts]:
        return attempts_of(views, self._tree, self._paths)

    def joined(self, views: Sequence[RunView]) -> list[RunView]:
        """The same views; those of several attempts name them all."""
        found = self.find(views)
        return [
            replace(view, attempts=found[view.stored.name].runs) if view.stored.name in found else view
            for view in views
        ]

    def _paths(self, view: RunView) -> tuple[PurePosixPath, ...]:
        kept = self._kept.get(view.stored.name)
        if kept is None or kept[0] is not view.stored:
            kept = self._kept[view.stored.name] = view.stored, tuple(_resumed_paths(view))
        return kept[1]


def attempts_of(
    views: Sequence[RunView],
    tree: LogTree | None = None,
    paths_of: Callable[[RunView], Iterable[PurePosixPath]] | None = None,
) -> dict[str, RunAttempts]:
    """By the name of each run that is not the only attempt. `paths_of` a run, which it resumed, may be remembered."""
    began = sorted((view for view in views if view.started_s is not None), key=lambda view: view.started_s or 0.0)
    links = [*_handed_over(began), *_same_job(began), *_resumed(began, tree, paths_of or _resumed_paths)]
    groups = _joined([view.stored.name for view in began], links)
    rules: dict[str, str] = {}
    for link in links:
        rules.setdefault(link.later, link.rule)
    found: dict[str, RunAttempts] = {}
    for group in groups:
        made = RunAttempts(tuple(group), ("", *(rules.get(name, "") for name in group[1:])))
        found |= dict.fromkeys(group, made)
    return found


def requeued(views: Sequence[RunView]) -> list[RunView]:
    """The same views; those that ended, and whose job was then started again as another run, say so."""
    of_job: dict[str, list[RunView]] = {}
    for view in views:
        if view.job_id is not None and view.started_s is not None:
            of_job.setdefault(view.job_id, []).append(view)
    changed: dict[str, RunView] = {}
    for group in of_job.values():
        group.sort(key=lambda view: view.started_s or 0.0)
        for before, after in itertools.pairwise(group):
            if before.state in CUT_SHORT and _restarted(after, before):
                reason = f"Job {before.job_id} was started again (restart {after.restart_count}) as {after.stored.name}"
                changed[before.stored.name] = replace(before, state="requeued", state_reason=reason)
    return [changed.get(view.stored.name, view) for view in views] if changed else list(views)


def bare_name(run: str) -> str:
    """Without the folder of the host that handed it over: `.remote/local/a -> a`, `runs/.remote/local/a -> runs/a`."""
    parts = run.split("/")
    at = parts.index(FOLDER) if FOLDER in parts else None
    return run if at is None else "/".join([*parts[:at], *parts[at + 2 :]])


def _handed_over(views: Sequence[RunView]) -> Iterator[_Link]:
    """A run that goes on keeps host, pid and time of its first start, wherever its files are."""
    first: dict[tuple[object, ...], RunView] = {}
    for view in views:
        info = view.stored.info
        start = info.get("host"), info.get("pid"), info.get("started_s")
        if None in start:
            continue
        key = (bare_name(view.stored.name), *map(canonical, start))
        if key in first:
            yield _Link(view.stored.name, first[key].stored.name, "the same run, with files from another host")
        else:
            first[key] = view


def _same_job(views: Sequence[RunView]) -> Iterator[_Link]:
    """A job may train several things one after the other: what it started again has the same script, and a higher count or the same options."""
    newest: dict[tuple[str, str], RunView] = {}
    for view in views:
        if view.job_id is None or not (script := script_of(view.stored.info)):
            continue
        before = newest.get((view.job_id, script))
        if (
            before is not None
            and _follows(view, before)
            and (_restarted(view, before) or _options(view) == _options(before))
        ):
            count = f", restart {view.restart_count}" if view.restart_count else ""
            yield _Link(view.stored.name, before.stored.name, f"the same job {view.job_id}{count}")
        newest[view.job_id, script] = view


def _resumed(
    views: Sequence[RunView], tree: LogTree | None, paths_of: Callable[[RunView], Iterable[PurePosixPath]]
) -> Iterator[_Link]:
    """A checkpoint that an option of it says to resume lies in the folder of the other run."""
    resumed = [(view, paths) for view in views if (paths := [*paths_of(view)])]
    if not resumed:
        return
    by_folder = {os.path.normpath(tree.path_of(view.stored.name)): view for view in views} if tree else {}
    by_name = {bare_name(view.stored.name): view for view in views}
    for view, paths in resumed:
        for path in paths:
            before = _run_at(path, by_folder) or _run_named_in(path, by_name, view)
            if before is not None and before is not view and (before.started_s or 0.0) < (view.started_s or 0.0):
                yield _Link(view.stored.name, before.stored.name, f"resumed from {path.name} of {before.stored.name}")
                break


def _resumed_paths(view: RunView) -> Iterator[PurePosixPath]:
    config = view.stored.info.get("config")
    for key, value in config.items() if isinstance(config, Mapping) else ():
        if isinstance(key, str) and RESUME.search(key) and isinstance(value, str) and "/" in value:
            yield PurePosixPath(os.path.normpath(os.path.join(view.cwd, value)))  # noqa: PTH118  # nothing is looked up


def _run_at(path: PurePosixPath, by_folder: Mapping[str, RunView]) -> RunView | None:
    return next((by_folder[str(parent)] for parent in path.parents if str(parent) in by_folder), None)


def _run_named_in(path: PurePosixPath, by_name: Mapping[str, RunView], view: RunView) -> RunView | None:
    """On another host the folder has another place: its name is in the path, and its script is the same."""
    parts = path.parts[-MAX_PARTS:-1]
    script = PurePosixPath(script_of(view.stored.info)).name
    for end in range(len(parts), 0, -1):
        for start in range(end):
            found = by_name.get("/".join(parts[start:end]))
            if (
                found is not None
                and found is not view
                and script
                and PurePosixPath(script_of(found.stored.info)).name == script
            ):
                return found
    return None


def _follows(view: RunView, before: RunView) -> bool:
    """Attempts do not run beside each other."""
    ends = [end for end in (before.ended_s, before.stored.last_time_s) if end is not None]
    return bool(ends) and (view.started_s or 0.0) >= max(ends) - SLACK_S


def _restarted(view: RunView, before: RunView) -> bool:
    return (view.restart_count or 0) > (before.restart_count or 0)


def _options(view: RunView) -> dict[str, Any]:
    """Those that do not say where files lie."""
    config = view.stored.info.get("config")
    table = config if isinstance(config, Mapping) else {}
    return {key: canonical(value) for key, value in table.items() if not PLACE.search(str(key))}


def _joined(names: Sequence[str], links: Sequence[_Link]) -> list[list[str]]:
    """Groups of more than one, in the order of the names."""
    above = {name: name for name in names}

    def root(name: str) -> str:
        while above[name] != name:
            above[name] = name = above[above[name]]
        return name

    for link in links:
        above[root(link.later)] = root(link.earlier)
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(root(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
