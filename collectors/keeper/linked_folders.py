"""Log folders that a program writes beside it (`runs`, `lightning_logs`), linked into the folder of its run."""

from __future__ import annotations

import heapq
import itertools
import os
import re
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ..machine.proc import PROC, descendants, identity_of_path, is_for_writing

USUAL = (
    "logs",
    "runs",
    "lightning_logs",
    "outputs",
    "wandb",
    "mlruns",
    "trainer_output",
)  # log folders of training frameworks
NAMES = re.compile(
    r"events\.out\.tfevents\..+|.+\.(csv|tsv|jsonl|wandb)|hparams\.yaml|trainer_state\.json|(all|train|eval|test)_results\.json"
)
WHOLE = re.compile(r".+\.(json|yaml)")  # of these, written anew each time
PARTS = ("train", "training", "val", "valid", "validation", "eval", "test")  # a run's folders, not runs
LEFT_OUT = "mlruns"  # a file store is a tree of many runs
LOOK_S, LOOK_SHARE = 0.5, 0.01  # how often: at most, and of a core
MAX_LINKS = 200  # of a program
MAX_FOLDERS, MAX_ENTRIES = 300, 20_000  # of one look; of one folder
MAX_DOUBTS = 10_000  # folders and files that may be another program's
SLACK_NS = 50_000_000  # between the program's first file and the one that says that it started; a program before it ended earlier


class LinkedFiles:
    """Finds what one program writes."""

    def __init__(self, run: Path, beside: Sequence[Path]) -> None:
        """`run` is the folder of the program's run; `beside` are the folders to look into. They need not be there yet."""
        self._run, self._beside = run, beside
        self._since_ns = start_of(run)
        self._neighbours = Neighbours(beside[0].parent) if beside else None
        self._own: set[Path] = set()  # folders of the program, and files in the usual folders themselves
        self._doubts: set[Path] = set()  # of the same, those that were not its own when they were first seen
        self._bases: dict[Path, Path] = {}  # folder of the program -> folder of the run
        self._links: dict[Path, tuple[int, int]] = {}  # our name -> device and inode
        self._names: dict[Path, Path] = {}  # the program's name -> ours

    def look(self) -> None:
        """Give a second name to what is new."""
        for path, found in self._written():
            if len(self._links) < MAX_LINKS and self._is_own(path, found):
                with suppress(OSError):  # another file system, a full one, a file that is gone again
                    self._link(path, found)

    def close(self) -> None:
        if self._neighbours is not None:
            self._neighbours.close()

    def _written(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The user's own regular files that were written since the program started; the newest folders first."""
        folders = [(0.0, str(path)) for path in self._beside]
        for _ in range(MAX_FOLDERS):
            if not folders:
                return
            _, folder = heapq.heappop(folders)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in itertools.islice(entries, MAX_ENTRIES):
                    is_folder = entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                    if not is_folder and not NAMES.fullmatch(entry.name):
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if is_folder:
                        heapq.heappush(folders, (-found.st_mtime, entry.path))
                    elif (
                        stat.S_ISREG(found.st_mode)
                        and found.st_uid == os.geteuid()
                        and found.st_mtime_ns >= self._since_ns
                    ):
                        yield Path(entry.path), found

    def _is_own(self, path: Path, found: os.stat_result) -> bool:
        """A folder is the program's from its first file on; in the usual folders themselves each file is asked for."""
        base = base_of(path)
        what = path if base in self._beside else base
        if what in self._own:
            return True
        if what not in self._doubts and self._neighbours is not None and not self._neighbours.are_there():
            ours = not is_open(found, other_processes())
        else:
            ours = is_open(found, own_processes())
        if ours:
            self._own.add(what)
        elif len(self._doubts) < MAX_DOUBTS:
            self._doubts.add(what)
        return ours

    def _link(self, path: Path, found: os.stat_result) -> None:
        key = found.st_dev, found.st_ino
        name = self._names.get(path) or self._free_name(self._name_of(path), key)
        if self._links.get(name) == key:
            return
        name.parent.mkdir(parents=True, exist_ok=True)
        new = name.with_name(f".{name.name}")
        new.unlink(missing_ok=True)
        os.link(path, new, follow_symlinks=False)
        new.replace(name)
        self._links[name], self._names[path] = key, name

    def _name_of(self, path: Path) -> Path:
        base = next((base for base in self._bases if path.is_relative_to(base)), base_of(path))
        return folder_for(base, self._run, self._bases) / path.relative_to(base)

    def _free_name(self, first: Path, key: tuple[int, int]) -> Path:
        """One that no other file has; an earlier attempt of the run may have given it to this one."""
        return next(
            name
            for name in numbered(first, first.suffix)
            if name not in self._links and (WHOLE.fullmatch(name.name) or identity_of_path(name) in (None, key))
        )


class Neighbours:
    """Other watched programs of this user in the same folder: each has a socket of such a name, which goes with it."""

    def __init__(self, working: Path) -> None:
        place = ""
        with suppress(OSError):  # it was removed
            found = working.stat()
            place = f"{found.st_dev:x}-{found.st_ino:x}"
        self._prefix = f"deepseek-run-{os.geteuid()}-{place}-"
        self._own = f"{self._prefix}{os.getpid()}-{id(self):x}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with suppress(OSError):
            self._socket.bind(f"\0{self._own}")

    def are_there(self) -> bool:
        with suppress(OSError):
            names = re.findall(rf"@({re.escape(self._prefix)}\S+)", (PROC / "net/unix").read_text(errors="replace"))
            return any(name != self._own for name in names)
        return False

    def close(self) -> None:
        self._socket.close()


def base_of(path: Path) -> Path:
    """The folder of a run that the file is of: `runs/a/train/events... -> runs/a`."""
    base = path.parent
    while base.name in PARTS:
        base = base.parent
    return base


def folder_for(base: Path, run: Path, given: dict[Path, Path]) -> Path:
    """Where the files of a program's folder go: the first one is the run, a further one is a folder of it. `given` remembers them."""
    if base not in given:
        names = (name for name in numbered(run / base.name) if name not in given.values())
        given[base] = next(names) if given else run
    return given[base]


def numbered(first: Path, suffix: str = "") -> Iterator[Path]:
    """`train.log`, `train-2.log`, `train-3.log`, ..."""
    yield first
    for number in itertools.count(2):
        yield first.with_name(f"{first.name.removesuffix(suffix)}-{number}{suffix}")


def start_of(run: Path) -> int:
    """When the program started by the clock of the file system, nanoseconds: `started.json` is written then."""
    with suppress(OSError):
        return (run / "started.json").stat().st_mtime_ns - SLACK_NS
    return time.time_ns() - SLACK_NS


def own_processes() -> Iterator[int]:
    yield os.getpid()
    yield from descendants(os.getpid())


def other_processes() -> Iterator[int]:
    """The user's processes that are neither this one nor below it."""
    ours = set(own_processes())
    for pid in (int(path.name) for path in PROC.iterdir() if path.name.isdigit()):
        with suppress(OSError):  # it has ended meanwhile
            if pid not in ours and (PROC / str(pid)).stat().st_uid == os.geteuid():
                yield pid


def is_open(file: os.stat_result, pids: Iterable[int]) -> bool:
    """Whether one of these processes has it open for writing."""
    return any(_has_open(file, pid) for pid in pids)


def _has_open(file: os.stat_result, pid: int) -> bool:
    with suppress(OSError):
        for opened in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                found = opened.stat()
                if (found.st_dev, found.st_ino) == (file.st_dev, file.st_ino) and is_for_writing(
                    PROC, pid, opened.name
                ):
                    return True
    return False


def beside(working: Path, log_dir: Path) -> list[Path]:
    """The usual folders of a working directory that the log folder does not hold, and that are not left out."""
    folders = [working / name for name in USUAL if name != LEFT_OUT]
    return [folder for folder in folders if not folder.is_relative_to(log_dir) and not log_dir.is_relative_to(folder)]
