"""A sentence is a template with values; it becomes text where somebody reads it, and travels as JSON."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from analysis.findings.ledger import SPENT_ON
from analysis.logs.crash import ROWS
from collectors.message import (
    FORMATS,
    PLACEHOLDER,
    Sentence,
    Value,
    counted,
    from_json,
    phrase,
    text_of,
    to_json,
)
from collectors.records import MESSAGE, Finding
from collectors.store.engines import open_store

ROOT = Path(__file__).parents[2]
MAKERS = {"phrase": 1, "counted": 2}  # and how many templates each takes
CLAUSE = phrase(" at step {step:,}", step=1200)


@pytest.mark.parametrize(("value", "how", "text"), [
    (0.94, ".0%", "94%"), (1234, ",", "1,234"), (0.12345, ".3g", "0.123"), (math.nan, ".4g", "nan"), (-math.inf, ".4g", "-inf"),
    (0.1, "spoken", "0.1 s"), (10260, "spoken", "2 h 51 min"), (90, "rounded", "90 s"), (9000, "rounded", "2.5 h"),
    (0.369, "signed", "+369 ms"), (12.0, "signed", "+12.00 s"), (0.00035, "signed", "+0.35 ms"), (-0.0012, "unsigned", "-1.2 ms"),
    (0.00314, "latency", "3.14 ms"), (0.11, "pace", "110 ms"), (1.26, "brief", "1.3 s"), (2.24, "times", "2.2 times"),
    (None, "spoken", ""), ("a {b}", "", "a {b}"), (["0", "2"], "", "0, 2"), ([phrase("rank {rank}", rank=1), "2"], "; ", "rank 1; 2"),
    (CLAUSE, "", " at step 1,200"),
])  # fmt: skip
def test_a_placeholder_says_how_its_value_is_written(value: Value, how: str, text: str) -> None:
    message = phrase("<{it" + (f":{how}" if how else "") + "}>", it=value)
    assert text_of(message) == f"<{text}>"
    assert text_of(from_json(to_json(message))) == f"<{text}>"


def test_one_and_many_are_two_templates() -> None:
    assert [text_of(counted("{count} sample", "{count} samples", many)) for many in (0, 1, 2)] == [
        "0 samples",
        "1 sample",
        "2 samples",
    ]


def test_a_text_is_shown_as_it_is() -> None:
    assert (text_of("{0} {x!r} {y.z}"), text_of(None)) == ("{0} {x!r} {y.z}", "")


def _bomb() -> object:
    """Of a kilobyte, which would become a gigabyte."""
    message: object = "x" * 10
    for _ in range(8):
        message = {"id": "{a}" * 10, "values": {"a": message}}
    return message


def _deep() -> object:
    message: object = "x"
    for _ in range(400):
        message = {"id": "{a}", "values": {"a": message}}
    return message


@pytest.mark.parametrize("stored", [
    None, 7, "text", [], {}, {"id": "a"}, {"id": 7, "values": {}}, {"id": "a", "values": []}, {"id": "{a}", "values": {}},
    {"id": "{a}", "values": {"a": {"b": 1}}}, {"id": "{a:signed}", "values": {"a": "x" * 9}}, {"id": "{a:,}", "values": {"a": []}},
    {"id": "{a:99999999999}", "values": {"a": 1}}, {"id": "{a:no_such}", "values": {"a": 1}}, _bomb(), _deep(),
])  # fmt: skip
def test_what_is_no_message_of_ours_becomes_none(stored: object) -> None:
    assert from_json(json.dumps(stored)) is None


def test_a_finding_is_stored_as_text_and_as_a_message(tmp_path: Path) -> None:
    said, old = phrase("No line for {silent_s:spoken}{at}.", silent_s=1900.0, at=CLAUSE), "It was silent."
    with closing(open_store(tmp_path, write=True)) as store:
        store.append([_silent("new", said), _silent("old", old)])
        new, old_row = (store.finding(id_) for id_ in ("new", "old"))
        assert new is not None and old_row is not None
        assert (new.sentence, from_json(new.fields[MESSAGE])) == ("No line for 32 min at step 1,200.", said)
        assert (old_row.sentence, dict(old_row.fields)) == (old, {})
        store.append([new._replace(over=True)])
        again = store.finding("new")
        assert again is not None and from_json(again.fields[MESSAGE]) == said, (
            "whoever writes a row again keeps its message"
        )


def _silent(id_: str, said: Sentence) -> Finding:
    return Finding(id_, "run", "silent", "note", 1.0, 2.0, False, said)


def test_each_kind_of_time_that_is_a_finding_has_a_sentence() -> None:
    for row in SPENT_ON.values():
        assert "7% of the time" in text_of(phrase(row.words, share_pct=7.0, where=None))


def test_each_pattern_of_a_fault_has_the_groups_that_its_sentence_names() -> None:
    for row in ROWS:
        assert {name for name, _ in PLACEHOLDER.findall(row.template)} <= row.pattern.groupindex.keys()


def calls() -> Iterator[tuple[str, ast.Call]]:
    for top in ("alerts", "analysis", "collectors", "dashboard"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_each_template_names_the_values_that_it_gets() -> None:
    """So that a sentence that is seldom said does not fail when it is."""
    found = list(calls())
    for where, call in found:
        maker = call.func.id if isinstance(call.func, ast.Name) else ""
        templates = [arg.value for arg in call.args[: MAKERS[maker]] if isinstance(arg, ast.Constant)]
        given = {keyword.arg for keyword in call.keywords}
        for template in templates:
            placeholders = PLACEHOLDER.findall(template)
            names = [name for name, _ in placeholders]
            assert "{" not in PLACEHOLDER.sub("", template) and len({*names}) == len(names), where
            assert None in given or {*names} - {"count"} == given - {"count"}, where
            assert not {how for _, how in placeholders if how.isalpha()} - {*FORMATS, "g", "f"}, where
    assert found
