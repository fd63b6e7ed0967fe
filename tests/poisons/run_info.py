"""run.json with fields of every type, and with claims that the kernel does not confirm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.poisons import (
    LargeBytes,
    Place,
    Poison,
    Scene,
    either,
    file_says,
    health_says,
    made,
    run_says,
    silent,
    there,
    written,
)
from tests.poisons.kinds_of_files import GOOD, repeated

FIELDS = ("run", "kind", "unit", "config", "command", "cwd", "git_commit", "world_size", "pid", "host", "started_s")  # fmt: skip
# As they stand in the file: Python's own writer would refuse some of them.
VALUES = {
    "string": '"2026-11-25T10:00:00"',
    "list": '[1, "two", null, [3]]',
    "object": '{"a": {"b": [1]}}',
    "huge": "1" + "0" * 400,
    "127-bit": str(2**127 - 1),
    "negative": "-12345678901",
    "nan": "NaN",
    "infinity": "-Infinity",
    "float": "1e308",
    "deep": "[" * 100 + "]" * 100,
    "null": "null",
    "bool": "true",
    "surrogate": '"\\ud800"',
    "nul": '"a\\u0000b"',
    "long": '"' + "y" * 100_000 + '"',
}


def each_value_of(field: str) -> Place:
    """A run for each type, one after the other."""

    def write(folder: Path) -> None:
        for kind, value in VALUES.items():
            (folder / kind).mkdir()
            (folder / kind / "run.json").write_text(f'{{"{field}": {value}}}')
            (folder / kind / "metrics.jsonl").write_bytes(GOOD)
            time.sleep(0.03)

    return written(write)


def all_of_them(scene: Scene) -> bool:
    """Each of the runs is listed with its points."""
    runs = {run["run"]: run["points"] for run in scene.running.get("/api/v1/runs")["runs"]}
    return all(runs.get(f"{scene.name}/{kind}") == 2 for kind in VALUES)


def info(text: str | LargeBytes, good: bytes = GOOD) -> Place:
    def write(folder: Path) -> None:
        (folder / "run.json").write_bytes(text.encode() if isinstance(text, str) else made(text))
        (folder / "metrics.jsonl").write_bytes(good)

    return written(write)


def claims(pid: int, **fields: object) -> Place:
    """A run that says it is that process, and of this host."""
    claim = {"pid": pid, "host": os.uname().nodename, "started_s": time.time(), **fields}
    return info(json.dumps(claim))


@contextmanager
def claims_the_healthy(scene: Scene) -> Iterator[None]:
    """Two runs say that they are the process of the healthy one."""
    healthy = json.loads((scene.log_dir / "healthy" / "run.json").read_text())
    events = (scene.log_dir / "healthy" / "events.jsonl").read_bytes()
    folders = [scene.folder / "a", scene.folder / "z"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_bytes(events)
        (folder / "run.json").write_text(json.dumps(healthy))
        (folder / "metrics.jsonl").write_bytes(GOOD)
    yield
    shutil.rmtree(scene.folder)


@contextmanager
def of_another_user(scene: Scene) -> Iterator[None]:
    """A run.json written by nobody that names a process of root; only root can set this up."""
    scene.folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.01)"]) as victim:
        claim: Mapping[str, object] = {"pid": victim.pid, "host": os.uname().nodename, "started_s": time.time()}
        (scene.folder / "run.json").write_text(json.dumps(claim))
        (scene.folder / "metrics.jsonl").write_bytes(GOOD)
        if os.geteuid() == 0:
            for path in (scene.folder, *scene.folder.iterdir()):
                os.chown(path, 65534, 65534)
        try:
            yield
        finally:
            victim.kill()
    shutil.rmtree(scene.folder)


def never_sampled(scene: Scene) -> bool:
    """No stack of the victim is shown; only root can tell the difference."""
    time.sleep(3)
    now_s = time.time()
    tree = scene.running.get(f"/api/v1/flame?run={scene.name}&from={now_s - 60}&to={now_s}")
    return os.geteuid() != 0 or not tree.get("samples")


@contextmanager
def rewritten(scene: Scene) -> Iterator[None]:
    """run.json is another one 50 times a second."""
    scene.folder.mkdir()
    (scene.folder / "metrics.jsonl").write_bytes(GOOD)
    path = scene.folder / "run.json"
    with repeated(lambda: path.write_text(json.dumps({"pid": time.monotonic_ns(), "config": {"a": time.time()}}))):
        yield
    shutil.rmtree(scene.folder)


DEEP = {300: "a config 300 deep", 990: "a config 990 deep", 100_000: "a config 100,000 deep"}
SAID = either(
    file_says("run.json"), health_says("run.json"), run_says('"trouble": "[^"]'), run_says('"fields_skipped": [1-9]')
)

POISONS = [
    *(
        Poison(f"info-{field}", f"run.json whose {field} is of each type", each_value_of(field), all_of_them, quick=field == "started_s")
        for field in FIELDS
    ),
    *(Poison(f"info-deep-{depth}", what, info('{"config": ' + '{"a": ' * depth + "1" + "}" * depth + "}"), there) for depth, what in DEEP.items()),
    Poison("info-127-bits", "a seed of 127 bits in the config", info(json.dumps({"config": {"seed": 2**127 - 1}})), there, quick=True),
    Poison("info-argv-not-utf8", "an argument that is not UTF-8", info(json.dumps({"command": "python caf\udce9.py"})), there),
    Poison("info-bytes-not-utf8", "run.json that is not UTF-8", info(b'{"command": "caf\xe9"}'), SAID),
    Poison("info-list", "run.json is a list", info("[1, 2, 3]"), SAID),
    Poison("info-empty", "run.json is empty", info(""), there),
    Poison("info-half", "run.json stays half written", info('{"config": {"lr": 0.1'), SAID),
    Poison("info-large", "a config of 50 MB", info(lambda: json.dumps({"config": {"text": "z" * 50_000_000}}).encode()), there),
    Poison("info-many-keys", "a config of 200,000 keys", info(lambda: json.dumps({"config": {f"k{i}": i for i in range(200_000)}}).encode()), there),
    Poison("info-pid-1", "run.json names pid 1", claims(1), there),
    Poison("info-pid-2", "run.json names a thread of the kernel", claims(2), there),
    Poison("info-pid-huge", "run.json names pid 2 ** 62", claims(2**62), there),
    Poison("info-pid-minus", "run.json names pid -1", claims(-1), there),
    Poison("info-cwd-proc", "run.json's folder is /proc", claims(1, cwd="/proc"), there),
    Poison("info-of-another-user", "run.json of nobody names a process of root", of_another_user, never_sampled),
    Poison("info-two-claim-one", "two other runs claim the healthy run's process", claims_the_healthy, silent, stays_s=4),
    Poison("info-rewritten", "run.json is rewritten 50 times a second", rewritten, there),
]  # fmt: skip
