"""Which files a run may show: those in its own folder and, named as such files are, in its working folder; links and `..` followed."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path, PurePath
from typing import NamedTuple

from collectors.analysis.stacks.source import owner_of_folders
from collectors.log_tree import LogTree
from collectors.logs.formats.samples import KIND_OF
from collectors.received import BY_OTHERS, is_received


class NotShown(Exception):
    """A file that a run names and that is not shown; the text is one sentence."""


class RunPlaces(NamedTuple):
    """Where the files of a run lie."""

    tree: LogTree  # its root with no links in it
    folder: Path | None  # the run's; None where the run is some files of the log folder itself
    files: Collection[str]  # that were read as the run's, by their keys
    cwd: str  # "" where it is not known, or not one of this host
    uid: int  # whose rights its files are read with; BY_OTHERS where they are not to be read

    @classmethod
    def of(cls, logs: Path | LogTree, run: str, cwd: str, files: Collection[str]) -> RunPlaces:
        tree = LogTree.of(logs)
        folder = _real(tree.path_of(run)) if "\0" not in run else tree.home
        is_inside = any(folder != top and folder.is_relative_to(top) for top in tree.tops)
        mine = folder if is_inside and os.path.isdir(folder) else None  # noqa: PTH112  # false for a name that no folder can have
        if is_received(run):
            return cls(tree, mine, files, "", os.geteuid())
        uid = owner_of_folders(tree)(run)
        return cls(tree, mine, files, cwd, uid)

    def path_of(self, name: str) -> Path:
        """Of a sample's file. Raises NotShown."""
        if self.uid == BY_OTHERS:
            raise NotShown("Its run belongs to another user than root, whose dashboard this is.")
        if "\0" in name or not name:
            raise NotShown("The name of its file is no path.")
        found = self._in_folder(name) or self._in_cwd(name)
        if found is None:
            raise NotShown(
                f"{PurePath(name).name} lies outside of the run's folder and its working folder; only files in these are shown."
            )
        return found

    def _in_folder(self, name: str) -> Path | None:
        if self.folder is None:
            known = name in self.files and not PurePath(name).is_absolute()
            path = self.tree.path_of(name)
            return _real(path) if known and any(_is_below(path, top) for top in self.tree.tops) else None
        path = self.folder / name
        return _real(path) if _is_below(path, self.folder) else None

    def _in_cwd(self, name: str) -> Path | None:
        """By its whole path, and not any file that lies there: what a log says is a claim."""
        if not self.cwd or "\0" in self.cwd or not name.startswith("/") or PurePath(name).suffix.lower() not in KIND_OF:
            return None
        root = _real(Path(self.cwd))
        path = Path(name)
        hidden = any(part.startswith(".") for part in _real(path).parts[len(root.parts) :])
        return _real(path) if root != Path(root.anchor) and not hidden and _is_below(path, root) else None


def _is_below(path: Path, root: Path) -> bool:
    return ".." not in path.parts and _real(path).is_relative_to(root)


def _real(path: Path) -> Path:
    """All links followed; where they lead in a circle, as far as they lead."""
    return Path(os.path.realpath(path))
