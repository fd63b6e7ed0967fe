"""Record what the programs of tests/programs/logging_runs, and the project's own trainer, print: python -m tests.record_logs [NAME...]

`tests/data/recorded/logs/<name>.log.gz` has a line a line: seconds since the start, a tab, the text.
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
FOLDER, PROGRAMS = HERE / "data" / "recorded" / "logs", HERE / "programs" / "logging_runs"


class Recorded(NamedTuple):
    """Which command writes a log."""

    name: str
    command: tuple[str, ...]
    for_thresholds: bool  # else for counting


TRAINER = ("-m", "trainer", "--threads", "1", "--workers", "0", "--device", "cpu", "--log-dir", "{folder}")
LOGS = (
    Recorded("trainer-gpt", (*TRAINER, "--task", "gpt", "--steps", "{steps}"), True),
    Recorded("transformers", ("hf_like.py", "{seconds}"), True),
    Recorded("loader-a", ("noisy_loader.py", "{seconds}", "1"), True),
    Recorded("loader-b", ("noisy_loader.py", "{seconds}", "2"), True),
    Recorded("ranks-2", ("several_ranks.py", "{seconds}", "2", "1"), True),
    Recorded("ranks-4", ("several_ranks.py", "{seconds}", "4", "2"), True),
    Recorded("validation-12", ("long_validation.py", "{seconds}", "12", "1"), True),
    Recorded("validation-16", ("long_validation.py", "{seconds}", "16", "2"), True),
    Recorded("validation-20", ("long_validation.py", "{seconds}", "20", "3"), True),
    Recorded("episodes-a", ("episodes.py", "{seconds}", "1"), True),
    Recorded("episodes-b", ("episodes.py", "{seconds}", "2"), True),
    Recorded("loader-c", ("noisy_loader.py", "{seconds}", "3"), False),
    Recorded("loader-d", ("noisy_loader.py", "{seconds}", "4"), False),
    Recorded("ranks-3", ("several_ranks.py", "{seconds}", "3", "3"), False),
    Recorded("ranks-5", ("several_ranks.py", "{seconds}", "5", "4"), False),
    Recorded("validation-14", ("long_validation.py", "{seconds}", "14", "4"), False),
    Recorded("validation-18", ("long_validation.py", "{seconds}", "18", "5"), False),
    Recorded("validation-22", ("long_validation.py", "{seconds}", "22", "6"), False),
    Recorded("episodes-c", ("episodes.py", "{seconds}", "3"), False),
    Recorded("episodes-d", ("episodes.py", "{seconds}", "4"), False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=150.0)
    options = parser.parse_args()
    for log in LOGS:
        if not options.names or log.name in options.names:
            record(log, options.seconds)


def record(log: Recorded, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        words = [word.format(seconds=seconds, folder=folder, steps=1_000_000) for word in log.command]
        words = [str(PROGRAMS / word) if word.endswith(".py") else word for word in words]
        command = [sys.executable, "-u", *words]
        begun = time.monotonic()
        lines = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                at_s = time.monotonic() - begun
                lines.append(
                    f"{at_s:.3f}\t{line.rstrip()}".replace(folder, "/job/logs")
                    .replace(str(PROGRAMS), "/job")
                    .replace(str(HERE.parent), "/job")
                )
                if at_s > seconds:
                    process.terminate()
        FOLDER.mkdir(exist_ok=True)
        data = gzip.compress("\n".join(lines).encode(), 9, mtime=0)
        (FOLDER / f"{log.name}.log.gz").write_bytes(data)
        print(f"{log.name}: {len(lines)} lines, {len(data)} bytes", flush=True)


if __name__ == "__main__":
    main()
