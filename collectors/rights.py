"""Which users' files and processes a dashboard run by root may read, and with whose rights it reads them."""

from __future__ import annotations

import os
import pwd
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ctypes

# Whose files and processes are looked at: those of root alone, or with `--as-root` each user's with that user's rights.
#
# Like a umask, the choice belongs to the process: the program sets it once, and a program that does not has the narrow one. The kernel
# decides for every other user, so that there is nothing to choose.

ROOT_UID = 0
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
EXPOSED = (
    "can be written by other users and this dashboard is of root: chmod go-w, or start the dashboard with --as-root"
)
REMEDY = "start the dashboard as that user, or with --as-root"


class _Choice:
    others = False


def look_at_others(others: bool = True) -> None:
    """The choice of `--as-root`, for this process."""
    _Choice.others = others


def looks_at_others() -> bool:
    return _Choice.others


def is_root() -> bool:
    """Whether this process may do what other users may not. Root of a namespace with a single user has that user's rights alone."""
    return os.geteuid() == ROOT_UID and _several_users()


def leaves_others_alone() -> bool:
    return is_root() and not _Choice.others


def left_alone(uid: int | None) -> str:
    """Why what belongs to a user is left alone, as the end of a sentence; "" where it is looked at. None for what is gone."""
    return others(uid) if uid is not None and leaves_others_alone() else ""


def others(uid: int) -> str:
    """That something belongs to another user than root; "" for root."""
    return f"belongs to {user_label(uid)} and this dashboard is of root: {REMEDY}" if uid != ROOT_UID else ""


def open_to_others(mode: int) -> bool:
    """Whether other users may write to a file, or exchange what lies in a folder: in one with the sticky bit only what is theirs."""
    return bool(mode & OTHERS_WRITE) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)


def why_not_ours(folder: Path) -> str:
    """Why a dashboard of root does not follow a log folder, as the end of a sentence; "" where it does. Raises OSError."""
    if not leaves_others_alone():
        return ""
    found = folder.stat()
    if found.st_uid != ROOT_UID:
        return left_alone(found.st_uid)
    if open_to_others(found.st_mode):
        return EXPOSED
    return ""


def claims_count() -> bool:
    """Whether what a run's files say of folders is believed: with `--as-root` they may be other users'."""
    return not is_root() or not _Choice.others


def user_label(uid: int) -> str:
    """`user ada (uid 1000)`; `uid 12345` where this machine has no name for it."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


@cache
def _several_users() -> bool:
    """Of the user namespace of this process."""
    try:
        rows = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        return sum(int(count) for _, _, count in rows) != 1
    except (OSError, ValueError):
        return True


# Give up root's rights over files for those of another user, in the calling thread alone and for a while.

ID_CALLS = {
    "x86_64": (116, 122, 123),
    "aarch64": (159, 151, 152),
}  # setgroups, setfsuid, setfsgid; the kernel's own act on one thread only, those of the C library on all
NO_GROUP = 65534
KNOWN_S = 60.0
UNKNOWN = 0xFFFFFFFF  # no user and no group: asking for it changes nothing, and returns what is set


@cache
def libc() -> ctypes.CDLL:
    """The C library, loaded when first called: few processes take on the rights of others."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


class NotGiven(Exception):
    """The rights of a user cannot be taken on; the text is one sentence."""


class FileRights(NamedTuple):
    """By which the kernel decides what files may be read."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def rights_of_user(uid: int) -> FileRights:
    """A user unknown to this machine has no groups. Remembered for a minute: where users are in a directory, a question takes milliseconds."""
    return _rights_of_user(uid, int(time.monotonic() / KNOWN_S))


@lru_cache(maxsize=64)
def _rights_of_user(uid: int, _minute: int) -> FileRights:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return FileRights(uid, NO_GROUP, ())
    return FileRights(uid, user.pw_gid, tuple(os.getgrouplist(user.pw_name, user.pw_gid)))


def rights_of_process(pid: int, proc: Path = Path("/proc")) -> FileRights:
    """Raises OSError, ValueError."""
    rows = dict(line.split(":", 1) for line in (proc / str(pid) / "status").read_text().splitlines() if ":" in line)
    return FileRights(int(rows["Uid"].split()[3]), int(rows["Gid"].split()[3]), tuple(map(int, rows["Groups"].split())))


@contextmanager
def with_rights(who: FileRights) -> Iterator[None]:
    """If we are root, this thread's rights over files are that user's meanwhile; else they stay ours. About 10 us. Raises NotGiven."""
    if os.geteuid() != ROOT_UID or who.uid == ROOT_UID:
        yield
        return
    calls = ID_CALLS.get(os.uname().machine)
    if calls is None:
        raise NotGiven("Files of other users are not read on this processor.")
    _, set_fsuid, set_fsgid = calls
    before = FileRights(_asked(set_fsuid), _asked(set_fsgid), tuple(os.getgroups()))
    try:
        _become(calls, who)
        yield
    finally:
        _become(calls, before)


def _asked(call: int) -> int:
    """The user or group that a thread's rights over files are those of."""
    import ctypes

    found: int = libc().syscall(call, ctypes.c_uint32(UNKNOWN))
    return found


def _become(calls: tuple[int, int, int], who: FileRights) -> None:
    """For this thread only. Groups come first: only who has root's capabilities may set them, and these stay."""
    import ctypes

    set_groups, set_fsuid, set_fsgid = calls
    wanted = (ctypes.c_uint32 * len(who.groups))(*who.groups)
    if libc().syscall(set_groups, len(who.groups), wanted):
        raise NotGiven("The rights of the process's user cannot be taken on.")
    for call, value in ((set_fsgid, who.gid), (set_fsuid, who.uid)):
        libc().syscall(call, value)
        if _asked(call) != value:
            raise NotGiven("The rights of the process's user cannot be taken on.")


# Open a file below a log folder as root: by folders that no link leads through, and with the rights of the user whose folder it is in.
#
# What is judged is what is held open, never a path that another user may exchange meanwhile.

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_LINKS = 8  # one after the other
LEAVES = "is a link that leaves the log folder; copy the file, or pass its own folder as --log-dir"
BY_A_LINK = "is reached by a link to a folder, which a dashboard of root does not follow"


class LeftAlone(Exception):
    """A dashboard of root does not open it; the text says why, as the end of a sentence that begins with its name."""


class ResolvedPath(NamedTuple):
    """What a path names."""

    descriptor: int  # O_PATH: nothing at its other end notices
    status: os.stat_result
    uid: int  # with whose rights it is to be opened
    above_uid: int  # the first user besides root who owns a folder on the way, else root: who could exchange a part of the path

    def open(self, flags: int) -> int:
        """A descriptor, with these rights. Raises LeftAlone, OSError."""
        path = f"/proc/self/fd/{self.descriptor}"
        if self.uid == ROOT_UID:
            return os.open(path, flags)
        with switch_user(self.uid):
            return os.open(path, flags)


@contextmanager
def open_resolved(path: Path, top: Path, *, links: int = MAX_LINKS) -> Iterator[ResolvedPath]:
    """The file at the end of so many links, as root; `top` is the absolute folder above it that no link may leave. About 30 us.

    Without `--as-root` all from `top` on must be root's, and nothing of it open to others. With it, a file is opened with the rights of
    its folder's owner; in a folder of root's that others may write to, of its own. Raises LeftAlone, OSError.
    """
    uid = ROOT_UID
    for _ in range(1 + links):
        found = _entry(path, top, uid)
        try:
            if not stat.S_ISLNK(found.status.st_mode):
                yield found
                return
            path = Path(os.path.normpath(path.parent / os.readlink("", dir_fd=found.descriptor)))
        finally:
            os.close(found.descriptor)
        uid = found.uid
        if not path.is_relative_to(top):
            raise LeftAlone(LEAVES)
    raise LeftAlone("is a link to a link to a link, and so on" if links else "is a link")


@contextmanager
def acting_for(path: Path, top: Path) -> Iterator[None]:
    """For a library that opens by path: this thread has the rights with which the file is to be opened. Raises LeftAlone, OSError."""
    if not is_root():
        yield
        return
    with open_resolved(path, top) as found:
        uid = found.uid or found.above_uid
    with switch_user(uid):
        yield


@contextmanager
def switch_user(uid: int) -> Iterator[None]:
    """Raises LeftAlone where the rights of a user cannot be taken on."""
    try:
        with with_rights(rights_of_user(uid)):
            yield
    except NotGiven as error:
        raise LeftAlone(f"is left alone: {error}") from error


def check_ours(path: Path, top: Path) -> None:
    """Raises LeftAlone where a user besides root has a hand in what a path names, with or without `--as-root`; OSError where nothing is."""
    if is_root():
        os.close(_entry(path, top, ROOT_UID, strict=True).descriptor)


def _entry(path: Path, top: Path, uid: int, *, strict: bool = False) -> ResolvedPath:
    """What has that name, itself a link or not. What lies below `top` is looked up with the rights of `uid`."""
    strict = strict or leaves_others_alone()
    folder, above, depth = os.open("/", FOLDER), ROOT_UID, len(top.parts)
    try:
        status = os.fstat(folder)
        _judge(status, path.parts[:1], strict and depth == 1)
        for number, name in enumerate(path.parts[1:-1], 2):
            inner = _inner(folder, name, uid if number > depth else ROOT_UID)
            os.close(folder)
            folder = inner
            if number >= depth:
                status = os.fstat(folder)
                _judge(status, path.parts[:number], strict)
                above = above or status.st_uid
        descriptor = _inner(folder, path.name, uid, ENTRY)
    finally:
        os.close(folder)
    entry = os.fstat(descriptor)
    exposed = open_to_others(entry.st_mode) and not stat.S_ISLNK(entry.st_mode)
    if strict and (why := others(entry.st_uid) or (EXPOSED if exposed else "")):
        os.close(descriptor)
        raise LeftAlone(why)
    of_entry = entry.st_uid if status.st_mode & OTHERS_WRITE else ROOT_UID
    return ResolvedPath(descriptor, entry, uid or status.st_uid or of_entry, above)


def _inner(folder: int, name: str, uid: int, flags: int = FOLDER) -> int:
    """What has that name in a folder, looked up with the rights of a user."""
    try:
        if uid == ROOT_UID:
            return os.open(name, flags, dir_fd=folder)
        with switch_user(uid):
            return os.open(name, flags, dir_fd=folder)
    except NotADirectoryError:
        raise LeftAlone(BY_A_LINK) from None


def _judge(status: os.stat_result, parts: tuple[str, ...], strict: bool) -> None:
    """Raises LeftAlone for a folder that another user may change, where that is not to be."""
    if strict and (why := others(status.st_uid) or (EXPOSED if open_to_others(status.st_mode) else "")):
        raise LeftAlone(f"is in {Path(*parts)}, which {why}")


# Which processes are a run's to name where the dashboard is root's, whom the kernel lets read any.

MAX_SAID = 1_000  # runs


class RunOwners:
    """Belongs to one thread, but for `left_alone`."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}  # by run

    def theirs(self, run: str, places: Iterable[Path], uids: Mapping[int, frozenset[int]]) -> set[int]:
        """Those of the processes, by pid with their users, that are of the one whose run it is, and that user is looked at. About 5 us.

        The run is the owner's of the first of `places` that is there.
        """
        owner = owner_of(places)
        reasons = {pid: _why_not(owner, pid, its) for pid, its in uids.items()}
        why = next(filter(None, reasons.values()), "")
        if why and (run in self._said or len(self._said) < MAX_SAID):
            self._said[run] = why
        elif not why:
            self._said.pop(run, None)
        return {pid for pid, reason in reasons.items() if not reason}

    def keep_only(self, runs: Collection[str]) -> None:
        """Forget what was said of processes of other runs: they are gone."""
        self._said = {run: why for run, why in self._said.items() if run in runs}

    def left_alone(self) -> dict[str, str]:
        """By run, on the first of its processes that is left alone, without the end of the sentence."""
        return dict(self._said)


def owner_of(places: Iterable[Path]) -> int | None:
    for path in places:
        try:
            return path.lstat().st_uid
        except (OSError, ValueError):  # gone, or a name that no file can have
            continue
    return None


def _why_not(owner: int | None, pid: int, uids: frozenset[int]) -> str:
    if uids <= {owner} and not left_alone(owner):  # also where it is gone: the state of the run says so
        return ""
    uid = min(uids - {owner}, default=owner)
    if why := left_alone(uid):
        return f"process {pid} {why}"
    if owner is None or uid is None:
        return f"process {pid} is not looked at: the run's files are gone"
    return f"process {pid} is not looked at: it belongs to {user_label(uid)}, and the run to {user_label(owner)}"
