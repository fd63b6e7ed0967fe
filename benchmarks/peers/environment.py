"""The peers' own environment, `.peers/`: nothing of ours is in it, and ours does without it.

python -m benchmarks.peers.environment    one to three minutes at first
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.integrations.environment import UNREACHABLE, plain_environment

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".peers"
PYTHON = PLACE / "bin" / "python"
STAMP = PLACE / "installed.stamp"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
INSTALL_WITHIN_S = 600.0
MISSING = "the peers are not installed; install them with: python -m benchmarks.peers.environment"


def is_ready() -> bool:
    """Whether what the requirements name is installed."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == REQUIREMENTS.read_text()


def make() -> str:
    """Install what is missing; return why that is not possible here, or "". Raises RuntimeError where it fails otherwise."""
    if is_ready():
        return ""
    if not PYTHON.exists():
        venv.create(PLACE, with_pip=False)
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
    command += ["--timeout", "10", "--retries", "1", "--quiet", "-r", str(REQUIREMENTS)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, env=plain_environment()
        )
    except subprocess.TimeoutExpired:
        return f"the peers are not installed after {INSTALL_WITHIN_S:g} s; run it again with a faster connection"
    if done.returncode:
        if any(word in done.stderr + done.stdout for word in UNREACHABLE):
            return "PyPI cannot be reached, so that the peers cannot be installed; run it again with a connection"
        raise RuntimeError(done.stderr)
    STAMP.write_text(REQUIREMENTS.read_text())
    return ""


def versions(*packages: str) -> dict[str, str]:
    """Of the installed ones."""
    code = "import importlib.metadata, sys; print(*map(importlib.metadata.version, sys.argv[1:]))"
    found = subprocess.run(
        [str(PYTHON), "-c", code, *packages], capture_output=True, text=True, check=True, env=plain_environment()
    )
    return dict(zip(packages, found.stdout.split(), strict=True))


def environment() -> dict[str, str]:
    """Of a peer's process: its own packages, and no network beyond this machine."""
    return {**plain_environment(), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    if why := make():
        print(f"skipped: {why}")
        sys.exit(0)
    print(
        ", ".join(f"{name} {version}" for name, version in versions("tensorboard", "trackio").items()), os.fspath(PLACE)
    )
