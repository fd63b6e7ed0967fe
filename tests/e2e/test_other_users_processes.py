"""A dashboard of root and the processes of another user: a run names those of the user whose folder it has."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectors import rights
from collectors.machine.finder import Finder
from collectors.machine.proc import boot_id, start_ticks
from collectors.machine.run_state import RunActivity
from collectors.records import Event
from collectors.sampler.profile import ProfileCollector
from dashboard.attach import AttachRefused, attach
from tests.conftest import wait_for
from tests.sampler.test_profile import Notebook
from tests.support.two_users import AS, NOBODY, OTHER, ROOT, SECRET, link, named, needs_root, of_theirs, running, write
from tests.support.two_users import logs as logs  # fixtures
from tests.support.two_users import narrow as narrow

pytestmark = needs_root


def test_a_process_is_a_runs_to_name_if_it_is_of_the_user_whose_folder_that_is(logs: Path) -> None:
    with of_theirs() as process, running("sleep", "600") as ours:
        finder = Finder("box")
        theirs = named(logs / "a", process.pid, NOBODY)
        assert finder.find([theirs]) == {}
        assert (
            finder.left_alone()["a"].startswith(f"process {process.pid} belongs to ")
            and "--as-root" in finder.left_alone()["a"]
        )
        rights.look_at_others()
        assert [process.pid for process in Finder("box").find([theirs])["a"]] == [process.pid]
        for run in (
            named(logs / "b", ours.pid, NOBODY),
            named(logs / "c", process.pid, OTHER),
            named(logs / "d", process.pid, 0),
        ):
            os.chown(run.folder / "run.json", *([0, 0] if run.run == "d" else [OTHER, OTHER]))
            finder = Finder("box")
            assert finder.find([run]) == {}, run.run
        os.chown(logs / "a", 0, 0)
        finder = Finder("box")
        assert finder.find([theirs]) == {}, "its run.json is the user's, but the folder is root's"
        assert "is not looked at: it belongs to" in finder.left_alone()["a"]
        assert "the run to user root (uid 0)" in finder.left_alone()["a"]


@pytest.mark.parametrize("known_by", ["start", "file"])
@pytest.mark.parametrize("as_root", [False, True])
def test_what_is_left_alone_is_of_its_run_until_the_process_is_gone(logs: Path, as_root: bool, known_by: str) -> None:
    """A process of the dashboard's own user, whose run's folder was renamed."""
    rights.look_at_others(as_root)
    path = write(logs / "a" / "events.jsonl", "")
    code = f"import time; file = open({str(path)!r}, 'a'); time.sleep(600)"
    with running(sys.executable, "-c", code) as moved, running("sleep", "600") as ours:
        place = {"pid": moved.pid, "pid_start_ticks": start_ticks(moved.pid), "boot_id": boot_id()}
        starts = [Event("a", "start", time.time(), fields=place)] if known_by == "start" else []
        runs = [RunActivity("a", logs / "a", {}, starts, [], time.time(), 0.05), named(logs / "b", ours.pid, 0)]
        finder = Finder("box")
        wait_for(lambda: finder.find(runs).get("a"))
        (logs / "a").rename(logs / "moved")
        profiler = ProfileCollector(lambda: runs, Notebook(), host="box", finder=finder)
        profiler.collect()
        assert finder.left_alone() == {"a": f"process {moved.pid} is not looked at: the run's files are gone"}
        said = profiler.status().runs
        assert said["a"]["sentence"] == f"{finder.left_alone()['a']}." and said["b"]["state"] == "starting"
        moved.kill()
        moved.wait()
        assert "a" not in finder.find(runs) and finder.left_alone() == {}
        assert [*profiler.status().runs] == ["b"] and not profiler.status().about
        profiler.close()


def test_a_process_with_the_rights_of_two_users_is_no_users_to_name(logs: Path) -> None:
    """As a program with the set-user-ID bit has them."""
    rights.look_at_others()
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
        rights.look_at_others()
        finder = Finder("box")
        assert wait_for(lambda: finder.find([run._replace(last_line_s=time.time())]).get("a"))


def test_the_page_says_that_a_process_is_left_alone(logs: Path) -> None:
    with of_theirs() as process:
        profiler = ProfileCollector(lambda: [named(logs / "a", process.pid, NOBODY)], Notebook(), host="box")
        profiler.collect()
        assert profiler.status().state == "refused" and "with --as-root" in profiler.status().sentence
        profiler.close()


def test_a_process_of_theirs_is_attached_only_with_the_flag(logs: Path) -> None:
    with of_theirs() as process:
        with pytest.raises(AttachRefused, match="--as-root"):
            attach(logs, process.pid, "refused")
        assert not (logs / "refused").exists()
        rights.look_at_others()
        attach(logs, process.pid, "attached")
        made = [logs / "attached", logs / "attached" / "run.json"]
        assert [path.stat().st_uid for path in made] == [NOBODY, NOBODY] and [*made[0].iterdir()] == made[1:]
        run = RunActivity("attached", made[0], json.loads(made[1].read_text()), [], [], time.time(), 0.05)
        assert Finder(socket.gethostname()).find([run])["attached"]


@contextmanager
def dashboard(logs: Path, *flags: str) -> Iterator[Callable[[str], Any]]:
    """What it answers to GET requests, as JSON; the body of an error, too."""
    command = [
        sys.executable,
        ROOT / "app.py",
        "--log-dir",
        logs,
        "--port",
        "0",
        "--data-dir",
        logs.parent / "data",
        *flags,
    ]
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
