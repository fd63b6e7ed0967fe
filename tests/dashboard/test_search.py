"""The search over everything: its order, its bounds, and the palette that is used by keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from collectors.records import Event, Points, Record, RunInfo, labels_of
from collectors.store.engines import open_store
from dashboard.queries import Queries
from dashboard.runs.search import SearchQuery, natural
from dashboard.user_files.run_notes import save_about
from tests.conftest import answering, wait_for
from tests.support.serving import Web, served

EXPECTED_ERRORS = ("ERR_FAILED",)  # a request that a test lets fail
T0 = 1_764_000_000.0
HOST = labels_of(host="box")
HOSTILE = '<img src=x onerror="window.hurt=1">,a%2Fb\x1b'


def records() -> Iterator[Record]:
    for i in range(60):
        yield RunInfo(f"sweep/{i:02}", {"started_s": T0 + i})
        yield Points(f"sweep/{i:02}", HOST, ("train/loss",), (1.0,), T0 + i, 1)
    yield Points(
        "loss-of-sleep", HOST, ("train/loss", "train/lr", "eval/gloss", HOSTILE), (1.0, 1.0, 1.0, 1.0), T0 + 900, 1
    )
    yield Points(HOSTILE, HOST, ("train/loss",), (1.0,), T0 + 901, 1)
    yield Points("layers", HOST, tuple(f"h.{layer}/q_norm" for layer in (100, 4, 15, 22, 2)), (1.0,) * 5, T0 - 1, 1)
    yield Event("loss-of-sleep", "note", T0 + 500, text="the loss rose after the deployment of the new loader")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder: Path = tmp_path_factory.mktemp("search")
    writer = open_store(folder, write=True)
    writer.append(records())
    save_about(folder, "sweep/07", {"name": "wide model", "tags": ["baseline"], "note": "beats the others by far"})
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def found(web: Web, q: str, **more: object) -> list[tuple[str, str]]:
    return [(row["kind"], row["text"]) for row in web.ask("/api/v1/search", q=q, **more).json["results"]]


def test_a_beginning_comes_before_a_word_and_a_word_before_a_part(web: Web) -> None:
    assert found(web, "loss") == [
        ("series", "train/loss"),
        ("run", "loss-of-sleep"),
        ("series", "eval/gloss"),
        ("note", "the loss rose after the deployment of the new loader"),
    ]
    places = [SearchQuery("lo").place(text) for text in ("lo", "loss", "train/loss", "gloss", "nothing")]
    assert places[-1] is None and places[:-1] == sorted(place for place in places if place)


def test_runs_are_found_by_all_that_is_said_of_them(web: Web) -> None:
    for q in ("wide", "MODEL wide", "baseline", "sweep/07", "base mod"):
        assert found(web, q)[0] == ("run", "wide model"), q
    assert found(web, "by far") == [("note", "beats the others by far")]
    assert ("page", "Hosts") in found(web, "gpu")


def test_equal_hits_are_in_natural_order_and_open_their_chart(web: Web) -> None:
    rows = web.ask("/api/v1/search", q="q_norm", run=["sweep/03", "layers"]).json["results"]
    assert [row["text"] for row in rows] == [f"h.{layer}/q_norm" for layer in (2, 4, 15, 22, 100)]
    assert rows[0]["address"] == "/training?run=layers&chart=h.2%2Fq_norm"
    chosen = web.ask("/api/v1/search", q="train/loss", run=["nothing", "sweep/03", "sweep/04"]).json["results"][0]
    assert chosen["run"] == "sweep/03"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200)), max_size=9), st.text(max_size=20))
def test_numbers_in_names_count_as_numbers(parts: list[tuple[str, int]], odd: str) -> None:
    assert sorted((f"{letter}{number}/q" for letter, number in parts), key=natural) == [
        f"{a}{n}/q" for a, n in sorted(parts)
    ]
    assert natural(odd) <= natural(odd + "x")


def test_a_series_opens_on_training_with_the_ticked_runs(web: Web, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/runs?runs=sweep%2F01&runs=sweep%2F02&theme=light")
    page.wait_for_selector("#menu a[data-page]", state="attached")
    page.route("**/training?*", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    for typed, found in (("train/loss", []), ("train/lr", ["loss-of-sleep"])):
        page.keyboard.press("Control+k")
        page.wait_for_selector(".palette[open] .hit")
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        page.wait_for_url("**/training?*")
        query = parse_qs(urlsplit(page.url).query)
        assert query == {
            "run": ["sweep/01"],
            "chart": [typed],
            "theme": ["light"],
            "runs": ["sweep/01", "sweep/02", *found],
        }
        page.go_back()
        page.wait_for_selector("#menu a[data-page]", state="attached")


def test_what_is_left_out_is_counted(web: Web) -> None:
    answer = web.ask("/api/v1/search", q="sweep", limit=5).json
    assert len(answer["results"]) == 5 and answer["left_out"] == 55
    assert answer["note"] == "Of series, those of the newest 20 runs are searched."
    assert web.ask("/api/v1/search", q="x", limit=0).status == 400


def test_an_address_holds_any_name(web: Web) -> None:
    rows = web.ask("/api/v1/search", q="onerror").json["results"]
    assert {row["kind"] for row in rows} == {"run", "series"}
    for row in rows:
        parameters = parse_qs(urlsplit(row["address"]).query)
        assert parameters["run"] == [row["run"]] and row["address"].startswith("/")
        assert web.ask(row["address"]).status == 200


@settings(max_examples=60)
@given(st.text(max_size=30), st.text(max_size=60))
def test_any_text_is_searched(words: str, text: str) -> None:
    typed = SearchQuery(words)
    assert (typed.place(text) is None) == any(word not in text.casefold() for word in typed.words)
    assert len(typed.excerpt(text).splitlines()) <= 1
    assert SearchQuery(text).place(text) is not None


def test_a_failure_stands_in_place_of_earlier_hits_and_is_asked_again(web: Web, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/hosts")
    page.wait_for_selector("#menu a[data-page]", state="attached")
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette[open] .hit")
    page.keyboard.type("wide")
    page.locator(".palette .hit .text", has_text="wide model").wait_for()
    answer_again = answering(page, "**/search?**", lambda route: route.abort())
    page.keyboard.press("Control+a")
    page.keyboard.type("train/lr")
    page.locator(".palette .foot", has_text="The dashboard does not answer. Asking again in").wait_for()
    assert page.locator(".palette .hit").count() == 0
    answer_again()
    page.locator(".palette .hit .text", has_text="train/lr").wait_for()


def test_the_palette_is_used_by_keys_alone_and_shows_names_as_text(web: Web, page: Page) -> None:
    page.goto(f"http://127.0.0.1:{web.port}/hosts?theme=light")
    page.wait_for_selector("#menu a[data-page]", state="attached")
    assert not page.evaluate("performance.getEntriesByType('resource').some(({ name }) => name.includes('palette'))")
    page.keyboard.press("Control+k")
    page.wait_for_selector(".palette[open] .hit")
    page.keyboard.type("onerror")
    wait_for(lambda: page.locator(".palette .hit").count() == 2)
    assert page.locator(".palette img").count() == 0 and page.evaluate("window.hurt") is None
    assert page.locator(".palette .hit .text").first.inner_text() == HOSTILE.replace("\x1b", "[U+001B]")
    page.keyboard.press("Control+a")
    page.keyboard.type("train/lr")
    wait_for(lambda: page.locator(".palette .hit").all_inner_texts()[0].startswith("Series"))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    assert page.locator(".palette input").get_attribute("aria-activedescendant") == "palette-hit-0"
    page.keyboard.press("Control+k")
    assert page.locator(".palette[open]").count() == 0
    page.keyboard.press("Control+k")
    page.keyboard.type("wide")
    page.keyboard.press("Enter")  # before anything is found
    page.wait_for_url("**/?run=sweep%2F07&theme=light*")
