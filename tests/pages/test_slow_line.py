"""Pages over a line of 80 ms round trip: how many requests wait for each other until the content is drawn, and what a second load moves.

How long it takes is measured by `python -m benchmarks.remote`.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.conftest import wait_for
from tests.support.request_chains import LANES, Asked, Requests, longest_chain, shown, watch
from tests.support.serving import served
from tests.support.slow_line import ROUND_TRIP_S, SlowLine, slow_line

T0 = 1_764_000_000.0
CHAIN, LOADS = 3, 8
SECOND_BYTES = 40_000  # answers of the API; browser code is not sent again
KEPT = "/assets/v"
DRAWN = {
    "/": LANES,
    "/runs": "document.querySelector('#runs-grid .run-cell')",
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowLine]:
    data_dir = tmp_path_factory.mktemp("slow")
    writer = open_store(data_dir, write=True)
    writer.append([Points("a", labels_of(host="box"), ("train/loss",), (1.0,), T0 + step, step) for step in range(999)])
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
    with served(queries) as web, slow_line(web.port) as line:
        yield line
    queries.close()
    writer.close()


@pytest.mark.parametrize("path", DRAWN)
def test_no_chain_has_more_than_three_requests_and_the_second_load_moves_few_bytes(
    line: SlowLine, browser: Browser, path: str
) -> None:
    """What a load shows is never less than what is needed, and more where a busy machine delays what waits for nothing: so the least of some."""
    for _ in range(LOADS):
        first, (second, passed_bytes) = both_loads(line, browser, path)
        chains = [longest_chain(requested) for requested in (first, second)]
        if all(len(chain) <= CHAIN for chain in chains):
            break
    assert all(2 <= len(chain) <= CHAIN for chain in chains), [shown(chain) for chain in chains]
    assert any(request.path.startswith(KEPT) for request in first)
    assert not [asked for asked in second if asked.path.startswith(KEPT)]
    assert passed_bytes < SECOND_BYTES


def both_loads(line: SlowLine, browser: Browser, path: str) -> tuple[list[Asked], tuple[list[Asked], int]]:
    """By a browser without a cache and again: the requests until the page was drawn; of the second one the bytes that came over the line, too."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    watch(page, DRAWN[path])
    requests = Requests(page)

    def loaded() -> tuple[list[Asked], int]:
        requests.forget()
        before = line.down.passed_bytes
        page.goto(f"http://127.0.0.1:{line.port}{path}", wait_until="commit")
        drawn_ms = wait_for(lambda: page.evaluate("() => globalThis.drawn_ms"), 60, f"{path} is not drawn")
        passed = line.down.passed_bytes - before
        page.wait_for_load_state("networkidle")
        return requests.seen(drawn_ms / 1000), passed

    first, _ = loaded()
    page.goto("about:blank")
    second = loaded()
    context.close()
    return first, second


def test_bytes_take_half_a_round_trip_each_way_and_share_the_line() -> None:
    """Lower bounds only: a busy machine takes longer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        echoing = threading.Thread(target=echo, daemon=True)
        echoing.start()
        with slow_line(server.getsockname()[1]) as line, socket.create_connection(("127.0.0.1", line.port)) as client:
            took_s = [echoed_s(client, 1), echoed_s(client, 1), echoed_s(client, 500_000)]
            assert took_s[0] >= 2 * ROUND_TRIP_S and took_s[1] >= ROUND_TRIP_S
            assert took_s[2] >= ROUND_TRIP_S + 500_000 * 8 / line.bits_a_second
            assert line.up.passed_bytes == line.down.passed_bytes == 500_002 and line.connections == 1
        echoing.join(10)


def echoed_s(client: socket.socket, count: int) -> float:
    began_s = time.monotonic()
    sending = threading.Thread(target=client.sendall, args=(b"x" * count,))
    sending.start()
    received = 0
    while received < count:
        received += len(client.recv(1 << 16))
    sending.join()
    return time.monotonic() - began_s


def test_a_chain_is_of_requests_that_may_use_what_came_before() -> None:
    def asked(path: str, at_s: float, answered_s: float, by: str = "/", *scripts: str, kind: str = "Fetch") -> Asked:
        return Asked(path, kind, at_s, answered_s, by, frozenset(scripts), 0)

    page, module = asked("/", 0, 1, "", kind="Document"), asked("/m.js", 1, 2, kind="Script")
    early = asked("/early", 1, 2)
    later = asked("/later", 2.5, 3, "/m.js", "/m.js")
    beside = asked("/beside", 2.5, 3, "/m.js", "/m.js")
    last = asked("/last", 3.5, 4, "/m.js", "/m.js")
    other = asked("/other", 3.5, 4, "/n.js", "/n.js")
    assert longest_chain([page, module, early, later, beside]) == [page, module, later]
    assert longest_chain([page, module, early, later, beside, last]) == [page, module, later, last]
    assert longest_chain([page, early, other]) == [page, early, other]  # whoever asked early, any script may use it


def test_where_nothing_answers_the_line_closes(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with slow_line(port) as line, socket.create_connection(("127.0.0.1", line.port)) as client:
        assert client.recv(1) == b""
