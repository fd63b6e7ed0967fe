"""The HTTP edge of a server: uvicorn's protocols, each connection within limits that ASGI cannot set.

    edge = Edge(LIMITS)
    uvicorn.Config(edge.around(app), http=edge.protocol, timeout_keep_alive=NEVER_S, ...)

A `Connection` stands between the event loop and uvicorn's protocol: to the loop it is the protocol, to uvicorn the transport. It hands
over one whole head at a time, then its body, and the next request once the one before is answered. So it knows what each connection
is doing, and closes those that are slow, silent, too many, or that do not read. What can be decided with a request in hand (its
size, its host, its token) is for ASGI middleware: see `access.bodies`.

A WebSocket stays within its `Connection`: uvicorn hands the transport, which is the `Connection`, to its other protocol. It counts as a
connection that is never idle, and is closed if it does not read. Its frames are handed over one a turn, and no faster than `FRAMES_A_S`
and `FRAME_BYTES_A_S`: what else a client sends waits in its system, and a client that goes on and on is closed with code 1008. The size
of messages and the pings are settings of uvicorn.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .peers import PEER, Peer

ABORT = "deepseek.abort"  # the extension of a scope: end the connection now, whatever waits to be sent
CONNECTION = "deepseek.connection"  # in the state of a scope, between uvicorn and `Edge.around`
NEVER_S = 86400  # uvicorn's own time for idle connections

MAX_KEPT_BYTES = 64 << 10  # of requests that follow one that is being answered: beyond it no more is received
MAX_DISCARDED_BYTES = 256 << 20  # of a refused request: a client that sends all of it first then reads the answer
MAX_DISCARDED_HEAD_BYTES = 4 << 20
MAX_SOCKET_HEADERS, MAX_SOCKET_LINE = 128, 8190  # of the library for WebSockets
FRAMES_A_S, FRAME_BYTES_A_S = 20, 256 << 10  # of a WebSocket: a page sends a few a second
FRAME_BURST_S = 3.0  # so much of that at once, after a pause
FLOOD_S = 3.0  # with more than that, and no pause: the client is cut off
MAX_UNREAD_FRAMES = 64  # handed over while the client does not read: each may be answered
LINES_A_TURN = 1000  # of chunks, before other connections have their turn: about 2 ms
STOPPING_S = 0.3  # for a request that is on its way to an idle connection as the server stops
OWN_DESCRIPTORS = 100  # which are not connections: files, libraries

NO_REQUEST = "this cannot be read as a request of HTTP/1.1: check its first line, headers and chunks"
FLOOD = f"more than {FRAMES_A_S} frames or {FRAME_BYTES_A_S >> 10} KiB a second; send less, then connect again"
NO_SOCKET = "a request for a WebSocket is a GET without a body, with at most 128 headers of 8 kB"


class Limits(NamedTuple):
    """What a connection may cost. A client's share of `connections` is a part from 0 to 1: one address beyond it closes its own."""

    head_s: float = 15.0  # until the headers are complete, or the rest of a request that is answered already
    head_bytes: int = 256 << 10
    body_s: float = 15.0  # until a body is complete that is waited for: see `access.bodies`
    idle_s: float = 5.0  # between an answer and the next request
    half_closed_s: float = 0.25  # until an answer begins to a client that sends no more: it may read, or be gone
    send_s: float = 30.0  # in which a client must read something
    connections: int = 512
    client_share: float = 0.75


class Edge:
    """All connections of a server. `sockets`: whether requests for WebSockets are taken as such."""

    def __init__(self, limits: Limits, *, sockets: bool = True) -> None:
        self.limits, self.sockets = limits, sockets
        self.connections: set[Connection] = set()
        self._counts: Counter[str] = Counter()  # by client

    def protocol(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> Connection:
        """For uvicorn: `http=edge.protocol`."""
        return Connection(self, lambda state: HttpToolsProtocol(config, server_state, {**app_state, **state}, _loop))

    def around(self, app: Any) -> Any:
        """ASGI middleware, outside of all others: connections see how far their answers are, and scopes have PEER and ABORT."""

        async def tracked(scope: Any, receive: Any, send: Any) -> None:
            connection: Connection | None = scope.get("state", {}).pop(CONNECTION, None)
            if connection is not None:
                extensions = {PEER: connection.peer, ABORT: connection.abort}
                scope["extensions"] = {**scope.get("extensions", {}), **extensions}
                if scope["type"] == "http":
                    send = connection.tracking(send)
            await app(scope, receive, send)

        return tracked

    def add(self, newest: Connection) -> None:
        """Where there are too many of one client or of all, the one that is idle longest is closed; if none is idle, the newest."""
        self.connections.add(newest)
        self._counts[newest.client] += 1
        most = most_connections(self.limits)
        has_share = self._counts[newest.client] > max(1, int(most * self.limits.client_share))
        if has_share or len(self.connections) > most:
            idle = [
                each for each in self.connections if each.is_idle and (each.client == newest.client or not has_share)
            ]
            min(idle, key=lambda each: (each is newest, each.since_s), default=newest).abort()

    def remove(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
            self._counts[connection.client] -= 1
            if not self._counts[connection.client]:
                del self._counts[connection.client]

    def abort(self, *, closing_only: bool = False) -> None:
        """Ends all connections, or those that wait for their client to read before they close."""
        for each in list(self.connections):
            if not closing_only or each.is_closing():
                each.abort()


def most_connections(limits: Limits) -> int:
    """As many as there are descriptors for, besides our own."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return limits.connections
    return max(min(16, limits.connections), min(limits.connections, descriptors - OWN_DESCRIPTORS))


class Connection(asyncio.Protocol, asyncio.Transport):
    """The loop's protocol and uvicorn's transport.

    At any time its client sends a request (`_request` is not complete), waits for the answer, or is idle (no `_request`); or it is refused
    and what it still sends is discarded (`_lingers`); or it speaks WebSocket.
    """

    peer: Peer
    client: str  # its address
    since_s: float  # when its client began to do what it does

    def __init__(self, edge: Edge, inner_of: Callable[[dict[str, Any]], Any]) -> None:
        """`inner_of` makes uvicorn's protocol, with something more in the state of its scopes."""
        super().__init__()
        self._edge, self._limits = edge, edge.limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # until it is connected
        self._inner = inner_of({CONNECTION: self})
        self._is_http = True
        self._kept = bytearray()  # received, and not handed over yet
        self._searched = 0  # bytes of it that hold no end of a head
        self._request: _Request | None = None
        self._lingers = self._is_half_closed = self._stops = self._is_lost = False
        self._pace = _Pace()
        self._discarded, self._most_discarded = 0, MAX_DISCARDED_BYTES
        self._timer: asyncio.TimerHandle | None = None  # of what the client has to do next
        self._turn: asyncio.Handle | None = None
        self._frame_left = self._unread_frames = 0  # bytes of the frame that is being handed over
        self._inner_reads = self._reads = True
        self._is_unread = False  # the transport has enough to write
        self._written = self._taken = 0  # bytes handed to the transport, and by it to the client
        self._reader_timer: asyncio.TimerHandle | None = None

    # The protocol of the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport, self.peer = transport, Peer(transport)
        self.client = self.peer.address
        self._inner.connection_made(self)
        self._await_client(self._limits.head_s)
        self._edge.add(self)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            self._discard(len(data))
        else:
            self._kept += data
            self._go_on()

    def eof_received(self) -> bool:
        """Whether the connection stays, to be written to."""
        if not self._is_http or not self._transport.can_write_eof():
            return False
        self._is_half_closed = True
        self._go_on()
        return not self._lingers

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._edge.remove(self)
        for handle in (self._timer, self._turn, self._reader_timer):
            if handle is not None:
                handle.cancel()
        self._leave_inner()

    def pause_writing(self) -> None:
        self._is_unread = True
        self._inner.pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        if self._reader_timer is not None and not self._transport.is_closing():
            self._reader_timer.cancel()
            self._reader_timer = None
        self._inner.resume_writing()
        self._is_unread, self._unread_frames = False, 0
        self._go_on_with_frames()

    # The transport of uvicorn's protocol.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._inner, self._is_http = protocol, False

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inner  # type: ignore[no-any-return]

    def is_closing(self) -> bool:
        return self._lingers or self._is_lost or self._transport.is_closing()

    def write(self, data: Any) -> None:
        if not self.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._inner_reads = False
        self._read_or_not()

    def resume_reading(self) -> None:
        self._inner_reads = True
        self._go_on_with_frames()

    def close(self) -> None:
        """By uvicorn: after the last answer, where one breaks off, or as the server stops."""
        request = self._request
        if self.is_closing():
            return
        if not self._is_http:
            self._close()
        elif request is None:
            self._stops = True
            self._timer = self._cancelled(self._timer)
            self._timer = self._loop.call_later(STOPPING_S, self._close)
        elif request.is_complete and not (self._kept and self._transport.can_write_eof()):
            self._close()
        elif request.is_answered or self._transport.can_write_eof():
            self._linger()
        else:
            self._close()

    def abort(self) -> None:
        self._edge.remove(self)
        self._transport.abort()

    # The way of a request.

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked, or nothing is being answered."""
        request = self._request
        is_asked = request is not None and request.is_complete and not request.is_answered
        return self._lingers or (self._is_http and not is_asked)

    def tracking(self, send: Any) -> Any:
        """The same, for the request that is being answered."""
        request = self._request

        async def tracked(message: Any) -> None:
            if request is None:
                await send(message)
            elif message["type"] == "http.response.start":
                request.is_begun = True
                if self._stops:
                    message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
                await send(message)
            elif message.get("more_body"):
                await send(message)
            else:
                request.is_answered = True
                await send(message)
                self._answered(request)

        return tracked

    def _go_on(self) -> None:
        """Hands over what was received, to the end of a request, and by turns with other connections."""
        if self._turn is not None:
            return
        try:
            self._hand_over()
            if not self._is_http:
                self._hand_over_frame()
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST, NO_REQUEST)
        self._read_or_not()
        if self._is_half_closed and self._turn is None and not self.is_closing():
            self._end_half_closed()

    def _hand_over(self) -> None:
        while self._kept and self._is_http and not self.is_closing():
            request = self._request
            if request is None:
                if not self._begin():
                    return
            elif request.is_complete or not self._continue(request):
                return  # its answer, or the rest of it, comes first

    def _hand_over_frame(self) -> None:
        """One, or what has come of it. The next has its turn after other connections, and once the client may send again."""
        if not self._kept or not self._takes_frames or self.is_closing():
            return
        now_s = self._loop.time()
        if (wait_s := self._pace.wait_s(now_s)) > 0:
            if self._pace.is_flood(now_s):
                self._end_flood()
            else:
                self._turn = self._loop.call_later(wait_s, self._take_turn)
            return
        self._frame_left = self._frame_left or _frame_bytes(self._kept)
        part = bytes(self._kept[: self._frame_left])
        del self._kept[: len(part)]
        self._frame_left -= len(part)
        self._pace.count(len(part), now_s)
        self._unread_frames += self._is_unread
        if part:
            if self._kept:
                self._turn = self._loop.call_soon(self._take_turn)
            self._inner.data_received(part)

    @property
    def _takes_frames(self) -> bool:
        return self._inner_reads and self._unread_frames < MAX_UNREAD_FRAMES

    def _go_on_with_frames(self) -> None:
        """With those that are here already; then more are received."""
        if not self._is_http and self._kept and self._turn is None and not self._is_lost:
            self._turn = self._loop.call_soon(self._take_turn)
        self._read_or_not()

    def _take_turn(self) -> None:
        self._turn = None
        self._go_on()

    def _begin(self) -> bool:
        """Whether a request has begun: its head is complete."""
        line_ends = len(self._kept) - len(self._kept.lstrip(b"\r\n"))
        del self._kept[:line_ends]  # some old programs send them behind a body
        end = self._kept.find(b"\r\n\r\n", max(0, self._searched - 3)) + 4
        if end < 4:
            if self._kept and not self._searched:
                self._await_client(self._limits.head_s)
                check_begin(bytes(self._kept))
            self._searched = len(self._kept)
            if self._searched > self._limits.head_bytes:
                self._refuse_long_head()
            return False
        if end > self._limits.head_bytes:
            self._refuse_long_head()
            return False
        head = bytes(self._kept[:end])
        del self._kept[:end]
        self._searched = 0
        self._timer = self._cancelled(self._timer)
        self.since_s = self._loop.time()
        socket_head, head = _without_upgrade(head)
        self._request = request = _Request(head)
        if socket_head and self._edge.sockets:
            self._open_socket(request, socket_head)
            return True
        self._inner.data_received(head)
        if request.is_complete:
            self._received(request)
        return True

    def _continue(self, request: _Request) -> bool:
        """Whether the request is complete."""
        if part := request.body(self._kept):
            self._inner.data_received(part)
        if request.is_complete:
            self._received(request)
            return True
        if request.trailer_bytes > self._limits.head_bytes:
            self.abort()
        elif self._kept:
            self._turn = self._loop.call_soon(self._take_turn)
        return False

    def _open_socket(self, request: _Request, head: bytes) -> None:
        lines = head.split(b"\r\n")
        is_long = len(lines) - 3 > MAX_SOCKET_HEADERS or any(len(line) > MAX_SOCKET_LINE for line in lines)
        if request.method != b"GET" or not request.is_complete or is_long:
            self._refuse(HTTPStatus.BAD_REQUEST, NO_SOCKET)
        elif self._is_half_closed:  # no handshake will come to its end
            self._close()
        else:
            self._inner.data_received(head)  # which sets another protocol
            self._inner_reads = True

    def _received(self, request: _Request) -> None:
        """The request is complete."""
        self._timer = self._cancelled(self._timer)
        if request.is_answered:
            self._end_request()

    def _answered(self, request: _Request) -> None:
        if self._request is not request or self.is_closing():
            return
        if request.is_complete:
            self._end_request()
            self._go_on()
        else:
            self._await_client(self._limits.head_s)

    def _end_request(self) -> None:
        self._request = None
        if self._stops:
            self._close()
        else:
            self._await_client(self._limits.idle_s)

    # The end.

    def _refuse_long_head(self) -> None:
        self._most_discarded = MAX_DISCARDED_HEAD_BYTES
        sentence = f"the headers are longer than {self._limits.head_bytes >> 10} KiB; send shorter ones"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, sentence)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """What cannot become a request, or is the broken rest of one. An answer that has begun is cut off."""
        if self._request is None or not self._request.is_begun:
            self.write(_answer(status, sentence))
        self._linger()
        self._leave_inner()

    def _end_flood(self) -> None:
        self._most_discarded = MAX_DISCARDED_HEAD_BYTES
        if self._transport.get_write_buffer_size():
            self.abort()
            return
        reason = (1008).to_bytes(2, "big") + FLOOD.encode()
        self.write(b"\x88%c%b" % (len(reason), reason))
        self._linger()
        self._leave_inner()

    def _linger(self) -> None:
        """Says no more, and reads on: to close now would reset the connection, and the answer would be lost."""
        if self._is_half_closed:
            self._close()
            return
        self._lingers = True
        self._await_client(self._limits.head_s)
        if self._transport.can_write_eof():  # not within TLS, where the length says where an answer ends
            self._transport.write_eof()
        self._discard(len(self._kept))
        self._kept.clear()
        self._inner_reads = True
        self._read_or_not()

    def _discard(self, count: int) -> None:
        self._discarded += count
        if self._discarded > self._most_discarded:
            self.abort()

    def _close(self) -> None:
        """Once everything is written that the client reads in time."""
        self._timer = self._cancelled(self._timer)
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._await_reader()

    def _leave_inner(self) -> None:
        inner, self._inner = self._inner, _NO_PROTOCOL
        if inner is not None:
            inner.connection_lost(None)

    def _await_client(self, most_s: float) -> None:
        self.since_s = self._loop.time()
        self._timer = self._cancelled(self._timer)
        self._timer = self._loop.call_later(most_s, self._end_late)

    def _end_late(self) -> None:
        self._timer = None
        if self._lingers or self._request is not None:
            self.abort()
        elif self._kept:
            sentence = f"the headers did not come within {self._limits.head_s:g} s; send the request again"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, sentence)
        else:
            self._close()

    def _end_half_closed(self) -> None:
        request = self._request
        if request is None or not request.is_complete:
            self._close()
        elif not request.is_begun:  # else what is written shows whether the client is gone
            self._timer = self._cancelled(self._timer)
            self._timer = self._loop.call_later(self._limits.half_closed_s, self._end_unbegun, request)

    def _end_unbegun(self, request: _Request) -> None:
        if self._request is request and not request.is_begun:
            self._close()

    def _await_reader(self) -> None:
        """While something is not written: a client that reads nothing for `send_s` is left, with what it did not read."""
        if self._reader_timer is None and not self._is_lost:
            self._taken = self._written - self._transport.get_write_buffer_size()
            self._reader_timer = self._loop.call_later(self._limits.send_s, self._end_reader)

    def _end_reader(self) -> None:
        self._reader_timer = None
        unsent = self._transport.get_write_buffer_size()
        if unsent and self._written - unsent <= self._taken:
            self.abort()
        elif unsent:
            self._await_reader()

    def _read_or_not(self) -> None:
        """No more is received while uvicorn or `_kept` has enough; a head that is not complete has its own limit."""
        if self._lingers:
            reads = True
        elif self._is_http:
            is_full = self._request is not None and len(self._kept) > MAX_KEPT_BYTES
            reads = self._inner_reads and not is_full
        else:
            reads = self._takes_frames and self._turn is None
        if reads != self._reads and not self._is_lost and not self._transport.is_closing():
            self._reads = reads
            (self._transport.resume_reading if reads else self._transport.pause_reading)()

    @staticmethod
    def _cancelled(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


_NO_PROTOCOL = asyncio.Protocol()  # after the end


class _Pace:
    """When the next frame of a WebSocket may be handed over: each takes its time, and a pause gives some of it back."""

    def __init__(self) -> None:
        self._due_s = 0.0
        self._over_since_s: float | None = None  # the client sends more, and made no pause

    def count(self, size: int, now_s: float) -> None:
        if self._due_s < now_s - FRAME_BURST_S / 2:
            self._over_since_s = None
        self._due_s = max(self._due_s, now_s - FRAME_BURST_S) + 1 / FRAMES_A_S + size / FRAME_BYTES_A_S

    def wait_s(self, now_s: float) -> float:
        return self._due_s - now_s

    def is_flood(self, now_s: float) -> bool:
        """Asked whenever the client has to wait."""
        if self._over_since_s is None:
            self._over_since_s = now_s
        return now_s - self._over_since_s > FLOOD_S


def _frame_bytes(begin: bytearray) -> int:
    """How long the frame is of a WebSocket that begins so; 0 if that has not come yet."""
    if len(begin) < 2:
        return 0
    length, mask_bytes = begin[1] & 0x7F, (begin[1] >> 7) * 4
    end = 2 + {126: 2, 127: 8}.get(length, 0)
    if len(begin) < end:
        return 0
    return end + mask_bytes + (int.from_bytes(begin[2:end], "big") if end > 2 else length)


class _Request:
    """Where a request ends, as uvicorn's own parser says, and how far its answer is."""

    def __init__(self, head: bytes) -> None:
        """Raises HttpParserError for a head that uvicorn would not take."""
        self.is_complete = self.is_begun = self.is_answered = False
        self.trailer_bytes = 0
        self._left = 0  # bytes of a body whose length is known
        self._has_head = False
        self._chunk = bytearray()
        self._url = b""
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:  # CONNECT
            raise httptools.HttpParserError from None
        if not self._has_head:
            raise httptools.HttpParserError
        self.method: bytes = self._parser.get_method()

    def body(self, kept: bytearray) -> bytes:
        """Takes from `kept` what belongs to the body, for uvicorn; of chunks not more than a turn's lines.

        Chunks are written anew: uvicorn would add trailers to the headers of a request that is being answered.
        """
        if self._left:
            part = bytes(kept[: self._left])
            del kept[: len(part)]
            self._left -= len(part)
            self.is_complete = not self._left
            return part
        content, place = self._chunk, 0
        content.clear()
        for _ in range(LINES_A_TURN):
            end, before = kept.find(b"\n", place) + 1 or len(kept), len(content)
            self._parser.feed_data(bytes(kept[place:end]))
            self.trailer_bytes = 0 if len(content) > before else self.trailer_bytes + end - place
            place = end
            if self.is_complete or place == len(kept):
                break
        del kept[:place]
        chunk = b"%x\r\n%b\r\n" % (len(content), bytes(content)) if content else b""
        return chunk + (b"0\r\n\r\n" if self.is_complete else b"")

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head and name.lower() == b"content-length":
            self._left = int(value)

    def on_headers_complete(self) -> None:
        self._has_head = True
        if not self._url.isascii():
            raise ValueError("the address is not ASCII")
        httptools.parse_url(self._url)

    def on_body(self, body: bytes) -> None:
        self._chunk += body

    def on_message_complete(self) -> None:
        self.is_complete = True


def check_begin(part: bytes) -> None:
    """Raises HttpParserError for what no request begins with: else it would be waited for."""
    httptools.HttpRequestParser(object()).feed_data(part)


UPGRADE = re.compile(rb"\r\n(upgrade|connection):([^\r\n]*)", re.IGNORECASE)


def _without_upgrade(head: bytes) -> tuple[bytes, bytes]:
    """Of a request for a WebSocket its head as uvicorn knows it, else nothing; and any head without `Upgrade`: curl and Java send that along with
    requests that may be answered as if it were not there, and the parser would take them for ones without a body."""
    if b"upgrade:" not in head.lower():
        return b"", head
    given = {name.lower(): value.strip().lower() for name, value in UPGRADE.findall(head)}
    plain = UPGRADE.sub(lambda found: found[0] if found[1].lower() == b"connection" else b"", head)
    tokens = [token.strip() for token in given.get(b"connection", b"").split(b",")]
    if given.get(b"upgrade") != b"websocket" or b"upgrade" not in tokens:
        return b"", plain
    return UPGRADE.sub(b"", head)[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", plain


def _answer(status: HTTPStatus, sentence: str) -> bytes:
    body = json.dumps({"error": sentence}).encode()
    head = f"HTTP/1.1 {status} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body
