"""The disk space that a store may take where no --max-size was given."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import NamedTuple

MOST_BYTES = 20 * 10**9
SHARE = 0.05  # of the disk
STEP_BYTES = 10**9  # what a larger store is rounded up to: the same at each start


class Room(NamedTuple):
    """`sentence` is for the start: the limit and where it comes from. `max_bytes` is None where the disk's size is unknown."""

    max_bytes: int | None
    sentence: str


def default_limit(data_dir: Path) -> Room:
    """The smaller of 20 GB and 5 % of the disk. A store that is larger already keeps its size: an update deletes nothing."""
    try:
        disk, used_bytes = os.statvfs(data_dir), _used_bytes(data_dir)
    except OSError as error:
        return Room(None, f"the store in {data_dir} has no limit ({error.strerror}); set one with --max-size")
    share = int(disk.f_blocks * disk.f_frsize * SHARE)
    if not share:  # a file system without a size, as some network ones
        return Room(None, f"the store in {data_dir} has no limit: its disk reports no size; set one with --max-size")
    limit, why = min((MOST_BYTES, "the default"), (share, f"{SHARE:.0%} of its disk"))
    if used_bytes > limit:
        limit, why = math.ceil(used_bytes / STEP_BYTES) * STEP_BYTES, "what it has already"
    amount = f"{limit / 1e9:.3g} GB" if limit >= 10**9 else f"{limit / 1e6:.3g} MB"
    return Room(
        limit,
        f"the store in {data_dir} may take {amount} ({why}): beyond it the oldest GPU, host and stack samples go; change it with --max-size",
    )


def _used_bytes(data_dir: Path) -> int:
    """Of the files in the folder itself, which are the store's and some small ones."""
    with os.scandir(data_dir) as entries:
        return sum(
            entry.stat(follow_symlinks=False).st_size for entry in entries if entry.is_file(follow_symlinks=False)
        )
