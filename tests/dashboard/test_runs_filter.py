"""The filter of the table of runs: terms, mistakes and their places, what is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from collectors.records import RunInfo
from collectors.store.store import Store
from dashboard.queries import Queries
from dashboard.runs.filters import MAX_TERMS, FilterError, Term, parse
from tests.support.odd_runs import HTML, ask, names
from tests.support.odd_runs import queries as queries  # a fixture
from tests.support.odd_runs import writer as writer  # a fixture

# The filter language


def test_a_filter_is_a_list_of_terms() -> None:
    assert parse('vit lr<=1e-3 -state:crashed "two words" note:"a \\"b" seed != 3 "my key">2') == [
        Term(False, "vit", "", "", 0, 0),
        Term(False, "lr", "<=", "1e-3", 4, 8),
        Term(True, "state", ":", "crashed", 13, 20),
        Term(False, "two words", "", "", 28, 28),
        Term(False, "note", ":", 'a "b', 40, 45),
        Term(False, "seed", "!=", "3", 53, 61),
        Term(False, "my key", ">", "2", 63, 72),
    ]
    assert parse("   ") == [] and parse("-") == [Term(False, "-", "", "", 0, 0)]
    assert parse("a!b") == [Term(False, "a!b", "", "", 0, 0)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lr<=", "lr<= needs a value (character 4)"),
        ("a model: b", "model: needs a value (character 8)"),
        ("<= 3", "no name before '<=' (character 1)"),
        ('vit "open', "this quote is not closed (character 5)"),
        ("a " * 99, f"more than {MAX_TERMS} terms (character {2 * MAX_TERMS + 1})"),
    ],
)
def test_a_mistake_is_one_sentence_that_says_where(text: str, sentence: str) -> None:
    with pytest.raises(FilterError) as mistake:
        parse(text)
    assert str(mistake.value) == sentence


@given(some.text(max_size=300))
def test_any_text_is_a_filter_or_a_mistake(text: str) -> None:
    try:
        terms = parse(text)
    except FilterError:
        return
    assert len(terms) <= MAX_TERMS and [term.at for term in terms] == sorted({term.at for term in terms})
    for term in terms:
        assert text.startswith((term.value or term.key, '"', "-"), term.value_at)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("vit", set()),
        ("sweep", {"sweep/0", "sweep/1", "sweep/2"}),
        ("-sweep -loss -without", {"empty", "only nan", HTML, "ranks"}),
        ("model:vit", {"sweep/0", "sweep/1"}),
        ("model:vit-?16 lr<=5e-4", {"sweep/1"}),
        ("model=VIT-B16", {"sweep/0"}),
        ("lr:0.0003", {"sweep/1", "sweep/2"}),
        ("config.lr=3e-4 -model:gpt", {"sweep/1"}),
        ("name:adamw optimizer.name:adamw", set()),
        ("optimizer.name:adamw bf16=true", {"sweep/1", "sweep/2"}),
        ("state:crashed", {"sweep/1", "sweep/2"}),
        ("state!=finished sweep", {"sweep/1", "sweep/2"}),
        ("best.val/acc>=0.4", {"sweep/0"}),
        ("last.loss>3.5", {"without times"}),
        ("steps=7", {"without times"}),
        ("loss=nan", {"only nan"}),
        ("duration>59.5s duration<2min sweep", {"sweep/0", "sweep/1", "sweep/2"}),
        ("started>=2025-11-24 started<2025-11-26 sweep", {"sweep/0", "sweep/1", "sweep/2"}),
        ('name:"<img src" ', {HTML}),
        ("sweep/[0]", set()),
        ("sweep*0", {"sweep/0"}),
    ],
)
def test_a_filter_keeps_the_runs_that_it_describes(queries: Queries, text: str, kept: set[str]) -> None:
    assert set(names(ask(queries, text))) == kept


def test_lists_and_the_greatest_numbers_of_a_configuration_are_found(queries: Queries, writer: Store) -> None:
    writer.append([RunInfo("lists", {"config": {"betas": [0.9, 0.95], "clip": 1e308}})])
    queries.table.stale()
    assert {"betas", "clip"} <= set(queries.table.names().configured)
    assert (
        names(ask(queries, "clip>1"))
        == names(ask(queries, "betas:0.95"))
        == names(ask(queries, 'betas="[0.9,0.95]"'))
        == ["lists"]
    )
    found = ask(queries, "clip>1", columns=("config.betas", "config.clip"))
    assert [found.rows[0].cell(column) for column in found.columns.values()] == ["[0.9,0.95]", 1e308]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("modle:vit", 1),
        ("state:up", 7),
        ("state<3", 7),
        ("state<running", 1),
        ("duration<soon", 10),
        ("started>then", 9),
        ("memory>many", 8),
        ("lr<low", 4),
        ("lr<<3", 4),
        ("best.nothing>1", 1),
    ],
)
def test_what_no_run_has_is_a_mistake_at_its_place_and_not_an_empty_table(queries: Queries, text: str, at: int) -> None:
    for before in ("", "vit "):
        with pytest.raises(FilterError, match=rf"\(character {len(before) + at}\)$"):
            ask(queries, f"{before}{text}")


def test_a_near_miss_is_answered_with_what_was_meant(queries: Queries) -> None:
    with pytest.raises(FilterError, match="no run has anything called 'modle'; did you mean 'model'"):
        ask(queries, "modle:vit")
    assert ask(queries, "state:crashed").notes == ["crashed means failed or killed"]
