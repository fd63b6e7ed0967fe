"""The suite's own environment, `.integrations/`, which sees the packages of `.venv/` and adds the libraries.

python -m tests.integrations.environment [long]    10 s to 3 minutes at first; `long` adds those of `make test-long`
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".integrations"
PYTHON = PLACE / "bin" / "python"
UNREACHABLE = (
    "from versions: none",
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "Temporary failure",
    "ProxyError",
)
INSTALL_WITHIN_S = {"short": 200.0, "long": 1200.0}
SKIPPED = (
    "PyPI cannot be reached, or is too slow, so that the libraries cannot be installed: run it again with a connection"
)


def requirements(kind: str) -> Path:
    return Path(__file__).parent / ("requirements-long.txt" if kind == "long" else "requirements.txt")


def is_ready(kind: str) -> bool:
    """Whether the libraries of these requirements are installed."""
    stamp = PLACE / f"{kind}.stamp"
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == requirements(kind).read_text()


def share(place: Path) -> None:
    """Let that environment import what this one does. The .pth files of this one's packages are not read there, so it names their folders."""
    theirs = Path(sysconfig.get_path("purelib"))
    folders = (theirs, Path(sys.prefix) / "checkout", ROOT / "deepseek-log")  # hatch_build.py; pip install -e
    (place / "lib" / theirs.parent.name / "site-packages" / "project.pth").write_text("\n".join(map(str, folders)))


def make(kind: str) -> str:
    """Install what is missing; return why that is not possible here, or "". Raises RuntimeError where it fails otherwise."""
    theirs = Path(sysconfig.get_path("purelib"))
    before = contents(theirs)
    if not PYTHON.exists():
        venv.create(PLACE, with_pip=False)
    share(PLACE)
    if is_ready(kind):
        return ""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(PYTHON),
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--timeout", "10", "--retries", "1", "--quiet", "-r", str(requirements(kind))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S[kind], env=plain_environment()
        )
    except subprocess.TimeoutExpired:
        return SKIPPED
    if contents(theirs) != before:
        raise RuntimeError(f"installing into {PLACE} has changed {theirs}")
    if done.returncode:
        if any(word in done.stderr + done.stdout for word in UNREACHABLE):
            return SKIPPED
        raise RuntimeError(done.stderr)
    (PLACE / f"{kind}.stamp").write_text(requirements(kind).read_text())
    return ""


def contents(folder: Path) -> dict[str, int]:
    """Its packages, with when they were last written to, in nanoseconds."""
    return {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(folder) if entry.name != "__pycache__"}


def plain_environment() -> dict[str, str]:
    """Without what would lead Python to other packages."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


if __name__ == "__main__":
    if why := make("long" if "long" in sys.argv[1:] else "short"):
        print(f"skipped: {why}")
