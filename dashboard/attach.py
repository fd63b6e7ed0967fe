"""Makes a run of a process that is already running."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collectors.logs.recognition import format_of
from collectors.machine.proc import (
    PROC,
    command_of,
    descendants,
    embeds_python,
    folder_of,
    is_for_writing,
    is_kernel_thread,
    printable,
    program_of,
    runs_python,
    start_ticks,
    uid_of,
    user_of,
)
from collectors.machine.writers import OUTPUT
from collectors.rights import left_alone
from collectors.sampler.refusal import trouble
from deepseek.log.redaction import without_secrets

MAX_LINKS, MAX_DESCRIPTORS = 20, 4096  # of one process
OF_THE_RUN = ("run.json", "exit.json", "started.json")  # names of files that say what a run is
SCRIPT = re.compile(r"([^/]+)\.(py|sh)")
MAX_NAMED = 3  # processes


class AttachRefused(Exception):
    """One sentence on why, with the remedy."""


class AttachedRun(NamedTuple):
    run: str
    notes: list[str]  # one sentence each on what it will not have, and why


def why_not(pid: int) -> str:
    """Why a process cannot become a run, in one sentence; "" where it can. About 0.2 ms."""
    owner = uid_of(pid)
    if start_ticks(pid) is None or owner is None:
        return f"there is no process {pid} here; ps lists them"
    if os.geteuid() not in (0, owner):
        user = user_of(owner)
        return f"process {pid} belongs to user {user}; run the dashboard as {user}"
    if why := left_alone(owner):
        return f"process {pid} {why}"
    if pid in (os.getpid(), os.getppid()):
        return "this is the dashboard itself"
    if is_kernel_thread(pid):
        return f"process {pid} is a thread of the kernel, which runs no program"
    return "" if runs_python(pid) or embeds_python(pid) else _no_python(pid)


def _no_python(pid: int) -> str:
    """A shell or a container's first process is not what trains: those that it has started are not taken instead, but named."""
    named = Path((command_of(pid) or [program_of(pid)])[0]).name or "?"  # one that has just begun has no command yet
    below = [child for child in descendants(pid) if uid_of(child) == uid_of(pid) and runs_python(child)]
    words = [f"{child} ({' '.join(without_secrets(command_of(child)[:3]))})" for child in below[:MAX_NAMED]]
    instead = f"; name a Python process that it has started: {', '.join(words)}" if words else ""
    return f"process {pid} ({named}) runs no Python{instead}"


def attach(log_dir: Path, pid: int, name: str = "") -> AttachedRun:
    """Raises AttachRefused."""
    if reason := why_not(pid):
        raise AttachRefused(reason)
    words = without_secrets(command_of(pid))
    name = name or name_of(words, pid)
    folder, held = _made(log_dir, name)
    try:
        notes = _filled(held, pid, words, log_dir)
    finally:
        os.close(held)
    return AttachedRun(folder.relative_to(log_dir.resolve()).as_posix(), notes)


def _filled(folder: int, pid: int, words: list[str], log_dir: Path) -> list[str]:
    """Put `run.json`, and the logs, into an empty folder. By its descriptor: another user may own the one above, and exchange it."""
    about = {
        "kind": "process",
        "pid": pid,
        "host": socket.gethostname(),
        "started_s": time.time(),
        "attached": True,
        "cwd": printable(folder_of(pid)),
        "argv": words[:1000],
    }
    notes = [*_linked(pid, folder, log_dir), *unreadable(pid)]
    new = ".run.json"
    with os.fdopen(
        os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=folder), "w"
    ) as file:
        file.write(json.dumps(about))
        file.flush()
        owner = uid_of(pid) or 0
        if os.geteuid() == 0:  # whose process it is may name it, and see its run
            os.chown(file.fileno(), owner, -1)
    os.replace(new, "run.json", src_dir_fd=folder, dst_dir_fd=folder)
    if os.geteuid() == 0:
        os.chown(folder, owner, -1)
    return notes


def unreadable(pid: int) -> list[str]:
    """Why it has no stacks, with the remedies; nothing where it has."""
    try:
        os.close(
            os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        )  # the kernel asks what it asks before stacks are read
    except PermissionError:
        found = trouble(pid, "native", "permission denied")
        return [f"{found.sentence} Remedy: {found.remedy}. Charts and logs work."] if found else []
    except OSError:
        pass
    return []


def name_of(words: list[str], pid: int) -> str:
    """`["python", "train.py"], 4127 -> "train-4127"`"""
    script = next((found[1] for word in words if (found := SCRIPT.fullmatch(Path(word).name))), None)
    plain = re.sub(r"[^\w.-]+", "-", script or (Path(words[0]).name if words else "")).strip(".-")[:60] or "process"
    return f"{plain}-{pid}"


def _made(log_dir: Path, name: str) -> tuple[Path, int]:
    """The run's folder, and its descriptor: it is new, and ours."""
    if name.startswith((".", "/")) or ".." in name.split("/") or "\0" in name or len(name.encode()) > 200:
        raise AttachRefused(f"{name!r} is no name of a run; leave out leading dots and slashes")
    folder = log_dir.resolve() / name
    try:
        folder.mkdir(parents=True)
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileExistsError:
        raise AttachRefused(f"there is a run {name!r} already; choose another name") from None
    except OSError as error:
        raise AttachRefused(f"cannot write to {log_dir} ({error.strerror}); choose another log folder") from None
    if os.geteuid() == 0 and (os.fstat(held).st_uid != 0 or os.listdir(held)):  # noqa: PTH208  # of a descriptor
        os.close(held)
        raise AttachRefused(f"another user has exchanged {folder}; choose another log folder")
    return folder, held


def _linked(pid: int, folder: int, log_dir: Path) -> Iterator[str]:
    """Link the logs that it writes into the folder: the files stay where they are. Yields why some are not there.

    Its standard output and errors need no link: the collector follows those of every process of a run.
    """
    taken: set[tuple[int, int]] = set()
    for descriptor, path in _written(pid):
        name = Path(path).name
        if descriptor in OUTPUT or format_of(name) is None or name in OF_THE_RUN:
            continue
        try:
            found = os.stat(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH116
            key = found.st_dev, found.st_ino
            if (
                not stat.S_ISREG(found.st_mode)
                or found.st_uid != uid_of(pid)
                or key in taken
                or len(taken) >= MAX_LINKS
            ):
                continue
            taken.add(key)
            if Path(path).is_relative_to(log_dir.resolve()):
                yield f"{path} lies in the log folder, and is read there"
                continue
            _link(pid, descriptor, name, folder)
        except FileExistsError:
            continue
        except OSError as error:
            yield f"{path} is not shown ({error.strerror}); the log folder must be on the same file system, and the file yours"


def _link(pid: int, descriptor: str, new: str, folder: int) -> None:
    """Another name for an open file, in a folder. Only with a folder's descriptor does Python ask the kernel to follow the link in /proc."""
    open_files = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(descriptor, new, src_dir_fd=open_files, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(open_files)


def _written(pid: int) -> Iterator[tuple[str, str]]:
    """The descriptor and path of each file that it has open for writing."""
    with suppress(OSError):
        for descriptor in sorted(os.listdir(PROC / str(pid) / "fd"), key=int)[:MAX_DESCRIPTORS]:  # noqa: PTH208
            with suppress(OSError):
                path = os.readlink(f"/proc/{pid}/fd/{descriptor}")  # noqa: PTH115
                if path.startswith("/") and not path.endswith(" (deleted)") and is_for_writing(PROC, pid, descriptor):
                    yield descriptor, path
