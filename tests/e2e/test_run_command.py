"""`deepseek-dashboard run -- PROGRAM`: the program notices nothing, and everything that it prints is kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Page

from collectors.machine.proc import alive, ancestors, descendants, start_ticks
from dashboard.commands.run import sampling_remedy
from tests.conftest import ROOT, wait_for
from tests.support.on_terminal import Act, resized, show, signalled, typed

PYTHON = [sys.executable, "-u", "-c"]
READY = "import sys, os, time, signal; print('ready');"
RUN = [sys.executable, str(ROOT / "app.py"), "run", "--no-dashboard"]


def run(*words: str, folder: Path, name: str = "a") -> list[str]:
    return [*RUN, "--log-dir", str(folder / "logs"), "--name", name, "--", *words]


def kept(folder: Path, name: str = "a", file: str = "output.log") -> bytes:
    """What its file holds, nothing before it is there."""
    path = folder / "logs" / name / file
    return path.read_bytes() if path.exists() else b""


def ended(folder: Path, name: str = "a") -> dict[str, object]:
    path = folder / "logs" / name / "exit.json"
    wait_for(path.exists)
    value: dict[str, object] = json.loads(path.read_text())
    return value


ON_A_TERMINAL: dict[str, tuple[str, bytes, Act | None]] = {
    "colours and size": (
        "print(*map(os.isatty, range(3)), *os.get_terminal_size(), '\\x1b[31mred\\x1b[0m')",
        b"",
        None,
    ),
    "a bar": ("[print(f'\\r{i} %', end='') for i in range(100)]", b"", None),
    "both outputs": ("[print(i, file=(sys.stdout, sys.stderr)[i % 2]) for i in range(200)]", b"", None),
    "three megabytes": ("print('x' * 3_000_000)", b"", None),
    "no end of line": ("print('half', end='')", b"", None),
    "an answer": ("print(input('name? '))", b"name? ", typed(b"anna\n")),
    "the end of the input": ("print(len(sys.stdin.read()))", b"ready\r\n", typed(b"abc\n\x04")),
    "ctrl-c": ("time.sleep(9)", b"ready\r\n", typed(b"\x03")),
    "ctrl-c that is caught": (
        "signal.signal(2, lambda *_: sys.exit('no')); print('set'); time.sleep(9)",
        b"set\r\n",
        typed(b"\x03"),
    ),
    "ctrl-backslash": ("time.sleep(9)", b"ready\r\n", typed(b"\x1c")),
    "another size": (
        "signal.signal(signal.SIGWINCH, lambda *_: sys.exit(str(os.get_terminal_size()))); print('set'); time.sleep(9)",
        b"set\r\n",
        resized(40, 77),
    ),
    "a signal": ("time.sleep(9)", b"ready\r\n", signalled(signal.SIGTERM)),
    "an error": ("1 / 0", b"", None),
    "an exit code": ("sys.exit(7)", b"", None),
    "its own end": ("os.kill(os.getpid(), 9)", b"", None),
}


@pytest.mark.parametrize("case", ON_A_TERMINAL)
def test_a_terminal_shows_the_same_with_and_without(tmp_path: Path, case: str) -> None:
    code, when, act = ON_A_TERMINAL[case]
    program = [*PYTHON, READY + code]
    alone = show(program, tmp_path, when=when, act=act)
    watched = show(run(*program, folder=tmp_path), tmp_path, when=when, act=act)
    assert watched == alone
    assert kept(tmp_path) == watched.output.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("code", [0, 1, 2, 77, 255])
def test_pipes_get_the_same_bytes_and_the_shell_the_same_code(tmp_path: Path, code: int) -> None:
    program = [
        *PYTHON,
        f"import sys, os; os.write(1, bytes(range(256))); os.write(2, b'e' * 100_000); print(sys.stdin.read()); sys.exit({code})",
    ]
    alone = subprocess.run(program, input=b"in", capture_output=True)
    watched = subprocess.run(run(*program, folder=tmp_path), input=b"in", capture_output=True)
    assert (watched.stdout, watched.stderr, watched.returncode) == (alone.stdout, alone.stderr, code)
    assert (kept(tmp_path), kept(tmp_path, file="errors.log")) == (alone.stdout, alone.stderr)
    assert ended(tmp_path)["code"] == code


def test_outputs_that_are_one_file_stay_in_order(tmp_path: Path) -> None:
    program = [*PYTHON, "import os; [os.write(1 + i % 2, b'%d\\n' % i) for i in range(2000)]"]
    watched = subprocess.run(run(*program, folder=tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert watched.stdout == kept(tmp_path) == b"".join(b"%d\n" % i for i in range(2000))


def test_a_python_behind_a_pipe_prints_at_once(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import time; print('now'); time.sleep(9)"]
    with subprocess.Popen(run(*program, folder=tmp_path), stdout=subprocess.PIPE) as watched:
        assert watched.stdout
        assert watched.stdout.readline() == b"now\n"
        watched.terminate()
    assert watched.returncode == -signal.SIGTERM


def test_what_cannot_be_run_leaves_no_run(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for word, code in (("no-such-program", 127), (str(tmp_path / "text"), 126)):
        done = subprocess.run(run(word, folder=tmp_path), capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (code, "")
        assert "cannot be run" in done.stderr
    assert not [*(tmp_path / "logs").iterdir()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_reaches_the_program_once(tmp_path: Path, number: int) -> None:
    count = f"n = []; signal.signal({int(number)}, lambda *_: n.append(1)); print('set'); [time.sleep(.05) for _ in range(400) if not n]; time.sleep(.3); print(len(n))"
    with subprocess.Popen(run(*PYTHON, READY + count, folder=tmp_path), stdout=subprocess.PIPE) as watched:
        assert watched.stdout
        wait_for(lambda: b"set" in kept(tmp_path))
        watched.send_signal(number)
        assert watched.stdout.read().split() == [b"ready", b"set", b"1"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_the_program_outlives_the_terminal_and_the_command(tmp_path: Path, number: int) -> None:
    program = [*PYTHON, READY + "[(print(i), time.sleep(.01)) for i in range(150)]"]
    with subprocess.Popen(run(*program, folder=tmp_path), stdout=subprocess.PIPE, start_new_session=True) as watched:
        assert watched.stdout
        watched.stdout.readline()
        watched.send_signal(number)
        if number == signal.SIGKILL:
            watched.stdout.close()
        else:
            watched.stdout.read()
    assert ended(tmp_path)["code"] == 0
    assert kept(tmp_path).split()[1:] == [b"%d" % i for i in range(150)]


def test_ctrl_z_stops_the_program_and_the_command_and_both_go_on(tmp_path: Path) -> None:
    def stop(terminal: int, pid: int) -> None:
        os.write(terminal, b"\x1a")
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        program = json.loads((tmp_path / "logs/a/started.json").read_text())["pid"]
        assert Path(f"/proc/{program}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        os.kill(pid, signal.SIGCONT)

    shown = show(
        run(*PYTHON, READY + "time.sleep(.5); print('went on')", folder=tmp_path), tmp_path, when=b"ready\r\n", act=stop
    )
    assert shown.output.endswith(b"went on\r\n")
    assert shown.status == 0


# What goes on speaks only once the end of the program is written.
LATE = "(until [ -e $0/logs/a/exit.json ]; do sleep .05; done; sleep .1; echo late) & echo now"


def test_what_is_left_behind_goes_on_and_is_kept(tmp_path: Path) -> None:
    done = subprocess.run(run("sh", "-c", LATE, str(tmp_path), folder=tmp_path), stdout=subprocess.PIPE)
    assert done.stdout == b"now\nlate\n"
    assert kept(tmp_path) == b"now\nlate\n"
    assert float(str(ended(tmp_path)["ended_s"])) < (tmp_path / "logs/a/output.log").stat().st_mtime


def test_a_reader_that_does_not_read_holds_the_program_and_costs_no_memory(tmp_path: Path) -> None:
    with subprocess.Popen(run("yes", folder=tmp_path), stdout=subprocess.PIPE) as watched:
        path = tmp_path / "logs/a/output.log"
        wait_for(lambda: path.exists() and path.stat().st_size > 1 << 20)

        def is_held() -> bool:
            size = path.stat().st_size
            assert size < 4 << 20
            time.sleep(0.5)
            return path.stat().st_size == size

        wait_for(is_held)
        watched.terminate()
        watched.stdout.read()  # type: ignore[union-attr]
    assert watched.returncode == -signal.SIGTERM


def test_two_runs_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    for _ in range(3):
        subprocess.run(run("true", folder=tmp_path), check=True)
    assert {path.name for path in (tmp_path / "logs").iterdir()} == {"a", "a-2", "a-3"}


@pytest.mark.parametrize("name", ["../out", "/tmp/out", ".hidden", "a/../../out"])
def test_a_name_stays_in_the_log_folder(tmp_path: Path, name: str) -> None:
    done = subprocess.run(run("true", folder=tmp_path, name=name), capture_output=True, text=True)
    assert done.returncode == 2
    assert "no name of a run" in done.stderr


def test_the_sampler_is_above_all_that_the_program_starts(tmp_path: Path) -> None:
    code = """
import multiprocessing, os, subprocess, sys, time
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        multiprocessing.get_context(method).Process(target=time.sleep, args=(9,), daemon=True).start()
    subprocess.run(["sh", "-c", f"{sys.executable} -c 'import time; time.sleep(9)' & "])
    print("all", flush=True)
    time.sleep(9)
"""
    (tmp_path / "train.py").write_text(code)
    with subprocess.Popen(
        run(sys.executable, str(tmp_path / "train.py"), folder=tmp_path), stdout=subprocess.PIPE
    ) as watched:
        wait_for(lambda: b"all" in kept(tmp_path))
        program = json.loads((tmp_path / "logs/a/started.json").read_text())["pid"]
        keeper, sampler = list(ancestors(program))[:2]
        assert Path(f"/proc/{sampler}/comm").read_text().strip() == "_sampler"
        below = [*descendants(keeper)]
        assert len(below) >= 6  # the program, the orphan, and those of three kinds
        assert all(sampler in ancestors(pid) for pid in below)
        watched.terminate()
        ticks = start_ticks(sampler)
        for pid in descendants(keeper):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    wait_for(lambda: ticks is None or not alive(sampler, ticks))


def test_a_run_log_writes_into_the_run_that_it_was_started_as(tmp_path: Path) -> None:
    code = "from deepseek.log import RunLog\nwith RunLog('logs') as log: log.scalars(1, {'loss': 0.5})\nwith RunLog('other') as log: pass"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(run(sys.executable, "-c", code, folder=tmp_path), check=True, cwd=tmp_path, env=environment)
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["a"]
    assert json.loads(kept(tmp_path, file="metrics.jsonl"))["loss"] == 0.5
    assert json.loads(kept(tmp_path, file="run.json"))["pid"] == ended(tmp_path)["pid"]
    assert [path.name != "a" for path in (tmp_path / "other").iterdir()] == [True]


def test_the_end_has_the_last_lines_of_standard_error(tmp_path: Path) -> None:
    subprocess.run(
        run(*PYTHON, "import atexit; atexit.register(print, 'bye'); raise ValueError('no')", folder=tmp_path),
        capture_output=True,
    )
    assert (ended(tmp_path)["code"], ended(tmp_path)["last_lines"][-1]) == (1, "ValueError: no")


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("docker", "run", "--gpus", "all", "image", "python", "train.py"), "docker"),
        (("sudo", "-E", "docker", "run", "image"), "docker"),
        (("env", "A=1", "/usr/bin/srun", "-n", "2", "python", "train.py"), "srun"),
        (("python", "train.py", "docker"), ""),
        (("./docker.sh",), ""),
        (("nohup",), ""),
    ],
)
def test_what_starts_a_program_elsewhere_is_told_from_what_starts_it_here(words: tuple[str, ...], first: str) -> None:
    assert sampling_remedy(words).startswith(f"{first} starts the program elsewhere" if first else "") and bool(
        sampling_remedy(words)
    ) == bool(first)


def test_the_command_says_where_to_put_itself_and_runs_the_program_all_the_same(tmp_path: Path) -> None:
    program = tmp_path / "srun"
    program.write_text("#!/bin/sh\necho started\n")
    program.chmod(0o755)
    done = subprocess.run(run(str(program), folder=tmp_path), capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (
        "started\n",
        0,
    ) and "srun ... deepseek-dashboard run -- python train.py" in done.stderr
    quiet = [*RUN, "--quiet", "--log-dir", str(tmp_path / "logs"), "--", str(program)]
    assert subprocess.run(quiet, capture_output=True, text=True).stderr == ""


def watched(folder: Path, *words: str, flags: Sequence[str] = ()) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "app.py"), "run", "--log-dir", str(folder / "logs"), *flags, "--", *words]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def address_in(line: str) -> str:
    found = re.search(r"http://\S+", line)
    assert found, line
    return found[0]


def answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/healthz", timeout=60):
        return True
    return False


def test_the_address_answers_as_soon_as_it_is_said_and_the_end_says_how_to_see_it_again(tmp_path: Path) -> None:
    with watched(tmp_path, "sh", "-c", "read line < /dev/null; sleep 8; exit 3") as process:
        assert process.stderr is not None
        address = address_in(process.stderr.readline())
        assert answers(address)
        rest = process.stderr.read()
    command = [*shlex.split(rest.strip().rpartition("see it again with: ")[2]), "--help"]
    assert process.returncode == 3 and command[-3:-1] == ["--log-dir", str(tmp_path / "logs")], rest
    assert "usage: deepseek-dashboard" in subprocess.run(command, capture_output=True, text=True, timeout=60).stdout, (
        "as it was started"
    )
    wait_for(lambda: not answers(address), because="it goes on without a program and without a page")


def test_a_dashboard_stays_for_a_program_that_came_later_and_while_a_page_is_open(tmp_path: Path, page: Page) -> None:
    goes_on = 'touch "$0"; while [ -e "$0" ]; do sleep 0.1; done'  # until the file is removed
    files = [tmp_path / "first", tmp_path / "second"]
    first = watched(tmp_path, "sh", "-c", goes_on, str(files[0]))
    assert first.stderr is not None
    address = address_in(first.stderr.readline())
    second = watched(tmp_path, "sh", "-c", goes_on, str(files[1]))
    assert second.stderr is not None
    assert address_in(second.stderr.readline()) == address
    wait_for(lambda: all(file.exists() for file in files))
    files[0].unlink()
    first.communicate()
    time.sleep(5)
    assert answers(address), "it ended with the first program"
    page.goto(address)
    files[1].unlink()
    second.communicate()
    time.sleep(5)
    assert answers(address), "it ended under the eyes of its user"
    page.close()
    wait_for(lambda: not answers(address), because="it goes on without a program and without a page")


def test_a_port_that_another_program_has_is_said_and_the_program_runs(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = watched(tmp_path, "sh", "-c", "sleep 5; echo done", flags=["--port", str(port)])
        out, err = done.communicate()
    assert out == "done\n" and "no dashboard" in err and f"port {port} is taken" in err, err


def test_a_reader_that_leaves_ends_the_program_as_it_would_alone(tmp_path: Path) -> None:
    program = [*PYTHON, "import time\nwhile True: print('y'); time.sleep(0.01)"]
    with subprocess.Popen(run(*program, folder=tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(20) == 1 and b"BrokenPipeError" in process.stderr.read()


def test_two_dashes_alone_run_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--", "sh", "-c", "sleep 2; exit 5"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 5 and list((tmp_path / "logs").glob("sh-*"))
