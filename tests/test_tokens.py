"""Tokens: the file, its damage, the commands, the limit of log-ins, and who is at the other end of a connection."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dashboard.auth import peers
from dashboard.auth.audit import MOST_BYTES, Audit
from dashboard.auth.credential import SECRET, hash_of
from dashboard.auth.hosts import Access, is_forwarded, refused
from dashboard.auth.limit import MOST_OF_ONE, OWN, LogInLimit
from dashboard.auth.login import _fields_of, pasted, safe_path
from dashboard.auth.peers import Peer
from dashboard.auth.roles import Role
from dashboard.auth.tokens import MOST_BROWSERS, DamagedTokens, TokenMistake, Tokens, read
from tests.conftest import ROOT, Dashboard, dashboard
from tests.other_clients import NOBODY, PROXIED, Asked, ask, rows

JSON = some.recursive(
    some.none() | some.booleans() | some.floats() | some.integers() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=8,
)


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": ""}
    line = [sys.executable, str(ROOT / "app.py"), *words, "--log-dir", str(folder)]
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=60)


# -- the file --------------------------------------------------------------------------------------------------------------


def test_a_secret_has_256_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secrets = {tokens.new(f"t{number}", Role.VIEWER, None, {}) for number in range(20)}
    assert len(secrets) == 20 and all(SECRET.fullmatch(secret) for secret in secrets)
    kept = tokens.path.read_text()
    assert not any(secret in kept or secret[4:] in kept for secret in secrets)
    assert all(hash_of(secret) in kept for secret in secrets)
    assert tokens.path.stat().st_mode & 0o777 == 0o600


def test_another_process_sees_a_change_at_once(tmp_path: Path) -> None:
    ours, theirs = Tokens(tmp_path), Tokens(tmp_path)
    secret = theirs.new("a", Role.OWNER, None, {})
    assert ours.found(secret, "token")
    new = theirs.rotate("a")
    assert not ours.found(secret, "token") and ours.found(new, "token")
    theirs.revoke("a")
    assert not ours.found(new, "token")
    ours.path.unlink()
    assert not theirs.all()


def test_rights_that_change_count_at_once(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.new("a", Role.OWNER, None, {})
    assert tokens.found(secret, "token")
    tokens.path.chmod(0o644)
    assert tokens.found(secret, "token") is None and "chmod 600" in tokens.trouble
    tokens.path.chmod(0o600)
    assert tokens.found(secret, "token") and not tokens.trouble


def test_a_token_ends_at_its_time_and_a_session_with_its_token(tmp_path: Path) -> None:
    now = [1000.0]
    tokens = Tokens(tmp_path, lambda: now[0])
    secret = tokens.new("a", Role.VIEWER, 1100.0, {"grants": ["source"]})
    begun = tokens.redeem(secret)
    assert begun and begun[1].expires_s == 1100.0 and begun[1].scopes == {"grants": ["source"]}
    now[0] = 1099.0
    assert tokens.found(secret, "token") and tokens.found(begun[0], "session")
    now[0] = 1100.0
    assert not tokens.found(secret, "token") and not tokens.found(begun[0], "session") and tokens.redeem(secret) is None


def redeem(folder: Path, secret: str, found: Any) -> None:
    found.put(Tokens(folder).redeem(secret) is not None)


def test_a_code_is_redeemed_once_by_however_many(tmp_path: Path) -> None:
    secret = Tokens(tmp_path).new("code", Role.OWNER, time.time() + 60, {}, "code")
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    children = [context.Process(target=redeem, args=(tmp_path, secret, found)) for _ in range(6)]
    for child in children:
        child.start()
    answers = [found.get(timeout=30) for _ in children]
    for child in children:
        child.join()
    assert answers.count(True) == 1


def test_many_changes_at_once_lose_none(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    threads = [threading.Thread(target=tokens.new, args=(f"t{number}", Role.VIEWER, None, {})) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.name for each in tokens.all()} == {f"t{number}" for number in range(24)}


@pytest.mark.parametrize("how", ["open", "link", "fifo", "folder", "huge", "deep", "half", "list", "twice", "role", "other user"])
def test_a_file_that_we_would_not_have_written_lets_no_token_in(tmp_path: Path, how: str) -> None:
    tokens = Tokens(tmp_path)
    secret = tokens.new("a", Role.OWNER, None, {})
    text = tokens.path.read_text()
    row = json.loads(text)["credentials"][0]
    match how:
        case "open":
            tokens.path.chmod(0o644)
        case "link":
            tokens.path.rename(tmp_path / "elsewhere")
            tokens.path.symlink_to(tmp_path / "elsewhere")
        case "fifo" | "folder":
            tokens.path.unlink()
            os.mkfifo(tokens.path) if how == "fifo" else tokens.path.mkdir()
        case "huge":
            tokens.path.write_text(text + " " * (2 << 20))
        case "deep":
            tokens.path.write_text("[" * 100_000)
        case "half":
            tokens.path.write_text(text[: len(text) // 2])
        case "list":
            tokens.path.write_text("[]")
        case "twice":
            tokens.path.write_text(json.dumps({"credentials": [row, row]}))
        case "role":
            tokens.path.write_text(json.dumps({"credentials": [{**row, "role": "anyone"}]}))
        case _:
            if os.geteuid() != 0:
                pytest.skip("only root may give a file away")
            os.chown(tokens.path, NOBODY, NOBODY)
    assert tokens.found(secret, "token") is None and str(tokens.path) in tokens.trouble
    for change in (lambda: tokens.new("b", Role.VIEWER, None, {}), lambda: tokens.revoke("a"), tokens.all):
        with pytest.raises(DamagedTokens, match=re.escape(str(tokens.path))):
            change()


@given(
    some.binary(max_size=300)
    | JSON.map(lambda value: json.dumps({"credentials": [value]}).encode())
    | JSON.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_damage_or_a_list(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "tokens.json"
    path.write_bytes(data)
    path.chmod(0o600)
    try:
        assert isinstance(read(path), list)
    except DamagedTokens as error:
        assert str(path) in str(error) and "\n" not in str(error)[:60]


@given(some.sampled_from(["name", "kind", "role", "hash", "created_s", "expires_s", "scopes", "of"]), JSON)
def test_any_value_of_a_field_is_damage_or_means_no_more_than_before(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("field")
    tokens = Tokens(folder)
    secret = tokens.new("a", Role.VIEWER, None, {})
    row = {**json.loads(tokens.path.read_text())["credentials"][0], field: value}
    tokens.path.write_text(json.dumps({"credentials": [row]}))
    found = tokens.found(secret, "token")
    assert found is None or found.role is Role.VIEWER


@pytest.mark.parametrize("name", ["", ".", "../a", "a/b", "local", "a b", "x" * 65, "-a", "a\n"])
def test_a_name_is_one_of_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(TokenMistake):
        Tokens(tmp_path).new(name, Role.WRITER, None, {})


def test_the_audit_is_bounded_and_follows_no_link(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    for _ in range(3 * MOST_BYTES // 900):
        audit.add("w" * 400, "127.0.0.1", "POST " + "x" * 2000)
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2 and sum(sizes) <= 2 * MOST_BYTES + 4096
    assert len(rows(tmp_path / "audit.jsonl")[0]["what"]) == 500
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "audit.jsonl").symlink_to(tmp_path / "target")
    Audit(tmp_path / "other").add("a", "b", "c")
    assert not (tmp_path / "target").exists()


def test_browsers_of_a_token_make_room_for_each_other(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    mine = tokens.redeem(tokens.new("mine", Role.OWNER, None, {}))
    theirs = tokens.new("theirs", Role.VIEWER, None, {})
    begun = [tokens.redeem(theirs) for _ in range(MOST_BROWSERS + 3)]
    assert mine and tokens.found(mine[0], "session")
    assert [found is not None and tokens.found(found[0], "session") is not None for found in begun] == [False] * 3 + [
        True
    ] * MOST_BROWSERS


# -- log-in ----------------------------------------------------------------------------------------------------------------


@given(some.text(max_size=300))
def test_whatever_is_pasted_is_a_secret_or_none(text: str) -> None:
    secret, wanted = pasted(text)
    assert secret == "" or SECRET.fullmatch(secret)
    path = safe_path(wanted)
    assert path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable() and path.isascii()


@given(some.binary(max_size=400) | some.text(max_size=100).map(lambda text: f"token={text}&next={text}".encode("utf-8", "replace")))
def test_any_form_is_read_or_none(body: bytes) -> None:
    fields = _fields_of(body)
    assert all(isinstance(value, str) for value in fields.values())
    pasted(fields.get("token", ""))


def test_others_keep_their_attempts() -> None:
    now = [0.0]
    limit = LogInLimit(lambda: now[0])
    assert [limit.failed("192.0.2.1") for _ in range(MOST_OF_ONE + 5)].count(True) == 5
    for number in range(200):  # many addresses use up what is shared
        for _ in range(20):
            limit.failed(f"198.51.100.{number}")
    assert not any(limit.failed("203.0.113.9") for _ in range(OWN))
    assert sum(limit.failed(f"2001:db8::{number:x}") for number in range(MOST_OF_ONE)) > 0, "a customer's network is one client"
    now[0] = 61.0
    assert not limit.failed("192.0.2.1")


# -- names and proxies -----------------------------------------------------------------------------------------------------


@given(some.binary(max_size=60))
def test_no_odd_host_is_ours(host: bytes) -> None:
    names = Access().names()
    why = refused("/", "GET", [(b"host", host)], names, "127.0.0.1", ())
    if not why:
        assert re.fullmatch(rb"(?i)(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", host)


def test_hosts_that_are_named_are_ours() -> None:
    access = Access("192.0.2.7", hosts=("proxy.example",), origins=("https://notebook.example",))
    for host, ok in {
        "proxy.example": True,
        "PROXY.example:443": True,
        "192.0.2.7:8080": True,
        "localhost": True,
        "other.example": False,
        "192.0.2.8": False,
    }.items():
        assert (refused("/", "GET", [(b"host", host.encode())], access.names(), "192.0.2.7", access.origins) == "") is ok, host
    assert socket.gethostname().lower() in access.names() and socket.gethostname().lower() not in Access().names() - {"localhost"}
    named = [(b"host", b"proxy.example"), (b"origin", b"https://notebook.example"), (b"sec-fetch-site", b"cross-site")]
    assert not refused("/api/v1/runs", "POST", named, access.names(), "", access.origins)
    assert refused("/api/v1/runs", "POST", [*named[:1], (b"origin", b"https://evil.example")], access.names(), "", access.origins)


def test_a_plain_browser_is_no_proxy() -> None:
    plain = [b"host", b"user-agent", b"accept", b"cookie", b"connection", b"sec-fetch-site", b"cache-control", b"x-requested-with"]
    assert not is_forwarded([(name, b"") for name in plain])


# -- the other end of a connection -----------------------------------------------------------------------------------------


def pair(host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """A client's socket and ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        return client, listener.accept()[0]


def peer_of(ours: socket.socket) -> Peer:
    known = {"peername": ours.getpeername(), "sockname": ours.getsockname(), "socket": ours}
    return Peer(SimpleNamespace(get_extra_info=known.get))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("way", ["netlink", "table"])
def test_the_kernel_says_whose_a_connection_is(host: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "table":
        monkeypatch.setattr(peers, "_by_netlink", lambda *_: (_ for _ in ()).throw(OSError("none here")))
    try:
        client, ours = pair(host)
    except OSError as error:
        pytest.skip(f"no {host} here: {error}")
    with closing(client), closing(ours):
        peer = peer_of(ours)
        assert peer.uid() == os.geteuid() and peer.is_local and peer.is_us()


@pytest.mark.parametrize("way", ["netlink", "table"])
def test_a_socket_that_is_closed_is_of_no_user(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel shows user 0 for it: to a dashboard of root that would be its owner, who asked and hung up."""
    if way == "table":
        monkeypatch.setattr(peers, "_by_netlink", lambda *_: (_ for _ in ()).throw(OSError("none here")))
    client, ours = pair()
    with closing(ours):
        client.close()
        assert peer_of(ours).uid() is None and not peer_of(ours).is_us()


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


# -- the commands ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("tokens")
    with dashboard(folder / "logs", "--no-profile", "--host", "0.0.0.0", "--unix-socket", str(folder / "socket")) as found:
        yield found


def test_a_token_is_made_listed_rotated_and_revoked(running: Dashboard) -> None:
    logs = running.log_dir
    port = int(running.address.rpartition(":")[2])
    made = command("token", "new", "colleague", "--grant", "source", "--days", "7", folder=logs)
    secret = made.stdout.strip()
    assert SECRET.fullmatch(secret) and made.returncode == 0

    def status(token: str) -> int:
        return ask(port, Asked("GET", "/api/v1/runs", {"Authorization": f"Bearer {token}", **PROXIED})).status

    assert status(secret) == 200
    assert "colleague  viewer  until" in command("token", "list", folder=logs).stdout
    again = command("token", "new", "colleague", folder=logs)
    assert again.returncode == 2 and again.stderr.count("\n") == 1
    rotated = command("token", "rotate", "colleague", folder=logs).stdout.strip()
    assert status(secret) == 401 and status(rotated) == 200
    assert command("token", "revoke", "colleague", folder=logs).returncode == 0
    assert status(rotated) == 401
    assert [row["what"] for row in rows(logs / ".deepseek" / "audit.jsonl")][-3:] == [
        f"token {what} colleague" for what in ("new", "rotate", "revoke")
    ]


def test_the_start_and_url_print_a_link_for_one_log_in(running: Dashboard) -> None:
    assert running.process.stdout is not None
    printed = running.process.stdout.readline()
    link = command("url", folder=running.log_dir).stdout.strip()
    for text in (printed, link):
        found = re.search(r"http://\S+/login#token=(dsk_[\w-]{43})", text)
        assert found, text
    assert socket.gethostname() in link
    port = int(running.address.rpartition(":")[2])
    form = {"Content-Type": "application/x-www-form-urlencoded", **PROXIED}
    statuses = [
        ask(port, Asked("POST", "/login", form, f"token={link.replace('#', '%23').replace('&', '%26')}")).status for _ in range(2)
    ]
    assert statuses == [303, 401]


def test_the_unix_socket_is_the_users_own(running: Dashboard) -> None:
    path = running.log_dir.parent / "socket"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 401")


def test_no_command_takes_a_secret_in_its_words(running: Dashboard) -> None:
    for words in (("token", "new", "--help"), ("url", "--help"), ("token", "rotate", "--help")):
        assert not re.search(r"--(token|secret|password)\b", command(*words, folder=running.log_dir).stdout)


def test_a_writers_token_appends_below_its_prefix_and_reads_nothing(running: Dashboard) -> None:
    port = int(running.address.rpartition(":")[2])
    secret = command("token", "new", "node-7", "--role", "writer", "--runs", "team/", folder=running.log_dir).stdout.strip()
    with_token = {"Authorization": f"Bearer {secret}", "Content-Type": "application/octet-stream"}
    line = '{"time_s": 1764000000.0, "step": 1, "loss": 0.5}\n'
    assert ask(port, Asked("POST", "/api/v1/ingest/team/a/metrics.jsonl?offset=0", with_token, line)).status == 200
    assert (running.log_dir / ".remote" / "node-7" / "team" / "a" / "metrics.jsonl").read_text() == line
    refused = ask(port, Asked("POST", "/api/v1/ingest/other/metrics.jsonl?offset=0", with_token, line))
    assert refused.status == 403 and "team/" in refused.text and not (running.log_dir / ".remote" / "node-7" / "other").exists()
    assert ask(port, Asked("GET", "/api/v1/runs", with_token)).status == 403
    assert ask(port, Asked("POST", "/api/v1/settings", {**with_token, "Content-Type": "application/json"}, "{}")).status == 403
