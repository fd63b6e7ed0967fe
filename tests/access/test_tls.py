"""https by a certificate of one's own: checked at the start, spoken to programs and browsers, and renewed while it runs."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import websockets
from playwright.sync_api import Browser

from access import hosts
from access.hosts import Access, BadCertificate, Certificate
from access.http import Limits
from access.roles import Role
from access.tokens import Tokens
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.auth import link_of
from dashboard.http_server import LIMITS, server_of
from dashboard.network import CannotListen, access_of, add_reach_flags, listen_unix
from dashboard.queries import Queries
from tests.conftest import ROOT, wait_for
from tests.support.other_clients import PROXIED
from tests.support.proxies import OPENSSL, make_certificate
from tests.support.serving import run

pytestmark = pytest.mark.skipif(not OPENSSL, reason="openssl, which makes the certificates, is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder, "first")
    make_certificate(folder, "second")
    return folder


@contextmanager
def served_tls(folder: Path, certificate: Certificate, limits: Limits = LIMITS) -> Iterator[tuple[int, Path, Tokens]]:
    """The port of https, and the Unix socket beside it."""
    data_dir, unix = folder / "data", folder / "s"
    open_store(data_dir, write=True).close()
    queries = Queries(open_store(data_dir, write=False), folder, data_dir)
    access = Access(certificate=certificate)
    tcp, beside = socket.create_server(("127.0.0.1", 0)), listen_unix(unix)
    server = server_of(make_app(queries, access), access, limits)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # not in the main thread
    thread = threading.Thread(target=server.run, kwargs={"sockets": [tcp, beside]}, daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield tcp.getsockname()[1], unix, Tokens(data_dir)
    finally:
        server.should_exit = True
        thread.join(10)
        tcp.close()
        beside.close()
        queries.close()
        assert not thread.is_alive(), "the server does not end"


@pytest.fixture
def pair(folder: Path, tmp_path: Path) -> Certificate:
    for part in ("first.pem", "first-key.pem"):
        shutil.copy(folder / part, tmp_path / part)
    return Certificate(tmp_path / "first.pem", tmp_path / "first-key.pem")


def trusting(path: Path) -> ssl.SSLContext:
    """What a browser does that knows this certificate: names and times are checked."""
    context = ssl.create_default_context(cafile=path)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def get(
    port: int, path: str, context: ssl.SSLContext, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    with closing(http.client.HTTPSConnection("localhost", port, timeout=20, context=context)) as connection:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def post(port: int, path: str, body: bytes, context: ssl.SSLContext) -> int:
    with closing(http.client.HTTPSConnection("localhost", port, timeout=20, context=context)) as connection:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status


def shown_at(port: int) -> str:
    """The name that the certificate of a new connection has."""
    text = ssl.get_server_certificate(("127.0.0.1", port))
    done = subprocess.run(
        [str(OPENSSL), "x509", "-noout", "-subject"], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.strip().rpartition("=")[2].strip()


def test_programs_that_check_it_are_answered(pair: Certificate, tmp_path: Path) -> None:
    with served_tls(tmp_path, pair) as (port, unix, _):
        status, headers, text = get(port, "/api/v1/runs", trusting(pair.path))
        assert (status, '"runs"' in text) == (200, True), "the own user passes without a token, as without TLS"
        assert "strict-transport-security" not in headers, "it would hold for other programs of the host, too"

        async def first() -> str:
            async with websockets.connect(f"wss://localhost:{port}/api/v1/live", ssl=trusting(pair.path)) as live:
                return str(await live.recv())

        assert run(first()).startswith("{")
        assert post(port, "/api/v1/settings", b" " * (600 << 10), trusting(pair.path)) == 413
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(20)
            plain.connect(str(unix))
            plain.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in plain.recv(100), "a Unix socket needs no TLS"


@pytest.mark.parametrize("before", [0, 3, 3000])
def test_the_last_of_several_requests_ends_the_connection(pair: Certificate, tmp_path: Path, before: int) -> None:
    """Some old programs send a line end behind the body."""
    with (
        served_tls(tmp_path, pair, LIMITS._replace(head_s=120.0)) as (port, _, _),
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        trusting(pair.path).wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        request = "GET /healthz HTTP/1.{}\r\nHost: localhost\r\n\r\n"
        secured.sendall((request.format(1) * before + request.format(0) + "\r\n").encode())
        since_s = time.monotonic()
        said = b"".join(iter(lambda: secured.recv(65536), b""))
        assert said.count(b"HTTP/1.1 200 OK") == before + 1 and said.endswith(b"}")
        assert time.monotonic() - since_s < 60


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # which is the point
def test_old_versions_and_plain_http_are_refused(pair: Certificate, tmp_path: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with served_tls(tmp_path, pair) as (port, _, _):
        with pytest.raises(OSError, match=r"PROTOCOL_VERSION|alert|EOF|reset|version"):
            get(port, "/", old)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as plain, pytest.raises((OSError, http.client.HTTPException)):  # fmt: skip
            plain.request("GET", "/")
            plain.getresponse()
        assert get(port, "/healthz", trusting(pair.path))[0] == 200


def test_a_handshake_that_does_not_end_is_cut_off(
    pair: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.http_server.HANDSHAKE_S", 1.0)
    with (
        served_tls(tmp_path, pair) as (port, _, _),
        socket.create_connection(("127.0.0.1", port), timeout=20) as silent,
    ):
        since = time.monotonic()
        assert silent.recv(1) == b""
        assert time.monotonic() - since < 10


def test_a_browser_logs_in_with_a_secure_cookie(pair: Certificate, tmp_path: Path, browser: Browser) -> None:
    context = browser.new_context(ignore_https_errors=True, extra_http_headers=PROXIED)
    with served_tls(tmp_path, pair) as (port, _, tokens):
        page = context.new_page()
        page.goto(link_of(f"https://localhost:{port}", tokens.new("me", Role.OWNER, None, {}), "/hosts"))
        with page.expect_websocket() as opened:
            page.get_by_role("button", name="Open the dashboard").click()
        page.wait_for_url(f"https://localhost:{port}/hosts")
        [cookie] = context.cookies()
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Lax")
        assert opened.value.url == f"wss://localhost:{port}/api/v1/live"
        context.close()


def test_a_renewed_certificate_holds_from_the_next_connection_on(
    pair: Certificate, folder: Path, tmp_path: Path
) -> None:
    with served_tls(tmp_path, pair) as (port, _, _):
        assert shown_at(port) == "first"
        replace(folder / "second.pem", pair.path)
        assert shown_at(port) == "first", "its key is not there yet: the former pair stays in use"
        replace(folder / "second-key.pem", pair.key)
        assert shown_at(port) == "second"
        assert get(port, "/healthz", trusting(pair.path))[0] == 200
        pair.path.unlink()
        assert shown_at(port) == "second"


def replace(source: Path, target: Path) -> None:
    """As the programs that renew do."""
    new = target.with_suffix(".new")
    shutil.copy(source, new)
    new.replace(target)


def access(*words: str) -> Access:
    parser = argparse.ArgumentParser()
    add_reach_flags(parser)
    return access_of(parser.parse_args(words))


def test_files_that_are_no_pair_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    first, key, other = folder / "first.pem", folder / "first-key.pem", folder / "second-key.pem"
    noise, locked, broken = tmp_path / "noise", tmp_path / "locked", tmp_path / "broken"
    noise.write_bytes(os.urandom(3000))
    subprocess.run([str(OPENSSL), "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked], check=True)
    broken.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    for given, said in {
        ("--tls-cert", first): "--tls-cert needs --tls-key FILE",
        ("--tls-key", key): "--tls-key needs --tls-cert FILE",
        ("--tls-cert", tmp_path / "no", "--tls-key", key): "No such file",
        ("--tls-cert", tmp_path, "--tls-key", key): "Is a directory",
        ("--tls-cert", first, "--tls-key", tmp_path / "no"): "give another file with --tls-key",
        ("--tls-cert", noise, "--tls-key", key): "holds no certificate",
        ("--tls-cert", key, "--tls-key", key): "holds no certificate",
        ("--tls-cert", first, "--tls-key", first): "holds no private key",
        ("--tls-cert", first, "--tls-key", other): "is not the key of",
        ("--tls-cert", first, "--tls-key", locked): "asks for a password",
        ("--tls-cert", broken, "--tls-key", key): "cannot be used",
    }.items():
        with pytest.raises(CannotListen) as refused:
            access(*map(str, given))
        assert said in str(refused.value)
        assert str(refused.value).count("\n") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_key_that_cannot_be_read_is_one_sentence(pair: Certificate) -> None:
    pair.key.chmod(0)
    with pytest.raises(BadCertificate, match="Permission denied"):
        pair.context()


def test_one_that_is_over_is_a_warning(tmp_path: Path, pair: Certificate) -> None:
    try:
        over = Certificate(*make_certificate(tmp_path, "over", ends="20210101000000Z"))
    except subprocess.CalledProcessError:
        pytest.skip("this openssl cannot make a certificate that is over")
    assert re.fullmatch(r"\S+over.pem is over: browsers warn of it; renew it, or set the clock", over.warning())
    assert pair.warning() == ""
    assert hosts.Certificate(*make_certificate(tmp_path, "soon", ends="21000101000000Z")).warning() == ""


def test_the_other_commands_find_it(pair: Certificate, tmp_path: Path) -> None:
    flags = ("--tls-cert", str(pair.path), "--tls-key", str(pair.key), "--base-path", "box")
    with dashboard_of(tmp_path / "logs", *flags) as address:
        assert re.fullmatch(r"https://127.0.0.1:\d+/box", address)
        command = [sys.executable, ROOT / "app.py", "doctor", "--json", "--log-dir", tmp_path / "logs"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=60)
        checks = json.loads(found.stdout)["checks"]
        [said] = [check for check in checks if check["name"] == "dashboard"]
        assert said["facts"]["status"] == "ok", said
        [port] = [check for check in checks if check["name"] == "port"]
        assert "that of the running dashboard" in port["sentence"]
        command = [sys.executable, ROOT / "app.py", "url", "--log-dir", tmp_path / "logs"]
        link = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert link.startswith(f"{address}/login#token=dsk_")


@contextmanager
def dashboard_of(log_dir: Path, *flags: str) -> Iterator[str]:
    """The address that the real command prints."""
    log_dir.mkdir()
    command = [sys.executable, ROOT / "app.py", "--port", "0", "--log-dir", log_dir, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[2]
            wait_for(lambda: is_well(address))
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def is_well(address: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"{address}/healthz", context=context) as answer:
        return bool(json.load(answer)["status"] == "ok")


def test_the_start_says_one_sentence(folder: Path, tmp_path: Path) -> None:
    """And nothing was begun by then."""
    command = [sys.executable, ROOT / "app.py", "--port", "0", "--log-dir", tmp_path]
    flags = ["--tls-cert", folder / "first.pem", "--tls-key", folder / "second-key.pem"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(
        r"deepseek-dashboard: \S+second-key.pem is not the key of \S+first.pem; give both files of one pair\n",
        done.stderr,
    )
