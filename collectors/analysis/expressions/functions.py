"""The functions of the language: a row each."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

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
