"""What each channel sends to a real server, whatever runs and logs are called, and that no secret gets out."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.channels import NotDelivered, fields_of, mail_of, send
from alerts.config import AlertSettings, Receiver
from alerts.messages import AlertMessage, Composer, body, clean, headline, message_of, sparkline
from collectors.records import Finding
from tests.support.alerting import NOW_S, Receiving, alerting, crash, receiving

SECRET = "hunter2-very-secret-9f8e"
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
HOSTILE = "a\r\nBcc: eve@x.org\r\n\r\n<script>alert(1)</script> <!channel> @everyone [x](http://evil) `rm` **b** \x00\x1b[31m\u202e\ud800 # h"
ODD = st.text(st.characters(), max_size=300) | st.sampled_from(
    [HOSTILE, "\n", "\r\n.\r\n", "%0d%0aBcc:x", "=?utf-8?q?=0D=0A?=", '}{"a":1']
)


class NoStore:
    def series(self, run: str | None) -> list[Any]:
        return []


def message(run: str, sentence: str, phase: Any = "begin") -> AlertMessage:
    fields = {"place": {"file": sentence, "line": 3, "function": run}}
    found = Finding("id-1", run, "crash", "alert", NOW_S, NOW_S, True, sentence, 0, 7, fields)
    return Composer(NoStore()).message("r", phase, [found], AlertSettings(link="http://box:8080"), NOW_S)  # type: ignore[arg-type]


class Mails(threading.Thread):
    """An SMTP server for one mail after the other."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got: list[tuple[list[str], bytes]] = []

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._serve(stream)

    def _serve(self, stream: Any) -> None:
        to: list[str] = []

        def say(line: str) -> None:
            stream.write(line.encode() + b"\r\n")
            stream.flush()

        say("220 here")
        for line in stream:
            match line[:4].upper():
                case b"EHLO":
                    say("250-here")
                    say("250-SMTPUTF8")
                    say("250 8BITMIME")
                case b"RCPT":
                    to.append(line.decode().strip())
                    say("250 ok")
                case b"DATA":
                    say("354 go on")
                    data = b""
                    while (part := stream.readline()) != b".\r\n":
                        data += part
                    self.got.append((to, data))
                    say("250 taken")
                case b"QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 ok")


@contextmanager
def mails() -> Iterator[Mails]:
    server = Mails()
    server.start()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        server.join()


def test_a_mail_has_its_id_and_plain_text(tmp_path: Path) -> None:
    with mails() as server:
        text = f"receivers:\n- {{name: m, kind: email, server: '127.0.0.1:{server.port}', to: [a@x.org, b@x.org], from: d@x.org, security: none}}\n"
        with alerting(tmp_path, text) as alerts:
            alerts.store_all([crash("weißer lauf")])
            alerts.turns(5)
            (sent,) = alerts.collector._outbox.sent()
        assert sent.state == "delivered"
        ((to, data),) = server.got
        assert [line.upper() for line in to] == ["RCPT TO:<A@X.ORG>", "RCPT TO:<B@X.ORG>"]
        mail = email.message_from_bytes(data, EmailMessage, policy=email.policy.default)
        assert mail["Subject"] == "Crashed - weißer lauf"
        assert mail["Message-ID"] == f"<{sent.id}@deepseek-dashboard>"
        assert mail.get_content_type() == "text/plain"
        assert "OutOfMemoryError" in mail.get_content()


def test_ntfy_gets_json_by_its_publish_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NTFY_TOKEN", SECRET)
    with receiving() as server:
        text = f"link: http://box\nreceivers:\n- {{name: p, kind: ntfy, url: '{server.url}', topic: t1, token: env:NTFY_TOKEN}}\n"
        with alerting(tmp_path, text) as alerts:
            alerts.store_all([crash(HOSTILE.replace("\ud800", ""))])
            alerts.turns(5)
        (got,) = server.got
    said = got.json
    assert (said["topic"], said["click"].startswith("http://box/training?runs=a%0D%0A"), said["priority"]) == (
        "t1",
        True,
        4,
    )
    assert "markdown" not in said
    assert got.headers["authorization"] == f"Bearer {SECRET}"
    assert said["sequence_id"] == said["id"] == got.headers["idempotency-key"]
    assert not no_secret_in(tmp_path)


def no_secret_in(data_dir: Path) -> list[str]:
    return [path.name for path in data_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_secret_is_in_no_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOOK", f"http://127.0.0.1:9/{SECRET}?token={SECRET}")
    monkeypatch.setenv("MAIL", SECRET)
    monkeypatch.setenv("APPRISE", f"json://user:{SECRET}@127.0.0.1:9/{SECRET}")
    text = (
        "receivers:\n- {name: h, kind: webhook, url: env:HOOK, authorization: env:MAIL}\n"
        "- {name: m, kind: email, server: '127.0.0.1:9', to: a@x.org, user: a@x.org, password: env:MAIL}\n"
        "- {name: a, kind: apprise, url: env:APPRISE}\n- {name: n, kind: webhook, url: env:NOT_THERE}\n"
    )
    with caplog.at_level("DEBUG"), alerting(tmp_path, text) as alerts:
        alerts.store_all([crash("a")])
        alerts.turns(5)
        errors = {message.receiver: message.error for message in alerts.collector._outbox.waiting()}
    assert set(errors) == {"h", "m", "a", "n"}
    assert errors["n"] == "the variable NOT_THERE is not set where the collector runs"
    assert "cannot be reached" in errors["h"]
    assert all(errors.values())
    assert SECRET not in json.dumps(errors)
    assert SECRET not in caplog.text
    assert not no_secret_in(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(ODD, ODD)
def test_no_text_of_a_run_gets_out_of_its_place(run: str, sentence: str) -> None:
    made = message(run, sentence)
    assert message_of(made.written()) == made
    for line in (*made.sentences, *made.runs, made.line, headline(made)):
        assert line.isprintable() or not line.strip("\ufffd ").isascii()
        assert not set(line) & set("\r\n\x00\x1b\u202e\u2028")
    mail = mail_of({"to": "a@x.org", "from": "d@x.org"}, made)
    again = email.message_from_bytes(mail.as_bytes(), EmailMessage, policy=email.policy.default)
    assert set(again.keys()) == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "Content-Type",
        "Content-Transfer-Encoding",
        "MIME-Version",
    }
    assert again["To"] == "a@x.org"
    assert not again.is_multipart()
    said = json.loads(json.dumps(fields_of(made)))
    assert said["run"] == made.runs[0]
    chat = body(made, chat=True)
    assert not set(chat.removesuffix(made.link)) & set("<>@[]`*&#!|~\\"), "where markup would be read"
    assert said["text"] == body(made), "a program gets what was logged"
    assert made.link.isascii()
    assert len(body(made)) < 8000


def test_a_text_is_cut_and_what_looks_like_a_secret_is_left_out() -> None:
    assert len(clean("x" * 100_000)) == 400
    assert SECRET not in clean(f"ValueError: password={SECRET}")
    assert sparkline([1, 2, float("nan"), 3]) == "▁▅·█"
    assert sparkline([float("nan")]) == ""
    assert sparkline([2.0, 2.0]) == "▄▄"


PLUGINS = {
    "slack": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "hooks.slack.com"),
    "discord": ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "discord.com"),
    "feishu": ("feishu://abcdefgh12345678", "open.feishu.cn"),
    "dingtalk": ("dingtalk://abcdef1234567890abcdef", "oapi.dingtalk.com"),
    "teams": ("workflows://prod-00.westus.logic.azure.com:443/643e69f83c8944/KmpXrhGyKJ4cPmdd4FH0", "logic.azure.com"),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_the_library_sends_the_sentence_as_plain_text(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The plugin's own request, led to a server here by its HTTP library's adapter; untested against the service."""
    import requests
    from requests.adapters import HTTPAdapter

    url, host = PLUGINS[name]
    (tmp_path / "secret").write_text(url)
    real, asked = HTTPAdapter.send, []
    with receiving() as server:

        def here(self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:
            asked.append(request.url or "")
            request.url = f"{server.url}/{name}"
            return real(self, request, *args, **more)

        monkeypatch.setattr(HTTPAdapter, "send", here)
        made = message(HOSTILE, "The run failed: <!channel> @everyone [x](http://evil)")
        receiver = Receiver("r", "apprise", 1, {"url": f"file:{tmp_path / 'secret'}"})
        with suppress(NotDelivered):  # of an answer that is not the service's own
            send(receiver, made)
        got: Receiving = server
    assert host in asked[0]
    (said, *_) = got.got
    text = json.dumps(said.json, ensure_ascii=False)
    assert "The run failed: ‹" in text
    assert made.id in text
    assert "<!channel>" not in text
    assert "@everyone" not in text
    assert "](http" not in text


def test_the_library_is_not_loaded_without_such_a_receiver() -> None:
    code = "import sys, collector; print([name for name in ('apprise', 'requests', 'smtplib', 'lark') if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
