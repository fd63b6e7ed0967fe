"""What a client sends over a WebSocket costs only itself: others are answered, and one that sends without end is closed."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from access.http import FLOOD_S, FRAME_BURST_S, FRAMES_A_S, MAX_UNREAD_FRAMES
from tests.conftest import wait_for
from tests.support.raw_http import SOCKET
from tests.support.serving import Web, served_app

CONTINUED, TEXT, CLOSE, PING = 0, 1, 8, 9
LARGE = "x" * (16 << 20)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    app = FastAPI()

    @app.get("/early")
    async def early() -> str:
        return "early"

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await socket.send_text(await socket.receive_text())

    @app.websocket("/large")
    async def large(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(LARGE)
        await asyncio.Event().wait()

    with served_app(app) as web:
        yield web


def frame(kind: int, content: bytes = b"", *, is_last: bool = True) -> bytes:
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes([kind | 0x80 * is_last]) + length + bytes(4) + content


@contextmanager
def connected(web: Web, path: str, early: bytes = b"", small_buffer: bool = False) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if small_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.settimeout(60)
        client.connect(("127.0.0.1", web.port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{SOCKET}\r\n".encode() + early)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101")
        yield client


def frames_of(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Until the server's end."""
    with client.makefile("rb") as file:
        while head := file.read(2):
            size = head[1]
            if size == 126:
                (size,) = struct.unpack("!H", file.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", file.read(8))
            yield head[0] & 15, file.read(size)


def closing_code(client: socket.socket) -> int:
    code: int = struct.unpack("!H", next(said for kind, said in frames_of(client) if kind == CLOSE)[:2])[0]
    return code


FLOODS = {
    "empty pings": frame(PING) * 5000,
    "pings": frame(PING, b"p" * 125) * 500,
    "messages": frame(TEXT, b"{") * 5000,
    "a message in parts": frame(TEXT, b"{", is_last=False) + frame(CONTINUED, is_last=False) * 5000,
}


@contextmanager
def flooded(client: socket.socket, flood: bytes, goes_on: bytes) -> Iterator[None]:
    """As much as the system takes, all the time."""
    ends = threading.Event()
    client.settimeout(0.05)

    def send() -> None:
        rest = flood
        while not ends.is_set():
            try:
                rest = rest[client.send(rest) :] or goes_on
            except TimeoutError:
                pass
            except OSError:
                return

    sender = threading.Thread(target=send, name="flood", daemon=True)
    sender.start()
    try:
        yield
    finally:
        ends.set()
        sender.join(60)


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_delays_no_other(web: Web, kind: str) -> None:
    def slowest_s(count: int = 20) -> float:
        times = []
        for _ in range(count):
            began_s = time.monotonic()
            assert web.ask("/early").status == 200
            times.append(time.monotonic() - began_s)
        return max(times)

    calm_s = max(slowest_s() for _ in range(3))
    with ExitStack() as held:
        for _ in range(3):
            client = held.enter_context(connected(web, "/echo"))
            flood = FLOODS[kind]
            held.enter_context(flooded(client, flood, flood if kind != "a message in parts" else flood[7:]))
        assert slowest_s() < 10 * calm_s + 0.2


@pytest.mark.parametrize("kind", FLOODS)
def test_a_client_that_sends_without_end_is_closed(web: Web, kind: str) -> None:
    with connected(web, "/echo") as client:
        began_s = time.monotonic()
        flood = FLOODS[kind]
        answered, code = 0, 0
        with flooded(client, flood, flood if kind != "a message in parts" else flood[7:]):
            reader = client.dup()
            reader.settimeout(60)
            with reader, suppress(ConnectionError):
                for opcode, said in frames_of(reader):
                    if opcode == CLOSE:
                        (code,) = struct.unpack("!H", said[:2])
                        break
                    answered += 1
        took_s = time.monotonic() - began_s
    assert code == 1008
    assert took_s > FLOOD_S
    assert answered <= FRAMES_A_S * (took_s + FRAME_BURST_S) + 1


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("is_early", [True, False])
def test_messages_are_the_same_in_any_pieces(web: Web, piece_bytes: int, is_early: bool) -> None:
    long = os.urandom(30_000).hex().encode()
    messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 300]
    sent = b"".join(frame(TEXT, each) for each in messages)
    sent += frame(TEXT, b"of ", is_last=False) + frame(PING, b"between") + frame(CONTINUED, b"two")
    if piece_bytes > 7:
        messages, sent = [long, *messages], frame(TEXT, long) + sent
    early, late = (sent[:500], sent[500:]) if is_early else (b"", sent)
    with connected(web, "/echo", early) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for begin in range(0, len(late), piece_bytes):
            client.sendall(late[begin : begin + piece_bytes])
        client.sendall(frame(CLOSE, struct.pack("!H", 1000)))
        found = list(frames_of(client))
    assert [said for kind, said in found if kind == TEXT] == [*messages, b"of two"]
    assert found[-1] == (CLOSE, struct.pack("!H", 1000))


def test_answers_to_a_client_that_does_not_read_come_to_an_end(web: Web) -> None:
    assert web.server is not None
    edge = web.server.edge

    def unread() -> int:
        return max((each.get_write_buffer_size() for each in list(edge.connections)), default=0)

    with connected(web, "/large", small_buffer=True) as client:
        wait_for(lambda: unread() > 1 << 20)
        client.settimeout(0.05)
        before = unread()
        for _ in range(3 * MAX_UNREAD_FRAMES):
            client.sendall(frame(PING, b"p" * 125))
            time.sleep(1.1 / FRAMES_A_S)
        assert unread() <= before + MAX_UNREAD_FRAMES * 127
        client.settimeout(60)
        assert len(next(frames_of(client))[1]) == len(LARGE)


def test_text_that_is_not_utf_8_closes_its_socket_without_a_traceback(web: Web) -> None:
    logged: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    try:
        with connected(web, "/echo") as client:
            client.sendall(frame(TEXT, b"\xff") * 100)
            assert closing_code(client) == 1007
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in logged] == []
