"""What all classes with `from_pretrained` share: the row, its checked files, its task."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from ...errors import ModelsError
from .. import folder as lock
from .. import table
from ..fetch import files_of
from ..folder import models_folder
from ..table import ZooRow


class FoundModel(NamedTuple):
    row: ZooRow
    files: dict[str, Path]  # by path, each with the hash that is pinned or locked


def found(name: str, task: str, accept: Collection[str], kind: str) -> FoundModel:
    """Downloads nothing. Raises ModelsError: no such model, another task, a licence that was not accepted, not on this host."""
    row = table.find(name)
    if row.task != task:
        raise ModelsError(
            f"{row.name} is for {row.task}, and {kind} for {task}: deepseek-models list --task {task} names those"
        )
    folder = models_folder()
    locked = lock.read(folder).get(row.name)
    files = files_of(row, folder)
    table.require(row, locked.licence if locked else "", accept, folder)
    return FoundModel(row, files)
