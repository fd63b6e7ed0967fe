"""The grammar of expressions, for lark (LALR)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark

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
matcher: NAME (MATCH | EQUALS) STRING
call: NAME clause? "(" (comparison ("," comparison)*)? ")" clause?
?clause: OVER QUANTITY -> over | BY "(" (NAME ("," NAME)*)? ")" -> by | BY NAME -> by

COMPARE: "<=" | ">=" | "==" | "<" | ">" | "!="
MATCH: "=~" | "!~" | "!="
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
