"""Give up root's rights over files for those of another user, in the calling thread alone and for a while."""

from __future__ import annotations

import ctypes
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from .whose import ROOT_UID

ID_CALLS = {
    "x86_64": (116, 122, 123),
    "aarch64": (159, 151, 152),
}  # setgroups, setfsuid, setfsgid; the kernel's own act on one thread only, those of the C library on all
NO_GROUP = 65534
KNOWN_S = 60.0
UNKNOWN = ctypes.c_uint32(-1)  # no user and no group: asking for it changes nothing, and returns what is set
libc = ctypes.CDLL(None, use_errno=True)


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
def acting_as(who: FileRights) -> Iterator[None]:
    """If we are root, this thread's rights over files are that user's meanwhile; else they stay ours. About 10 us. Raises NotGiven."""
    if os.geteuid() != ROOT_UID or who.uid == ROOT_UID:
        yield
        return
    calls = ID_CALLS.get(os.uname().machine)
    if calls is None:
        raise NotGiven("Files of other users are not read on this processor.")
    _, set_fsuid, set_fsgid = calls
    before = FileRights(libc.syscall(set_fsuid, UNKNOWN), libc.syscall(set_fsgid, UNKNOWN), tuple(os.getgroups()))
    try:
        _become(calls, who)
        yield
    finally:
        _become(calls, before)


def _become(calls: tuple[int, int, int], who: FileRights) -> None:
    """For this thread only. Groups come first: only who has root's capabilities may set them, and these stay."""
    set_groups, set_fsuid, set_fsgid = calls
    wanted = (ctypes.c_uint32 * len(who.groups))(*who.groups)
    if libc.syscall(set_groups, len(who.groups), wanted):
        raise NotGiven("The rights of the process's user cannot be taken on.")
    for call, value in ((set_fsgid, who.gid), (set_fsuid, who.uid)):
        libc.syscall(call, value)
        if libc.syscall(call, UNKNOWN) != value:
            raise NotGiven("The rights of the process's user cannot be taken on.")
