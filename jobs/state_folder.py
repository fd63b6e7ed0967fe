"""The folder of a user's queue, closed to others."""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from collectors.machine.proc import alive, boot_id, user_of

# A mistake of the user's, or a state of the host that the user can change.


class QueueError(Exception):
    """One sentence with the error and the remedy."""


class NoDaemon(QueueError):
    """No daemon answers for this queue."""


class NoAnswer(QueueError):
    """A daemon is there and has not answered: what was asked may have been done, or may be done yet."""


class NoSuchJob(QueueError):
    """No job of that number is in the queue."""


NAME = "deepseek-jobs"
VARIABLE = "DEEPSEEK_JOBS_DIR"
NO_HOME = Path("/nonexistent")
ALL_USERS = ["0", "0", str(2**32 - 1)]  # uid_map of a process outside of user namespaces
QUEUE, SOCKET, LOCK, LOG, ATTEMPTS, FLAGS = (
    "queue.sqlite",
    "daemon.sock",
    "lock",
    "daemon.log",
    "attempts",
    "daemon.json",
)


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`$DEEPSEEK_JOBS_DIR`, else `deepseek-jobs` in `$XDG_STATE_HOME` or `~/.local/state`; it need not exist. Reads no file.

    Without symbolic links: what runs is known by the path of its attempt's folder, whatever led there.
    """
    if named := environment.get(VARIABLE):
        return Path(os.path.realpath(named))
    home = environment.get("XDG_STATE_HOME") or _home(environment) / ".local" / "state"
    return Path(os.path.realpath(Path(home) / NAME))


def _home(environment: Mapping[str, str]) -> Path:
    """A user that is only a number, as in a container, may have none: then nothing is there, and what is to be written is refused in a sentence."""
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:
        return NO_HOME


def make(folder: Path) -> None:
    """Makes it and the folders above it that are missing, with mode 0700 whatever the umask.

    Raises QueueError where that fails, or the folder is not this user's alone.
    """
    try:
        missing = itertools.takewhile(lambda place: not place.exists(), (folder, *folder.parents))
        for place in (*reversed([*missing]), folder / ATTEMPTS):
            place.mkdir(mode=0o700, exist_ok=True)
    except PermissionError:
        if belongs := ownership_trouble(folder):
            raise QueueError(belongs) from None
        raise QueueError(f"cannot write to {folder}; name a folder of your own with {VARIABLE}") from None
    except OSError as error:
        raise QueueError(f"cannot make {folder} ({error.strerror}); name another folder with {VARIABLE}") from None
    require_own(folder)


def require_own(folder: Path) -> None:
    """Raises QueueError where the folder is another user's, or open to others."""
    if belongs := ownership_trouble(folder):
        raise QueueError(belongs)


def ownership_trouble(folder: Path) -> str:
    """Why the queue in there is not used, as a sentence; "" where it is this user's alone, or not there."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return ""
    except PermissionError:
        return f"{folder} is in a folder that this user may not enter; name a folder of your own with {VARIABLE}"
    except OSError as error:
        return f"{folder} cannot be used ({error.strerror}); name another folder with {VARIABLE}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder; name another with {VARIABLE}"
    if found.st_uid != os.geteuid():
        return f"the queue in {folder} belongs to {user_of(found.st_uid)}: each user has a queue of their own; name yours with {VARIABLE}"
    if found.st_mode & 0o022:
        return f"other users may write to {folder}, in which commands are kept that run as you: chmod 700 {folder}"
    return _replaceable(folder) if os.geteuid() == 0 else ""


def _replaceable(folder: Path) -> str:
    """Why another user could put a queue of theirs in the place of root's, as a sentence; "" where nobody can.

    The root of a user namespace is an ordinary user outside of it, where the folders above may belong to anybody.
    """
    if Path("/proc/self/uid_map").read_text().split() != ALL_USERS:
        return ""
    for above in folder.parents:
        found = above.stat()
        if found.st_uid != 0:
            return f"{above} belongs to {user_of(found.st_uid)}, who could replace root's queue in it: name a folder of root's own with {VARIABLE}"
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            return f"other users may write to {above}, and could replace root's queue in it: name a folder of root's own with {VARIABLE}"
    return ""


def keep_flags(folder: Path, flags: Sequence[str]) -> None:
    """Those of the daemon that runs, for the one that `submit` starts after it."""
    (folder / FLAGS).write_text(json.dumps(flags))


def kept_flags(folder: Path) -> list[str]:
    try:
        found = json.loads((folder / FLAGS).read_text())
    except (OSError, ValueError):
        return []
    return [str(flag) for flag in found] if isinstance(found, list) else []


def daemon_of(folder: Path) -> int | None:
    """The pid of the daemon that runs on this queue; None where there is none. About 50 us."""
    try:
        held = json.loads((folder / LOCK).read_text())
        pid, ticks, boot = held["pid"], held["ticks"], held["boot_id"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if boot == boot_id() and isinstance(pid, int) and alive(pid, ticks) else None


# A file of a run, in whose place its job may have put anything: only regular ones are read, and none is waited for.


def open_plain(path: Path) -> BinaryIO:
    """Raises OSError, also where it is a pipe, a device or a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe is opened at once
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def bytes_of(path: Path, most_bytes: int) -> bytes:
    """All of it. Raises OSError, also where it has more."""
    with open_plain(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data
