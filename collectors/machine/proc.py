"""Read /proc: whether a process lives, its user, parents and children, and how it was started."""

from __future__ import annotations

import functools
import os
import pwd
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
PROC_BYTES = 1 << 16  # more than any file that is read here in one go, but an environment
ENVIRONMENT_BYTES = 1 << 20
MAX_ANCESTORS = 64
PR_SET_CHILD_SUBREAPER = 36
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PF_KTHREAD = 0x0020_0000  # linux/sched.h
DEAD_STATES = "ZXx"  # a zombie is only waiting to be reaped
PYTHON = re.compile(r"python[\d.]*t?d?$")
FORK_SERVER = b"multiprocessing.forkserver"
HELPERS = (
    b"multiprocessing.resource_tracker",
    b"multiprocessing.semaphore_tracker",
)  # children that never run the user's code


@functools.lru_cache(maxsize=1)
def boot_id(proc: Path = PROC) -> str:
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int, proc: Path = PROC) -> int | None:
    """When a process started, in clock ticks since boot; None where it is gone or a zombie. About 10 us."""
    fields = _stat(pid, proc)
    return int(fields[19]) if fields and fields[0] not in DEAD_STATES else None


def alive(pid: int, ticks: int, proc: Path = PROC) -> bool:
    """Whether the process with this pid is still the one that started at `ticks`."""
    return start_ticks(pid, proc) == ticks


def is_stopped(pid: int, proc: Path = PROC) -> bool:
    """Whether a process was stopped by a signal (SIGSTOP, Ctrl-Z)."""
    return _stat(pid, proc)[:1] == ["T"]


def is_kernel_thread(pid: int, proc: Path = PROC) -> bool:
    fields = _stat(pid, proc)
    return bool(fields) and bool(int(fields[6]) & PF_KTHREAD)


def parent(pid: int, proc: Path = PROC) -> int | None:
    fields = _stat(pid, proc)
    return int(fields[1]) or None if fields else None


def ancestors(pid: int, proc: Path = PROC) -> Iterator[int]:
    """The parent of a process, that one's parent, and so on. About 10 us each."""
    for _ in range(MAX_ANCESTORS):
        above = parent(pid, proc)
        if above is None:
            return
        yield above
        pid = above


def children(pid: int, proc: Path = PROC) -> list[int]:
    return list(_children(pid, proc))


def uid_of(pid: int, proc: Path = PROC) -> int | None:
    """The real user id of a process; None where it is gone."""
    words = _read(f"{proc}/{pid}/status").partition(b"\nUid:")[2].split(maxsplit=1)
    return int(words[0]) if words else None


def uids_of(pid: int, proc: Path = PROC) -> frozenset[int]:
    """The real, effective, saved and file-system user ids of a process: several where it has another user's rights. None where it is gone."""
    words = _read(f"{proc}/{pid}/status").partition(b"\nUid:")[2].split(maxsplit=4)
    return frozenset(map(int, words[:4]))


def user_of(uid: int) -> str:
    """A user's name, else the number: a container often has no name for the host's users."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def command_of(pid: int, proc: Path = PROC) -> list[str]:
    """The words of a process's command line; none where it is gone or the kernel's own."""
    words = _read(f"{proc}/{pid}/cmdline").decode(errors="replace").split("\0")
    return words[:-1] if words[-1:] == [""] else words


def printable(text: str) -> str:
    """Without surrogates, which no JSON takes: /proc's bytes may be anything."""
    return text.encode("utf-8", "replace").decode()


def program_of(pid: int, proc: Path = PROC) -> str:
    """The name of the file that a process executes; "" where it is gone, a zombie, or another user's."""
    try:
        return (proc / str(pid) / "exe").readlink().name.removesuffix(" (deleted)")
    except OSError:
        return ""


def environment_of(pid: int, proc: Path = PROC) -> dict[str, str]:
    """The variables that a process was started with, not what it has set since; none where it is another user's."""
    words = _read(f"{proc}/{pid}/environ", ENVIRONMENT_BYTES).decode(errors="replace").split("\0")
    return {name: value for name, _, value in (word.partition("=") for word in words) if name}


def folder_of(pid: int, proc: Path = PROC) -> str:
    """The working folder of a process; "" where it is gone, deleted, or another user's."""
    try:
        folder = str((proc / str(pid) / "cwd").readlink())
    except OSError:
        return ""
    return "" if folder.endswith(" (deleted)") else folder


def cpu_ticks(pid: int, proc: Path = PROC) -> tuple[int, int]:
    """CPU time of a process, and of its children that have ended and were waited for; zeros where it is gone. 10 us."""
    fields = _read(f"{proc}/{pid}/stat").rpartition(b")")[2].split()  # from the state on, which is field 3
    return (int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])) if len(fields) > 14 else (0, 0)


def written_bytes(pid: int | str, proc: Path = PROC) -> int | None:
    """Bytes that a process, or a thread "self/task/7", has passed to write(), to files, pipes and terminals; None where it is gone or another user's. 10 us."""
    word = _read(f"{proc}/{pid}/io").partition(b"wchar: ")[2].split(maxsplit=1)
    return int(word[0]) if word else None


def pid_namespace(pid: int | str = "self", proc: Path = PROC) -> int | None:
    """The inode of a process's pid namespace; None where it is gone or another user's."""
    try:
        return (proc / str(pid) / "ns/pid").stat().st_ino
    except OSError:
        return None


def children_cpu_s(proc: Path = PROC) -> float:
    """CPU time of this process's children, including ended ones; to 10 ms for each living one."""
    stats = [_stat(child, proc) for child in _children(os.getpid(), proc)]
    living = sum(
        int(ticks) for fields in stats if fields for ticks in fields[11:15]
    )  # their own, and their ended children's
    times = os.times()
    return living / TICKS_PER_S + times.children_user + times.children_system


def threads(pid: int, proc: Path = PROC) -> frozenset[int]:
    """The ids of a process's threads, empty where it is gone."""
    try:
        with os.scandir(f"{proc}/{pid}/task") as tasks:
            return frozenset(int(task.name) for task in tasks)
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()


def threads_inside(pid: int, proc: Path = PROC) -> dict[int, int]:
    """The ids of a process's threads here, by those that they have in its own pid namespace."""
    return {_inner_pid(f"{proc}/{pid}/task/{tid}/status") or tid: tid for tid in threads(pid, proc)}


def descendants(pid: int, proc: Path = PROC) -> Iterator[int]:
    """The process tree below a process, parents first. About 5 us per thread, of which any may have children."""
    for child in _children(pid, proc):
        yield child
        yield from descendants(child, proc)


def workers_of(pid: int, proc: Path = PROC) -> list[int]:
    """The Python processes below a trainer that run its code: data-loader workers, pools."""
    return [child for child in descendants(pid, proc) if runs_python(child, proc) and not is_fork_server(child, proc)]


def runs_python(pid: int, proc: Path = PROC) -> bool:
    """Whether a process is a Python that may run a user's code, not one of multiprocessing's own helpers."""
    if not PYTHON.match(program_of(pid, proc)):
        return False
    command = _read(f"{proc}/{pid}/cmdline")
    return not any(helper in command for helper in HELPERS)


def embeds_python(pid: int, proc: Path = PROC) -> bool:
    """Whether a program that is not Python itself has loaded one. A file of /proc comes in pieces of a page; some 50 us."""
    try:
        return b"/libpython" in Path(f"{proc}/{pid}/maps").read_bytes()
    except OSError:
        return False


def is_fork_server(pid: int, proc: Path = PROC) -> bool:
    """Whether a process only forks workers when it is asked to. They have its command line, and it is their parent."""
    if FORK_SERVER not in _read(f"{proc}/{pid}/cmdline"):
        return False
    fields = _stat(pid, proc)
    return bool(fields) and FORK_SERVER not in _read(f"{proc}/{fields[1]}/cmdline")


def contained(proc: Path) -> dict[tuple[int, int], int | None]:
    """By the pid inside and start ticks, the processes of pid namespaces below ours. About 10 us per process."""
    found: dict[tuple[int, int], int | None] = {}
    for name in (entry.name for entry in proc.iterdir() if entry.name.isdecimal()):
        inside = _inner_pid(f"{proc}/{name}/status")
        ticks = start_ticks(int(name), proc) if inside else None
        if inside and ticks is not None:
            found[inside, ticks] = None if (inside, ticks) in found else int(name)
    return found


def _inner_pid(status: str) -> int | None:
    """The id of a process or thread in its pid namespace below ours; None where it is in ours."""
    pids = _read(status).partition(b"\nNSpid:")[2].partition(b"\n")[0].split()
    return int(pids[-1]) if len(pids) > 1 else None


def _children(pid: int, proc: Path) -> Iterator[int]:
    for tid in threads(pid, proc):
        children = _read(f"{proc}/{pid}/task/{tid}/children")
        yield from map(int, children.split())


def _stat(pid: int, proc: Path) -> list[str]:
    """Fields 3 and up of /proc/<pid>/stat; none where the process is gone. The name in field 2 may hold blanks and brackets."""
    stat = _read(f"{proc}/{pid}/stat")
    return stat[stat.rindex(b")") + 2 :].decode().split() if stat else []


def _read(path: str, most_bytes: int = PROC_BYTES) -> bytes:
    """A file of /proc, empty where its process or thread is gone, or another user's. A quarter of what `Path.read_bytes` costs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    try:
        return os.read(descriptor, most_bytes)
    except (ProcessLookupError, PermissionError):
        return b""
    finally:
        os.close(descriptor)


def adopt_orphans() -> None:
    """What processes below us leave behind becomes our child."""
    import ctypes  # 5 ms, while the program starts

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def is_for_writing(proc: Path, pid: int, number: str) -> bool:
    with suppress(OSError, IndexError, ValueError):  # closed meanwhile
        flags = Path(f"{proc}/{pid}/fdinfo/{number}").read_text().split("flags:", 1)[1].split(maxsplit=1)[0]
        return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def identity_of_path(path: Path) -> tuple[int, int] | None:
    """Device and inode."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
