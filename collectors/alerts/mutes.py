"""What is muted: `<data>/mutes.yaml`, by rule and run, for a time or until it is taken back.

mutes:
- {rule: data_stall, run: sweep/3, until: 2026-11-27T08:00:00+00:00}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ..small_file import Stamp, bytes_of, stamp_of, write_bytes

FILE = "mutes.yaml"
MOST, MOST_WORD, MOST_BYTES = 500, 1000, 1 << 20
LONGEST_H = 10 * 365 * 24.0


class Mute(NamedTuple):
    """None stands for all rules, all runs, for ever. `until_s` is Unix seconds."""

    rule: str | None
    run: str | None
    until_s: float | None

    def holds(self, now_s: float) -> bool:
        return self.until_s is None or self.until_s > now_s

    def is_about(self, rule: str, run: str | None) -> bool:
        return self.rule in (None, rule) and self.run in (None, run)


class MutesFile:
    """Read again where it has changed. For one thread, or under a lock."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE
        self._stamp: Stamp | None = None
        self.mutes: list[Mute] = []
        self.trouble = ""

    def look(self) -> list[Mute]:
        """An odd file mutes what it did before."""
        try:
            stamp = stamp_of(self._path.stat())
        except OSError:
            self._stamp, self.mutes, self.trouble = None, [], ""
            return []
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self.mutes, self.trouble = mutes_in(self._path), ""
            except ValueError as error:
                self.trouble = str(error)
        return self.mutes


def is_muted(mutes: Iterable[Mute], rule: str, run: str | None, now_s: float) -> bool:
    return any(mute.holds(now_s) and mute.is_about(rule, run) for mute in mutes)


def save_mute(
    data_dir: Path, rule: str | None, run: str | None, hours: float | None, on: bool, now_s: float
) -> list[Mute]:
    """Mute, or take a mute back. Those that are over go. Raises ValueError: one sentence; Unwritable."""
    path = data_dir / FILE
    for word in (rule, run):
        if word is not None and (not word or len(word) > MOST_WORD or "\x00" in word):
            raise ValueError(f"rule and run have 1 to {MOST_WORD:,} characters")
    if hours is not None and not 0 < hours <= LONGEST_H:
        raise ValueError("hours: more than 0, or nothing for as long as it is not taken back")
    until_s = None if hours is None else now_s + 3600.0 * hours
    kept = [
        mute
        for mute in (mutes_in(path) if path.exists() else [])
        if mute.holds(now_s) and (mute.rule, mute.run) != (rule, run)
    ]
    mutes = [*kept, Mute(rule, run, until_s)] if on else kept
    if len(mutes) > MOST:
        raise ValueError(f"at most {MOST} are muted at a time; take one back first")
    write_bytes(path, written(mutes).encode())
    return mutes


def mutes_in(path: Path) -> list[Mute]:
    """Raises ValueError: one sentence with the file and the line."""
    from ..yaml_tree import YamlError, tree_of

    try:
        root = tree_of(bytes_of(path, most=MOST_BYTES).decode("utf-8-sig"), FILE, MOST_BYTES)
        listed = root.value.get("mutes") if isinstance(root.value, dict) else None
        if listed is None or listed.empty:
            return []
        if not isinstance(listed.value, list):
            raise YamlError(listed.line, "mutes is a list")
        return [_mute(item.line, item.value) for item in listed.value[:MOST]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; correct or delete it") from None


def _mute(line: int, value: object) -> Mute:
    from ..yaml_tree import YamlError

    if not isinstance(value, dict) or not value or set(value) - {"rule", "run", "until"}:
        raise YamlError(line, "a mute has rule, run and until")
    words = {key: node.value for key, node in value.items() if node.value != ""}
    if not all(isinstance(word, str) for word in words.values()):
        raise YamlError(line, "a mute has rule, run and until")
    until = words.get("until")
    try:
        until_s = None if until is None else _seconds(str(until))
    except (ValueError, OverflowError):
        raise YamlError(line, "until is a time such as 2026-11-27T08:00:00+01:00") from None
    return Mute(words.get("rule"), words.get("run"), until_s)


def _seconds(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.astimezone()).timestamp()


def written(mutes: Sequence[Mute]) -> str:
    import yaml

    def row(mute: Mute) -> dict[str, str]:
        until = (
            None if mute.until_s is None else datetime.fromtimestamp(mute.until_s, UTC).isoformat(timespec="seconds")
        )
        found = {"rule": mute.rule, "run": mute.run, "until": until}
        return {key: word for key, word in found.items() if word is not None} or {"rule": ""}

    rows = {"mutes": [row(mute) for mute in mutes]}
    return "# What is muted: rule, run, until; what is left out stands for all\n" + yaml.safe_dump(
        rows, allow_unicode=True, sort_keys=False
    )
