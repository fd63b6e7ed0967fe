"""Which licences of weights forbid commercial use, and which have terms that a user must accept first."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from ..errors import ModelsError
from .folder import alone, read_table, write_whole
from .row import ZooRow

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
        with alone(place):
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
