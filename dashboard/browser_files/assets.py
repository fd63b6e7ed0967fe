"""Our modules, styles and icon in `assets/`, below a path that is another one whenever one of them is: browsers may keep them."""

from __future__ import annotations

import hashlib
import re
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

ASSETS = Path(__file__).resolve().parents[2] / "assets"
VERSION_PATH = re.compile(r"(v[0-9a-f]{12})(?:-(\w+))?", re.ASCII)
LOOK_S = 1.0  # files may be edited while they are served

_lock = Lock()
_known: tuple[float, str] = (float("-inf"), "")


def versioned() -> str:
    """`/assets/v0123456789ab`: the path of the files as they are now."""
    global _known
    with _lock:
        if time.monotonic() - _known[0] > LOOK_S:
            _known = time.monotonic(), _version()
        return f"/assets/{_known[1]}"


class Parts(NamedTuple):
    path: str  # below `assets/`
    page: str  # whose pack the modules of this address use; "" for none
    lasting: bool  # the address names the version that the files have now


def parted(path: str) -> Parts:
    """`v0123456789ab-flame/lib/dom.js -> lib/dom.js, flame`."""
    first, _, rest = path.partition("/")
    found = VERSION_PATH.fullmatch(first)
    return Parts(rest, found[2] or "", versioned() == f"/assets/{found[1]}") if found else Parts(path, "", False)


def found(path: str) -> Path | None:
    """The file, unless there is none or it lies elsewhere."""
    try:
        file = (ASSETS / path).resolve()
        return file if file.is_relative_to(ASSETS) and file.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _version() -> str:
    digest = hashlib.sha256()
    for path in sorted(ASSETS.rglob("*")):
        with suppress(OSError):  # it is gone meanwhile
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return f"v{digest.hexdigest()[:12]}"
