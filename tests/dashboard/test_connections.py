"""What may come over a connection in any order and in any pieces: each request has its answer, and each connection its end."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, WebSocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.http_server import LIMITS, MAX_REQUEST_BYTES
from tests.conftest import wait_for
from tests.support.raw_http import SOCKET, Answers, all_of, answer_of, asked, chunked, opened
from tests.support.serving import Web, served_app

TOO_MANY = MAX_REQUEST_BYTES + 1
SHORT_S = 0.3
left: list[str] = []


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = FastAPI()

    @app.post("/read")
    async def read(request: Request) -> str:
        return (await request.body()).decode()

    @app.post("/names")
    async def names(request: Request) -> list[str]:
        await request.body()
        return sorted(request.headers)

    @app.api_route("/early", methods=["GET", "POST"])
    async def early() -> str:
        return "early"

    @app.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(0.2)
        return "slow"

    @app.get("/until-gone")
    async def until_gone(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.append("gone")

    @app.websocket("/socket")
    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")

    return app


@pytest.fixture(scope="module")
def web(app: FastAPI) -> Iterator[Web]:
    with served_app(app) as web:
        yield web


TALK = {
    "nothing": b"",
    "a line end": b"\r\n",
    "a request": asked("/read", b"five!"),
    "in chunks": chunked("/read", b"five!", trailers="A: b\r\n"),
    "an early answer": asked("/early", b" " * 5000),
    "a late answer": asked("/slow", method="GET"),
    "the last": asked("/read", b"five!", "Connection: close\r\n"),
    "the last, answered early": asked("/early", b" " * 300_000, "Connection: close\r\n"),
    "too large": asked("/read", b" " * TOO_MANY),
    "far too large": asked("/read", b" " * 3 * TOO_MANY),
    "another protocol": asked("/read", b"five!", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
    "a tunnel": asked("elsewhere:443", method="CONNECT"),
    "a wrong address": asked("/\xff", b"five!"),
    "no request": b"\0\r\n\r\n",
    "a chunk that is none": b"POST /read HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxx\r\n",
}
talks = st.tuples(st.lists(st.sampled_from(list(TALK)), max_size=3), st.integers(1, 1000), st.booleans())


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(st.lists(talks, min_size=60, max_size=60))
def test_a_connection_that_says_no_more_is_closed(app: FastAPI, several: list[tuple[list[str], int, bool]]) -> None:
    limits = LIMITS._replace(head_s=SHORT_S, body_s=SHORT_S, idle_s=SHORT_S)
    with served_app(app, limits=limits) as web:
        assert web.server is not None
        held = []
        for words, left_out, is_whole in several:
            connection = opened(web)
            whole = b"".join(TALK[word] for word in words)
            with suppress(OSError):
                connection.sendall(whole[:-left_out])
                time.sleep(0.002)
                connection.sendall(whole[-left_out:] if is_whole else b"")
            held.append((words, left_out, is_whole, connection))
        edge = web.server.edge
        with suppress(AssertionError):
            wait_for(lambda: not edge.connections)
        ours = {connection.getsockname(): case for *case, connection in held}
        kept = [ours.get(each.get_extra_info("peername")) for each in edge.connections]
        for *_, connection in held:
            connection.close()
        assert kept == []


@pytest.mark.parametrize("more", [0, 1, TOO_MANY])
def test_refused_connections_give_way(app: FastAPI, more: int) -> None:
    with served_app(app, limits=LIMITS._replace(connections=16)) as web, ExitStack() as held:
        for _ in range(20):
            connection = held.enter_context(opened(web))
            connection.sendall(asked("/read", b" " * (TOO_MANY + more))[: -more or None])
            assert answer_of(connection)[0] == 413
        connection = held.enter_context(opened(web))
        connection.sendall(asked("/read", b"five!"))
        assert answer_of(connection) == (200, b'"five!"')


SMUGGLED = asked("/early", method="GET").decode()
upgrades = st.sampled_from(
    ["h2c", "H2C", "TLS/1.0", "websocket, h2c", "a\r\nUpgrade: h2c", "websocket\r\nConnection: keep-alive"]
)
bodies = st.one_of(st.just(SMUGGLED), st.text("ab\r\n", max_size=50), st.just("a" * 100_000))
UPGRADES = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nUpgrade: "


@given(st.lists(st.tuples(upgrades, bodies, st.booleans()), min_size=1, max_size=3), st.integers(1, 700))
def test_what_asks_for_another_protocol_is_answered_in_this_one(
    web: Web, requests: list[tuple[str, str, bool]], cut: int
) -> None:
    whole = b"".join(
        (chunked if in_chunks and body else asked)("/read", body.encode(), more=f"{UPGRADES}{upgrade}\r\n")
        for upgrade, body, in_chunks in requests
    )
    with opened(web) as connection:
        connection.sendall(whole[:cut])
        time.sleep(0.001)
        connection.sendall(whole[cut:])
        answers = Answers(connection)
        for _, body, _ in requests:
            status, said = answers.next()
            assert (status, json.loads(said)) == (200, body)
        connection.sendall(asked("/read", b"next"))
        assert answers.next() == (200, b'"next"')


def test_many_of_them_in_a_piece_cost_no_more_than_others(web: Web) -> None:
    request = f"POST /early HTTP/1.1\r\nHost: localhost\r\n{UPGRADES}h2c\r\n\r\n".encode()
    with opened(web) as connection:
        connection.sendall(request * 1500)
        answers = Answers(connection)
        assert [answers.next()[0] for _ in range(1500)] == [200] * 1500


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize("size", [0, 5, 200_000])
def test_curl_may_ask_for_http_2(web: Web, tmp_path: Path, size: int) -> None:
    (tmp_path / "body").write_bytes(b"a" * size)
    command = ["curl", "-sS", "--http2", "--noproxy", "*", "--data-binary", f"@{tmp_path / 'body'}"]
    done = subprocess.run([*command, f"http://127.0.0.1:{web.port}/read"], capture_output=True, timeout=60)
    assert done.stdout == b'"%s"' % (b"a" * size), done.stderr


def test_a_tunnel_is_refused_in_one_sentence(web: Web) -> None:
    with opened(web) as connection:
        connection.sendall(asked("elsewhere:443", SMUGGLED.encode(), method="CONNECT"))
        said = all_of(connection)
        assert said.startswith(b"HTTP/1.1 400") and said.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("cut", [-1, -30, -60])
def test_trailers_are_headers_of_no_request(web: Web, cut: int) -> None:
    whole = chunked("/names", b"five!", trailers="X-Evil: a\r\nContent-Type: a\r\n") + asked("/names")
    with opened(web) as connection:
        connection.sendall(whole[:cut])
        time.sleep(0.01)
        connection.sendall(whole[cut:])
        answers = Answers(connection)
        assert answers.next() == (200, b'["host","transfer-encoding"]')
        assert answers.next() == (200, b'["content-length","host"]')


@pytest.mark.parametrize(
    "first", [chunked("/read", b"five!")[:-2], chunked("/early", b"five!")[:-2], b"GET /early HTTP/1.1\r\n"]
)
@pytest.mark.parametrize("endless", ["A: aaaaaaaaaaaaa\r\n", "a"])
def test_headers_and_trailers_without_end_are_cut_off(web: Web, first: bytes, endless: str) -> None:
    with opened(web) as connection, pytest.raises(ConnectionError):
        connection.sendall(first + (b"A: " if endless == "a" else b""))
        for _ in range(1000):
            connection.sendall((endless * (32768 // len(endless))).encode())


def test_chunks_that_are_shorter_than_their_marks_are_no_headers(web: Web) -> None:
    whole = chunked("/read", *[b"a"] * 100_000)
    with opened(web) as connection:
        for begin in range(0, len(whole), 5000):
            connection.sendall(whole[begin : begin + 5000])
        assert answer_of(connection) == (200, b'"%s"' % (b"a" * 100_000))


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (b"no request\r\n\r\n", 400),
        (b"\0", 400),
        (asked("elsewhere:443", method="CONNECT"), 400),
        (asked("/read", b" " * TOO_MANY), 413),
        (chunked("/read", b" " * TOO_MANY), 413),
    ],
)
@pytest.mark.parametrize("before", [1, 3])
def test_what_cannot_be_answered_waits_for_the_answers_before(
    web: Web, second: bytes, status: int, before: int
) -> None:
    with opened(web) as connection:
        connection.sendall(asked("/slow", method="GET") * before + second)
        answers = Answers(connection)
        for _ in range(before):
            assert answers.next() == (200, b'"slow"')
        assert answers.next()[0] == status
        assert answers.read(1) == b""


@pytest.mark.parametrize("size", [10_000, 300_000, 4 << 20])
@pytest.mark.parametrize("path", ["/early", "/missing"])
def test_an_early_answer_is_read_before_the_end(web: Web, path: str, size: int) -> None:
    for _ in range(5):
        with opened(web) as connection:
            connection.sendall(asked(path, b" " * size, "Connection: close\r\n"))
            assert answer_of(connection)[0] == (200 if path == "/early" else 404)
            assert connection.recv(1) == b""


@pytest.mark.parametrize("size", [70_000, 100, 7000])
def test_a_request_in_many_chunks_that_is_too_large_is_answered(web: Web, size: int) -> None:
    for offset in range(0, 200_000, 50_000):
        with opened(web) as connection:
            whole = chunked("/read", b" " * (offset + 1), *[b" " * size] * (2_000_000 // size))
            connection.sendall(whole[:offset])
            time.sleep(0.01)
            connection.sendall(whole[offset:])
            assert answer_of(connection)[0] == 413


@pytest.mark.parametrize("path", ["/slow", "/early"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_client_that_sends_no_more_reads_its_answers(app: FastAPI, path: str, times: int) -> None:
    with served_app(app, limits=LIMITS._replace(half_closed_s=4.0)) as web, opened(web) as connection:
        connection.sendall(asked(path, method="GET") * times)
        connection.shutdown(socket.SHUT_WR)
        answers = Answers(connection)
        for _ in range(times):
            assert answers.next() == (200, b'"%s"' % path[1:].encode())
        assert answers.read(1) == b""


@pytest.mark.parametrize("is_half", [True, False])
def test_a_question_ends_soon_after_its_client(web: Web, is_half: bool) -> None:
    left.clear()
    with opened(web) as connection:
        connection.sendall(asked("/until-gone", method="GET"))
        time.sleep(0.05)
        if is_half:
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    wait_for(lambda: left == ["gone"])


@pytest.mark.parametrize(
    ("more", "body", "status"),
    [
        ("", b"", 101),
        ("Content-Length: 0\r\n", b"", 101),
        ("Content-Length: 5\r\n", b"hello", 400),
        (f"Content-Length: {TOO_MANY}\r\n", b" " * TOO_MANY, 400),
        ("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", 400),
        ("".join(f"X-{number}: a\r\n" for number in range(200)), b"", 400),
        (f"X-Long: {'a' * 9000}\r\n", b"", 400),
        ("X-Words: caf\xe9\r\n", b"", 101),
    ],
)
@pytest.mark.parametrize("first", ["nothing", "a request"])
def test_a_request_for_a_websocket_is_answered_whatever_it_brings(
    web: Web, first: str, more: str, body: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        if first == "a request":
            connection.sendall(asked("/read", b"hello"))
            with http.client.HTTPResponse(connection) as earlier:
                earlier.begin()
                assert earlier.read() == b'"hello"'
        connection.sendall(f"GET /socket HTTP/1.1\r\nHost: localhost\r\n{SOCKET}{more}\r\n".encode("latin-1"))
        connection.sendall(body)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            assert response.status == status
