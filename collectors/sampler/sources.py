"""Reads source files as the sampled process sees them, with its user's rights, and keeps those that changed."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import queue
import re
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

from ..machine.proc import PROC, TICKS_PER_S
from ..records import SourceText, StackRecording
from ..rights import NotGiven, libc, rights_of_process, rights_of_user, with_rights
from . import RunRank, Target

MAX_BYTES = 1_000_000  # of a file
SYS_OPENAT2 = 437  # the same number on all architectures
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x02, 0x10
OF_THE_KERNEL = {  # file systems of which no file is a source text, by their magic number
    0x9FA0, 0x62656572, 0x64626720, 0x74726163, 0x27E0EB, 0x63677270, 0x73636673, 0xCAFE4A11, 0x62656570, 0x1CD1, 0xDE5E81E4, 0x6165676C,
}  # fmt: skip
FORBIDDEN = ("proc", "sys", "dev")
LINK_FOLLOWING_UNKNOWN = {errno.ENOSYS, errno.EPERM, errno.EINVAL}
T = TypeVar("T")


class Unreadable(Exception):
    """The text is one sentence."""


class FilePart(NamedTuple):
    data: bytes
    file_bytes: int  # of the whole file
    written_s: float  # when that was last written, Unix seconds


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def read_as_owner(pid: int, path: str) -> tuple[bytes, float]:
    """A regular file's bytes and the Unix time of its last change, by its path in a process.

    Call it in a dedicated thread: its file-system rights are those of the process's user meanwhile.
    Raises Unreadable.
    """
    try:
        who = rights_of_process(pid, PROC)
        where = path if path.startswith("/") else f"{folder_of(pid)}/{path}"
        _check_path(where)
        with with_rights(who):
            return _read(pid, where)
    except FileNotFoundError as error:
        raise Unreadable("The file is not there.") from error
    except PermissionError as error:
        raise Unreadable("The user of the process may not read the file.") from error
    except NotGiven as error:
        raise Unreadable(str(error)) from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"The file cannot be read: {error}.") from error


def read_as_user(path: str, uid: int) -> tuple[bytes, float]:
    """The same for an absolute path of our own folders and a user, who need not run anything. Raises Unreadable.

    If we are another user and not root, only files that all users may read are read.
    """
    return _as_user(path, uid, _read_descriptor)


def part_as_user(path: str, uid: int, offset: int, most_bytes: int) -> FilePart:
    """The same for some bytes of a file that may be large and may grow meanwhile. Raises Unreadable."""
    return _as_user(path, uid, lambda found: _read_part(found, offset, most_bytes))


def _as_user(path: str, uid: int, read: Callable[[int], T]) -> T:
    try:
        _check_path(path)
        if os.geteuid() not in (0, uid):
            return _closing(_find_public(path), read)
        with with_rights(rights_of_user(uid)):
            return _closing(os.open(path, os.O_PATH | os.O_CLOEXEC), read)
    except FileNotFoundError as error:
        raise Unreadable("The file is not there.") from error
    except PermissionError as error:
        raise Unreadable("The owner of the run may not read the file.") from error
    except NotGiven as error:
        raise Unreadable(str(error)) from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"The file cannot be read: {error}.") from error


def folder_of(pid: int) -> str:
    """The working folder, as the process names it."""
    return str((PROC / str(pid) / "cwd").readlink())


def _check_path(path: str) -> None:
    if not path.startswith("/") or PurePosixPath(path).parts[1:2] in [(name,) for name in FORBIDDEN]:
        raise Unreadable("Files of /proc, /sys and /dev are not read.")


def _read(pid: int, path: str) -> tuple[bytes, float]:
    root = os.open(PROC / str(pid) / "root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _read_regular(_find(root, path))
    finally:
        os.close(root)


def _find(root: int, path: str) -> int:
    """The file as an O_PATH descriptor, which has no effect on the file; links are followed as in the process."""
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    found = libc().syscall(SYS_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if found >= 0:
        return int(found)
    code = ctypes.get_errno()
    if code in LINK_FOLLOWING_UNKNOWN:  # a kernel before 5.6, or a container that filters it
        return _find_without_links(root, path)
    raise OSError(code, os.strerror(code))


def _find_public(path: str) -> int:
    """An O_PATH descriptor of a file that every user may reach and read."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _find_without_links(root, os.path.realpath(path), public=True)
    finally:
        os.close(root)


def _is_public(about: os.stat_result) -> bool:
    return bool(about.st_mode & (stat.S_IXOTH if stat.S_ISDIR(about.st_mode) else stat.S_IROTH))


def _find_without_links(root: int, path: str, public: bool = False) -> int:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise Unreadable("The file's path leads through '..'.")
    folder = os.dup(root)
    for part in parts:
        flags = os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            found = os.open(part, flags, dir_fd=folder)
        finally:
            os.close(folder)
        folder, about = found, os.fstat(found)
        if stat.S_ISLNK(about.st_mode):
            os.close(found)
            raise Unreadable("The file is reached by a link, which this kernel cannot follow safely.")
        if public and not _is_public(about):
            os.close(found)
            raise Unreadable("The file belongs to another user than the run.")
    return folder


def _read_regular(found: int) -> tuple[bytes, float]:
    return _closing(found, _read_descriptor)


def _closing(found: int, read: Callable[[int], T]) -> T:
    """What is read by an O_PATH descriptor, which is closed."""
    try:
        return read(found)
    finally:
        os.close(found)


def _read_descriptor(found: int) -> tuple[bytes, float]:
    """Raises Unreadable unless it is a regular file of a disk, not too large, and not open for writing."""
    file = _open_regular(found)
    try:
        before = os.fstat(file)
        if before.st_size > MAX_BYTES:
            raise Unreadable(f"The file is larger than {MAX_BYTES // 1_000_000} MB.")
        data = b"".join(_parts(file))
        after = os.fstat(file)
    finally:
        os.close(file)
    if len(data) > MAX_BYTES or (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise Unreadable("The file changed while it was read.")
    return data, max(after.st_mtime, after.st_ctime)


def _read_part(found: int, offset: int, most_bytes: int) -> FilePart:
    file = _open_regular(found)
    try:
        about = os.fstat(file)
        data, end = b"", min(offset + most_bytes, about.st_size)
        while offset + len(data) < end and (part := os.pread(file, end - offset - len(data), offset + len(data))):
            data += part
        return FilePart(data, about.st_size, about.st_mtime)
    finally:
        os.close(file)


def _open_regular(found: int) -> int:
    if not stat.S_ISREG(os.fstat(found).st_mode) or _file_system(found) in OF_THE_KERNEL:
        raise Unreadable("It is not a regular file.")
    return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _parts(file: int) -> Iterator[bytes]:
    left = MAX_BYTES + 1
    while left > 0 and (part := os.read(file, left)):
        left -= len(part)
        yield part


def _file_system(file: int) -> int:
    about = (ctypes.c_long * 32)()  # struct statfs begins with the magic number
    if libc().fstatfs(file, ctypes.byref(about)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(about[0]) & 0xFFFFFFFF


# Keep the text of a run's own source files, as its processes loaded it: read when a file first appears in a stack.

MAX_WAITING = 1000  # files that wait to be read
CLOCK_SLACK_S = 0.05  # between a start time in ticks and a file's time
LIBRARY = re.compile(r"/(site|dist)-packages/|/lib(64)?/python\d|^<frozen |^<__array_function__")
GENERATED = re.compile(r"/torchinductor_|/torch_compile_debug/|/\.?triton(_cache)?/|/__pycache__/")
CELL = re.compile(r"^<ipython-input-|/ipykernel_\d+/|^<stdin>|^<string>")
OF_A_CELL = (
    "The text of a notebook cell or of typed code is on no disk; its lines are counted from the beginning of the cell."
)
CHANGED = "The file changed after the run started: its lines today may not be those that ran."


class _SourceRequest(NamedTuple):
    run: str
    pid: int  # of the process in which it was seen
    start_ticks: int  # of the run's oldest process of that rank: a forked worker has its modules from there
    path: str


class SourceCollector:
    """Finds new files in profiles, and reads them in a thread of its own: a file system that hangs keeps nothing else waiting."""

    def __init__(self, read: Callable[[int, str], tuple[bytes, float]] = read_as_owner) -> None:
        """`read` returns a file's bytes and the Unix time of its last change, as the process with that pid sees it."""
        self._read = read
        self._seen: set[tuple[str, int, str]] = set()  # run, start ticks, path
        self._wanted: queue.Queue[_SourceRequest] = queue.Queue(MAX_WAITING)
        self._found: queue.SimpleQueue[SourceText] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()

    def look(self, profiles: Iterable[StackRecording], targets: Sequence[Target]) -> None:
        """Note the new files of these profiles. 0.15 ms for a window of 500 spans of 100 stacks."""
        mains = {of: target.start_ticks for target in targets if target.role == "main" for of in target.runs}
        by_pid = {target.pid: target for target in targets}
        for profile in profiles:
            target = by_pid.get(profile.pid)
            of = RunRank(profile.run, profile.rank)
            if target is None:
                continue
            ticks = min(target.start_ticks, mains.get(of, target.start_ticks))
            for path in _files_of(profile):
                self._want(_SourceRequest(profile.run, target.pid, ticks, path))

    def texts(self) -> list[SourceText]:
        """The texts read since the last call, without waiting."""
        found: list[SourceText] = []
        while not self._found.empty():
            found.append(self._found.get_nowait())
        return found

    def close(self) -> None:
        """Does not wait for a file system that hangs: the thread is a daemon."""
        self._closed.set()
        if self._reader:
            self._reader.join(timeout=0.5)

    def keep_only(self, runs: Collection[str]) -> None:
        """Forget runs that no longer have a process."""
        self._seen = {key for key in self._seen if key[0] in runs}

    def _want(self, wanted: _SourceRequest) -> None:
        key = (wanted.run, wanted.start_ticks, wanted.path)
        if key in self._seen or not is_own(wanted.path):
            return
        if not self._reader:
            self._reader = threading.Thread(target=self._work, name="source-texts", daemon=True)
            self._reader.start()
        try:
            self._wanted.put_nowait(wanted)
            self._seen.add(key)
        except queue.Full:  # it comes again with the next window
            return

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                wanted = self._wanted.get(timeout=0.2)
            except queue.Empty:
                continue
            self._found.put(self._text_of(wanted))

    def _text_of(self, wanted: _SourceRequest) -> SourceText:
        since_s = _started_s(wanted.start_ticks)
        run, path = wanted.run, wanted.path
        try:
            if CELL.search(path):
                raise Unreadable(OF_A_CELL)
            data, changed_s = self._read(wanted.pid, path)
            if changed_s > since_s + CLOCK_SLACK_S:
                raise Unreadable(CHANGED)
            return SourceText(run, path, hashlib.sha256(data).hexdigest(), data.decode("utf-8"), since_s)
        except UnicodeDecodeError:
            return SourceText(run, path, "", "", since_s, "The file is no UTF-8 text.")
        except Unreadable as error:
            return SourceText(run, path, "", "", since_s, str(error))


def is_own(path: str) -> bool:
    """Whether a frame's file may be the user's own: neither a library's nor made by a compiler."""
    return (
        bool(path)
        and not LIBRARY.search(path)
        and not GENERATED.search(path)
        and (path.endswith(".py") or bool(CELL.search(path)))
    )


def _files_of(profile: StackRecording) -> Iterator[str]:
    stacks = {id(sample.stack): sample.stack for sample in profile.samples}
    yield from {frame.file for stack in stacks.values() for frame in stack}


def _started_s(ticks: int) -> float:
    """Unix time of a start time in clock ticks since boot."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / TICKS_PER_S
