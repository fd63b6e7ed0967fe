"""Through the programs by which people reach a machine: ssh -L, nginx, Jupyter's proxy, and a page that shows ours in a frame."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard.app import make_app
from dashboard.auth import link_of
from dashboard.queries import Queries
from tests.conftest import dashboard, wait_for
from tests.support.proxies import (
    NGINX,
    OPENSSL,
    free_port,
    jupyter,
    make_certificate,
    nginx,
    started,
    tunnel,
    why_no_tunnel,
)
from tests.support.serving import Web, served_app

LOCATION = """
    location /box/ {{
      proxy_pass http://127.0.0.1:{port};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 1h;
    }}
"""  # as docs/remote.md has it


@contextmanager
def served(folder: Path, access: Access) -> Iterator[tuple[Web, Tokens]]:
    writer = open_store(folder, write=True)
    now_s = time.time()
    writer.append(
        [Points("a", labels_of(host="box"), ("train/loss",), (1.0,), now_s - 60 + step, step) for step in range(60)]
    )
    writer.close()
    queries = Queries(open_store(folder, write=False), folder, folder)
    queries._collector = lambda: {"host": "box", "collectors": []}  # type: ignore[method-assign]
    with served_app(make_app(queries, access), access=access) as web:
        yield web, Tokens(folder)
    queries.close()


@contextmanager
def opened(browser: Browser, address: str, prefix: str) -> Iterator[tuple[Page, list[str]]]:
    """A page that drew, whose requests stay below the prefix, without a complaint."""
    context: BrowserContext = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on(
        "console", lambda said: wrong.append(f"{said.text} {said.location['url']}") if said.type == "error" else None
    )
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if f"{prefix}" not in request.url else None)
    page.goto(address)
    yield page, wrong
    assert [text for text in wrong if not text.startswith(("data:", "blob:"))] == []
    context.close()


def status_of(port: int, path: str) -> int:
    with closing(Web(port)) as web:
        return web.ask(path).status


def drew(page: Page) -> None:
    """The feed runs: the status line says how old the newest point is."""
    page.wait_for_selector("#content > *", state="attached")
    page.wait_for_function("() => document.querySelector('#status')?.textContent.trim()")


@pytest.mark.skipif(bool(why_no_tunnel()), reason=why_no_tunnel())
def test_ssh_l_leads_to_it_without_a_token(tmp_path: Path, browser: Browser) -> None:
    """The server at the other end connects as the user who logged in."""
    with served(tmp_path, Access()) as (web, _), tunnel(tmp_path, f"127.0.0.1:{web.port}") as local:
        assert status_of(local, "/api/v1/settings") == 200
        with opened(browser, f"http://localhost:{local}/", f"localhost:{local}/") as (page, _):
            with page.expect_websocket():
                page.reload()
            drew(page)
            assert page.locator("html").get_attribute("data-role") == "owner"


@pytest.mark.skipif(bool(why_no_tunnel()), reason=why_no_tunnel())
def test_ssh_l_leads_to_its_unix_socket(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    with dashboard(tmp_path / "logs", "--unix-socket", str(socket)), tunnel(tmp_path, str(socket)) as local:
        assert status_of(local, "/api/v1/settings") == 200


@pytest.mark.skipif(not (NGINX and OPENSSL), reason="nginx and openssl are not installed")
def test_behind_nginx_with_tls_and_a_path(tmp_path: Path, browser: Browser) -> None:
    access = Access(base_path="/box/", proxies=("127.0.0.1",))
    certificate, key = make_certificate(tmp_path, "proxy")
    with (
        served(tmp_path / "data", access) as (web, tokens),
        nginx(tmp_path, LOCATION.format(port=web.port), certificate, key) as port,
    ):
        secret = tokens.new("ada", Role.VIEWER, None, {})
        with opened(browser, link_of(f"https://localhost:{port}/box", secret, "/?run=a"), f"localhost:{port}/box/") as (
            page,
            wrong,
        ):
            with page.expect_websocket() as live:
                page.get_by_role("button", name="Open the dashboard").click()
            assert live.value.url == f"wss://localhost:{port}/box/api/v1/live"
            page.wait_for_url(f"https://localhost:{port}/box/?run=a")
            drew(page)
            assert page.locator("html").get_attribute("data-role") == "viewer"
            [cookie] = page.context.cookies()
            assert (cookie["secure"], cookie["path"]) == (True, "/box/")
            for path in ("hosts", "training", "flame", "logs", "runs", "boards", "samples"):
                page.goto(f"https://localhost:{port}/box/{path}")
                drew(page)
            tokens.revoke("ada")
            page.wait_for_selector("form[action='/box/login']")
            wrong.clear()  # of the answer that is the log-in page
    audit = [json.loads(line) for line in (tmp_path / "data" / "audit.jsonl").read_text().splitlines()]
    assert [(row["who"], row["from"]) for row in audit] == [("ada", "127.0.0.1")]


@contextmanager
def behind_jupyter(folder: Path, target: int) -> Iterator[tuple[int, str]]:
    """The port of a Jupyter server and the path below which it hands over to `target`."""
    program = jupyter()
    assert program is not None
    port = free_port()
    flags = [
        f"--ServerApp.port={port}",
        "--ServerApp.base_url=/user/ada/",
        "--IdentityProvider.token=secret",
        "--no-browser",
    ]
    flags += [f"--ServerApp.root_dir={folder}", "--ServerApp.allow_root=True", "--ServerApp.allow_remote_access=True"]
    with started(program, *flags, port=port, log=folder / "jupyter.log"):
        yield port, f"/user/ada/proxy/absolute/{target}/"


@pytest.mark.skipif(
    jupyter() is None, reason="jupyter-server-proxy is not installed; JUPYTER_SERVER names a jupyter-server that has it"
)
def test_behind_jupyter_server_proxy(tmp_path: Path, browser: Browser) -> None:
    target = free_port()
    base = f"/user/ada/proxy/absolute/{target}/"
    flags = ("--port", str(target), "--base-path", base, "--allow-host", "hub.example")
    with dashboard(tmp_path / "logs", *flags), behind_jupyter(tmp_path, target) as (port, path):
        assert path == base
        context = browser.new_context()
        page = context.new_page()
        wrong: list[str] = []
        page.on(
            "response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        )
        page.on("request", lambda request: wrong.append(request.url) if f":{port}{base}" not in request.url else None)
        page.goto(f"http://localhost:{port}{base}?token=secret")
        wrong.clear()  # Jupyter's own log-in
        for name in ("", "hosts", "training", "flame", "logs", "runs", "boards", "alerts", "settings", "samples"):
            page.goto(f"http://localhost:{port}{base}{name}")
            drew(page)
        assert wrong == []
        context.close()

        def asked(host: str, path: str) -> int:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                connection.request("GET", f"{base}{path}", headers={"Host": host, "Authorization": "token secret"})
                return connection.getresponse().status

        assert [asked("hub.example", name) for name in ("", "api/v1/runs")] == [200, 200]
        assert asked("other.example", "") == 403, "its name was not allowed"


class Parent(BaseHTTPRequestHandler):
    """A page of another site that shows the address behind `?` in a frame."""

    def do_GET(self) -> None:
        text = (
            f'<!doctype html><iframe src="{self.path.partition("?")[2]}" width="1200" height="800"></iframe>'.encode()
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def parent() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Parent) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(10)


def test_a_frame_of_a_named_site_shows_it(tmp_path: Path, browser: Browser, parent: int) -> None:
    access = Access(frame_ancestors=(f"http://127.0.0.1:{parent}",), base_path="/box/")
    with served(tmp_path, access) as (web, _):
        page = browser.new_page()
        wrong: list[str] = []
        page.on(
            "console",
            lambda said: (
                wrong.append(said.text) if said.type == "error" and "favicon" not in said.location["url"] else None
            ),
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"http://127.0.0.1:{parent}/?http://localhost:{web.port}/box/?run=a")
        frame = page.frame_locator("iframe")
        frame.locator("#content > *").first.wait_for(state="attached")
        wait_for(lambda: page.wait_for_timeout(50) or frame.locator("#status").inner_text().strip())
        assert wrong == []
        page.goto(
            f"http://localhost:{parent}/?http://localhost:{web.port}/box/?run=a"
        )  # another origin, which was not named
        wait_for(lambda: page.wait_for_timeout(50) or wrong)
        assert any("frame-ancestors" in text for text in wrong)
        page.close()


def test_the_recipe_of_the_docs_is_the_one_under_test() -> None:
    text = (Path(__file__).parents[2] / "docs" / "remote.md").read_text()
    squeezed = re.sub(r"\s+", " ", text)
    assert re.sub(r"\s+", " ", LOCATION.format(port=8080)).strip() in squeezed
