"""The HTTP server of the web application, and what a single connection may cost it."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI

GRACE_S = 1  # for open requests at the end; a WebSocket would hold the server for ever


def server_of(app: FastAPI) -> uvicorn.Server:
    """`run(sockets=[...])` serves until the process is told to end."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # a client may not say where it comes from
        server_header=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # the machine is the same, or the tunnel compresses
        timeout_graceful_shutdown=GRACE_S,
    )
    return uvicorn.Server(config)
