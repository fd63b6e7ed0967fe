"""What is changed over HTTP, and that nothing else changes anything."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from collectors.records import RunInfo
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.static_files import ASSETS
from dashboard.user_files.run_notes import file_of
from tests.conftest import Ask
from tests.support.serving import Answer, Web, served

RUNS = ("group/a", "plain", "ünïcode %2F", "x" * 400, "a/about")
SENDS = re.compile(r"""["'`](POST|PUT|PATCH|DELETE)["'`]|sendBeacon|XMLHttpRequest|\bnew WebSocket\b|\bfetch\(""")
MAY_SEND = {
    "lib/api.js": {"POST", "fetch("},
    "data/feed.js": {"new WebSocket"},
    "data/remote.js": {"fetch("},  # reads of another dashboard
    "lib/dash_callbacks.js": {"POST"},  # knows Dash's own questions by it
    "pages/own_component.js": {"fetch("},  # reads why a module is not there
}


class Refusing(NamedTuple):
    """A server that many changes are refused by, one after the other: each leaves the folder as it was."""

    web: Web
    data_dir: Path
    reasons: list[str]  # why nothing may be changed, where there is something in it


@contextmanager
def refusing(data_dir: Path) -> Iterator[Refusing]:
    reasons: list[str] = []
    writer = open_store(data_dir, write=True)
    writer.append([RunInfo(run, {}) for run in RUNS])
    queries = Queries(open_store(data_dir, write=False), data_dir, data_dir, lambda: next(iter(reasons), None))
    with served(queries) as web:
        yield Refusing(web, data_dir, reasons)
    queries.close()
    writer.close()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with refusing(tmp_path) as found:
        yield found.web


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    with refusing(tmp_path_factory.mktemp("refused")) as found:
        yield found


def post(web: Web, path: str, body: Any) -> Answer:
    return web.ask(f"/api/v1/{path}", "POST", json.dumps(body).encode())


def changed_in(data_dir: Path) -> list[str]:
    """What users have changed there."""
    return [name for name in ("runs", "settings.yaml", "events") if (data_dir / name).exists()]


def about(web: Web, run: str) -> dict[str, Any]:
    (row,) = [row["about"] for row in web.ask("/api/v1/runs").json["runs"] if row["run"] == run]
    assert row == web.ask("/api/v1/run", run=run).json["about"]
    return row


@pytest.mark.parametrize("run", RUNS)
def test_what_is_said_about_a_run_stands_in_its_row(web: Web, run: str) -> None:
    nothing = {"name": "", "tags": [], "note": "", "archived": False, "keep": "", "trouble": ""}
    assert about(web, run) == nothing
    path = f"runs/{quote(run, safe='')}/about"
    assert post(web, path, {"name": "wide", "tags": ["no", "x"]}).json == {
        **nothing,
        "name": "wide",
        "tags": ["no", "x"],
    }
    assert (
        post(web, path, {"archived": True}).json
        == about(web, run)
        == {**nothing, "name": "wide", "tags": ["no", "x"], "archived": True}
    )
    assert post(web, path, {}).json == about(web, run)
    assert {other: about(web, other) for other in RUNS if other != run} == dict.fromkeys(set(RUNS) - {run}, nothing)


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("runs/nobody/about", {"name": "x"}, 404, "GET /api/v1/runs lists them"),
        ("runs//about", {"name": "x"}, 404, "GET /api/v1/runs lists them"),
        ("runs/plain/about", {"name": 7}, 400, "name must be text"),
        ("runs/plain/about", {"name": None}, 400, "name must be text"),
        ("runs/plain/about", {"name": "a\nb"}, 400, "name: one line"),
        ("runs/plain/about", {"name": "\ud800"}, 400, "no half characters"),
        ("runs/plain/about", {"tags": ["\udfff"]}, 400, "no half characters"),
        ("runs/plain/about", {"name": "x" * 201}, 400, "at most 200 characters"),
        ("runs/plain/about", {"tags": "x"}, 400, "tags must be a list"),
        ("runs/plain/about", {"tags": [1]}, 400, "tags must be text"),
        ("runs/plain/about", {"tags": [""]}, 400, "tags: at most 20"),
        ("runs/plain/about", {"archived": "yes"}, 400, "archived must be true or false"),
        ("runs/plain/about", {"trouble": "x"}, 400, "trouble is unknown here"),
        ("runs/plain/about", {"forgotten": True}, 400, "forgotten is unknown here"),
        ("runs/plain/about", [], 400, "/api/docs lists"),
        ("runs/plain/delete", {"undo_s": -1}, 400, "undo_s"),
        ("runs/plain/delete", {"undo_s": 86401}, 400, "undo_s"),
        ("runs/plain/delete", {"undo_s": float("nan")}, 400, "undo_s"),
        ("runs/plain/delete", {"undo_s": "600"}, 400, "undo_s must be"),
        ("runs/nobody/delete", {}, 404, "GET /api/v1/runs lists them"),
        ("events", {"run": "nobody", "text": "x"}, 404, "GET /api/v1/runs lists them"),
        ("events", {"text": "x"}, 400, "run is missing"),
        ("events", {"run": "plain"}, 400, "text: a note needs one"),
        ("events", {"run": "plain", "text": "x" * 4001}, 400, "text: at most 4,000"),
        ("events", {"run": "plain", "text": "\ud800"}, 400, "no half ones"),
        ("events", {"run": "plain", "text": "x", "kind": "start"}, 400, "choose another word"),
        ("events", {"run": "plain", "text": "x", "kind": "exit"}, 400, "choose another word"),
        ("events", {"run": "plain", "text": "x", "kind": "a\nb"}, 400, "kind: one word"),
        ("events", {"run": "plain", "text": "x", "time_s": -1}, 400, "time_s: Unix seconds"),
        ("events", {"run": "plain", "text": "x", "time_s": 1.7e12}, 400, "time_s: Unix seconds"),
        ("events", {"run": "plain", "text": "x", "time_s": 10**400}, 400, "time_s"),
        ("events", {"run": "plain", "text": "x", "time_s": float("nan")}, 400, "time_s"),
        ("events", {"run": "plain", "text": "x", "seconds": -1}, 400, "seconds: a duration"),
        ("events", {"run": "plain", "text": "x", "step": 2**60}, 400, "step"),
        ("events", {"run": "plain", "text": "x", "pid": 1}, 400, "pid is unknown here"),
        ("settings", {"currency": 1}, 400, "currency: text"),
        ("settings", {"price_per_gpu_hour": True}, 400, "price_per_gpu_hour: a number"),
        ("settings", {"price_per_gpu_hour": float("inf")}, 400, "price_per_gpu_hour: a number from 0"),
        ("settings", {"price_per_gpu_hour": 10**400}, 400, "price_per_gpu_hour: a number"),
        ("settings", {"price": 1}, 400, "unknown key 'price'"),
        ("settings", {"currency": None}, 400, "currency: text"),
        ("settings", [], 400, "/api/docs lists"),
    ],
)
def test_a_wrong_change_gets_one_sentence_and_changes_nothing(
    refused: Refusing, path: str, body: Any, status: int, sentence: str
) -> None:
    answer = post(refused.web, path, body)
    assert (answer.status, answer.json.keys()) == (status, {"error"})
    assert sentence in answer.json["error"]
    assert not changed_in(refused.data_dir)


def test_settings_are_rows_and_only_those_that_are_named_change(web: Web) -> None:
    rows = web.ask("/api/v1/settings").json["settings"]
    assert [row.keys() for row in rows] == [{"key", "value", "default", "unit", "help"}] * len(rows)
    assert all(row["value"] == row["default"] for row in rows)
    assert post(web, "settings", {"price_per_gpu_hour": 2, "currency": "EUR"}).status == 200
    assert post(web, "settings", {"time_zone": "Europe/Berlin"}).json == web.ask("/api/v1/settings").json
    values = {row["key"]: row["value"] for row in web.ask("/api/v1/settings").json["settings"]}
    assert values == {"price_per_gpu_hour": 2.0, "currency": "EUR", "time_zone": "Europe/Berlin", "retention": ""}


@pytest.mark.parametrize("path", ["runs/plain/about", "settings", "profile", "events"])
def test_a_dashboard_that_only_reads_refuses_every_change(refused: Refusing, path: str) -> None:
    body = {"settings": {"currency": "EUR"}, "profile": {"action": "on"}, "events": {"run": "plain", "text": "x"}}.get(
        path, {"name": "x"}
    )
    refused.reasons.append("another dashboard steers this collector")
    try:
        answer = post(refused.web, path, body)
    finally:
        (reason,) = refused.reasons
        refused.reasons.clear()
    assert (answer.status, answer.json) == (400, {"error": reason})
    assert not changed_in(refused.data_dir)


@pytest.mark.parametrize("path", ["runs/plain/about", "settings", "events"])
@pytest.mark.parametrize(
    "header", [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Host", "evil.example")]
)
def test_another_sites_page_changes_nothing(refused: Refusing, path: str, header: tuple[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", refused.web.port, timeout=60)
    connection.request("POST", f"/api/v1/{path}", b'{"name": "x"}', {"Content-Type": "text/plain", **dict([header])})
    assert connection.getresponse().status == 403
    connection.close()
    assert not changed_in(refused.data_dir)


def test_two_at_once_lose_no_field(web: Web) -> None:
    changes: list[tuple[str, Any]] = [
        ("runs/plain/about", {"name": "n"}),
        ("runs/plain/about", {"note": "x"}),
        ("runs/plain/about", {"tags": ["t"]}),
    ]
    changes += [
        ("runs/plain/about", {"archived": True}),
        ("settings", {"currency": "EUR"}),
        ("settings", {"retention": "30d"}),
    ]

    def send(change: tuple[str, Any]) -> int:
        own = Web(web.port)
        status = post(own, *change).status
        own.close()
        return status

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(send, changes * 5)) == {200}
    said = about(web, "plain")
    assert (said["name"], said["note"], said["tags"], said["archived"]) == ("n", "x", ["t"], True)
    values = {row["key"]: row["value"] for row in web.ask("/api/v1/settings").json["settings"]}
    assert (values["currency"], values["retention"]) == ("EUR", "30d")


def test_an_odd_file_is_reported_and_kept(web: Web, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    path = file_of(tmp_path, "plain")
    path.write_text("name: a: b")
    assert "plain.yaml: line 1: it is not YAML" in about(web, "plain")["trouble"]
    answer = post(web, "runs/plain/about", {"name": "x"})
    assert answer.status == 400 and "correct or delete it" in answer.json["error"]
    assert path.read_text() == "name: a: b"
    assert about(web, "group/a")["trouble"] == ""


def test_changes_have_types_in_openapi(web: Web) -> None:
    described = web.ask("/openapi.json").json
    for path, row in (
        ("/api/v1/runs/{run}/about", "RunNotes"),
        ("/api/v1/settings", "SettingList"),
        ("/api/v1/profile", "ProfileAnswer"),
        ("/api/v1/events", "EventRow"),
    ):
        operation = described["paths"][path]["post"]
        assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {
            "$ref": f"#/components/schemas/{row}"
        }
        assert operation["requestBody"]["content"]["application/json"]["schema"]


def test_the_browser_sends_a_change_and_throws_the_servers_sentence(ask: Ask) -> None:
    code = """
    const { aboutOf, change } = await load("lib/api.js");
    const [sent, fetched] = [[], globalThis.fetch];
    const answers = [[200, { name: "x" }], [400, { error: "currency: text" }]];
    globalThis.fetch = async (url, { method, body }) => {
      sent.push([url, method, body]);
      const [status, answer] = answers.shift();
      return new Response(JSON.stringify(answer), { status, headers: { "Content-Type": "application/json" } });
    };
    const answer = await change(aboutOf("group/a"), { name: "x" });
    const refused = await change("settings", { currency: 1 }).catch((error) => [error instanceof Error, error.message]);
    globalThis.fetch = fetched;
    return [answer, refused, sent];"""
    about = ["/api/v1/runs/group%2Fa/about", "POST", '{"name":"x"}']
    settings = ["/api/v1/settings", "POST", '{"currency":1}']
    assert ask(code) == [{"name": "x"}, [True, "currency: text"], [about, settings]]


def test_one_module_of_the_browser_changes_anything() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(ASSETS.rglob("*.js")):
        if not {"vendor", "built"} & set(path.parts):
            for match in SENDS.finditer(path.read_text()):
                found.setdefault(str(path.relative_to(ASSETS)), set()).add(match[1] or match[0])
    assert found == MAY_SEND
