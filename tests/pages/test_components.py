"""Our components in an app that a stranger wrote, the one of docs/components.md, in a real Chromium."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from access.hosts import Access
from access.roles import Role
from access.tokens import Tokens
from collectors.records import Points, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.app import make_app
from dashboard.components import TimeChart
from dashboard.queries import Queries
from tests.analysis.test_stacks import T0, recorded
from tests.conftest import ROOT, START_S, saved, tools_work, wait_for
from tests.support.serving import served_app

EXPECTED_ERRORS = (
    "ERR_CONNECTION_REFUSED",
    "401",
    "CORS",
    "ERR_FAILED",
    "WebSocket",
)  # what a component says in a sentence
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs/components.md").read_text(), re.DOTALL)
assert EXAMPLE
STRANGER = "div, span, b, p, canvas { color: rgb(255, 0, 0); font-size: 40px; opacity: 0.3; }"


class Scene(NamedTuple):
    """A dashboard that a page of one origin may read, and where an app may run that has this origin."""

    source: str
    origin: str
    port: int
    store: Store
    tokens: Tokens
    token: str

    @contextlib.contextmanager
    def app(self, folder: Path, text: str, **environment: str) -> Iterator[None]:
        """That program while it answers."""
        path = folder / "app.py"
        path.write_text(text.replace("http://127.0.0.1:8080", self.source))
        given = {**os.environ, "DEEPSEEK_TOKEN": self.token, "PORT": str(self.port), **environment}
        errors = folder / "app.stderr"
        with errors.open("wb") as file:
            process = subprocess.Popen([sys.executable, str(path)], cwd=folder, env=given, stdout=file, stderr=file)
        try:
            wait_for(lambda: answers(self.port) or process.poll() is not None, START_S, "the app does not answer")
            assert process.poll() is None, errors.read_text()
            yield
        finally:
            process.terminate()
            process.wait(30)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def points(first: int, last: int) -> list[Points]:
    labels = labels_of(host="box")
    return [
        Points("slow", labels, ("train/loss", "phase/data_s"), (1 / (1 + step), 0.1 + step % 7), T0 + step, step)
        for step in range(first, last)
    ]


def test_a_line_of_many_points_keeps_its_extremes_and_says_that_it_is_thinned() -> None:
    values = np.sin(np.arange(100_000) / 1000)
    values[12_345], values[54_321], values[77_777], values[99_000] = 9.0, -9.0, np.inf, np.nan
    made = TimeChart.data_of(pd.Series(values, name="walk"))
    [curve] = made["curves"]
    drawn = dict(zip(curve["x"], curve["last"], strict=True))
    assert len(drawn) <= 20_001 and sorted(drawn) == curve["x"]
    assert (drawn[12_345], drawn[54_321], drawn[77_777]) == (9.0, -9.0, "Infinity")
    assert made["note"].startswith("100,000 points are drawn as at most 20,000 a line")
    assert "note" not in TimeChart.data_of(pd.Series(values[:20_000]))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "data.py").write_text("def decode():\n    return 1\n")
    origin = f"http://127.0.0.1:{port}"
    with contextlib.closing(open_store(data_dir, write=True)) as store:
        store.append([*recorded("slow", str(data_dir), 600), *points(0, 50)])
        tokens = Tokens(data_dir)
        queries = Queries(open_store(data_dir, write=False), data_dir, data_dir)
        with served_app(make_app(queries, Access(origins=(origin,)))) as web:
            token = tokens.new("app", Role.VIEWER, None, {})
            yield Scene(f"http://127.0.0.1:{web.port}", origin, port, store, tokens, token)
        queries.close()


def drag(page: Page, chart: str) -> None:
    """Over the middle of a chart's plot."""
    box = page.locator(f"{chart} .chart-plot canvas").first.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.4 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], y, steps=4)
    page.mouse.up()


def drawn(page: Page, name: str) -> dict[str, Any]:
    found: dict[str, Any] = wait_for(
        lambda: page.evaluate("(name) => globalThis.deepseekPainted?.curves[name] ?? null", name),
        because=f"{name} is not drawn",
    )
    return found


@pytest.mark.parametrize("backend", ["flask", "fastapi"])
def test_the_example_of_the_docs_runs(scene: Scene, page: Page, tmp_path: Path, backend: str) -> None:
    text = EXAMPLE[1]
    if backend == "fastapi":
        text = text.replace("Dash(__name__)", 'Dash(__name__, backend="fastapi")')
    with scene.app(tmp_path, text):
        page.goto(scene.origin)
        assert drawn(page, "phase/data_s")["points"] == 50
        page.locator("#flame canvas").wait_for()
        wait_for(lambda: "decode" in (page.locator("#flame .unseen table").text_content() or ""), because="no stacks")

        drag(page, "#live")
        expect(page.locator("#window")).to_contain_text("s selected")
        expect(page.locator("#live .chart-drag").first).to_be_visible()
        page.locator("#flame canvas").focus()
        page.keyboard.press("ArrowDown")
        expect(page.locator("#frame")).to_contain_text("takes")

        scene.store.append(points(61, 71))
        wait_for(lambda: drawn(page, "phase/data_s")["points"] == 60, because="new points do not come")


@pytest.mark.parametrize(
    "given, says",
    [
        ({"axis": "steps"}, "axis is 'steps'"),
        ({"series": 5}, "series is 5"),
        ({"runs": [1, 2]}, r"runs is \[1, 2\]"),
        ({"window": {"from": 2.0, "to": 1.0}}, "window is"),
        ({"window": {"from": 2.0}}, "window is"),
        ({"window": [1, 2]}, "window is"),
        ({"window": {"from": 0.0, "to": float("nan")}}, "window is"),
        ({"data": 5}, "data is of type int"),
    ],
)
def test_what_a_chart_cannot_draw_is_refused_where_it_is_made(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        TimeChart("chart", **given)


def test_charts_in_an_app_elsewhere_have_the_tools_of_every_chart(scene: Scene, page: Page, tmp_path: Path) -> None:
    with scene.app(tmp_path, EXAMPLE[1]):
        page.goto(scene.origin)
        assert drawn(page, "phase/data_s")["points"] == 50
        plot = page.locator("#live .chart-plot").first
        assert tools_work(page, plot)[0].startswith("run,")
        page.locator("#flame canvas").focus()
        assert saved(page, "e").startswith(b"path,") and saved(page, "p").startswith(b"\x89PNG")
        plot.focus()
        page.keyboard.press("y")
        wait_for(lambda: drawn(page, "train/loss")["ylog"], because="its axis is linear")
        page.locator("#live .chart").first.hover()
        page.locator("#live .dots").first.click()
        menu = page.locator("#live .chart-menu")
        expect(menu).to_contain_text("Linear y")
        assert menu.evaluate("(menu) => getComputedStyle(menu).borderTopStyle") == "solid", "it has our styles"


def test_what_is_wrong_stands_in_the_component_and_is_tried_again(scene: Scene, page: Page, tmp_path: Path) -> None:
    text = """
import os
from dash import Dash, html
from deepseek.dashboard.components import FlameGraph, TimeChart

app = Dash(__name__)
SOURCE = "http://127.0.0.1:8080"
app.layout = lambda: html.Div([
    TimeChart("wrong", series=["train/loss"], source=SOURCE, token="dsk_" + "A" * 43),
    TimeChart("none", series=["train/loss"], source=SOURCE),
    TimeChart("gone", series=["train/loss"], source="http://127.0.0.1:GONE", token="x"),
    TimeChart("empty"),
    FlameGraph("graph", source=SOURCE, token="dsk_" + "A" * 43),
    TimeChart("known", series=["train/loss", "nothing"], source=SOURCE, token=os.environ["DEEPSEEK_TOKEN"]),
])
app.run()
"""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        gone = str(probe.getsockname()[1])
    with scene.app(tmp_path, text.replace("GONE", gone)):
        page.goto(scene.origin)
        said = {
            name: page.locator(f"#{name} [role=alert]") for name in ("wrong", "none", "gone", "empty", "graph", "known")
        }
        expect(said["wrong"]).to_contain_text("this token is not known")
        expect(said["graph"]).to_contain_text("this token is not known")
        expect(said["none"]).to_contain_text("needs a viewer's token")
        expect(said["gone"]).to_contain_text(f"No dashboard answers at http://127.0.0.1:{gone}")
        expect(said["empty"]).to_contain_text("pass data=")
        expect(page.locator("#known .chart-instead").nth(1)).to_contain_text("nothing")
        scene.tokens.revoke("app")
        expect(said["known"]).to_contain_text("this token is not known", timeout=20_000)
        with page.expect_request(lambda request: "/api/v1/curves" in request.url or "/api/v1/runs" in request.url):
            said["known"].get_by_role("button", name="Try again").click()


def test_an_origin_that_was_not_named_is_told_how_it_can_be(scene: Scene, page: Page, tmp_path: Path) -> None:
    with scene.app(tmp_path, EXAMPLE[1]):
        page.goto(f"http://localhost:{scene.port}")  # another one than 127.0.0.1
        expect(page.locator("#live [role=alert]")).to_contain_text(f"--allow-origin http://localhost:{scene.port}")


def test_styles_of_the_page_and_of_the_components_stay_apart(
    scene: Scene, page: Page, browser: Browser, tmp_path: Path
) -> None:
    text = f"""
import pandas as pd
from dash import Dash, html
from deepseek.dashboard.components import TimeChart

app = Dash(__name__)
app.index_string = app.index_string.replace("</head>", "<style>{STRANGER}</style></head>")
frame = pd.DataFrame({{"loss {{rank=0}}": [3.0, 2.0, float("inf")], "loss {{rank=1}}": [4.0, float("nan"), 1.0], "lr": [1, 2, 3], "note": list("abc")}})
app.layout = html.Div([html.P("mine", id="mine"), TimeChart("chart", data=frame, style={{"height": "400px"}})])
app.run()
"""
    with scene.app(tmp_path, text):
        page.emulate_media(color_scheme="light")
        page.goto(scene.origin)
        loss = drawn(page, "loss")
        assert (loss["curves"], loss["points"], loss["bad"]) == (2, 5, ["+Inf"]) or loss["bad"], loss
        assert drawn(page, "lr")["x"] == [0, 2]
        style = "(element, name) => getComputedStyle(element)[name]"
        mine = page.locator("#mine")
        assert (mine.evaluate(style, "color"), mine.evaluate(style, "fontSize")) == ("rgb(255, 0, 0)", "40px")
        assert page.evaluate("getComputedStyle(document.body).display") == "block"
        ours = page.locator("#chart .chart-head b").first
        assert (ours.evaluate(style, "fontSize"), ours.evaluate(style, "opacity")) == ("12px", "1")
        box = page.locator("#chart").bounding_box()
        assert box is not None and box["height"] == 400

        ground = page.locator("#chart .deepseek")
        light = ground.evaluate(style, "backgroundColor")
        page.emulate_media(color_scheme="dark")
        wait_for(
            lambda: ground.evaluate(style, "backgroundColor") != light, because="the system's theme is not followed"
        )
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        wait_for(lambda: ground.evaluate(style, "backgroundColor") == light, because="the page's theme is not followed")
