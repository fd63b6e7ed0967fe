"""What a run ran with: command, commit, versions, hardware and configuration, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from collectors.redaction import LEFT_OUT, is_secret, without_secrets

from ..comparing.differences import MISSING, Difference, Section, of_section, shown
from ..comparing.since_last import words_of
from .texts import LEFT_OUT_WORD, figure, said, shortened

SECTIONS: tuple[Section, ...] = ("command", "git", "packages", "hardware", "environment", "config")
TITLES = {
    "command": "Command",
    "git": "Git",
    "packages": "Versions",
    "hardware": "Hardware",
    "environment": "Variables",
    "config": "Configuration",
}
BYTES = "_bytes"


class KeyText(NamedTuple):
    key: str
    value: str


class SectionText(NamedTuple):
    title: str
    rows: list[KeyText]
    more: int


class DifferenceText(NamedTuple):
    section: str
    key: str
    value: str
    other: str


def sections_of(info: Mapping[str, Any], rows: int, characters: int) -> list[SectionText]:
    return [section for name in SECTIONS if (section := _section(info, name, rows, characters)).rows]


def _section(info: Mapping[str, Any], name: Section, rows: int, characters: int) -> SectionText:
    found = of_section(info, name)
    if name == "command" and "command" in found:
        found = {**found, "command": _command(info)}
    texts = [
        KeyText(shortened(str(key), characters), _value(str(key), value, characters))
        for key, value in [*found.items()][:rows]
    ]
    return SectionText(TITLES[name], texts, len(found) - len(texts))


def _command(info: Mapping[str, Any]) -> str:
    """Also of one from which secrets were left out already."""
    command = info.get("command")
    marked = {**info, "command": command.replace(LEFT_OUT, LEFT_OUT_WORD) if isinstance(command, str) else command}
    return " ".join(without_secrets(words_of(marked))).replace(LEFT_OUT_WORD, LEFT_OUT)


def _value(key: str, value: Any, characters: int) -> str:
    if value is MISSING:
        return "none"
    if is_secret(key):
        return LEFT_OUT
    if key.endswith(BYTES) and isinstance(value, int | float) and not isinstance(value, bool):
        return figure(float(value), "B")
    simple = shown(value)
    return said(simple if isinstance(simple, str) else str(simple), characters)


def differences_of(found: Sequence[Difference], rows: int, characters: int) -> list[DifferenceText]:
    """Of two runs, in the order of the sections."""
    return [*_differences(found[:rows], characters)]


def _differences(found: Sequence[Difference], characters: int) -> Iterator[DifferenceText]:
    for row in found:
        mine, other = (_value(row.key, value, characters) for value in row.values)
        yield DifferenceText(TITLES.get(row.section, "Other"), shortened(row.key, characters), mine, other)
