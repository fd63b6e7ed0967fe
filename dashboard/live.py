"""The WebSocket face of `queries`: deltas of what was committed, and the state of runs and collectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool

from collectors.service.beat import committing_s
from collectors.store.protocol import Delta, StoreError

from .api import PREFIX
from .api.encoding import encode
from .api.judged.findings import finding_row
from .api.logs import bar_row, line_row
from .api.machine import StateAnswer, state_answer
from .api.messages import DeltaMessage, LiveMessage, StateMessage
from .api.points import live_row
from .api.runs import RunRow, event_row, run_row
from .auth.roles import Role, needs
from .changes import watch
from .connection import ABORT
from .queries import Queries
from .runs import ALIVE, RunView
from .subscription import NOTHING, NotASubscription, Subscription, subscription_of

POLL_S = 0.04  # the store is asked for changes so often, and only while a socket is open
DELTA_GAP_S = 0.1  # at most 10 deltas a second; the first after a pause goes out at once
STATE_S = 1.0
LOOK_SHARE = 0.1  # of the time, at most, for looks at all runs
WATCH_S = 10.0  # every state reports to the collector that these runs are on view, for so long
SEND_S = 10.0  # a client that does not take a message for so long is cut off
MESSAGE_GAP_S = 0.02  # between a client's messages
MAX_STATE_RUNS = 50


def routes(queries: Queries) -> APIRouter:
    router = APIRouter(prefix=PREFIX)
    hub = Hub(queries)

    @router.websocket("/live")
    @needs(Role.VIEWER)
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await hub.serve(socket)

    return router


class Hub:
    """Polls the store once for all sockets, on the event loop: what came since the last look is read in less time than a hop to a
    thread and back takes. It never waits for a client."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._clients: set[Client] = set()
        self._poller: asyncio.Task[None] | None = None
        self._looker: asyncio.Task[None] | None = None
        self._state: StateAnswer | None = None
        self._runs: list[RunView] = []
        self._look_s = 0.0  # how long the last look took
        self._deltas: dict[tuple[int, frozenset[str]], Delta] = {}  # until the next change: sockets in step share one

    async def serve(self, socket: WebSocket) -> None:
        """Until the socket closes, or its client does not read."""
        client = Client(socket, self.since)
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
        if key not in self._deltas:
            self._deltas[key] = self._queries.since(*key)
        return self._deltas[key]

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
                self._deltas.clear()
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

    def __init__(self, socket: WebSocket, since: Callable[[int], Delta]) -> None:
        self.wake = asyncio.Event()
        self.wants: Subscription = NOTHING
        self._socket, self._since = socket, since
        self._cursor: int | None = None
        self._state: tuple[StateAnswer, list[RunView]] | None = None  # the newest that was not sent yet

    async def listen(self) -> None:
        """Take subscriptions until the client leaves; one that cannot be gets a sentence, and the socket is closed."""
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            try:
                self.wants = subscription_of(orjson.loads(message.get("text") or message.get("bytes") or b""))
            except (NotASubscription, orjson.JSONDecodeError) as error:
                await self._send({"type": "refused", "error": f"not a subscription: {error}"})
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
                (state, runs), self._state = self._state, None
                message: StateMessage = {**state, "type": "state", "runs": self._near(runs), "runs_total": len(runs)}
                await self._send(message)
            if self._cursor is not None:
                await self._send_delta(self._cursor)

    async def _send_delta(self, cursor: int) -> None:
        try:
            delta = self._since(cursor)
        except StoreError:  # the state reports it
            return
        if self._cursor != cursor:
            return
        self._cursor = delta.seq
        if not delta.complete:
            await self._send({"type": "reset", "cursor": delta.seq})
        elif message := self._chosen(delta):
            await self._send(message)

    def _near(self, runs: list[RunView]) -> list[RunRow]:
        """Of interest: those subscribed to, and those alive."""
        near = [view for view in runs if view.stored.name in self.wants.runs]
        near += [view for view in runs if view.state in ALIVE and view.stored.name not in self.wants.runs]
        return [run_row(view) for view in near[:MAX_STATE_RUNS]]

    def _chosen(self, delta: Delta) -> DeltaMessage | None:
        series = [live_row(points) for points in delta.points if self.wants.has(points.run, points.name)]
        lines = [line_row(line) for line in delta.lines if line.run in self.wants.runs]
        events = [event_row(event) for event in delta.events if event.run in self.wants.runs]
        bars = [bar_row(bar) for bar in delta.bars if bar.run in self.wants.runs]
        findings = [finding_row(found) for found in delta.findings if found.run is None or found.run in self.wants.runs]
        if not (series or lines or events or bars or findings):
            return None
        return {
            "type": "delta",
            "cursor": delta.seq,
            "series": series,
            "lines": lines,
            "events": events,
            "bars": bars,
            "findings": findings,
        }

    async def _send(self, message: LiveMessage) -> None:
        """Raises nothing: a client that is gone is noticed by `listen`, one that does not read is cut off."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._socket.send_text(encode(message).decode())
        except TimeoutError:
            self._socket.scope["extensions"][ABORT]()
        except (WebSocketDisconnect, RuntimeError):
            pass
