"""Reads `run.json` and `exit.json`: what describes the run, and how its program ended."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from deepseek.log.endings import SAVED
from deepseek.log.redaction import redacted, without_secrets

from ...machine.exit_reason import reason_of
from ...records import Event, Record, RunInfo
from . import Tally
from .values import FieldBudget, as_count, as_time, escape_control

FILE = "run.json"
MAX_TAGS, MAX_TAG_CHARS, MAX_NOTE_CHARS = 20, 50, 4000  # as much as users may write on the Runs page
MAX_INFO_BYTES = 64 << 10  # of JSON, kept of one run


class RunInfoFile:
    """The whole of a file that describes a run."""

    def __init__(
        self,
        run: str,
        take: Callable[[dict[str, Any]], dict[str, Any] | None],
        read: Callable[[bytes, Tally], dict[str, Any] | None],
    ) -> None:
        """`read` returns what the file says, None for nothing; `take` takes that and returns what is known of the run then, None if
        that is not new."""
        self.tally = Tally()
        self._run, self._take, self._read = run, take, read

    def state(self) -> dict[str, Any]:
        return {}

    def parse_whole(self, data: bytes) -> list[Record]:
        fields = self._read(data, self.tally) if data else None
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")  # the file is one value
        news = self._take(fields) if fields is not None else None
        return [RunInfo(self._run, news)] if news is not None else []


def text(value: object) -> object:
    return value if isinstance(value, str) else None


def command(value: object) -> object:
    """A command line, as text or as words, without its secrets: it is stored so."""
    if isinstance(value, str):
        return redacted(value)
    return (
        without_secrets(word if isinstance(word, str) else str(word) for word in value)
        if isinstance(value, list)
        else None
    )


def pid(value: object) -> object:
    return as_count(value, 1) if type(value) in (int, float) else None


def config(value: object) -> object:
    return value if isinstance(value, dict) else None


def tags(value: object) -> object:
    return [value] if isinstance(value, str) else value if isinstance(value, list) else None


def time(value: object) -> object:
    return as_time(value) if type(value) in (int, float) else None


KNOWN: dict[str, tuple[Callable[[object], object], str]] = {
    "run": (text, "text"),
    "kind": (text, "text"),
    "unit": (text, "text"),
    "host": (text, "text"),
    "cwd": (text, "text"),
    "command": (command, "text"),
    "argv": (command, "a list of words"),
    "git_commit": (text, "text"),
    "pid": (pid, "a process id"),
    "world_size": (pid, "a count"),
    "tags": (tags, "a list of texts"),
    "note": (text, "text"),
    "started_s": (time, "a time in Unix seconds"),
    "config": (config, "an object"),
}
"""Fields that others rely on: what each must be. They come first, so that others cannot crowd them out."""


def parse(data: bytes, tally: Tally) -> dict[str, Any] | None:
    """`b'{"pid":7,"started_s":"today"}' -> {"pid": 7}`, with one field counted; None where it is no JSON object."""
    try:
        value = _loads(data, tally)
    except (ValueError, RecursionError):
        tally.skip_line("not JSON")
        return None
    if not isinstance(value, dict):
        tally.skip_line("not a JSON object")
        return None
    ordered = {name: value[name] for name in KNOWN if name in value} | value
    return FieldBudget(MAX_INFO_BYTES, tally.skip_field).fields(_checked(ordered, tally))


def _checked(fields: Mapping[str, Any], tally: Tally) -> dict[str, Any]:
    """The fields without known ones of a wrong type; null counts as absent."""
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        judge, must = KNOWN.get(name, (None, ""))
        kept = value if judge is None else judge(value)
        if kept is not None:
            checked[name] = kept
        elif value is not None:
            tally.skip_field(name, f"is not {must}")
    if "tags" in checked:
        checked["tags"] = _tags(checked["tags"], tally)
    if len(checked.get("note", "")) > MAX_NOTE_CHARS:
        tally.skip_field("note", f"is cut: it has more than {MAX_NOTE_CHARS:,} characters")
        checked["note"] = checked["note"][:MAX_NOTE_CHARS]
    return checked


def _tags(given: list[object], tally: Tally) -> list[str]:
    """Those that can be shown; numbers as text."""
    found: dict[str, None] = {}
    for value in given:
        tag = str(value).strip() if isinstance(value, str | int | float) else ""
        if tag in found:
            continue
        if not 0 < len(tag) <= MAX_TAG_CHARS or len(tag.splitlines()) > 1 or "\0" in tag:
            tally.skip_field("tags", f"has one that is not a line of 1 to {MAX_TAG_CHARS} characters")
        elif len(found) == MAX_TAGS:
            tally.skip_field("tags", f"are more than {MAX_TAGS}")
        else:
            found[tag] = None
    return list(found)


def _loads(data: bytes, tally: Tally) -> object:
    """Text of bytes that may not be UTF-8, as in an argument of a command line: the file is still read."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8-sig", "replace")
    if "\ufffd" in text:
        tally.skip_field(FILE, "has bytes that are not UTF-8, shown as \ufffd")
    return json.loads(text)


# Read `exit.json`, which the keeper of a program writes when that has ended: how it ended.

EXIT_FILE = "exit.json"
MAX_LINES = 200  # of the program's last ones


class ExitFile:
    """The run's end: finished with exit code 0, killed by a signal, else failed."""

    def __init__(self, run: str, state: Mapping[str, Any]) -> None:
        self.tally = Tally()
        self._run = run
        self.lifetimes: list[Event] = [Event(run, *kept) for kept in state.get("lifetimes", [])]
        """The end, once it is known."""
        self.forgotten: dict[int, int] = {}

    def state(self) -> dict[str, Any]:
        return {"lifetimes": [list(event)[1:] for event in self.lifetimes]}

    def parse_whole(self, data: bytes) -> list[Record]:
        if not data:
            return []
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError:
            fields = None
        ended_s = as_time(fields.get("ended_s")) if isinstance(fields, dict) else None
        if ended_s is None and isinstance(fields, dict) and "ticks" in fields:  # the next attempt of a job has started
            self.lifetimes = []
            return []
        if ended_s is None:
            self.tally.skip_line("no JSON object with ended_s")
            return []
        status, reason = end_state(fields)
        said = {
            "status": status,
            "reason": reason,
            **{name: fields[name] for name in ("pid", "code") if as_count(fields.get(name)) is not None},
        }
        before, self.lifetimes = self.lifetimes, [Event(self._run, "end", ended_s, text=reason, fields=said)]
        return [*self.lifetimes] if self.lifetimes != before else []


def end_state(fields: Mapping[str, Any]) -> tuple[str, str]:
    """`{"code": 1, "last_lines": ["ValueError: no"]} -> ("failed", "ValueError: no (exit code 1)")`

    A program that saved and ended because a signal asked for room has not come to its own end: `("finished", "stopped by SIGTERM")`.
    """
    code, number = fields.get("code"), fields.get("signal")
    if isinstance(number, int) and number > 0:
        name = f"signal {number}"
        with suppress(ValueError):
            name = signal.Signals(number).name
        return "killed", f"Ended by {name}"
    asked = fields.get("stopped_by")
    if asked in (signal.SIGTERM, signal.SIGUSR1) and code in (0, SAVED):
        return "finished", f"stopped by {signal.Signals(asked).name}"
    if code == 0:
        return "finished", ""
    if code == SAVED and "attempt" in fields:  # of a queue, which has asked for it
        return "finished", "Saved and ended by SIGTERM"
    kept = fields.get("last_lines", [fields.get("last_line")])  # the latter of an earlier version, its last characters
    lines = [line for line in kept[-MAX_LINES:] if isinstance(line, str)] if isinstance(kept, list) else []
    why = escape_control(reason_of(lines))
    return "failed", f"{why} (exit code {code})" if why else f"Exit code {code}"
