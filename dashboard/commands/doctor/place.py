"""What is diagnosed, and what a check answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["ok", "warning", "wrong"]
Fact: TypeAlias = str | int | float | bool | None


class CheckedHost(NamedTuple):
    """A dashboard as it is, or would be: its folders and its port. `root` is that of /proc, /sys and /dev; the tests hand in others."""

    log_dirs: tuple[Path, ...]
    data_dir: Path
    port: int
    root: Path = Path("/")

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    def read(self, path: str) -> str:
        """`read("proc/sys/kernel/osrelease")`, without blanks around it; "" where there is no such file, or it may not be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""


class Symptom(NamedTuple):
    """The answer of a check. `remedy` is one sentence with the command to type, "" where nothing is to be done."""

    verdict: Severity
    sentence: str
    remedy: str = ""
    facts: Mapping[str, Fact] = {}


def is_folder(path: Path) -> bool:
    """False as well where a folder above it is closed to this user."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises there


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next((path for path in (folder, *folder.parents) if is_folder(path)), Path("/"))


def worst(verdicts: list[Severity]) -> Severity:
    order: tuple[Severity, ...] = ("wrong", "warning", "ok")
    return next((verdict for verdict in order if verdict in verdicts), "ok")
