"""Below a base path: what is asked, what is answered, and that no address of ours forgets it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from dashboard import address, network
from dashboard.app import make_app
from dashboard.auth import link_of, safe_path
from dashboard.network import address_of, base_path_of, listen, path_to, public_address_of, strip_base_path
from dashboard.pages import pages
from dashboard.queries import Queries
from deepseek.client.client import Dashboard, DashboardError
from deepseek.log import RunLog
from tests.conftest import ROOT, wait_for
from tests.support.other_clients import PROXIED, Asked, ask, ask_whole
from tests.support.serving import Web, run, served_app

BASE = "/user/ada%40x/box/"
INSIDE = "/user/ada@x/box"
LINKED = re.compile(r"""(?:href|src|action)=["']([^"']*)["']""")
WRITTEN = re.compile(
    r"""(?<![\w)\]])(["'`])(/(?:[a-z_?]|\$\{)[^"'`]*)\1?"""
)  # a string that begins as an address of ours does
SENT = re.compile(
    r"""(?:\b(?:pathTo|go)\(|\bsend\(|startsWith\(|^const [A-Z_]+ = )$""", re.MULTILINE
)  # what may stand before it
NO_ADDRESSES = {
    "assets/pages/own_component.js": ["/own-modules/"],  # is looked for in an address
    "assets/data/runs.js": ["/${this.current?.run ?? "],  # the name of a run
    "assets/shell.js": [
        "/alerts",
        "/boards",
        "/flame",
        "/hosts",
        "/jobs",
        "/logs",
        "/runs",
        "/samples",
        "/settings",
        "/training",
    ],
}
HTML_ATTRIBUTE = re.compile(r"""(?:href|src|action)=\\?["']/""")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Tokens]]:
    folder = tmp_path_factory.mktemp("base")
    writer = open_store(folder, write=True)
    writer.append([Points("a", labels_of(host="box"), ("loss",), (1.0,), 1000.0 + step, step) for step in range(10)])
    writer.close()
    queries = Queries(open_store(folder, write=False), folder, folder)
    access = Access(base_path=BASE)
    with served_app(make_app(queries, access), access=access) as web:
        yield web, Tokens(folder)
    queries.close()


def test_a_base_path_is_written_in_one_way() -> None:
    assert [base_path_of(text) for text in ("", "/", "x", "/x", "x/", "/x/y/", "/user/a%40b/")] == [
        "/", "/", "/x/", "/x/", "/x/", "/x/y/", "/user/a%40b/",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "/a b/",
        "//x//y",
        "/../x",
        "/x/%2e%2E/y",
        "/x?y",
        "/x#y",
        '/"><script>',
        "/x\\y",
        "http://h/x",
        "/é",
        "/" + "x" * 600,
    ],
)
def test_what_is_no_path_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no path of an address"):
        base_path_of(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_an_address_goes_out_and_comes_back(rest: str) -> None:
    entered = network._base.set("/x/y/")
    try:
        assert path_to(f"/{rest}") == f"/x/y/{rest}"
        assert strip_base_path(path_to(f"/{rest}")) == f"/{rest}"
        assert strip_base_path("/elsewhere") == "/elsewhere"
    finally:
        network._base.reset(entered)
    assert path_to("/flame") == "/flame" == strip_base_path("/flame")


def test_what_stands_elsewhere_is_404_with_a_sentence(web: tuple[Web, Tokens]) -> None:
    for path in (
        "/",
        "/flame",
        "/api/v1/runs",
        "/assets/app.css",
        "/healthz",
        "/login",
        "/user/",
        "/user/ada@x/boxes/",
    ):
        answer = web[0].ask(path)
        assert (answer.status, BASE in answer.json["error"]) == (404, True), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert web[0].ask("/api/v1/settings", method, b"{}").status == 404


def test_the_path_without_its_slash_leads_to_it(web: tuple[Web, Tokens]) -> None:
    answer = web[0].ask(f"{INSIDE}?run=a")
    assert (answer.status, answer.headers["location"]) == (307, f"{BASE}?run=a")


def test_both_spellings_of_the_path_are_it(web: tuple[Web, Tokens]) -> None:
    assert [web[0].ask(f"{base}/api/v1/runs").status for base in (INSIDE, BASE.rstrip("/"))] == [200, 200]


@pytest.mark.parametrize("path", [*(page.path for page in pages()), "/no/such/page", "/api/docs", "/login"])
def test_all_that_a_page_names_stands_below_it(web: tuple[Web, Tokens], path: str) -> None:
    answer = web[0].ask(f"{INSIDE}{path}")
    named = [found for found in LINKED.findall(answer.body.decode()) if not found.startswith(("data:", "#", "./"))]
    assert named
    assert [found for found in named if not found.startswith(BASE)] == []


def test_the_socket_stands_below_it(web: tuple[Web, Tokens]) -> None:
    async def first(path: str) -> str:
        async with websockets.connect(f"ws://127.0.0.1:{web[0].port}{path}/api/v1/live") as socket:
            return str(await socket.recv())

    assert run(first(INSIDE)).startswith("{")
    with pytest.raises(websockets.InvalidStatus):
        run(first(""))


def test_the_api_says_where_it_is(web: tuple[Web, Tokens]) -> None:
    assert web[0].ask(f"{INSIDE}/openapi.json").json["servers"] == [{"url": BASE.rstrip("/")}]


def test_a_log_in_stays_below_it(web: tuple[Web, Tokens]) -> None:
    secret = web[1].new("ada", Role.OWNER, None, {})
    form = urlencode({"token": secret, "next": "/flame?run=a"})
    kind = {**PROXIED, "Content-Type": "application/x-www-form-urlencoded"}
    answer, headers = ask_whole(web[0].port, Asked("POST", f"{INSIDE}/login", kind, form))
    assert (answer.status, headers["location"]) == (303, f"{BASE}flame?run=a")
    assert f"Path={BASE};" in headers["set-cookie"]
    assert re.match(rf"deepseek-{web[0].port}-[0-9a-f]{{8}}=", headers["set-cookie"])
    cookie = {**PROXIED, "Cookie": headers["set-cookie"].partition(";")[0]}
    assert ask(web[0].port, Asked("GET", f"{INSIDE}/api/v1/runs", cookie)).status == 200
    out, headers = ask_whole(web[0].port, Asked("POST", f"{INSIDE}/logout", cookie))
    assert (out.status, headers["location"]) == (303, f"{BASE}login")
    web[1].revoke("ada")


def test_a_page_that_asks_for_a_log_in_leads_back_to_itself(web: tuple[Web, Tokens]) -> None:
    asked = ask(web[0].port, Asked("GET", f"{INSIDE}/flame?run=a", PROXIED))
    assert asked.status == 401
    assert 'value="/flame?run=a"' in asked.text
    assert f'action="{BASE}login"' in asked.text
    assert f"open {BASE}login;" in ask(web[0].port, Asked("GET", f"{INSIDE}/api/v1/runs", PROXIED)).text


@pytest.mark.parametrize("wanted", ["/../other", "/x/../../other", "/%2e%2e/other", "/.%2E/other", "/./x"])
def test_a_log_in_does_not_lead_out_of_it(wanted: str) -> None:
    assert safe_path(wanted) == "/"
    assert safe_path("/flame?run=../a#..") == "/flame?run=../a#.."


def test_a_shared_link_is_one_that_its_reader_can_open(web: tuple[Web, Tokens]) -> None:
    """By the origin that the page has for its browser, whatever Host a proxy writes."""
    body = b'{"address": "/flame?run=a", "days": 1}'
    headers = {
        "Content-Type": "application/json",
        "Origin": f"http://localhost:{web[0].port}",
        "Host": f"localhost:{web[0].port}",
    }
    answer = ask(web[0].port, Asked("POST", f"{INSIDE}/api/v1/share", headers, body.decode()))
    assert re.search(
        rf'"link":"http://localhost:{web[0].port}{BASE}login#token=dsk_[^"]*&next=%2Fflame%3Frun%3Da"', answer.text
    )


def test_large_requests_are_taken_below_it_as_without(web: tuple[Web, Tokens]) -> None:
    """One that is refused for its size is not read."""
    body = b" " * (300 << 10)
    assert web[0].ask(f"{INSIDE}/api/v1/ingest/r/metrics.jsonl", "POST", body).status != 413
    assert web[0].ask(f"{INSIDE}/api/v1/settings", "POST", body).status == 413
    web[0].close()


def test_other_programs_find_it(tmp_path: Path) -> None:
    access = Access(base_path="/x/", hosts=("hub.example",), origins=("http://app.example", "https://hub.example"))
    with closing(listen("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ours, public = address_of(listener, access), public_address_of(listener, access)
        assert (ours, public) == (f"http://127.0.0.1:{port}/x", "https://hub.example/x")
        with address.publish(tmp_path, ours, public):
            assert (address.read_address(tmp_path), address.public_of(tmp_path), address.port_of(tmp_path)) == (
                ours,
                public,
                port,
            )
    assert link_of(public, "dsk_1") == "https://hub.example/x/login#token=dsk_1"


def test_the_client_is_given_the_whole_address(web: tuple[Web, Tokens]) -> None:
    assert list(Dashboard(f"http://127.0.0.1:{web[0].port}{BASE}").runs()["run"]) == ["a"]
    with pytest.raises(DashboardError, match="stands below"):
        Dashboard(f"http://127.0.0.1:{web[0].port}").runs()


def test_a_run_is_handed_over_to_the_whole_address(web: tuple[Web, Tokens], tmp_path: Path) -> None:
    secret = web[1].new("writer", Role.WRITER, None, {"runs": "far-"})
    server = f"http://127.0.0.1:{web[0].port}{BASE}"
    with RunLog(tmp_path / "logs", name="far-one", server=server, token=secret) as log:
        log.scalars(1, {"loss": 0.5})
    wait_for(lambda: [path for path in web[1].path.parent.rglob("metrics.jsonl") if "far-one" in str(path)], 20)


def forgetful(text: str) -> list[str]:
    """The addresses in a module that go out without `pathTo`."""
    code = re.sub(r"^\s*(?:\*|/\*|//).*$|\s//\s.*$", "", text, flags=re.MULTILINE)
    return [found[2] for found in WRITTEN.finditer(code) if not SENT.search(code[: found.start()])]


def test_no_module_forgets_it() -> None:
    """An address of ours is written as `pathTo("/flame")`: without it the page works until somebody needs a base path."""
    files = [path for path in (ROOT / "assets").rglob("*.js") if not {"vendor", "built"} & set(path.parts)]
    assert {
        str(path.relative_to(ROOT)): found for path in files if (found := forgetful(path.read_text()))
    } == NO_ADDRESSES
    assert forgetful('a.href = "/flame";\nb = pathTo("/hosts"); c(`/${x}`)') == ["/flame", "/${x}"]


def test_no_style_and_no_html_forgets_it() -> None:
    styles = {str(path) for path in (ROOT / "assets").rglob("*.css") if re.search(r"""url\(["']?/""", path.read_text())}
    written = [*(ROOT / "dashboard").rglob("*.py"), *(ROOT / "dashboard").rglob("*.html")]
    assert styles | {str(path) for path in written if HTML_ATTRIBUTE.search(path.read_text())} == set()
