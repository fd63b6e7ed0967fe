"""Files that are no regular files, or far too many, far too large, or never the same twice."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.poisons import Poison, Scene, both, either, file_says, health_says, kept, lines, silent, there, written

GOOD = b'{"time_s": 1764000000.0, "step": 1, "x": 1}\n{"time_s": 1764000001.0, "step": 2, "x": 2}\n'
MANY_FILES = 20_000


def fifo(name: str) -> Callable[[Path], object]:
    return lambda folder: os.mkfifo(folder / name)


def unix_socket(folder: Path) -> None:
    before = Path.cwd()
    os.chdir(folder)  # the address of a socket holds 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("metrics.jsonl")
    finally:
        os.chdir(before)


def device(folder: Path) -> None:
    os.mknod(folder / "x.log", 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero


def link(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


def folders_named_like_files(folder: Path) -> None:
    for name in ("x.log", "metrics.jsonl", "run.json", "events.jsonl"):
        (folder / name).mkdir()


def sparse(name: str, size: int, tail: bytes = b"") -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.truncate(size)
            file.seek(size)
            file.write(tail)

    return write


def many_files(folder: Path) -> None:
    for number in range(MANY_FILES):
        (folder / f"{number}.log").write_bytes(b"INFO one line\n")


def deep_folders(folder: Path) -> None:
    at = folder
    for _ in range(300):
        at = at / "deeper"
    at.mkdir(parents=True)
    (at / "metrics.jsonl").write_bytes(GOOD)


def of_another_time(stamp_s: float) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / "x.log").write_text("no stamp of its own\n" * 3)
        os.utime(folder / "x.log", (stamp_s, stamp_s))

    return write


@contextmanager
def repeated(turn: Callable[[], object], pause_s: float = 0.02) -> Iterator[None]:
    """Does it again and again for as long as the context lasts."""
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(pause_s):
            turn()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def flapping(turn: Callable[[Path], object]) -> Callable[[Scene], object]:
    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        scene.folder.mkdir()
        with repeated(lambda: turn(scene.folder)):
            yield
        shutil.rmtree(scene.folder, ignore_errors=True)

    return place


def truncate(folder: Path) -> None:
    (folder / "metrics.jsonl").write_bytes(GOOD[: os.urandom(1)[0] % len(GOOD)])


def replace(folder: Path) -> None:
    (folder / "new").write_bytes(GOOD)
    (folder / "new").replace(folder / "metrics.jsonl")


def come_and_go(folder: Path) -> None:
    (folder / "metrics.jsonl").write_bytes(GOOD)
    (folder / "metrics.jsonl").unlink()


def now_file_now_folder(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_bytes(GOOD)
    path.unlink()
    path.mkdir()
    path.rmdir()


def now_file_now_fifo(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_bytes(GOOD)
    path.unlink()
    os.mkfifo(path)
    path.unlink()


def run_comes_and_goes(folder: Path) -> None:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / "metrics.jsonl").write_bytes(GOOD)
    shutil.rmtree(folder / "run")


def run_is_renamed(folder: Path) -> None:
    here, there = folder / "a", folder / "b"
    if there.exists():
        here, there = there, here
    here.mkdir(exist_ok=True)
    with (here / "metrics.jsonl").open("ab") as file:
        file.write(GOOD)
    here.rename(there)


@contextmanager
def in_the_healthy_folder(scene: Scene) -> Iterator[None]:
    path = scene.log_dir / "healthy" / "x.log"
    os.mkfifo(path)
    yield
    path.unlink()


@contextmanager
def outside(scene: Scene) -> Iterator[None]:
    """A link to a file beside the log folder."""
    secret = scene.log_dir.parent / "secret.txt"
    secret.write_text("the secret\n")
    scene.folder.mkdir()
    (scene.folder / "x.log").symlink_to(secret)
    yield
    shutil.rmtree(scene.folder)
    secret.unlink()


def secret_kept(scene: Scene) -> bool:
    return "the secret" not in str(scene.running.get(f"/api/v1/logs?run={scene.name}&q=secret"))


POISONS = [
    Poison("fifo-log", "a FIFO named x.log", written(fifo("x.log")), file_says("x.log"), quick=True),
    Poison("fifo-metrics", "a FIFO named metrics.jsonl", written(fifo("metrics.jsonl")), file_says("metrics.jsonl")),
    Poison("fifo-run-json", "a FIFO named run.json", written(fifo("run.json")), either(file_says("run.json"), health_says("run.json"))),
    Poison("fifo-events", "a FIFO named events.jsonl", written(fifo("events.jsonl")), file_says("events.jsonl")),
    Poison("fifo-beside-healthy", "a FIFO in the healthy run's own folder", in_the_healthy_folder, file_says("x.log", "healthy")),
    Poison("unix-socket", "a Unix socket named metrics.jsonl", written(unix_socket), file_says("metrics.jsonl")),
    Poison("device", "/dev/zero, as a device node named x.log", written(device), file_says("x.log")),
    Poison("link-to-device", "x.log is a link to /dev/zero", written(link("x.log", "/dev/zero")), file_says("x.log")),
    Poison("run-json-is-device", "run.json is a link to /dev/zero", written(link("run.json", "/dev/zero")), either(file_says("run.json"), health_says("run.json"))),
    Poison("link-to-proc", "x.log is a link to /proc/self/mem", written(link("x.log", "/proc/self/mem")), file_says("x.log")),
    Poison("link-out", "x.log is a link to a file outside of the log folder", outside, both(file_says("x.log"), secret_kept)),
    Poison("link-loop", "x.log is a link to itself", written(link("x.log", "x.log")), file_says("x.log")),
    Poison("link-dangling", "x.log is a link to nothing", written(link("x.log", "nothing")), file_says("x.log")),
    Poison("link-to-parent", "a folder that is a link to its parent", written(link("again", "..")), silent),
    Poison("folders-like-files", "folders with the names of a run's files", written(folders_named_like_files), silent),
    Poison("sparse-log", "x.log: 10 GB of nothing", written(sparse("x.log", 10 << 30)), file_says("x.log"), stays_s=6),
    Poison("sparse-line", "metrics.jsonl: one line of 4 GB, then two good ones", written(sparse("metrics.jsonl", 4 << 30, b"\n" + GOOD)), file_says("metrics.jsonl"), stays_s=6),
    Poison("sparse-run-json", "run.json: 10 GB of nothing", written(sparse("run.json", 10 << 30)), either(file_says("run.json"), health_says("run.json"))),
    Poison("many-files", f"{MANY_FILES} small logs in one folder", written(many_files), there, spoils=True, stays_s=8),
    Poison("deep-folders", "a run 300 folders deep", written(deep_folders), silent),
    Poison("gzip", "metrics.jsonl: gzip", lines(gzip.compress(GOOD * 100)), both(file_says("metrics.jsonl"), kept)),
    Poison("mtime-1901", "a log last written in 1901", written(of_another_time(-2.1e9)), there),
    Poison("mtime-2400", "a log last written in 2400", written(of_another_time(1.3569e10)), there),
    Poison("truncated", "a file truncated 50 times a second", flapping(truncate), silent),
    Poison("replaced", "a file replaced 50 times a second", flapping(replace), silent),
    Poison("comes-and-goes", "a file that comes and goes", flapping(come_and_go), silent),
    Poison("file-or-folder", "now a file, now a folder", flapping(now_file_now_folder), silent),
    Poison("file-or-fifo", "now a file, now a FIFO", flapping(now_file_now_fifo), silent),
    Poison("run-flaps", "a run that comes and goes", flapping(run_comes_and_goes), silent),
    Poison("run-renamed", "a run that is renamed 50 times a second", flapping(run_is_renamed), silent),
]  # fmt: skip
