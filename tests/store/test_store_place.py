"""Where the store lies, and what happens where that place is full: on real file systems, which takes root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors import folders
from collectors.store.sqlite import files
from tests.conftest import ROOT, Dashboard, wait_for

START_S = 1_764_000_000.0
MOUNTS = """/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
box:/home /home nfs4 rw,vers=4.2 0 0
box:/my\\040logs /data/my\\040logs fuse.sshfs rw 0 0
/dev/vdb /home/me/local xfs rw 0 0
"""


class Elsewhere(Dashboard):
    """One whose store is not in its log folder."""

    def collector_pid(self) -> int | None:
        return 1 if self.get("/healthz")["collectors"] else None

    def failures(self) -> set[str]:
        return {one["last_error"] for one in self.get("/healthz")["collectors"] if one["state"] == "paused"}


@contextmanager
def elsewhere(log_dir: Path, *flags: str) -> Iterator[Elsewhere]:
    running = Elsewhere(log_dir, "--no-profile", *flags)
    try:
        yield running
    finally:
        running.close()


def log(path: Path, *steps: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps({"time_s": START_S + step, "step": step, "loss": step / 8}) + "\n" for step in steps)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 16 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder, and the same one as a network file system shows it."""
    behind, mounted = tmp_path / "server", tmp_path / "mounted"
    behind.mkdir()
    mounted.mkdir()
    if os.getuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("mounting a network file system needs root and FUSE")
    command = [sys.executable, str(ROOT / "tests/programs/remote_folder.py"), str(behind), str(mounted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout and server.stdout.readline() == b"mounted\n"
        yield behind, mounted
        subprocess.run(["umount", "-l", mounted], check=True)
        server.kill()


def test_a_full_disk_pauses_the_collectors_says_so_and_costs_nothing(small_disk: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    with elsewhere(logs, "--data-dir", str(small_disk / "data")) as running:
        log(logs / "a" / "metrics.jsonl", 0)
        wait_for(lambda: running.values("a", "loss") == [0])
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        log(logs / "a" / "metrics.jsonl", *range(1, 5000))
        failures = wait_for(running.failures)
        assert all("the disk is full; make room, collection continues automatically" in failure for failure in failures)
        assert running.get("/healthz")["status"] == "degraded"
        assert len(running.values("a", "loss")) < 5000, "what is there can still be read"
        ballast.unlink()
        wait_for(lambda: running.values("a", "loss") == [step / 8 for step in range(5000)], because="it does not go on")
        wait_for(lambda: running.get("/healthz")["status"] == "ok")


def test_a_log_folder_on_a_network_file_system_keeps_its_data_on_this_host_and_is_polled(
    remote: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind, mounted = remote
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    log(behind / "a" / "metrics.jsonl", 0)
    assert folders.is_remote(mounted) and not folders.is_remote(behind)
    with elsewhere(mounted) as running:
        wait_for(lambda: running.values("a", "loss") == [0])
        log(behind / "a" / "metrics.jsonl", 1, 2)
        log(behind / "b" / "metrics.jsonl", 0)
        wait_for(lambda: running.values("a", "loss") == [0, 1 / 8, 2 / 8])
        wait_for(lambda: running.values("b", "loss") == [0])
    (data_dir,) = (tmp_path / "state" / "deepseek-dashboard").iterdir()
    assert (data_dir / files.RUNS_FILE).exists() and sorted(path.name for path in behind.iterdir()) == ["a", "b"]
    notice = (tmp_path / "mounted.stderr").read_text()
    assert notice.count("is on a network file system: the store goes to") == 1


def test_the_file_system_of_a_path_is_that_of_its_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    places = {
        "/home/me/logs": "nfs4",
        "/home/me/local/logs": "xfs",
        "/data/my logs/run": "fuse.sshfs",
        "/data": "ext4",
        "/homes": "ext4",
    }
    assert {place: folders.file_system_of(Path(place), mounts) for place in places} == places


def test_each_log_folder_has_a_data_folder_of_its_own_and_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, second = (folders.local_data_dir(tmp_path / name) for name in ("a", "b"))
    assert first.parent == second.parent == tmp_path / "deepseek-dashboard" and first != second
    assert folders.local_data_dir(tmp_path / "b" / ".." / "a") == first
    monkeypatch.setattr(folders, "is_remote", lambda path: True)
    assert folders.local_data_dir(tmp_path / "a").is_relative_to("/var/tmp")
