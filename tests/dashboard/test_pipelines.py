"""Requests that follow each other before they are answered, clients that say no more, and older ones: each has its whole answer."""

from __future__ import annotations

import asyncio
import gc
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dashboard.http_server import LIMITS
from tests.conftest import wait_for
from tests.support.raw_http import SOCKET, Answers, all_of, asked, chunked, opened
from tests.support.serving import Web, served_app, served_records

PARTS = [b"a" * 50_000, b"", b"b" * 50_000, b"c"]
STREAMED = b"".join(PARTS)
STREAM_S = 0.6
left: list[str] = []


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = FastAPI()

    @app.post("/read")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.get("/number/{number}")
    @app.post("/number/{number}")
    async def number(number: int) -> int:
        return number

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in PARTS:
                yield part
                await asyncio.sleep(STREAM_S / len(PARTS))

        return StreamingResponse(parts())

    @app.get("/until-gone")
    async def until_gone(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.append("gone")

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    return app


@pytest.fixture(scope="module")
def web(app: FastAPI) -> Iterator[Web]:
    with served_app(app) as web:
        yield web


def get(path: str, more: str = "", version: str = "1.1") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: localhost\r\n{more}\r\n".encode()


def test_requests_without_end_hold_up_no_other_and_are_not_kept(web: Web) -> None:
    web.ask("/number/0")
    with opened(web) as connection:
        ends = threading.Event()

        def send() -> None:
            with suppress(OSError):
                while not ends.is_set():
                    connection.sendall(get("/number/1") * 10_000)

        def receive() -> None:
            with suppress(OSError):
                while connection.recv(1 << 20):
                    pass

        threads = [threading.Thread(target=each, daemon=True) for each in (send, receive)]
        for each in threads:
            each.start()
        longest_s, most = 0.0, 0
        for _ in range(4):
            time.sleep(0.3)
            begun_s = time.monotonic()
            assert web.ask("/number/0").status == 200
            longest_s = max(longest_s, time.monotonic() - begun_s)
            most = max(most, sum(type(each) is RequestResponseCycle for each in gc.get_objects()))
        ends.set()
        connection.shutdown(socket.SHUT_RDWR)
        for each in threads:
            each.join(5)
        assert most < 50 and longest_s < 15.0, (most, longest_s)


bodies = st.one_of(st.binary(max_size=50), st.text("\r\n0", max_size=50).map(str.encode), st.just(b"\n" * 3000))
kinds = st.sampled_from(["get", "post", "read", "chunks", "h2c", "blank lines"])


@pytest.mark.parametrize("pieces", [1, 3, 1000])
@given(st.lists(st.tuples(kinds, bodies), min_size=1, max_size=12), st.lists(st.integers(1, 3000), max_size=3))
def test_all_are_answered_in_order_however_they_come(
    web: Web, pieces: int, requests: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    whole, expected = b"", []
    for number, (kind, body) in enumerate(requests):
        whole += {
            "get": get(f"/number/{number}"),
            "post": asked(f"/number/{number}", body),
            "read": asked("/read", body),
            "chunks": chunked("/read", *filter(None, [body, body[:1]]), trailers="A: b\r\n"),
            "h2c": asked("/read", body, "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
            "blank lines": b"\r\n" * 5 + asked("/read", body),
        }[kind]
        expected.append(
            number if kind in ("get", "post") else len(body) + len(body[:1]) if kind == "chunks" else len(body)
        )
    with pytest.MonkeyPatch.context() as patch, opened(web) as connection:
        patch.setattr("access.http.LINES_A_TURN", pieces)
        places = [0, *sorted(cuts), len(whole)]
        for begin, end in pairwise(places):
            connection.sendall(whole[begin:end])
            time.sleep(0.0005)
        answers = Answers(connection)
        assert [answers.next() for _ in expected] == [(200, str(value).encode()) for value in expected]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c", "TLS/1.0"])
@pytest.mark.parametrize("body", [b"", b"five!"])
def test_the_last_request_may_ask_for_another_protocol(web: Web, version: str, upgrade: str, body: bytes) -> None:
    with opened(web) as connection:
        connection.sendall(
            asked("/read", body, f"Connection: close, Upgrade\r\nUpgrade: {upgrade}\r\n", version=version)
        )
        answers = Answers(connection)
        assert answers.next() == (200, b"%d" % len(body))
        assert answers.read(1) == b""


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_may_ask_for_http_2_and_the_end(web: Web) -> None:
    command = ["curl", "-sS", "-m", "5", "--http2", "--noproxy", "*", "-H", "Connection: close"]
    done = subprocess.run([*command, f"http://127.0.0.1:{web.port}/number/7"], capture_output=True, timeout=60)
    assert done.stdout == b"7", done.stderr


def test_an_answer_outlives_the_time_that_the_one_before_was_kept_alive(app: FastAPI) -> None:
    with served_app(app, limits=LIMITS._replace(idle_s=STREAM_S / 2)) as web, opened(web) as connection:
        connection.sendall(get("/stream") + get("/stream")[:10])
        answers = Answers(connection)
        assert answers.next() == (200, STREAMED)
        time.sleep(STREAM_S / 3)
        connection.sendall(get("/stream")[10:])
        assert answers.next() == (200, STREAMED)


@pytest.mark.parametrize("rest", [b"", get("/number/2")[:-5], asked("/read", b"five!")[:-2], b"no request\r\n\r\n"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_client_that_says_no_more_has_all_answers(app: FastAPI, times: int, rest: bytes) -> None:
    with (
        served_app(app, limits=LIMITS._replace(half_closed_s=STREAM_S * 0.8)) as web,
        opened(web) as connection,
    ):
        connection.sendall((get("/stream") + get("/number/1")) * times + rest)
        connection.shutdown(socket.SHUT_WR)
        answers = Answers(connection)
        for _ in range(times):
            assert answers.next() == (200, STREAMED)
            assert answers.next() == (200, b"1")
        assert bool(answers.read()) is rest.startswith(b"no request")


def test_a_question_that_follows_another_ends_soon_after_its_client(web: Web) -> None:
    left.clear()
    with opened(web) as connection:
        connection.sendall(get("/number/1") + get("/until-gone"))
        connection.shutdown(socket.SHUT_WR)
        assert all_of(connection).endswith(b"\r\n\r\n1")
    wait_for(lambda: left == ["gone"])


@pytest.mark.parametrize("size", [100, 300_000, 2_000_000])
def test_what_follows_the_last_request_costs_not_its_answer(web: Web, size: int) -> None:
    with opened(web) as connection:
        sending = threading.Thread(
            target=connection.sendall, args=[get("/stream", "Connection: close\r\n") + b"x" * size]
        )
        sending.start()
        answers = Answers(connection)
        assert answers.next() == (200, STREAMED)
        assert answers.read(1) == b""
        sending.join(5)


def test_chunks_are_for_clients_that_know_them(web: Web) -> None:
    with opened(web) as connection:
        connection.sendall(get("/stream", version="1.0"))
        head, _, body = all_of(connection).partition(b"\r\n\r\n")
        assert b"chunked" not in head and b"connection: close" in head and body == STREAMED
    with opened(web) as connection:
        connection.sendall(get("/number/1", version="1.0"))
        assert re.search(rb"content-length: 1\r\n.*\r\n\r\n1$", all_of(connection), re.DOTALL)


@pytest.mark.parametrize("name", ["websocket", "WebSocket ", "websocket\t"])
def test_a_websocket_is_opened_after_the_answers_before(web: Web, name: str) -> None:
    word = b"\x81\x85\0\0\0\0hello"
    with opened(web) as connection:
        connection.sendall(get("/number/1") * 2 + get("/echo", SOCKET.replace("websocket", name)) + word)
        answers = Answers(connection)
        assert [answers.next(), answers.next()] == [(200, b"1")] * 2
        assert answers.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        while answers.readline() != b"\r\n":
            pass
        assert answers.read(7) == b"\x81\x05hello"


def test_head_is_answered_as_get_without_the_body(web: Web, tmp_path: Path) -> None:
    with opened(web) as connection:
        for path, status in (("/number/1", 200), ("/stream", 200), ("/missing", 404), ("/read", 405)):
            connection.sendall(asked(path, method="HEAD") + get("/number/2"))
            answers = Answers(connection)
            assert answers.next("HEAD") == (status, b"")
            assert answers.next() == (200, b"2")
    with served_records(tmp_path) as dashboard:
        for path in (
            "/healthz",
            "/",
            "/runs",
            "/metrics",
            "/openapi.json",
            "/api/v1/runs",
            "/assets/app.css",
            "/none",
            "/api/none",
        ):
            asked_for, answer = dashboard.ask(path), dashboard.ask(path, "HEAD")
            assert (answer.status, answer.body) == (asked_for.status, b"")
            assert answer.headers.keys() == asked_for.headers.keys()
