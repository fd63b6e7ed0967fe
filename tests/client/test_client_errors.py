"""What the client says where nothing answers, something else answers, or a question is wrong."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from deepseek.client import Dashboard, DashboardError
from tests.support.odd_client import HI, LO, Raw
from tests.support.odd_client import client as client  # a fixture
from tests.support.odd_client import raw as raw  # a fixture
from tests.support.odd_client import running as running  # a fixture

# -- errors --------------------------------------------------------------------------------------------------------------


def test_an_error_is_the_apis_own_sentence(client: Dashboard, raw: Raw) -> None:
    for ask, answer in (
        (lambda: client.run("nö"), raw("run", run="nö")),
        (lambda: client.points("run", "loss +"), raw("curves", run="run", expr="loss +")),
        (lambda: client.flame("group/a", HI, LO), raw("flame", run="group/a", from_=HI, to=LO)),
        (lambda: client.logs("run", limit=10**9), raw("logs", run="run", limit=10**9)),
        (lambda: client.points("", "loss"), raw("curves", run="", expr="loss")),
    ):
        with pytest.raises(DashboardError) as found:
            ask()
        assert str(found.value) == answer["error"] and "\n" not in str(found.value)
        assert found.value.status in (400, 404)


@pytest.mark.parametrize("ask", [
    lambda client: client.points("run", []),
    lambda client: client.points("run", 7),
    lambda client: client.points("run", "train/loss", value="median"),
    lambda client: client.points("run", "train/loss", "yesterday"),
    lambda client: client.run("\ud800"),
])  # fmt: skip
def test_a_wrong_argument_gets_one_sentence(client: Dashboard, ask: Callable[[Dashboard], object]) -> None:
    with pytest.raises(DashboardError) as found:
        ask(client)
    assert "\n" not in str(found.value) and len(str(found.value)) < 300


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a:port", "http://a:99999", None])
def test_what_is_no_address_gets_a_sentence(url: Any) -> None:
    with pytest.raises(DashboardError, match="is not an address; write it as in"):
        Dashboard(url)


def test_where_no_dashboard_answers_the_remedy_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    with pytest.raises(DashboardError, match=r"no dashboard answers at .*; start one with: deepseek-dashboard"):
        Dashboard(f"http://127.0.0.1:{number}").runs()


class Stranger(http.server.BaseHTTPRequestHandler):
    """Another server; keeps the headers of what it was asked."""

    seen: list[dict[str, str]]
    status, body, location = 200, b"<html>hello", ""

    def do_GET(self) -> None:
        type(self).seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def stranger(**answer: Any) -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    handler = type("Handler", (Stranger,), {**answer, "seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
        server.shutdown()
        thread.join()


def test_another_server_is_no_dashboard_and_a_redirect_is_not_followed() -> None:
    with stranger() as (url, _), pytest.raises(DashboardError, match="is not a dashboard: it answers 200"):
        Dashboard(url).runs()
    with stranger() as (elsewhere, seen), stranger(status=302, body=b"{}", location=elsewhere) as (url, _):
        with pytest.raises(DashboardError, match="answers 302"):
            Dashboard(url, token="secret").runs()
        assert seen == []


def test_a_token_is_sent_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with stranger(body=json.dumps({"runs": []}).encode()) as (url, seen):
        client = Dashboard(url, token="s3cret")
        assert client.runs().empty
        assert (seen[0]["authorization"], seen[0]["accept-encoding"]) == ("Bearer s3cret", "gzip")
        assert "s3cret" not in repr(client)
    with pytest.raises(DashboardError) as found:
        Dashboard(url, token="a\r\nX: s3cret")
    assert "s3cret" not in str(found.value)


def test_a_server_that_says_nothing_costs_the_time_that_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Dashboard(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        with pytest.raises(DashboardError, match=r"did not answer within 0.2 s"):
            client.runs()
