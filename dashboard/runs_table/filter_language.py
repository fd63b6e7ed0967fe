"""The filter language: `model:vit lr<=1e-3 state:crashed -tag:old "two words"` as terms.

A term is a word, or a key, an operator and a value; `-` before it turns it round, and all terms must hold. Words and values may be quoted.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Operator: TypeAlias = Literal["", ":", "=", "!=", "<", "<=", ">", ">="]

MOST_TERMS = 64
OPERATORS: tuple[Operator, ...] = ("<=", ">=", "!=", "<", ">", "=", ":")  # longer ones first
QUOTE = '"'


class FilterMistake(ValueError):
    """One sentence: what is wrong, and at which character."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"{what} (character {at + 1})")


class Term(NamedTuple):
    """`-lr<=1e-3` -> `Term(True, "lr", "<=", "1e-3", 0, 5)`; a word has no operator and no value.

    `at` is its first character, `value_at` that of the value; of a word both are the same.
    """

    negated: bool
    key: str
    operator: Operator
    value: str
    at: int
    value_at: int


def parse(text: str) -> list[Term]:
    """Raises FilterMistake. Costs its length."""
    terms: list[Term] = []
    at = _after_spaces(text, 0)
    while at < len(text):
        if len(terms) == MOST_TERMS:
            raise FilterMistake(f"more than {MOST_TERMS} terms", at)
        term, at = _term(text, at)
        terms.append(term)
        at = _after_spaces(text, at)
    return terms


def _term(text: str, start: int) -> tuple[Term, int]:
    negated = text[start] == "-" and start + 1 < len(text) and not text[start + 1].isspace()
    key, at = _atom(text, start + negated, stops=True)
    operator, after = _operator(text, at)
    if not operator:
        return Term(negated, key, "", "", start, start), at
    if not key:
        raise FilterMistake(f"no name before {operator!r}", start)
    value_at = after if operator == ":" else _after_spaces(text, after)
    if value_at >= len(text) or (operator == ":" and text[value_at].isspace()):
        raise FilterMistake(f"no value behind {_short(key)}{operator}", after - 1)
    value, at = _atom(text, value_at, stops=False)
    return Term(negated, key, operator, value, start, value_at), at


def _operator(text: str, at: int) -> tuple[Operator, int]:
    """The sign there and where it ends. Spaces may stand before all but `:`, which also ends words."""
    after = _after_spaces(text, at)
    for sign in OPERATORS:
        if text.startswith(sign, after) and (sign != ":" or after == at):
            return sign, after + len(sign)
    return "", at


def _atom(text: str, start: int, *, stops: bool) -> tuple[str, int]:
    """A quoted text, or what reaches to the next space; with `stops` to the next operator, too."""
    if text.startswith(QUOTE, start):
        return _quoted(text, start)
    at = start
    while at < len(text) and not text[at].isspace() and not (stops and _begins_operator(text, at)):
        at += 1
    return text[start:at], at


def _begins_operator(text: str, at: int) -> bool:
    return text[at] in "<>=:" or text.startswith("!=", at)


def _quoted(text: str, start: int) -> tuple[str, int]:
    found: list[str] = []
    at = start + 1
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            found.append(text[at + 1])
            at += 2
        elif text[at] == QUOTE:
            return "".join(found), at + 1
        else:
            found.append(text[at])
            at += 1
    raise FilterMistake("this quote is not closed", start)


def _after_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
