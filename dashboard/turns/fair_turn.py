"""Turns at what only a few may do at once, shared fairly among clients: one that asks in a hot loop waits for itself."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from typing import Any, TypeAlias

ClientKey: TypeAlias = tuple[str, bytes, bytes]
"""Address, what it calls itself, and its credentials: two browsers of one machine are two clients, unless they call themselves the same."""


class FairTurn:
    """On the event loop only. Where `at_once` is more than one, one client has at most all but one of the turns, so that another one never
    waits for it; and at most half of the places of those that wait."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._at_once, self._most_waiting = at_once, waiting
        self._working: Counter[ClientKey] = Counter()
        self._waiting: dict[ClientKey, deque[asyncio.Future[None]]] = {}  # who had a turn last comes last

    async def taken(self, client: ClientKey, gone: asyncio.Future[None], most_s: float) -> bool:
        """Whether it is the client's turn; not where too many wait, it takes too long, or the client leaves meanwhile."""
        if self._is_full(client):
            return False
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._give()
        try:
            both: set[asyncio.Future[Any]] = {turn, gone}
            await asyncio.wait(both, timeout=most_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._leave(client, turn)
            raise
        if not turn.done() or gone.done():
            self._leave(client, turn)
            return False
        return True

    def given_back(self, client: ClientKey) -> None:
        self._working[client] -= 1
        if not self._working[client]:
            del self._working[client]
        self._give()

    def _is_full(self, client: ClientKey) -> bool:
        own = len(self._waiting.get(client, ()))
        others = sum(map(len, self._waiting.values())) - own
        return own + others >= self._most_waiting or own >= max(1, self._most_waiting // 2)

    def _leave(self, client: ClientKey, turn: asyncio.Future[None]) -> None:
        """Without its turn, or with one that it cannot use any more."""
        if turn.done():
            self.given_back(client)
            return
        turn.cancel()
        with suppress(KeyError, ValueError):
            self._waiting[client].remove(turn)
            if not self._waiting[client]:
                del self._waiting[client]

    def _give(self) -> None:
        """To those that have the fewest; of several the one whose last turn is longest ago."""
        most = max(1, self._at_once - 1)
        while self._working.total() < self._at_once:
            able = [client for client in self._waiting if self._working[client] < most]
            if not able:
                return
            client = min(able, key=lambda waiting: self._working[waiting])
            turns = self._waiting.pop(client)
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns  # last from now on
            self._working[client] += 1
            turn.set_result(None)
