"""The ledger on the Live page: the bar of the view, its lane, and the table of a window, over a recorded run and described GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from collectors.records import Points, RunInfo
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.queries import Queries
from tests.analysis.test_ledger import FED, MINUTES, T0, filled, profile
from tests.browser_types import PROGRAMS, install
from tests.conftest import drag, wait_for
from tests.support.recording import Plan, best_sampler, record
from tests.support.serving import Web, served

RECORDED = "slow_decode"  # a program on a CPU, whose decoding becomes slow
DESKTOP, PHONE = (1440, 900), (390, 844)
LEDGER = "**/api/v1/ledger?*"


def ranked(store: Store) -> None:
    """A run of two ranks on the GPU of `run`."""
    store.append([RunInfo("ranked", {"cwd": "/job"})])
    for rank in ("0", "1"):
        store.append(
            [Points("ranked", (("rank", rank),), ("loss",), (0.5,), T0 + step, step) for step in range(60 * MINUTES)]
        )
    store.append([profile(T0 + 60 * minute, FED)._replace(run="ranked") for minute in range(MINUTES)])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("ledger")
    (folder / "logs").mkdir()
    writer = open_store(folder / "data", write=True)
    record(writer, folder / "logs", Plan((RECORDED,), best_sampler(), seconds=4, healthy_s=1.5, lossy_s=10))
    filled(writer, FED, busy_pct=75.0)
    ranked(writer)
    writer.append(
        [RunInfo("bare", {}), *(Points("bare", (), ("loss",), (0.5,), T0 + step, step) for step in range(99))]
    )
    queries = Queries(open_store(folder / "data", write=False), folder / "logs", folder / "data")
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


class Live:
    """One page for all tests of the module, with the requests that it made."""

    def __init__(self, page: Page, web: Web) -> None:
        self.page, self._address = page, f"http://127.0.0.1:{web.port}"
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url.removeprefix(self._address)))
        page.on("pageerror", lambda error: self.errors.append(str(error.stack)))

    def open(self, size: tuple[int, int] = DESKTOP, /, **query: object) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.requests.clear()
        self.page.goto(f"{self._address}/?{urlencode(query)}")

    def asked(self, noun: str = "ledger") -> list[dict[str, str]]:
        """The parameters of each question."""
        self.heard()
        found = [urlsplit(url) for url in self.requests]
        return [dict(parse_qsl(url.query)) for url in found if url.path == f"/api/v1/{noun}"]

    def heard(self) -> None:
        """Requests reach us while we ask the page something."""
        self.page.evaluate("0")

    def said(self, part: str) -> str:
        """The sentence beside the bar."""
        return self._words(".ledger-bar p", part)

    def why(self, part: str) -> str:
        """Instead of the table."""
        return self._words(".ledger:not(.stale) .why", part)

    def rows(self) -> list[list[str]]:
        """Of the panel's table, once it is that of the window."""
        cells = (
            "rows => rows.map((row) => [...row.children].map((cell) => cell.innerText.replaceAll('\\n', ' ').trim()))"
        )
        here = self.page.locator(".ledger:not(.stale) tbody tr:visible")
        return cast("list[list[str]]", wait_for(lambda: here.evaluate_all(cells), because="no ledger of the window"))

    def _words(self, selector: str, part: str) -> str:
        def found() -> str:
            words = self.page.locator(selector).all_inner_texts()
            return words[0] if words and part in words[0] else ""

        return str(wait_for(found, because=f"{selector} does not say “{part}”"))


@pytest.fixture(scope="module")
def one_page(profile: BrowserContext, web: Web) -> Iterator[Live]:
    page = profile.new_page()
    page.set_default_timeout(30_000)
    yield Live(page, web)
    page.close()


@pytest.fixture
def live(one_page: Live) -> Iterator[Live]:
    one_page.errors.clear()
    yield one_page
    one_page.page.unroute_all(behavior="ignoreErrors")
    one_page.page.evaluate("localStorage.clear()")
    assert one_page.errors == []


def test_the_bar_has_the_kinds_and_the_sentence_of_the_answer_and_its_lane_follows_the_view(
    live: Live, web: Web
) -> None:
    live.open(run="run")
    said = live.said("busy")
    (asked,) = live.asked()
    answer = web.ask("/api/v1/ledger", **{f"{name}_": value for name, value in asked.items()}).json
    assert said == answer["sentence"] == "GPU busy 75%, waiting for data about 25% (data.py:88 decode_image)."
    parts = live.page.locator(".ledger-bar li")
    assert parts.evaluate_all("all => all.map(({ title }) => title)") == [
        "GPU busy, 75%",
        "waiting for data, about 25% (0 to 25%): data.py:88 decode_image",
    ]
    assert parts.all_text_contents() == ["GPU busy 75%", "waiting for data about 25%"], "for a screen reader"
    widths = parts.evaluate_all("all => all.map((part) => part.getBoundingClientRect().width)")
    assert widths[0] / sum(widths) == pytest.approx(0.75, abs=0.01)
    assert live.page.locator('[data-lane="ledger"]').count() == 0, "off until it is wanted"
    live.page.locator(".ledger-bar button").click()
    wait_for(lambda: painted(live.page), because="the lane is empty")
    assert painted(live.page) == pytest.approx(75, abs=4), "the share of the column that is busy"
    assert len(live.asked()) == 1, "its blocks have come with the bar"
    assert "ledger=1" in live.page.evaluate("location.search")
    live.page.keyboard.press("+")
    live.page.keyboard.press("+")
    wait_for(lambda: len(live.asked()) == 2, because="the new view has no ledger of its own")
    first, second = (float(asked["to"]) - float(asked["from"]) for asked in live.asked())
    assert second < first / 2
    assert painted(live.page) == pytest.approx(75, abs=4)
    live.page.reload()  # the browser remembers the lane
    wait_for(lambda: painted(live.page), because="the lane is gone")
    live.page.locator(".ledger-bar button").click()
    assert live.page.locator('[data-lane="ledger"]').count() == 0
    assert "ledger" not in live.page.evaluate("location.search")


def test_a_run_on_a_cpu_as_it_was_recorded(live: Live) -> None:
    live.open(run=RECORDED)
    said = live.said("waiting for data")
    assert re.search(r"waiting for data (about )?\d+% \(slow_decode.py:\d+ decode_image\)", said)
    drag(live.page, 0.1, 0.9)
    rows = live.rows()
    assert [row[1] for row in rows if row[0].startswith("waiting for data slow_decode.py")], rows
    assert "The device is the CPU" in live.page.locator(".ledger > .dim").inner_text()
    drag(live.page, 0.5, 0.52)
    assert live.why("Less than 3 s of the run").count(".") == 1
    assert not live.page.locator(".ledger tbody").is_visible()
    live.page.keyboard.press("Escape")
    live.page.keyboard.press("a")
    wait_for(lambda: live.page.locator(".ledger-bar li").count() == 0, because="an axis of steps has a bar")
    live.page.keyboard.press("a")
    assert live.said("waiting for data") == said, "it comes back with the time"


def painted(page: Page) -> float:
    """Percent of the lane's middle column that is busy's colour, of all that is filled."""
    return float(
        page.evaluate("""() => {
          const canvas = document.querySelector('[data-lane="ledger"] canvas');
          if (!canvas) return 0;
          const { data } = canvas.getContext("2d").getImageData(Math.round(canvas.width * 0.6), 0, 1, canvas.height);
          const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
          const channels = (name) => [1, 3, 5].map((at) => parseInt(token(name).slice(at, at + 2), 16));
          const count = (name) => {
            const colour = channels(name);
            let found = 0;
            for (let i = 0; i < data.length; i += 4) found += Number(colour.every((value, k) => value === data[i + k]));
            return found;
          };
          const [busy, other] = [count("--c3"), count("--c2")];
          return busy + other ? (100 * busy) / (busy + other) : 0;
        }""")
    )


def test_a_window_is_blamed_first_and_what_fails_leaves_the_bar_as_it_was(live: Live) -> None:
    held: list[Route] = []
    live.open(run="run")
    said = live.said("busy")
    live.page.route("**/api/v1/blame?*", lambda route: held.append(route))
    drag(live.page, 0.4, 0.6)
    wait_for(lambda: live.asked("blame") and held, because="no blame was asked")
    live.page.wait_for_timeout(800)  # the view would have rested
    assert len(live.asked()) == 1, "the ledger is asked before the blame is there"
    held.pop().continue_()
    assert live.rows() == [
        ["GPU busy", "75%", ""],
        ["waiting for data data.py:88 decode_image", "about 25% 0 to 25%", "25% 22 to 28%"],
    ]
    (blamed,) = live.asked("blame")
    assert [asked["from"] for asked in live.asked()].count(blamed["from"]) == 1
    href = str(live.page.locator(".ledger tbody a").get_attribute("href"))
    assert dict(parse_qsl(urlsplit(href).query))["code"] == "/job/data.py:88"
    above = [live.page.locator(place).bounding_box() for place in (".said", ".ledger")]
    assert above[0] and above[1] and above[0]["y"] < above[1]["y"]
    live.page.unroute_all()
    live.page.route(
        "**/api/v1/blame?*", lambda route: route.fulfill(status=400, json={"error": "the window has too much."})
    )
    live.page.route(LEDGER, lambda route: route.fulfill(status=404, json={"error": "there is no run “run” any more."}))
    drag(live.page, 0.4, 0.6)
    assert live.why("any more") == "there is no run “run” any more."
    live.page.keyboard.press("Escape")
    before = len(live.asked())
    live.page.keyboard.press("+")
    wait_for(lambda: len(live.asked()) > before, because="the other view was not asked about")
    live.page.wait_for_timeout(300)
    assert live.said("busy") == said and live.page.locator(".ledger-bar li").count() == 2


def test_a_window_without_stacks_says_why_in_one_sentence(live: Live) -> None:
    live.open(**{"run": "bare", "from": T0 + 10, "to": T0 + 60})
    assert live.why("No stacks of the run are stored").count(".") == 1
    assert not live.page.locator(".ledger tbody").is_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_of_several_ranks_nothing_moves_or_overflows_and_axe_finds_nothing_serious(
    live: Live, size: tuple[int, int]
) -> None:
    install()
    held: list[Route] = []

    def hold(route: Route) -> None:
        """That of the window; the bar and the lane ask for other times."""
        asked = dict(parse_qsl(urlsplit(route.request.url).query))
        of_window = (float(asked.get("from", 0)), float(asked.get("to", 0))) == (T0 + 100, T0 + 200)
        held.append(route) if of_window and not held else route.continue_()

    live.page.route(LEDGER, hold)
    live.open(size, **{"run": "ranked", "from": T0 + 100, "to": T0 + 200, "theme": "dark", "ledger": 1})
    wait_for(lambda: live.asked() and held, because="no ledger was asked")
    for place in PLACES:
        live.page.wait_for_selector(place, state="attached")
    before = boxes(live.page)
    route = held[0]
    answer = route.fetch().json()
    answer["communication"] = [12.0, 31.0]
    answer["rows"][1]["exposed_by"] = {"function": "train", "file": "/job/train.py", "line": 118}
    route.fulfill(json=answer)
    busy, data = live.rows()
    live.said("busy")
    assert boxes(live.page) == before
    assert busy[0] == "GPU busy (compute or communication, not separated) probably communication: 12 to 31%"
    assert data[0].endswith("exposed by train.py:118 train, which waits for the GPU")
    assert (
        live.page.locator(".ledger > .dim")
        .inner_text()
        .startswith("Rank 0 of 2, from stacks alone. Busy by the driver's utilization samples")
    )
    assert live.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert live.page.locator(".panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    live.page.evaluate((PROGRAMS / "axe-core" / "axe.min.js").read_text())
    for theme in ("dark", "light"):
        live.page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        found = live.page.evaluate("axe.run(document.querySelector('#content'), {resultTypes: ['violations']})")
        assert [item["id"] for item in found["violations"] if item["impact"] in ("serious", "critical")] == []


PLACES = [".verdict", ".ledger-bar", ".timeline", ".lanes", ".panel", ".tail"]


def boxes(page: Page) -> Any:
    box = (
        "places => places.map((place) => Object.values(document.querySelector(place).getBoundingClientRect().toJSON()))"
    )
    return page.evaluate(box, PLACES)
