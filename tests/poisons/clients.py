"""Clients that do not read, do not finish, do not stop, or ask for everything."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.poisons import LargeBytes, Place, Poison, Scene, made, silent
from tests.poisons.kinds_of_files import repeated

SILENT_CONNECTIONS = 400


def open_socket(scene: Scene, receive_bytes: int | None = None) -> socket.socket:
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(10)
    client.connect(("127.0.0.1", scene.port))
    return client


def upgraded(scene: Scene, receive_bytes: int | None = None) -> socket.socket:
    """A live socket behind its handshake, without a library that reads for us."""
    client = open_socket(scene, receive_bytes)
    key = base64.b64encode(os.urandom(16)).decode()
    head = ("GET /api/v1/live HTTP/1.1", f"Host: 127.0.0.1:{scene.port}", "Upgrade: websocket", "Connection: Upgrade")
    client.sendall("\r\n".join([*head, f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]).encode())
    while b"\r\n\r\n" not in client.recv(4096, socket.MSG_PEEK):
        time.sleep(0.01)
    return client


def framed(data: bytes, opcode: int = 1) -> bytes:
    """A masked frame, its mask zero."""
    size = len(data)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        length = bytes([0x80 | 127]) + struct.pack("!Q", size)
    return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + data


def subscription(runs: Sequence[str], series: Sequence[str] = ("*",), cursor: int = 0) -> bytes:
    return json.dumps({"subscribe": [{"run": run, "series": list(series)} for run in runs], "cursor": cursor}).encode()


def sends(*messages: LargeBytes) -> Place:
    """A live socket that sends these messages and then reads nothing. What the server answers to it is its own affair."""

    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        with upgraded(scene) as client, contextlib.suppress(OSError):
            for message in messages:
                client.sendall(made(message))
            yield
            return
        yield

    return place


def says(raw: LargeBytes, *, times: int = 1) -> Place:
    """Connections that send these bytes and then nothing, and stay."""

    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        sent = made(raw)
        with contextlib.ExitStack() as clients:
            for _ in range(times):
                client = clients.enter_context(open_socket(scene))
                with contextlib.suppress(OSError):
                    client.sendall(sent)
            yield

    return place


@contextmanager
def do_not_read(scene: Scene) -> Iterator[None]:
    """Three sockets with buffers of 2 kB that want all, while a run writes megabytes of log."""
    scene.folder.mkdir()
    with contextlib.ExitStack() as clients, (scene.folder / "train.log").open("w") as log:
        for _ in range(3):
            client = clients.enter_context(upgraded(scene, 2048))
            client.sendall(framed(subscription([scene.name, "healthy"])))

        def write() -> None:
            log.writelines(f"INFO {'x' * 900}\n" for _ in range(60))
            log.flush()

        with repeated(write, 0.05):
            time.sleep(3)
            yield
    shutil.rmtree(scene.folder)


@contextmanager
def slow_bytes(scene: Scene) -> Iterator[None]:
    """A request that comes a byte at a time on 50 connections."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(open_socket(scene)) for _ in range(50)]

        def one_byte() -> None:
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(b"G")

        with repeated(one_byte, 0.3):
            yield


@contextmanager
def come_and_go(scene: Scene) -> Iterator[None]:
    """Connections opened and reset, 200 a second."""

    def turn() -> None:
        with open_socket(scene) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n")

    with repeated(turn, 0.005):
        yield


@contextmanager
def change_their_mind(scene: Scene) -> Iterator[None]:
    """A socket that subscribes anew as fast as it can."""
    with upgraded(scene) as client:
        message = framed(subscription(["healthy"]))

        def read() -> None:
            with contextlib.suppress(OSError):
                client.recv(1 << 20)

        def send() -> None:
            with contextlib.suppress(OSError):
                client.sendall(message * 20)

        with repeated(read, 0.001), repeated(send, 0.01):
            yield


@contextmanager
def many_pages(scene: Scene) -> Iterator[None]:
    """60 sockets that are read by nobody, as pages of closed lids are."""
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(upgraded(scene)).sendall(framed(subscription(["healthy"])))
        yield


def post(size: int) -> Place:
    head = f"POST /api/v1/profile HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return says(lambda: head.encode() + b"[" * 60_000_000)


def ask(scene: Scene, path: str, timeout_s: float) -> int:
    """The status; 0 where no answer came in time. Raises AssertionError for 500."""
    try:
        with urllib.request.urlopen(scene.running.address + path, timeout=timeout_s) as answer:
            while answer.read(1 << 16):
                pass
            status = int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        status = error.code
    except (OSError, ValueError):
        return 0
    assert status != 500, f"500 for {path}"
    return status


def asks(*paths: str | Callable[[Scene], str], at_once: int = 1, patience_s: float = 4.0) -> Place:
    """These questions, each so often at once, from clients that leave after some seconds. None may be answered with 500."""

    @contextmanager
    def place(scene: Scene) -> Iterator[None]:
        asked = [path if isinstance(path, str) else path(scene) for path in paths for _ in range(at_once)]
        with ThreadPoolExecutor(min(32, len(asked))) as pool:
            for answer in [pool.submit(ask, scene, path, patience_s) for path in asked]:
                answer.result()
            yield

    return place


def now(text: str) -> Callable[[Scene], str]:
    return lambda scene: text.replace("NOW", str(time.time()))


ODD_RANGES = (
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "0",
    "x",
    "",
    "9" * 400,
    "-62135596800",
    "253402300800",
)
ROUTES = ("points?series=train/loss&run=healthy", "logs?run=healthy", "events?run=healthy", "flame?run=healthy", "flamechart?run=healthy", "blame?run=healthy")  # fmt: skip
ODD = [f"/api/v1/{route}&from={lo}&to={hi}" for route in ROUTES for lo, hi in [*((value, "NOW") for value in ODD_RANGES), ("0", "nan"), ("inf", "-inf"), ("5", "1")]]  # fmt: skip
PATHS = (
    "/_dash-component-suites/..%2f..%2fapp.py", "/_dash-component-suites/dash/..%2f..", "/_dash-component-suites/x/y.js", "/assets/..%2f..%2fapp.py",
    "/assets/%2e%2e/%2e%2e/etc/passwd", "/assets/vendor", "/assets/%00", "/nope", "/api/v1/nope", "/api/v1/run?run=%ff", "/api/v1/run?run=..%2f..",
    "/api/v1/source?run=healthy&file=/etc/passwd", "/api/v1/source?run=healthy&file=%00&line=1", "/api/v1/series?run=nope", "/api/v1/curves?run=nope&expr=x",
    "/api/v1/curves?expr=", "/api/v1/curves?expr=" + ",".join(f"s{i}" for i in range(2000)), "/api/v1/logs?run=healthy&before=" + "9" * 30,
    "/api/v1/logs?run=healthy&before=-1&limit=5000", "/_dash-layout", "/_dash-dependencies", "/_dash-update-component", "/_reload-hash", "/metrics", "/openmetrics",
    "/api/v1/flame?run=healthy&from=1&to=2&rank=99999999999999999999", "/api/v1/flame?run=healthy&from=1&to=2&thread=%F0%9F%92%A9&focus=[", "/%ff%fe", "/api/v1/curves?run=healthy&expr=*&buckets=20000",
)  # fmt: skip
MANY = [f"r{i}" for i in range(100_000)]

CLIENTS = [
    Poison("clients-do-not-read", "three live sockets that do not read, with buffers of 2 kB", do_not_read, silent, quick=True),
    Poison("clients-many-pages", "60 live sockets that do not read", many_pages, silent, stays_s=4),
    Poison("clients-half-open", "200 requests that never end their head", says(b"GET /api/v1/runs HTTP/1.1\r\nHost: lo", times=200), silent),
    Poison("clients-silent", f"{SILENT_CONNECTIONS} connections that say nothing", says(b"", times=SILENT_CONNECTIONS), silent, quick=True),
    Poison("clients-slow", "50 requests that come a byte at a time", slow_bytes, silent, stays_s=3),
    Poison("clients-come-and-go", "connections opened and reset 200 times a second", come_and_go, silent, stays_s=3),
    Poison("clients-garbage", "bytes that are not HTTP", says(os.urandom(100_000), times=20), silent),
    Poison("clients-long-url", "a URL of 8 MB", says(b"GET /" + b"a" * (8 << 20)), silent),
    Poison("clients-many-headers", "100,000 headers", says(lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100_000))), silent),
    Poison("clients-large-body", "a POST of 60 MB", post(60_000_000), silent),
    Poison("clients-endless-body", "a POST that announces 10 TB", post(10**13), silent),
    Poison("clients-pipeline", "5,000 requests in one go, answers unread", says(b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000), silent, stays_s=3),
    Poison("socket-many-runs", "a socket message of 100,000 runs", sends(lambda: framed(subscription(MANY))), silent, quick=True, stays_s=3),
    Poison("socket-many-globs", "a socket message of 600,000 globs", sends(lambda: framed(subscription(["healthy"], [f"*{i}*a*b*" for i in range(600_000)]))), silent, stays_s=3),
    Poison("socket-costly-glob", "a glob that costs its reader dear", sends(framed(subscription(["healthy"], ["*a" * 2000 + "*"]))), silent),
    Poison("socket-large-message", "a socket message of 100 MB", sends(lambda: framed(b'{"x": "' + b"y" * 100_000_000 + b'"}')), silent),
    Poison("socket-not-json", "socket messages that are no subscription", sends(*(framed(data) for data in (b"[", b"5", b"{}", b"null", b'{"subscribe": 5, "cursor": 1}'))), silent),
    Poison("socket-binary", "a binary message, and text that is not UTF-8", sends(framed(os.urandom(5000), 2), framed(b"\xff\xfe")), silent),
    Poison("socket-cursor", "cursors of every type", sends(*(framed(b'{"subscribe": [{"run": "healthy", "series": ["*"]}], "cursor": %s}' % value) for value in (b"-5", b"1e300", b'"7"', b"9" * 40, b"NaN"))), silent),
    Poison("socket-deep", "a message 100,000 deep", sends(framed(b"[" * 100_000)), silent),
    Poison("socket-pings", "20,000 pings", sends(framed(b"ping", 9) * 20_000), silent),
    Poison("socket-bad-frames", "frames of impossible lengths", sends(b"\xc1\xff" + b"\xff" * 8 + b"x" * 1000), silent),
    Poison("socket-mind", "a socket that subscribes anew 2,000 times a second", change_their_mind, silent, stays_s=3),
]  # fmt: skip
QUESTIONS = [
    Poison("flame-from-0", "/flame?from=0", asks(now("/api/v1/flame?run=healthy&from=0&to=NOW"), at_once=2), silent, quick=True, stays_s=4),
    Poison("flame-from-minus", "/flame?from=-1e15", asks(now("/api/v1/flame?run=healthy&from=-1e15&to=NOW"), "/api/v1/flame?run=healthy&from=-1e15&to=1e15"), silent, stays_s=4),
    Poison("chart-from-0", "/flamechart?from=0 and /blame?from=0", asks(now("/api/v1/flamechart?run=healthy&from=0&to=NOW"), now("/api/v1/blame?run=healthy&from=0&to=NOW"), now("/api/v1/blame?run=healthy&from=-1e15&to=NOW")), silent, stays_s=4),
    Poison("flame-many", "40 flame graphs at once", asks(now("/api/v1/flame?run=healthy&from=1e9&to=NOW"), at_once=40), silent, stays_s=3),
    Poison("ranges-odd", "ranges of every type on every route", asks(*map(now, ODD)), silent),
    Poison("paths-odd", "paths that lead nowhere, or out", asks(*PATHS), silent),
    Poison("points-many", "30 questions for 200 series in 20,000 buckets", asks("/api/v1/curves?expr=host/*&buckets=20000", "/api/v1/curves?run=healthy&expr=*&buckets=20000", at_once=15), silent, stays_s=3),
    Poison("search-many", "30 searches of the log for what is nowhere", asks("/api/v1/logs?q=nowhere&limit=5000", at_once=30), silent),
]  # fmt: skip
POISONS = [*CLIENTS, *QUESTIONS]
