"""A viewer asks for everything in every way, of a store in which all that it may not see is marked: no mark comes out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import unquote_plus

import pytest
import websockets

from access.roles import DETAILS, Role
from access.tokens import Tokens
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.api.openapi import DeltaMessage
from dashboard.app import make_app
from dashboard.queries import Queries
from tests.support.canaries import FORBIDDEN, PATH, RUNS, canary_records, questions, questions_of
from tests.support.other_clients import PROXIED, Asked, Got, ask
from tests.support.serving import run, served_app

NOT_ANSWERED = {"/api/v1/job", "/api/v1/source", "/api/v1/trace"}  # there is no job, and no file


class Canaries(NamedTuple):
    port: int
    app: Any
    writer: Store
    secrets: dict[str, str]

    def ask(self, address: str, by: str = "viewer", body: Any = None) -> Got:
        headers = {"Authorization": f"Bearer {self.secrets[by]}", **PROXIED}
        if body is None:
            return ask(self.port, Asked("GET", address, headers))
        return ask(self.port, Asked("POST", address, {**headers, "Content-Type": "application/json"}, json.dumps(body)))


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    folder = tmp_path_factory.mktemp("canaries") / "zzhome" / "logs"
    folder.parent.mkdir()
    writer = open_store(folder, write=True)
    writer.append(list(canary_records()))
    tokens = Tokens(folder)
    secrets = {"viewer": tokens.new("v", Role.VIEWER, None, {}), "owner": tokens.new("o", Role.OWNER, None, {})}
    secrets["detailed"] = tokens.new("d", Role.VIEWER, None, {"grants": [DETAILS]})
    queries = Queries(open_store(folder, write=False), folder, folder)
    app = make_app(queries)
    with served_app(app) as web:
        yield Canaries(web.port, app, writer, secrets)
    queries.close()
    writer.close()


def marks(text: str, asked: str = "") -> list[str]:
    """Those in an answer, with what stands around them; what the question itself says is no news."""
    if PATH in asked:
        text = text.replace(PATH, "").replace("zzhome", "")
    return [
        f"{text[max(0, text.index(mark) - 80) :][:160]}" for mark in FORBIDDEN if mark in text and mark not in asked
    ]


def test_no_answer_to_a_viewer_holds_a_mark(canaries: Canaries) -> None:
    marked, answered = 0, set()
    described = canaries.app.openapi()
    for address in (*questions_of(described), *questions()):
        got, owners = canaries.ask(address), canaries.ask(address, "owner")
        answered |= {address.partition("?")[0]} if owners.status == 200 else set()
        assert not marks(got.text, unquote_plus(address)), (address, marks(got.text, unquote_plus(address)))
        assert got.status < 500 and owners.status < 500, address
        assert got.status in (owners.status, 403), address
        marked += bool(marks(owners.text))
    assert marked > 200, "the owner sees what the viewer does not"
    reads = {path for path, methods in described["paths"].items() if "get" in methods and "{" not in path}
    assert reads - answered <= NOT_ANSWERED, "each route has answered something"


def test_what_is_granted_shows_the_marks(canaries: Canaries) -> None:
    for address in (
        "/api/v1/run?run=a",
        "/api/v1/sample?run=a&id=1",
        "/api/v1/curves?run=a&expr=train/loss&group=argv",
    ):
        assert marks(canaries.ask(address).text) == [] and marks(canaries.ask(address, "detailed").text), address


def test_the_socket_sends_a_viewer_no_mark(canaries: Canaries) -> None:
    async def heard() -> str:
        headers = {"Authorization": f"Bearer {canaries.secrets['viewer']}", **PROXIED}
        text = ""
        async with websockets.connect(
            f"ws://127.0.0.1:{canaries.port}/api/v1/live", additional_headers=headers
        ) as socket:
            text += str(await socket.recv())
            cursor = json.loads(canaries.ask("/api/v1/runs").text).get("cursor", 0)
            await socket.send(
                json.dumps({"subscribe": [{"run": name, "series": ["train/*"]} for name in RUNS], "cursor": cursor})
            )
            canaries.writer.append(list(canary_records()))
            async with asyncio.timeout(20):
                while '"type":"delta"' not in text:
                    text += str(await socket.recv())
            await socket.send(json.dumps({"subscribe": [PATH]}))
            async with asyncio.timeout(20):
                while '"type":"refused"' not in text:
                    text += str(await socket.recv())
        return text

    text = run(heard())
    assert "data.bin" in text and not marks(text, json.dumps(PATH)), text[:500]
    for rows in get_type_hints(DeltaMessage).keys() - {"type", "cursor"}:
        assert f'"{rows}":[{{' in text, f"the delta has {rows}"


VALUES = (
    ["a", "b"],
    {"run": "a", "runs": ["a", "b"], "times": 1},
    "a",
    "config.data",
    "table",
    PATH,
    ["all"],
    1,
    None,
    "/runs",
    "?run=a",
)


def test_no_callback_shows_a_viewer_a_mark(canaries: Canaries) -> None:
    marked = 0
    for output, known in canaries.app.state.dash.callback_map.items():
        if "callback" not in known:
            continue
        names = output.strip(".").split("...")
        outputs = [{"id": name.rpartition(".")[0], "property": name.rpartition(".")[2]} for name in names]
        for value in VALUES:
            for first in VALUES if len(known["inputs"]) > 1 else (value,):
                inputs = [{**each, "value": value} for each in known["inputs"]]
                inputs[0]["value"] = first
                body = {
                    "output": output,
                    "outputs": outputs if output.startswith("..") else outputs[0],
                    "inputs": inputs,
                    "state": [{**each, "value": value} for each in known["state"]],
                    "changedPropIds": [],
                }
                got = canaries.ask("/_dash-update-component", body=body)
                assert got.status in (200, 204, 400, 403), (output, value, got)
                assert not marks(got.text, json.dumps([value, first])), (output, value, first, marks(got.text))
                if first == ["a", "b"]:
                    marked += bool(marks(canaries.ask("/_dash-update-component", "owner", body).text))
    assert marked, "the owner sees what the viewer does not"
