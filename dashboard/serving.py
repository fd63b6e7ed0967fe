"""The HTTP server of the web application."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

from .auth.hosts import Access
from .auth.peers import PEER, Peer
from .connection import ABORT, INGEST, NO_SOCKET, Http
from .reach.base_path import NONE
from .reach.certificate import Renewing
from .reach.listening import WAITING

GRACE_S = 1  # for open requests at the end; a WebSocket would hold the server for ever
HANDSHAKE_S = 5.0  # of TLS: until it is over a connection does not count
MOST_MESSAGE_BYTES = 64 << 10  # of a WebSocket
SAID_AGAIN_S = 60.0


class Seldom(logging.Filter):
    """A message at most once a minute: what uvicorn says of requests that are none, which anyone may send by the thousand."""

    def __init__(self) -> None:
        super().__init__()
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now_s, text = time.monotonic(), str(record.msg)  # without its arguments: a few texts
        if now_s - self._said_s.get(text, -SAID_AGAIN_S) < SAID_AGAIN_S:
            return False
        self._said_s[text] = now_s
        return True


SELDOM = Seldom()


class Server(uvicorn.Server):
    """Speaks TLS on its addresses where there is a certificate, and plainly on Unix sockets. Ends whether or not its clients read."""

    renewing: Renewing | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        listeners = sockets or []
        plain = [each for each in listeners if self.renewing is None or each.family == socket.AF_UNIX]
        await super().startup(plain)
        if self.renewing is not None:
            secured = [each for each in listeners if each not in plain]
            self.servers += [await self._secured(each, self.renewing.context) for each in secured]

    async def _secured(self, listener: socket.socket, context: ssl.SSLContext) -> asyncio.Server:
        def connection() -> asyncio.Protocol:
            kind: Any = self.config.http_protocol_class
            return kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)  # type: ignore[no-any-return]

        loop = asyncio.get_running_loop()
        return await loop.create_server(
            connection, sock=listener, ssl=context, ssl_handshake_timeout=HANDSHAKE_S, backlog=WAITING
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(
            self.server_state.connections
        ):  # what waits for them to read would keep the event loop open
            connection.transport.abort()


def server_of(app: FastAPI, access: Access | None = None) -> Server:
    """`run(sockets=[...])` serves until the process is to end. Raises BadCertificate."""
    access = access or Access()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # a client may not say where it comes from
        server_header=False,
        http=Http if access.base_path == NONE else _below(access.base_path),
        ws=Socket,
        ws_max_size=MOST_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # the machine is the same, or the tunnel compresses
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(SELDOM)  # once, however often
    server = Server(config)
    server.renewing = Renewing(access.certificate) if access.certificate is not None else None
    return server


def _below(base: str) -> type[Http]:
    return type("HttpBelow", (Http,), {"ingest": unquote_to_bytes(base.rstrip("/")) + INGEST})


class Socket(WebSocketsSansIOProtocol):
    """Hands the application the means to end a connection whose client does not read: `close` would wait for it."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if (
            self.conn.handshake_exc is not None and not self.handshake_initiated
        ):  # it could not be read, of which nothing is said
            self.conn.handshake_exc, self.handshake_initiated = None, True
            self.transport.write(NO_SOCKET)
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope: dict[str, Any] | None = getattr(self, "scope", None)  # none where the handshake was refused
        if scope is not None:
            scope["extensions"][ABORT] = self.transport.abort
            scope["extensions"][PEER] = Peer(self.transport)

    def shutdown(self) -> None:
        """At the server's end; one that is being closed already must not keep the others from it."""
        with suppress(InvalidState):
            super().shutdown()
        self.transport.close()
