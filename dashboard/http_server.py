"""The HTTP server of the dashboard: uvicorn behind the edge, with TLS where there is a certificate."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from urllib.parse import unquote

import uvicorn
from fastapi import FastAPI

from access.bodies import BodyLimits, LimitBodies, PlainAnswers, Scope
from access.hosts import Access, CertificateReloader
from access.http import NEVER_S, Edge, Limits

from .network import WAITING

LIMITS = Limits(
    head_s=15.0, head_bytes=256 << 10, body_s=15.0, idle_s=5.0, send_s=30.0, connections=512, client_share=0.75
)
GRACE_S = 1  # for open requests at the end; a WebSocket would hold the server for ever
HANDSHAKE_S = 5.0  # of TLS: until it is over a connection does not count
MAX_MESSAGE_BYTES = 64 << 10  # of a WebSocket

MAX_REQUEST_BYTES = 256 << 10
MAX_INGESTED_BYTES = 4 << 20  # of a request that hands over a file's bytes; few of them are read at once
INGEST = "/api/v1/ingest/"
TOO_LARGE = "a request has at most 256 kB, one to /api/v1/ingest at most 4 MiB of a file: send it in parts"
MAX_READING_BYTES = 256 << 20  # of all requests whose bodies are half there


class Server(uvicorn.Server):
    """Speaks TLS on its addresses where there is a certificate, and plainly on Unix sockets. Ends whether or not its clients read."""

    def __init__(self, config: uvicorn.Config, edge: Edge, certificate: CertificateReloader | None) -> None:
        super().__init__(config)
        self.edge, self._certificate = edge, certificate

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        listeners = sockets or []
        plain = [each for each in listeners if self._certificate is None or each.family == socket.AF_UNIX]
        await super().startup(plain)
        if self._certificate is not None:
            secured = [each for each in listeners if each not in plain]
            self.servers += [await self._secured(each, self._certificate.context) for each in secured]

    async def _secured(self, listener: socket.socket, context: ssl.SSLContext) -> asyncio.Server:
        def connection() -> asyncio.Protocol:
            return self.edge.protocol(self.config, self.server_state, self.lifespan.state)

        loop = asyncio.get_running_loop()
        return await loop.create_server(
            connection, sock=listener, ssl=context, ssl_handshake_timeout=HANDSHAKE_S, backlog=WAITING
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.edge.abort(closing_only=True)  # uvicorn fails at a WebSocket whose client has begun to close
        await asyncio.sleep(0)
        await super().shutdown(sockets)
        self.edge.abort()  # what waits for them to read would keep the event loop open


def server_of(app: FastAPI, access: Access | None = None, limits: Limits = LIMITS) -> Server:
    """`run(sockets=[...])` serves until the process is to end. Raises BadCertificate."""
    access = access or Access()
    edge = Edge(limits)
    ingest = unquote(access.base_path.rstrip("/")) + INGEST

    def most_bytes(scope: Scope) -> int:
        return MAX_REQUEST_BYTES + (MAX_INGESTED_BYTES if scope["path"].startswith(ingest) else 0)

    bodies = BodyLimits(most_bytes, TOO_LARGE, MAX_READING_BYTES, limits.body_s)
    config = uvicorn.Config(
        edge.around(PlainAnswers(LimitBodies(app, bodies))),
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # a client may not say where it comes from
        server_header=False,
        http=edge.protocol,  # type: ignore[arg-type]  # what makes a protocol
        timeout_keep_alive=NEVER_S,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # the machine is the same, or the tunnel compresses
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").addFilter(_without_bad_text)
    certificate = CertificateReloader(access.certificate) if access.certificate is not None else None
    return Server(config, edge, certificate)


def _without_bad_text(record: logging.LogRecord) -> bool:
    """uvicorn writes a traceback for each WebSocket whose client sends text that is not UTF-8, and closes it with code 1007: that is enough."""
    return not str(record.msg).startswith("Invalid UTF-8 sequence")
