"""`python -m tests.browser_types`: the types of the browser's modules, checked against what the server says that it answers."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from hatch_build import ROOT, node_environment, npm

PROGRAMS = ROOT / "node_modules"
WIRE = ROOT / "assets" / "types" / "wire.d.ts"


def main() -> int:
    """The exit code of the first that fails."""
    install()
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / "openapi.json"
        description.write_bytes(subprocess.check_output([sys.executable, "-m", "dashboard.api"], cwd=ROOT))
        run(node(), PROGRAMS / "openapi-typescript" / "bin" / "cli.js", description, "-o", WIRE)
    return subprocess.run(
        [node(), PROGRAMS / "typescript" / "bin" / "tsc", "-p", ROOT / "assets" / "jsconfig.json"]
    ).returncode


def install() -> None:
    """The programs and libraries that package.json names for development, where they are not there yet."""
    if not PROGRAMS.exists() or PROGRAMS.stat().st_mtime < (ROOT / "package-lock.json").stat().st_mtime:
        run(*npm(), "ci", "--no-audit", "--no-fund")
        PROGRAMS.touch()


def node() -> str:
    first = npm()
    return first[0] if len(first) > 1 else "node"


def run(*command: str | Path) -> None:
    subprocess.run(command, cwd=ROOT, env=node_environment(), check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
