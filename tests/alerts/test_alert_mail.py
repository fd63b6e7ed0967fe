"""Mail over TLS and with a login, to a real server here: what it takes is delivered once, and no password goes out in the clear."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from alerts.channels import NotDelivered, send
from alerts.config import Receiver
from tests.alerts.test_alert_channels import message
from tests.support.alerting import alerting, crash

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
USER, PASSWORD = "ada@x.org", "hunter2-very-secret-9f8e"


class Certificate(NamedTuple):
    chain: Path
    key: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of localhost, its own authority."""
    folder = tmp_path_factory.mktemp("certificate")
    made = Certificate(folder / "chain.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(made.key), "-out", str(made.chain)]
    subprocess.run(command, check=True, capture_output=True)
    return made


class MailServer(threading.Thread):
    """SMTP for one client after the other. `heard` is all that it was sent, `mails` what it took."""

    def __init__(
        self, certificate: Certificate, *, tls: str = "starttls", last_word: str = "221 bye", login: str = PASSWORD
    ) -> None:
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        self.tls, self.last_word, self.login = tls, last_word, login
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.refused: set[bytes] = set()  # addresses
        self.heard, self.mails, self.logins = list[tuple[bool, bytes]](), list[bytes](), list[bool]()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with suppress(OSError), ExitStack() as opened:  # a client that trusts no such certificate goes
                self._talk(opened.enter_context(connection), opened)

    def _talk(self, connection: socket.socket, opened: ExitStack) -> None:
        secure = self.tls == "ssl"
        if secure:
            connection = opened.enter_context(self.context.wrap_socket(connection, server_side=True))
        stream: Any = opened.enter_context(connection.makefile("rwb"))

        def say(line: str) -> None:
            stream.write(line.encode() + b"\r\n")
            stream.flush()

        say("220 here")
        while line := stream.readline():
            self.heard.append((secure, line))
            match line.split()[0].upper() if line.split() else b"":
                case b"EHLO":
                    offered = ["STARTTLS"] if self.tls == "starttls" and not secure else ["AUTH PLAIN LOGIN"]
                    for word in ["250-here", *(f"250-{word}" for word in offered), "250 8BITMIME"]:
                        say(word)
                case b"STARTTLS" if self.tls == "starttls":
                    say("220 go on")
                    connection = opened.enter_context(self.context.wrap_socket(connection, server_side=True))
                    stream, secure = opened.enter_context(connection.makefile("rwb")), True
                case b"AUTH":
                    given = base64.b64decode(line.split()[2])
                    self.logins.append(given == f"\0{USER}\0{self.login}".encode())
                    say("235 welcome" if self.logins[-1] else "535 no")
                case b"RCPT" if any(address in line for address in self.refused):
                    say("450 later")
                case b"DATA":
                    say("354 go on")
                    data = b""
                    while (part := stream.readline()) not in (b".\r\n", b""):
                        data += part
                    self.mails.append(data)
                    say("250 taken")
                case b"QUIT":
                    say(self.last_word)
                    return
                case _:
                    say("250 ok")


@contextmanager
def serving(certificate: Certificate, **more: Any) -> Iterator[MailServer]:
    server = MailServer(certificate, **more)
    server.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        server.join(10)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)


def receiver(server: MailServer, host: str = "localhost", security: str = "starttls") -> Receiver:
    values = {
        "server": f"{host}:{server.port}",
        "to": "b@x.org",
        "user": USER,
        "password": "env:MAIL_PASSWORD",
        "security": security,
    }
    return Receiver("m", "email", 1, values)


@pytest.mark.parametrize("security", ["starttls", "ssl"])
@pytest.mark.parametrize("secret", [PASSWORD, "pässwörd-雪"])
def test_a_mail_is_sent_over_tls_after_a_login(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, security: str, secret: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    monkeypatch.setenv("MAIL_PASSWORD", secret)
    with serving(certificate, tls=security, login=secret) as server:
        send(receiver(server, security=security), message("run", "It failed."))
    assert server.logins == [True]
    assert len(server.mails) == 1
    assert b"It failed." in server.mails[0]
    assert [line.split()[0] for secure, line in server.heard if not secure] == (
        [b"ehlo", b"STARTTLS"] if security == "starttls" else []
    )


@pytest.mark.parametrize("secret", ["wrong-password", "fälsch-password"])
def test_a_wrong_password_is_one_sentence_without_it(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    monkeypatch.setenv("MAIL_PASSWORD", secret)
    with serving(certificate) as server, pytest.raises(NotDelivered) as failed:
        send(receiver(server), message("run", "It failed."))
    assert str(failed.value) == "the mail server answers 535"
    assert failed.value.dead
    assert not server.mails


@pytest.mark.parametrize(
    ("tls", "security", "host", "trusted"),
    [
        ("starttls", "starttls", "localhost", False),
        ("ssl", "ssl", "localhost", False),
        ("starttls", "starttls", "127.0.0.1", True),
        ("ssl", "ssl", "127.0.0.1", True),
        ("none", "starttls", "localhost", True),
    ],
    ids=["unknown authority", "unknown authority, ssl", "another host's", "another host's, ssl", "no TLS"],
)
def test_no_password_and_no_mail_goes_to_a_server_that_is_not_known(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, tls: str, security: str, host: str, trusted: bool
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    with serving(certificate, tls=tls) as server, pytest.raises(NotDelivered, match="cannot be reached"):
        send(receiver(server, host, security), message("run", "It failed."))
    assert not server.logins
    assert not server.mails


@pytest.mark.parametrize("last_word", ["221 bye", "421 too late", "500 what", "\x00\xff", ""])
def test_a_mail_that_was_taken_is_sent_once_however_the_server_says_good_bye(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last_word: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    with serving(certificate, last_word=last_word) as server:
        text = f"receivers:\n- {{name: m, kind: email, server: 'localhost:{server.port}', to: b@x.org, user: {USER}, password: 'env:MAIL_PASSWORD'}}\n"
        with alerting(tmp_path, text) as alerts:
            alerts.store_all([crash("a")])
            alerts.turns(20, 10.0)
            assert [sent.state for sent in alerts.collector._outbox.sent()] == ["delivered"]
    assert len(server.mails) == 1


def test_an_address_that_is_refused_gets_it_later_and_the_others_get_it_once(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))
    with serving(certificate) as server:
        to_three = replace(receiver(server), values={**receiver(server).values, "to": "b@x.org, c@x.org, d@x.org"})
        said, server.refused = message("run", "It failed."), {b"<c@x.org>"}
        for why in ("1 of 3 addresses", "this address"):
            with pytest.raises(NotDelivered, match=why):
                send(to_three, said)
        server.refused = set()
        send(to_three, said)
    taken = [line for _, line in server.heard if line.upper().startswith(b"RCPT")]
    assert [sum(address in line for line in taken) for address in (b"<b@x.org>", b"<c@x.org>", b"<d@x.org>")] == [
        1,
        3,
        1,
    ]
    assert len({mail.split(b"Message-ID: ")[1].split()[0] for mail in server.mails}) == 1
