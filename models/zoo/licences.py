"""Which licences of weights forbid commercial use, and which have terms that a user must accept first."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from ..errors import ModelsError
from .folder import write_whole
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
RESEARCH_ONLY = {"opt-175b", "apple-amlr", "apple-ascl-research"}  # by their own words
UNSTATED = "unstated"


def is_non_commercial(licence: str) -> bool:
    """`cc-by-nc-4.0` -> True"""
    words = licence.casefold()
    return words in RESEARCH_ONLY or "-nc-" in f"{words}-" or "noncommercial" in words or "non-commercial" in words


def needs_acceptance(licence: str) -> bool:
    """All that is not known to be open, also a licence that its source does not state."""
    return licence.casefold() not in OPEN


def require(row: ZooRow, accept: Collection[str], folder: Path) -> None:
    """Raises ModelsError, in one sentence, where its licence has terms that were accepted neither now nor before.

    What is accepted now is recorded in `licences.json` of the folder.
    """
    if not needs_acceptance(row.licence):
        return
    name, place = row.licence or UNSTATED, folder / "licences.json"
    before = _accepted(place)
    if name in accept:
        if name not in before:
            write_whole(place, json.dumps(sorted({*before, name}), indent=1) + "\n")
    elif name not in before:
        kind = "forbids commercial use" if is_non_commercial(name) else "has terms of its own"
        licence = f"the licence {row.licence}, which {kind}" if row.licence else "a licence that its source does not state"
        raise ModelsError(
            f"{row.name} has {licence} ({row.licence_from}): read it, and accept it with: "
            f"deepseek-models fetch {row.name} --accept-licence {name}"
        )


def _accepted(place: Path) -> set[str]:
    try:
        return set(json.loads(place.read_text()))
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError) as error:
        raise ModelsError(f"{place} cannot be read ({error}); remove it, and accept the licences again") from error
