"""What it costs to decide who may do what: per request, per connection, per log-in; and what a viewer's answer costs beside the owner's.

python -m benchmarks.access
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from access import peers
from access.hosts import Access
from access.peers import PEER, Peer
from access.roles import Role
from access.tokens import LoginLimiter, Tokens
from benchmarks.report import Row, run
from collectors.records import LogLine
from collectors.store.engines import open_store
from dashboard import visitors
from dashboard.api.answers import encode
from dashboard.api.curves import CurveRow
from dashboard.app import NEEDS_OF_OTHERS, make_app
from dashboard.audit import Audit
from dashboard.auth import AuthMiddleware
from dashboard.queries import Queries
from dashboard.visitors import OWNER, Visitor

TOKENS = 200
BEST_OF, TIMES = 7, 500
HEADERS = {
    b"host": b"127.0.0.1:8080",
    b"user-agent": b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
    b"accept": b"*/*",
    b"accept-encoding": b"gzip, deflate, br, zstd",
    b"sec-fetch-site": b"same-origin",
    b"sec-fetch-mode": b"cors",
    b"referer": b"http://127.0.0.1:8080/",
}


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="access-") as name:
        folder = Path(name)
        open_store(folder, write=True).close()
        queries = Queries(open_store(folder, write=False), folder, folder)
        tokens = Tokens(folder)
        for number in range(TOKENS):
            tokens.new(f"other-{number}", Role.VIEWER, None, {})
        secret = tokens.new("measured", Role.VIEWER, None, {})
        begun = tokens.redeem(secret)
        assert begun is not None
        gate = AuthMiddleware(make_app(queries), Access(), tokens, Audit(folder), LoginLimiter(), NEEDS_OF_OTHERS)
        client, ours = connected()
        with closing(client), closing(ours):
            peer = peer_of(ours)
            cookie = f"deepseek-8080={begun[0]}".encode()
            asked = {
                "the owner's request": {},
                "a request with a token": {b"authorization": f"Bearer {secret}".encode()},
                "a request with a cookie": {b"via": b"1.1 proxy", b"cookie": cookie},
                "a request that is refused": {b"via": b"1.1 proxy"},
            }
            app = make_app(queries)
            rows = [
                Row(f"{what}, {TOKENS} tokens", decided_us(gate, app, peer, more), "us", budget=100)
                for what, more in asked.items()
            ]
            rows += [
                Row("whose a connection is, from netlink", best_us(lambda: peer_of(ours).uid(), 50), "us", budget=2000),
                Row(
                    "whose a connection is, from /proc/net/tcp", best_us(lambda: peers._by_table(*ends(ours)), 5), "us"
                ),
                Row("a log-in", best_us(lambda: tokens.redeem(secret), 5), "us", budget=50_000),
            ]
        queries.close()
    return [*rows, *answers()]


def decided_us(gate: AuthMiddleware, app: Any, peer: Peer, more: dict[bytes, bytes]) -> float:
    headers = list({**HEADERS, **more}.items())
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/v1/curves",
        "headers": headers,
        "extensions": {PEER: peer},
        "app": app,
    }
    return best_us(lambda: gate._decided(scope, gate._need(scope), ""))


def answers() -> list[Row]:
    """Encoded for a viewer, beside the owner's."""
    lines = [
        LogLine("a", "out.log", 1.0, 20, f"INFO step {number} loss=0.5 lr=3e-4 in /job/x/train.py", 0)
        for number in range(10_000)
    ]
    column = np.arange(2000.0)
    series = [
        {"name": f"s{number}", "labels": {"host": "box"}, "unit": "s", "t": column, "mean": column}
        for number in range(20)
    ]
    rows = []
    for what, value, shape in (
        ("200 lines of a log", lines[:200], list[LogLine]),
        ("10,000 lines, as the socket sends them in a second", lines, list[LogLine]),
        ("20 series of 2,000 buckets", series, list[CurveRow]),
    ):
        owner_us = best_us(partial(encoded, value, shape, OWNER), 20)
        viewer_us = best_us(partial(encoded, value, shape, Visitor(Role.VIEWER)), 20)
        first_us = best_us(partial(encoded, value, shape, Visitor(Role.VIEWER), anew=True), 5)
        rows.append(Row(f"{what}, for a viewer", viewer_us, "us", baseline=owner_us))
        rows.append(Row("... texts not seen before", first_us, "us", baseline=owner_us))
    return rows


def encoded(value: object, shape: Any, visitor: Visitor, *, anew: bool = False) -> None:
    if anew:
        visitors.SHOWN.clear()
    entered = visitors.enter(visitor)
    try:
        encode(value, shape)
    finally:
        visitors.leave(entered)


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return socket.create_connection(listener.getsockname()[:2]), listener.accept()[0]


def peer_of(ours: socket.socket) -> Peer:
    known = {"peername": ours.getpeername(), "sockname": ours.getsockname(), "socket": ours}
    return Peer(SimpleNamespace(get_extra_info=known.get))


def ends(ours: socket.socket) -> tuple[peers.End, peers.End]:
    first, second = peers._end(ours.getpeername()), peers._end(ours.getsockname())
    assert first is not None and second is not None
    return first, second


def best_us(work: Callable[[], object], times: int = TIMES) -> float:
    """Of several rounds: other work beside makes a round longer, never shorter."""
    rounds = []
    for _ in range(BEST_OF):
        begun_s = time.perf_counter()
        for _ in range(times):
            work()
        rounds.append((time.perf_counter() - begun_s) / times)
    return min(rounds) * 1e6


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
