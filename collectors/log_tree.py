"""The folders that are followed, and the names of their runs.

The first folder is home: its runs have the names that they have where it is followed alone, so what is stored of them stays theirs when
more folders are followed. Runs of other folders have the folder's name in front.

    /home/ada/logs, /home/ada/runs   root /home/ada, only ("logs", "runs")
    /home/ada/logs/a             a
    /home/ada/runs/b             runs/b
    /home/ada/logs/runs/b        logs/runs/b, since `runs/b` is the other one
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class LogTree(NamedTuple):
    """A key is the name of a file or folder: `path_of(name_of(path)) == path` for all that lie in a followed folder."""

    root: Path  # resolved; holds all that is followed
    only: tuple[str, ...] = ()  # paths of folders in it, home first: nothing else of it is followed; () for all
    front: str = (
        ""  # stands before the names of home's runs, too, in stores that earlier versions made for several folders
    )

    @classmethod
    def of(cls, place: LogTree | Path) -> LogTree:
        return place if isinstance(place, LogTree) else cls(place)

    @property
    def home(self) -> Path:
        return self.root / self.only[0] if self.only else self.root

    @property
    def tops(self) -> list[Path]:
        return [self.root / name for name in self.only] or [self.root]

    def name_of(self, path: Path | str) -> str:
        """Of what lies elsewhere, the whole path."""
        text, home, root = str(path), _with_slash(self.home), _with_slash(self.root)
        if text.startswith(home):
            inside = text[len(home) :]
            if self.front:
                return f"{self.front}/{inside}"
            if not self._is_anothers(inside):
                return inside
        return text[len(root) :] if text.startswith(root) else text

    def path_of(self, name: str) -> Path:
        if self.front:
            is_home, inside = name.startswith(f"{self.front}/"), name[len(self.front) + 1 :]
            return self.home / inside if is_home else self.root / name
        before, _, inside = name.partition(f"{self.only[0]}/") if self.only else (name, "", "")
        is_whole = not before and self._is_anothers(inside)
        return (self.root if is_whole or self._names_another(name) else self.home) / name

    def above(self, top: Path) -> Path:
        """The folder below which a run of one file in `top` has its name as its path."""
        if top != self.home:
            return self.root
        return self.home.joinpath(*[".."] * len(Path(self.front).parts)).resolve() if self.front else self.home

    def _names_another(self, name: str) -> bool:
        return any(name == other or name.startswith(f"{other}/") for other in self.only[1:])

    def _is_anothers(self, inside: str) -> bool:
        """Whether a path in home reads like the name of something in another folder, or like such a name with home's in front."""
        while self.only and inside.startswith(f"{self.only[0]}/"):
            inside = inside[len(self.only[0]) + 1 :]
        return self._names_another(inside)


def _with_slash(folder: Path) -> str:
    return f"{str(folder).rstrip('/')}/"
