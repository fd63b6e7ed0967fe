"""Whose files and processes are looked at: those of root alone, or with `--as-root` each user's with that user's rights.

Like a umask, the choice belongs to the process: the program sets it once, and a program that does not has the narrow one. The kernel
decides for every other user, so that there is nothing to choose.
"""

from __future__ import annotations

import os
import pwd
import stat
from functools import cache
from pathlib import Path

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
    return f"belongs to {named(uid)} and this dashboard is of root: {REMEDY}" if uid != ROOT_UID else ""


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


def named(uid: int) -> str:
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
