"""Source text is kept as the run ran it, read as its process sees it, and with no more rights than its user has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.machine.proc import start_ticks
from collectors.records import Frame, SourceText, StackRecording, StackSpan
from collectors.sampler import Target
from collectors.sampler import sources as keeping
from collectors.sampler.sources import (
    CHANGED,
    MAX_BYTES,
    OF_A_CELL,
    SourceCollector,
    Unreadable,
    is_own,
    read_as_owner,
    read_as_user,
)
from tests.conftest import wait_for

NOBODY = 65534
AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else"
)


@contextmanager
def process(folder: Path, *prefix: str) -> Iterator[Target]:
    """A living process with that working folder."""
    command = [*prefix, sys.executable, "-c", "print(flush=True); import time; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield Target("a", 0, running.pid, start_ticks(running.pid) or 0, "main", 100.0)
        running.kill()


def profile(target: Target, *files: str) -> StackRecording:
    samples = [StackSpan(i + 1, 1, 1, (Frame("main", file, 1),)) for i, file in enumerate(files)]
    return StackRecording(
        target.run, target.rank, target.pid, target.role, "box", "native", 1.0, 0.0, 0, 9, {}, samples, len(files)
    )


@contextmanager
def sources(read: Callable[[int, str], tuple[bytes, float]] = read_as_owner) -> Iterator[SourceCollector]:
    kept = SourceCollector(read)
    yield kept
    kept.close()


def read_of(target: Target, *files: str, mains: tuple[Target, ...] = ()) -> dict[str, SourceText]:
    """What is kept of these files, by path."""
    found: list[SourceText] = []
    own = {file for file in files if is_own(file)}
    with sources() as kept:
        kept.look([profile(target, *files)], [target, *mains])
        wait_for(lambda: found.extend(kept.texts()) or len(found) == len(own))
    return {text.path: text for text in found}


def old(path: Path, text: str = "step = 1\n") -> str:
    """A file of an hour ago: its mtime; that it was also made before the process is up to the caller."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    return str(path)


def test_the_text_of_a_file_is_kept_that_is_older_than_its_process(tmp_path: Path) -> None:
    script = old(tmp_path / "train.py")
    old(tmp_path / "data.py", "def load(): ...\n")
    with process(tmp_path) as target:
        texts = read_of(target, script, "data.py", "/usr/lib/python3.11/threading.py", "<frozen runpy>", script)
    assert texts.keys() == {script, "data.py"}, "own code only, each once"
    assert (texts[script].text, texts["data.py"].text, texts[script].why) == ("step = 1\n", "def load(): ...\n", "")
    assert len(texts[script].sha) == 64 and texts[script].run == "a"
    assert texts[script].since_s == pytest.approx(time.time(), abs=20)


def test_a_file_that_changed_after_the_run_started_is_not_kept_and_why_is_said(tmp_path: Path) -> None:
    edited, replaced = old(tmp_path / "edited.py"), old(tmp_path / "replaced.py")
    with process(tmp_path) as target:
        time.sleep(0.1)
        Path(edited).write_text("step = 2\n")
        os.utime(edited, (1, 1))  # an editor that keeps the time: the kernel's own shows it
        old(tmp_path / "new.py")
        (tmp_path / "new.py").rename(replaced)
        texts = read_of(target, edited, replaced)
    assert {(text.why, text.sha, text.text) for text in texts.values()} == {(CHANGED, "", "")}


def test_a_forked_worker_has_its_modules_from_the_process_that_the_run_began_with(tmp_path: Path) -> None:
    file = tmp_path / "data.py"
    with process(tmp_path) as main:
        time.sleep(0.1)
        old(file)
        time.sleep(0.1)
        with process(tmp_path) as child:
            worker = child._replace(role="worker")
            assert read_of(worker, str(file), mains=(main,))[str(file)].why == CHANGED
            assert read_of(child._replace(rank=1), str(file), mains=(main,))[str(file)].text


def test_another_process_of_the_run_has_its_own_text(tmp_path: Path) -> None:
    file = old(tmp_path / "train.py")
    found: list[SourceText] = []
    with sources() as kept:
        for text in ("step = 1\n", "step = 2\n"):
            old(Path(file), text)
            with process(tmp_path) as target:
                count = len(found)
                for _ in range(3):
                    kept.look([profile(target, file)], [target])
                wait_for(lambda before=count: found.extend(kept.texts()) or len(found) > before)  # type: ignore[misc]
    assert [text.text for text in found] == ["step = 1\n", "step = 2\n"]


@pytest.mark.parametrize(
    ("file", "own"),
    [
        ("/job/train.py", True),
        ("train.py", True),
        ("/home/ada/editable/package/module.py", True),
        ("/tmp/ipykernel_123/456.py", True),
        ("<ipython-input-3-abc>", True),
        ("/job/.venv/lib/python3.12/site-packages/torch/nn/module.py", False),
        ("/usr/lib/python3.11/threading.py", False),
        ("/tmp/torchinductor_ada/ab/cabc.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("", False),
        ("/etc/shadow", False),
    ],
)
def test_own_code_is_kept_and_no_other(file: str, own: bool) -> None:
    assert is_own(file) == own


def test_what_has_no_text_on_disk_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    old(tmp_path / "large.py", "x" * (MAX_BYTES + 1))
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "proc.py").symlink_to("/proc/self/environ")
    (tmp_path / "device.py").symlink_to("/dev/zero")
    names = ["binary.py", "large.py", "pipe.py", "folder.py", "missing.py", "proc.py", "device.py", "nul\0.py"]
    with process(tmp_path) as target:
        texts = read_of(target, *names, "<ipython-input-3-abc>", "/proc/self/x.py")
    assert not any(text.sha or text.text for text in texts.values())
    assert texts["<ipython-input-3-abc>"].why == OF_A_CELL
    said = {path: text.why for path, text in texts.items()}
    assert "UTF-8" in said["binary.py"] and "larger than 1 MB" in said["large.py"] and "not there" in said["missing.py"]
    assert all("regular" in said[name] for name in ("pipe.py", "folder.py", "proc.py", "device.py")), said
    assert all(why.endswith(".") for why in said.values())


@AS_ROOT
def test_root_reads_nothing_that_the_processes_user_may_not(tmp_path: Path) -> None:
    """A process of nobody names root's files: by their path, by links, and in a folder that only root may enter."""
    os.chmod(tmp_path, 0o755)  # noqa: PTH101
    for above in tmp_path.parents:
        if above.is_relative_to(tempfile.gettempdir()) and above != Path(tempfile.gettempdir()):
            above.chmod(0o755)
    secret, hidden, open_one = tmp_path / "secret.py", tmp_path / "closed" / "hidden.py", tmp_path / "open.py"
    for path in (secret, hidden, open_one):
        old(path, "password\n")
    secret.chmod(0o600)
    hidden.parent.chmod(0o700)
    (tmp_path / "link.py").symlink_to(secret)
    with process(tmp_path, "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups") as target:
        texts = read_of(target, str(secret), str(hidden), str(open_one), "link.py")
        assert [path for path, text in texts.items() if text.text] == [str(open_one)]
        assert all("may not read" in texts[path].why for path in (str(secret), str(hidden), "link.py"))
    assert read_as_user(str(secret), 0)[0] == b"password\n", "our own rights are back"
    for path in (secret, hidden, tmp_path / "link.py"):
        with pytest.raises(Unreadable):
            read_as_user(str(path), NOBODY)
    assert read_as_user(str(open_one), NOBODY)[0] == b"password\n"


@AS_ROOT
def test_rights_are_given_up_by_one_thread_alone(tmp_path: Path) -> None:
    secret = Path(old(tmp_path / "secret.py"))
    secret.chmod(0o600)
    stop, seen = threading.Event(), set[bool]()

    def read_all_the_time() -> None:
        while not stop.is_set():
            seen.add(secret.read_text() == "step = 1\n")

    reader = threading.Thread(target=read_all_the_time)
    reader.start()
    for _ in range(200):
        with pytest.raises(Unreadable):
            read_as_user(str(secret), NOBODY)
    stop.set()
    reader.join()
    assert seen == {True}


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can make other folders for a process"
)
def test_links_lead_where_they_lead_for_the_process(tmp_path: Path) -> None:
    inside = tmp_path / "root"
    for folder in ("bin", "job"):
        (inside / folder).mkdir(parents=True)
    old(inside / "job" / "real.py", "inside\n")
    (inside / "job" / "train.py").symlink_to("/job/real.py")  # there is no such path out here
    with subprocess.Popen([sys.executable, "-c", f"import os, time; os.chroot({str(inside)!r}); os.chdir('/job'); print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE) as running:  # fmt: skip
        assert running.stdout is not None
        running.stdout.readline()
        target = Target("a", 0, running.pid, start_ticks(running.pid) or 0, "main", 100.0)
        texts = read_of(target, "/job/train.py", "/../../../etc/passwd.py")
        running.kill()
    assert texts["/job/train.py"].text == "inside\n"
    assert not texts["/../../../etc/passwd.py"].text


def test_a_file_system_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    hang = threading.Event()

    def hanging(pid: int, path: str) -> tuple[bytes, float]:
        hang.wait(120)
        raise Unreadable("It came back.")

    with process(tmp_path) as target, sources(hanging) as kept:
        begun_s = time.monotonic()
        for i in range(2 * keeping.MAX_WAITING):
            kept.look([profile(target, f"{i}.py")], [target])
            assert kept.texts() == []
        assert time.monotonic() - begun_s < 60
        hang.set()
