"""Which models are on this host, where their files are, and what to say of one that is not."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelsError
from . import table
from .folder import hub_cache
from .licences import needs_acceptance
from .lock import LockedModel, read
from .row import ZooRow
from .sources import packages


def is_here(row: ZooRow, folder: Path, locked: dict[str, LockedModel]) -> bool:
    """Looks at names and sizes only, without a network; `locked` is what lock.read(folder) returns."""
    if row.source == "package":
        return packages.is_here(row, folder)
    model = locked.get(row.name)
    return (
        model is not None
        and model.id == row.id
        and all(_has_size(place, model.files[path].bytes) for path, place in _places(row, folder, model).items())
    )


def files_of(row: ZooRow, folder: Path) -> dict[str, Path]:
    """By path, each with the SHA-256 that is pinned or locked. Raises ModelsError where one is lacking, or differs."""
    from ..artifact.hashing import file_of

    locked = read(folder)
    if not is_here(row, folder, locked):
        raise ModelsError(offline_sentence(row, folder, ""))
    if row.source == "package":
        return packages.checked(row, packages.files(row, folder))
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
        row, [other for other in table.rows() if is_here(other, folder, locked) and not needs_acceptance(other.licence)]
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
