"""The HTTP server: uvicorn with limits on what a connection may cost."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
import time
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

from access.hosts import Access, CertificateReloader
from access.peers import PEER, Peer

from .network import NONE, WAITING

SILENT_S = 15.0  # a connection whose request is not complete by then is closed
HALF_CLOSED_S = 0.25  # a client that sends no more may still read, or be gone: an answer has as long to begin
MAX_REQUEST_BYTES = 256 << 10  # headers and body together
MAX_INGESTED_BYTES = 4 << 20  # of a request that hands over a file's bytes; few of them are read at once
INGEST = b"/api/v1/ingest/"
MAX_KEPT_BYTES = 64 << 10  # of requests that follow one that is being answered: beyond it no more is received
PIECES_A_TURN = 1000  # are parsed in about 2 ms
MAX_DISCARDED_BYTES = (
    256 << 20
)  # of a request that is too large: a client that sends all of it first reads the answer then
MAX_CONNECTIONS = 512
OURS = 100  # descriptors that are not connections: files of the store, libraries
ABORT = "deepseek.abort"  # the extension of a socket's scope: end the connection now, whatever waits to be sent


def _refusal(status: str, sentence: str) -> bytes:
    body = b'{"error":"%s"}' % sentence.encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


TOO_LARGE = _refusal(
    "413 Content Too Large",
    "a request has at most 256 kB, one to /api/v1/ingest at most 4 MiB of a file: send it in parts",
)
NO_REQUEST = _refusal(
    "400 Bad Request", "this cannot be read as a request of HTTP/1.1: check its first line, headers and chunks"
)
NO_SOCKET = _refusal("400 Bad Request", "a request for a WebSocket has no body, and at most 128 headers of 8 kB")


class TooLarge(Exception):
    """Stops the parser."""


class ReadBuffer(FlowControl):
    """What a connection has received that is not parsed yet. While that is much, no more is received, whatever asks for it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.kept = bytearray()
        self._receives = True

    def keep(self, data: bytes) -> None:
        self.kept += data
        self._receive_or_not()

    def take(self, size: int) -> bytes:
        taken = bytes(self.kept[:size])
        del self.kept[:size]
        self._receive_or_not()
        return taken

    def pause_reading(self) -> None:
        self.read_paused = True
        self._receive_or_not()

    def resume_reading(self) -> None:
        self.read_paused = False
        self._receive_or_not()

    def _receive_or_not(self) -> None:
        receives = not self.read_paused and len(self.kept) <= MAX_KEPT_BYTES
        if receives != self._receives:
            self._receives = receives
            (self._transport.resume_reading if receives else self._transport.pause_reading)()


class Http(HttpToolsProtocol):
    """Closes idle and oversized connections; over the limit, the one idle longest.

    Requests are parsed one by one: what follows a request waits, unparsed, for its answer. So `cycle` is what is being received or
    answered, and no other.

    Of its time there is always a limit, unless an answer is being worked on: `_silent` until a request is complete, and uvicorn's
    for what is kept alive from then, or from the answer, until the next request begins.
    """

    flow: ReadBuffer
    ingest = INGEST  # how addresses begin whose requests may be longer, unquoted: a proxy writes them in its own way

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = ReadBuffer(transport)
        self._extensions = {PEER: Peer(transport), ABORT: transport.abort}
        self._answered_to = SimpleNamespace(write=transport.write, is_closing=transport.is_closing, close=self._close)
        self._head_bytes = self._body_bytes = (
            0  # the former are those since the last of the latter, so that trailers count
        )
        self._left_bytes = 0  # of a body whose length is known
        self._most_bytes = MAX_REQUEST_BYTES
        self._complete = self._has_headers = False
        self._ends = False  # what still comes is thrown away
        self._is_half_closed = False
        self._turn: asyncio.Handle | None = None  # when parsing goes on
        self._silent = self.loop.call_later(SILENT_S, self._end_silent)
        if len(self.connections) > most_connections():
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if self._ends:
            self._discard(len(data))
            return
        self.flow.keep(data)
        self._parse_on()

    def _parse_on(self) -> None:
        """To the end of a request, and by turns with other connections."""
        if self._turn is not None:
            return
        for _ in range(PIECES_A_TURN):
            if self._owes or self._ends or not self.flow.kept or self.transport.is_closing():
                break
            self._parse(self.flow.take(self._left_bytes or self.flow.kept.find(b"\n") + 1 or len(self.flow.kept)))
        else:
            self._turn = self.loop.call_soon(self._take_turn)
        if self._is_half_closed and self._turn is None:
            self._end_if_answered()

    def _take_turn(self) -> None:
        self._turn = None
        self._parse_on()

    def _parse(self, piece: bytes) -> None:
        """A line, or of a body whose length is known no more than that: nothing else shows where a request ends."""
        before = self._body_bytes
        try:
            self._feed(piece)
        except httptools.HttpParserError as error:
            is_too_large = isinstance(error.__context__, TooLarge)
            if not is_too_large:
                self.logger.warning("Invalid HTTP request received.")
            self._refuse(TOO_LARGE if is_too_large else NO_REQUEST)
            return
        self._head_bytes = self._head_bytes + len(piece) if self._body_bytes == before else 0
        if self._head_bytes > MAX_REQUEST_BYTES and not self._ends:
            self.transport.abort()

    def _feed(self, piece: bytes) -> None:
        """The parser takes a request with `Upgrade` for one without a body. Unless it asks for a WebSocket its head is read again,
        without that header: curl and Java send it along with bodies, and may be answered as if it were not there."""
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._become_socket()
                return
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            if method == b"CONNECT":
                raise httptools.HttpParserError("the method CONNECT") from None
            headers = b"".join(b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
            self.parser = httptools.HttpRequestParser(
                self
            )  # the other one may have come to what it takes for the last request
            self.parser.feed_data(b"%s %s HTTP/%s\r\n%s\r\n" % (method, self.url, version, headers))

    def _get_upgrade(self) -> bytes | None:
        asked = super()._get_upgrade()
        return asked and asked.strip()

    def _become_socket(self) -> None:
        self._ends = True
        if self._is_half_closed:  # no handshake will come to its end
            self.transport.close()
            return
        self.scope["method"] = self.parser.get_method().decode()
        self.handle_websocket_upgrade()
        early = self.flow.take(len(self.flow.kept))
        self.flow.resume_reading()
        if early:
            self.transport.get_protocol().data_received(early)  # type: ignore[attr-defined]

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether the connection stays, to be written to."""
        if not self.transport.can_write_eof():
            return False
        self._is_half_closed = True
        self._parse_on()
        return True

    def _end_if_answered(self) -> None:
        if self._owes:
            self._silent.cancel()
            self._silent = self.loop.call_later(HALF_CLOSED_S, self._end_half_closed)
        else:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._head_bytes, self._body_bytes, self._left_bytes = 0, 0, 0
        self._complete, self._has_headers = False, False
        self._unset_keepalive_if_required()
        self._limit_silence()
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_headers:  # not a trailer, which would change the headers of a request that is being answered
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        is_ingested = unquote_to_bytes(self.url).startswith(self.ingest)
        self._most_bytes = MAX_REQUEST_BYTES + (MAX_INGESTED_BYTES if is_ingested else 0)
        self._left_bytes = next((int(value) for name, value in self.headers if name == b"content-length"), 0)
        super().on_headers_complete()
        self.cycle.transport = self._answered_to  # type: ignore[assignment]
        self._has_headers = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, partial(_as_asked, cycle, app))

    def on_body(self, body: bytes) -> None:
        self._left_bytes = max(0, self._left_bytes - len(body))
        if self.cycle.response_complete:  # what answers without reading leaves the connection to the next request
            self._discard(len(body))
        elif self._body_bytes + len(body) > self._most_bytes:
            raise TooLarge
        else:
            self._body_bytes += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._complete = True
        self._silent.cancel()
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        if self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._parse_on()

    def timeout_keep_alive_handler(self) -> None:
        if self._complete:  # else it is the answer that was early
            super().timeout_keep_alive_handler()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.cancel()
        self._ends = True
        self._answered_to.close = self.transport.close  # holds this connection no more
        super().connection_lost(exc)

    @property
    def _owes(self) -> bool:
        """Whether a request that came whole waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _refuse(self, answer: bytes) -> None:
        """What is being received: the rest of a request that is being answered, or one that begins."""
        is_answered = self._has_headers and not self._complete
        if is_answered:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not is_answered or not self.cycle.response_started:
            self.transport.write(answer)
        self._linger()

    def _close(self) -> None:
        """After an answer, or where none will be complete."""
        is_last = self._complete and not (self.flow.kept and self.transport.can_write_eof())
        if is_last or not self.cycle.response_complete or self.transport.is_closing():
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Say no more, and read on: to close now would reset the connection, and the answer would be lost."""
        if self._is_half_closed:
            self.transport.close()
            return
        self._ends, self._complete = True, False
        self._limit_silence()
        if self.transport.can_write_eof():  # not within TLS, where the length says where it ends
            self.transport.write_eof()
        self._discard(len(self.flow.take(len(self.flow.kept))))
        self.flow.resume_reading()

    def _discard(self, count: int) -> None:
        self._body_bytes += count
        if self._body_bytes > MAX_DISCARDED_BYTES:
            self.transport.abort()

    @property
    def waits(self) -> bool:
        """Whether nothing was asked, or everything answered."""
        return self.cycle is None or not self._complete or self.cycle.response_complete

    def _limit_silence(self) -> None:
        self._silent.cancel()
        self._silent = self.loop.call_later(SILENT_S, self._end_silent)

    def _end_half_closed(self) -> None:
        if not self.cycle.response_started:  # else what is written shows whether the client is gone
            self.transport.close()

    def _end_silent(self) -> None:
        if not self._complete:
            self.transport.abort()

    def _make_room(self) -> None:
        idle = [other for other in self.connections if isinstance(other, Http) and other.waits and other is not self]
        (min(idle, key=lambda other: other._silent.when()) if idle else self).transport.abort()


def most_connections() -> int:
    """As many as there are descriptors for, besides our own."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(MAX_CONNECTIONS, limit - OURS if limit != resource.RLIM_INFINITY else MAX_CONNECTIONS))


async def _as_asked(cycle: RequestResponseCycle, app: Any, scope: Any, receive: Any, send: Any) -> None:
    """What applications need not know: a HEAD is a GET without the body of its answer, and HTTP/1.0 has no chunks, so that there an
    answer of unknown length ends with the connection."""
    has_length = True

    async def send_unchunked(message: Any) -> None:
        nonlocal has_length
        if message["type"] == "http.response.start":
            has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            if not has_length:
                cycle.chunked_encoding = cycle.keep_alive = False
        elif not has_length:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    is_head, is_old = scope["method"] == "HEAD", scope["http_version"] != "1.1"
    await app({**scope, "method": "GET"} if is_head else scope, receive, send_unchunked if is_old else send)


# The HTTP server of the web application.

GRACE_S = 1  # for open requests at the end; a WebSocket would hold the server for ever
HANDSHAKE_S = 5.0  # of TLS: until it is over a connection does not count
MAX_MESSAGE_BYTES = 64 << 10  # of a WebSocket
SAID_AGAIN_S = 60.0


class RateLimitFilter(logging.Filter):
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


SELDOM = RateLimitFilter()


class Server(uvicorn.Server):
    """Speaks TLS on its addresses where there is a certificate, and plainly on Unix sockets. Ends whether or not its clients read."""

    renewing: CertificateReloader | None = None

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
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # the machine is the same, or the tunnel compresses
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(SELDOM)  # once, however often
    server = Server(config)
    server.renewing = CertificateReloader(access.certificate) if access.certificate is not None else None
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
