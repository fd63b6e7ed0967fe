"""The dashboard's command: start the collector process and serve the web pages.

deepseek-dashboard --port 8080 --log-dir ./logs
deepseek-dashboard store check --log-dir ./logs
deepseek-dashboard profile --pid 4127 --seconds 10
python app.py --demo
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # installed, the packages lie beside this file in the namespace `deepseek`

from collectors import VERSION, folders, lock  # noqa: E402
from collectors.keeper import Keeper  # noqa: E402
from collectors.records import Frame  # noqa: E402
from dashboard import memory  # noqa: E402
from dashboard.demo import Demo  # noqa: E402
from dashboard.options import Mistake, parse, parse_profile, parse_store  # noqa: E402

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 for a mistake in the command."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends everything in order, like Ctrl-C
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words[:1] == ["store"]:
            return tend_store(parse_store(words[1:]))
        if words[:1] == ["profile"]:
            return profile(parse_profile(words[1:]))
        options = parse(words)
        log_dir, data_dir = prepare(options)
        return serve(listen(options.host, options.port), log_dir, data_dir, options)
    except Mistake as mistake:
        print(f"deepseek-dashboard: {mistake}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def prepare(options: argparse.Namespace) -> tuple[Path, Path]:
    """The log folder and the data folder, both there and usable. Raises Mistake."""
    if not (ROOT / "assets" / "vendor").is_dir():
        raise Mistake("assets/vendor/ is missing; run: make setup")
    if options.demo:
        make_folder(options.log_dir, "--log-dir")
    try:
        there = options.log_dir.is_dir()
        if there:
            next(options.log_dir.iterdir(), None)
    except OSError as error:
        raise Mistake(f"cannot read {options.log_dir} ({error.strerror}); choose another folder with --log-dir") from None
    if not there:
        raise Mistake(f"there is no folder {options.log_dir}; create it with: mkdir -p {options.log_dir}")
    log_dir = options.log_dir.resolve()
    data_dir = options.data_dir or folders.data_dir_of(log_dir)
    if not options.data_dir and not data_dir.is_relative_to(log_dir):
        inside = log_dir / folders.INSIDE
        why = (
            f"{inside} is not used ({theirs})" if (theirs := folders.not_ours(inside)) else f"{log_dir} is on a network file system"
        )
        print(f"{why}: the store goes to {data_dir}", file=sys.stderr)
    make_folder(data_dir, "--data-dir", private=True)
    return log_dir, data_dir.resolve()


def make_folder(folder: Path, flag: str, *, private: bool = False) -> None:
    """`private`: nobody else may look into it. Raises Mistake where it cannot be made or written to."""
    try:
        if private:
            folders.make_private(folder)
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Mistake(f"cannot write to {folder} ({error.strerror}); choose another folder with {flag}") from None


def listen(host: str, number: int) -> socket.socket:
    """Raises Mistake where the address is taken or not ours to offer."""
    if host not in LOOPBACK:
        raise Mistake(
            f"--host {host} would be open to others; leave it out and reach this host with: ssh -L {number}:localhost:{number} HOST"
        )
    listener = socket.socket(socket.AF_INET6 if host == "::1" else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, number))
        listener.listen(128)
    except PermissionError:
        raise Mistake(f"port {number} is for root only; choose one above 1023 with --port") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Mistake(f"port {number} is taken; choose another one with: --port {number + 1}") from None
        raise Mistake(f"cannot listen on {host} ({error.strerror}); leave --host out for 127.0.0.1") from None
    return listener


def tend_store(options: argparse.Namespace) -> int:
    """The exit code: 1 where something is damaged. Raises Mistake."""
    from collectors.store import check, files

    data_dir: Path = (options.data_dir or folders.data_dir_of(options.log_dir)).resolve()
    if not files.all_files(data_dir):
        raise Mistake(f"there is no store in {data_dir}; name its folder with --log-dir or --data-dir")
    if options.action == "compact":
        make_folder(data_dir, "--data-dir")
        compact(data_dir)
        return 0
    troubles = check.check(data_dir)
    print("\n".join(troubles) or f"all is well in {data_dir}")
    return int(bool(troubles))


def compact(data_dir: Path) -> None:
    """As the store's only writer, and with the bytes before and after. Raises Mistake."""
    from collectors.store import check, files
    from collectors.store.protocol import StoreError

    before = files.folder_bytes(data_dir)
    try:
        lock.take(data_dir, VERSION, {"store": "compact"})
        check.compact_all(data_dir)
    except lock.Locked as error:
        raise Mistake(f"{error}; end the dashboard of this folder first") from None
    except StoreError as error:
        raise Mistake(str(error)) from None
    except sqlite3.DatabaseError as error:
        raise Mistake(f"{error}; see what is damaged with: deepseek-dashboard store check --data-dir {data_dir}") from None
    print(f"{data_dir}: {before / 1e6:.1f} MB before, {files.folder_bytes(data_dir) / 1e6:.1f} MB now")


def profile(options: argparse.Namespace) -> int:
    """Raises Mistake."""
    from collectors.sampler import choice, report

    try:
        lines = report.of(options.pid, options.seconds, choice.choose(options.sampler), what_waits)
    except report.Refused as refused:
        raise Mistake(str(refused)) from None
    print("\n".join(lines))
    return 0


def what_waits(stack: tuple[Frame, ...]) -> str:
    from dashboard.flame.waits import wait_of, waiting

    found = waiting([wait_of(frame) for frame in stack])
    return found.wait.what if found else ""


def serve(listener: socket.socket, log_dir: Path, data_dir: Path, options: argparse.Namespace) -> int:
    """Until Ctrl-C; ends all children."""
    memory.give_back()
    with contextlib.ExitStack() as children:
        keeper = Keeper(  # starts while the web process still imports
            log_dir,
            data_dir,
            profile=options.profile,
            sampler=options.sampler,
            budget_pct=options.profile_budget,
            retention_s=options.retention,
            max_bytes=options.max_size,
        )
        keeper.start()
        children.callback(keeper.stop)
        if options.demo:
            demo = begin_demo(log_dir, data_dir)
            children.callback(demo.stop)
        run_web(listener, log_dir, data_dir, keeper)
    return 0


def run_web(listener: socket.socket, log_dir: Path, data_dir: Path, keeper: Keeper) -> None:
    from collectors.store.sqlite import SqliteStore
    from dashboard.queries import Queries
    from dashboard.server import make_app
    from dashboard.serving import server_of

    queries = Queries(SqliteStore(data_dir, write=False), log_dir, data_dir, lambda: keeper.read_only, keeper.note)
    server = server_of(make_app(queries))
    threading.Thread(target=announce, args=(server, listener, log_dir), name="announce", daemon=True).start()
    try:
        server.run(sockets=[listener])
    finally:
        queries.close()


def announce(server: object, listener: socket.socket, log_dir: Path) -> None:
    """Print the address once it answers."""
    host, number = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    with contextlib.suppress(OSError), socket.create_connection((host, number)) as connection:
        connection.sendall(f"GET /assets/tokens.css HTTP/1.0\r\nHost: {name}:{number}\r\n\r\n".encode())
        connection.recv(1)
    print(f"DeepSeek Dashboard: http://{name}:{number} shows {log_dir}; Ctrl-C ends it", flush=True)


def begin_demo(log_dir: Path, data_dir: Path) -> Demo:
    installed = __name__.startswith("deepseek.")
    demo = Demo(log_dir, data_dir, "deepseek.trainer" if installed else "trainer", None if installed else ROOT)
    demo.start()
    return demo


if __name__ == "__main__":
    sys.exit(main())
