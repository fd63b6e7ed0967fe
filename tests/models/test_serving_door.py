"""`deepseek-models serve` without tokens answers processes of its own user alone, and under its own names, as the dashboard does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from access import peers
from models.serving.server import ServingPlan, serve
from tests.support.other_clients import NOBODY, PROXIED, Asked, ask, ask_elsewhere
from tests.support.two_users import needs_root

WITHIN_S = 60.0
INDEX = Asked("POST", "/v2/repository/index", {}, "{}")
LOAD = Asked("POST", "/v2/repository/models/toy/load", {}, "{}")
OTHERS = [INDEX, LOAD, Asked("GET", "/metrics"), Asked("POST", "/v1/infer", {}, "{}")]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server without models, in a thread."""
    places: dict[str, str] = {}
    ready, stop = threading.Event(), threading.Event()
    plan = ServingPlan(folders={}, grpc_port=None, logs=None, port=0, hosts=("gateway.example",))
    thread = threading.Thread(target=lambda: serve(plan, lambda found: (places.update(found), ready.set()), stop))
    thread.start()
    assert ready.wait(WITHIN_S)
    yield int(places["http"].rpartition(":")[2])
    stop.set()
    thread.join(WITHIN_S)
    assert not thread.is_alive()


def test_a_process_of_the_same_user_needs_no_token(port: int) -> None:
    assert ask(port, INDEX).status == 200 and ask(port, LOAD).status == 404


@needs_root
def test_another_user_of_this_machine_may_do_nothing(port: int) -> None:
    assert [got.status for got in ask_elsewhere(port, OTHERS, uid=NOBODY)] == [401] * len(OTHERS)
    assert ask_elsewhere(port, [Asked("GET", "/v2/health/live")], uid=NOBODY)[0].status == 200, "health is open to all"


def test_what_comes_through_a_proxy_is_not_the_user(port: int) -> None:
    for asked in OTHERS:
        assert ask(port, asked._replace(headers=PROXIED)).status == 401, asked


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 403), ("", 403), ("localhost:1", 200), ("gateway.example", 200)]
)
def test_it_answers_under_its_own_names(port: int, host: str, status: int) -> None:
    assert ask(port, INDEX._replace(headers={"Host": host})).status == status
    assert ask(port, Asked("GET", "/v2/health/live", {"Host": host})).status == status


CONNECT = """
import encodings.idna, os, socket, sys
if int(sys.argv[3]):
    os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""

CONNECT_FROM = CONNECT.replace(
    "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))",
    """s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[4])))
s.connect((sys.argv[1], int(sys.argv[2])))""",
)


@pytest.mark.parametrize("uid", [0, pytest.param(NOBODY, marks=needs_root)])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_whose_connection_it_is_is_known_by_its_address_alone(uid: int, host: str) -> None:
    """As gRPC says it, whose library does not hand out the socket. A client of 127.0.0.2 connects from 127.0.0.1."""
    with socket.create_server((host, 0)) as server:
        server.settimeout(WITHIN_S)
        ours = server.getsockname()[1]
        command = [sys.executable, "-c", CONNECT, host, str(ours), str(uid)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            accepted, _ = server.accept()
            assert client.stdout is not None and client.stdin is not None
            theirs = int(client.stdout.readline())
            assert peers.is_ours(f"ipv4:127.0.0.1:{theirs}", [host, "::1"], ours) == (uid in (0, os.geteuid()))
            assert not peers.is_ours(f"ipv4:127.0.0.1:{theirs}", ["127.0.0.3", "::1"], ours), "we do not listen there"
            assert not peers.is_ours(f"ipv4:192.0.2.1:{theirs}", [host], ours)
            assert not peers.is_ours(f"ipv6:%5B::1%5D:{theirs}", [host, "::1"], ours)
            assert not peers.is_ours("unix:", [host], ours) and not peers.is_ours("", [host], ours)
            client.stdin.close()
            client.wait()
            accepted.close()
        assert not peers.is_ours(f"ipv4:127.0.0.1:{theirs}", [host], ours), "it is gone"


@needs_root
def test_an_end_that_is_another_users_at_one_of_our_addresses_is_not_ours_at_another() -> None:
    """Two connections may begin at the same address and port: gRPC does not say which of them asks."""
    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with socket.create_server(("127.0.0.2", port)) as second, socket.socket() as mine:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            mine.bind(("127.0.0.1", 0))
            theirs = mine.getsockname()[1]
            command = [sys.executable, "-c", CONNECT_FROM, "127.0.0.2", str(port), str(NOBODY), str(theirs)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
                assert client.stdout is not None and client.stdin is not None
                assert int(client.stdout.readline()) == theirs
                mine.connect(("127.0.0.1", port))
                for server in (first, second):
                    server.settimeout(WITHIN_S)
                accepted = [server.accept()[0] for server in (first, second)]
                end = f"ipv4:127.0.0.1:{theirs}"
                assert peers.is_ours(end, ["127.0.0.1"], port)
                assert not peers.is_ours(end, ["127.0.0.2"], port)
                assert not peers.is_ours(end, ["127.0.0.1", "127.0.0.2"], port)
                client.stdin.close()
                for each in accepted:
                    each.close()
