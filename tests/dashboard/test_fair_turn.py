"""Turns at dear questions are shared fairly: whatever one client does, another one is served, and no turn is lost."""

from __future__ import annotations

import asyncio
import http.client
import random
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from dashboard.admission import STACKS, ClientKey, FairSemaphore
from dashboard.queries import Queries
from tests.support.serving import Web, served

GREEDY, OTHER = ClientKey(("127.0.0.1", b"greedy", b"")), ClientKey(("127.0.0.1", b"other", b""))
T0, SLOW_S = 1_764_000_000.0, 1_700_000_000.0
LONG_S = 30.0


def in_loop(what: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: this one may have the loop of a browser."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, asyncio.wait_for(what, LONG_S)).result()


def never() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@settings(max_examples=60)
@given(at_once=st.integers(1, 4), waiting=st.integers(1, 40), clients=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_no_turn_is_lost_and_none_given_twice(at_once: int, waiting: int, clients: int, seed: int) -> None:
    """Clients ask, leave, and lose patience at random: never more at work than may be, and at the end all turns are free."""
    drawn = random.Random(seed)

    async def ask(
        turn: FairSemaphore, client: ClientKey, working: Counter[ClientKey], at: float, leaves: float, works: float
    ) -> None:
        await asyncio.sleep(at)
        gone = never()
        asyncio.get_running_loop().call_later(leaves, lambda: gone.done() or gone.set_result(None))
        if await turn.taken(client, gone, 0.01):
            working[client] += 1
            assert working.total() <= at_once and working[client] <= max(1, at_once - 1)
            try:
                await asyncio.sleep(works)
            finally:  # whether or not it is cancelled meanwhile
                working[client] -= 1
                turn.given_back(client)

    async def all_of_them() -> None:
        turn, working = FairSemaphore(at_once, waiting), Counter[ClientKey]()
        keys = [ClientKey(("127.0.0.1", b"%d" % number, b"")) for number in range(clients)]
        times = [[drawn.random() / 100 for _ in range(3)] for _ in range(60)]
        tasks = [asyncio.create_task(ask(turn, drawn.choice(keys), working, *each)) for each in times]
        for task in drawn.sample(tasks, 5):
            asyncio.get_running_loop().call_later(drawn.random() / 100, task.cancel)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [error for error in found if isinstance(error, Exception)]
        assert await turn.taken(OTHER, never(), 1.0)

    in_loop(all_of_them())


def test_a_client_that_asks_without_end_is_not_waited_for() -> None:
    async def both() -> None:
        turn = FairSemaphore(3, 64)
        for _ in range(2):
            assert await turn.taken(GREEDY, never(), 1.0)
        behind = [asyncio.create_task(turn.taken(GREEDY, never(), LONG_S)) for _ in range(80)]
        await asyncio.sleep(0)
        assert await turn.taken(OTHER, never(), 0.0), "one turn is left for another client"
        later = asyncio.create_task(turn.taken(OTHER, never(), LONG_S))
        await asyncio.sleep(0)
        assert not later.done()
        turn.given_back(GREEDY)
        turn.given_back(GREEDY)
        assert await later, "of two turns one is for the client that waits since shorter, too"
        for task in behind:
            task.cancel()

    in_loop(both())


def test_where_one_works_at_a_time_clients_alternate() -> None:
    async def both() -> None:
        turn, order = FairSemaphore(1, 64), []

        async def ask(client: ClientKey) -> None:
            assert await turn.taken(client, never(), LONG_S)
            order.append(client[1])
            await asyncio.sleep(0)
            turn.given_back(client)

        await asyncio.gather(*(ask(GREEDY) for _ in range(20)), *(ask(OTHER) for _ in range(3)))
        assert order[:7].count(OTHER[1]) >= 2, order

    in_loop(both())


def test_another_browser_is_answered_while_one_asks_in_a_hot_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)
    stack_counts = SqliteStore.stack_counts

    def slow(store: SqliteStore, since_s: float, *rest: Any) -> Any:
        if since_s < SLOW_S:
            begun.release()
            release.wait(LONG_S)
        return stack_counts(store, since_s, *rest)

    monkeypatch.setattr(SqliteStore, "stack_counts", slow)
    writer = open_store(tmp_path, write=True)
    writer.append([Points("a", labels_of(host="box"), ("loss",), (1.0,), T0, 0)])
    writer.close()
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        greedy = [Web(web.port) for _ in range(12)]
        slowly = {"run": "a", "from_": SLOW_S - 60, "to": SLOW_S - 1}
        threads = [
            threading.Thread(target=client.ask, args=("/api/v1/flamechart",), kwargs=slowly) for client in greedy
        ]
        for thread in threads:
            thread.start()
        assert all(begun.acquire(timeout=LONG_S) for _ in range(STACKS.at_once - 1))
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=LONG_S / 2)
        connection.request("GET", f"/api/v1/flamechart?run=a&from={T0}&to={T0 + 60}", headers={"User-Agent": "another"})
        assert connection.getresponse().status == 200
        connection.close()
        release.set()
        for thread, client in zip(threads, greedy, strict=True):
            thread.join()
            client.close()
    queries.close()
