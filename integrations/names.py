"""The name of a run, from whatever a script gave as one: a folder inside the log folder, which every file system takes."""

from __future__ import annotations

import hashlib
from pathlib import PurePath

MOST_BYTES = 120  # of a part: a file system takes 255, and a number may follow
MOST_PARTS = 8
HASH_CHARS = 8


def plain_name(name: object) -> str:
    """`a/b -> a/b`; of a path that leaves the log folder its last part: `/tmp/x/out -> out`, `../out -> out`; `.out -> out`; a long name is cut."""
    parts = PurePath(str(name)).parts
    leaves = PurePath(str(name)).is_absolute() or ".." in parts
    plain = [part for part in map(_plain_part, parts) if part]
    return "/".join(plain[-1:] if leaves else plain[-MOST_PARTS:]) or "run"


def _plain_part(part: str) -> str:
    """Long names that differ in their ends only stay different: what is cut becomes a hash."""
    part = "".join(char if char.isprintable() else "-" for char in part.strip("/")).strip().lstrip(". ")
    data = part.encode()
    if len(data) <= MOST_BYTES:
        return part
    kept = data[: MOST_BYTES - HASH_CHARS - 1].decode(errors="ignore").rstrip()
    return f"{kept}-{hashlib.sha256(data).hexdigest()[:HASH_CHARS]}"
