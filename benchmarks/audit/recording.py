"""One program at a time beside a real collector: `FOLDER/NAME/` with its store, its plan, when its units ended, and the load by others."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil

from tests.support.plain import (
    SOURCES,
    Program,
    Stretch,
    collector,
    commit,
    launched,
    plan_file,
    wait_for_profiles,
    write,
)

from .catalogue import FOLDER, ROWS, Row, folder_of, plan_of

FIRST_UNIT_S = 90.0
LOAD_S = 1.0
BUSY = "import os, zlib\nblob = os.urandom(1 << 20)\nwhile True: zlib.compress(blob, 9)"


def record_all(folder: Path, names: Sequence[str], again: float | None = None) -> None:
    """Those that are not there yet, or whose loop waited for a core for more than the share `again` of the time.

    One that fails is moved aside, and the next one follows.
    """
    for name in names:
        place = folder / name
        if (place / "truth.json").exists() and (again is None or waited_share(place) <= again):
            print(f"{name}: is there", flush=True)
            continue
        shutil.rmtree(place, ignore_errors=True)
        begun_s = time.monotonic()
        try:
            record(place, ROWS[name])
        except Exception as error:  # the others are to be recorded all the same
            print(f"{name}: {error!r}", flush=True)
            place.rename(folder / f"{name}.failed.{int(time.time())}")
        else:
            print(f"{name}: recorded in {time.monotonic() - begun_s:.0f} s", flush=True)


def record(folder: Path, row: Row) -> None:
    project, plan = folder / "project", plan_file(folder, row.name)
    (folder / "logs").mkdir(parents=True)
    shutil.copytree(folder_of(row.name), project, ignore=shutil.ignore_patterns("__pycache__"))
    for module in (SOURCES / "slowdown.py", FOLDER / "programs" / "pace.py"):
        shutil.copy(module, project)
    program = Program(row.name, "", f"{row.name}.py", 0.0, row.kind, command=row.command)
    stretches = plan_of(row)
    if row.from_start:
        write(plan, [(time.time(), time.time() + FIRST_UNIT_S, stretches[0][2])])
    with ExitStack() as stack:
        stack.enter_context(collector(folder))
        target = stack.enter_context(launched(folder, program))
        stack.enter_context(_load(folder / "load.csv"))
        _wait_for_units(folder, row, target)
        begun_s = time.time() + 0.5
        absolute = [(begun_s + lo, begun_s + hi, factor) for lo, hi, factor in stretches]
        write(plan, absolute)
        if row.neighbours:
            stack.enter_context(_neighbours(row.neighbours, absolute))
        wait_for_profiles(folder, {row.run_name: absolute[-1][1]}, {row.name: target})
    write(
        folder / "truth.json",
        {"begun_s": begun_s, "plans": {row.name: absolute}, "host": socket.gethostname(), "commit": commit()},
    )


def waited_share(folder: Path) -> float:
    """Of the time that was recorded: in which the thread that runs the loop waited for a core."""
    ended_s, waited_s = units_of(folder)
    return float((waited_s[-1] - waited_s[0]) / (ended_s[-1] - ended_s[0]))


def units_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """When each unit ended, and how long the loop's thread had waited for a core until then."""
    rows = sorted(line.split() for path in folder.glob("plan.*.units.*") for line in path.read_text().splitlines())
    ended_s, waited_s = np.array([[*row, 0.0][:2] for row in rows], float).T
    return ended_s, waited_s


def _wait_for_units(folder: Path, row: Row, target: subprocess.Popen[bytes]) -> None:
    """Until it has ended a few, and so logs."""
    deadline_s = time.monotonic() + FIRST_UNIT_S
    while sum(path.stat().st_size for path in folder.glob(f"{plan_file(folder, row.name).name}.units.*")) < 100:
        assert target.poll() is None, "the program ended; see its .out file"
        assert time.monotonic() < deadline_s, "no unit of it ends"
        time.sleep(0.2)


@contextlib.contextmanager
def _load(path: Path) -> Iterator[None]:
    """Appends a line a second: the time, and how many cores programs use that do not descend from this process."""
    over = threading.Event()
    thread = threading.Thread(target=_write_load, args=(path, over), name="load")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _write_load(path: Path, over: threading.Event) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        before = (time.time(), *_cpu_s())
        while not over.wait(LOAD_S):
            now = (time.time(), *_cpu_s())
            seconds, all_s, own_s = (after - earlier for after, earlier in zip(now, before, strict=True))
            writer.writerow([f"{now[0]:.3f}", f"{max(0.0, all_s - own_s) / seconds:.3f}"])
            file.flush()
            before = now


def _cpu_s() -> tuple[float, float]:
    """Of the machine, and of this process with all that descends from it, neighbours excepted."""
    times = psutil.cpu_times()
    machine_s = times.user + times.nice + times.system + times.irq + times.softirq
    me, own_s = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            if BUSY not in process.cmdline():
                own_s += sum(process.cpu_times()[:4])
    return machine_s, own_s


@contextlib.contextmanager
def _neighbours(count: int, plan: Sequence[Stretch]) -> Iterator[None]:
    """Other programs that compress while the plan says slow."""
    over = threading.Event()
    thread = threading.Thread(target=_compress, args=(count, plan, over), name="neighbours")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _compress(count: int, plan: Sequence[Stretch], over: threading.Event) -> None:
    for since_s, until_s, factor in plan:
        if factor == 1 or over.wait(max(0.0, since_s - time.time())):
            continue
        busy = [
            subprocess.Popen([sys.executable, "-c", BUSY], start_new_session=True, env=_bare()) for _ in range(count)
        ]
        over.wait(max(0.0, until_s - time.time()))
        for process in busy:
            process.kill()
            process.wait()


def _bare() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
