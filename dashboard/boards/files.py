"""Files of boards: users' own, those of a log folder, and built-in ones, with edits."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from threading import Lock
from time import time_ns
from typing import Literal, NamedTuple, TypeAlias

import yaml

from access.files import SETTLED_NS, FileStamp, Unwritable, bytes_of, stamp_of, write_bytes
from collectors.yaml_tree import tree_of, why_unread

from ..user_files.yaml_file import SUFFIX, text_node
from . import board as board_module
from .board import Board, plain_board


def board_of(text: str) -> Board:
    """Raises YamlError."""
    return Board(**board_module.read_table(tree_of(text, "a board"), board_module.BOARD_FIELDS, "a board"))


# The files of boards.

FOLDER = "boards"
MAX_BOARDS = 200  # of a folder
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
TEMPLATES = Path(__file__).parent / "templates"

BoardSource: TypeAlias = Literal["data", "log", "template"]


class BoardFile(NamedTuple):
    """`board` is what the file says, or last said where it is broken: then `trouble` is one sentence with the line.

    `version` is another one for any other text. None is a board that was never whole.
    """

    name: str
    source: BoardSource
    text: str
    version: str
    board: Board | None
    trouble: str = ""


class VersionConflict(Exception):
    """The file is not what the editor began with; the text is one sentence with the remedy. `version` is what it is now, "" where it is gone."""

    def __init__(self, sentence: str, version: str) -> None:
        super().__init__(sentence)
        self.version = version


class _KeptBoard(NamedTuple):
    stamp: FileStamp
    settled: bool
    file: BoardFile


class Boards:
    """May be asked from many threads. Of boards of one name the user's own counts, then the log folder's, then the one that comes along."""

    def __init__(self, data_dir: Path, log_dirs: tuple[Path, ...]) -> None:
        self._own = data_dir / FOLDER
        self._folders: list[tuple[BoardSource, Path]] = [("data", self._own)]
        self._folders += [("log", log_dir / FOLDER) for log_dir in dict.fromkeys(log_dirs)]
        self._folders += [("template", TEMPLATES)]
        self._lock = Lock()
        self._kept: dict[Path, _KeptBoard] = {}

    def all(self) -> list[BoardFile]:
        """By source, then by name."""
        found: dict[str, BoardFile] = {}
        with self._lock:
            for source, folder in self._folders:
                for file in self._of(source, folder):
                    found.setdefault(file.name, file)
        return list(found.values())

    def named(self, name: str) -> BoardFile | None:
        return next((file for file in self.all() if file.name == name), None) if NAME.fullmatch(name) else None

    def save(self, name: str, text: str, version: str) -> BoardFile:
        """Into the data folder; `version` is that of the board which the editor began with, "" where there was none.

        Between two processes the last whole file wins; inside one the caller holds a lock. Raises ValueError, VersionConflict, Unwritable.
        """
        check_name(name)
        board_of(text)
        self._check_version(name, version)
        if not (self._own / f"{name}{SUFFIX}").exists() and len(_stamps(self._own)) >= MAX_BOARDS:
            raise ValueError(f"there are {MAX_BOARDS} boards; delete one first")
        _check_folder(self._own)
        write_bytes(self._own / f"{name}{SUFFIX}", text.encode())
        return self._now(name)

    def delete(self, name: str, version: str) -> BoardFile | None:
        """Of the data folder; a board of the same name behind it comes back. Raises ValueError, VersionConflict, Unwritable."""
        check_name(name)
        self._check_version(name, version)
        found = self.named(name)
        if found is None or found.source != "data":
            raise ValueError(f"{name!r} is no board of the data folder; only those can be deleted here")
        _check_folder(self._own)
        try:
            (self._own / f"{name}{SUFFIX}").unlink(missing_ok=True)
        except OSError as error:
            raise Unwritable(f"cannot delete the board {name!r} ({error.strerror})") from error
        return self.named(name)

    def _now(self, name: str) -> BoardFile:
        found = self.named(name)
        if found is None:
            raise Unwritable(f"the board {name!r} was saved, and has vanished since")
        return found

    def _check_version(self, name: str, version: str) -> None:
        found = self.named(name)
        now = found.version if found else ""
        if now != version:
            what = "has been changed" if found and version else "exists already" if found else "has been deleted"
            raise VersionConflict(
                f"the board {name!r} {what} meanwhile; nothing is saved: copy your text, and load it again", now
            )

    def _of(self, source: BoardSource, folder: Path) -> Iterator[BoardFile]:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # there is none, it is a link, or it is not ours to read
            return
        try:
            for file_name, stamp in sorted(_stamps(descriptor).items())[:MAX_BOARDS]:
                kept = self._kept.get(folder / file_name)
                if kept is None or kept.stamp != stamp or not kept.settled:
                    file = _read(source, file_name, descriptor, kept.file if kept else None)
                    kept = _KeptBoard(stamp, time_ns() - stamp.modified_ns > SETTLED_NS, file)
                    self._kept[folder / file_name] = kept
                yield kept.file
        finally:
            os.close(descriptor)


def check_name(name: str) -> None:
    """Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a board: letters, digits, - and _, at most 80, such as my-gpus")


def version_of(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _read(source: BoardSource, file_name: str, folder: int, before: BoardFile | None) -> BoardFile:
    """What it says; where it is broken, what it said before."""
    name = file_name.removesuffix(SUFFIX)
    last_good = before.board if before else None
    text, version = "", ""
    try:
        data = bytes_of(file_name, folder)
        version = version_of(data)
        if before is not None and before.version == version:
            return before
        text = data.decode("utf-8-sig")
        return BoardFile(name, source, text, version, board_of(text))
    except (OSError, ValueError) as error:
        why = why_unread(error)
    return BoardFile(name, source, text, version or version_of(why.encode()), last_good, why)


def _stamps(folder: Path | int) -> dict[str, FileStamp]:
    """Of the files that may be boards, by name; what vanishes meanwhile is not there."""
    found = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and NAME.fullmatch(entry.name.removesuffix(SUFFIX)):
                with suppress(OSError):
                    found[entry.name] = stamp_of(entry.stat(follow_symlinks=False))
    return found


def _check_folder(folder: Path) -> None:
    """Raises Unwritable where it is a link, or no folder: nothing is written elsewhere."""
    with suppress(FileNotFoundError):
        if not S_ISDIR(folder.lstat().st_mode):
            raise Unwritable(f"{folder} is a link or a file; move it away, so that boards have a folder")


# Write a board as YAML: what is read from it again is the same board.

WIDE = 100  # characters of a line, where it can be broken


class _BoardDumper(yaml.SafeDumper):
    """Lists are indented, short tables of words stand in a line, and text of several lines line by line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _list_node(dumper: yaml.SafeDumper, items: list[object]) -> yaml.SequenceNode:
    short = all(isinstance(item, str | int | float) and len(str(item)) < 30 for item in items) and len(items) <= 4
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


def _table_node(dumper: yaml.SafeDumper, table: dict[object, object]) -> yaml.MappingNode:
    tones = all(not isinstance(key, str) for key in table)
    return dumper.represent_mapping("tag:yaml.org,2002:map", list(table.items()), flow_style=tones)


_BoardDumper.add_representer(str, text_node)
_BoardDumper.add_representer(list, _list_node)
_BoardDumper.add_representer(dict, _table_node)


def written(board: Board) -> str:
    """YAML text, without what is as usual."""
    return yaml.dump(plain_board(board), Dumper=_BoardDumper, allow_unicode=True, sort_keys=False, width=WIDE)
