"""Who is at the other end of a connection."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from access import peers
from access.peers import Peer
from tests.support.other_clients import NOBODY


def pair(host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """A client's socket and ours; the test is skipped where there is no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    with listener:
        client = socket.create_connection(listener.getsockname()[:2])
        return client, listener.accept()[0]


@pytest.fixture(params=["netlink", "table"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By which the kernel is asked."""
    if request.param == "table":
        monkeypatch.setattr(peers, "_by_netlink", lambda *_: (_ for _ in ()).throw(OSError("none here")))


def peer_of(ours: socket.socket) -> Peer:
    known = {"peername": ours.getpeername(), "sockname": ours.getsockname(), "socket": ours}
    return Peer(SimpleNamespace(get_extra_info=known.get))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.usefixtures("way")
def test_the_kernel_says_whose_a_connection_is(host: str) -> None:
    client, ours = pair(host)
    with closing(client), closing(ours):
        peer = peer_of(ours)
        assert peer.uid() == os.geteuid() and peer.is_local and peer.is_us()


@pytest.mark.usefixtures("way")
def test_a_socket_that_is_closed_is_of_no_user() -> None:
    """The kernel shows user 0 for it: to a dashboard of root that would be its owner, who asked and hung up."""
    client, ours = pair()
    with closing(ours):
        client.close()
        assert peer_of(ours).uid() is None and not peer_of(ours).is_us()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.usefixtures("way")
def test_a_client_that_says_no_more_is_known_until_it_closes(host: str) -> None:
    client, ours = pair(host)
    with closing(ours):
        client.shutdown(socket.SHUT_WR)
        assert ours.recv(1) == b"" and peer_of(ours).is_us()
        client.close()
        assert peer_of(ours).uid() is None and not peer_of(ours).is_us()


@pytest.mark.usefixtures("way")
def test_a_client_that_left_more_than_we_have_read_is_of_no_user() -> None:
    """Its end waits behind what it has sent: ours does not know of it yet."""
    client, ours = pair()
    with closing(ours):
        client.setblocking(False)
        with suppress(BlockingIOError):
            while client.send(b" " * 65536):
                pass
        client.close()
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == peers.ESTABLISHED
        assert peer_of(ours).uid() is None and not peer_of(ours).is_us()


@pytest.mark.usefixtures("way")
def test_a_client_that_is_killed_after_it_said_no_more_is_of_no_user() -> None:
    become = "os.setgid(65534); os.setuid(65534); " if os.geteuid() == 0 else ""
    code = f"import os,socket,sys; {become}s=socket.socket(); s.connect(('127.0.0.1', int(sys.argv[1]))); s.shutdown(1); sys.stdin.read()"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = [sys.executable, "-I", "-S", "-c", code, str(listener.getsockname()[1])]
        with subprocess.Popen(line, stdin=subprocess.PIPE) as process:
            ours = listener.accept()[0]
            with closing(ours):
                assert ours.recv(1) == b"" and peer_of(ours).uid() == (NOBODY if become else os.geteuid())
                process.kill()
                process.wait()
                assert peer_of(ours).uid() is None and not peer_of(ours).is_us()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("is_half_closed", [False, True])
def test_a_port_that_was_taken_over_is_not_the_first_clients(is_half_closed: bool) -> None:
    """Another user asks and resets the connection; what it asked still waits for us when a process of ours gets the same port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(
            listener.getsockname(), source_address=("127.0.0.9", 0)
        )  # where no other test takes ports
        theirs.sendall(b"POST / HTTP/1.1\r\n\r\n")
        name = theirs.getsockname()
        if is_half_closed:
            theirs.shutdown(socket.SHUT_WR)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with socket.socket() as mine:
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            mine.bind(name)
            mine.connect(listener.getsockname())
            first, second = listener.accept()[0], listener.accept()[0]
            with closing(first), closing(second):
                known = {"peername": name, "sockname": first.getsockname(), "socket": first}
                taken_over = Peer(SimpleNamespace(get_extra_info=known.get))
                assert taken_over.uid() is None and not taken_over.is_us()
                assert first.recv(100).startswith(b"POST"), "the request is there, and would be answered"
                assert peer_of(second).is_us()


def test_a_client_of_ipv4_is_known_on_a_listener_of_ipv6() -> None:
    try:
        listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError) as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        ours = listener.accept()[0]
        with closing(ours):
            assert ours.getpeername()[0] == "::ffff:127.0.0.1" and peer_of(ours).is_us()


def test_another_users_socket_is_theirs() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user")
    code = "import os,socket,sys; os.setgid(65534); os.setuid(65534); s=socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print('here', flush=True); sys.stdin.read()"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            code.replace("socket.create_connection(", "socket.socket(); s.connect("),
            str(listener.getsockname()[1]),
        ]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            ours = listener.accept()[0]
            with closing(ours):
                assert process.stdout and process.stdout.readline() == "here\n"
                peer = peer_of(ours)
                assert peer.uid() == NOBODY and not peer.is_us()
            process.kill()


def test_a_unix_socket_says_its_user(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        client.connect(str(tmp_path / "s"))
        ours = listener.accept()[0]
        with closing(ours):
            peer = peer_of(ours)
            assert peer.uid() == os.geteuid() and peer.is_local and peer.is_unix and peer.is_us()
