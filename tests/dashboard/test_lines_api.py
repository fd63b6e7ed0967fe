"""The routes of log lines: what they answer, and that they refuse what cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.records import LogLine
from collectors.store.engines import open_store
from dashboard.queries import Queries
from tests.support.serving import Web, served

T0 = 1_764_000_000.0


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("lines")
    writer = open_store(folder, write=True)
    writer.append(
        [LogLine("a", "x.log", T0 + i, 40 if i % 10 == 5 else 20, f"step {i} loss {i / 4}", i % 2) for i in range(100)]
    )
    writer.append([LogLine("b,<b>", "y.log", T0 - i, 0, f"\ud800 {'x' * 20_000} {i}") for i in range(3)])
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()
    writer.close()


def ask(web: Web, route: str, **parameters: Any) -> Any:
    answer = web.ask(f"/api/v1/logs/{route}", **parameters)
    assert answer.status == 200, answer.body
    return answer.json


def test_a_stretch_has_rows_and_its_place(web: Web) -> None:
    found = ask(web, "lines", run="a", level=40, offset=3, limit=2)
    assert [(row["number"], row["text"]) for row in found["lines"]] == [
        (36, "step 35 loss 8.75"),
        (46, "step 45 loss 11.25"),
    ]
    assert (
        found["total"] == 10 and found["offset"] == 3 and found["search"] is None and found["lines"][0]["template"] == 1
    )
    assert ask(web, "lines", run="a", around=50, limit=3)["offset"] == 48
    assert [row["rank"] for row in ask(web, "lines", run="a", rank=1, limit=2)["lines"]] == [1, 1]
    every = ask(web, "lines", limit=5)
    assert every["total"] == 103 and every["lines"][0]["run"] == "b,<b>" and len(every["lines"][0]["text"]) < 17_000
    assert ask(web, "lines", run=["a", "b,<b>"], to=T0 - 1)["total"] == 2


def test_a_search_marks_hits_and_says_how_far_it_is(web: Web) -> None:
    found = ask(web, "lines", run="a", q="LOSS 1", limit=100)
    assert found["total"] == 100 and found["search"] == {"searched": 100, "lines": 100, "hits": 44, "done": True}
    assert [row["number"] for row in found["lines"] if row["hit"]][:2] == [5, 6]
    assert ask(web, "lines", run="a", q="p 1[0-2] ", regex="true", only_hits="true")["total"] == 3
    assert ask(web, "next", run="a", q="step 77", number=1, what="hit")["number"] == 78
    assert ask(web, "next", run="a", number=50, what="error", back="true")["number"] == 46
    assert ask(web, "next", run="a", number=100)["number"] is None


def test_a_traceback_is_one_step(tmp_path: Path) -> None:
    writer = open_store(tmp_path, write=True)
    levels = [20, 40, 40, 40, 20, 40, 20, 40, 40]
    writer.append([LogLine("a", "x.log", T0 + i, level, f"line {i}") for i, level in enumerate(levels, 1)])
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        forward = [ask(web, "next", run="a", number=number, what="error")["number"] for number in (1, 2, 3, 6, 8)]
        back = [
            ask(web, "next", run="a", number=number, what="error", back="true")["number"] for number in (9, 8, 6, 4, 2)
        ]
    queries.close()
    writer.close()
    assert (forward, back) == ([2, 6, 6, 8, None], [8, 6, 2, 2, None])


def test_hits_are_those_that_the_filters_leave(web: Web) -> None:
    for only in ("true", "false"):
        assert ask(web, "lines", run="a", q="loss", level=40, only_hits=only)["search"]["hits"] == 10
        assert ask(web, "lines", run="a", q="loss", only_hits=only, to=T0 + 9)["search"]["hits"] == 10


def test_counts_templates_and_fields(web: Web) -> None:
    density = ask(web, "density", run="a", buckets=10, q="step 5")
    assert [row["counts"] for row in density["levels"] if row["level"] == 40] == [[1] * 10] and sum(
        density["hits"]
    ) == 11
    (template,) = ask(web, "templates", run="a", buckets=4)["templates"]
    assert (template["text"], template["fields"], template["strokes"]) == ("step # loss #", 2, [25, 25, 25, 25])
    curve = ask(web, "field", run="a", template=template["id"], field=1, limit=3)
    assert curve["v"] == [0, 12.25, 24.75] and (curve["lines"], curve["total"]) == (3, 100)
    assert (
        ask(web, "lines", run="a", hide=template["id"])["total"] == 0 == ask(web, "density", run="a", hide=1)["total"]
    )


def test_hits_are_marked_and_texts_are_cut(web: Web) -> None:
    (line,) = ask(web, "lines", run="a", q="S 1.", limit=1, offset=4)["lines"]
    assert line["text"][slice(*line["spans"][0])] == "s 1." and len(line["spans"]) == 1
    assert ask(web, "lines", run="a", limit=1)["lines"][0]["spans"] == []
    (long,) = ask(web, "lines", run="b,<b>", limit=1, characters=50)["lines"]
    assert len(long["text"]) < 90 and long["text"].endswith("characters)")


def test_an_opened_line_has_its_numbers_and_fields(web: Web) -> None:
    found = ask(web, "line", run="a", number=3)
    assert [found["line"]["text"][slice(*span)] for span in found["numbers"]] == ["2", "0.5"]
    assert (found["template_text"], found["fields"]) == ("step # loss #", [])


@pytest.mark.parametrize(
    ("route", "parameters", "status"),
    [
        ("lines", {"run": "none"}, 404),
        ("lines", {"template": 1}, 400),
        ("lines", {"run": ["a", "b,<b>"], "hide": 1}, 400),
        ("lines", {"run": "a", "q": "(", "regex": "true"}, 400),
        ("lines", {"run": "a", "from": 5, "to": 4}, 400),
        ("lines", {"run": "a", "limit": 2001}, 400),
        ("field", {"run": "a", "template": 7}, 404),
        ("field", {"run": "a", "template": 1, "field": 2}, 404),
        ("next", {"run": "a"}, 400),
        ("line", {"run": "a", "number": 10**9}, 404),
        ("line", {"run": "none", "number": 1}, 404),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    web: Web, route: str, parameters: dict[str, Any], status: int
) -> None:
    answer = web.ask(f"/api/v1/logs/{route}", **parameters)
    assert answer.status == status and answer.json["error"]


@pytest.mark.parametrize("route", ["lines", "density", "templates"])
def test_the_largest_windows_are_answered(web: Web, route: str) -> None:
    assert web.ask(f"/api/v1/logs/{route}", **{"from": -1.7e308, "to": 1.7e308}).status == 200
    assert web.ask(f"/api/v1/logs/{route}", **{"from": 1.7e308}).status == 200
