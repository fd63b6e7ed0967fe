"""Requests as bytes, and the answers to several of them on one connection."""

from __future__ import annotations

import http.client
import socket

from tests.support.serving import Web

SOCKET = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


def asked(path: str, body: bytes = b"", more: str = "", method: str = "POST", version: str = "1.1") -> bytes:
    return (
        f"{method} {path} HTTP/{version}\r\nHost: localhost\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def chunked(path: str, *chunks: bytes, more: str = "", trailers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{more}Transfer-Encoding: chunked\r\n\r\n"
    return (
        head.encode()
        + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        + f"0\r\n{trailers}\r\n".encode()
    )


def opened(web: Web) -> socket.socket:
    return socket.create_connection(("127.0.0.1", web.port), timeout=60)


class Answers:
    """That follow each other: `http.client` would read on into the next, and close."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self.readline, self.read = self._file.readline, self._file.read
        self.flush = self.close = lambda: None

    def makefile(self, mode: str) -> Answers:
        return self

    def next(self, method: str = "GET") -> tuple[int, bytes]:
        response = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type]
        response.begin()
        return response.status, response.read()


def answer_of(connection: socket.socket) -> tuple[int, bytes]:
    return Answers(connection).next()


def all_of(connection: socket.socket) -> bytes:
    """Until the server's end."""
    return b"".join(iter(lambda: connection.recv(65536), b""))
