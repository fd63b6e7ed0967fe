"""Limits of a connection over HTTP below its requests, which uvicorn does not have: how long and how large a head may be, how long a body, and whether the client reads."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ...extras import needed
from ..core.refusal import RefusalKind, ServingRefusal
from .http_call import SEND_S, sentence

HEAD_S = 30.0  # for the first line and the headers of a request
BODY_S = 30.0  # for all of its body
MOST_HEAD_BYTES = 64 << 10
LINGER_S = 2.0
IDLE_S = 0.3  # that a kept connection stays open as the server stops


def guarded(protocol: Any) -> Any:
    """A class of uvicorn's `protocol`: h11's or httptools'. Requests know whose process is at the other end (the dashboard's `Peer`)."""
    peers = needed("dashboard.auth.peers")

    class GuardedProtocol(protocol):
        """A client that neither ends its head or body nor reads its answers is left; what is no HTTP gets one sentence."""

        app: Any
        _is_refused = _is_ending = False
        _head_bytes = 0
        _head_timer: Any = None
        _body_timer: Any = None
        _write_timer: Any = None
        _unwritten = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            peer, app = peers.Peer(transport), self.app

            def with_peer(scope: Any, receive: Any, send: Any) -> Any:
                scope.setdefault("extensions", {})[peers.PEER] = peer
                return app(scope, receive, send)

            self.app = with_peer
            self._head_timer = self.loop.call_later(HEAD_S, self._head_is_late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_head()
            self._end_body()
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                return
            before = self.cycle
            is_head = (
                before is None or not before.more_body
            )  # of the next request; more may come of a body that is not wanted
            super().data_received(data)
            if self.cycle is not before:
                self._end_head()
                self._end_body()  # of the request before: this one has a time of its own
                if self._is_ending:
                    self.cycle.keep_alive = False
            elif is_head or before.response_complete:
                self._head_timer = self._head_timer or self.loop.call_later(HEAD_S, self._head_is_late)
                self._head_bytes += len(data) if is_head else 0
                if self._head_bytes > MOST_HEAD_BYTES:
                    self._refuse(
                        RefusalKind.LONG_HEAD,
                        f"the headers are longer than {MOST_HEAD_BYTES >> 10} KiB; send shorter ones",
                    )
            cycle = self.cycle
            if cycle is not None and cycle.more_body and not self._is_refused:
                self._body_timer = self._body_timer or self.loop.call_later(BODY_S, self._body_is_late)
            else:
                self._end_body()

        def shutdown(self) -> None:
            """As the server stops. A request that is on its way to a kept connection still gets its answer, its 503 that is."""
            self._is_ending = True
            if self.cycle is None or self.cycle.response_complete:
                self.loop.call_later(IDLE_S, super().shutdown)
            else:
                super().shutdown()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reader()

        def resume_writing(self) -> None:
            if self._write_timer:
                self._write_timer.cancel()
                self._write_timer = None
            if self.flow is not None:
                super().resume_writing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._watch_reader()

        def send_400_response(self, msg: str) -> None:
            self._refuse(RefusalKind.BAD, "this is no request of HTTP/1.1; see docs/serving.md for what there is")

        def _refuse(self, kind: RefusalKind, text: str) -> None:
            """Instead of a request, or of one whose body is broken. An answer that is under way is not cut: the connection ends behind it."""
            self._end_head()
            if self.transport.is_closing() or self._is_refused:
                return
            cycle = self.cycle
            if cycle and not cycle.response_complete:
                if cycle.response_started or not cycle.more_body or getattr(self, "pipeline", None):
                    cycle.keep_alive = False
                    return
                cycle.disconnected = True  # this is its answer
                cycle.message_event.set()
            self._is_refused = True
            self.transport.write(_raw(kind, text))
            self.transport.write_eof()
            self.loop.call_later(LINGER_S, self._end)

        def _end(self) -> None:
            """Not at once: what the client still sends would reset the connection, and it could not read why."""
            self.transport.close()
            self._watch_reader()

        def _end_head(self) -> None:
            self._head_bytes = 0
            if self._head_timer:
                self._head_timer.cancel()
                self._head_timer = None

        def _end_body(self) -> None:
            if self._body_timer:
                self._body_timer.cancel()
                self._body_timer = None

        def _body_is_late(self) -> None:
            self._body_timer = None
            self._refuse(RefusalKind.SLOW, f"the body did not come within {BODY_S:g} s; send it again")

        def _head_is_late(self) -> None:
            self._head_timer = None
            if self.cycle is None and not self._head_bytes:
                self.transport.close()
            else:
                self._refuse(RefusalKind.SLOW, f"the headers did not come within {HEAD_S:g} s; send the request again")

        def _watch_reader(self) -> None:
            """While something is not written: a client that has read nothing in SEND_S is left, with what it did not read."""
            self._unwritten = self.transport.get_write_buffer_size()
            if self._unwritten and not self._write_timer:
                self._write_timer = self.loop.call_later(SEND_S, self._reader_is_late)

        def _reader_is_late(self) -> None:
            self._write_timer = None
            if self.transport.get_write_buffer_size() >= self._unwritten:
                self.transport.abort()
            else:
                self._watch_reader()

    return GuardedProtocol


def _raw(kind: RefusalKind, text: str) -> bytes:
    content = sentence(ServingRefusal(kind, text)).content
    head = f"HTTP/1.1 {kind.http} {HTTPStatus(kind.http).phrase}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\nconnection: close\r\n\r\n".encode() + content
