"""A run whose folder gets another name goes on under it, and leaves no copy behind."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from collectors.logs.tail import LogFolderTail
from collectors.logs.tombstones import Tombstones
from collectors.records import labels_of
from collectors.store.engines import open_store
from collectors.store.store import LogQuery, series_id
from dashboard.user_files.events import add_event
from dashboard.user_files.run_notes import RunNotes, about_run, save_about
from tests.conftest import dashboard, wait_for
from tests.support.ingesting import Ingest


class Renaming(Ingest):
    """With the tail that the collector has."""

    def __init__(self, root: Path) -> None:
        self.writers: list[Writer] = []
        super().__init__(root)

    def writer(self, name: str) -> Writer:
        self.writers.append(Writer(self.root / name))
        return self.writers[-1]

    def start(self) -> None:
        self.wake = threading.Event()
        self.store = open_store(self.data_dir, write=True)
        self.tail = LogFolderTail(
            self.root,
            "box",
            self.store.offsets(),
            self.wake,
            tombstones=Tombstones(self.data_dir),
            remove=self.store.delete,
            rename=self.store.rename,
        )

    def steps(self, run: str) -> list[int]:
        loss = series_id(run, "loss", labels_of(host="box"))
        return [int(step) for step in self.store.points([loss], None, None, "step")[loss].step]

    def times(self, run: str) -> list[float]:
        return [line.time_s for line in self.store.logs(LogQuery(run, limit=10**5)).lines]

    def names(self) -> list[str]:
        return [run.name for run in self.store.runs() if run.name != "healthy"]


@pytest.fixture
def renaming(tmp_path: Path) -> Iterator[Renaming]:
    renaming = Renaming(tmp_path / "logs")
    yield renaming
    renaming.close()
    for writer in renaming.writers:
        writer.close()


class Writer:
    """A program that holds its files open."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"config": {"seed": 7}}))
        self.metrics: TextIO = (folder / "metrics.jsonl").open("a")
        self.log: TextIO = (folder / "train.log").open("a")
        self.written = 0

    def close(self) -> None:
        self.metrics.close()
        self.log.close()

    def write(self, lines: int) -> None:
        for _ in range(lines):
            self.metrics.write(json.dumps({"step": self.written, "loss": 0.5}) + "\n")
            self.log.write(f"line {self.written}\n")
            self.written += 1
        self.metrics.flush()
        self.log.flush()


@pytest.mark.parametrize("new", ["runs/b", "archive/2026/a", "runs/a-good"])
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_run_goes_on_under_the_new_name_of_its_folder(new: str, is_stopped: bool, renaming: Renaming) -> None:
    writer = renaming.writer("runs/a")
    writer.write(50)
    renaming.until(lambda: len(renaming.steps("runs/a")) == len(renaming.times("runs/a")) == 50, "not read")
    before_s = renaming.times("runs/a")
    (renaming.root / new).parent.mkdir(parents=True, exist_ok=True)
    if is_stopped:
        renaming.close()
    (renaming.root / "runs/a").rename(renaming.root / new)
    writer.write(20)
    if is_stopped:
        renaming.start()
    renaming.until(
        lambda: len(renaming.steps(new)) >= 70 and len(renaming.times(new)) >= 70, lambda: str(renaming.names())
    )
    writer.write(5)
    renaming.health_passes()
    renaming.until(lambda: len(renaming.steps(new)) >= 75 and len(renaming.times(new)) >= 75, "it does not go on")
    for _ in range(2):
        assert renaming.names() == [new]
        assert renaming.steps(new) == [*range(75)] and renaming.times(new)[:50] == before_s, "nothing is read anew"
        run = renaming.run(new)
        assert run is not None and run.info["config"] == {"seed": 7} and not renaming.tail.trouble()
        renaming.restart()
        renaming.health_passes()


def test_what_users_say_of_a_run_gets_its_new_name(tmp_path: Path) -> None:
    """The real program, twice: the new name has its notes once, and nothing of the old one comes back."""
    logs, data_dir = tmp_path / "logs", tmp_path / "logs/.deepseek"
    writer = Writer(logs / "a")

    def notes(run: str) -> list[str]:
        store = open_store(data_dir, write=False)
        try:
            return [event.text for event in store.events(run, kinds=("note",))]
        finally:
            store.close()

    try:
        with dashboard(logs, "--no-profile") as running:
            writer.write(20)
            wait_for(lambda: running.run("a").get("points") == 20)
            save_about(data_dir, "a", {"name": "wider", "tags": ["baseline"], "note": "The first one."})
            add_event(data_dir, "a", {"text": "one"})
            wait_for(lambda: notes("a") == ["one"])
            (logs / "a").rename(logs / "b")
            writer.write(1)
            wait_for(lambda: running.run("b").get("points") == 21)
            assert about_run(data_dir, "b") == RunNotes("wider", ("baseline",), "The first one.")
            add_event(data_dir, "b", {"text": "two"})
            wait_for(lambda: notes("b") == ["one", "two"])
        (data_dir / "runs.sqlite").unlink()  # all is read anew: also the lines of the events name the new run
        with dashboard(logs, "--no-profile") as running:
            wait_for(lambda: running.run("b").get("points") == 21 and notes("b") == ["one", "two"])
            assert [run["run"] for run in running.get("/api/v1/runs")["runs"]] == ["b"]
    finally:
        writer.close()


def test_a_copy_is_a_run_of_its_own_and_so_is_what_takes_the_old_name(renaming: Renaming) -> None:
    writer = renaming.writer("a")
    writer.write(10)
    renaming.until(lambda: len(renaming.steps("a")) == 10, "not read")
    shutil.copytree(renaming.root / "a", renaming.root / "copy")
    renaming.until(lambda: len(renaming.steps("copy")) == 10, "not read")
    (renaming.root / "a").rename(renaming.root / "b")
    renaming.writer("a").write(3)
    writer.write(1)
    renaming.until(lambda: renaming.steps("b") == [*range(11)], "the old one does not go on")
    renaming.until(lambda: renaming.steps("copy") == [*range(10)], "the copy is not as it was")
    renaming.until(lambda: len(renaming.steps("a")) >= 3, "the new one is not read")


@pytest.mark.parametrize("first_step", [0, 100], ids=["the same lines", "no times of birth"])
def test_a_new_run_with_the_inodes_of_a_deleted_one_does_not_get_its_history(
    first_step: int, renaming: Renaming
) -> None:
    """As ext4 gives them, lowest first. Without the time at which a file was made, only other lines tell the two apart."""
    writer = renaming.writer("a")
    writer.write(5)
    renaming.until(lambda: len(renaming.steps("a")) == len(renaming.times("a")) == 5, "not read")
    renaming.close()
    shutil.rmtree(renaming.root / "a")
    other = renaming.writer("b")
    other.written = first_step
    if not first_step:
        other.write(7)
    store = open_store(renaming.data_dir, write=True)
    offsets = [offset for offset in store.offsets().values() if offset.run == "a"]
    assert {offset.path for offset in offsets} == {"a/run.json", "a/metrics.jsonl", "a/train.log"}
    for offset in offsets:
        found = (renaming.root / offset.path.replace("a/", "b/")).stat()
        state = {**offset.state, "born": 0.0} if first_step else offset.state
        store.append([offset._replace(device=found.st_dev, inode=found.st_ino, state=state)])
    store.close()
    renaming.start()
    renaming.until(lambda: renaming.run("b"), "its run.json is not read")
    if first_step:
        other.write(7)
    renaming.until(lambda: len(renaming.steps("b")) >= 7, "the new run is not read")
    renaming.health_passes()
    assert renaming.names() == ["a", "b"]
    assert renaming.steps("a") == [*range(5)] and renaming.steps("b") == [*range(first_step, first_step + 7)]


def test_a_name_and_back(renaming: Renaming) -> None:
    writer = renaming.writer("a")
    for old, new in (("a", "b"), ("b", "a"), ("a", "b")):
        writer.write(10)
        renaming.until(lambda: len(renaming.steps(old)) >= writer.written, "not read")  # noqa: B023
        (renaming.root / old).rename(renaming.root / new)
        until_s = time.monotonic() + 30
        renaming.until(lambda: renaming.names() == [new], lambda: str(renaming.names()))  # noqa: B023
        assert time.monotonic() < until_s and renaming.steps(new) == [*range(writer.written)]
