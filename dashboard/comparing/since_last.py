"""What has changed since the last run of the same script on the same card: how fast it is, and what differs.

18 % slower than a, the last run of train.py on this GPU: 61 ms per step, previously 52 ms. Differs: torch 2.9 → 2.10, batch 32 → 24.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from collectors.process.launchers import is_launchers_command, started
from collectors.process.proc import PYTHON

from ..runs import RunView
from .differences import MISSING, Difference, Section, differences, shown
from .pace import CORES_TAKEN, Change, Pace

NAMED = 4  # differences in the sentence
MOST_VALUE = 40  # characters of a value in it
EXPLAINING: tuple[Section, ...] = ("packages", "config", "git", "hardware", "environment")  # in this order
SAYS_NOTHING = frozenset(("host", "world_size"))  # of the same card
FIRST = ("torch", "cuda", "python", "driver")


class SinceLast(NamedTuple):
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
    word = "slower" if change.ratio > 0 else "faster"
    what = PurePosixPath(script.split()[1] if script.startswith("-m ") else script).name
    steps = f"{_seconds(now.step_s)} per {now.unit}, previously {_seconds(before.step_s)}"
    head = f"{100 * abs(change.ratio):.0f} % {word} than {name}, the last run of {what} on {place}: {steps}"
    return f"{head}. {_differs(differs, _taken(now, before))}"


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
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]}…"


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
