"""Logs that a program under `run` opens itself are in the folder of its run, and only what it wrote."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.keeper import log_files
from collectors.keeper.log_files import ProgramFiles, follow
from tests.conftest import ROOT, script, wait_for

LOGGING = """
import logging, os, sys, time
logging.basicConfig(filename=sys.argv[1], level=logging.INFO, format="%(levelname)s %(message)s")
for step in range(int(sys.argv[2])):
    logging.info("step %d of %s", step, sys.argv[3])
    time.sleep(0.1)
while not all(map(os.path.exists, sys.argv[4:])):
    time.sleep(0.05)
"""
ANEW = """
import sys, time
for step in range(int(sys.argv[2])):
    with open(sys.argv[1], "a") as file:
        file.write(f'{{"step": {step}, "loss": 0.5, "who": "{sys.argv[3]}"}}\\n')
    time.sleep(0.1)
"""
WRITER = """
import sys
files = {}
for line in sys.stdin:
    name, text, count = line.split()
    file = files.get(name) or files.setdefault(name, open(name, "a"))
    file.write(f"{text}\\n" * int(count))
    file.flush()
    if text == "closed":
        files.pop(name).close()
    print("written", flush=True)
"""
SLOW = """
import sys, time
from collectors.keeper.linked_folders import LinkedFiles
from dashboard.commands import main
look = LinkedFiles.look
def slow(names):
    time.sleep(3)
    look(names)
LinkedFiles.look = slow
sys.exit(main(sys.argv[1:]))
"""


def command(*words: str, name: str = "run") -> list[str]:
    return [sys.executable, str(ROOT / "app.py"), "run", "--no-dashboard", "--name", name, "--", *words]


def watched(place: Path, code: str, *words: str, name: str = "run") -> Path:
    """The folder of the run, once the program has ended."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        command(sys.executable, "-c", code, *words, name=name), cwd=place, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return place / "logs" / name


@contextmanager
def going_on(place: Path, *words: str, name: str = "run", under: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    line = command(sys.executable, "-c", *words, name=name) if under else [sys.executable, "-c", *words]
    with subprocess.Popen(line, cwd=place, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_log_that_logging_opens_is_there_from_where_this_program_began(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("INFO step 0 of an earlier program\n")
    first = watched(tmp_path, LOGGING, "train.log", "12", "first", "logs/first/train.log", name="first")
    assert [line.rpartition(" ")[2] for line in (first / "train.log").read_text().splitlines()] == ["first"] * 12
    second = watched(tmp_path, LOGGING, "train.log", "12", "second", "logs/second/train.log", name="second")
    assert [line.rpartition(" ")[2] for line in (second / "train.log").read_text().splitlines()] == ["second"] * 12
    assert (first / "train.log").read_text().count("\n") == 12, "a later program's lines are not this one's"
    assert (second / ".train.log.times").stat().st_size


def test_a_file_that_is_opened_for_each_line_is_there(tmp_path: Path) -> None:
    folder = watched(tmp_path, ANEW, "metrics.jsonl", "15", "a")
    assert (folder / "metrics.jsonl").read_text() == (tmp_path / "metrics.jsonl").read_text()


def test_a_name_that_the_run_has_already_is_numbered(tmp_path: Path) -> None:
    folder = watched(
        tmp_path, f"print('printed', flush=True)\n{LOGGING}", "output.log", "8", "a", "logs/run/output-2.log"
    )
    assert (folder / "output.log").read_text() == "printed\n"
    assert (folder / "output-2.log").read_text().count("\n") == 8


def test_a_log_outside_of_the_working_folder_is_there(tmp_path: Path) -> None:
    other = tmp_path / "other/place.log"
    other.parent.mkdir()
    folder = watched(tmp_path / "work", LOGGING, str(other), "12", "a", "logs/run/place.log")
    assert (folder / "place.log").read_text() == other.read_text()


def test_rotated_files_are_one(tmp_path: Path) -> None:
    rotating = """
import logging, logging.handlers, time
handler = logging.handlers.RotatingFileHandler("train.log", maxBytes=400, backupCount=50)
logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(message)s")
for step in range(40):
    logging.info("step %d with some more words", step)
    time.sleep(0.1)
"""
    folder = watched(tmp_path, rotating)
    lines = [line.split()[1] for line in (folder / "train.log").read_text().splitlines()]
    assert lines == [str(step) for step in range(40)]


def test_the_state_of_a_trainer_is_found_anywhere(tmp_path: Path) -> None:
    trainer = """
import json, os, time
for step in (100, 200):
    os.makedirs(f"deep/my_model/checkpoint-{step}")
    with open(f"deep/my_model/checkpoint-{step}/trainer_state.json", "w") as file:
        json.dump({"global_step": step, "log_history": [{"step": step, "loss": 0.5}]}, file)
    time.sleep(1)
"""
    folder = watched(tmp_path, trainer)
    assert {str(path.relative_to(folder)) for path in folder.rglob("trainer_state.json")} == {
        "checkpoint-100/trainer_state.json",
        "checkpoint-200/trainer_state.json",
    }


def test_workers_write_for_their_program(tmp_path: Path) -> None:
    pool = f"import multiprocessing, sys\nif __name__ == '__main__':\n    p = multiprocessing.get_context('fork').Process(target=exec, args=({LOGGING!r},))\n    p.start()\n    p.join()"
    folder = watched(tmp_path, pool, "worker.log", "12", "a", "logs/run/worker.log")
    assert (folder / "worker.log").read_text().count("\n") == 12


def test_what_another_program_writes_here_is_not_this_ones(tmp_path: Path) -> None:
    """One that is not watched, which writes less and more than the watched one, and holds its file open or not."""
    loud = "import sys, time\nfor _ in range(40):\n    print('x' * 10_000, flush=True)\n    time.sleep(0.1)"
    with (
        going_on(tmp_path, LOGGING, "other.log", "600", "other", under=False),
        going_on(tmp_path, ANEW, "other.jsonl", "600", "other", under=False),
        going_on(tmp_path, ANEW, str(tmp_path / "own.jsonl"), "600", "other", under=False) as third,
    ):
        wait_for(lambda: (tmp_path / "own.jsonl").exists())
        third.terminate()
        third.wait()
        (tmp_path / "own.jsonl").unlink()
        folder = watched(tmp_path, loud)
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "output.log",
        "errors.log",
        "run.json",
        "started.json",
        "exit.json",
    }


def test_a_program_that_works_in_the_root_folder_has_no_logs_of_others_below_it(tmp_path: Path) -> None:
    """As in a container without a folder of its own. Who wrote them may have ended before anybody looks."""
    loud = "import sys, time\nfor _ in range(30):\n    print('x' * 10_000, flush=True)\n    time.sleep(0.1)"
    line = command(sys.executable, "-c", loud)
    with subprocess.Popen(
        [*line[:3], "--log-dir", str(tmp_path / "logs"), *line[3:]], cwd="/", stdout=subprocess.DEVNULL
    ) as program:
        for number in range(20):
            subprocess.run(["sh", "-c", f"echo another program > {tmp_path}/other-{number}.out"], check=True)
            time.sleep(0.1)
        assert program.wait(60) == 0
    (folder,) = (tmp_path / "logs").iterdir()
    assert not [*folder.glob("other-*")]


@pytest.mark.parametrize("code", [LOGGING, ANEW])
def test_of_two_programs_in_one_folder_each_has_its_own(tmp_path: Path, code: str) -> None:
    suffix = ".log" if code == LOGGING else ".jsonl"
    with (
        going_on(tmp_path, code, f"a{suffix}", "60", "a", name="a") as first,
        going_on(tmp_path, code, f"b{suffix}", "45", "b", name="b") as second,
    ):
        for process in (first, second):
            process.wait(120)
    for name in ("a", "b"):
        kept = list((tmp_path / "logs" / name).glob(f"[ab]{suffix}"))
        assert [path.name for path in kept] in ([f"{name}{suffix}"], []), kept
        if code == LOGGING:  # of what is opened for moments, two programs that write alike cannot be told apart
            assert kept[0].read_text() == (tmp_path / f"{name}{suffix}").read_text()


def test_a_file_that_two_programs_hold_open_is_neither_ones(tmp_path: Path) -> None:
    with going_on(tmp_path, LOGGING, "both.log", "600", "other", under=False):
        wait_for(lambda: (tmp_path / "both.log").exists())
        folder = watched(tmp_path, LOGGING, "both.log", "12", "a")
    assert not (folder / "both.log").exists()


def test_a_table_that_goes_on_has_its_header(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("step,loss\n1,9.5\n")
    code = "import time\nfor step in range(2, 12):\n    with open('results.csv', 'a') as file:\n        file.write(f'{step},0.5\\n')\n    time.sleep(0.1)"
    folder = watched(tmp_path, code)
    assert (folder / "results.csv").read_text() == "step,loss\n" + "".join(f"{step},0.5\n" for step in range(2, 12))


def test_what_is_printed_into_a_file_is_not_copied_beside_it(tmp_path: Path) -> None:
    code = "import time\nfor step in range(10):\n    print('step', step, flush=True)\n    time.sleep(0.1)"
    with (tmp_path / "nohup.out").open("w") as file:
        subprocess.run(
            command(sys.executable, "-c", code),
            cwd=tmp_path,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=True,
        )
    folder = tmp_path / "logs/run"
    assert "step 9" in (folder / "output.log").read_text() and not (folder / "nohup.out").exists()
    assert os.listdir(folder).count("nohup-2.out") == 0  # noqa: PTH208


@pytest.mark.parametrize("name", ["train.log", "metrics.csv", "trainer_state.json"])
def test_files_of_one_name_that_are_opened_together_are_all_there(tmp_path: Path, name: str) -> None:
    together = """
import os, sys, time
logs = []
for fold in range(4):
    os.makedirs(f"fold{fold}/out")
    logs.append(open(f"fold{fold}/out/{sys.argv[1]}", "w"))
for step in range(20):
    for fold, log in enumerate(logs):
        print(f"fold,{fold},step,{step}", file=log, flush=True)
    time.sleep(0.1)
"""
    folder = watched(tmp_path, together, name)
    copies = sorted(path.read_text() for path in folder.rglob(f"{Path(name).stem}*"))
    assert copies == ["".join(f"fold,{fold},step,{step}\n" for step in range(20)) for fold in range(4)]


def test_what_is_written_last_is_there_however_long_the_last_look_takes(tmp_path: Path) -> None:
    code = """
import time
with open("train.log", "w") as log:
    for step in range(50):
        print(step, file=log, flush=True)
        time.sleep(0.1)
    print("last", file=log)
with open("late.log", "w") as log:
    print("late", file=log)
"""
    words = ["run", "--no-dashboard", "--name", "run", "--", sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", SLOW, *words], cwd=tmp_path, env=environment, check=True, timeout=60, capture_output=True
    )
    for name in ("train.log", "late.log"):
        copy, whole = tmp_path / "logs/run" / name, (tmp_path / name).read_text()
        wait_for(lambda: copy.exists() and copy.read_text() == whole, because=f"{name} is not whole")  # noqa: B023


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that writes what it is told to (`tell`), below this process, whose files are looked for."""
    (tmp_path / "run").mkdir()
    (tmp_path / "work").mkdir()
    with script(WRITER) as process:
        yield process


@pytest.fixture
def files(tmp_path: Path, writer: subprocess.Popen[str]) -> Iterator[ProgramFiles]:
    files = ProgramFiles(tmp_path / "run", tmp_path / "work", [])
    yield files
    files.close()


def tell(writer: subprocess.Popen[str], path: Path, text: str, count: int = 1) -> None:
    assert writer.stdin and writer.stdout
    writer.stdin.write(f"{path} {text} {count}\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "written\n"


def test_last_lines_are_copied_before_anything_else_is_looked_for(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles
) -> None:
    copy, found = tmp_path / "run/train.log", []

    class Names:
        def look(self) -> None:
            found.append(copy.read_text() if copy.exists() else "")

        def close(self) -> None:
            pass

    def ends(within_s: float) -> bool:
        tell(writer, tmp_path / "work/train.log", "last")
        return True

    tell(writer, tmp_path / "work/train.log", "first")
    follow(Names(), files, ends)  # type: ignore[arg-type]
    assert found == ["", "first\nlast\n"]


def test_a_program_has_so_many_bytes_for_all_its_copies(
    tmp_path: Path, writer: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "MAX_OF_ALL", 5_000)
    files, run, work = ProgramFiles(tmp_path / "run", tmp_path / "work", []), tmp_path / "run", tmp_path / "work"
    for name in ("a.log", "b.log", "c.log"):
        tell(writer, work / name, "x" * 99, 20)
    files.look()
    assert sum(path.stat().st_size for path in run.glob("*.log")) < 6_500
    for name in ("a.log", "c.log"):
        tell(writer, work / name, "more")
    tell(writer, work / "trainer_state.json", "{}")
    files.look()
    for name in ("a.log", "c.log"):
        assert "is not copied: the program's files have more than" in (run / name).read_text().splitlines()[-1]
    assert (run / "b.log").read_text() == (work / "b.log").read_text(), "nothing of it is missing"
    assert not (run / "trainer_state.json").exists()
    files.close()


def test_copies_wait_while_the_disk_is_almost_full(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, state = tmp_path / "run/train.log", tmp_path / "run/trainer_state.json"

    def leave_free(share: float) -> None:
        monkeypatch.setattr(log_files, "MIN_FREE_SHARE", share)
        monkeypatch.setattr(log_files, "MIN_FREE_BYTES", 1 << 60)

    leave_free(1.0)
    tell(writer, tmp_path / "work/train.log", "first", 10)
    tell(writer, tmp_path / "work/trainer_state.json", "{}")
    files.look()
    assert not log.read_text() and not state.exists()
    leave_free(0.0)
    files.copy()
    assert log.read_text() == "first\n" * 10 and state.read_text() == "{}\n"
    leave_free(1.0)
    tell(writer, tmp_path / "work/train.log", "second")
    files.copy()
    files.close()
    assert (
        log.read_text().startswith("first\n" * 10 + "\n[the rest of ") and "the disk is almost full" in log.read_text()
    )


def test_of_data_only_the_beginning_is_copied(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles
) -> None:
    data = {
        "data.jsonl": ['{"prompt":"what_is_it","answer":"a_cat"}'],
        "rows.csv": ["text,label", "what_is_it,cat"],
    }
    numbers = {
        "history.jsonl": ['{"step":1,"loss":0.5}'],
        "metrics.jsonl": ['{"step":1,"note":"what_is_it"}'],
        "events.jsonl": ['{"kind":"note","text":"what_is_it"}'],
        "table.csv": ["step,loss", "1,0.5"],
    }
    for name, (*header, row) in (data | numbers).items():
        for line in header:
            tell(writer, tmp_path / "work" / name, line)
        tell(writer, tmp_path / "work" / name, row, 10_000)
        files.look()
    copied = {path.name: path for path in (tmp_path / "run").rglob("*.*") if not path.name.startswith(".")}
    assert set(copied) == set(data | numbers)
    for name in data:
        assert (
            copied[name].stat().st_size < 70_000 and "is not copied: it " in copied[name].read_text().splitlines()[-1]
        )
    for name in numbers:
        assert copied[name].read_text() == (tmp_path / "work" / name).read_text()


def test_a_file_that_looks_like_data_at_first_is_copied_on(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles
) -> None:
    path = tmp_path / "work/history.jsonl"
    tell(writer, path, '{"config":"what_is_it","optimizer":"adam"}', 5)
    files.look()
    tell(writer, path, '{"step":1,"loss":0.5,"seconds":1.5}', 100)
    files.copy()
    assert (tmp_path / "run/history.jsonl").read_text() == path.read_text()


def test_a_look_that_finds_the_program_gone_refuses_nothing(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles
) -> None:
    """The last look follows."""
    files.look()
    tell(writer, tmp_path / "work/late.log", "late")
    writer.kill()
    writer.wait()
    files.look()
    files.look(has_ended=True)
    assert (tmp_path / "run/late.log").read_text() == "late\n"


def test_who_lived_between_two_looks_may_have_written_what_the_program_has_not_written_as_well(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles
) -> None:
    """Two files have grown, and what the program wrote is enough for either and not for both."""
    files.look()
    tell(writer, tmp_path / "work/own.log", "closed", 100)
    (tmp_path / "work/other.log").write_text("other\n" * 60)
    files.look()
    assert not [*(tmp_path / "run").glob("*.log")]
    tell(writer, tmp_path / "work/own.log", "closed", 10)
    files.look()
    assert [path.name for path in (tmp_path / "run").glob("*.log")] == ["own.log"]
    assert (tmp_path / "run/own.log").read_text() == "closed\n" * 110


def test_who_has_ended_since_the_last_look_may_have_written(
    tmp_path: Path, writer: subprocess.Popen[str], files: ProgramFiles
) -> None:
    """The program has written as much to where it prints."""
    work, go, gone = tmp_path / "work", tmp_path / "go", tmp_path / "gone"
    os.mkfifo(go)
    other = f"(read line; yes | head -n 1000 > other.log) < {go}; touch {gone}"
    subprocess.run(["sh", "-c", f"({other}) > /dev/null 2>&1 &"], cwd=work, check=True)  # nobody's child below us
    tell(writer, work / "own.log", "held")
    files.look()
    tell(writer, Path(os.devnull), "printed", 1000)
    go.write_text("go\n")
    wait_for(gone.exists)
    files.look()
    files.look(has_ended=True)
    assert [path.name for path in (tmp_path / "run").glob("*.log")] == ["own.log"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_hides_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    for number in range(20):
        (tmp_path / f"open{number}").mkdir()
    code = "import time\nfor step in range(15):\n    for number in range(20):\n        with open(f'open{number}/m.jsonl', 'a') as file:\n            file.write(f'{step}\\n')\n    time.sleep(0.1)"
    assert len(list(watched(tmp_path, code).rglob("*.jsonl"))) == 20
