"""The kernel's limits on watched folders, and what this user's processes use of them."""

from __future__ import annotations

import os
import time

from collectors.logs.watching.watch import MAX_WATCHED

from .place import CheckedHost, Symptom

LIMITS = "proc/sys/fs/inotify"
LOOK_S = 0.4
MARK = "anon_inode:inotify"


def check(place: CheckedHost) -> Symptom:
    limits = {
        name: _number(place.read(f"{LIMITS}/max_user_{name}")) for name in ("instances", "watches", "queued_events")
    }
    used, watches, whole = _used(place)
    facts = {
        **{f"max_{name}": limit for name, limit in limits.items()},
        "instances": used,
        "watches": watches,
        "all_seen": whole,
    }
    instances = limits["instances"]
    if instances is None:
        return Symptom("ok", "the limits of inotify are not known here; where it fails, folders are polled.", "", facts)
    said = f"{used} of {instances} instances and {watches} of {limits['watches'] or '?'} watches are used"
    if instances - used < MAX_WATCHED:
        more = max(1024, 2 * instances)
        return Symptom("warning", f"{said}: of {MAX_WATCHED} active folders some will be polled.", f"Type: sudo sysctl fs.inotify.max_user_instances={more}", facts)  # fmt: skip
    return Symptom("ok", f"{said}.", "", facts)


def _used(place: CheckedHost) -> tuple[int, int, bool]:
    """Instances and watches of this user's processes, and whether all of them could be looked at in time."""
    instances = watches = 0
    until_s = time.monotonic() + LOOK_S
    try:
        processes = [name for name in os.listdir(place.proc) if name.isdigit()]  # noqa: PTH208
    except OSError:
        return 0, 0, False
    for pid in processes:
        if time.monotonic() > until_s:
            return instances, watches, False
        folder = place.proc / pid
        try:
            if folder.stat().st_uid != os.geteuid():
                continue
            names = os.listdir(folder / "fd")  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            try:
                if os.readlink(folder / "fd" / name) == MARK:  # noqa: PTH115  # it is no path
                    instances += 1
                    watches += (folder / "fdinfo" / name).read_text().count("inotify wd:")
            except OSError:
                continue
    return instances, watches, True


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
