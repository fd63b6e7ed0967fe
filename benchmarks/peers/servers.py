"""The servers of TensorBoard and Trackio, started as their users start them, and what their pages ask for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psutil

from benchmarks.peers.curves import Curves
from benchmarks.peers.environment import PLACE, PYTHON, ROOT, environment

WRITE_S, ENDS_S, ASK_S, AGAIN_S = 300.0, 10.0, 60.0, 0.1
TRACKIO_RUNS = 64  # that its page asks for at once


class Peer(NamedTuple):
    """`needed`: how many responses with data the first screen waits for; None: all that come."""

    name: str
    write: Callable[
        [Curves, Path], None
    ]  # its own data beside the event files, in a folder; TimeoutExpired where that takes too long
    command: Callable[[Curves, Path, int], list[str]]  # curves, folder of the event files, port
    variables: Callable[[Path, int], dict[str, str]]  # its own folder, port
    all_there: Callable[[str, Curves], bool]  # address
    page: Callable[[Curves], str]  # path and query
    data: str  # in the address of a response with data
    needed: Callable[[Curves], int] | None
    charts: str  # selector of what has been drawn on


class Serving(NamedTuple):
    address: str
    pid: int
    there_s: float  # from the start until it answers with all data


@contextmanager
def serving(peer: Peer, curves: Curves, log_dir: Path, own: Path, limit_s: float) -> Iterator[Serving | None]:
    """None where not all data are there in time. Raises RuntimeError where the server ends."""
    port = free_port()
    output = own / f"{peer.name}.out"
    with output.open("wb") as out:
        began_s = time.monotonic()
        program, *flags = peer.command(curves, log_dir, port)
        variables = {**environment(), "BROWSER": "true", **peer.variables(own, port)}
        process = subprocess.Popen(
            [str(PLACE / "bin" / program), *flags],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env=variables,
            cwd=own,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        found = False
        while not found and time.monotonic() - began_s < limit_s:
            asked_s = time.monotonic()
            try:
                found = peer.all_there(address, curves)
            except (OSError, KeyError, IndexError, ValueError):  # it does not listen yet, or knows nothing of the run
                if process.poll() is not None:
                    raise RuntimeError(f"{peer.name} ended: {output.read_text()[-2000:]}") from None
            if not found:  # a server that answers for long is not asked all the time
                time.sleep(max(AGAIN_S, time.monotonic() - asked_s))
        yield Serving(address, process.pid, time.monotonic() - began_s) if found else None
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    try:
        process.wait(ENDS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in psutil.wait_procs(children, ENDS_S)[1]:
        child.kill()


def memory_mb(pid: int) -> float:
    """Resident, of a process and all below it; a page that some of them share counts once."""
    process = psutil.Process(pid)
    return sum(float(member.memory_full_info().pss) for member in [process, *process.children(recursive=True)]) / 1e6


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answer(address: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=ASK_S) as response:
        return json.load(response)


def nothing(curves: Curves, own: Path) -> None:
    """TensorBoard reads the event files themselves."""


def tensorboard(name: str, *flags: str) -> Peer:
    """It loads in the background; that ends with the last step of the last tag of each run."""

    def loaded(address: str, curves: Curves) -> bool:
        return all(
            last_step(address, run, curves.tag_names[-1]) == curves.steps - 1 for run in reversed(curves.run_names)
        )

    def command(curves: Curves, log_dir: Path, port: int) -> list[str]:
        return ["tensorboard", "--logdir", str(log_dir), "--port", str(port), *flags]

    charts = "line-chart .series-view canvas, line-chart canvas.series-view, line-chart svg.series-view"
    return Peer(
        name, nothing, command, lambda own, port: {}, loaded, lambda curves: "/", "/timeseries/timeSeries", None, charts
    )


def last_step(address: str, run: str, tag: str) -> int:
    """[[wall time, step, value], ...]"""
    return int(answer(f"{address}/data/plugin/scalars/scalars?{urlencode({'run': run, 'tag': tag})}")[-1][1])


def write_trackio(curves: Curves, own: Path) -> None:
    command = [str(PYTHON), "-m", "benchmarks.peers.trackio_database", *map(str, curves)]
    variables = {**environment(), "TRACKIO_DIR": str(own), "PYTHONPATH": os.fspath(ROOT)}
    subprocess.run(command, check=True, env=variables, timeout=WRITE_S, cwd=own)


def trackio() -> Peer:
    """It has a database already: all is there once it answers with all runs."""

    def loaded(address: str, curves: Curves) -> bool:
        return len(answer(f"{address}/api/get_runs_for_project", {"project": curves.name})["data"]) == curves.runs

    return Peer(
        "Trackio",
        write_trackio,
        lambda curves, log_dir, port: ["trackio", "show", "--project", curves.name],
        lambda own, port: {"TRACKIO_DIR": str(own), "GRADIO_SERVER_PORT": str(port), "GRADIO_NUM_PORTS": "1"},
        loaded,
        lambda curves: f"/?{urlencode({'project': curves.name})}",
        "/api/get_logs_batch",
        lambda curves: -(-curves.runs // TRACKIO_RUNS),
        ".plot-container canvas",
    )
