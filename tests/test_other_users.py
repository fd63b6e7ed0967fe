"""A dashboard of root and the runs of another user: without a flag it leaves them alone, with `--as-root` it has that user's rights."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectors.judging.dumps import dump_of
from collectors.logs.opening import FLAGS, NotRead, open_file
from collectors.process.activity import RunActivity
from collectors.process.finder import Finder
from collectors.records import LogLine, Points
from collectors.rights import whose
from collectors.rights.reached import LeftAlone, reached
from collectors.sampler.profile import ProfileCollector
from collectors.service import folders
from collectors.tracing.asking import ask_for_trace
from collectors.tracing.entry import NoEntry
from collectors.tracing.result import OddTrace, read_trace
from dashboard.attaching import AttachRefused, attach
from dashboard.samples.checkpoints import checkpoints_of
from tests.conftest import wait_for
from tests.following import Follower, until
from tests.test_profile import Notebook

NOBODY, OTHER = 65534, 12345
ROOT = Path(__file__).parents[1]
SECRET = '{"step": 1, "secret": 0.25}\n'
OURS, THEIRS = '{"step": 1, "ours": 1.5}\n', '{"step": 1, "theirs": 2.5}\n'
AS = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")


@pytest.fixture(autouse=True)
def narrow() -> Iterator[None]:
    whose.look_at_others(False)
    yield
    whose.look_at_others(False)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log folder of root in which all may look: a run of root's, one of another user's, and a file of root's alone."""
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    logs = tmp_path / "logs"
    write(logs / "ours" / "metrics.jsonl", OURS)
    write(logs / "theirs" / "metrics.jsonl", THEIRS, NOBODY)
    write(logs / ".hidden" / "metrics.jsonl", SECRET, mode=0o600)
    return logs


def write(path: Path, text: str, uid: int = 0, mode: int = 0o644) -> Path:
    """A file, and its folder, of that user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    for made in (path, path.parent):
        os.chown(made, uid, uid)
    return path


def link(path: Path, target: Path | str, uid: int = NOBODY) -> None:
    path.symlink_to(target)
    os.chown(path, uid, uid, follow_symlinks=False)


def names_in(logs: Path) -> set[str]:
    """The series of a log folder, once those of `ours` are there."""
    follower = Follower(logs)
    try:
        until(follower, lambda: "ours" in series(follower))
        return series(follower)
    finally:
        follower.tail.close()


def series(follower: Follower) -> set[str]:
    return {name for record in follower.records if isinstance(record, Points) for name in record.names}


def test_what_belongs_to_another_user_is_left_alone_and_said_once(logs: Path) -> None:
    follower = Follower(logs)
    until(follower, lambda: "ours" in series(follower))
    assert series(follower) == {"ours"}
    said = follower.tail.trouble()
    assert said.startswith(f"theirs/metrics.jsonl is in {logs / 'theirs'}, which belongs to ") and "with --as-root" in said
    assert "(uid 65534)" in said and "\n" not in said
    assert "with --as-root" in follower.offsets["theirs/metrics.jsonl"].trouble, "the run says it, too"
    follower.tail.close()
    whose.look_at_others()
    assert names_in(logs) == {"ours", "theirs"}


def file_of_theirs(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET)
    os.chown(logs / "odd" / "metrics.jsonl", NOBODY, NOBODY)


def link_of_theirs(logs: Path) -> None:
    write(logs / "odd" / "other.txt", "", NOBODY)
    link(logs / "odd" / "metrics.jsonl", "../.hidden/metrics.jsonl")


def link_in_a_folder_for_all(logs: Path) -> None:
    (logs / "odd").mkdir()
    (logs / "odd").chmod(0o1777)
    link(logs / "odd" / "metrics.jsonl", "../.hidden/metrics.jsonl")


def two_links(logs: Path) -> None:
    write(logs / "odd" / "other.txt", "", NOBODY)
    link(logs / "odd" / "step", "../.hidden/metrics.jsonl")
    link(logs / "odd" / "metrics.jsonl", "step", 0)


def linked_folder(logs: Path) -> None:
    link(logs / "odd", ".hidden")


def folder_for_all(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET)
    (logs / "odd").chmod(0o777)


def file_for_all(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET, mode=0o666)


def folder_of_a_group(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET)
    (logs / "odd").chmod(0o775)


def ours_in_theirs(logs: Path) -> None:
    write(logs / "odd" / "inner" / "metrics.jsonl", SECRET)
    os.chown(logs / "odd", NOBODY, NOBODY)


@pytest.mark.parametrize(
    "make",
    [
        file_of_theirs,
        link_of_theirs,
        link_in_a_folder_for_all,
        two_links,
        linked_folder,
        folder_for_all,
        file_for_all,
        folder_of_a_group,
        ours_in_theirs,
    ],
)
def test_without_the_flag_nothing_is_read_that_another_user_has_a_hand_in(make: Callable[[Path], None], logs: Path) -> None:
    make(logs)
    assert names_in(logs) == {"ours"}


@pytest.mark.parametrize("make", [link_of_theirs, link_in_a_folder_for_all, two_links, linked_folder])
def test_with_the_flag_a_user_shows_nothing_that_this_user_may_not_read(make: Callable[[Path], None], logs: Path) -> None:
    make(logs)
    whose.look_at_others()
    assert names_in(logs) == {"ours", "theirs"}
    (logs / ".hidden" / "metrics.jsonl").chmod(0o644)
    (logs / ".hidden").chmod(0o700)
    assert names_in(logs) == {"ours", "theirs"}, "nor by a folder that this user may not enter"
    (logs / ".hidden").chmod(0o755)
    if make is not linked_folder:
        assert names_in(logs) == {"ours", "theirs", "secret"}, "but what all may read"


@pytest.mark.parametrize("make", [file_of_theirs, folder_for_all, file_for_all, folder_of_a_group, ours_in_theirs])
def test_with_the_flag_files_that_are_really_there_are_read(make: Callable[[Path], None], logs: Path) -> None:
    make(logs)
    whose.look_at_others()
    assert names_in(logs) == {"ours", "theirs", "secret"}


def test_links_of_roots_own_lead_where_they_did(logs: Path) -> None:
    link(logs / "ours" / "train.log", "../texts/a.txt", 0)
    write(logs / "texts" / "a.txt", "hello\n")
    follower = Follower(logs)
    until(follower, lambda: any(isinstance(record, LogLine) for record in follower.records))
    follower.tail.close()


@pytest.mark.parametrize("as_root", [False, True])
def test_a_file_that_is_exchanged_for_a_link_while_it_is_opened_leads_nowhere(as_root: bool, logs: Path) -> None:
    whose.look_at_others(as_root)
    folder, ended = logs / "theirs", threading.Event()
    secret = (logs / ".hidden" / "metrics.jsonl").stat().st_ino

    def exchange() -> None:
        """As fast as it goes: the file, and the folder above it, each with a link and back."""
        while not ended.is_set():
            (folder / "metrics.jsonl").rename(folder / "kept")
            link(folder / "metrics.jsonl", "../.hidden/metrics.jsonl")
            (folder / "kept").replace(folder / "metrics.jsonl")
            folder.rename(logs / ".theirs")
            link(folder, ".hidden")
            folder.unlink()
            (logs / ".theirs").rename(folder)

    exchanging = threading.Thread(target=exchange)
    exchanging.start()
    until_s, opened, refused = time.monotonic() + 1.5, 0, 0
    while time.monotonic() < until_s:
        try:
            descriptor = open_file(folder / "metrics.jsonl", logs)
        except (OSError, NotRead):
            refused += 1
            continue
        opened += 1
        assert os.fstat(descriptor).st_ino != secret
        os.close(descriptor)
    ended.set()
    exchanging.join()
    assert refused and bool(opened) == as_root


def test_what_was_judged_is_what_is_opened(logs: Path) -> None:
    whose.look_at_others()
    path = logs / "theirs" / "metrics.jsonl"
    with reached(path, logs) as found:
        path.unlink()
        link(path, "../.hidden/metrics.jsonl")
        descriptor = found.open(FLAGS)
    assert os.read(descriptor, 100).decode() == THEIRS
    os.close(descriptor)


def test_the_thread_has_its_own_rights_again(logs: Path) -> None:
    whose.look_at_others()
    link_of_theirs(logs)
    for _ in range(3):
        with pytest.raises(OSError):
            open_file(logs / "odd" / "metrics.jsonl", logs)
    assert (logs / ".hidden" / "metrics.jsonl").read_text() == SECRET and os.getgroups() == sorted(os.getgroups())


def test_a_database_is_read_with_the_rights_of_its_user(logs: Path) -> None:
    with sqlite3.connect(logs / ".hidden" / "trackio.db") as db:
        db.execute("CREATE TABLE metrics (id INTEGER, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)")
        db.execute("INSERT INTO metrics VALUES (1, '2025-11-25T10:00:00', 'a', 1, '{\"secret\": 0.5}')")
    db.close()
    (logs / ".hidden" / "trackio.db").chmod(0o600)
    link(logs / "theirs" / "trackio.db", "../.hidden/trackio.db")
    for as_root in (False, True):
        whose.look_at_others(as_root)
        assert "secret" not in names_in(logs)


@contextmanager
def running(*command: object, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, cwd=cwd) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def of_theirs() -> Iterator[subprocess.Popen[bytes]]:
    """A Python of the other user."""
    with running(*AS, sys.executable, "-c", "import time; time.sleep(600)") as process:
        wait_for(lambda: "python" in os.readlink(f"/proc/{process.pid}/exe"))  # noqa: PTH115
        yield process


def named(folder: Path, pid: int, uid: int) -> RunActivity:
    """A run of that user whose run.json names a process."""
    write(folder / "run.json", "{}", uid)
    return RunActivity(folder.name, folder, {"pid": pid, "started_s": time.time()}, [], [], time.time(), 0.05)


def test_a_process_is_a_runs_to_name_if_it_is_of_the_user_whose_folder_that_is(logs: Path) -> None:
    with of_theirs() as process, running("sleep", "600") as ours:
        finder = Finder("box")
        theirs = named(logs / "a", process.pid, NOBODY)
        assert finder.find([theirs]) == {}
        assert finder.left_alone().startswith(f"a: process {process.pid} belongs to ") and "--as-root" in finder.left_alone()
        whose.look_at_others()
        assert [process.pid for process in Finder("box").find([theirs])["a"]] == [process.pid]
        for run in (named(logs / "b", ours.pid, NOBODY), named(logs / "c", process.pid, OTHER), named(logs / "d", process.pid, 0)):
            os.chown(run.folder / "run.json", *([0, 0] if run.run == "d" else [OTHER, OTHER]))
            finder = Finder("box")
            assert finder.find([run]) == {}, run.run
        os.chown(logs / "a", 0, 0)
        finder = Finder("box")
        assert finder.find([theirs]) == {}, "its run.json is the user's, but the folder is root's"
        assert "is not looked at: it belongs to" in finder.left_alone() and "the run to user root (uid 0)" in finder.left_alone()


def test_a_process_with_the_rights_of_two_users_is_no_users_to_name(logs: Path) -> None:
    """As a program with the set-user-ID bit has them."""
    whose.look_at_others()
    code = f"import os, time; os.setgid({NOBODY}); os.setresuid({NOBODY}, 0, 0); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        finder = Finder("box")
        assert finder.find([named(logs / "a", process.pid, NOBODY)]) == {} and finder.left_alone()
        process.kill()


def test_who_writes_a_file_is_not_looked_at_either(logs: Path) -> None:
    """A process that no file names, found by the file that it holds open."""
    path = write(logs / "a" / "metrics.jsonl", "", NOBODY)
    code = f"import time; file = open({str(path)!r}, 'a'); time.sleep(600)"
    run = RunActivity("a", logs / "a", {}, [], [], time.time(), 0.05)
    with running(*AS, sys.executable, "-c", code):
        finder = Finder("box")
        assert wait_for(lambda: finder.find([run._replace(last_line_s=time.time())]) or finder.left_alone())
        assert finder.find([run]) == {}
        whose.look_at_others()
        finder = Finder("box")
        assert wait_for(lambda: finder.find([run._replace(last_line_s=time.time())]).get("a"))


def test_the_page_says_that_a_process_is_left_alone(logs: Path) -> None:
    with of_theirs() as process:
        profiler = ProfileCollector(lambda: [named(logs / "a", process.pid, NOBODY)], Notebook(), host="box")
        profiler.collect()
        assert profiler.status().state == "refused" and "with --as-root" in profiler.status().sentence
        profiler.close()


def test_a_dump_is_read_with_the_rights_of_the_process_that_names_it(logs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "dump0"
    secret.write_bytes(b"}.")  # an empty table
    with of_theirs() as process:
        assert dump_of(process.pid, str(secret), 0.0) == {}
        secret.chmod(0o600)
        assert dump_of(process.pid, str(secret), 0.0) is None
        secret.chmod(0o644)
        tmp_path.chmod(0o1777)
        assert dump_of(process.pid, str(secret), 0.0) is None, "in a folder for all, another user's file is no dump of this process"
        os.chown(secret, NOBODY, NOBODY)
        assert dump_of(process.pid, str(secret), 0.0) == {}


def test_a_request_for_a_trace_is_written_nowhere_else(logs: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    write(logs / "theirs" / "run" / "run.json", "{}", NOBODY)
    os.chown(logs / "theirs" / "run" / "run.json", 0, 0)
    link(logs / "theirs" / ".deepseek", target)
    for as_root in (False, True):
        whose.look_at_others(as_root)
        with pytest.raises(NoEntry):
            ask_for_trace(logs / "theirs" / ".deepseek" / "traces" / "a", logs / "theirs" / "run", 3, 0)
    assert not [*target.iterdir()]
    write(logs / "ours" / "run.json", "{}")
    assert ask_for_trace(logs / ".deepseek" / "traces" / "a", logs / "ours", 3, 0), "root may ask its own"


def test_a_trace_of_theirs_is_read_with_their_rights(logs: Path) -> None:
    secret = write(logs / ".hidden" / "traces" / "a" / "trace-00000000.json", "{}", mode=0o600)
    path = logs / "theirs" / ".deepseek" / "traces" / "a" / "trace-00000000.json"
    write(path, "{}", NOBODY)
    for above in (path.parents[1], path.parents[2]):
        os.chown(above, NOBODY, NOBODY)
    with pytest.raises(OddTrace, match="--as-root"):
        read_trace(path)
    whose.look_at_others()
    with pytest.raises(OddTrace, match="not what RunLog writes"):
        read_trace(path)
    path.unlink()
    link(path, secret)
    with pytest.raises((OddTrace, OSError)) as raised:
        read_trace(path)
    assert "RunLog" not in str(raised.value)


def test_a_process_of_theirs_is_attached_only_with_the_flag(logs: Path) -> None:
    with of_theirs() as process:
        with pytest.raises(AttachRefused, match="--as-root"):
            attach(logs, process.pid, "refused")
        assert not (logs / "refused").exists()
        whose.look_at_others()
        attach(logs, process.pid, "attached")
        made = [logs / "attached", logs / "attached" / "run.json"]
        assert [path.stat().st_uid for path in made] == [NOBODY, NOBODY] and [*made[0].iterdir()] == made[1:]
        run = RunActivity("attached", made[0], json.loads(made[1].read_text()), [], [], time.time(), 0.05)
        assert Finder(socket.gethostname()).find([run])["attached"]


def test_a_folder_of_checkpoints_that_leads_elsewhere_is_not_listed(logs: Path, tmp_path: Path) -> None:
    hidden = write(tmp_path / "hidden" / "secret.pt", "x").parent
    hidden.chmod(0o700)
    link(logs / "theirs" / "checkpoints", hidden)
    write(logs / "theirs" / "a.pt", "x", NOBODY)
    assert [found.name for found in checkpoints_of([], logs / "theirs", NOBODY)] == ["a.pt"]


def test_the_data_folder_is_where_no_other_user_can_exchange_it(
    logs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert folders.data_dir_of(logs) == logs / ".deepseek"
    for odd in (logs / "theirs", logs / "ours"):
        (logs / "ours").chmod(0o777)
        assert folders.data_dir_of(odd).is_relative_to(tmp_path / "state") and folders.why_elsewhere(odd)
    monkeypatch.setattr(folders, "SHARED", tmp_path / "shared")
    (tmp_path / "shared" / "0").mkdir(parents=True)
    os.chown(tmp_path / "shared" / "0", NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="another user may write"):
        folders.make_private(tmp_path / "shared" / "0" / "deepseek-dashboard" / "a")


def test_root_of_a_namespace_with_one_user_is_like_any_user() -> None:
    """Such a root has that user's rights over files, and no others."""
    code = "from collectors.rights import whose; print(whose.is_root(), whose.leaves_others_alone())"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "True True\n"
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "unshare" in done.stderr:
        pytest.skip("user namespaces are forbidden here")
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("mode", "uid", "why"),
    [(0o755, NOBODY, "belongs to "), (0o777, 0, "can be written by other users"), (0o775, 0, "can be written")],
)
def test_a_log_folder_that_is_not_roots_alone_needs_the_flag(mode: int, uid: int, why: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    logs.chmod(mode)
    os.chown(logs, uid, uid)
    done = subprocess.run(
        [sys.executable, ROOT / "app.py", "--log-dir", logs, "--port", "0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert f"{logs} {why}" in done.stderr and "--as-root" in done.stderr
    assert not [*logs.iterdir()], "nothing is made there"


def test_the_flag_is_for_root(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import app, dashboard.commands.serve as s, argparse, os; os.setuid({NOBODY}); s.run(argparse.Namespace(as_root=True))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert "--as-root is for root" in done.stderr


@contextmanager
def dashboard(logs: Path, *flags: str) -> Iterator[Callable[[str], Any]]:
    """What it answers to GET requests, as JSON; the body of an error, too."""
    command = [sys.executable, ROOT / "app.py", "--log-dir", logs, "--port", "0", "--data-dir", logs.parent / "data", *flags]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, cwd=logs.parent) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2]

        def get(path: str) -> Any:
            try:
                with urllib.request.urlopen(url + path, timeout=30) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                return json.loads(error.read())

        try:
            yield get
        finally:
            process.terminate()
            process.wait(20)


BUSY = """
import json, os, time
def waits_for_work():
    time.sleep(0.001)
    return sum(range(1000))
print(flush=True)
while True: waits_for_work()
"""


def test_a_dashboard_as_root_shows_a_users_run_and_nothing_of_roots(logs: Path, tmp_path: Path) -> None:
    """`cwd` leads to /proc and to root's folder, a pid names root's process, and another file is root's alone."""
    write(tmp_path / "job" / "train.py", BUSY, NOBODY)
    (tmp_path / "secret.py").write_text("password = 1\n")
    (tmp_path / "secret.py").chmod(0o600)
    link(tmp_path / "job" / "secret.py", tmp_path / "secret.py")
    with (
        running(*AS, sys.executable, tmp_path / "job" / "train.py", cwd=tmp_path / "job") as trainer,
        running(sys.executable, "-c", BUSY) as ours,
    ):
        wait_for(lambda: "python" in os.readlink(f"/proc/{trainer.pid}/exe"))  # noqa: PTH115
        about = {"started_s": time.time(), "cwd": "/proc"}
        write(logs / "theirs" / "run.json", json.dumps({**about, "pid": trainer.pid}), NOBODY)
        write(logs / "roots" / "run.json", json.dumps({**about, "pid": ours.pid, "cwd": "/root"}), NOBODY)
        write(logs / "roots" / "metrics.jsonl", SECRET, NOBODY)
        with dashboard(logs, "--as-root") as get:
            runs = wait_for(lambda: runs_with(get, "theirs", "roots", "ours"))
            cwd = wait_for(lambda: runs_with(get, "theirs")["theirs"]["cwd"], 30, because="no working folder is known")
            assert cwd == str(tmp_path / "job"), "that of the process, not the one that run.json names"
            wait_for(lambda: "waits_for_work" in flame(get, "theirs"), 30, because="it is not sampled")
            for file in (tmp_path / "job" / "secret.py", "/proc/self/environ", "/etc/shadow"):
                assert "error" in get(f"/api/v1/source?run=theirs&file={file}&line=1"), file
            assert "waits_for_work" not in flame(get, "roots")
            assert runs["roots"]["pid"] is None


def flame(get: Callable[[str], Any], run: str) -> str:
    return json.dumps(get(f"/api/v1/flame?run={run}&from={time.time() - 60}&to={time.time()}"))


def runs_with(get: Callable[[str], Any], *names: str) -> dict[str, Any]:
    found = {run["run"]: run for run in get("/api/v1/runs")["runs"]}
    return found if set(names) <= set(found) else {}


def test_without_the_flag_health_and_the_run_say_what_is_left_alone(logs: Path) -> None:
    with dashboard(logs) as get:
        runs = wait_for(lambda: runs_with(get, "theirs", "ours"))
        assert runs["ours"]["points"] == 1 and runs["theirs"]["points"] == 0
        assert "with --as-root" in json.dumps(runs["theirs"]), "the run's own state"
        assert json.dumps(get("/healthz")).count("with --as-root") == 1


def test_an_opener_of_root_refuses_what_lies_above(logs: Path) -> None:
    link(logs / "ours" / "a.log", "../../../etc/hostname", 0)
    with pytest.raises(LeftAlone, match="leaves the log folder"), reached(logs / "ours" / "a.log", logs):
        pass
