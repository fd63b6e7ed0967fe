"""A slow line in front of a local server: each byte takes half a round trip each way, and all connections share 20 Mbit/s a direction.

A new connection pays one round trip more, for its handshake. Slow start and losses are left out.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ROUND_TRIP_S = 0.080
BITS_A_SECOND = 20e6
CHUNK_BYTES = 8 << 10  # 3 ms of the line: connections take turns
ON_ITS_WAY = 64  # chunks of a connection that wait for their arrival; then its sender waits, too
STARTS_S = 10.0


class Bucket:
    """One direction of the line. Bytes leave one after the other, whichever connection they are of."""

    def __init__(self, bytes_a_second: float) -> None:
        self._bytes_a_second = bytes_a_second
        self._free_s = 0.0
        self.passed_bytes = 0

    def sent_s(self, count: int, now_s: float) -> float:
        """When `count` bytes that are ready at `now_s` have left, on the event loop's clock."""
        self.passed_bytes += count
        self._free_s = max(self._free_s, now_s) + count / self._bytes_a_second
        return self._free_s


@dataclass
class SlowLine:
    """`port` on loopback leads to the server's port over the line."""

    server_port: int
    round_trip_s: float = ROUND_TRIP_S
    bits_a_second: float = BITS_A_SECOND
    port: int = 0
    connections: int = 0  # that were opened so far
    up: Bucket = field(init=False)
    down: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.up, self.down = Bucket(self.bits_a_second / 8), Bucket(self.bits_a_second / 8)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ends = [writer]
        with suppress(OSError, asyncio.CancelledError):  # nothing answers; the line is taken down
            await asyncio.sleep(self.round_trip_s)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
            ends.append(far_writer)
            await asyncio.gather(self._carry(reader, far_writer, self.up), self._carry(far_reader, writer, self.down))
        for end in ends:
            end.close()
        for end in ends:
            with suppress(OSError):
                await end.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bucket: Bucket) -> None:
        """Until one end closes; what was sent before still arrives."""
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(ON_ITS_WAY)
        arriving = asyncio.create_task(self._arrive(way, writer))
        loop = asyncio.get_running_loop()
        data = b" "
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                data = b""
            left_s = bucket.sent_s(len(data), loop.time())
            await way.put((left_s + self.round_trip_s / 2, data))
            await asyncio.sleep(left_s - loop.time())
        await arriving

    @staticmethod
    async def _arrive(way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        data = b" "
        while data:
            at_s, data = await way.get()
            await asyncio.sleep(at_s - loop.time())
            with suppress(OSError):
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def slow_line(
    server_port: int, round_trip_s: float = ROUND_TRIP_S, bits_a_second: float = BITS_A_SECOND
) -> Iterator[SlowLine]:
    """Carries in a thread of its own until the block ends."""
    line = SlowLine(server_port, round_trip_s, bits_a_second)
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> None:
        server = await asyncio.start_server(line.connected, "127.0.0.1", 0)
        line.port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            with suppress(asyncio.CancelledError):
                await server.serve_forever()
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    serving = loop.create_task(serve(), name="slow line")
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,), name="slow line", daemon=True)
    thread.start()
    try:
        assert started.wait(STARTS_S), "the line does not start"
        yield line
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join(STARTS_S)
        loop.close()
