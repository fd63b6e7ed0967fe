"""Requests that follow each other on one connection, of any size and in any pieces: each has its own answer."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from access.hosts import Access
from dashboard.http_server import MAX_INGESTED_BYTES, MAX_REQUEST_BYTES
from dashboard.network import base_path_of
from tests.support.serving import Web, served_app

TOO_MANY = MAX_REQUEST_BYTES + 1


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = FastAPI()

    @app.post("/api/v1/read")
    @app.post("/api/v1/ingest/{rest:path}")
    @app.post("/{base:path}/api/v1/ingest/{rest:path}")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.post("/api/v1/early")
    async def early() -> int:
        return -1

    return app


@pytest.fixture(scope="module")
def web(app: FastAPI) -> Iterator[Web]:
    with served_app(app) as web:
        yield web


def asked(path: str, size: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode() + b" " * size


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


sizes = st.one_of(st.integers(0, 2000), st.integers(MAX_REQUEST_BYTES - 300, MAX_REQUEST_BYTES))


@given(
    st.lists(st.tuples(st.sampled_from(["read", "early"]), sizes, st.integers(1, 400_000)), min_size=1, max_size=4),
    st.booleans(),
)
def test_each_request_of_a_connection_has_its_answer(
    web: Web, requests: list[tuple[str, int, int]], is_last_too_large: bool
) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        for kind, size, cut in requests:
            whole = asked(f"/api/v1/{kind}", size)
            connection.sendall(whole[:cut])
            connection.sendall(whole[cut:])
            assert answer_of(connection) == (200, b"%d" % (size if kind == "read" else -1))
        if is_last_too_large:
            connection.sendall(asked("/api/v1/read", TOO_MANY))
            status, said = answer_of(connection)
            assert status == 413 and b"in parts" in said
            assert connection.recv(1) == b"", "what it says of the connection is so"


def test_an_answer_that_came_before_its_body_is_followed_by_that_of_the_next_request(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        for size in (TOO_MANY, 4 * TOO_MANY):
            head, body = asked("/api/v1/early", size)[:-size], b" " * size
            connection.sendall(head)
            assert answer_of(connection) == (200, b"-1")
            connection.sendall(body)
        connection.sendall(asked("/api/v1/read", 5))
        assert answer_of(connection) == (200, b"5")


@pytest.mark.parametrize("base", ["/", "/user/ada%40x/box/", "/user/ada@x/box/", "/%C3%A9/"])
@pytest.mark.parametrize("sent", ["as it is", "quoted in another way"])
def test_what_is_handed_over_may_be_longer_however_its_address_is_written(app: FastAPI, base: str, sent: str) -> None:
    address = base if sent == "as it is" else base.replace("%40", "@").replace("%C3", "%c3")
    with served_app(app, access=Access(base_path=base_path_of(base))) as web:
        for size in (TOO_MANY, MAX_REQUEST_BYTES + MAX_INGESTED_BYTES):
            answer = web.ask(f"{address}api/v1/ingest/r/x.jsonl", "POST", b" " * size)
            assert (answer.status, answer.json) == (200, size)
        assert web.ask(f"{address}api/v1/ingest/r/x.jsonl", "POST", b" " * (size + 1)).status == 413
