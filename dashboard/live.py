"""The WebSocket face of `queries`: deltas of what was committed, and the state of runs and collectors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool

from access.roles import Role, needs
from collectors.records import LogLine, ProgressBar
from collectors.runtime import committing_s
from collectors.store.store import Delta, StoreError

from .api import PREFIX
from .api.answers import encode
from .api.curves import LiveRow, live_row
from .api.findings import FindingRow, finding_row
from .api.machine import StateAnswer, state_answer
from .api.openapi import MESSAGES, RefusedMessage, ResetMessage, StateMessage
from .api.runs import EventJson, RunRow, event_row, run_row
from .auth import PROTOCOL
from .mutations import watch
from .queries import Queries
from .runs.runs import ALIVE, RunView
from .series.subscription import NOTHING, InvalidSubscription, Subscription, subscription_of
from .viewing import view_of

POLL_S = 0.04  # the store is asked for changes so often, and only while a socket is open
DELTA_GAP_S = 0.1  # at most 10 deltas a second; the first after a pause goes out at once
STATE_S = 1.0
LOOK_SHARE = 0.1  # of the time, at most, for looks at all runs
WATCH_S = 10.0  # every state reports to the collector that these runs are on view, for so long
MESSAGE_GAP_S = 0.02  # between a client's messages
MAX_STATE_RUNS = 50
WORKERS = 4  # threads that write messages, of all clients
PART_ROWS, PART_CHARACTERS = 400, 100_000  # of a message, that a thread writes before others have their turn

T = TypeVar("T")


def routes(queries: Queries) -> APIRouter:
    for message in MESSAGES:
        view_of(message)  # refused here where its text has no type, not while it is sent
    router = APIRouter(prefix=PREFIX)
    hub = Hub(queries)

    @router.websocket("/live")
    @needs(Role.VIEWER)
    async def live(socket: WebSocket) -> None:
        await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
        await hub.serve(socket)

    return router


class Hub:
    """Polls the store once for all sockets, and never waits for a client. What changed is read, and what each client may see of it is
    written, in a few threads: there may be much of it, and a viewer's part is searched for secrets."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._clients: set[Client] = set()
        self._poller: asyncio.Task[None] | None = None
        self._looker: asyncio.Task[None] | None = None
        self._state: StateAnswer | None = None
        self._runs: list[RunView] = []
        self._look_s = 0.0  # how long the last look took
        self._deltas: dict[tuple[int, frozenset[str]], Delta] = {}  # until the next change: sockets in step share one
        self._reading = threading.Lock()  # of the deltas
        self._workers = CapacityLimiter(WORKERS)

    async def serve(self, socket: WebSocket) -> None:
        """Until the socket closes, or its client does not read."""
        client = Client(socket, self.since, self._worked)
        self._clients.add(client)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="live poll")
        if self._state is not None:
            client.queue(self._state, self._runs)
        sender = asyncio.create_task(client.send(), name="live sender")
        try:
            await client.listen()
        except (WebSocketDisconnect, RuntimeError):  # closed
            pass
        finally:
            self._clients.discard(client)
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    def since(self, cursor: int) -> Delta:
        """With the log lines of all runs that any client looks at."""
        key = cursor, self._watched()
        with self._reading:
            deltas = self._deltas
            if key not in deltas:
                deltas[key] = self._queries.since(*key)
            return deltas[key]

    async def _worked(self, work: Callable[..., T], *arguments: Any) -> T:
        """What a function returns that runs in one of the threads, as the client that asks; the longest waiting is the next."""
        return await to_thread.run_sync(work, *arguments, limiter=self._workers)

    def _watched(self) -> frozenset[str]:
        return frozenset(run for client in list(self._clients) for run in client.wants.runs)

    async def _poll(self) -> None:
        """While there is a client. A look that takes long delays the next state, and no delta."""
        state_due = time.monotonic()
        while self._clients:
            if changed := self._changed():
                if (wait_s := committing_s(time.monotonic())) > 0:
                    await asyncio.sleep(wait_s)
                    self._changed()
                self._deltas = {}
                for client in self._clients:
                    client.wake.set()
            if time.monotonic() >= state_due and (self._looker is None or self._looker.done()):
                state_due = time.monotonic() + max(STATE_S, self._look_s / LOOK_SHARE)
                self._looker = asyncio.create_task(self._send_states(), name="live state")
            await asyncio.sleep(DELTA_GAP_S if changed else POLL_S)

    def _changed(self) -> bool:
        try:
            return self._queries.changed()
        except StoreError:  # the state reports it
            return False

    async def _send_states(self) -> None:
        state = await run_in_threadpool(self._look)
        for client in self._clients:
            client.queue(state, self._runs)

    def _look(self) -> StateAnswer:
        watch(self._queries.data_dir, sorted(self._watched()), time.time() + WATCH_S)
        begun_s = time.monotonic()
        state = state_answer(self._queries.state(), 0)
        try:
            state["firing"] = self._queries.alerts.firing()
            self._runs = self._queries.runs()
        except StoreError as error:
            state["problems"].insert(0, str(error))
        self._state, self._look_s = state, time.monotonic() - begun_s
        return state


class Client:
    """One socket: what it wants, and how far it has been sent. One message at a time is on its way to it, so that a slow client gets
    fewer and longer ones, and one that does not read costs a message's memory until it is cut off."""

    def __init__(self, socket: WebSocket, since: Callable[[int], Delta], worked: Callable[..., Any]) -> None:
        """`worked` awaits a function in a thread."""
        self.wake = asyncio.Event()
        self.wants: Subscription = NOTHING
        self._socket, self._since, self._worked = socket, since, worked
        self._cursor: int | None = None
        self._state: tuple[StateAnswer, list[RunView]] | None = None  # the newest that was not sent yet

    async def listen(self) -> None:
        """Take subscriptions until the client leaves; one that cannot be gets a sentence, and the socket is closed."""
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            try:
                self.wants = subscription_of(orjson.loads(message.get("text") or message.get("bytes") or b""))
            except (InvalidSubscription, orjson.JSONDecodeError) as error:
                refused: RefusedMessage = {"type": "refused", "error": f"not a subscription: {error}"}
                await self._send(encode(refused, RefusedMessage).decode())
                await self._socket.close(1008)
                return
            self._cursor = self.wants.cursor
            self.wake.set()
            await asyncio.sleep(MESSAGE_GAP_S)

    def queue(self, state: StateAnswer, runs: list[RunView]) -> None:
        """At the next turn of `send`; a newer state takes the place of one that still waits."""
        self._state = state, runs
        self.wake.set()

    async def send(self) -> None:
        """Until cancelled."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self._state is not None:
                state, self._state = self._state, None
                await self._send(await self._worked(self._state_text, *state))
            if self._cursor is not None:
                await self._send_delta(self._cursor)

    async def _send_delta(self, cursor: int) -> None:
        try:
            delta, parts = await self._worked(self._parts, cursor)
        except StoreError:  # the state reports it
            return
        if self._cursor != cursor:
            return
        self._cursor = delta.seq
        if not delta.complete:
            await self._send(encode({"type": "reset", "cursor": delta.seq}, ResetMessage).decode())
        elif parts:
            written = [await self._worked(part) if callable(part) else part for part in parts]
            await self._send(await self._worked(_joined, written))

    def _state_text(self, state: StateAnswer, runs: list[RunView]) -> str:
        message: StateMessage = {**state, "type": "state", "runs": self._near(runs), "runs_total": len(runs)}
        return encode(message, StateMessage).decode()

    def _near(self, runs: list[RunView]) -> list[RunRow]:
        """Of interest: those subscribed to, and those alive."""
        near = [view for view in runs if view.stored.name in self.wants.runs]
        near += [view for view in runs if view.state in ALIVE and view.stored.name not in self.wants.runs]
        return [run_row(view) for view in near[:MAX_STATE_RUNS]]

    def _parts(self, cursor: int) -> tuple[Delta, list[bytes | Callable[[], bytes]]]:
        """A `DeltaMessage` in parts, the dear ones still to be written; none where nothing in it is for this client."""
        delta, wants = self._since(cursor), self.wants
        if not delta.complete:
            return delta, []
        rows: dict[str, tuple[Any, Callable[[Any], Any] | None, list[Any]]] = {
            "series": (
                list[LiveRow],
                live_row,
                [points for points in delta.points if wants.has(points.run, points.name)],
            ),
            "lines": (list[LogLine], None, [line for line in delta.lines if line.run in wants.runs]),
            "events": (list[EventJson], event_row, [event for event in delta.events if event.run in wants.runs]),
            "bars": (list[ProgressBar], None, [bar for bar in delta.bars if bar.run in wants.runs]),
            "findings": (
                list[FindingRow],
                finding_row,
                [found for found in delta.findings if found.run is None or found.run in wants.runs],
            ),
        }
        if not any(records for _, _, records in rows.values()):
            return delta, []
        parts: list[bytes | Callable[[], bytes]] = [b'{"type":"delta","cursor":%d' % delta.seq]
        is_first = True
        for name, (shape, row_of, records) in rows.items():
            parts.append(b',"%b":[' % name.encode())
            for number, some in enumerate(_cut(records)):
                parts += [b","] if number else []
                write = _Rows(shape, row_of, some)
                parts.append(write() if is_first else write)  # what fits into one part is written at once
                is_first = is_first and len(some) == len(records)
            parts.append(b"]")
        return delta, [*parts, b"}"]

    async def _send(self, text: str) -> None:
        """Raises nothing: a client that is gone is noticed by `listen`, one that does not read is cut off by the edge."""
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(text)


class _Rows:
    """Some rows of a message, still to be written; by a thread that knows the client: what a viewer may not see is left out."""

    def __init__(self, shape: Any, row_of: Callable[[Any], Any] | None, records: Sequence[Any]) -> None:
        """`shape` is the type of the list of rows. Without `row_of` records are written as they are."""
        self._shape, self._row_of, self._records = shape, row_of, records

    def __call__(self) -> bytes:
        rows = list(map(self._row_of, self._records)) if self._row_of else self._records
        return encode(rows, self._shape)[1:-1]


def _joined(parts: list[bytes]) -> str:
    return b"".join(parts).decode()


def _cut(records: list[Any]) -> Iterator[list[Any]]:
    """In parts that are written quickly."""
    part: list[Any] = []
    characters = 0
    for record in records:
        part.append(record)
        characters += len(record.text) if isinstance(record, LogLine) else 0
        if len(part) >= PART_ROWS or characters >= PART_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part
