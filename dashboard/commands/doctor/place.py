"""What is diagnosed, and what a check answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["ok", "warning", "wrong"]
Fact: TypeAlias = str | int | float | bool | None


class CheckedHost(NamedTuple):
    """A dashboard as it is, or would be: its folders and its port. `root` is that of /proc, /sys and /dev; the tests hand in others."""

    log_dir: Path
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


def nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))


def worst(verdicts: list[Severity]) -> Severity:
    order: tuple[Severity, ...] = ("wrong", "warning", "ok")
    return next((verdict for verdict in order if verdict in verdicts), "ok")
