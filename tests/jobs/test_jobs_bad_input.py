"""What cannot be is one sentence with the remedy."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.client import QueueClient
from jobs.request import environment_of, request_of
from jobs.state_folder import QueueError, make, ownership_trouble
from jobs.view import QueueView
from tests.support.jobs_house import MAIN, JobsHouse, as_user, jobs_house
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import wait_for

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture(scope="module")
def house() -> Iterator[JobsHouse]:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="jobs-"))
    folder.chmod(0o755)
    with jobs_house(folder / "house", flags=("--cores-a-slot", str(len(os.sched_getaffinity(0))))) as house:
        yield house
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["submit"], "name the program to run, as in: deepseek-jobs submit -- python train.py"),
        (["submit", "--gpus", "0", "--", "true"], "argument --gpus: '0' is not a whole number above 0"),
        (
            ["submit", "--gpus", "9", "--", "true"],
            "the job asks for 9 core slots, and this host has 1: ask for at most 1 with --gpus",
        ),
        (["submit", "--memory", "900TiB", "--", "true"], "GiB on 1 core slot, and the largest core slot has "),
        (["submit", "--memory", "900TiB", "--", "true"], "GiB: ask for less with --memory, or leave it out"),
        (["submit", "--memory", "much", "--", "true"], "--memory 'much' is no size such as 20GB"),
        (["submit", "--", "no-such-program"], "the command 'no-such-program' is not in PATH; check its spelling"),
        (["submit", "--", "./nothing.sh"], "the command './nothing.sh' does not exist in "),
        (
            ["submit", "--resume-with", "no-such-program -r", "--", "true"],
            "--resume-with 'no-such-program' is not in PATH",
        ),
        (
            ["submit", "--resume-with", "true 'a", "--", "true"],
            "--resume-with cannot be split into words (No closing quotation)",
        ),
        (
            ["submit", "--resume-with", "", "--", "true"],
            "--resume-with is empty; leave it out, or write how the job goes on",
        ),
        (
            ["submit", "--", "true a b"],
            "the command 'true a b' is one word; take its quotes away: deepseek-jobs submit -- true a b",
        ),
        (["daemon", "--cores-a-slot", "9" * 5000], "is not a whole number above 0, of nine digits at most"),
        (["submit", "--log-dir", "/proc/logs", "--", "true"], "cannot write to the log folder /proc/logs"),
        (
            ["submit", "--log-dir", "/etc", "--", "true"],
            "the log folder /etc is read-only for this user; choose another with --log-dir",
        ),
        (["submit", "--name", "../up", "--", "true"], "'../up' is no name of a run"),
        (["submit", "--env", "NO_SUCH", "--", "true"], "--env NO_SUCH: this environment has no variable NO_SUCH"),
        (["submit", "--priority", "low", "--", "true"], "argument --priority: invalid choice: 'low'"),
        (["show", "77"], "there is no job 77; `deepseek-jobs queue` lists them"),
        (["cancel", "77"], "there is no job 77; `deepseek-jobs queue` lists them"),
        (["explain", "seven"], "there is no job with the number or run 'seven'"),
        (["cancel", str(2**64)], f"there is no job {2**64}; `deepseek-jobs queue` lists them"),
        (
            ["submit", "--", "true", "&&", "echo"],
            "the command has '&&', which is for a shell, and jobs run without one",
        ),
        (["submit", "--resume-with", "true > $HOME/x", "--", "true"], "--resume-with has '>', which is for a shell"),
        (["submit", "--", sys.executable, "-u", "nothere.py"], "the command runs 'nothere.py', which is not in "),
        (
            ["submit", "--resume-with", f"{sys.executable} no.py -r", "--", "true"],
            "--resume-with runs 'no.py', which is not in ",
        ),
        (["frobnicate"], "there is no command 'frobnicate'; deepseek-jobs --help lists them"),
        (["daemon", "--rules", "/nothing.json"], "cannot read the rules in /nothing.json"),
    ],
)
def test_bad_input_is_a_sentence(house: JobsHouse, words: list[str], sentence: str) -> None:
    assert sentence in house.refused(*words)


def test_a_script_in_the_folder_is_not_in_path(house: JobsHouse) -> None:
    (house.work / "train.py").write_text("print(1)")
    assert house.refused("submit", "--", "train.py").endswith("did you mean ./train.py, or python train.py?")
    assert "cannot be executed; chmod +x it, or start it with its interpreter" in house.refused(
        "submit", "--", "./train.py"
    )


@needs_root
def test_root_has_a_queue_of_its_own(tmp_path: Path) -> None:
    """With `sudo` it says as whom the job runs."""
    environment = {**os.environ, "DEEPSEEK_JOBS_DIR": str(tmp_path / "state"), "SUDO_USER": "alice"}

    def jobs(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(MAIN), *words], env=environment, capture_output=True, text=True, cwd=tmp_path
        )

    submitted = jobs("submit", "--name", "whoami", "--", "id", "-u")
    try:
        assert submitted.returncode == 0 and "the job runs as root; without sudo it runs as alice" in submitted.stderr
        view = QueueView(tmp_path / "state")
        wait_for(lambda: view.job(1).state == "finished")
        assert (tmp_path / "logs" / "whoami" / "output.log").read_text() == "0\n"
    finally:
        assert jobs("stop").returncode == 0


@needs_root
def test_roots_queue_lies_where_no_other_user_can_replace_it(place: Path) -> None:
    os.chown(place, 12345, 12345)
    environment = {**os.environ, "DEEPSEEK_JOBS_DIR": str(place / "state")}
    for words in (["daemon"], ["submit", "--", "true"], ["queue"]):
        done = subprocess.run(
            [sys.executable, str(MAIN), *words], env=environment, capture_output=True, text=True, cwd="/tmp"
        )
        assert done.returncode == 2 and "could replace root's queue" in done.stderr and done.stderr.count("\n") == 1, (
            done
        )


@needs_root
def test_the_queue_of_another_user_is_not_touched(house: JobsHouse, place: Path) -> None:
    other = {**house.environment, "HOME": str(place)}
    for words in (["queue"], ["cancel", "1"], ["daemon"], ["submit", "--", "true"]):
        command = [*as_user(12345), sys.executable, str(MAIN), *words]
        done = subprocess.run(command, env=other, capture_output=True, text=True, cwd="/tmp")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        said = "the log folder" if words[0] == "submit" and "read-only" in done.stderr else "belongs to nobody"
        assert said in done.stderr, done.stderr
    with pytest.raises(QueueError, match="belongs to nobody"):
        QueueView(house.state).jobs()
    with pytest.raises(QueueError, match="belongs to nobody"):
        QueueClient(house.state).cancel(1)


def test_a_socket_that_another_user_listens_on_is_not_believed(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    make(place / "state")
    place.chmod(0o1777)
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('up', flush=True); s.accept(); input()"
    command = [*as_user(12345), sys.executable, "-c", code, str(place / "daemon.sock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "up\n"
        (place / "daemon.sock").rename(place / "state" / "daemon.sock")
        with pytest.raises(QueueError, match="is run by 12345"):
            QueueClient(place / "state").cancel(1)
        other.kill()


@needs_root
def test_the_daemon_answers_its_own_user_only(house: JobsHouse) -> None:
    """Root could open the socket; what it asks is refused all the same."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(house.state / "daemon.sock"))
        assert b"another user's" in client.recv(1000)


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "other users may write to" in ownership_trouble(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(QueueError, match="name another folder"):
        make(tmp_path / "file" / "state")


def test_folders_above_the_queue_that_are_missing_are_made_for_its_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "local" / "state" / "deepseek-jobs"
    before = os.umask(0)
    try:
        make(folder)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(place.stat().st_mode) for place in (folder, *folder.parents[:2])} == {0o700}
    make(folder)


def test_of_the_environment_only_what_is_listed_is_passed_on() -> None:
    found = environment_of(
        {"PATH": "/bin", "LC_TIME": "C", "AWS_SECRET_ACCESS_KEY": "x", "HF_TOKEN": "y", "NCCL_DEBUG": "INFO"}, ["A=1=2"]
    )
    assert found == {"PATH": "/bin", "LC_TIME": "C", "NCCL_DEBUG": "INFO", "A": "1=2"}


def test_a_long_state_folder_has_a_socket_too(place: Path) -> None:
    with jobs_house(place / ("h" * 100) / "house") as house:
        job = house.submit("true")
        assert house.wait(job)["state"] == "finished"


def test_a_command_is_looked_up_in_the_folder_and_in_path(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match="is no folder"):
        request_of(["true"], cwd=tmp_path / "gone", environment={"PATH": "/bin"}, log_dir=tmp_path)
    with pytest.raises(QueueError, match="is not in PATH"):
        request_of(["nothere"], cwd=tmp_path, environment={"PATH": "/bin"})
    assert not (tmp_path / "logs").exists()
    request = request_of(["true", "--seed", "7", "--depth", "3"], cwd=tmp_path, environment={"PATH": "/usr/bin:/bin"})
    assert request.family.endswith(f"{tmp_path} true --depth 3") and request.log_dir == str(tmp_path / "logs")
