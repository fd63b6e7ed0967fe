"""Log files that a program opens itself, wherever they are, copied into the folder of its run."""

from __future__ import annotations

import heapq
import itertools
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..machine.proc import (
    PROC,
    children,
    command_of,
    descendants,
    folder_of,
    is_for_writing,
    start_ticks,
    written_bytes,
)
from ..machine.ranks import started
from ..machine.run_state import is_text
from ..machine.writers import OUTPUT, open_files
from .linked_folders import (
    LOOK_S,
    LOOK_SHARE,
    MAX_ENTRIES,
    MAX_FOLDERS,
    NAMES,
    PARTS,
    WHOLE,
    LinkedFiles,
    folder_for,
    numbered,
    start_of,
)
from .output import TimesFile, times_path

JUDGED = re.compile(r"(?!(?:events|metrics|logged_samples)\b).+\.(jsonl|csv|tsv)")  # may be data as well as metrics
CHECKPOINT = re.compile(r"checkpoint-\d+")
PIECE = 1 << 20
HEAD_BYTES = 64 << 10  # by which a file of numbers is told from data, as the reader of the copy does
MAX_BYTES = 512 << 20  # copied of one file
MAX_WHOLE_BYTES = 16 << 20
MAX_FILES, MAX_OF_ALL = 100, 1 << 30  # of a program: files, and bytes of all of them
MIN_FREE_BYTES, MIN_FREE_SHARE = 2 << 30, 0.05  # left free on the disk, whichever is less
NEAR_S = 5.0  # between two looks for other processes that work here, where nothing changes
MAX_DESCRIPTORS = 4096  # of a process
SHARED = {Path("/"), Path("/tmp"), Path("/var/tmp")}  # working folders below which everybody writes
LEFT_OUT = {"node_modules", "site-packages", "__pycache__", "mlruns"}  # folders
OURS = {"app.py", "deepseek-dashboard"}  # scripts: a dashboard writes whenever a program does, into its own store


def follow(names: LinkedFiles, files: ProgramFiles, wait: Callable[[float], bool]) -> None:
    """Look for what a program writes until `wait`, which takes seconds, says that it has ended; then once more."""
    ended, due_s = False, 0.0
    while not ended:
        if time.monotonic() >= due_s:
            begun_s = time.thread_time()
            names.look()
            files.look()
            due_s = time.monotonic() + (time.thread_time() - begun_s) / LOOK_SHARE
        else:
            files.copy()
        ended = wait(LOOK_S)
    files.copy()  # its last lines: a look may take longer than anybody waits
    names.look()
    files.look(has_ended=True)
    names.close()
    files.close()


class _FileStamp(NamedTuple):
    """A file as a look found it."""

    inode: int
    size: int
    mtime_ns: int


class _Doubt(NamedTuple):
    """A file that is written by somebody who does not hold it open."""

    begin: int  # its size before this was noticed
    others: frozenset[int]  # who may write it instead


class ProgramFiles:
    """Finds what one program writes, and copies it."""

    def __init__(self, run: Path, working: Path, left_out: Sequence[Path]) -> None:
        """`left_out` are folders whose files are found in other ways."""
        self._run, self._working, self._left_out = run, working, [*left_out, run]
        self._since_ns = start_of(run)
        self._seen: dict[Path, _FileStamp] | None = None  # files of the working folder
        self._before: dict[int, int] = {}  # by pid, what others' processes had written before the last look, bytes
        self._wrote = 0  # the program, ended processes of it too, before the last look, bytes
        self._doubts: dict[Path, _Doubt] = {}
        self._refused: set[Path] = set()  # others write these
        self._copies: dict[Path, _Copy] = {}
        self._room = _DiskSpace(run)
        self._bases: dict[Path, Path] = {}  # folder of the program -> folder of the run
        self._children: set[int] = set()  # of this process, that lived at the last look
        self._near: list[int] = []  # others that work here
        self._near_due_s = 0.0  # when they are looked for again, CLOCK_MONOTONIC

    def look(self, *, has_ended: bool = False) -> None:
        """Find new files, and copy what is new."""
        own, living = list(descendants(os.getpid())), _living_children()
        if time.monotonic() >= self._near_due_s:
            self._near, self._near_due_s = list(_OtherProcesses(own).near(self._working)), time.monotonic() + NEAR_S
        doubted = {pid for doubt in self._doubts.values() for pid in doubt.others}
        wrote, before = _written_by_program(own), _written({*self._near, *doubted})
        held, seen = dict(self._held_by(own)), dict(self._beside())
        known = self._seen or {}
        new = [path for path in held if path not in self._copies and path not in self._refused]
        changed = [
            path
            for path, now in seen.items()
            if path not in self._copies and path not in self._refused and now != known.get(path)
        ]
        if new or changed:
            rest = _OtherProcesses(own)
            self._near = list(rest.near(self._working))
            able = {*self._before, *self._near}  # who has ended since the last look is in the first alone
            after = _written(self._near)
            left = _living_children()
            if not has_ended and not (left and self._children <= left):
                self._children = left
                self.copy()
                return  # what an ended one wrote is known at the last look
            grown = _written_by_program(own) - self._wrote
            if self._seen is None:
                self._seen = {path: self._at_first(now, grown) for path, now in seen.items()}
            spare = grown - sum(
                self._growth(path, seen[path])
                for path in self._copies
                if path in seen and seen[path] != known.get(path)
            )
            for path in new:
                self._take_held(path, held[path], grown, rest)
            growths = {path: self._growth(path, seen[path]) for path in changed if seen[path] != self._seen.get(path)}
            open_ones = {path: growth for path, growth in growths.items() if path not in self._copies}
            is_clear = (
                sum(open_ones.values()) <= spare
            )  # else one of them is another program's, which may have ended since
            for path, growth in open_ones.items():
                self._judge(path, seen[path], growth, spare, after, able, rest, is_clear)
        self.copy()
        self._seen, self._wrote, self._children = seen, wrote, living
        self._before = {**dict.fromkeys(self._near, 0), **before}

    def copy(self) -> None:
        """What is new in the files that are known."""
        for copy in self._copies.values():
            with suppress(OSError):  # it is tried again
                copy.go_on()

    def close(self) -> None:
        for copy in self._copies.values():
            with suppress(OSError):
                copy.end()

    def _at_first(self, now: _FileStamp, grown: int) -> _FileStamp:
        """As it may have been when the program began, a moment before the first look."""
        return now if now.mtime_ns < self._since_ns else now._replace(size=max(0, now.size - grown), mtime_ns=0)

    def _held_by(self, pids: Iterable[int]) -> Iterator[tuple[Path, os.stat_result]]:
        """The logs that these processes have open for writing, under the names that they have here."""
        for pid in pids:
            for number, target in itertools.islice(open_files(pid), MAX_DESCRIPTORS):
                path = Path(target)
                if not target.startswith("/") or not self._is_log(path) or not is_for_writing(PROC, pid, number):
                    continue
                if number in OUTPUT:  # the collector reads what it prints into a file
                    self._refused.add(path)
                    continue
                with suppress(OSError):
                    found, here = os.stat(f"{PROC}/{pid}/fd/{number}"), os.lstat(path)  # noqa: PTH116
                    if (found.st_dev, found.st_ino) == (here.st_dev, here.st_ino) and _is_ours(here):
                        yield path, here

    def _is_log(self, path: Path) -> bool:
        """By its name, and where it is."""
        known = not path.name.startswith(".") and (NAMES.fullmatch(path.name) or is_text(path.name))
        return bool(known) and not any(path.is_relative_to(folder) for folder in self._left_out)

    def _beside(self) -> Iterator[tuple[Path, _FileStamp]]:
        """The logs in the working folder and below it; the newest folders first."""
        folders = [(0.0, str(self._working))]
        for _ in range(MAX_FOLDERS):
            if not folders:
                return
            _, folder = heapq.heappop(folders)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in itertools.islice(entries, MAX_ENTRIES):
                    if entry.name.startswith(".") or entry.name in LEFT_OUT:
                        continue
                    path = Path(entry.path)
                    with suppress(FileNotFoundError):  # gone since it was listed
                        if entry.is_dir(follow_symlinks=False):
                            if (
                                self._working not in SHARED
                                and path not in self._left_out
                                and not os.path.lexists(path / "pyvenv.cfg")
                            ):
                                heapq.heappush(folders, (-entry.stat().st_mtime, entry.path))
                        elif self._is_log(path) and _is_ours(found := entry.stat(follow_symlinks=False)):
                            yield path, _FileStamp(found.st_ino, found.st_size, found.st_mtime_ns)

    def _take_held(self, path: Path, found: os.stat_result, grown: int, rest: _OtherProcesses) -> None:
        """What it had before the program opened it is not the program's: at most what that wrote since the last look is."""
        if rest.hold(path):
            self._refused.add(path)
            return
        before = (self._seen or {}).get(path)
        if before is not None and before.inode == found.st_ino and before.size <= found.st_size:
            self._take(path, before.size)
        else:
            self._take(
                path,
                found.st_size - min(found.st_size, grown) if found.st_mtime_ns >= self._since_ns else found.st_size,
            )

    def _begin(self, path: Path, now: _FileStamp) -> int:
        """Its size at the last look; 0 where it is another file."""
        before = (self._seen or {}).get(path)
        return before.size if before is not None and before.inode == now.inode and before.size <= now.size else 0

    def _growth(self, path: Path, now: _FileStamp) -> int:
        """What was written of it since the last look, bytes."""
        return now.size if WHOLE.fullmatch(path.name) else now.size - self._begin(path, now)

    def _judge(
        self,
        path: Path,
        now: _FileStamp,
        size: int,
        spare: int,
        written: Mapping[int, int],
        able: Collection[int],
        rest: _OtherProcesses,
        is_clear: bool,
    ) -> None:
        """Somebody wrote so much of it since the last look, and does not hold it open; the program wrote `spare` bytes that nobody knows of."""
        if spare < size or rest.hold(path):
            self._refused.add(path)
            return
        doubt = self._doubts.get(path)
        if doubt is None:
            doubt = _Doubt(self._begin(path, now), frozenset({*able, *rest.naming(path, self._working)}))
        left = frozenset(
            pid for pid in doubt.others if self._may_have_written(pid, size, written.get(pid) or written_bytes(pid))
        )
        if left or not is_clear:
            self._doubts[path] = doubt._replace(others=left)
        else:
            self._take(path, doubt.begin)

    def _may_have_written(self, pid: int, size: int, written: int | None) -> bool:
        """So many bytes since the last look. One that has ended since then may have."""
        before = self._before.get(pid)
        return before is not None if written is None else written - (before or 0) >= size

    def _take(self, path: Path, begin: int) -> None:
        self._doubts.pop(path, None)
        if len(self._copies) < MAX_FILES:
            self._copies[path] = _Copy(path, self._name_of(path), begin, self._room)

    def _name_of(self, path: Path) -> Path:
        """Text logs, and what lies in the working folder itself, are the run's own; of other files of numbers the first folder is the run,
        and a further one a folder of it."""
        inside, folder = Path(path.name), self._run
        if not is_text(path.name):
            base = path.parent
            while base.name in PARTS or CHECKPOINT.fullmatch(base.name):
                inside, base = base.name / inside, base.parent
            if base != self._working:
                folder = folder_for(base, self._run, self._bases)
        return folder / inside


class _OtherProcesses:
    """The user's processes that are not the program's, as they are now; what a look asks about them is asked once."""

    def __init__(self, own: Sequence[int]) -> None:
        left_out = {*own, *descendants(os.getpid())} - {os.getpid()}  # we hold where the program's output goes
        with os.scandir(PROC) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
        self._pids = [pid for pid in pids if pid not in left_out and _is_the_users(pid)]
        self._folders: dict[int, str] | None = None
        self._open: dict[str, list[tuple[int, str]]] | None = None
        self._words: dict[int, list[str]] = {}

    def near(self, working: Path) -> Iterator[int]:
        """Those that work in this folder, or in one above or below it; no dashboards, which write when a program does."""
        below, text = f"{working}/", str(working)
        for pid, folder in self._working().items():
            is_above = folder.count("/") > 1 and below.startswith(f"{folder}/")
            if (
                (folder == text or folder.startswith(below) or is_above)
                and pid != os.getpid()
                and not self._is_dashboard(pid)
            ):
                yield pid

    def naming(self, path: Path, working: Path) -> Iterator[int]:
        """Those whose command line names the file, or a folder of it."""
        places = {str(path), *(str(folder) for folder in path.parents if folder.is_relative_to(working))}
        for pid, folder in self._working().items():
            values = (word.partition("=")[2] if word.startswith("-") else word for word in self._command(pid)[1:])
            named = any(os.path.normpath(os.path.join(folder, value)) in places for value in values if value)  # noqa: PTH118
            if named and pid != os.getpid() and not self._is_dashboard(pid):
                yield pid

    def hold(self, path: Path) -> bool:
        """Whether one of them has it open for writing."""
        if self._open is None:
            self._open = {}
            for pid in self._pids:
                for number, target in itertools.islice(open_files(pid), MAX_DESCRIPTORS):
                    if target.startswith("/"):
                        self._open.setdefault(target, []).append((pid, number))
        return any(is_for_writing(PROC, pid, number) for pid, number in self._open.get(str(path), ()))

    def _working(self) -> dict[int, str]:
        if self._folders is None:
            self._folders = {pid: folder for pid in self._pids if (folder := folder_of(pid))}
        return self._folders

    def _command(self, pid: int) -> list[str]:
        if pid not in self._words:
            self._words[pid] = command_of(pid)
        return self._words[pid]

    def _is_dashboard(self, pid: int) -> bool:
        module, script = started(self._command(pid))
        return module == "collector" or Path(script).name in OURS


class _DiskSpace:
    """What the copies of a program may take of the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.left_bytes = MAX_OF_ALL

    def is_low(self) -> bool:
        """Whether the disk is almost full. Raises OSError."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize < min(MIN_FREE_BYTES, MIN_FREE_SHARE * disk.f_blocks * disk.f_frsize)


class _Copy:
    """A file that grows, or that is written anew."""

    def __init__(self, path: Path, to: Path, begin: int, room: _DiskSpace) -> None:
        """Where there is a file `to` already, the copy has the next free number in its name."""
        self._path, self._to, self._at, self._room = path, to, begin, room
        self._copied = 0
        self._source = self._target = -1
        self._mark: tuple[int, int, int] | None = None  # of a file that is written anew
        self._times: TimesFile | None = None
        self._head: bytes | None = b"" if JUDGED.fullmatch(path.name) else None  # of the copy; None where it is no data
        self._is_held_up = False  # by a full disk
        self._is_over = False

    def go_on(self) -> None:
        """Raises OSError."""
        if WHOLE.fullmatch(self._path.name):
            self._write_anew()
            return
        while not self._is_over:
            if self._source < 0:
                self._source = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            if self._target < 0:
                self._begin()
            self._read()
            if self._is_over or self._is_held_up:
                return
            try:
                there = self._path.stat()
            except FileNotFoundError:
                return
            held = os.fstat(self._source)
            if (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino):
                return
            os.close(self._source)  # it was rotated, and is read to its end
            self._source, self._at = -1, 0

    def end(self) -> None:
        """Raises OSError."""
        try:
            if self._is_held_up:
                self._stop("the disk is almost full")
        finally:
            self._close()

    def _begin(self) -> None:
        """At a whole line; a table has its header."""
        while self._at > 0 and os.pread(self._source, 1, self._at - 1) not in (b"\n", b""):
            self._at -= 1
        self._to.parent.mkdir(parents=True, exist_ok=True)
        names = numbered(self._to, self._to.suffix)
        while self._target < 0:
            self._to = next(names)
            with suppress(FileExistsError):
                self._target = os.open(
                    self._to, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666
                )
        self._times = TimesFile(times_path(self._to))
        if self._at and self._path.suffix in (".csv", ".tsv"):
            header = b"".join(os.pread(self._source, PIECE, 0).partition(b"\n")[:2])
            os.write(self._target, header)
            self._head = None if self._head is None else header

    def _read(self) -> None:
        size = os.fstat(self._source).st_size
        if size < self._at:  # emptied, and written anew
            self._at = 0
        self._is_held_up = False
        while self._at < size and not self._is_over:
            if self._copied >= MAX_BYTES:
                self._stop(f"it has more than {MAX_BYTES >> 20} MiB")
            elif self._room.left_bytes <= 0:
                self._stop(f"the program's files have more than {MAX_OF_ALL >> 20} MiB")
            elif self._room.is_low():
                self._is_held_up = True
                return
            elif not self._copy_piece(size):
                return

    def _copy_piece(self, size: int) -> int:
        """The number of its bytes."""
        data = os.pread(self._source, min(PIECE if self._head is None else HEAD_BYTES, size - self._at), self._at)
        if data and self._times is not None:
            self._times.note(os.fstat(self._target).st_size)
        count = os.write(self._target, data)
        self._at, self._copied, self._room.left_bytes = (
            self._at + count,
            self._copied + count,
            self._room.left_bytes - count,
        )
        if self._head is not None:
            self._head = (self._head + data[:count])[:HEAD_BYTES]
            why = _why_no_metrics(self._path.name, self._head)
            if why:
                self._stop(f"it {why}")
            elif why is not None:
                self._head = None
        return count

    def _stop(self, why: str) -> None:
        os.write(self._target, f"\n[the rest of {self._path} is not copied: {why}]\n".encode(errors="replace"))
        self._is_over, self._is_held_up = True, False
        self._close()

    def _close(self) -> None:
        for descriptor in (self._source, self._target):
            if descriptor >= 0:
                os.close(descriptor)
        self._source = self._target = -1
        if self._times is not None:
            self._times.close()

    def _write_anew(self) -> None:
        found = self._path.stat()
        mark, more = (found.st_ino, found.st_size, found.st_mtime_ns), found.st_size - self._copied
        if mark == self._mark or found.st_size > MAX_WHOLE_BYTES or more > self._room.left_bytes or self._room.is_low():
            return
        self._to.parent.mkdir(parents=True, exist_ok=True)
        if self._mark is None:
            self._to = next(name for name in numbered(self._to, self._to.suffix) if not os.path.lexists(name))
        fresh = self._to.with_name(f".{self._to.name}")
        fresh.write_bytes(self._path.read_bytes())
        fresh.replace(self._to)
        self._mark, self._copied, self._room.left_bytes = mark, found.st_size, self._room.left_bytes - more


def _why_no_metrics(name: str, head: bytes) -> str | None:
    """Why the reader of the copy leaves it, as the end of a sentence; "" where it reads it, None as long as more has to be seen."""
    from ..logs.formats import jsonl, tables  # 70 ms and 3 MB with orjson: most programs write no such file

    if name.endswith(".jsonl"):
        return jsonl.why_data(head)
    return tables.why_no_metrics(name, head)


def _living_children() -> set[int]:
    """Of this process: the program, and what it has left behind."""
    return {pid for pid in children(os.getpid()) if start_ticks(pid) is not None}


def _written(pids: Iterable[int]) -> dict[int, int]:
    return {pid: written for pid in pids if (written := written_bytes(pid)) is not None}


def _written_by_program(own: Iterable[int]) -> int:
    """By the living processes `own` and by those that have ended, which the kernel counts as written by their parent: us."""
    threads = os.listdir(f"{PROC}/self/task")  # noqa: PTH208
    ours = sum(written_bytes(f"self/task/{thread}") or 0 for thread in threads)
    return (written_bytes("self") or 0) - ours + sum(_written(own).values())


def _is_the_users(pid: int) -> bool:
    try:
        return os.stat(f"{PROC}/{pid}").st_uid == os.geteuid()  # noqa: PTH116
    except OSError:
        return False


def _is_ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
