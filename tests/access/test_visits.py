"""The socket and long answers: for whom they are, and that they end with the token."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import websockets
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from access.hosts import Access
from access.roles import Role, needs
from access.tokens import LoginLimiter, Tokens
from dashboard.audit import Audit
from dashboard.auth import CLOSE_S, LOOK_S, AuthMiddleware
from tests.support.auth_house import House, as_other_user, bearer
from tests.support.auth_house import house as house  # a fixture
from tests.support.other_clients import PROXIED, Asked
from tests.support.serving import run, served_app


async def state_of(house: House, path: str = "/api/v1/live", **headers: str) -> dict[str, Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with websockets.connect(f"ws://127.0.0.1:{house.port}{path}", additional_headers=given) as socket:
        return json.loads(await asyncio.wait_for(socket.recv(), 20))


def test_the_socket_is_for_owners_and_viewers(house: House) -> None:
    assert run(state_of(house))["log_dir"] == str(house.data_dir)
    assert (
        run(state_of(house, Authorization=bearer(house, "viewer"), **PROXIED))["log_dir"] == f"…/{house.data_dir.name}"
    )
    for headers in (
        PROXIED,
        {"Authorization": bearer(house, "writer")},
        {"Authorization": "Bearer dsk_" + "B" * 43},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ):
        with pytest.raises(websockets.InvalidStatus):
            run(state_of(house, **headers))
    with pytest.raises(websockets.InvalidStatus):  # Dash's own
        run(state_of(house, "/_dash-ws-callback", Authorization=bearer(house, "viewer"), **PROXIED))


def test_the_socket_of_another_local_user_is_refused(house: House) -> None:
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert as_other_user(house, [Asked("GET", "/api/v1/live", handshake)])[0].status == 403
    handshake["Authorization"] = bearer(house, "viewer")
    assert as_other_user(house, [Asked("GET", "/api/v1/live", handshake)])[0].status in (0, 101)


@pytest.mark.parametrize("how", ["revoked", "rotated", "expired", "damaged"])
def test_a_socket_ends_within_two_seconds_of_its_token(house: House, how: str) -> None:
    tokens = house.tokens
    expires_s = time.time() + 1.5 if how == "expired" else None
    secret = tokens.new(f"socket-{how}", Role.VIEWER, expires_s, {})

    async def closed() -> tuple[int, float]:
        headers = {"Authorization": f"Bearer {secret}"}
        async with websockets.connect(f"ws://127.0.0.1:{house.port}/api/v1/live", additional_headers=headers) as socket:
            await socket.recv()
            begun_s, before = time.time(), b""
            match how:
                case "revoked":
                    tokens.revoke(f"socket-{how}")
                case "rotated":
                    tokens.rotate(f"socket-{how}")
                case "expired":
                    begun_s = expires_s or 0.0
                case _:
                    before = tokens.path.read_bytes()
                    tokens.path.write_bytes(b"{")
            try:
                async with asyncio.timeout(60):
                    while True:
                        await socket.recv()
            except websockets.ConnectionClosed as error:
                return error.rcvd.code if error.rcvd else 0, time.time() - begun_s
            finally:
                if before:
                    tokens.path.write_bytes(before)

    code, after_s = run(closed())
    assert code == 4401 and after_s < 30.0, "two seconds at rest"
    assert LOOK_S + CLOSE_S < 2.0


def test_a_long_answer_ends_within_two_seconds_of_its_token(tmp_path: Path) -> None:
    app = FastAPI()

    @app.get("/slow")
    @needs(Role.VIEWER)
    async def slow() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                yield b"part"
                await asyncio.sleep(0.05)

        return StreamingResponse(parts())

    tokens = Tokens(tmp_path)
    app.add_middleware(
        AuthMiddleware, access=Access(), tokens=tokens, audit=Audit(tmp_path), limit=LoginLimiter(), others={}
    )
    secret = tokens.new("long", Role.VIEWER, None, {})
    with served_app(app) as web, closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)) as connection:
        connection.request("GET", "/slow", headers={"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        assert answer.read(4) == b"part"
        tokens.revoke("long")
        begun_s = time.monotonic()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        assert time.monotonic() - begun_s < 30.0
