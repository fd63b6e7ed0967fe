"""Names of files and folders that nobody would choose."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from tests.poisons import Place, Poison, Says, Scene, health_says, silent
from tests.poisons.kinds_of_files import GOOD


def named(name: bytes) -> Place:
    """A run of that name, with a log of that name in it."""

    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        folder = scene.log_dir / os.fsdecode(name)
        folder.mkdir()
        (folder / "metrics.jsonl").write_bytes(GOOD)
        (folder / os.fsdecode(name[:240] + b".log")).write_bytes(b"INFO one\n")
        yield
        shutil.rmtree(folder)

    return place


def listed(part: str) -> Says:
    """A run is listed whose name has this part, and its points are there under that name."""

    def says(scene: Scene) -> bool:
        runs = [run for run in scene.running.get("/api/v1/runs")["runs"] if part in run["run"]]
        return any(run["points"] == 2 and scene.steps(run["run"]) == [1, 2] for run in runs)

    return says


def loose(name: bytes) -> Place:
    """A file of that name in the log folder itself."""

    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        path = scene.log_dir / os.fsdecode(name)
        path.write_bytes(GOOD)
        yield
        path.unlink()

    return place


POISONS = [
    Poison("name-not-utf8", "a run and a log named caf\\xe9", named(b"caf\xe9"), lambda scene: listed("caf")(scene) or health_says("caf")(scene), quick=True),
    Poison("name-loose-not-utf8", "caf\\xe9.log in the log folder", loose(b"caf\xe9.log"), silent),
    Poison("name-newline", "a name of two lines", named(b"two\nlines"), listed("two")),
    Poison("name-html", "a name that is HTML", named(b"<img src=x onerror=alert(1)>"), listed("<img")),
    Poison("name-bidi", "a name that turns its reading direction", named("abc\u202egpj.exe".encode()), listed("abc")),
    Poison("name-escape", "a name with the escape of a terminal", named(b"\x1b[31mred\x07"), listed("red")),
    Poison("name-long", "a name of 250 bytes", named(b"n" * 250), listed("n" * 250)),
    Poison("name-glob", "a name of glob signs, commas and quotes", named(b"a*[b]?,\"c'd&e=f#g%00"), listed("a*[b]")),
    Poison("name-blanks", "a name of blanks", named(b"   "), listed("   ")),
    Poison("name-backslash", "a name of backslashes", named(b"a\\..\\x"), listed("a\\")),
    Poison("name-just-ending", "a file named only .jsonl beside one named -.jsonl", loose(b"-.jsonl"), listed("-")),
    Poison("name-surrogate-bytes", "a name that is an encoded surrogate", named(b"s\xed\xa0\x80s"), silent),
]  # fmt: skip
