"""Leases of GPUs among the queues of several users: files that name a process, and hold as long as the kernel confirms it."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from collectors.machine.proc import alive, boot_id, start_ticks, uid_of, user_of

from .state_folder import QueueError

FOLDER = Path("/tmp/deepseek-jobs-leases")
VARIABLE = "DEEPSEEK_JOBS_LEASES"
STICKY_FOR_ALL = 0o1777
MAX_BYTES = 4096
WAIT_S, LOOK_S = 5.0, 0.02  # for a claim of a higher uid to be withdrawn


class Lease(NamedTuple):
    gpu: str
    uid: int
    held: bool  # else it is a claim
    path: Path


def make_folder(folder: Path) -> None:
    """Raises QueueError where it is not one in which all users can hold leases."""
    before = os.umask(0)
    try:
        folder.mkdir(mode=STICKY_FOR_ALL)
    except FileExistsError:
        pass
    except OSError as error:
        raise QueueError(
            f"cannot make {folder} ({error.strerror}); name another with {VARIABLE}, the same for all users"
        ) from None
    finally:
        os.umask(before)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or stat.S_IMODE(found.st_mode) != STICKY_FOR_ALL:
        whose = user_of(found.st_uid)
        raise QueueError(
            f"{folder} of {whose} is not open to all users: chmod 1777 it, or name another with {VARIABLE}, the same for all"
        )


def owner_trouble(folder: Path) -> str:
    """What the owner of the folder, if not root, may do with leases of others; "" where there is nothing to say."""
    uid = folder.lstat().st_uid
    if uid == 0:
        return ""
    return (
        f"{folder} belongs to {user_of(uid)}, who made it first and may remove or hide leases of others: "
        f"root can take it over with: chown root {folder}"
    )


def take(folder: Path, gpus: Sequence[str], attempt: Path) -> str:
    """For this process. "" once all are held, else who has one, in words; then none is held."""
    for gpu in gpus:
        mine = _path(folder, gpu, attempt)
        try:
            _write(mine, held=False)
            until_s = time.monotonic() + WAIT_S
            while others := [lease for lease in _of(folder, gpu) if lease.uid != os.geteuid()]:
                yields = any(lease.held or lease.uid < os.geteuid() for lease in others)
                if yields or time.monotonic() > until_s:
                    give_back(folder, gpus, attempt)
                    return f"GPU {gpu} was taken by {user_of(others[0].uid)} at that moment"
                time.sleep(LOOK_S)
            _write(mine, held=True)
        except OSError as error:
            give_back(folder, gpus, attempt)
            return f"the lease of GPU {gpu} cannot be written ({error.strerror})"
    return ""


def give_back(folder: Path, gpus: Sequence[str], attempt: Path) -> None:
    for gpu in gpus:
        with suppress(OSError):
            _path(folder, gpu, attempt).unlink()


def renew(folder: Path, gpus: Sequence[str], attempt: Path, pid: int, ticks: int) -> None:
    """Where the keeper was killed, the lease is the program's; also where a lease was swept away."""
    for gpu in gpus:
        path = _path(folder, gpu, attempt)
        with suppress(OSError):
            try:
                _, held = _read(path)
            except (FileNotFoundError, ValueError, TypeError):
                held = {}
            if not _is_confirmed(held, os.geteuid()):
                _write(path, held=True, name=(pid, ticks))


def foreign_leases(folder: Path) -> dict[str, int]:
    """By GPU, the uid of another user that has a lease of it. Stale ones of our own are removed."""
    found = dict[str, int]()
    for lease in confirmed_leases(folder):
        if lease.uid != os.geteuid():
            found[lease.gpu] = lease.uid
    return found


def confirmed_leases(folder: Path) -> Iterator[Lease]:
    """Leases that the kernel confirms."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        gpu, uid = _name(entry.name)
        if not gpu or entry.name.startswith("."):
            continue
        try:
            owner, held = _read(Path(entry.path))
        except (OSError, ValueError, KeyError, TypeError):
            owner, held = None, {}
        if owner == uid and _is_confirmed(held, uid):
            yield Lease(gpu, uid, held.get("held") is True, Path(entry.path))
        elif owner == os.geteuid():
            with suppress(OSError):
                Path(entry.path).unlink()


def _of(folder: Path, gpu: str) -> list[Lease]:
    return [lease for lease in confirmed_leases(folder) if lease.gpu == gpu]


def _is_confirmed(held: dict[str, Any], uid: int) -> bool:
    pid, ticks = held.get("pid"), held.get("ticks")
    if held.get("boot_id") != boot_id() or not isinstance(pid, int) or not isinstance(ticks, int):
        return False
    return alive(pid, ticks) and uid_of(pid) == uid


def _read(path: Path) -> tuple[int, dict[str, Any]]:
    """Its owner and content; a link, a pipe or a long file is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise ValueError(path)
        return found.st_uid, dict(json.loads(os.read(descriptor, MAX_BYTES)))
    finally:
        os.close(descriptor)


def _write(path: Path, *, held: bool, name: tuple[int, int] | None = None) -> None:
    """In the name of this process, or of another of this user's."""
    pid, ticks = name or (os.getpid(), start_ticks(os.getpid()))
    beside = path.with_name(f".{path.name}")
    with suppress(FileNotFoundError):
        beside.unlink()
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        os.write(descriptor, json.dumps({"boot_id": boot_id(), "pid": pid, "ticks": ticks, "held": held}).encode())
    finally:
        os.close(descriptor)
    beside.replace(path)


def _path(folder: Path, gpu: str, attempt: Path) -> Path:
    return folder / f"{gpu}.{os.geteuid()}.{attempt.name}"


def _name(name: str) -> tuple[str, int]:
    """`GPU-1a2b.1000.7.1 -> ("GPU-1a2b", 1000)`"""
    parts = name.rsplit(".", 3)
    return (parts[0], int(parts[1])) if len(parts) == 4 and parts[1].isdecimal() else ("", -1)
