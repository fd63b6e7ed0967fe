"""All checks that need a graphics card: python -m tests.gpu [--out FOLDER] [--wheels FOLDER] [--short] [--only CHECK ...]

Needs Python 3.11 or later, PyTorch and numpy, and for the rest the folder that `make gpu-wheels` makes where there is a network.
Exit code 0 for PASS, 1 for FAIL.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from .lines import last_line
from .plan import CHECKS, MAX_S
from .running import ROOT, run_all
from .wheels import FOLDER, absent, unpack

REPORT = "report.txt"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the results are kept (default: gpu-check-<date>-<time>)"
    )
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="FOLDER",
        default=FOLDER,
        help="what `make gpu-wheels` made (default: gpu-wheels)",
    )
    parser.add_argument(
        "--short", action="store_true", help="a few seconds each, to see that all of it runs; its numbers say little"
    )
    names = [check.name for check in CHECKS]
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="CHECK", help=f"of {', '.join(names)} (default: all)"
    )
    options = parser.parse_args(arguments)
    folder = (options.out or Path(time.strftime("gpu-check-%Y%m%d-%H%M%S"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        parser.error(f"{folder} is not empty; choose another folder with --out")
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        packages = Path(scratch) / "packages"
        if options.wheels.is_dir():
            unpack(options.wheels, packages)
        sys.path.insert(0, str(packages))
        modules = {module for plan in CHECKS for module in plan.needs}
        paths = [str(packages), str(ROOT), str(ROOT / "deepseek-log"), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        begun_s = time.monotonic()
        lines = run_all(folder, Path(scratch), options.short, environment, absent(sorted(modules)), options.only)
    end = last_line(lines)
    took_s = time.monotonic() - begun_s
    print(f"{took_s:.0f} of {MAX_S:.0f} s; send back {folder}\n{end}")
    (folder / REPORT).write_text("\n".join([*(line.text() for line in lines), f"{took_s:.0f} s", end, ""]))
    return int(end.startswith("FAIL"))


if __name__ == "__main__":
    sys.exit(main())
