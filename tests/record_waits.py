"""Record how a main thread stands in each wait of tests/programs/waits.py: python -m tests.record_waits FILE

The file opens with what recorded it; of each situation it keeps the stacks that stood for a twentieth of it. Keep it in tests/data/recorded/.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from analysis.stacks.frames import line_of
from collectors.machine.proc import start_ticks
from collectors.records import Frame, StackRecording, StackSpan
from collectors.sampler import Target
from collectors.sampler.native import NativeSampler

PROGRAM = Path(__file__).parent / "programs" / "waits.py"
HZ = 100.0
LEAST = 0.05  # of a situation's time
LATE_S = 5.0  # what is under way is delivered by then
PLACES = {  # no machine's own paths in a recording
    sysconfig.get_path("purelib"): "/site-packages",
    sysconfig.get_path("stdlib"): "/lib/python",
    str(PROGRAM.parent): "/job",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    said, samples = record()
    waits = {name: standing(samples, begun_ns, ended_ns) for name, begun_ns, ended_ns in said}
    parser.parse_args().file.write_text(as_text({"recorded": conditions(), "waits": waits}))


def record() -> tuple[list[tuple[str, int, int]], list[StackSpan]]:
    """When which situation began and ended, and the samples of the main thread."""
    sampler = NativeSampler("box")
    command = [sys.executable, str(PROGRAM)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdout.readline()
            sampler.hurry(time.monotonic() + 3600)
            sampler.follow([Target("waits", 0, process.pid, start_ticks(process.pid) or 0, "main", HZ)])
            time.sleep(1)
            process.stdin.write("\n")
            process.stdin.close()
            said: list[tuple[str, int, int]] = []
            profiles: list[StackRecording] = []
            for line in process.stdout:
                name, begun_ns, ended_ns = line.split("\t")
                said.append((name, int(begun_ns), int(ended_ns)))
                profiles += sampler.profiles()
            until_s = time.monotonic() + LATE_S
            while time.monotonic() < until_s:
                profiles += sampler.profiles()
                time.sleep(0.1)
        finally:
            process.kill()
            sampler.close()
    return said, [sample for one in profiles for sample in one.samples if sample.tid == process.pid]


def standing(samples: list[StackSpan], begun_ns: int, ended_ns: int) -> list[dict[str, Any]]:
    """The stacks that stood for long, the longest first, with no machine's own paths, and the line of source at the end of each."""
    stood: Counter[tuple[Frame, ...]] = Counter()
    for sample in samples:
        inside_ns = min(sample.mono_ns + sample.duration_ns, ended_ns) - max(sample.mono_ns, begun_ns)
        stood[sample.stack] += max(0, inside_ns)
    long = [stack for stack, lasted_ns in stood.most_common() if lasted_ns > LEAST * (ended_ns - begun_ns)]
    return [
        {"line": line_of(*stack[-1][1:]).strip(), "stack": [frame._replace(file=placed(frame.file)) for frame in stack]}
        for stack in long
    ]


def placed(file: str) -> str:
    return next((name + file.removeprefix(place) for place, name in PLACES.items() if file.startswith(place)), file)


def conditions() -> dict[str, Any]:
    return {
        "by": "the native sampler, 100 Hz",
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def as_text(recorded: dict[str, Any]) -> str:
    """A line a stack."""
    stacks = {name: ",\n".join(map(json.dumps, stacks)) for name, stacks in recorded["waits"].items()}
    waits = ",\n".join(f"{json.dumps(name)}: [\n{lines}\n]" for name, lines in stacks.items())
    return f'{{"recorded": {json.dumps(recorded["recorded"])},\n"waits": {{\n{waits}\n}}}}\n'


if __name__ == "__main__":
    main()
