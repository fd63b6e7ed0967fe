"""From `pip install` to the first flame graph on a fresh Debian, recorded as a terminal shows it: `docs/first-minutes.txt`.

python -m benchmarks.first_minutes [--root FOLDER]

FOLDER is the root of a Debian in which only Python is installed (`debootstrap --include=python3-venv stable FOLDER`), entered with
chroot, as root. Without it the commands run in an empty folder of this machine. The time of each line is printed before it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from .report import hardware

ROOT = Path(__file__).parents[1]
SCRIPT = '''"""A regression of a thousand rows, by hand."""
import random

def predict(weights, row):
    return sum(w * x for w, x in zip(weights, row))

def gradient(weights, rows, targets):
    errors = [predict(weights, row) - target for row, target in zip(rows, targets)]
    return errors, [sum(e * row[i] for e, row in zip(errors, rows)) / len(rows) for i in range(len(weights))]

rows = [[random.gauss(0, 1) for _ in range(20)] for _ in range(1000)]
targets = [sum(row) + random.gauss(0, 0.1) for row in rows]
weights = [0.0] * 20
for step in range(100_000):
    errors, slope = gradient(weights, rows, targets)
    weights = [w - 0.05 * g for w, g in zip(weights, slope)]
    print(f"step {step} loss {sum(e * e for e in errors) / len(errors):.4f}")
'''
WIDTH = 110
LINES = 4  # of the program's output that are shown


class Recorder:
    """Writes down commands and their output, each with the seconds since the start."""

    def __init__(self, inside: Sequence[str], place: Path, out: TextIO) -> None:
        """`inside` are words before each command; `place` is its working folder, as it is called there."""
        self._inside, self._place, self._out, self._begun_s = inside, place, out, time.monotonic()

    @property
    def now_s(self) -> float:
        return time.monotonic() - self._begun_s

    def say(self, text: str) -> None:
        line = f"{self.now_s:6.1f} s  {text}"
        print(line, flush=True)
        print(line, file=self._out, flush=True)

    def start(self, command: str) -> subprocess.Popen[str]:
        self.say(f"$ {command}")
        words = [*self._inside, "sh", "-c", f"cd {self._place} && exec {command}"]
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, command: str, shown: str = "") -> None:
        """Of its output only the lines that hold `shown` are written down."""
        process = self.start(command)
        assert process.stdout is not None
        everything = []
        for line in process.stdout:
            everything.append(line)
            if shown and shown in line:
                self.say(textwrap.shorten(line, WIDTH))
        if process.wait():
            raise RuntimeError("".join(everything[-20:]))


def first_flame(address: str, until_s: float) -> dict[str, object]:
    """The run's row and its first flame graph. Raises TimeoutError."""
    while time.monotonic() < until_s:
        try:
            with urllib.request.urlopen(f"{address}/api/v1/runs") as answer:
                runs = json.load(answer)["runs"]
            for run in runs:
                now_s = time.time()
                with urllib.request.urlopen(
                    f"{address}/api/v1/flame?run={run['run']}&from={now_s - 30}&to={now_s}"
                ) as answer:
                    flame = json.load(answer)
                if flame.get("samples"):
                    return {"run": run["run"], "samples": flame["samples"], "sampler": flame["sampler"]}
        except (OSError, KeyError):
            pass  # it does not serve yet
        time.sleep(0.05)
    raise TimeoutError("no flame graph within a minute")


def record(root: Path | None, out: TextIO) -> float:
    """Seconds from `run --` to the first flame graph."""
    with tempfile.TemporaryDirectory() as scratch:
        for folder in (ROOT / "deepseek-log", ROOT):
            build = [sys.executable, "-m", "build", "--wheel", "--outdir", f"{scratch}/dist", str(folder)]
            subprocess.run(build, check=True, capture_output=True)
        wheels = sorted(Path(scratch, "dist").glob("*.whl"))
        here = (root or Path(scratch)) / "home/me"
        here.mkdir(parents=True, exist_ok=True)
        for wheel in wheels:
            shutil.copy(wheel, here)
        (here / "train.py").write_text(SCRIPT)
        recorder = Recorder(["chroot", str(root)] if root else [], Path("/home/me") if root else here, out)
        recorder.run("python3 -m venv dashboard")
        recorder.run(f"dashboard/bin/pip install {' '.join(wheel.name for wheel in wheels)}", "Successfully installed")
        began_s = recorder.now_s
        process = recorder.start("dashboard/bin/deepseek-dashboard run -- python3 train.py")
        try:
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), True)
            address, printed = "", 0
            while not address or printed < LINES:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError("the command ended")
                found = re.search(r"http://\S+", line)
                address = found[0] if found else address
                printed += 1
                if found or printed <= LINES:
                    recorder.say(line.rstrip())
            found_flame = first_flame(address, time.monotonic() + 60)
            took_s = recorder.now_s - began_s
            recorder.say(
                f"# the first flame graph of {found_flame['run']}: {found_flame['samples']} samples, {found_flame['sampler']}"
            )
            recorder.say(f"# {took_s:.1f} s after the command")
        finally:
            process.terminate()
            process.wait()
    return took_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, help="of a fresh Debian")
    root: Path | None = parser.parse_args().root
    release = ((root or Path("/")) / "etc/os-release").read_text()
    name = re.search(r'PRETTY_NAME="(.*)"', release)
    path = ROOT / "docs" / "first-minutes.txt"
    with path.open("w") as out:
        print(f"# {name[1] if name else 'Linux'}, {hardware().rpartition(', Python')[0]}", file=out)
        record(root, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
