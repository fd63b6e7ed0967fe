"""A client of the live socket costs only itself, whatever it sends and whether or not it reads."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

from collectors.records import Event, LogLine, Points, Record, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.http_server import LIMITS
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.cost import times
from tests.support.raw_http import answer_of
from tests.support.serving import Web, run, served

T0 = 1_764_000_000.0
HOST = labels_of(host="box")
SMALL_BUFFER = 2048


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path, write=True)
    yield store
    store.close()


@pytest.fixture
def web(writer: Store, tmp_path: Path) -> Iterator[Web]:
    writer.append([Points("a", HOST, ("loss",), (1.0,), T0, 0)])
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        yield web
    queries.close()


def url(web: Web) -> str:
    return f"ws://127.0.0.1:{web.port}/api/v1/live"


async def next_of(client: websockets.ClientConnection, kind: str, timeout_s: float = 60.0) -> Any:
    async with asyncio.timeout(timeout_s):
        while (message := json.loads(await client.recv()))["type"] != kind:
            pass
        return message


def deaf(web: Web) -> socket.socket:
    """A client that shakes hands, asks for all lines of the run, and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    client.connect(("127.0.0.1", web.port))
    client.sendall(
        f"GET /api/v1/live HTTP/1.1\r\nHost: localhost:{web.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b"101 Switching" in client.recv(300)
    wish = json.dumps({"subscribe": [{"run": "a", "series": ["*"]}], "cursor": 0}).encode()
    client.sendall(b"\x81" + bytes([0x80 | len(wish)]) + bytes(4) + wish)
    return client


@contextmanager
def served_below(tmp_path: Path, **limits: Any) -> Iterator[Web]:
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries, LIMITS._replace(**limits)) as web:
        yield web
    queries.close()


def test_while_a_client_does_not_read_the_others_go_on(writer: Store, tmp_path: Path) -> None:
    with (
        served_below(tmp_path, send_s=120.0) as web,
        deaf(web),
    ):  # who had to wait for it would not get anything in time
        for i in range(10):
            writer.append([LogLine("a", "train.log", T0 + i, 20, "x" * 10_000) for _ in range(100)])
            time.sleep(0.1)

        async def follow() -> None:
            async with websockets.connect(url(web)) as other:
                for _ in range(3):
                    await next_of(other, "state")
                await other.send(json.dumps({"subscribe": [{"run": "a", "series": ["*"]}], "cursor": writer._seq}))
                writer.append([Points("a", HOST, ("loss",), (2.0,), T0 + 1, 1)])
                assert (await next_of(other, "delta"))["series"][0]["v"] == [2.0]

        run(follow())


def test_a_client_that_does_not_read_is_cut_off(writer: Store, tmp_path: Path) -> None:
    writer.append([LogLine("a", "train.log", T0 + i, 20, "x" * 10_000) for i in range(1000)])
    with served_below(tmp_path, send_s=1.0) as web, deaf(web) as client:
        wait_for(lambda: is_closed(client), because="the connection stands")


def test_a_client_that_does_not_read_keeps_no_server_from_ending(writer: Store, tmp_path: Path) -> None:
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)

    def is_held_up() -> bool:
        """What the system's buffers do not take waits in the server."""
        writer.append([LogLine("a", "train.log", T0, 20, "x" * 10_000) for _ in range(100)])
        return any(one.get_write_buffer_size() for one in web.server.edge.connections)

    with served(queries) as web:
        client = deaf(web)
        wait_for(is_held_up)
    client.close()
    queries.close()


def is_closed(client: socket.socket) -> bool:
    """By the other side: sending to it fails."""
    try:
        client.sendall(b"\x8a\x80" + bytes(4))  # a pong
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    "message",
    [
        {"subscribe": [{"run": str(i), "series": []} for i in range(1500)], "cursor": 0},
        {"subscribe": [{"run": "a", "series": ["*"] * 5000}], "cursor": 0},
        {"subscribe": [{"run": "a", "series": ["x" * 2000]}], "cursor": 0},
        {"subscribe": [{"run": ["a"], "series": []}], "cursor": 0},
        {"subscribe": [{"run": "a", "series": "loss"}], "cursor": 0},
        {"subscribe": [], "cursor": 2**70},
        {"subscribe": [], "cursor": -1},
        {"subscribe": {}},
        [],
        None,
        "x",
    ],
)
def test_what_is_no_subscription_gets_a_sentence(web: Web, message: Any) -> None:
    async def ask() -> Any:
        async with websockets.connect(url(web)) as client:
            await client.send(json.dumps(message))
            return await next_of(client, "refused")

    assert "not a subscription: " in run(ask())["error"]


@pytest.mark.parametrize("message", ["x" * 70_000, b"\xff" * 70_000, b"\xff", "{", ""])
def test_no_message_harms_another_client(web: Web, message: str | bytes) -> None:
    async def ask() -> None:
        async with websockets.connect(url(web)) as other, websockets.connect(url(web)) as client:
            await client.send(message)
            with pytest.raises(websockets.ConnectionClosed):
                while True:
                    await asyncio.wait_for(client.recv(), 60)
            await next_of(other, "state")

    run(ask())


def test_a_cursor_of_long_ago_gets_the_newest_lines_and_events_only(web: Web, writer: Store) -> None:
    records: list[Record] = [Event("a", "checkpoint", T0 + i, fields={"n": i}) for i in range(30_000)]
    writer.append([*records, *(LogLine("a", "train.log", T0 + i, 20, f"line {i}") for i in range(10_000))])

    async def follow() -> Any:
        async with websockets.connect(url(web)) as client:
            await client.send(json.dumps({"subscribe": [{"run": "a", "series": ["*"]}], "cursor": 0}))
            return await next_of(client, "delta")

    delta = run(follow())
    assert [event["n"] for event in delta["events"]] == [*range(28_000, 30_000)]
    assert [line["text"] for line in delta["lines"]] == [f"line {i}" for i in range(8_000, 10_000)]


def test_long_lines_and_many_events_are_answered_in_parts(web: Web, writer: Store) -> None:
    writer.append([LogLine("a", "train.log", T0 + i, 20, "x" * 900_000) for i in range(30)])
    writer.append([Event("a", "note", T0 + i, fields={"text": "x" * 100_000}) for i in range(300)])
    for path, most in (("logs?limit=5000&run=a", 10e6), ("events?run=a", 10e6)):
        assert len(web.ask(f"/api/v1/{path}").body) < most
    assert "(900,000 characters)" in web.ask("/api/v1/logs", run="a").json["lines"][0]["text"]


def test_a_connection_that_stays_silent_is_closed(writer: Store, tmp_path: Path) -> None:
    with served_below(tmp_path, head_s=0.3) as web:
        for beginning, said in (
            (b"", b""),
            (b"GET /healthz HTT", b"HTTP/1.1 408 "),
            (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 408 "),
        ):
            with socket.create_connection(("127.0.0.1", web.port), timeout=60) as client:
                client.sendall(beginning)
                assert b"".join(iter(lambda: client.recv(65536), b""))[:13] == said


def test_many_silent_connections_leave_room_for_one_that_asks(writer: Store, tmp_path: Path) -> None:
    with served_below(tmp_path, connections=20) as web:
        silent = [socket.create_connection(("127.0.0.1", web.port)) for _ in range(100)]
        assert web.ask("/healthz").status == 200
        for client in silent:
            client.close()


def test_a_flood_of_one_address_closes_none_of_another(writer: Store, tmp_path: Path) -> None:
    with served_below(tmp_path, connections=20, idle_s=60.0) as web, ExitStack() as held:
        other = held.enter_context(socket.create_connection(("127.0.0.1", web.port), source_address=("127.0.0.2", 0)))
        for number in range(200):
            flood = held.enter_context(socket.create_connection(("127.0.0.1", web.port)))
            flood.sendall(b"GET /healthz HTTP/1.1\r\n" if number % 2 else b"")
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(2):
            other.sendall(request)
            assert answer_of(other)[0] == 200
        assert web.server is not None
        assert len(web.server.edge.connections) <= 20


def test_a_request_without_end_is_cut_off(web: Web) -> None:
    with socket.create_connection(("127.0.0.1", web.port)) as client, pytest.raises(OSError):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(1000):
            client.sendall(b"X-Long: " + b"x" * 10_000 + b"\r\n")


def test_ten_thousand_runs_are_listed_quickly_and_hold_up_no_state(web: Web, writer: Store) -> None:
    for first in range(0, 10_000, 2000):
        names = [f"sweep/{i}" for i in range(first, first + 2000)]
        writer.append([Points(name, HOST, ("loss",), (1.0,), T0, 1) for name in names])
        writer.append(
            [RunInfo(name, {"kind": "training", "argv": ["x" * 100] * 50, "config": {"steps": 10}}) for name in names]
        )
    answer = web.ask("/api/v1/runs")
    assert len(answer.json["runs"]) == 10_001 and answer.json["runs"][-1]["info"]["config"] == {"steps": 10}
    assert len(answer.body) < 10e6
    found = answer.json
    assert times(lambda: web.ask("/api/v1/runs"), lambda: json.dumps(found)) < 30, "the server is in this process"

    async def used_of_states() -> list[float]:
        async with websockets.connect(url(web)) as client:
            times = []
            for _ in range(3):
                await next_of(client, "state")
                times.append(time.process_time())
            return [later - before for before, later in itertools.pairwise(times)]

    began_s = time.process_time()
    json.dumps(found)
    assert min(run(used_of_states())) < 50 * (time.process_time() - began_s)


def test_a_socket_that_is_closing_keeps_no_other_from_being_closed(writer: Store, tmp_path: Path) -> None:
    """As it ends uvicorn closes each, and fails at one whose client has begun to close and does not read."""

    async def code_of(web: Web) -> int:
        async with websockets.connect(url(web)) as other:
            await next_of(other, "state")
            assert web.server is not None
            web.server.should_exit = True
            await asyncio.wait_for(other.wait_closed(), 60)
            return other.close_code or 0

    with served_below(tmp_path) as web, deaf(web) as client:
        assert web.server is not None
        edge = web.server.edge

        def is_held_up() -> bool:
            writer.append([LogLine("a", "train.log", T0, 20, "x" * 10_000) for _ in range(100)])
            return any(one.get_write_buffer_size() for one in edge.connections)

        wait_for(is_held_up)
        client.sendall(b"\x88\x80" + bytes(4))  # a close frame
        wait_for(lambda: any(one.is_closing() for one in list(edge.connections)))
        assert run(code_of(web)) == 1012
