"""Pages of one's own: what a file says is shown, what is wrong with it stands on its page, and whose files others may write do not run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from access.roles import Role
from access.tokens import Tokens
from dashboard.colours import tokens
from dashboard.pages.custom import CustomPage, check_folder, own_pages
from deepseek.log import RunLog
from tests.conftest import ROOT, Dashboard, dashboard, wait_for

GOOD = """
from dash import Input, Output, html
from _words import WORD

NAME = "Mine <b>&"
layout = lambda queries: html.Div([html.H1(f"{WORD}, {len(queries.runs())} runs"), html.Button("Count", id="own-press"), html.P(id="own-said")])

def callbacks(dash, queries):
    @dash.callback(Output("own-said", "children"), Input("own-press", "n_clicks"))
    def said(clicks):
        return f"pressed {clicks or 0}"
"""
FILES = {
    "good": GOOD,
    "_words": "WORD = 'Hello'",
    "syntax": "x = 1\nlayout = (",
    "raises": "import nothing_of_that_name",
    "exits": "raise SystemExit('no more')",
    "empty": "",
    "late": "from dash import html\ndef layout():\n    return html.P(1 / 0)",
    "takes": "from dash import Input, Output, html\nlayout = html.P(id='a')\n"
    "def callbacks(dash, queries):\n    dash.callback(Output('content', 'children'), Input('a', 'children'))(lambda value: 1)",
    "packed": "PACKAGES = ('no_such_package',)\nlayout = 1",
    "twice": "from dash import Input, Output, html\nlayout = html.P(id='own-said')\n"
    "def callbacks(dash, queries):\n    dash.callback(Output('own-said', 'children'), Input('selection', 'data'))(lambda value: 1)",
    "foreign": "from dash import html\nclass Other(html.P):\n    _namespace = 'not_imported'\nlayout = lambda: html.Div([Other('a')])",
    "same": "NAME = 'Mine <b>&'\nlayout = 'the other'",
}
SAYS = {
    "syntax": "syntax.py cannot be shown, line 2: SyntaxError",
    "raises": "line 1: ModuleNotFoundError: No module named 'nothing_of_that_name'",
    "exits": "line 1: SystemExit: no more",
    "empty": "empty.py has no layout",
    "late": "line 3: ZeroDivisionError",
    "takes": "takes.py and the dashboard itself both fill content.children",
    "twice": "twice.py and good.py both fill own-said.children",
    "foreign": "foreign.py lays out Other of the package not_imported, which the browser has no code of",
    "packed": "No module named 'no_such_package'",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(mode=0o755)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
        (folder / f"{name}.py").chmod(0o644)
    return folder


EXAMPLES = ROOT / "docs" / "examples"
FILES["example"] = (EXAMPLES / "own_page.py").read_text()
FILES["own_chart"] = (EXAMPLES / "own_chart.py").read_text()
FILES["charts"] = """
from dash import Input, Output, html
from deepseek.dashboard.components import OwnComponent

class Counts(OwnComponent):
    module = "parts.js"
class Throws(Counts):
    pass
class ThrowsLater(Counts):
    pass
class Nowhere(Counts):
    pass
class Lost(OwnComponent):
    module = "lost.js"
class Escapes(OwnComponent):
    module = "../own/_words.py"
class Torn(OwnComponent):
    module = "torn.js"
class Large(OwnComponent):
    module = "large.js"
class Hangs(Counts):
    pass

kinds = (Throws, ThrowsLater, Nowhere, Lost, Escapes, Torn, Large, Hangs)
layout = html.Div([html.Button("More", id="more"), Counts(id="counts", value=0), *(kind(id=kind.__name__) for kind in kinds)])

def callbacks(dash, queries):
    @dash.callback(Output("counts", "value"), Output("ThrowsLater", "value"), Input("more", "n_clicks"))
    def more(clicks):
        return clicks, clicks
"""
PARTS = """
import { word } from "./_word.js";
export const Counts = (place, { value }) => {
  place.textContent = `${word} ${value}`;
  return { update: (props) => (place.textContent = `${word} ${props.value}`) };
};
export const Throws = () => { throw new Error("no such colour"); };
export const Hangs = () => new Promise(() => {});
export const ThrowsLater = () => ({ update: ({ value }) => { if (value) throw new Error(`no ${value}`); } });
"""
SCRIPTS = {
    "own_chart": (EXAMPLES / "own_chart.js").read_text(),
    "parts": PARTS,
    "_word": "export const word = 'Counted';",
    "torn": "export const fine = 1;\nexport function Torn(place { return }",
    "large": "//" + "x" * 1_000_000,
}
FILES["charted"] = """
from dash import Input, Output, html
from deepseek.dashboard.components import FlameGraph, TimeChart, TrainingCharts

def layout(queries):
    [stored] = [view.stored for view in queries.runs()]
    half = {"from": stored.first_time_s, "to": (stored.first_time_s + stored.last_time_s) / 2}
    return html.Div([
        html.Button("Second half", id="ch-press"), html.P(id="ch-said"),
        TimeChart("ch-mine", runs=["mine"], series=["train/loss"], window=half, style={"height": "200px"}),
        TimeChart("ch-steps", series=["train/loss"], axis="step"), TimeChart("ch-none", series=[]),
        TimeChart("ch-odd", series=["mean(train/loss"]), TimeChart("ch-norun", runs=["nope"], series=["train/loss"]),
        TrainingCharts("ch-grid"), FlameGraph("ch-flame", run="mine", style={"height": "120px"}), html.P("below", id="ch-below"),
    ])

def callbacks(dash, queries):
    @dash.callback(Output("ch-said", "children"), Input("ch-mine", "window"))
    def said(window):
        return f"{window['to'] - window['from']:.3f} s" if window else "nothing"

    @dash.callback(Output("ch-mine", "window"), Input("ch-press", "n_clicks"), prevent_initial_call=True)
    def press(clicks):
        [last] = [view.stored.last_time_s for view in queries.runs()]
        return {"from": last - 0.25 * clicks, "to": last}
"""
FILES["fails"] = """
from dash import Input, Output, dcc, html

def layout(queries, layer="none", **query):
    controls = [dcc.Input("a", id="fa-typed", persistence=True), dcc.RadioItems(["x", "y"], "x", id="fa-radio", persistence=True)]
    return html.Div([html.P(f"layer {layer}, {query.get('more')}", id="fa-query"), html.Button("Divide", id="fa-press"), html.P(id="fa-said"), *controls])

def callbacks(dash, queries):
    @dash.callback(Output("fa-said", "children"), Input("fa-press", "n_clicks"))
    def said(clicks):
        return 6 / (2 - (clicks or 0)) if (clicks or 0) < 3 else f"pressed {clicks}"
"""
FILES["figured"] = """
import plotly.express as px
from dash import dcc, html
layout = html.Div([dcc.Graph(id="fi-figure", figure=px.bar(x=["a", "b"], y=[1, 2], color=["u", "v"])), html.Button("Plain", id="fi-plain")])
"""
EXPECTED_ERRORS = (
    "/own/_words",
    "/own-modules/",
    "no such colour",
    "no 1",
    "exports no function",
    "lost.js",
    "_words.py",
    "torn.js",
    "SyntaxError",
    "Unexpected token",
    "large.js",
    "_dash-update-component",
    "/own/nowhere",
    "ERR_CONNECTION_REFUSED",
    "ERR_INTERNET_DISCONNECTED",
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("own")
    pages = write(folder / "pages", FILES)
    for name, text in SCRIPTS.items():
        (pages / f"{name}.js").write_text(text)
        (pages / f"{name}.js").chmod(0o644)
    with dashboard(folder / "logs", "--no-profile", "--pages-dir", str(pages)) as running:
        with RunLog(folder / "logs", "mine") as log:
            for step in range(100):
                log.scalars(step, {"train/loss": 1 / (1 + step)})
                time.sleep(0.02)
        wait_for(lambda: running.run("mine").get("state") == "finished")
        yield running


def test_the_example_of_the_docs_has_a_chart_a_table_a_figure_and_the_dragged_window(
    running: Dashboard, page: Page
) -> None:
    page.goto(f"{running.address}/own/example?run=mine")
    plot = page.locator("#window-loss .plot").first
    expect(plot).to_be_visible()
    expect(page.locator(".ag-row")).to_have_count(1)
    box = plot.bounding_box()
    assert box
    wait_for(lambda: page.locator("#window-loss .vals b").count(), because="the chart has no value")
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 20, steps=5)
    page.mouse.up()
    expect(page.locator("#window-said")).to_have_text(re.compile(r"0\.01\d to 0\.\d+ in \d+ buckets"))
    expect(page.locator("#window-figure .trace").first).to_be_visible()


def test_a_chart_of_ones_own_is_a_class_and_a_function(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/own_chart")
    colour = """() => {
      const canvas = document.querySelector("#bars canvas");
      return canvas?.width ? [...canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data].join() : "";
    }"""
    wait_for(lambda: page.evaluate(colour) not in ("", "0,0,0,0"), because="no bar was drawn")
    before = page.evaluate(colour)
    page.locator("#bars canvas").click()
    expect(page.locator("#bars-said")).to_have_text("You clicked mine.")
    wait_for(lambda: page.evaluate(colour) != before, because="the clicked bar has no other colour")


def test_a_chart_that_fails_says_so_and_costs_no_other(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/charts")
    expect(page.locator("#Throws [role=alert]")).to_have_text("Throws cannot be shown: no such colour")
    expect(page.locator("#Nowhere [role=alert]")).to_have_text(
        "Nowhere cannot be shown: parts.js exports no function Nowhere"
    )
    says = {
        "Lost": "no file lost.js in the folder of --pages-dir",
        "Escapes": 'module = "../own/_words.py" is not the name of a file beside the page',
        "Torn": "torn.js, line 2: SyntaxError: ",
        "Large": "large.js has more than 1,000,000 bytes",
    }
    for name, said in says.items():
        expect(page.locator(f"#{name} [role=alert]")).to_contain_text(f"{name} cannot be shown: {said}")
    page.locator("#more").click()
    expect(page.locator("#counts")).to_have_text("Counted 1")
    expect(page.locator("#ThrowsLater [role=alert]")).to_have_text("ThrowsLater cannot be shown: no 1")
    expect(page.locator("#Hangs [role=alert]")).to_contain_text("Hangs is not ready after 10 s")


def test_a_chart_shows_its_own_run_and_says_what_it_lacks(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/charted")
    says = {
        "ch-steps": "The charts of a page share one axis, here time: this chart is not drawn, its axis is step.",
        "ch-none": "There is nothing to draw: name series=[...].",
        "ch-odd": "No series mean(train/loss in mine. It has train/loss.",
        "ch-norun": "There is no run nope. The Runs page lists all of them.",
    }
    for name, said in says.items():
        expect(page.locator(f"#{name} .notice")).to_contain_text(said)
    expect(page.locator("#ch-grid [role=alert]")).to_contain_text(
        "TrainingCharts is a part of one of the dashboard's own pages"
    )
    expect(page.locator("#ch-mine .vals b")).to_have_text(re.compile(r"0\.01"))
    expect(page.locator("#ch-mine .notice")).to_be_hidden()


def test_a_window_is_set_by_the_layout_and_by_a_callback(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/charted")
    page.wait_for_url(re.compile(r"from=\d+.*to=\d+"))
    page.locator("#ch-press").click()
    expect(page.locator("#ch-said")).to_have_text("0.250 s")
    expect(page.locator("#ch-mine .window")).to_be_visible()
    page.locator("#ch-press").click()
    expect(page.locator("#ch-said")).to_have_text("0.500 s")
    page.keyboard.press("Escape")
    expect(page.locator("#ch-said")).to_have_text("nothing")
    page.locator("#ch-press").click()
    expect(page.locator("#ch-said")).to_have_text("0.750 s")


def test_a_flame_graph_is_of_this_dashboard_and_covers_nothing(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/charted")
    expect(page.locator("#ch-flame .deepseek-said")).not_to_have_text(re.compile("nothing to draw|^$"))
    covered = "() => { const { left, top } = document.querySelector('#ch-below').getBoundingClientRect(); return document.elementFromPoint(left + 5, top + 5)?.id; }"
    page.locator("#ch-below").scroll_into_view_if_needed()
    wait_for(lambda: page.evaluate(covered) == "ch-below", because="the flame graph lies over what stands below it")


def test_a_callback_that_fails_says_so_above_the_page_until_it_answers(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/fails")
    said, above = page.locator("#fa-said"), page.locator("#page-said")
    expect(said).to_have_text("3")
    page.locator("#fa-press").click()
    expect(said).to_have_text("6")
    expect(above).to_be_hidden()
    page.locator("#fa-press").click()
    expect(above).to_have_text("fails.py, line 11: ZeroDivisionError: division by zero")
    expect(said).to_have_text("6")
    page.locator("#fa-press").click()
    expect(said).to_have_text("pressed 3")
    expect(above).to_be_hidden()


def test_the_terminal_names_file_and_line_and_a_viewer_gets_neither(running: Dashboard) -> None:
    secret = Tokens(running.log_dir / ".deepseek").new("reader", Role.VIEWER, None, {})
    press = {"id": "fa-press", "property": "n_clicks", "value": 2}
    asked = {
        "output": "fa-said.children",
        "outputs": {"id": "fa-said", "property": "children"},
        "inputs": [press],
        "changedPropIds": ["fa-press.n_clicks"],
    }
    says = {}
    for role, headers in (("owner", {}), ("viewer", {"Authorization": f"Bearer {secret}"})):
        request = urllib.request.Request(
            f"{running.address}/_dash-update-component",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json", **headers},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        says[role] = json.load(refused.value)["error"]
    assert says["owner"] == "fails.py, line 11: ZeroDivisionError: division by zero"
    assert "A part of this page has failed" in says["viewer"] and "fails.py" not in says["viewer"]
    printed = running.errors.read_text()
    assert printed.index(f"\n{says['owner']}\nTraceback") > 0
    assert "twice.py and good.py both fill own-said.children" in printed


def test_a_callback_that_the_server_does_not_hear_is_asked_again(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/fails")
    expect(page.locator("#fa-said")).to_have_text("3")
    page.context.set_offline(True)
    try:
        page.locator("#fa-press").click()
        expect(page.locator("#page-said")).to_contain_text("asked again")
    finally:
        page.context.set_offline(False)
    expect(page.locator("#fa-said")).to_have_text("6")
    expect(page.locator("#page-said")).to_be_hidden()


def test_a_layout_gets_the_parameters_of_the_address(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/fails?layer=2&more=a&more=b")
    expect(page.locator("#fa-query")).to_have_text("layer 2, ['a', 'b']")


def test_controls_keep_what_persistence_keeps(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/fails")
    page.locator("input#fa-typed").fill("typed")
    page.locator("#fa-radio input").nth(1).check()
    page.locator("#fa-press").click()  # the focus leaves the field
    for way in ("another page", "loaded again"):
        if way == "another page":
            page.get_by_role("link", name="Hosts").click()
            page.wait_for_url("**/hosts**")
            page.go_back()
        else:
            page.reload()
        expect(page.locator("input#fa-typed")).to_have_value("typed")
        expect(page.locator("#fa-radio input").nth(1)).to_be_checked()


def test_figures_and_controls_have_the_looks_of_the_page(running: Dashboard, page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{running.address}/own/figured")
    bar = page.locator("#fi-figure .bars path").first
    colour = tokens("dark")["c1"].removeprefix("#")
    rgb = ", ".join(str(int(colour[i : i + 2], 16)) for i in (0, 2, 4))
    expect(bar).to_have_css("fill", f"rgb({rgb})")
    expect(page.locator("#fi-figure .legend")).to_be_visible()
    expect(page.locator("#fi-plain")).to_have_css("border-top-style", "solid")
    tools, figure = (page.locator(name).bounding_box() for name in ("#fi-figure .chart-tools", "#fi-figure"))
    assert tools and figure and figure["y"] <= tools["y"] < figure["y"] + 40, "a figure's tools lie elsewhere"
    page.get_by_role("button", name="Menu").click()
    expect(page.locator("#menu")).to_be_visible()


def test_pages_of_one_name_are_told_apart(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/same")
    expect(page.locator("#menu a[aria-current]")).to_have_text("Mine <b>& (same)")
    page.goto(f"{running.address}/own/nowhere")
    expect(page.locator("#content h1")).to_have_text("No such page")
    expect(page.locator("#bar")).to_be_visible()


def test_only_browser_code_of_the_folder_is_served(running: Dashboard) -> None:
    def status(name: str) -> int:
        try:
            with urllib.request.urlopen(f"{running.address}/own-modules/{name}") as answer:
                assert answer.headers["content-type"].startswith("text/javascript")
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    assert status("_word.js") == 200
    for name in ("good.py", "none.js", "..%2Fpages%2F_word.js", ".%2F_word.js", "a%00.js", "_word.js%0A"):
        assert status(name) == 404, name


def test_a_page_shows_its_layout_and_its_callback_answers(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/own/good")
    expect(page.locator("#content h1")).to_have_text("Hello, 1 runs")
    page.locator("#own-press").click()
    expect(page.locator("#own-said")).to_have_text("pressed 1")
    expect(page.locator("#menu a[aria-current]")).to_have_text("Mine <b>& (good)")


@pytest.mark.parametrize("name", SAYS)
def test_a_broken_one_is_a_sentence_on_its_page(running: Dashboard, page: Page, name: str) -> None:
    page.goto(f"{running.address}/own/{name}")
    expect(page.locator("#content [role=alert]")).to_contain_text(SAYS[name])


def test_broken_ones_cost_no_page_of_ours(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/settings")
    expect(page.locator("#setting-currency")).to_be_visible()
    page.goto(f"{running.address}/own/_words")
    expect(page.locator("h1")).to_have_text("No such page")
    page.get_by_role("link", name="Hosts").click()
    page.wait_for_url("**/hosts**")


def test_who_else_may_write_it_keeps_it_from_running(tmp_path: Path) -> None:
    pages = write(tmp_path / "pages", {"open": "layout = 1", "link": "layout = 1", "mine": "layout = 1"})
    (pages / "open.py").chmod(0o666)
    (pages / "link.py").unlink()
    (pages / "link.py").symlink_to(pages / "mine.py")
    os.mkfifo(pages / "pipe.py")
    says = {
        name: str(CustomPage(pages / f"{name}.py").page.layout()) for name in ("open", "link", "pipe", "mine", "gone")
    }
    assert "can be written by others" in says["open"]
    assert "cannot be shown" in says["link"] and "is no regular file" in says["pipe"] and "No such file" in says["gone"]
    assert says["mine"] == "Div(children=1, className='own-page')"
    with pytest.raises(ValueError, match="can be written by others"):
        pages.chmod(0o777)
        check_folder(pages, [])


def test_a_layout_that_cannot_be_shown_is_a_sentence(tmp_path: Path) -> None:
    texts = {
        "nothing": "layout = lambda: None",
        "figure": "import plotly.graph_objects\nlayout = plotly.graph_objects.Figure()",
        "inside": "from dash import html\nlayout = html.Div(object())",
        "many": "from dash import html\nlayout = [html.P('a'), 'b', 1]",
    }
    pages = write(tmp_path / "pages", texts)
    says = {name: str(CustomPage(pages / f"{name}.py").page.layout()) for name in texts}
    assert "is of type NoneType" in says["nothing"] and "is of type Figure; it is a Dash component" in says["figure"]
    assert "TypeError" in says["inside"] and "alert" not in says["many"]


def test_a_layout_that_failed_is_tried_again(tmp_path: Path) -> None:
    pages = write(
        tmp_path / "pages",
        {"later": f"from pathlib import Path\nlayout = lambda: Path({str(tmp_path / 'later.txt')!r}).read_text()"},
    )
    layout = CustomPage(pages / "later.py").page.layout
    assert callable(layout) and "FileNotFoundError" in str(layout())
    (tmp_path / "later.txt").write_text("here it is")
    assert "here it is" in str(layout()) and "alert" not in str(layout())


def test_a_folder_where_programs_write_holds_no_pages(tmp_path: Path) -> None:
    for inside in ("logs", "data"):
        (tmp_path / inside / "pages").mkdir(parents=True)
        (tmp_path / f"to-{inside}").symlink_to(tmp_path / inside / "pages")
        for folder in (tmp_path / inside / "pages", tmp_path / inside, tmp_path / f"to-{inside}"):
            with pytest.raises(ValueError, match="where programs write"):
                check_folder(folder, [tmp_path / "logs", tmp_path / "data"])
    for folder, says in ((tmp_path / "none", "cannot read"), (Path(__file__), "is no folder")):
        with pytest.raises(ValueError, match=says):
            check_folder(folder, [])
    check_folder(write(tmp_path / "pages", {}), [tmp_path / "logs"])


def test_a_mistake_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs" / "pages").mkdir(parents=True)
    words = [sys.executable, str(ROOT / "app.py"), "--port", "0", "--log-dir", str(tmp_path / "logs")]
    ended = subprocess.run(
        [*words, "--pages-dir", str(tmp_path / "logs" / "pages")], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2 and re.fullmatch(r"deepseek-dashboard: .*where programs write.*\n", ended.stderr)


def test_there_are_at_most_fifty_and_odd_names_are_left_out(tmp_path: Path) -> None:
    pages = write(
        tmp_path / "pages", {f"p{number:02}": "layout = 1" for number in range(60)} | {"with blank": "layout = 1"}
    )
    assert [page.path for page in own_pages(pages)] == [f"/own/p{number:02}" for number in range(50)]
