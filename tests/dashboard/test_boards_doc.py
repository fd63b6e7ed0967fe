"""The examples of docs/boards.md are boards and charts, one of each kind, and its tables name every key."""

from __future__ import annotations

import re

import pytest

from collectors.yaml_tree import tree_of
from collectors.yaml_values import YamlError
from dashboard.boards.board import (
    BOARD_FIELDS,
    CHART_FIELDS,
    KINDS,
    ROW_FIELDS,
    SERIES_FIELDS,
    chart_of,
)
from dashboard.boards.files import board_of
from tests.support.running import ROOT

DOC = (ROOT / "docs" / "boards.md").read_text()
EXAMPLES = [*re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL), *re.findall(r"`(\{kind: .*?\})` \|", DOC)]


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0])
def test_an_example_is_a_board_or_a_chart(text: str) -> None:
    if text.startswith("title"):
        assert board_of(text).rows
    else:
        chart_of(tree_of(text))


def test_there_is_an_example_of_each_kind() -> None:
    shown = {chart_of(tree_of(text)).kind for text in EXAMPLES if text.startswith("{kind")}
    assert shown == {kind.name for kind in KINDS}


def test_every_key_is_in_the_doc() -> None:
    for fields in (BOARD_FIELDS, ROW_FIELDS, CHART_FIELDS, SERIES_FIELDS):
        assert not [key for key in fields if f"`{key}`" not in DOC and f"{key}:" not in DOC]


def test_the_mistake_of_the_doc_is_said_like_that() -> None:
    sentence = re.search(r"`(line 7: [^`]+)`", DOC)
    assert sentence is not None
    with pytest.raises(YamlError) as error:
        board_of(
            "title: a\nrows:\n  - charts:\n      - kind: line\n        title: x\n        series:\n          - {name: a, colr: 1}\n"
        )
    assert str(error.value) == "line 7: a series has no key 'colr'; did you mean colour?"
    assert sentence[1] == str(error.value)
