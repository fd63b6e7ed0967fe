"""What differs between runs: their configuration, command, commit, packages, variables and hardware.

`differences([{"config": {"lr": 1}}, {"config": {"lr": 2}}])` has one row: section `config`, key `lr`, values 1 and 2.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

Section: TypeAlias = Literal["config", "command", "git", "packages", "environment", "hardware", "other"]
SECTIONS: tuple[Section, ...] = ("config", "command", "git", "packages", "environment", "hardware", "other")

MOST_KEYS = 4000  # of a run's section
MOST_DEPTH = 20  # what lies deeper is compared as a whole
MOST_CHARACTERS = 400  # of a value that is shown; all of it is compared
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
        if len(found) >= MOST_KEYS:
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
    return value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]}…"


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
        if isinstance(value, Mapping) and value and depth < MOST_DEPTH:
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
