"""The disk of the data folder: room, speed and whether it may be written."""

from __future__ import annotations

import os
import time

from .place import CheckedHost, Fact, Symptom, is_folder, nearest

LITTLE_BYTES, LITTLE = 2 * 10**9, 0.02  # free, and of the disk
NONE_BYTES = 50 * 10**6
SLOW_S = 0.1  # for a block that must be on the disk
BLOCK = b"\0" * 65536


def check(place: CheckedHost) -> Symptom:
    folder = nearest(place.data_dir)
    disk = os.statvfs(folder)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    kind = _kind(place, folder.stat().st_dev)
    facts: dict[str, Fact] = {"free_bytes": free, "total_bytes": total, "kind": kind, "inodes_free": disk.f_favail}
    amount = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB are free"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Symptom("wrong", f"{folder} may not be written by this user.", f"Type: deepseek-dashboard --data-dir FOLDER, or: sudo chown $USER {folder}", facts)  # fmt: skip
    remedy = f"Type: df -h {folder}; make room, or: deepseek-dashboard --data-dir FOLDER on another disk"
    if free < NONE_BYTES or (disk.f_files and not disk.f_favail):
        return Symptom("wrong", f"the disk of {folder} is full ({amount}): nothing can be stored.", remedy, facts)
    try:
        wrote_s = _write_s(place)
    except OSError as error:
        return Symptom("wrong", f"a file cannot be written to {folder} ({error.strerror}).", remedy, facts)
    facts["write_ms"] = None if wrote_s is None else round(wrote_s * 1e3, 1)
    if free < max(NONE_BYTES, min(LITTLE_BYTES, total * LITTLE)):
        return Symptom("warning", f"{amount}.", remedy, facts)
    speed = "" if wrote_s is None else f"; a block is on the disk after {wrote_s * 1e3:.1f} ms"
    if wrote_s is not None and wrote_s > SLOW_S:
        return Symptom("warning", f"{amount}, on {kind or 'a disk'}{speed}, which is slow: pages may lag.", "Type: deepseek-dashboard --data-dir FOLDER on a local SSD", facts)  # fmt: skip
    return Symptom("ok", f"{amount}{f', on {kind}' if kind else ''}{speed}.", "", facts)


def _kind(place: CheckedHost, device: int) -> str:
    """What the kernel says of it; "" for what is no disk of this host."""
    at = place.root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for path in (
        at / "queue/rotational",
        at / "../queue/rotational",
    ):  # of the disk, or of the one that a partition is of
        try:
            return "a disk that the kernel calls rotating" if path.read_text().strip() == "1" else "an SSD"
        except OSError:
            continue
    return ""


def _write_s(place: CheckedHost) -> float | None:
    """How long a block takes to be on the disk, in a file without a name; None where the data folder is not there yet, or allows none."""
    if not is_folder(place.data_dir):
        return None
    try:
        descriptor = os.open(place.data_dir, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except (IsADirectoryError, NotImplementedError):  # a file system without such files
        return None
    except OSError as error:
        if error.strerror == "Operation not supported":
            return None
        raise
    try:
        before_s = time.monotonic()
        os.write(descriptor, BLOCK)
        os.fdatasync(descriptor)
        return time.monotonic() - before_s
    finally:
        os.close(descriptor)
