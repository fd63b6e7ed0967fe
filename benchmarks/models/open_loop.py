"""An open-loop client over HTTP: requests are sent when they are due, whatever became of those before; latency counts from when each was due.

    python -m benchmarks.models.open_loop 127.0.0.1:8100 /v1/infer BODY RATE SECONDS poisson|burst|closed CONNECTIONS

One JSON object on stdout. It is a process of its own, so that the server's CPU time is not its.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

BURST = 20  # requests that are due at once
SETTLE_S = 5.0  # for answers that are still out at the end


class LoadFound(NamedTuple):
    """`latencies_s` are of answers with status 200, sorted. `unanswered`: refused connections, and answers that did not come."""

    sent: int
    statuses: dict[str, int]
    latencies_s: list[float]
    unanswered: int
    seconds: float
    wrong: int = 0  # answers of another request


class _Connection(asyncio.Protocol):
    """One request at a time. `client` is asked for the next one."""

    def __init__(self, client: _Client) -> None:
        self.client = client
        self.due_s = 0.0
        self.expected = b""
        self.transport: asyncio.Transport
        self._content = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, due_s: float, request: bytes, expected: bytes) -> None:
        self.due_s, self.expected = due_s, expected
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._content += data
        head, found, body = self._content.partition(b"\r\n\r\n")
        if not found:
            return
        if not _is_whole(head.lower(), body):
            return
        self._content = b""
        self.client.answered(self, int(head[9:12]), body)

    def connection_lost(self, error: Exception | None) -> None:
        self.client.lost(self)


def _is_whole(head: bytes, body: bytes) -> bool:
    """By its length, or by the last chunk of an answer in chunks."""
    place = head.find(b"content-length:")
    if place < 0:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head[place + 15 : place + 35].split(b"\r", 1)[0])


class _Client:
    def __init__(self, place: str, path: str, bodies: list[tuple[bytes, bytes]]) -> None:
        self._host, _, port = place.partition(":")
        self._port = int(port)
        self._bodies = [(self._request(place, path, body), expected) for body, expected in bodies]
        self._free: list[_Connection] = []
        self._due: deque[float] = deque()
        self._ended = asyncio.Event()
        self._left = -1  # -1: not known yet
        self.sent = self.done = self.unanswered = self.wrong = 0
        self.statuses: dict[str, int] = {}
        self.latencies_s: list[float] = []

    async def connect(self, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
            self._free.append(connection)

    def due(self, due_s: float) -> None:
        if self._free:
            self._send(self._free.pop(), due_s)
        else:
            self._due.append(due_s)

    def answered(self, connection: _Connection, status: int, body: bytes) -> None:
        self.statuses[str(status)] = self.statuses.get(str(status), 0) + 1
        if status == 200:
            self.latencies_s.append(time.monotonic() - connection.due_s)
            self.wrong += bool(connection.expected) and connection.expected not in body
        self.done += 1
        if self._due:
            self._send(connection, self._due.popleft())
        else:
            self._free.append(connection)
        self._look()

    def lost(self, connection: _Connection) -> None:
        if connection not in self._free and not self._ended.is_set():
            self.unanswered += 1
            self.done += 1
            self._look()

    async def end(self) -> None:
        """All have been due."""
        self._left = self.sent + len(self._due)
        self._look()
        try:
            await asyncio.wait_for(self._ended.wait(), SETTLE_S)
        except TimeoutError:
            self.unanswered += self._left - self.done
        self._ended.set()

    def _look(self) -> None:
        if self._left >= 0 and self.done >= self._left:
            self._ended.set()

    def _send(self, connection: _Connection, due_s: float) -> None:
        request, expected = self._bodies[self.sent % len(self._bodies)]
        self.sent += 1
        connection.send(due_s, request, expected)

    @staticmethod
    def _request(place: str, path: str, body: bytes) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nHost: {place}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def gaps_s(rate: float, kind: str) -> Iterator[float]:
    """Between requests: exponential, or none within a burst and all of it behind."""
    chance = random.Random(0)
    number = 0
    while True:
        number += 1
        if kind == "poisson":
            yield chance.expovariate(rate)
        else:
            yield BURST / rate if number % BURST == 0 else 0.0


async def load(
    place: str, path: str, bodies: list[tuple[bytes, bytes]], rate: float, seconds: float, kind: str, connections: int
) -> LoadFound:
    """`rate` in requests a second; `closed`: each connection sends as its answer is there."""
    client = _Client(place, path, bodies)
    await client.connect(connections)
    begun_s = time.monotonic()
    if kind == "closed":
        while time.monotonic() - begun_s < seconds:
            while client._free:
                client.due(time.monotonic())
            await asyncio.sleep(0)
    else:
        due_s = begun_s
        for gap_s in gaps_s(rate, kind):
            due_s += gap_s
            if due_s - begun_s > seconds:
                break
            while (left_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
            client.due(due_s)
    spent_s = time.monotonic() - begun_s
    await client.end()
    return LoadFound(client.sent, client.statuses, sorted(client.latencies_s), client.unanswered, spent_s, client.wrong)


def main(words: list[str]) -> None:
    place, path, bodies, rate, seconds, kind, connections = words
    pairs = [(json.dumps(row["body"]).encode(), row.get("expected", "").encode()) for row in json.loads(bodies)]
    found = asyncio.run(load(place, path, pairs, float(rate), float(seconds), kind, int(connections)))
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    main(sys.argv[1:])
