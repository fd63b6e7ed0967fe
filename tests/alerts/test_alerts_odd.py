"""Alerts and what may go wrong around them: odd files, receivers that answer oddly, clocks that jump, disks that are full."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from alerts import delivery
from alerts.channels import NotDelivered, send
from alerts.config import AlertSettings, AlertsFile, Receiver, settings_of
from alerts.delivery import BACK_OFF_S, GIVE_UP_S, MAX_BYTES
from alerts.messages import AlertMessage, Composer
from alerts.routing import SeenFindings
from tests.alerts.test_alert_channels import PLUGINS, NoStore, message
from tests.support.alerting import NOW_S, alerting, crash, receiving, webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise's
NO_ADDRESS = [
    "http://[::1",
    "http://exa\u2100mple.org/",
    "http://h:99999/",
    "http://h:x/",
    "http://h:0/",
    "http://",
    "http:///x",
    "https://[x]/",
]
HOUR_S = 3600.0


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_an_address_that_is_none_is_one_sentence_wherever_it_stands(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for yaml in (
        f"receivers:\n- name: a\n  kind: webhook\n  url: {json.dumps(text)}\n",
        f"receivers:\n- name: a\n  kind: ntfy\n  topic: t\n  url: {json.dumps(text)}\n",
        f"link: {json.dumps(text)}\n",
    ):
        (trouble,) = settings_of(yaml).troubles
        assert "is an address such as" in str(trouble) or "is the address of" in str(trouble)
    monkeypatch.setenv("HOOK", text)
    with pytest.raises(NotDelivered, match=r"no address|cannot be reached"):
        send(Receiver("a", "webhook", 1, {"url": "env:HOOK"}), message("run", "It failed."))


@pytest.mark.parametrize("server", ["h:0", "h:65536", "h:99999", "[::1]:70000"])
def test_a_port_that_is_none_is_one_sentence(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (trouble,) = settings_of(f"receivers:\n- {{name: m, kind: email, to: a@x.org, server: '{server}'}}\n").troubles
    assert "server is a host and a port" in str(trouble)
    monkeypatch.setenv("SERVER", server.replace("h:", "127.0.0.1:"))
    with pytest.raises(NotDelivered):
        send(Receiver("m", "email", 1, {"to": "a@x.org", "server": "env:SERVER"}), message("run", "It failed."))


def test_a_file_that_can_be_read_again_is_read_whatever_its_stamp_says(tmp_path: Path) -> None:
    real, file = tmp_path / "real.yaml", AlertsFile(tmp_path)
    real.write_text(webhook("http://a"))
    old_s = 1_000_000_000
    os.utime(real, (old_s, old_s))
    (tmp_path / "alerts.yaml").symlink_to(real)  # a link is not followed
    assert not file.look().receivers
    assert "cannot be read" in str(file.look().troubles[0])
    real.rename(tmp_path / "alerts.yaml")
    assert [receiver.name for receiver in file.look().receivers] == ["hook"]
    assert not file.look().troubles


def test_a_file_that_comes_back_as_it_was_has_no_trouble_left(tmp_path: Path) -> None:
    path, file = tmp_path / "alerts.yaml", AlertsFile(tmp_path)
    path.write_text(webhook("http://a"))
    assert not file.look().troubles
    path.rename(tmp_path / "away")
    path.mkdir()
    (trouble,) = file.look().troubles
    assert "is not a regular file" in str(trouble)
    path.rmdir()
    (tmp_path / "away").rename(path)
    assert not file.look().troubles
    assert [receiver.name for receiver in file.look().receivers] == ["hook"]


def test_a_file_that_is_no_yaml_changes_nothing_also_where_it_had_rules_alone(tmp_path: Path) -> None:
    path, file = tmp_path / "alerts.yaml", AlertsFile(tmp_path)
    path.write_text("rules:\n- {name: high, when: x > 1, severity: note}\n")
    assert len(file.look().rules) == 1
    path.write_text("rules: [\n- {name: high")
    assert file.look().troubles
    assert len(file.look().rules) == 1


# -- receivers ---------------------------------------------------------------------------------------------------------


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that reads a request and then does what it likes; its address, and the requests."""
    listener = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(65536)
                head, _, body = data.partition(b"\r\n\r\n")
                size = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                while len(body) < size:
                    body += connection.recv(65536)
                got.append(body)
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", got
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe",
        b"HTTP/1.0 202 \xff\xfe\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n",
    ],
)
def test_a_receiver_that_says_it_has_the_message_gets_it_once_whatever_follows(tmp_path: Path, said: bytes) -> None:
    with (
        answering(lambda connection: connection.sendall(said)) as (url, got),
        alerting(tmp_path, webhook(url)) as alerts,
    ):
        alerts.store_all([crash("a")])
        alerts.turns(40, 5.0)
        assert [message.state for message in alerts.collector._outbox.sent()] == ["delivered"]
        assert len(got) == 1


@pytest.mark.parametrize("said", [b"", b"\x00" * 300, b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300])
def test_a_receiver_that_speaks_no_http_is_tried_again(tmp_path: Path, said: bytes) -> None:
    with (
        answering(lambda connection: connection.sendall(said)) as (url, got),
        alerting(tmp_path, webhook(url)) as alerts,
    ):
        alerts.store_all([crash("a")])
        alerts.turns(4, 5.0)
        (waiting,) = alerts.collector._outbox.waiting()
        assert waiting.attempts == len(got) > 0
        assert waiting.error


def test_one_message_that_a_receiver_chokes_on_holds_up_no_other(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        status = b"500 Oh" if b'"run": "poison"' in got[-1] else b"200 OK"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    with answering(answer) as (url, got), alerting(tmp_path, webhook(url, "group_s: 0\nrate: 1000/h\n")) as alerts:
        alerts.store_all([crash("poison")])
        alerts.turns(1500)
        for number in range(10):
            began_s = alerts.clock.now_s
            alerts.store_all([crash(f"run{number}", began_s)])
            alerts.turns(5)
            assert any(f'"run": "run{number}"'.encode() in body for body in got), "within 5 s"
            alerts.turns(60)
        assert [message.runs for message in alerts.collector._outbox.waiting()] == [("poison",)]


def test_a_fault_in_a_channel_is_a_failed_delivery_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from alerts import channels as channel

    def broken(*args: Any) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(channel, "post", broken)
    with pytest.raises(NotDelivered, match="RuntimeError") as failed:
        send(Receiver("a", "webhook", 1, {"url": "http://a"}), message("run", "It failed."))
    assert "hunter2" not in str(failed.value)


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-30 * 86400.0, -86400.0, -600.0, 600.0, 86400.0, 30 * 86400.0])
def test_a_clock_that_jumps_loses_no_message_and_delays_none(tmp_path: Path, jump_s: float) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, "group_s: 0\nrate: 3/h\n")) as alerts:
        receiver.status = 503
        for number in range(3):
            alerts.store_all([crash(f"early{number}")])
            alerts.turns(20)
        alerts.clock.now_s += jump_s
        alerts.turns(3, 30.0)  # the network is not back yet
        receiver.status = 200
        alerts.turns(30, 30.0)
        assert sum(got.json["count"] for got in receiver.got) == 3
        alerts.clock.now_s += jump_s
        alerts.store_all([crash("late", alerts.clock.now_s)])
        alerts.turns(130, 30.0)
        assert receiver.got[-1].json["run"] == "late"
        assert not alerts.collector._outbox.waiting()


def test_a_message_is_given_up_after_a_week_of_tries_and_not_for_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MIN_ATTEMPTS", 50)

    def dead(receiver: Receiver, message: AlertMessage) -> None:
        raise NotDelivered("it answers 503", dead=True)

    with alerting(tmp_path, webhook("http://a"), send=dead) as alerts:
        alerts.store_all([crash("a")])
        alerts.turns(5)
        alerts.turns(1, GIVE_UP_S + HOUR_S)  # asleep
        assert alerts.collector._outbox.waiting()
        alerts.turns(60, BACK_OFF_S[1])
        assert [message.state for message in alerts.collector._outbox.sent()] == ["failed"]


# -- disks -------------------------------------------------------------------------------------------------------------


def test_findings_that_a_full_disk_kept_from_being_written_down_are_written_later(tmp_path: Path) -> None:
    seen = SeenFindings(tmp_path)
    with pytest.raises(OSError):
        seen.add(["a", "b"])  # its folder is not there
    (tmp_path / "alerts").mkdir()
    seen.add(["a", "b"])
    again = SeenFindings(tmp_path)
    assert "a" in again
    assert "b" in again


def test_a_summary_of_very_many_findings_can_be_read_again(tmp_path: Path) -> None:
    with receiving() as receiver, alerting(tmp_path, webhook(receiver.url, "rate: 2/h\n")) as alerts:
        ids = [[f"crash-{number:03}-{member:014}" for member in range(1000)] for number in range(40)]
        for number, members in enumerate(ids):
            runs = tuple(f"run {number} {'雪' * 150} {place}" for place in range(50))
            made = AlertMessage(
                f"m{number}",
                "hook",
                "begin",
                "crash",
                "Crashed",
                "alert",
                ("It failed.",),
                runs,
                tuple(members),
                NOW_S,
                NOW_S,
            )
            alerts.collector._outbox.add(dataclasses.replace(made, lasting=made.findings))
        alerts.turns(2)
        assert all(path.stat().st_size < MAX_BYTES for path in (tmp_path / "alerts").rglob("*.json"))
        receiver.status = 503
        alerts.turns(24, HOUR_S)
        assert all(path.stat().st_size < MAX_BYTES for path in (tmp_path / "alerts").rglob("*.json"))
        receiver.status = 200
        alerts.turns(24, HOUR_S)
        assert {finding for got in receiver.got for finding in got.json["findings"]} == {
            id_ for some in ids for id_ in some
        }
        assert len(set(receiver.ids())) == len(receiver.got)


# -- long messages -----------------------------------------------------------------------------------------------------


def long_message(sentence: str) -> AlertMessage:
    found = [crash(f"{sentence[:100]}/{number}", NOW_S, sentence * 400) for number in range(40)]
    return Composer(NoStore()).message("r", "begin", found, AlertSettings(link="http://box:8080"), NOW_S)  # type: ignore[arg-type]


@pytest.mark.parametrize("sentence", ["x", "ä", "雪", "\U0001f600", '"', "a b "])
def test_a_long_message_is_as_short_as_ntfy_takes_it(sentence: str) -> None:
    """Its server makes an attachment of more than 4,096 bytes, and refuses a document of more than 8,192."""
    with receiving() as server:
        send(Receiver("p", "ntfy", 1, {"topic": "t", "url": server.url}), long_message(sentence))
        (got,) = server.got
    assert len(got.json["message"].encode()) <= 4096
    assert len(got.body) <= 8192
    assert got.json["message"].count(sentence) > 300


@pytest.mark.parametrize("name", PLUGINS)
def test_a_long_message_is_as_short_as_a_service_takes_it_and_keeps_its_id(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apprise

    said: list[tuple[str, str, int]] = []

    def notify(self: Any, body: str, title: str = "", **more: Any) -> bool:
        said.extend((title, body, service.body_maxlen) for service in self)
        return True

    monkeypatch.setattr(apprise.Apprise, "notify", notify)
    monkeypatch.setenv("ADDRESS", PLUGINS[name][0])
    made = long_message("snow ")
    send(Receiver("r", "apprise", 1, {"url": "env:ADDRESS"}), made)
    ((title, text, most),) = said
    assert len(title) + len(text) <= most
    assert text.endswith(f"\nid: {made.id}")
    assert "snow" in text
