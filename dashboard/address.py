"""Where the dashboard of a data folder answers: a file that lies there while it does. And for which programs it stays: a file each."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from collectors.machine.proc import alive, boot_id, start_ticks

FILE = "web.json"
PROGRAMS, KEEP = "programs", "keep"
MAX_BYTES = 4096
PORT = re.compile(r"https?://[^/]*:(\d+)(?:/|$)")


@contextlib.contextmanager
def publish(data_dir: Path, address: str, public: str = "") -> Iterator[None]:
    """While the block runs, other commands find this process under `address`, and name it to others as `public`. A folder that takes no
    file costs only that."""
    path = data_dir / FILE
    mine = {
        "pid": os.getpid(),
        "ticks": start_ticks(os.getpid()),
        "boot_id": boot_id(),
        "address": address,
        "public": public or address,
    }
    with contextlib.suppress(OSError):
        temporary = path.with_name(f".{FILE}.{os.getpid()}")
        temporary.write_text(json.dumps(mine))
        temporary.replace(path)
    try:
        yield
    finally:
        if _read(path).get("pid") == os.getpid():
            for file in (path, data_dir / PROGRAMS / KEEP):
                with contextlib.suppress(OSError):
                    file.unlink()


def read_address(data_dir: Path) -> str | None:
    """`"http://127.0.0.1:8080"`, with its base path behind it; None where no dashboard lives that shows this folder."""
    return _living(data_dir, "address")


def public_of(data_dir: Path) -> str | None:
    """The same for other machines: `"http://box:8080"` where it listens on all addresses."""
    return _living(data_dir, "public")


def _living(data_dir: Path, key: str) -> str | None:
    found = _read(data_dir / FILE)
    pid, ticks, address = found.get("pid"), found.get("ticks"), found.get(key)
    here = found.get("boot_id") == boot_id() and isinstance(pid, int) and isinstance(ticks, int) and alive(pid, ticks)
    return address if here and isinstance(address, str) else None


def port_of(data_dir: Path) -> int | None:
    """Of that dashboard."""
    number = PORT.match(read_address(data_dir) or "")
    return int(number[1]) if number else None


def keep_alive(data_dir: Path, pid: int, *, longer: bool = False) -> None:
    """A dashboard that ends with the programs that it was started for is not to end before this one, and no longer by itself where it is
    to stay `longer`. A folder that takes no file costs only that."""
    with contextlib.suppress(OSError):
        folder = data_dir / PROGRAMS
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / (KEEP if longer else f"{pid}-{start_ticks(pid)}")).touch(0o600)


def is_to_stay(data_dir: Path) -> bool:
    """Whether such a program lives; what is left of others is removed."""
    found = False
    for path in (data_dir / PROGRAMS).glob("*"):
        pid, _, ticks = path.name.partition("-")
        if path.name == KEEP or (pid.isdigit() and ticks.isdigit() and alive(int(pid), int(ticks))):
            found = True
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
