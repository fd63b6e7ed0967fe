"""`deepseek-dashboard --port 8080 --log-dir ./logs`: start the collector process and serve the web pages."""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shlex
import signal
import socket
import stat
import sys
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

from access.files import Unwritable
from access.hosts import Access
from access.program import Command, UsageError
from collectors import folders, rights
from collectors.collector_process import CollectorProcess
from collectors.keeper.linked_folders import USUAL
from collectors.log_folders import LogFolders, default_log_folders, is_store, legacy_store_of, of_folders, unused_stores
from collectors.options import FLAGS, CollectorOptions, add_flags, default_limit, options_of
from collectors.runtime import return_freed_memory

from .. import address
from ..network import (
    ANY_ADDRESS,
    CannotListen,
    access_of,
    add_reach_flags,
    address_of,
    open_listeners,
    public_address_of,
)
from .command import ROOT, make_folder, typeable
from .demo import Demo
from .lease import Lease
from .missing_folder import PendingFolder

if TYPE_CHECKING:
    from ..queries import Queries

BESIDE_S = 0.5
LAST_LINES_S = 3.0


class CollectorStatus(Protocol):
    """What a dashboard must know of its collector, if it has one."""

    @property
    def read_only(self) -> str | None:
        """Why it cannot be steered, one sentence; None while it can."""

    def note(self) -> str:
        """What else is to be said of it, or ""."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_reach_flags(parser)
    parser.add_argument(
        "--log-dir",
        type=Path,
        action="append",
        metavar="FOLDER",
        help=f"log folder to follow; may be repeated (default: those of {', '.join(USUAL)} that are here)",
    )
    add_flags(parser, [name for name in FLAGS if name not in ("log_dir", "only", "front", "pause")])
    parser.add_argument(
        "--pages-dir", type=Path, metavar="DIR", help="folder with your own pages: Python files with a Dash layout"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # end when it is not needed any more
    parser.add_argument(
        "--lent", action="store_true", help=argparse.SUPPRESS
    )  # to the process that started this one (lending.py)
    parser.add_argument("--demo", action="store_true", help="start a small real training run and watch it")


def run(parsed: argparse.Namespace) -> int:
    if parsed.as_root and os.geteuid() != rights.ROOT_UID:
        raise UsageError("--as-root is for root, who alone may look at other users' runs: leave it out")
    rights.look_at_others(parsed.as_root)
    options = prepare(parsed)
    waiting = waiting_for(parsed)
    where = waiting.what if waiting else f"shows {names_of(parsed, options)}"
    pages_dir = pages_folder(parsed.pages_dir, options)
    loan = Lease() if parsed.lent else None
    if loan is not None and (url := address.read_address(options.data_dir)):
        loan.hold(options.data_dir, url)
        leave()
    try:
        access = access_of(parsed)
        listeners = open_listeners(parsed)
    except CannotListen as error:
        raise UsageError(str(error)) from None
    if access.certificate is not None and (warning := access.certificate.warning()):
        print(warning, file=sys.stderr)
    if access.host in ANY_ADDRESS and not access.hosts:
        name = socket.gethostname()
        print(
            f"it answers under addresses of this machine and as {name}; other names need: --allow-host NAME",
            file=sys.stderr,
        )
    options, port = options if waiting else with_room(options), port_of(listeners)
    with contextlib.suppress(KeyboardInterrupt):
        serve(
            listeners,
            options,
            where=where,
            demo=parsed.demo,
            browse=parsed.open,
            ends=parsed.beside,
            loan=loan,
            pages_dir=pages_dir,
            access=access,
            waiting=waiting,
        )
        if waiting and waiting.is_there():
            waiting.start_anew(port)
    leave()


def prepare(parsed: argparse.Namespace) -> CollectorOptions:
    """Options with usable log folders and data folder, and the retention that is set there. A data folder is made where one of the log
    folders exists. Raises UsageError."""
    if not (ROOT / "assets" / "vendor").is_dir():
        raise UsageError("assets/vendor/ is missing; run: make setup")
    given: list[Path] = parsed.log_dir or default_log_folders()
    if parsed.demo:
        make_folder(given[0], "--log-dir")
    is_there = [check_folder(folder) for folder in given]
    if parsed.lent and not all(is_there):  # whoever borrows it asks for runs that are there
        missing = given[is_there.index(False)]
        raise UsageError(f"there is no folder {missing}; create it with: mkdir -p {shlex.quote(str(missing))}")
    place = place_to_serve(given, parsed.data_dir)
    data_dir, home = place.data_dir, place.tree.home
    if not parsed.data_dir and not data_dir.is_relative_to(home):
        print(f"{folders.relocation_reason(home)}: the store goes to {data_dir}", file=sys.stderr)
    if not parsed.data_dir and (unused := unused_stores(place)):
        print(said_of(unused, data_dir), file=sys.stderr)
    if any(is_there):
        make_folder(data_dir, "--data-dir", private=True)
    options = replace(options_of(parsed, place.log_dir, data_dir.resolve()), only=place.only, front=place.front)
    return options if options.retention_s is not None else replace(options, retention_s=set_retention_s(data_dir))


def place_to_serve(given: Sequence[Path], data_dir: Path | None) -> LogFolders:
    """What is followed, and its store, which takes over those that earlier versions made beside it."""
    if data_dir is not None:
        return of_folders(given, data_dir.resolve())
    place = of_folders(given)
    if any(is_store(legacy_store_of(folder)) for folder in place.folders):
        from .store_migration import take_over

        for sentence in take_over(place):
            print(sentence, file=sys.stderr, flush=True)
        place = of_folders(given)
    return place


def said_of(unused: Mapping[Path, Path], used: Path) -> str:
    """Which of several stores is used, and what that hides. `unused`: the log folder of each of the others."""
    flags = " or ".join(f"--log-dir {shlex.quote(str(folder))}" for folder in unused.values())
    return (
        f"several log folders have a store: {used} is used; the stacks, findings, names, notes and boards that are only in "
        f"{' and '.join(map(str, unused))} are not shown (to see them, start with {flags} alone)"
    )


def with_room(options: CollectorOptions) -> CollectorOptions:
    """With the default of --max-size, which is printed, where none was given."""
    if options.max_bytes is not None:
        return options
    limit = default_limit(options.data_dir)
    print(limit.sentence, file=sys.stderr)
    return replace(options, max_bytes=limit.max_bytes, pause=False)


def pages_folder(folder: Path | None, options: CollectorOptions) -> Path | None:
    """Raises UsageError where its files must not run."""
    if folder is None:
        return None
    from ..pages.custom import check_folder

    try:
        check_folder(folder, [*options.tree.tops, options.data_dir])
    except ValueError as error:
        raise UsageError(str(error)) from None
    return folder.resolve()


def check_folder(folder: Path) -> bool:
    """Whether it exists; it may come later. Raises UsageError where it cannot be read, or cannot come to be."""
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise UsageError(
                f"{folder} is a file; name its folder instead: --log-dir {shlex.quote(str(folder.parent))}"
            )
        next(folder.iterdir(), None)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        file = next(above for above in folder.parents if above.exists())
        raise UsageError(
            f"there can be no folder {folder}, since {file} is a file; choose another folder with --log-dir"
        ) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {folder} ({why}); choose another folder with --log-dir") from None
    if why_not := rights.why_not_ours(folder):
        raise UsageError(f"{folder} {why_not}")
    return True


def waiting_for(parsed: argparse.Namespace) -> PendingFolder | None:
    """None where a log folder exists."""
    folders_of: Callable[[], list[Path]] = (lambda: parsed.log_dir) if parsed.log_dir else default_log_folders
    waiting = PendingFolder(folders_of)
    return None if waiting.is_there() else waiting


def port_of(listeners: Sequence[socket.socket]) -> int:
    """Of the one that listens on a port."""
    return next((int(each.getsockname()[1]) for each in listeners if each.family != socket.AF_UNIX), 0)


def names_of(parsed: argparse.Namespace, options: CollectorOptions) -> str:
    """Which folders are shown, for the line that says so, and which of them are still to come."""
    missing = [str(folder) for folder in parsed.log_dir or () if not folder.is_dir()]
    if parsed.log_dir:
        return ", ".join(map(str, parsed.log_dir)) + (
            f"; {', '.join(missing)} will be read once it exists" if missing else ""
        )
    return f"{', '.join(options.only) or options.log_dir}, found here"


def set_retention_s(data_dir: Path) -> float | None:
    from ..user_files.settings import retention_s, settings_of

    settings = settings_of(data_dir)
    if settings.trouble:
        print(settings.trouble, file=sys.stderr)
    return retention_s(settings)


def serve(
    listeners: Sequence[socket.socket],
    options: CollectorOptions,
    *,
    where: str,
    demo: bool,
    browse: bool = False,
    ends: bool = False,
    loan: Lease | None = None,
    pages_dir: Path | None = None,
    access: Access,
    waiting: PendingFolder | None = None,
) -> None:
    """Until Ctrl-C, or until there is what is waited for; ends all children."""
    return_freed_memory()
    with contextlib.ExitStack() as children:
        collecting: CollectorStatus = waiting or children.enter_context(kept(options))
        if demo:
            children.callback(begin_demo(options).stop)
        ours, public = address_of(listeners[0], access), public_address_of(listeners[0], access)
        children.enter_context(address.publish(options.data_dir, ours, public))
        run_web(
            listeners,
            options,
            collecting,
            where=where,
            browse=browse,
            ends=ends,
            loan=loan,
            pages_dir=pages_dir,
            access=access,
        )


@contextlib.contextmanager
def kept(options: CollectorOptions) -> Iterator[CollectorProcess]:
    """The process of a collector, which starts while the web process still imports."""
    collector = CollectorProcess(options)
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()


def leave() -> NoReturn:
    """All is closed and all children have ended. To take thousands of modules apart would cost another 0.4 s of CPU."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # it is closed
            stream.flush()
    os._exit(0)


def run_web(
    listeners: Sequence[socket.socket],
    options: CollectorOptions,
    collector: CollectorStatus,
    *,
    where: str,
    browse: bool,
    ends: bool,
    loan: Lease | None = None,
    pages_dir: Path | None = None,
    access: Access,
    page: str = "",
    prepare: Callable[[Queries], None] = lambda queries: None,
) -> None:
    """`page` is the path of the page that is opened first; `prepare` begins what it will ask for, while the rest is loaded."""
    gc.disable()  # what is loaded now stays: to look for garbage in it meanwhile is a fifth of the start
    from collectors.store.engines import open_store

    from ..queries import Queries

    store = open_store(options.data_dir, write=False)
    queries = Queries(store, options.tree, options.data_dir, lambda: collector.read_only, collector.note)
    prepare(queries)
    with without("IPython"):  # Dash loads it where it is installed, for notebooks: another fifth
        from ..app import make_app
        from ..http_server import server_of

    server = server_of(make_app(queries, access, pages_dir), access)
    gc.freeze()
    gc.enable()

    def is_open() -> bool:
        return bool(server.server_state.connections)

    if loan is not None:
        loan.end_with_it(lambda: address.is_to_stay(options.data_dir) or is_open())
    if isinstance(collector, PendingFolder):
        collector.begin(lambda: setattr(server, "should_exit", True))
    threading.Thread(
        target=announce,
        args=(listeners[0], access, where, browse, options.data_dir, page),
        name="announce",
        daemon=True,
    ).start()
    if ends:
        threading.Thread(target=end_unneeded, args=(options.data_dir, is_open), name="beside", daemon=True).start()
    paths = unix_paths(listeners)
    try:
        server.run(sockets=list(listeners))
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
        queries.close()


@contextlib.contextmanager
def without(package: str) -> Iterator[None]:
    """As if it were not installed."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def end_unneeded(data_dir: Path, is_open: Callable[[], bool]) -> None:
    """End this process once no program needs it, their last lines are read, and no page is open."""
    unneeded_s = 0.0
    while unneeded_s < LAST_LINES_S:
        time.sleep(BESIDE_S)
        unneeded_s = 0.0 if address.is_to_stay(data_dir) or is_open() else unneeded_s + BESIDE_S
    os.kill(os.getpid(), signal.SIGTERM)


def announce(listener: socket.socket, access: Access, where: str, browse: bool, data_dir: Path, page: str = "") -> None:
    """Print the address once it answers, with a link where that needs one, and open it where the user asked for that."""
    url = public_address_of(listener, access)
    with contextlib.suppress(OSError), socket.create_connection(listener.getsockname()[:2]) as connection:
        connection.sendall(
            b"GET /assets/tokens.css HTTP/1.0\r\nHost: localhost\r\n\r\n"
        )  # what it answers does not matter
        connection.recv(1)
    print(f"DeepSeek Dashboard: {url.rstrip('/') if page else url}{page} {where}; Ctrl-C ends it", flush=True)
    if not access.is_loopback or access.own_origins:
        print_link(data_dir, url)
    if browse:
        webbrowser.open(
            address_of(listener, access).rstrip("/") + page
        )  # without a secret, which other users would see in the browser's command line


def print_link(data_dir: Path, url: str) -> None:
    """Good for one log-in within a quarter of an hour."""
    from access.tokens import DamagedTokens, TokenError

    from .url import one_use_link

    try:
        print(f"open it once with {one_use_link(data_dir, url)}", flush=True)
        place = (
            f" --data-dir {shlex.quote(str(data_dir))}"
            if data_dir != folders.data_dir_of(Path(USUAL[0])).resolve()
            else ""
        )
        commands = (
            f"a new link: deepseek-dashboard url{place}; one for others: deepseek-dashboard token new NAME{place}"
        )
        print(typeable(commands), flush=True)
    except (DamagedTokens, TokenError, Unwritable) as error:
        print(error, file=sys.stderr)


def begin_demo(options: CollectorOptions) -> Demo:
    installed = not (ROOT / "pyproject.toml").exists()
    package, folder = ("deepseek.trainer", None) if installed else ("trainer", ROOT)
    demo = Demo(options.tree.home, options.data_dir, package, folder)
    demo.start()
    return demo


def unix_paths(listeners: Sequence[socket.socket]) -> list[Path]:
    """The files of Unix sockets, absolute; a socket that is closed no longer tells."""
    return [Path(listener.getsockname()).absolute() for listener in listeners if listener.family == socket.AF_UNIX]


COMMAND = Command("", "Live GPU charts, training curves, logs and flame graphs on one clock.", arguments, run)
