"""What a program writes into the usual folders beside it is in the folder of its run, too."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.keeper import linked_folders
from collectors.keeper.linked_folders import LinkedFiles, beside
from collectors.logs.recognition import format_of
from collectors.machine.proc import PR_SET_CHILD_SUBREAPER


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "logs/run").mkdir(parents=True)
    return tmp_path


MADE: list[LinkedFiles] = []


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def gathering(place: Path, run: str = "run") -> LinkedFiles:
    MADE.append(LinkedFiles(place / "logs" / run, beside(place, place / "logs")))
    return MADE[-1]


@contextmanager
def another(code: str) -> Iterator[None]:
    """A process outside of this one's tree that has run this."""
    ctypes.CDLL(None).prctl(
        PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0
    )  # tests of jobs, run before in this process, adopt orphans
    code = f"import os, time\nif os.fork(): os._exit(0)\n{code}\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.wait()
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        process.stdout.close()


def write(path: Path, text: str = "step,loss\n1,0.5\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def names(place: Path) -> list[str]:
    return sorted(
        str(path.relative_to(place / "logs/run")) for path in (place / "logs/run").rglob("*") if path.is_file()
    )


def test_the_first_folder_is_the_run_and_further_ones_are_folders_of_it(place: Path) -> None:
    gathered = gathering(place)
    write(place / "lightning_logs/version_4/metrics.csv")
    gathered.look()
    write(place / "lightning_logs/version_4/hparams.yaml")
    write(place / "lightning_logs/version_5/metrics.csv")
    gathered.look()
    assert names(place) == ["hparams.yaml", "metrics.csv", "version_5/metrics.csv"]


def test_folders_of_one_name_and_files_of_the_run_stay_apart(place: Path) -> None:
    own = write(place / "logs/run/metrics.csv", "of a RunLog\n")
    gathered = gathering(place)
    for folder in ("runs/a", "lightning_logs/b", "outputs/b"):
        write(place / folder / "metrics.csv", f"of {folder}\n")
        gathered.look()
    gathered.look()
    kept = {str(path.relative_to(place / "logs/run")): path.read_text() for path in (place / "logs/run").rglob("*.csv")}
    assert own.read_text() == "of a RunLog\n"
    assert kept == {
        "metrics.csv": "of a RunLog\n",
        "metrics-2.csv": "of runs/a\n",
        "b/metrics.csv": "of lightning_logs/b\n",
        "b-2/metrics.csv": "of outputs/b\n",
    }


def test_train_and_val_stay_parts_of_one_run(place: Path) -> None:
    gathered = gathering(place)
    for part in ("train", "val"):
        write(place / f"runs/a/{part}/events.out.tfevents.1.{part}")
    gathered.look()
    assert names(place) == ["train/events.out.tfevents.1.train", "val/events.out.tfevents.1.val"]


def test_what_is_appended_or_written_anew_is_seen_under_both_names(place: Path) -> None:
    gathered, path = gathering(place), write(place / "runs/a/results.csv")
    gathered.look()
    with path.open("a") as file:
        file.write("2,0.4\n")
    ours = place / "logs/run/results.csv"
    assert ours.read_text() == path.read_text()
    write(place / "runs/a/new", "step,loss\n9,0.1\n").replace(path)
    gathered.look()
    assert ours.read_text() == path.read_text() == "step,loss\n9,0.1\n"
    path.unlink()
    gathered.look()
    assert ours.exists(), "a log that was shown stays"


def test_what_was_there_before_and_what_is_no_log_is_left_alone(place: Path) -> None:
    old = write(place / "runs/old/results.csv")
    os.utime(old, (1e9, 1e9))
    gathered = gathering(place)
    write(place / "runs/new/model.ckpt")
    write(place / "runs/.hidden/results.csv")
    write(place / "elsewhere.csv")
    (place / "outputs").mkdir()
    (place / "outputs/link.csv").symlink_to(place / "elsewhere.csv")
    (place / "outputs/loop").symlink_to(place)
    os.mkfifo(place / "outputs/pipe.csv")
    gathered.look()
    assert names(place) == []


def test_what_a_program_before_wrote_is_not_its_own(place: Path) -> None:
    """However shortly before."""
    write(place / "runs/before/results.csv")
    time.sleep(0.1)
    gathered = gathering(place)
    gathered.look()
    write(place / "runs/mine/results.csv")
    gathered.look()
    assert names(place) == ["results.csv"] and (place / "logs/run/results.csv").samefile(
        place / "runs/mine/results.csv"
    )


def test_what_another_process_writes_is_not_its_own(place: Path) -> None:
    path = write(place / "runs/other/results.csv")
    with another(f"file = open({str(path)!r}, 'a')"):
        gathered = gathering(place)
        os.utime(path)
        gathered.look()
    os.utime(path)
    gathered.look()
    assert names(place) == [], "nor later, when nobody has it open"


def test_of_two_watched_programs_in_one_folder_each_gets_what_it_has_open(place: Path) -> None:
    first, second = gathering(place), gathering(place, "second")
    with write(place / "runs/a/results.csv").open("a"):
        first.look()  # this process is both programs
        write(place / "outputs/closed.csv")
        first.look()
        assert names(place) == ["results.csv"]
        write(place / "runs/a/more/results.csv")
        first.look()
    assert names(place) == ["results.csv"], "a folder below is a run of its own"
    write(place / "runs/a/hparams.yaml")
    second.close()
    first.look()
    write(place / "runs/later/results.csv")
    first.look()
    assert names(place) == ["hparams.yaml", "later/results.csv", "results.csv"], "doubts stay, also when it is alone"


def test_the_log_folder_is_never_gathered_into_itself(tmp_path: Path) -> None:
    for log_dir in (tmp_path / "runs", tmp_path / "runs/mine", tmp_path):
        assert not [folder for folder in beside(tmp_path, log_dir) if folder == tmp_path / "runs"]


def test_a_disk_that_refuses_links_costs_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    write(place / "runs/a/results.csv")
    gathering(place).look()
    assert names(place) == []


def test_a_look_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linked_folders, "MAX_FOLDERS", 10)
    monkeypatch.setattr(linked_folders, "MAX_LINKS", 3)
    for number in range(100):
        old = write(place / f"runs/old{number}/results.csv")
        for path in (old, old.parent):
            os.utime(path, (1e9, 1e9))
    looking = gathering(place)
    for number in range(5):
        write(place / f"runs/new{number}/results.csv")
    looking.look()
    looking.look()
    assert len(names(place)) == 3, "the newest folders come first"


@pytest.mark.parametrize(
    "name",
    [
        "events.out.tfevents.1764000000.box",
        "metrics.csv",
        "a.tsv",
        "a.jsonl",
        "run-1.wandb",
        "hparams.yaml",
        "trainer_state.json",
    ],
)
def test_a_format_reads_every_name_that_is_gathered(name: str) -> None:
    assert linked_folders.NAMES.fullmatch(name) and format_of(Path("x") / name) is not None
