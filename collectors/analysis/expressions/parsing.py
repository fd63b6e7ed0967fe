"""Text becomes nodes; whatever is wrong with it is one sentence with the column."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import ExpressionError, meant
from .functions import FUNCTIONS, QUANTILE, RISE, SYNONYMS, Function
from .grammar import QUANTITIES, SCALES, parser
from .nodes import (
    Across,
    Applied,
    ExpressionNode,
    Negative,
    Number,
    Operation,
    Overtime,
    Selected,
    walk,
)
from .selector import STEPS, Matcher, SeriesSelector

if TYPE_CHECKING:
    from lark import Token, Tree
    from lark.exceptions import UnexpectedInput

MOST_CHARACTERS = 2_000  # of a text
MOST_DEPTH = 100  # of parts within parts
MOST_PARTS = 200
MOST_SHOWN = 40  # characters of the text in a sentence
_VALUE = {"NAME", "NUMBER"}  # expected where a value may stand
_AMOUNT = re.compile(r"(?P<number>[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<scale>Ki|Mi|Gi|Ti|[kMGT])?")


def parsed(text: str) -> ExpressionNode:
    """Raises ExpressionError."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(
            MOST_CHARACTERS + 1, f"an expression has at most {MOST_CHARACTERS:,} characters, this has {len(text):,}"
        )
    from lark.exceptions import UnexpectedInput

    try:
        tree = parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    root = _node(tree.children[0], 1)
    parts = list(walk(root))
    if len(parts) > MOST_PARTS:
        raise ExpressionError(1, f"an expression has at most {MOST_PARTS} parts, this has {len(parts)}; divide it")
    if not _has_series(root):
        raise ExpressionError(1, "there is no series in this expression; name one, such as train/loss")
    return root


def _node(tree: Any, depth: int) -> ExpressionNode:
    """One level of Python's stack for each level of the expression."""
    if depth > MOST_DEPTH:
        raise ExpressionError(_column(tree), f"an expression is at most {MOST_DEPTH} levels deep; divide it")
    inner: Sequence[Any] = tree.children
    match tree.data:
        case "number" | "quantity":
            return _number(inner[0])
        case "named" | "quoted" | "unnamed":
            return Selected(_selector(tree), _column(tree))
        case "negative":
            value = _node(inner[1], depth + 1)
            return (
                value._replace(value=-value.value) if isinstance(value, Number) else Negative(value, _column(inner[0]))
            )
        case "operation":
            left, right = _node(inner[0], depth + 1), _node(inner[2], depth + 1)
            return Operation(str(inner[1]), left, right, _column(inner[1]))
        case "per_step":
            column = _column(inner[1])
            return Operation(
                "/", _node(inner[0], depth + 1), Applied(RISE, (Selected(STEPS, column),), (), column), column
            )
        case _:
            return _call(tree, depth)


def _number(token: Token) -> Number:
    found = _AMOUNT.match(token)
    assert found is not None
    unit = token[found.end() :].strip()
    scale = found["scale"] or ""
    if scale and unit and scale + unit in QUANTITIES:  # 5 MB: not five million bytes twice
        scale, unit = "", scale + unit
    factor, known = QUANTITIES[unit] if unit else (1.0, None)
    value = float(found["number"]) * SCALES.get(scale, 1.0) * factor
    if not math.isfinite(value):
        raise ExpressionError(_column(token), f"{_short(token)} is too large for a number")
    return Number(value, known, _column(token))


def _selector(tree: Tree[Token]) -> SeriesSelector:
    inner: Sequence[Any] = tree.children
    if tree.data == "unnamed":
        name, labels = "", inner[0]
    else:
        name, labels = str(inner[0]), inner[1] if len(inner) > 1 else None
    if tree.data == "quoted":
        name = _text(inner[0])
        if not name:
            raise ExpressionError(_column(tree), 'a series has a name; all series are {name=~"*"}')
    matchers = tuple(_matcher(*matcher.children) for matcher in labels.children) if labels is not None else ()
    if tree.data == "named" and name == STEPS.name and not matchers:
        return STEPS
    if not name and not matchers:
        raise ExpressionError(_column(tree), 'empty braces select nothing; all series are {name=~"*"}')
    return SeriesSelector(name, matchers)


def _matcher(key: Token, operator: Any, text: Token) -> Matcher:
    return Matcher(str(key), str(operator), _text(text))  # type: ignore[arg-type]  # the grammar has no others


def _text(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


def _call(tree: Tree[Token], depth: int) -> ExpressionNode:
    inner: Sequence[Any] = tree.children
    name, column = str(inner[0]), _column(inner[0])
    function = FUNCTIONS.get(name)
    if function is None:
        raise ExpressionError(column, f"unknown function {_short(name)}{_function_meant(name)}")
    clauses = [part for part in inner[1:] if part.data in ("over", "by")]
    given = [_node(part, depth + 1) for part in inner[1:] if part.data not in ("over", "by")]
    if len(clauses) > 1:
        raise ExpressionError(
            _column(clauses[1]),
            f"{name} takes one of over and by; write one in the other, as in sum(mean(x) over 10 s) by gpu",
        )
    if clauses and function.kind != "many":
        word = clauses[0].data
        raise ExpressionError(_column(clauses[0]), f"{name} takes no {word}; write mean({name}(x)) {word} ...")
    values, numbers = _arguments(function, given, column)
    if function.kind != "many":
        return Applied(name, tuple(values), tuple(numbers), column)
    quantile = numbers[0].value if name == QUANTILE else 0.5
    if not clauses or clauses[0].data == "by":
        keys = tuple(dict.fromkeys(str(key) for key in clauses[0].children[1:])) if clauses else ()
        return Across(name, values[0], keys, quantile, column)
    width = _number(clauses[0].children[1])
    if width.value <= 0 or width.unit not in ("s", "step"):
        raise ExpressionError(
            width.column, "over takes a duration or a number of steps above 0, such as over 10 s or over 20 steps"
        )
    return Overtime(name, values[0], width, quantile, column)


def _arguments(
    function: Function, given: list[ExpressionNode], column: int
) -> tuple[list[ExpressionNode], list[Number]]:
    """The series among the arguments, and the numbers. Raises ExpressionError."""
    name, wanted = function.name, function.values + function.numbers
    if len(given) != wanted:
        counted = "argument" if wanted == 1 else "arguments"
        raise ExpressionError(
            column, f"{name} takes {wanted} {counted}, as in {name}({function.arguments}); this has {len(given)}"
        )
    first = function.numbers if name == QUANTILE else function.values
    values, rest = (given[first:], given[:first]) if name == QUANTILE else (given[:first], given[first:])
    numbers = []
    for argument in rest:
        if not isinstance(argument, Number):
            raise ExpressionError(_place(argument), f"{name} takes a number here, as in {name}({function.arguments})")
        numbers.append(argument)
    if name == QUANTILE and not 0 <= numbers[0].value <= 1:
        raise ExpressionError(numbers[0].column, "the share of a quantile lies between 0 and 1, as in quantile(0.9, x)")
    if name == "clamp" and numbers[0].value > numbers[1].value:
        raise ExpressionError(numbers[0].column, "the lower bound of clamp is above the upper one")
    if name == "ema" and numbers[0].value <= 0:
        raise ExpressionError(numbers[0].column, "the half-life of ema is above 0, such as ema(x, 20 s)")
    if function.kind == "moved" and numbers[0].unit not in (None, "s", "step"):
        raise ExpressionError(
            numbers[0].column, f"{name} takes a duration or a number of steps, such as 20 s or 20 steps"
        )
    in_need = values[:1] if function.kind != "each" else []
    for argument in in_need:
        if not _has_series(argument):
            what = "a condition with a series" if name == "if" else "a series"
            raise ExpressionError(_place(argument), f"{name} takes {what}, not a number")
    return values, numbers


def _has_series(node: ExpressionNode) -> bool:
    return any(isinstance(part, Selected) for part in walk(node))


def _unexpected(error: UnexpectedInput, text: str) -> ExpressionError:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    expected: set[str] = set()
    shown, start = "", len(text)
    if isinstance(error, UnexpectedToken):
        expected = set(error.accepts or error.expected)
        shown = "" if error.token.type == "$END" else str(error.token)
        start = len(text) if not shown else int(error.token.start_pos or 0)
    elif isinstance(error, UnexpectedCharacters):
        expected = set(error.allowed or ())
        start = int(error.pos_in_stream or 0)
        shown = text[start]
    column = start + 1
    wanted = "a series, a number or a function" if expected >= _VALUE else _wanted(expected)
    if not text.strip():
        return ExpressionError(1, "the expression is empty; name a series, such as train/loss")
    if not shown:
        return ExpressionError(column, f"the expression ends where {wanted} should follow")
    if shown in "\"'":
        return ExpressionError(
            column,
            "the quote is not closed" if text.count(shown, start) == 1 else f"unexpected quote; expected {wanted}",
        )
    if shown in FUNCTIONS and "LPAR" in expected:
        before = re.split(r"[^\w.:/]", text[:start].rstrip())[-1]
        return ExpressionError(column, f"a function stands before its series; write {shown}({_short(before or 'x')})")
    return ExpressionError(column, f"unexpected {_short(shown)}; expected {wanted}")


_WORDS = {
    "RPAR": "a closing )", "LPAR": "an opening (", "RBRACE": "a closing }", "COMMA": "a comma", "QUANTITY": "a duration, such as 10 s",
    "STRING": "a text in quotes", "MATCH": "one of = != =~ !~", "STEP": "step", "NAME": "a name",
}  # fmt: skip


def _wanted(expected: set[str]) -> str:
    if "PLUS" in expected:
        return "an operator such as + or the end"
    return " or ".join(words for name, words in _WORDS.items() if name in expected) or "something else"


def _short(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _function_meant(name: str) -> str:
    other = SYNONYMS.get(name.lower())
    return f"; is it {other}?" if other else meant(name, FUNCTIONS, SYNONYMS)


def _column(part: Any) -> int:
    """Of a token, or of the first one in a tree; 1 where it has none, as empty braces."""
    while not hasattr(part, "start_pos"):
        if not part.children:
            return 1
        part = part.children[0]
    return int(part.start_pos) + 1


def _place(node: ExpressionNode) -> int:
    return node.column
