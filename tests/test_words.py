"""Plain words: code reads, returns, sends and reports; who uses the page is the user; a loop names its items."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COVERED = (
    "README.md",
    "assets",
    "client",
    "collectors",
    "dashboard",
    "deepseek-log",
    "docs",
    "integrations",
    "jobs",
    "models",
    "trainer",
)
NOT_OURS = ("assets/vendor", "assets/types/wire.d.ts", "docs/decisions")  # libraries, generated types, records of the past
SUFFIXES = (".py", ".js", ".ts", ".css", ".c", ".h", ".md", ".diff")
PRIVATE_WORDS = re.compile(  # `tell(self)` is a method of Python's files, `study.tell` of Optuna
    r"(?<!study\.)(?<![a-z])(?:told|tell(?!\(self\))|tells|telling|person|persons|somebody|someone|nobody|anybody|whoever)(?![a-z])",
    re.IGNORECASE,
)
NAMELESS_ITEMS = re.compile(r"\bfor \(?(?:const |let )?one (?:in|of)\b|\blambda one\b|\(one\b[^()]*\) =>")


def texts(*suffixes: str) -> dict[str, str]:
    """By path, what is written in the covered files."""
    places = [ROOT / name for name in COVERED]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*")))]
    names = {file.relative_to(ROOT).as_posix(): file for file in files if file.suffix in suffixes}
    return {name: file.read_text() for name, file in names.items() if not name.startswith(NOT_OURS)}


def lines_with(pattern: re.Pattern[str], *suffixes: str) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, text in texts(*suffixes).items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_code_docs_and_pages_use_the_words_of_the_field() -> None:
    assert lines_with(PRIVATE_WORDS, *SUFFIXES) == []


def test_loops_name_their_items() -> None:
    assert lines_with(NAMELESS_ITEMS, ".py", ".js") == []


@pytest.mark.parametrize("text", ["is told", "TOLD_S", "told_elsewhere", "Nobody waits", "#tell(", "a person's"])
def test_private_words_are_found_in_names_and_sentences(text: str) -> None:
    assert PRIVATE_WORDS.search(text)


@pytest.mark.parametrize(
    "text", ["for one in runs", "for (const one of runs)", "(one) => one.run", "(one, i) => i", "key=lambda one: one"]
)
def test_items_without_a_name_are_found(text: str) -> None:
    assert NAMELESS_ITEMS.search(text)


@pytest.mark.parametrize("text", ["for one run in a minute", "of one (and no more) => none", "storytelling", "personal"])
def test_plain_words_pass(text: str) -> None:
    assert not NAMELESS_ITEMS.search(text)
    assert not PRIVATE_WORDS.search(text)
