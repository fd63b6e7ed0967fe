"""What befalls the dashboard's own folders and processes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from collectors.records import Points
from collectors.store.engines import open_store
from tests.conftest import Dashboard
from tests.poisons import Poison, Scene, health_says, silent

YEAR_2099_S = 4.07e9


def collector_of(running: Dashboard) -> psutil.Process:
    (found,) = [child for child in psutil.Process(running.process.pid).children() if "collector" in child.cmdline()]
    return found


@contextmanager
def data_folder_removed(scene: Scene) -> Iterator[None]:
    shutil.rmtree(scene.data_dir)
    yield


@contextmanager
def data_folder_moved(scene: Scene) -> Iterator[None]:
    """Away, and never back."""
    scene.data_dir.rename(scene.log_dir.parent / f"moved-{time.monotonic_ns()}")
    yield


@contextmanager
def store_files_removed(scene: Scene) -> Iterator[None]:
    for path in scene.data_dir.glob("*.sqlite*"):
        path.unlink()
    yield


@contextmanager
def stopped(scene: Scene) -> Iterator[None]:
    """The collector does not run, and does not end."""
    collector = collector_of(scene.running)
    collector.suspend()
    try:
        yield
    finally:
        if collector.is_running():
            collector.resume()


@contextmanager
def killed(scene: Scene) -> Iterator[None]:
    collector_of(scene.running).send_signal(signal.SIGKILL)
    yield


@contextmanager
def restarted(scene: Scene) -> Iterator[None]:
    """Killed five times in a row."""
    for _ in range(5):
        for child in psutil.Process(scene.running.process.pid).children():
            child.send_signal(signal.SIGKILL)
        time.sleep(0.7)
    yield


@contextmanager
def lock_of_garbage(scene: Scene) -> Iterator[None]:
    """The lock's text is no JSON; whoever holds it holds it still."""
    path = scene.data_dir / "writer.lock"
    text = path.read_bytes()
    path.write_bytes(b"\xff{")
    yield
    path.write_bytes(text)


def future_files(data_dir: Path) -> None:
    """What a clock that jumped to 2099 and back left in the store."""
    store = open_store(data_dir, write=True)
    labels = (("host", os.uname().nodename),)
    store.append([Points(None, labels, ("host/cpu_pct",), (5.0,), YEAR_2099_S, None)])
    store.close()


POISONS = [
    Poison("collector-killed", "the collector is killed", killed, silent, late_s=6),
    Poison("collector-killed-5-times", "the collector is killed five times in a row", restarted, silent, spoils=True, late_s=40),
    Poison("collector-stopped", "the collector is stopped (SIGSTOP)", stopped, health_says("."), spoils=True, late_s=30, stays_s=20),
    Poison("data-removed", "rm -rf of the data folder", data_folder_removed, health_says("."), spoils=True, late_s=20),
    Poison("data-moved", "the data folder is moved away", data_folder_moved, health_says("."), spoils=True, late_s=20),
    Poison("store-files-removed", "the store's files are removed", store_files_removed, health_says("."), spoils=True, late_s=20),
    Poison("lock-garbage", "the lock's text is garbage", lock_of_garbage, silent, spoils=True),
]  # fmt: skip
