"""Where the dashboard of a data folder answers: a file that lies there while it does."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from collectors.process.proc import alive, boot_id, start_ticks

FILE = "web.json"
MOST_BYTES = 4096


@contextlib.contextmanager
def written(data_dir: Path, address: str) -> Iterator[None]:
    """While the block runs, other commands find this process under `address`. A folder that takes no file costs only that."""
    path = data_dir / FILE
    mine = {"pid": os.getpid(), "ticks": start_ticks(os.getpid()), "boot_id": boot_id(), "address": address}
    with contextlib.suppress(OSError):
        temporary = path.with_name(f".{FILE}.{os.getpid()}")
        temporary.write_text(json.dumps(mine))
        temporary.replace(path)
    try:
        yield
    finally:
        if _read(path).get("pid") == os.getpid():
            with contextlib.suppress(OSError):
                path.unlink()


def of(data_dir: Path) -> str | None:
    """`"http://127.0.0.1:8080"`; None where no dashboard lives that shows this folder."""
    found = _read(data_dir / FILE)
    pid, ticks, address = found.get("pid"), found.get("ticks"), found.get("address")
    here = found.get("boot_id") == boot_id() and isinstance(pid, int) and isinstance(ticks, int) and alive(pid, ticks)
    return address if here and isinstance(address, str) else None


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
