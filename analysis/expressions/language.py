"""The language of expressions: text in; nodes, units and one-sentence errors with the column out."""

from __future__ import annotations

import difflib
import fnmatch
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from collectors import catalog
from collectors.records import Labels
from collectors.store.store import Axis

if TYPE_CHECKING:
    from lark import Lark, Token, Tree
    from lark.exceptions import UnexpectedInput


SCALES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
QUANTITIES: dict[str, tuple[float, str]] = {  # a unit behind a number: its factor, and the unit of series
    "ms": (1e-3, "s"), "s": (1.0, "s"), "min": (60.0, "s"), "h": (3600.0, "s"), "d": (86400.0, "s"),
    "steps": (1.0, "step"), "step": (1.0, "step"),
    "W": (1.0, "W"), "kW": (1e3, "W"), "J": (1.0, "J"), "kJ": (1e3, "J"), "MJ": (1e6, "J"), "kWh": (3.6e6, "J"),
    "B": (1.0, "B"), "kB": (1e3, "B"), "MB": (1e6, "B"), "GB": (1e9, "B"), "TB": (1e12, "B"),
    "KiB": (2.0**10, "B"), "MiB": (2.0**20, "B"), "GiB": (2.0**30, "B"), "TiB": (2.0**40, "B"),
    "%": (1.0, "%"), "°C": (1.0, "°C"), "MHz": (1.0, "MHz"), "GHz": (1e3, "MHz"),
}  # fmt: skip
_DECIMAL = r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_UNITS = "|".join(sorted(QUANTITIES, key=len, reverse=True))

GRAMMAR = rf"""
start: comparison
?comparison: sum | sum COMPARE sum -> operation
?sum: product | sum (PLUS | MINUS) product -> operation
?product: unary | product (TIMES | SLASH) unary -> operation | product PER "step" -> per_step
?unary: power | MINUS unary -> negative
?power: atom | atom POWER unary -> operation
?atom: NUMBER -> number | QUANTITY -> quantity | selector | call | "(" comparison ")"
?selector: NAME labels? -> named | STRING labels? -> quoted | labels -> unnamed
labels: "{{" (matcher ("," matcher)* ","?)? "}}"
matcher: (NAME | STRING) (MATCH | EQUALS) STRING
call: NAME clause? "(" (comparison ("," comparison)*)? ")" clause?
?clause: OVER QUANTITY -> over | BY "(" (NAME ("," NAME)*)? ")" -> by | BY NAME -> by

COMPARE: "<=" | ">=" | "==" | "<" | ">" | "!="
MATCH: "=~" | "!~" | "!=" | "~="
EQUALS: "="
OVER: "over"
BY: "by"
PER: "per"
PLUS: "+"
MINUS: "-"
TIMES: "*"
SLASH: "/"
POWER: "^"
NAME: /[^\W\d][\w.:]*(\/[\w.:]+)*/
NUMBER: /{_DECIMAL}(Ki|Mi|Gi|Ti|k|M|G|T)?(?![\w.])/
QUANTITY.2: /{_DECIMAL}(Ki|Mi|Gi|Ti|k|M|G|T)?\s*({_UNITS})(?![\w.])/
STRING: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/
%ignore /\s+/
"""


@cache
def parser() -> Lark:
    """Made at the first expression: lark takes about 50 ms to load and 20 ms to make it."""
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", maybe_placeholders=False)


# What is wrong with an expression, and where.

MAX_COMPARED = 5_000  # names that a misspelled one is compared with


class ExpressionError(ValueError):
    """The text is one sentence; `column` counts the characters of the expression from 1."""

    def __init__(self, column: int, sentence: str) -> None:
        super().__init__(f"column {column}: {sentence}")
        self.column = column


class NoSeries(ExpressionError):
    """No series is what a part of the expression asks for."""


def meant(word: str, known: Collection[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`meant("avrage", ["mean"], {"average": "mean"}) -> "; did you mean mean?"`, and "" where nothing is like it."""
    lower = {name.lower(): name for name in list(known)[:MAX_COMPARED]} | dict(synonyms or {})
    near = difflib.get_close_matches(word.lower()[:200], lower, 1, 0.6)
    return f"; did you mean {lower[near[0]]}?" if near else ""


# Which series an expression is about: by name and by labels.

MatchOperator: TypeAlias = Literal["=", "!=", "=~", "!~", "~="]
MAX_REGEX_BYTES = 256 << 10  # of memory of a compiled one: what needs more is refused
NAME, RUN = "name", "run"  # keys of a selector that are no labels


class Matcher(NamedTuple):
    """`Matcher("gpu", "=~", "1*")`: a glob of * and ?, case-insensitive; `~=` has an expression of RE2 that is found in the value.

    A missing label is the empty text.
    """

    key: str
    operator: MatchOperator
    text: str

    def matches(self, value: str) -> bool:
        if self.operator == "~=":
            return regex_of(self.text).search(value) is not None
        same = (
            value == self.text
            if self.operator in ("=", "!=")
            else _glob(self.text).fullmatch(value.lower()) is not None
        )
        return same == (self.operator in ("=", "=~"))


class SeriesSelector(NamedTuple):
    """`name` is "" where the matchers alone decide. `clock` asks for the steps of the runs instead of a series."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    clock: bool = False

    def matches(self, run: str, name: str, labels: Labels) -> bool:
        """`run` is "" for the machine's series."""
        if self.clock or (self.name and name != self.name):
            return False
        values = {**dict(labels), NAME: name, RUN: run} if self.matchers else {}
        return all(matcher.matches(values.get(matcher.key, "")) for matcher in self.matchers)

    def __str__(self) -> str:
        inside = ", ".join(f'{matcher.key}{matcher.operator}"{matcher.text}"' for matcher in self.matchers)
        return self.name + (f"{{{inside}}}" if inside else "")


STEPS = SeriesSelector("step", clock=True)


def absent(selector: SeriesSelector, known: Collection[str]) -> str:
    """A sentence on a selector that matches none of the series with these names."""
    if selector.clock:
        return "the points of these runs have no steps"
    if not selector.name or selector.name in known:
        return f"no series matches {selector}"
    return f"no series {selector.name}" + (_divided(selector.name, known) or meant(selector.name, known))


def _divided(name: str, known: Iterable[str]) -> str:
    """`train/loss/2` may be meant as a division, `eval-loss` is read as a difference."""
    names = set(list(known)[:MAX_COMPARED])
    parts = name.split("/")
    for place in range(len(parts) - 1, 0, -1):
        left, right = "/".join(parts[:place]), "/".join(parts[place:])
        if left in names and (right in names or right.replace(".", "").isdigit()):
            return f"; a division has spaces around it: {left} / {right}"
    odd = next((known_name for known_name in sorted(names) if known_name.startswith(f"{name}-")), "")
    return f'; is it "{odd}"? Names with odd characters stand in quotes' if odd else ""


@lru_cache(maxsize=256)
def regex_of(text: str) -> Any:
    """Of RE2, whose time is linear. Raises ValueError with the reason."""
    import re2

    options = re2.Options()
    options.max_mem = MAX_REGEX_BYTES
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{text[:80]!r} is not a regular expression: {reason}") from None


@lru_cache(maxsize=1024)
def _glob(text: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(text.lower().replace("[", "[[]")))


# The parts of a compiled expression. `column` is where a part stands in the text, for sentences about it.


class NumberLiteral(NamedTuple):
    """`unit` is None for a bare number, which takes the unit of what it is added to or compared with."""

    value: float
    unit: str | None
    column: int


class SelectorNode(NamedTuple):
    selector: SeriesSelector
    column: int


class Negation(NamedTuple):
    value: ExpressionNode
    column: int


class BinaryOperation(NamedTuple):
    """`operator` is + - * / ^ < <= > >= == or !=."""

    operator: str
    left: ExpressionNode
    right: ExpressionNode
    column: int


class FunctionCall(NamedTuple):
    """A function of each value, or of neighbouring points; `numbers` are its fixed arguments."""

    function: str
    values: tuple[ExpressionNode, ...]
    numbers: tuple[NumberLiteral, ...]
    column: int


class RangeFunction(NamedTuple):
    """A function of the points of the last `width`, for each point; `quantile` is used by that function only."""

    function: str
    value: ExpressionNode
    width: NumberLiteral
    quantile: float
    column: int


class Aggregation(NamedTuple):
    """A function of all series that agree in the labels `keys`."""

    function: str
    value: ExpressionNode
    keys: tuple[str, ...]
    quantile: float
    column: int


ExpressionNode: TypeAlias = (
    NumberLiteral | SelectorNode | Negation | BinaryOperation | FunctionCall | RangeFunction | Aggregation
)


def children(node: ExpressionNode) -> tuple[ExpressionNode, ...]:
    match node:
        case BinaryOperation():
            return node.left, node.right
        case FunctionCall():
            return node.values
        case Negation() | RangeFunction() | Aggregation():
            return (node.value,)
        case _:
            return ()


def walk(root: ExpressionNode) -> Iterator[ExpressionNode]:
    """All nodes, in the order of the text as far as they nest."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(children(node))


# The functions of the language: a row each.

FunctionKind: TypeAlias = Literal["each", "choice", "neighbours", "moved", "many"]


class Function(NamedTuple):
    """`each` value by itself, a `choice` of values, `neighbours` of a series, `moved` along the axis, or of `many` values: over or by.

    `values` so many arguments are series, then come `numbers` fixed ones. Those of `quantile` come first.
    """

    name: str
    kind: FunctionKind
    arguments: str
    description: str
    values: int = 1
    numbers: int = 0


ROWS = (
    Function("abs", "each", "x", "absolute value"),
    Function("sqrt", "each", "x", "square root; nothing of a negative number"),
    Function("exp", "each", "x", "e to the power of x"),
    Function("log", "each", "x", "natural logarithm"),
    Function("log2", "each", "x", "logarithm to base 2"),
    Function("log10", "each", "x", "logarithm to base 10"),
    Function("clamp", "each", "x, low, high", "x, but at least low and at most high", numbers=2),
    Function("if", "choice", "condition, a, b", "a where the condition is not 0, else b", values=3),
    Function("delta", "neighbours", "x", "difference from the point before"),
    Function("slope", "neighbours", "x", "`delta` per second; per step on the step axis"),
    Function("increase", "neighbours", "x", "of a counter: `delta`, and after a reset the new value itself"),
    Function("rate", "neighbours", "x", "of a counter: `increase` per second; per step on the step axis"),
    Function("shift", "moved", "x, width", "the value of that long ago, as in `shift(x, 60 s)`", numbers=1),
    Function("ema", "moved", "x, half-life", "exponential moving average, weighted by distance on the axis", numbers=1),
    Function("mean", "many", "x", "arithmetic mean"),
    Function("min", "many", "x", "least value"),
    Function("max", "many", "x", "greatest value"),
    Function("sum", "many", "x", "sum"),
    Function("count", "many", "x", "how many values there are"),
    Function("stddev", "many", "x", "sample standard deviation (divisor n - 1)"),
    Function(
        "quantile",
        "many",
        "share, x",
        "the value below which that share lies, as in `quantile(0.9, x)`; linear",
        numbers=1,
    ),
)
FUNCTIONS = {function.name: function for function in ROWS}
SYNONYMS = {  # of other languages
    "average": "mean", "avg": "mean", "std": "stddev", "ln": "log", "derivative": "slope", "deriv": "slope", "diff": "delta",
    "offset": "shift", "lag": "shift", "percentile": "quantile", "median": "quantile", "ewm": "ema", "smooth": "ema", "where": "if",
    "clip": "clamp", "minimum": "min", "maximum": "max", "total": "sum",
}  # fmt: skip
QUANTILE = "quantile"
RISE = "rise"  # of the runs' steps: `slope` without the moments in which a run goes back; not in the language


# The unit of an expression: `J` per second is `W`, and `W / (token/s)` is `J/token`.

MAX_POWER = 12  # of a symbol; beyond that a unit says nothing
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
KEEPING = ("abs", "clamp", "shift", "ema", "delta", "increase")
_POWER = re.compile(r"(?P<symbol>[^^]+?)(?:\^(?P<power>-?\d+))?")
_COUNTED = re.compile(r"(?:^|[/_.])(?P<thing>[A-Za-z]+)s_per_s$")  # train/tokens_per_s

UnitLookup: TypeAlias = Callable[[SeriesSelector], str]


class Powers(NamedTuple):
    """Each symbol with its exponent, by name: `B/s` is `(("B", 1), ("s", -1))`. A watt is a joule per second."""

    of: tuple[tuple[str, Fraction], ...]

    def times(self, other: Powers, sign: int = 1) -> Powers:
        found = dict(self.of)
        for symbol, power in other.of:
            found[symbol] = found.get(symbol, Fraction(0)) + sign * power
        return Powers(tuple(sorted((symbol, power) for symbol, power in found.items() if power)))

    def to(self, exponent: Fraction) -> Powers:
        return Powers(tuple((symbol, power * exponent) for symbol, power in self.of if exponent))


class InferredUnit(NamedTuple):
    """`powers` is None where the unit is not known; a `bare` number takes the unit of what stands beside it."""

    powers: Powers | None
    bare: bool = False


UNKNOWN, PLAIN, BARE = InferredUnit(None), InferredUnit(Powers(())), InferredUnit(Powers(()), bare=True)
SECOND, STEP = Powers((("s", Fraction(1)),)), Powers((("step", Fraction(1)),))


def unit_of_series(name: str) -> str:
    """That of the catalogue, and of counted things their own: `train/tokens_per_s -> token/s`."""
    unit = catalog.unit_of(name)
    counted = _COUNTED.search(name) if unit == "1/s" else None
    return f"{counted['thing']}/s" if counted else unit


def unit_of(node: ExpressionNode, lookup: UnitLookup, axis: Axis) -> str:
    """ "" where it cannot be known. Raises ExpressionError where unlike units are added, compared or chosen from."""
    return written(_unit(node, lookup, SECOND if axis == "time" else STEP))


def read(text: str) -> InferredUnit:
    """`read("B/s")`; a series without a unit may have any, so "" is unknown."""
    if not text:
        return UNKNOWN
    powers: dict[str, Fraction] = {}
    for number, part in enumerate(text.split("/")):
        for symbol in part.replace("*", " ").split():
            found = _POWER.fullmatch(symbol)
            if found is None or symbol == "1":
                continue
            power = Fraction(found["power"] or 1) * (-1 if number else 1)
            for base, share in (("J", 1), ("s", -1)) if found["symbol"] == "W" else ((found["symbol"], 1),):
                powers[base] = powers.get(base, Fraction(0)) + power * share
    return InferredUnit(Powers(tuple(sorted((symbol, power) for symbol, power in powers.items() if power))))


def written(unit: InferredUnit) -> str:
    """`J s^-1 token^-1 -> W/token`"""
    if unit.powers is None or any(abs(power) > MAX_POWER for _, power in unit.powers.of):
        return ""
    powers = dict(unit.powers.of)
    joule, second = powers.get("J", Fraction(0)), powers.get("s", Fraction(0))
    if joule * second < 0:
        watts = min(abs(joule), abs(second)) * (1 if joule > 0 else -1)
        powers |= {"J": joule - watts, "s": second + watts, "W": watts}
    above = [_symbol(symbol, power) for symbol, power in sorted(powers.items()) if power > 0]
    below = [_symbol(symbol, -power) for symbol, power in sorted(powers.items()) if power < 0]
    if not above and not below:
        return ""
    return "/".join([" ".join(above) or "1", *below])


def _symbol(symbol: str, power: Fraction) -> str:
    return symbol if power == 1 else f"{symbol}^{power.numerator if power.denominator == 1 else float(power):g}"


def _unit(node: ExpressionNode, lookup: UnitLookup, place: Powers) -> InferredUnit:
    match node:
        case NumberLiteral():
            return BARE if node.unit is None else read(node.unit)
        case SelectorNode():
            return InferredUnit(STEP) if node.selector.clock else read(lookup(node.selector))
        case Negation():
            return _unit(node.value, lookup, place)
        case BinaryOperation():
            return _of_operation(node, _unit(node.left, lookup, place), _unit(node.right, lookup, place))
        case RangeFunction() | Aggregation():
            inner = _unit(node.value, lookup, place)
            return PLAIN if node.function == "count" else inner
        case FunctionCall():
            return _of_function(node, [_unit(value, lookup, place) for value in node.values], place)


def _of_operation(node: BinaryOperation, left: InferredUnit, right: InferredUnit) -> InferredUnit:
    if node.operator in ("*", "/"):
        if left.powers is None or right.powers is None:
            return UNKNOWN
        sign = 1 if node.operator == "*" else -1
        return InferredUnit(left.powers.times(right.powers, sign), bare=left.bare and right.bare)
    if node.operator == "^":
        if left.powers is None or not isinstance(node.right, NumberLiteral):
            return PLAIN if left == PLAIN else UNKNOWN
        return InferredUnit(left.powers.to(Fraction(node.right.value).limit_denominator(12)), bare=left.bare)
    alike = _alike(left, right, {"+": "add", "-": "subtract"}.get(node.operator, "compare"), node.column)
    return PLAIN if node.operator in COMPARISONS else alike


def _of_function(node: FunctionCall, units: Sequence[InferredUnit], place: Powers) -> InferredUnit:
    first = units[0]
    if node.function in KEEPING:
        for number in node.numbers if node.function == "clamp" else ():
            _alike(first, BARE if number.unit is None else read(number.unit), "clamp", number.column)
        return first._replace(bare=False)
    if node.function == "if":
        return _alike(units[1], units[2], "choose between", node.column)
    if first.powers is None:
        return UNKNOWN
    if node.function in ("rate", "slope", RISE):
        return InferredUnit(first.powers.times(place, -1))
    if node.function == "sqrt":
        return InferredUnit(first.powers.to(Fraction(1, 2)))
    return PLAIN if not first.powers.of else UNKNOWN  # exp and logarithms


def _alike(left: InferredUnit, right: InferredUnit, verb: str, column: int) -> InferredUnit:
    if left.bare or right.bare:
        return right if left.bare else left
    if left.powers is None or right.powers is None:
        return UNKNOWN
    if left != right:
        shown = [written(unit) or "a number without a unit" for unit in (left, right)]
        raise ExpressionError(column, f"cannot {verb} {shown[0]} and {shown[1]}; the units differ")
    return left


# Text becomes nodes; whatever is wrong with it is one sentence with the column.

MAX_CHARACTERS = 2_000  # of a text
MAX_DEPTH = 100  # of parts within parts
MAX_PARTS = 200
MAX_SHOWN = 40  # characters of the text in a sentence
_VALUE = {"NAME", "NUMBER"}  # expected where a value may stand
_AMOUNT = re.compile(r"(?P<number>[0-9.]+(?:[eE][+-]?[0-9]+)?)(?P<scale>Ki|Mi|Gi|Ti|[kMGT])?")


def parsed(text: str) -> ExpressionNode:
    """Raises ExpressionError."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(
            MAX_CHARACTERS + 1, f"an expression has at most {MAX_CHARACTERS:,} characters, this has {len(text):,}"
        )
    from lark.exceptions import UnexpectedInput

    try:
        tree = parser().parse(text)
    except UnexpectedInput as error:
        raise _unexpected(error, text) from None
    root = _node(tree.children[0], 1)
    parts = list(walk(root))
    if len(parts) > MAX_PARTS:
        raise ExpressionError(1, f"an expression has at most {MAX_PARTS} parts, this has {len(parts)}; divide it")
    if not _has_series(root):
        raise ExpressionError(1, "there is no series in this expression; name one, such as train/loss")
    return root


def _node(tree: Any, depth: int) -> ExpressionNode:
    """One level of Python's stack for each level of the expression."""
    if depth > MAX_DEPTH:
        raise ExpressionError(_column(tree), f"an expression is at most {MAX_DEPTH} levels deep; divide it")
    inner: Sequence[Any] = tree.children
    match tree.data:
        case "number" | "quantity":
            return _number(inner[0])
        case "named" | "quoted" | "unnamed":
            return SelectorNode(_selector(tree), _column(tree))
        case "negative":
            value = _node(inner[1], depth + 1)
            return (
                value._replace(value=-value.value)
                if isinstance(value, NumberLiteral)
                else Negation(value, _column(inner[0]))
            )
        case "operation":
            left, right = _node(inner[0], depth + 1), _node(inner[2], depth + 1)
            return BinaryOperation(str(inner[1]), left, right, _column(inner[1]))
        case "per_step":
            column = _column(inner[1])
            return BinaryOperation(
                "/", _node(inner[0], depth + 1), FunctionCall(RISE, (SelectorNode(STEPS, column),), (), column), column
            )
        case _:
            return _call(tree, depth)


def _number(token: Token) -> NumberLiteral:
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
    return NumberLiteral(value, known, _column(token))


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
    name = _text(key) if key.type == "STRING" else str(key)
    found = Matcher(name, str(operator), _text(text))  # type: ignore[arg-type]  # the grammar has no others
    if found.operator == "~=":
        try:
            regex_of(found.text)
        except ValueError as error:
            raise ExpressionError(_column(text), str(error)) from None
    return found


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
        return FunctionCall(name, tuple(values), tuple(numbers), column)
    quantile = numbers[0].value if name == QUANTILE else 0.5
    if not clauses or clauses[0].data == "by":
        keys = tuple(dict.fromkeys(str(key) for key in clauses[0].children[1:])) if clauses else ()
        return Aggregation(name, values[0], keys, quantile, column)
    width = _number(clauses[0].children[1])
    if width.value <= 0 or width.unit not in ("s", "step"):
        raise ExpressionError(
            width.column, "over takes a duration or a number of steps above 0, such as over 10 s or over 20 steps"
        )
    return RangeFunction(name, values[0], width, quantile, column)


def _arguments(
    function: Function, given: list[ExpressionNode], column: int
) -> tuple[list[ExpressionNode], list[NumberLiteral]]:
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
        if not isinstance(argument, NumberLiteral):
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
    return any(isinstance(part, SelectorNode) for part in walk(node))


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
    "STRING": "a text in quotes", "MATCH": "one of = != =~ !~ ~=", "STEP": "step", "NAME": "a name",
}  # fmt: skip


def _wanted(expected: set[str]) -> str:
    if "PLUS" in expected:
        return "an operator such as + or the end"
    return " or ".join(words for name, words in _WORDS.items() if name in expected) or "something else"


def _short(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _function_meant(name: str) -> str:
    other = SYNONYMS.get(name.lower())
    return f"; did you mean {other}?" if other else meant(name, FUNCTIONS, SYNONYMS)


def _column(part: Any) -> int:
    """Of a token, or of the first one in a tree; 1 where it has none, as empty braces."""
    while not hasattr(part, "start_pos"):
        if not part.children:
            return 1
        part = part.children[0]
    return int(part.start_pos) + 1


def _place(node: ExpressionNode) -> int:
    return node.column
