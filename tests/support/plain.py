"""The programs of tests/programs/plain, which know nothing of the dashboard: how each is started, and what is made slow in it.

A recording is a folder: `project/` (a copy of the programs, so that the store's paths stay true), `logs/` with the store, and
`truth.json` (what ran, and when which part was slow). `record` makes one with a real collector process; tests/support/plain_truth.py reads it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias

from collectors.control import ControlError, ask
from collectors.store.engines import open_store

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parents[1] / "programs" / "plain"
PLAIN = "{python} {name}.py {logs}/{name}"
TORCHRUN = "{python} -m torch.distributed.run --nproc-per-node 2 --master-addr 127.0.0.1 --master-port {port} {name}.py {logs}/{name}"
LATE_S = 14.0  # a sampler delivers what it has some seconds later
FIRST_LINE_S = 120.0  # the longest wait for a program's first line: three at once import torch, one compiles
END_S = 60.0
TURN_S, WATCH_S = 0.5, 5.0  # as a page that shows the run: what is watched is delivered soon

Stretch: TypeAlias = tuple[float, float, float]  # since_s, until_s, factor


class Program(NamedTuple):
    """`function` of `file` makes a unit of `unit_s` longer; `workers` of them work side by side."""

    name: str
    function: str
    file: str
    unit_s: float
    kind: str  # of place
    held_out: bool = False  # from choosing thresholds; written down before the first evaluation
    command: str = PLAIN
    run: str = ""  # the name of its run, where that is another one
    workers: int = 1
    steady: bool = True  # one step takes as long as the other, and less than a window
    inline: bool = False  # the function does all else, too: the line must be one of the slow ones

    @property
    def run_name(self) -> str:
        return self.run or self.name


def _own(name: str, function: str, unit_s: float, kind: str, **others: object) -> Program:
    return Program(name, function, f"{name}.py", unit_s, kind, **others)  # type: ignore[arg-type]


PROGRAMS = {
    program.name: program
    for program in (
        _own("jsonl_timed", "decode_image", 0.05, "dataset decode", held_out=True),
        _own("jsonl_untimed", "elastic_warp", 0.016, "augmentation"),
        _own("forked_workers", "decode_jpeg", 0.06, "decode in a worker", workers=2),
        _own("spawned_workers", "pad_batch", 0.08, "collate in a worker", workers=2),
        _own("forkserver_workers", "tokenize", 0.05, "tokenizing in a worker", held_out=True, workers=2),
        _own("teed", "log_histograms", 0.05, "logging", command="{python} teed.py | tee {logs}/teed/train.log"),
        Program("child_process", "read_shard", "child_training.py", 0.1, "reading", held_out=True),
        _own("two_ranks", "load_shard", 0.08, "reading in one rank", command=TORCHRUN),
        _own(
            "print_only",
            "smooth_losses",
            0.04,
            "post-processing of the loss",
            held_out=True,
            command="{python} print_only.py > {logs}/print_only/train.log",
        ),
        _own("hf_trainer", "pad_and_stack", 0.02, "collate"),
        _own("lightning_fit", "random_erase", 0.04, "augmentation", held_out=True),
        _own("compiled", "rebuild_mask", 0.05, "host loop"),
        _own("ddp_gloo", "random_crop", 0.06, "augmentation in one rank", held_out=True, command=TORCHRUN),
        _own("fsdp2_gloo", "save_shard", 0.1, "checkpoint", command=TORCHRUN),
        _own("accumulated", "tidy_up", 0.2, "garbage collection by hand"),
        _own("varying_length", "score_tokens", 0.08, "host loop", held_out=True, steady=False),
        _own("steps_of_20s", "search_beam", 20.0, "host loop", steady=False),
        _own("steps_of_60s", "trace_rays", 60.0, "waiting for another machine", held_out=True, steady=False),
        _own("rl_phases", "grade", 2.0, "reward on the host", steady=False),
        _own("two_runs", "shuffle_buffer", 0.05, "dataset shuffle", held_out=True, run="two_runs/second"),
        _own("inline_main", "main", 0.05, "lines of a loop", inline=True),
        _own("inline_module", "<module>", 0.05, "waiting in a loop", held_out=True, inline=True),
        Program("notebook", "encode_text", "", 0.06, "tokenizing", command="{python} notebook.py {logs}/notebook"),
        Program(
            "editable_install",
            "jitter",
            "augment.py",
            0.05,
            "augmentation",
            held_out=True,
            command="{editable} {name}.py {logs}/{name}",
        ),
    )
}


def stretches(turn: int, settle_s: float) -> list[Stretch]:
    """From 0 on, healthy for `settle_s` and then slow four times, each time followed by a healthy stretch; `turn` shifts the order."""
    slow = [(2.0, 12.0), (12.0, 9.0), (1.3, 20.0), (5.0, 8.0)]
    at_s, found = settle_s, [(0.0, settle_s, 1.0)]
    for index in range(len(slow)):
        factor, seconds = slow[(index + turn) % len(slow)]
        healthy_s = 15.0 if index % 2 else 9.0
        found += [(at_s, at_s + seconds, factor), (at_s + seconds, at_s + seconds + healthy_s, 1.0)]
        at_s += seconds + healthy_s
    return found


def long_stretches(unit_s: float) -> list[Stretch]:
    """For units of seconds: two minutes and three units healthy, then slow twice for two units and more."""
    settle_s, slow_s = 125.0 + 2 * unit_s, max(25.0, 1.5 * unit_s)
    ends = [settle_s, slow_s, max(20.0, unit_s), slow_s, 20.0]
    found: list[Stretch] = []
    for seconds, factor in zip(ends, (1.0, 2.0, 1.0, 5.0, 1.0), strict=True):
        begun_s = found[-1][1] if found else 0.0
        found.append((begun_s, begun_s + seconds, factor))
    return found


def record(folder: Path, plans: Mapping[str, Sequence[Stretch]]) -> None:
    """Runs these programs at the same time, a real collector beside them; plans are in seconds since all have logged their first line."""
    logs, project = folder / "logs", folder / "project"
    logs.mkdir(parents=True)
    shutil.copytree(SOURCES, project, ignore=shutil.ignore_patterns("__pycache__"))
    with ExitStack() as stack:
        stack.enter_context(collector(folder))
        started = {name: stack.enter_context(launched(folder, PROGRAMS[name])) for name in plans}
        _wait_for_lines(logs, started)
        begun_s = time.time() + 0.5
        absolute = {
            name: [(begun_s + lo, begun_s + hi, factor) for lo, hi, factor in plan] for name, plan in plans.items()
        }
        for name, plan in absolute.items():
            write(plan_file(folder, name), plan)
        wait_for_profiles(folder, {PROGRAMS[name].run_name: plan[-1][1] for name, plan in absolute.items()}, started)
    write(
        folder / "truth.json", {"begun_s": begun_s, "plans": absolute, "host": socket.gethostname(), "commit": commit()}
    )


def plan_file(folder: Path, name: str) -> Path:
    return folder / f"plan.{name}.json"


@contextlib.contextmanager
def collector(folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "collector", "--log-dir", str(folder / "logs")]
    with (folder / "collector.out").open("wb") as output:
        collector = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield
    finally:
        collector.terminate()
        collector.wait(END_S)


@contextlib.contextmanager
def launched(folder: Path, program: Program) -> Iterator[subprocess.Popen[bytes]]:
    """In a process group of its own, which ends with this."""
    names = {"python": sys.executable, "name": program.name, "logs": "../logs", "port": _free_port(), "editable": ""}
    if "{editable}" in program.command:
        names["editable"] = str(_editable(folder))
    (folder / "logs" / program.name).mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "SLOWDOWN": str(plan_file(folder, program.name)),
        "PYTHONWARNINGS": "ignore",
    }
    with (folder / f"{program.name}.out").open("wb") as output:
        target = subprocess.Popen(
            program.command.format(**names),
            shell=True,
            cwd=folder / "project",
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield target
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(target.pid, signal.SIGTERM)
        time.sleep(1.0)  # a launcher ends its ranks, a kernel its client
        with contextlib.suppress(ProcessLookupError):
            os.killpg(target.pid, signal.SIGKILL)
        target.wait(END_S)


def _wait_for_lines(logs: Path, started: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Until each program's run has a line; the units of 20 s and longer are not waited for."""
    deadline_s = time.monotonic() + FIRST_LINE_S
    short = [PROGRAMS[name] for name in started if PROGRAMS[name].unit_s < 10]
    while not all(_has_lines(logs / program.run_name) for program in short):
        _none_ended(started)
        assert time.monotonic() < deadline_s, f"one of {[*started]} logs nothing"
        time.sleep(0.2)


def wait_for_profiles(
    folder: Path, until_s: Mapping[str, float], started: Mapping[str, subprocess.Popen[bytes]]
) -> None:
    """Until the stacks of each run up to then are stored; no longer than LATE_S after that."""
    last_s = max(until_s.values())
    data = folder / "logs" / ".deepseek"
    store = open_store(data, write=False)
    try:
        while time.time() < last_s + LATE_S:
            if time.time() > last_s and all(
                (store.profiled_until(run) or 0.0) >= end_s for run, end_s in until_s.items()
            ):
                return
            _none_ended(started)
            for run in until_s:
                with contextlib.suppress(ControlError):  # busy; the next one counts
                    ask(data, "watch", run=run, until=time.time() + WATCH_S)
            time.sleep(TURN_S)
    finally:
        store.close()


def _has_lines(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("*"))


def _none_ended(started: Mapping[str, subprocess.Popen[bytes]]) -> None:
    ended = [name for name, target in started.items() if target.poll() is not None]
    assert not ended, f"{ended} ended; see its .out file in the recording"


def _editable(folder: Path) -> Path:
    """A virtual environment of its own, into which mylab is installed with `pip install -e`; it sees this one's packages."""
    place, source = folder / "venv", folder / "mylab"
    shutil.move(folder / "project" / "editable", source)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "shared.pth").write_text(ours + "\n")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", source], check=True)
    return place / "bin" / "python"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()


def write(path: Path, value: object) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value))
    part.replace(path)
