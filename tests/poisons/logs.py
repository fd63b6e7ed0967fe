"""Text logs with impossible stamps, endless lines and the escapes of terminals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.poisons import Place, Poison, Says, Scene, silent, there, written

STAMPS = (
    "0001-01-01 00:00:00", "0001-01-01T00:00:00Z", "0000-00-00 00:00:00", "9999-12-31 23:59:59", "2026-02-31 10:00:00",
    "1969-12-31 23:59:59", "2026-11-25 25:61:61", "2026-11-25 10:00:00+99:99", "2026-11-25 10:00:00-23:59",
    "9999-12-31 23:59:59-23:59", "0001-01-01 00:00:00+23:59", "[99:99:99]", "I1399 99:99:99.999999", "2026-11-25 10:00:60",
    "2026-11-25 10:00:00," + "9" * 400,
)  # fmt: skip


def text(data: str | bytes) -> Place:
    """A log with this between a first and a last line."""
    body = data.encode() if isinstance(data, str) else data
    return written(lambda folder: (folder / "train.log").write_bytes(b"INFO first\n" + body + b"\nINFO last\n"))


def shows(*words: str) -> Says:
    """These words stand in the run's log."""

    def says(scene: Scene) -> bool:
        return all(scene.running.get(f"/api/v1/logs?run={scene.name}&q={word}&limit=5").get("lines") for word in words)

    return says


both_ends = shows("first", "last")


def repeated_line(line: bytes, count: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        with (folder / "train.log").open("wb") as file:
            file.writelines(line for _ in range(count))

    return write


@contextmanager
def progress_bar(scene: Scene) -> Iterator[None]:
    """A line rewritten 20,000 times a second, and never ended."""
    scene.folder.mkdir()
    ending = threading.Event()

    def work() -> None:
        with (scene.folder / "train.log").open("wb", buffering=0) as file:
            while not ending.wait(0.02):
                file.write(b"".join(b"\r%3d%%|%s| step %d" % (i % 100, b"#" * 60, i) for i in range(400)))

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ending.set()
    thread.join()
    (scene.folder / "train.log").unlink()
    scene.folder.rmdir()


POISONS = [
    Poison("log-stamps", "stamps of years, days and zones that are none", text("\n".join(f"{stamp} INFO of {stamp[:4]}" for stamp in STAMPS)), both_ends, quick=True),
    Poison("log-ansi", "a megabyte of colours", text("\x1b[31m\x1b[0m" * 100_000 + "\n" + "\x1b[" * 300_000), both_ends),
    Poison("log-terminal", "escapes that would clear, beep, link and rename a terminal", text("\x1b]0;title\x07\x1b[2J\x1b]8;;http://x\x07\x1bP+q\x1b\\\x9b31m"), both_ends),
    Poison("log-one-line", "a line of 64 MB", written(lambda folder: (folder / "train.log").write_bytes(b"x" * (64 << 20) + b"\nINFO last\n")), shows("last"), stays_s=3),
    Poison("log-returns", "10 MB of carriage returns", text(b"\rstep" * 2_000_000), both_ends),
    Poison("log-progress", "a progress bar that never ends its line", progress_bar, silent, stays_s=3),
    Poison("log-binary", "random bytes", text(bytes(range(256)) * 20_000), both_ends),
    Poison("log-html", "HTML and bidi controls", text("<script>alert(1)</script> \u202e\u2066 \u0000"), both_ends),
    Poison("log-empty-lines", "three million empty lines", text("\n" * 3_000_000), both_ends, stays_s=3),
    Poison("log-large-lines", "2,000 lines of 900 kB", written(repeated_line(b"z" * 900_000 + b"\n", 2000)), there, stays_s=8),
    Poison("log-many-errors", "300,000 tracebacks", written(repeated_line(b'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: x\n', 300_000)), there, stays_s=4),
    Poison("log-back-in-time", "stamps that go back by a day each line", text("\n".join(time.strftime("%Y-%m-%d %H:%M:%S INFO x", time.gmtime(1.76e9 - 86400 * i)) for i in range(5000))), both_ends),
]  # fmt: skip
