"""Pages of an app elsewhere read the API with a viewer's token, and get nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import websockets

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.queries import Queries
from tests.support.serving import Answer, run, served_app

APP, PROXY, STRANGER = "http://app.example:8050", "https://proxy.example", "http://evil.example"


class Scene(NamedTuple):
    port: int
    secrets: dict[str, str]  # by role

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        """As this user's own program, which is the owner where nothing else is said."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())

    def bearer(self, role: str) -> str:
        return f"Bearer {self.secrets[role]}"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("apps")
    with contextlib.closing(open_store(folder, write=True)) as writer:
        writer.append(
            [Points("a", labels_of(host="box"), ("loss",), (1.0,), 1_764_000_000.0 + step, step) for step in range(9)]
        )
    tokens = Tokens(folder)
    secrets = {role.value: tokens.new(role.value, role, None, {}) for role in (Role.OWNER, Role.VIEWER)}
    secrets["writer"] = tokens.new("writer", Role.WRITER, None, {"runs": "team/"})
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served_app(make_app(queries, Access(hosts=("proxy.example",), origins=(APP, PROXY)))) as web:
        yield Scene(web.port, secrets)
    queries.close()


def test_an_app_reads_with_a_viewers_token(scene: Scene) -> None:
    asked = scene.ask("/api/v1/runs", Origin=APP, Sec_Fetch_Site="cross-site", Authorization=scene.bearer("viewer"))
    assert asked.status == 200 and [row["run"] for row in asked.json["runs"]] == ["a"]
    assert asked.headers["access-control-allow-origin"] == APP and "Origin" in asked.headers["vary"]
    assert "access-control-allow-credentials" not in asked.headers


@pytest.mark.parametrize(
    ("role", "path", "status", "why"),
    [
        ("", "/api/v1/runs", 401, "show a viewer's token"),  # though the same program is the owner without an Origin
        ("owner", "/api/v1/runs", 403, "a viewer's token, not with that of the owner"),
        ("writer", "/api/v1/runs", 403, "a viewer's token, not with that of the writer"),
        ("viewer", "/api/v1/settings", 403, "only the owner"),
        ("viewer", "/api/v1/source?run=a&file=x.py", 403, "not part of this link"),
        ("viewer", "/", 403, "may only read /api/v1/"),
        ("viewer", "/metrics", 403, "may only read /api/v1/"),
    ],
)
def test_what_a_viewer_may_not_see_stays_hidden(scene: Scene, role: str, path: str, status: int, why: str) -> None:
    headers = {"Authorization": scene.bearer(role)} if role else {}
    asked = scene.ask(path, Origin=APP, **headers)
    assert asked.status == status and why in asked.json["error"]
    assert asked.headers["access-control-allow-origin"] == APP, "else the app cannot show the sentence"


def test_a_wrong_token_is_told(scene: Scene) -> None:
    asked = scene.ask("/api/v1/runs", Origin=APP, Authorization="Bearer dsk_" + "A" * 43)
    assert asked.status == 401 and "not known" in asked.json["error"] and "access-control-allow-origin" in asked.headers


@pytest.mark.parametrize("role", ["", "viewer", "owner"])
def test_an_app_changes_nothing(scene: Scene, role: str) -> None:
    headers = {"Authorization": scene.bearer(role)} if role else {}
    for kind in ("application/json", "text/plain"):
        asked = scene.ask("/api/v1/settings", "POST", '{"currency": "EUR"}', Origin=APP, Content_Type=kind, **headers)
        assert asked.status == 403, asked
    assert scene.ask("/login", "POST", "token=x", Origin=APP).status == 403


def test_a_browser_may_ask_before_for_reading_alone(scene: Scene) -> None:
    wanted = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "authorization"}
    asked = scene.ask("/api/v1/curves", "OPTIONS", Origin=APP, **wanted)
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "GET")
    assert asked.headers["access-control-allow-headers"] == "authorization"
    assert scene.ask("/api/v1/curves", "OPTIONS", Origin=APP, Host="evil.example", **wanted).status == 403


@pytest.mark.parametrize(
    "origin", [STRANGER, "http://app.example", "https://app.example:8050", "http://app.example:80500", "null"]
)
def test_other_origins_get_nothing(scene: Scene, origin: str) -> None:
    for method in ("GET", "OPTIONS"):
        asked = scene.ask("/api/v1/runs", method, Origin=origin, Authorization=scene.bearer("viewer"))
        assert asked.status == 403 and "access-control-allow-origin" not in asked.headers


def test_an_origin_whose_host_is_allowed_is_the_dashboard_behind_a_proxy(scene: Scene) -> None:
    """It is trusted as before, and gets no header for other origins."""
    asked = scene.ask("/api/v1/settings", "POST", '{"currency": "EUR"}', Origin=PROXY, Content_Type="application/json")
    assert asked.status == 200 and "access-control-allow-origin" not in asked.headers


def test_the_socket_takes_the_token_as_a_protocol(scene: Scene) -> None:
    async def first(*protocols: str, origin: str = APP) -> str:
        url, offered = f"ws://127.0.0.1:{scene.port}/api/v1/live", [websockets.Subprotocol(name) for name in protocols]
        async with websockets.connect(url, origin=websockets.Origin(origin), subprotocols=offered) as socket:
            assert socket.subprotocol == "deepseek"
            return str(json.loads(await asyncio.wait_for(socket.recv(), 20))["log_dir"])

    assert run(first("deepseek", scene.secrets["viewer"])).startswith("…/"), "not what a viewer gets"
    for protocols in (("deepseek", scene.secrets["owner"]), ("deepseek", "dsk_" + "A" * 43), ("deepseek",)):
        with pytest.raises(websockets.InvalidStatus):
            run(first(*protocols))
    with pytest.raises(websockets.InvalidStatus):
        run(first("deepseek", scene.secrets["viewer"], origin=STRANGER))
