"""`deepseek-dashboard run -- python train.py`: watch a program that knows nothing of it."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import os
import re
import select
import shlex
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from access.program import Command, UsageError
from collectors.keeper import keeper
from collectors.keeper.keeper import ENDED, FAILED, INPUT, NUMBER, RESIZE, SIGNAL, STARTED, STOPPED, Program
from collectors.keeper.linked_folders import USUAL
from collectors.keeper.output import open_terminal

from .command import ROOT, typeable

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP)
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # exit codes of a shell
NAME_LENGTH = 60
FIRST_PORT = 8080
ASK_S = 0.05  # how often a dashboard that is being started is asked whether it answers
FOLDER = "DEEPSEEK_RUN_FOLDER"  # where a RunLog of the same log folder, without a name of its own, writes
ELSEWHERE = ("docker", "podman", "nerdctl", "kubectl", "srun", "ssh")  # what they start is no child of ours
BEFORE = ("sudo", "env", "nohup", "nice", "time")  # may stand before them
SAMPLER = ROOT / "collectors/sampler/_sampler"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--log-dir", type=Path, metavar="DIR", help=f"where the run's folder is made (default: {USUAL[0]})"
    )
    parser.add_argument("--name", metavar="NAME", help="name of the run (default: script name and time)")
    parser.add_argument(
        "--port", type=int, metavar="N", help="TCP port of the dashboard (default: 8080, or the next free one)"
    )
    parser.add_argument("--open", action="store_true", help="open the dashboard in a browser")
    parser.add_argument("--keep", action="store_true", help="keep the dashboard running after the program ends")
    parser.add_argument("--buffered", action="store_true", help="do not set PYTHONUNBUFFERED when output is piped")
    parser.add_argument(
        "--no-dashboard", action="store_true", help="only write the run's files, for a dashboard to read later"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but the program's output")
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="-- PROGRAM ...", help="the program and its arguments"
    )


def run(parsed: argparse.Namespace) -> int:
    words: list[str] = parsed.words[1:] if parsed.words[:1] == ["--"] else parsed.words
    if not words:
        raise UsageError("name the program to run, as in: deepseek-dashboard run -- python train.py")
    log_dir: Path = parsed.log_dir or Path(USUAL[0])
    folder = make_run(log_dir, parsed.name or name_of(words))
    terminal = open_terminal()
    sampler = SAMPLER if os.access(SAMPLER, os.X_OK) else None
    environment = {**environment_of(buffered=parsed.buffered), FOLDER: str(folder)}
    program = Program(words, environment, folder, sampler, log_dir.resolve())
    say = print_nothing if parsed.quiet else print_sentence
    own = False  # whether the dashboard is one of ours, which ends with the program

    def started(pid: int) -> None:
        nonlocal own
        own = watch(parsed, folder, pid, say) and not parsed.keep
        say(sampling_remedy(words))

    number = TerminalRelay(keeper.launch(program, terminal), terminal is not None).run(started)
    if own:
        say(f"{folder.name} is kept; see it again with: {reopen_command(parsed)}")
    if os.WIFSIGNALED(number):
        end_like(os.WTERMSIG(number))
    return os.WEXITSTATUS(number)


def reopen_command(parsed: argparse.Namespace) -> str:
    """The command that shows what is here."""
    place = f" --log-dir {shlex.quote(str(parsed.log_dir))}" if parsed.log_dir else ""
    return typeable(f"deepseek-dashboard{place}")


def print_sentence(sentence: str) -> None:
    """On standard error, below what the program prints; nothing for ""."""
    if sentence:
        with contextlib.suppress(OSError):
            end = "\r\n" if os.isatty(2) else "\n"
            os.write(2, f"deepseek-dashboard: {sentence}{end}".encode())


def print_nothing(sentence: str) -> None:
    """Of `--quiet`."""


def sampling_remedy(words: Sequence[str]) -> str:
    """What to do where the program will not run below this one, so that its stacks are not seen; "" where it will."""
    names = [Path(word).name for word in words]
    first = next((name for name in names if name not in BEFORE and not name.startswith("-") and "=" not in name), "")
    if first not in ELSEWHERE:
        return ""
    return f"{first} starts the program elsewhere, where its stacks are not seen: put the command inside, as in {first} ... deepseek-dashboard run -- python train.py"


def watch(parsed: argparse.Namespace, folder: Path, pid: int, say: Callable[[str], None]) -> bool:
    """A dashboard of the log folder: the one that lives already, else one of our own, for as long as the program; whether it is our own."""
    import threading
    import webbrowser

    from collectors import folders
    from collectors.log_folders import default_log_folders, last_used, of_folders

    from .. import address

    if parsed.no_dashboard:
        return False
    log_dir: Path = (parsed.log_dir or Path(USUAL[0])).resolve()
    place = of_folders([log_dir] if parsed.log_dir else default_log_folders())
    if place.tree.home == log_dir:
        place = of_folders([log_dir])  # the store is here: others need not be followed to have one store
    there = last_used(place.folders)
    url = address.read_address(there.data_dir)
    if url is not None:
        address.keep_alive(there.data_dir, pid, longer=parsed.keep)
        if parsed.open:
            webbrowser.open(url)
        say(f"{url} shows {there.name_of(folder)}")
        return False
    data_dir = folders.data_dir_of(place.tree.home)
    port = free_port() if parsed.port is None else parsed.port
    flags = [*(["--open"] if parsed.open else []), *([] if parsed.keep else ["--beside"])]
    try:
        folders.make_private(data_dir)
        address.keep_alive(data_dir, pid)
        started = DashboardLaunch(data_dir, place.folders, port, flags)
    except OSError as error:
        say(f"no dashboard ({error.strerror}); see the run later with: {reopen_command(parsed)}")
        return False
    threading.Thread(target=lambda: say(started.outcome(place.name_of(folder))), daemon=True).start()
    return True


class DashboardLaunch:
    """A dashboard that is being started."""

    def __init__(self, data_dir: Path, log_dirs: Sequence[Path], port: int, flags: Sequence[str]) -> None:
        """Raises OSError."""
        import subprocess

        followed = [word for log_dir in log_dirs for word in ("--log-dir", str(log_dir))]
        command = [sys.executable, str(ROOT / "app.py"), *followed, "--port", str(port), *flags]
        self._data_dir, self._log = data_dir, data_dir / "dashboard.log"
        with self._log.open("ab") as log:
            self._since = os.fstat(log.fileno()).st_size
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def outcome(self, run: str) -> str:
        """What the user should know, once it answers or has failed."""
        from .. import address

        while self._process.poll() is None:
            if (url := address.read_address(self._data_dir)) is not None:
                return f"{url} shows {run}"
            time.sleep(ASK_S)
        with self._log.open("rb") as log:
            log.seek(self._since)
            said = log.read().decode(errors="replace").strip().rpartition("\n")[2].removeprefix("deepseek-dashboard: ")
        return f"no dashboard: {said or f'it ended with code {self._process.returncode}'}"


def free_port() -> int:
    """8080, or the next that is free."""
    for number in range(FIRST_PORT, FIRST_PORT + 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", number))
            return number
    return 0


def make_run(log_dir: Path, name: str) -> Path:
    """The run's new folder. Raises UsageError."""
    if name.startswith((".", "/")) or ".." in name.split("/") or not name.isprintable():
        raise UsageError(
            f"{name!r} is no name of a run; leave out leading dots and slashes, and what cannot be printed"
        )
    for number in range(1, 1000):
        folder = log_dir / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder.resolve()
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise UsageError(
                    "the name of the run is too long for a folder; choose a shorter one with --name"
                ) from None
            raise UsageError(
                f"cannot write to {log_dir} ({error.strerror}); choose another folder with --log-dir"
            ) from None
    raise UsageError(f"there are a thousand runs {name!r} in {log_dir}; choose another name with --name")


def name_of(words: Sequence[str]) -> str:
    """`["python", "-m", "train.main"] -> "main-20261125-181500"`, else the script's name, else the program's."""
    module = next((words[place + 1] for place, word in enumerate(words[:-1]) if word in ("-m", "--module")), None)
    script = next((Path(word).stem for word in words if word.endswith((".py", ".sh"))), None)
    last = (script or (module.rpartition(".")[2] if module else None)) or Path(words[0]).name
    plain = re.sub(r"[^\w.-]+", "-", last).strip(".-")[:NAME_LENGTH] or "run"
    return f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}"


def environment_of(*, buffered: bool) -> dict[str, str]:
    """Behind a pipe or in a file what a Python prints would wait for 8 kB of it."""
    seen = all(os.isatty(number) for number in (1, 2))
    added = {} if seen or buffered else {"PYTHONUNBUFFERED": "1"}
    return {**added, **os.environ}


class TerminalRelay:
    """Stands between the user's terminal and the program, while there is a user."""

    def __init__(self, keeper_: socket.socket, has_terminal: bool) -> None:
        self._keeper = keeper_
        self._input = 0 if has_terminal and os.isatty(0) else -1
        self._shown = next((number for number in (1, 2) if has_terminal and os.isatty(number)), -1)
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._pending: list[int] = []

    def run(self, started: Callable[[int], None]) -> int:
        """Until the program has ended: its status, as of `waitpid`. `started` is called with its pid once it runs."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for watched in (*FORWARDED, signal.SIGWINCH):
            if signal.getsignal(watched) != signal.SIG_IGN:
                signal.signal(watched, lambda number, _: self._pending.append(number))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with self._raw():
            ended, number = self._follow(started)
        if ended == FAILED:
            print_sentence(f"the program cannot be run: {os.strerror(number)}")
            return (NOT_EXECUTABLE if number == errno.EACCES else NOT_FOUND) << 8
        return number

    def _follow(self, started: Callable[[int], None]) -> tuple[bytes, int]:
        """The message that says how it ended."""
        while True:
            readable: list[int | socket.socket] = [
                self._keeper,
                self._woken,
                *([self._input] if self._input >= 0 else []),
            ]
            ready, _, _ = select.select(readable, [], [])
            if self._woken in ready:
                os.read(self._woken, 4096)
                self._pass_signals_on()
            if self._input in ready:
                self._read_input()
            if self._keeper in ready:
                message = self._keeper.recv(4096)
                if not message:
                    raise UsageError("the program's keeper was killed; the program may go on")
                kind, (number,) = message[:1], NUMBER.unpack(message[1:])
                if kind == STARTED:
                    started(number)
                elif kind == STOPPED:
                    self._stop()
                elif kind in (ENDED, FAILED):
                    return kind, number

    def _pass_signals_on(self) -> None:
        numbers, self._pending = self._pending, []
        for number in numbers:
            if number != signal.SIGWINCH:
                self._keeper.send(SIGNAL + NUMBER.pack(number))
            elif self._shown >= 0:
                self._keeper.send(RESIZE + fcntl.ioctl(self._shown, termios.TIOCGWINSZ, b"\0" * 8))

    def _read_input(self) -> None:
        try:
            data = os.read(self._input, 4096)
        except OSError:
            data = b""
        if data:
            self._keeper.send(INPUT + data)
        else:  # the terminal is gone
            self._input = -1

    def _stop(self) -> None:
        """The program was stopped (Ctrl-Z): so are we, and with us it goes on."""
        with self._cooked():
            os.kill(os.getpid(), signal.SIGSTOP)
        self._pending.append(signal.SIGWINCH)
        self._keeper.send(SIGNAL + NUMBER.pack(signal.SIGCONT))
        self._pass_signals_on()

    @contextlib.contextmanager
    def _raw(self) -> Iterator[None]:
        """The program's own terminal does all that a terminal does; ours only carries bytes meanwhile."""
        if self._shown < 0:
            yield
            return
        self._usual = termios.tcgetattr(self._shown)
        self._make_raw()
        try:
            yield
        finally:
            termios.tcsetattr(self._shown, termios.TCSADRAIN, self._usual)

    @contextlib.contextmanager
    def _cooked(self) -> Iterator[None]:
        if self._shown < 0:
            yield
            return
        termios.tcsetattr(self._shown, termios.TCSADRAIN, self._usual)
        yield
        self._make_raw()

    def _make_raw(self) -> None:
        if self._input >= 0:
            tty.setraw(self._shown, termios.TCSADRAIN)
            return
        attributes = termios.tcgetattr(self._shown)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(self._shown, termios.TCSADRAIN, attributes)


def end_like(number: int) -> None:
    """By the same signal, so that a shell says so; without a core of our own."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # SIGKILL needs it not
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)


COMMAND = Command("run", "Run a program and watch its output, curves and stacks.", arguments, run)
