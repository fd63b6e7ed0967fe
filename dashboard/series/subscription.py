"""What a client of the live socket asks for, checked and ready to be matched (pure)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from typing import Any

SOURCES = ("gpu", "host")
MAX_RUNS = 100
MAX_NAMES = 4000  # of all runs together
MAX_GLOBS = 200
MAX_CHARACTERS = 1000  # of a name
REMEMBERED = 20_000  # answers of the globs
MAX_CURSOR = 2**62


class InvalidSubscription(Exception):
    """The text says what is wrong."""


class Subscription:
    """Series by exact name or by glob, of runs and of the machine, whose run is None, from a cursor on."""

    def __init__(self, wants: dict[str | None, list[str]], cursor: int | None) -> None:
        self.cursor = cursor
        self.runs = {run for run in wants if run is not None}
        self._names = {run: frozenset(names) for run, names in wants.items()}
        self._globs = {run: _joined(name for name in names if is_glob(name)) for run, names in wants.items()}
        self._known: dict[tuple[str | None, str], bool] = {}

    def has(self, run: str | None, name: str) -> bool:
        key = run, name
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            globs = self._globs.get(run)
            known = name in self._names.get(run, ()) or (
                globs is not None and globs.fullmatch(name.lower()) is not None
            )
            self._known[key] = known
        return known


NOTHING = Subscription({}, None)


def subscription_of(message: Any) -> Subscription:
    """`{"subscribe": [{"run": "a", "series": ["train/*"]}, {"source": "gpu", "series": ["gpu/*"]}], "cursor": 7}`

    Raises InvalidSubscription for anything else, and for more than the limits above.
    """
    wants: dict[str | None, list[str]] = {}
    if not isinstance(message, dict) or not isinstance(message.get("subscribe"), list):
        raise InvalidSubscription("it needs a list named subscribe")
    cursor = message.get("cursor")
    if not isinstance(cursor, int) or isinstance(cursor, bool) or not 0 <= cursor <= MAX_CURSOR:
        raise InvalidSubscription("cursor is a whole number, from an answer of /curves")
    for want in message["subscribe"]:
        run, names = _wish(want)
        wants.setdefault(run, []).extend(names)
    _check(wants)
    return Subscription(wants, cursor)


def _wish(want: Any) -> tuple[str | None, list[str]]:
    run = want.get("run") if isinstance(want, dict) else None
    from_machine = isinstance(want, dict) and want.get("source") in SOURCES
    if not isinstance(want, dict) or not (from_machine or isinstance(run, str)):
        raise InvalidSubscription("each entry names a run, or a source: gpu or host")
    names = want.get("series")
    if not isinstance(names, list) or not all(isinstance(name, str) and len(name) <= MAX_CHARACTERS for name in names):
        raise InvalidSubscription(f"series is a list of names or globs of at most {MAX_CHARACTERS:,} characters")
    return None if from_machine else run, names


def _check(wants: dict[str | None, list[str]]) -> None:
    names = [name for some in wants.values() for name in some]
    counts = (
        (len(wants), "runs", MAX_RUNS),
        (len(names), "names", MAX_NAMES),
        (sum(map(is_glob, names)), "globs", MAX_GLOBS),
    )
    for count, what, most in counts:
        if count > most:
            raise InvalidSubscription(f"{count:,} {what}; at most {most:,}: ask for fewer")


def matches(name: str, pattern: str) -> bool:
    """By a glob of * and ?, case-insensitive; brackets are just brackets."""
    return fnmatch.fnmatchcase(name.lower(), _plain(pattern))


def wanted(name: str, patterns: Sequence[str]) -> bool:
    """Whether a series is asked for: by its exact name, or by a glob of * and ?, case-insensitive."""
    return any(name == pattern or (is_glob(pattern) and matches(name, pattern)) for pattern in patterns)


def is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _joined(globs: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for all: hundreds of globs against thousands of names one by one would take seconds."""
    parts = [fnmatch.translate(_plain(glob)) for glob in dict.fromkeys(globs)]
    return re.compile("|".join(f"(?:{part})" for part in parts)) if parts else None


def _plain(pattern: str) -> str:
    return pattern.lower().replace("[", "[[]")
