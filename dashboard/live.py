"""The WebSocket face of `queries`: deltas of what was committed, and the state of runs and collectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool

from collectors.store.protocol import Delta, StoreError

from . import wire
from .api import PREFIX
from .encoding import encode
from .queries import Queries, wanted

POLL_S = 0.04  # the store is asked for changes so often, and only while a socket is open
DELTA_GAP_S = 0.1  # at most 10 deltas a second; the first after a pause goes out at once
STATE_S = 1.0
WATCH_S = 10.0  # the collector is told, at every state, that somebody looks at these runs for so long
MAX_STATE_RUNS = 50
ALIVE = ("running", "stalled")
SOURCES = ("gpu", "host")


def routes(queries: Queries) -> APIRouter:
    router = APIRouter(prefix=PREFIX)
    hub = Hub(queries)

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await hub.serve(socket)

    return router


class Hub:
    """Polls the store once for all sockets, on the event loop: what came since the last look is read in less time than a hop to a
    thread and back takes."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._clients: set[Client] = set()
        self._poller: asyncio.Task[None] | None = None
        self._state: dict[str, Any] = {}
        self._runs: list[dict[str, Any]] = []
        self._deltas: dict[int, Delta] = {}  # by cursor, until the next change: sockets in step share one

    async def serve(self, socket: WebSocket) -> None:
        """Until the socket closes."""
        client = Client(socket, self.since)
        self._clients.add(client)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="live poll")
        sender = asyncio.create_task(client.send_deltas(), name="live deltas")
        try:
            await run_in_threadpool(self._look)
            await client.send_state(self._state, self._runs)
            while True:
                client.subscribe(await socket.receive_json())
        except (WebSocketDisconnect, RuntimeError, ValueError):  # closed, or not JSON
            pass
        finally:
            self._clients.discard(client)
            sender.cancel()
            with suppress(asyncio.CancelledError):
                await sender

    def since(self, cursor: int) -> Delta:
        if cursor not in self._deltas:
            self._deltas[cursor] = self._queries.since(cursor)
        return self._deltas[cursor]

    async def _poll(self) -> None:
        state_due = time.monotonic()
        while self._clients:
            if changed := self._changed():
                self._deltas.clear()
                for client in self._clients:
                    client.wake.set()
            if time.monotonic() >= state_due:
                state_due = time.monotonic() + STATE_S
                await self._send_states()
            await asyncio.sleep(DELTA_GAP_S if changed else POLL_S)

    def _changed(self) -> bool:
        try:
            return self._queries.changed()
        except StoreError:  # the state tells of it
            return False

    async def _send_states(self) -> None:
        await run_in_threadpool(self._look)
        for client in list(self._clients):
            await client.send_state(self._state, self._runs)

    def _look(self) -> None:
        watched = sorted({run for client in list(self._clients) for run in client.runs})
        self._queries.watch(watched, time.time() + WATCH_S)
        self._state = wire.state(self._queries.state())
        try:
            self._runs = [wire.run(view) for view in self._queries.runs()]
        except StoreError as error:
            self._state["problems"].insert(0, str(error))


class Client:
    """One socket: what it wants, and how far it has been told."""

    def __init__(self, socket: WebSocket, since: Callable[[int], Delta]) -> None:
        self.wake = asyncio.Event()
        self.runs: set[str] = set()
        self._socket, self._since = socket, since
        self._wants: dict[str | None, list[str]] = {}  # run -> series globs; None: the machine's
        self._wanted: dict[tuple[str | None, str], bool] = {}  # what the globs have said of (run, name)
        self._cursor: int | None = None

    def subscribe(self, message: Mapping[str, Any]) -> None:
        """`{"subscribe": [{"run": "a", "series": ["train/*"]}, {"source": "gpu", "series": ["gpu/*"]}], "cursor": 7}`

        Raises ValueError for anything else.
        """
        wants: dict[str | None, list[str]] = {}
        try:
            for want in message["subscribe"]:
                run = None if want.get("source") in SOURCES else str(want["run"])
                wants.setdefault(run, []).extend(map(str, want["series"]))
            self._cursor = int(message["cursor"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a subscription: {error}") from error
        self._wants, self._wanted = wants, {}
        self.runs = {run for run in wants if run is not None}
        self.wake.set()

    async def send_state(self, state: dict[str, Any], runs: list[dict[str, Any]]) -> None:
        """The runs of interest only: those subscribed to, and those alive."""
        near = [run for run in runs if run["run"] in self.runs or run["state"] in ALIVE][:MAX_STATE_RUNS]
        await self._send({"type": "state", **state, "runs": near, "runs_total": len(runs)})

    async def send_deltas(self) -> None:
        """Until cancelled."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            if self._cursor is None:
                continue
            try:
                delta = self._since(self._cursor)
            except StoreError:  # the state tells of it
                continue
            self._cursor = delta.seq
            if not delta.complete:
                await self._send({"type": "reset", "cursor": delta.seq})
            elif message := self._chosen(delta):
                await self._send(message)

    def _chosen(self, delta: Delta) -> dict[str, Any] | None:
        series = [wire.live_points(one) for one in delta.points if self._wants_it(one.run, one.name)]
        lines = [wire.line(one) for one in delta.lines if one.run in self.runs]
        events = [wire.event(one) for one in delta.events if one.run in self.runs]
        if not (series or lines or events):
            return None
        return {"type": "delta", "cursor": delta.seq, "series": series, "lines": lines, "events": events}

    def _wants_it(self, run: str | None, name: str) -> bool:
        key = (run, name)
        if key not in self._wanted:
            self._wanted[key] = wanted(name, self._wants.get(run, []))
        return self._wanted[key]

    async def _send(self, message: dict[str, Any]) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # closed meanwhile: `serve` notices
            await self._socket.send_text(encode(message).decode())
