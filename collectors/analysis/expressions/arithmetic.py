"""Operations on intervals: the result holds every value that values of the operands can give (pure).

Single values are computed as they are, as numpy and pandas do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..stacks.traces import Bools, Floats
from .tracks import Interval, single

Bounds: TypeAlias = tuple[Floats, Floats]


def operate(operator: str, left: Interval, right: Interval) -> Interval:
    """+ - * / ^ and comparisons, which give 0 or 1."""
    function = VALUES[operator]
    with np.errstate(all="ignore"):
        if left.single and right.single:
            return single(function(left.low, right.low))
        low, high = BOUNDS[operator](left, right)
        mean = np.fmax(np.fmin(function(left.mean, right.mean), high), low)
        return Interval(low, high, mean, function(left.last, right.last))


def negative(value: Interval) -> Interval:
    if value.single:
        return single(-value.low)
    return Interval(-value.high, -value.low, -value.mean, -value.last)


def apply(function: str, value: Interval) -> Interval:
    """A function of one value: abs, sqrt, exp and logarithms."""
    compute = FUNCTIONS_OF_ONE[function]
    with np.errstate(all="ignore"):
        if value.single:
            return single(compute(value.low))
        low, high = value.low, value.high
        if function == "abs":
            low, high = (
                np.where((low < 0) & (high > 0), 0.0, np.minimum(np.abs(low), np.abs(high))),
                np.maximum(np.abs(low), np.abs(high)),
            )
        else:
            if function != "exp":  # nothing comes of what is below 0
                low = np.where((low < 0) & (high >= 0), 0.0, low)
            low, high = compute(low), compute(high)
        mean = np.fmax(np.fmin(compute(value.mean), high), low)
        return Interval(low, high, mean, compute(value.last))


def clamp(value: Interval, least: float, most: float) -> Interval:
    if value.single:
        return single(np.clip(value.low, least, most))
    return Interval._make(np.clip(column, least, most) for column in value)


def choose(condition: Interval, left: Interval, right: Interval) -> Interval:
    """`left` where the condition is not 0; nothing where there is no condition."""
    if condition.single and left.single and right.single:
        return single(_chosen(condition.low, left.low, right.low))
    yes, no = (condition.low > 0) | (condition.high < 0), (condition.low == 0) & (condition.high == 0)
    low = np.where(yes, left.low, np.where(no, right.low, np.fmin(left.low, right.low)))
    high = np.where(yes, left.high, np.where(no, right.high, np.fmax(left.high, right.high)))
    unknown = np.isnan(condition.low)
    mean, last = (_chosen(*columns) for columns in zip(condition[2:], left[2:], right[2:], strict=True))
    return Interval(np.where(unknown, np.nan, low), np.where(unknown, np.nan, high), mean, last)


def attained(function: str, value: Interval, result: Interval, exponent: float = 1.0) -> bool:
    """Whether the least and the greatest value of each result are those of some point: not where the function turns, or ends, inside."""
    if value.single:
        return True
    open_end = (np.isinf(result.low) | np.isinf(result.high)) & np.isfinite(result.mean)
    if open_end.any() or function in ("==", "!="):
        return False
    across = (value.low < 0) & (value.high > 0)
    if function == "abs" or (function == "^" and exponent >= 0 and exponent % 2 == 0):
        return not across.any()
    rises = function not in ("/", "^", "sqrt", "log", "log2", "log10") or (
        function == "^" and exponent >= 0 and exponent % 1 == 0
    )
    return rises or not (across | ((value.low <= 0) & (value.high >= 0) & (value.low < value.high))).any()


def _chosen(condition: Floats, left: Floats, right: Floats) -> Floats:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, left, right))


def _compared(compare: Callable[[Floats, Floats], Bools]) -> Callable[[Floats, Floats], Floats]:
    def function(left: Floats, right: Floats) -> Floats:
        return np.where(np.isnan(left) | np.isnan(right), np.nan, compare(left, right))

    return function


def _sum(left: Interval, right: Interval) -> Bounds:
    return left.low + right.low, left.high + right.high


def _difference(left: Interval, right: Interval) -> Bounds:
    return left.low - right.high, left.high - right.low


def _corners(function: Callable[[Floats, Floats], Floats], left: Interval, right: Interval) -> Bounds:
    corners = [function(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _product(left: Interval, right: Interval) -> Bounds:
    def times(a: Floats, b: Floats) -> Floats:
        product = a * b
        return np.where(np.isnan(product) & ~np.isnan(a) & ~np.isnan(b), 0.0, product)  # an open end times 0

    return _corners(times, left, right)


def _quotient(left: Interval, right: Interval) -> Bounds:
    low, high = _corners(lambda a, b: a / b, left, right)
    zero = (right.low <= 0) & (right.high >= 0)
    if not zero.any():
        return low, high
    inverse = Interval(
        np.where(right.low < 0, -np.inf, 1 / np.where(right.high > 0, right.high, np.nan)),
        np.where(right.high > 0, np.inf, 1 / np.where(right.low < 0, right.low, np.nan)),
        right.mean,
        right.last,
    )
    open_low, open_high = _product(left, inverse)
    return np.where(zero, open_low, low), np.where(zero, open_high, high)


def _power(left: Interval, right: Interval) -> Bounds:
    exponent = right.low
    if right.single and np.ndim(exponent) == 0 and float(exponent).is_integer():
        ends = np.power(left.low, exponent), np.power(left.high, exponent)
        across = (left.low < 0) & (left.high > 0)
        if exponent % 2 == 0:
            least, most = np.minimum(*ends), np.maximum(*ends)
            return (np.where(across, 0.0, least), most) if exponent >= 0 else (least, np.where(across, np.inf, most))
        if exponent >= 0:
            return ends
        touches = (left.low <= 0) & (left.high >= 0)
        return np.where(touches, np.where(left.low < 0, -np.inf, ends[1]), ends[1]), np.where(
            touches, np.where(left.high > 0, np.inf, ends[0]), ends[0]
        )
    base = left._replace(low=np.where((left.low < 0) & (left.high >= 0), 0.0, left.low))
    return _corners(np.power, base, right)


def _above(left: Interval, right: Interval) -> Bounds:
    return VALUES[">"](left.low, right.high), VALUES[">"](left.high, right.low)


def _not_below(left: Interval, right: Interval) -> Bounds:
    return VALUES[">="](left.low, right.high), VALUES[">="](left.high, right.low)


def _equal(left: Interval, right: Interval) -> Bounds:
    surely = VALUES["=="](left.low, right.high) * VALUES["=="](left.high, right.low)
    return surely, VALUES["<="](left.low, right.high) * VALUES["<="](right.low, left.high)


def _unequal(left: Interval, right: Interval) -> Bounds:
    low, high = _equal(left, right)
    return 1 - high, 1 - low


VALUES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": np.power,
    "<": _compared(lambda a, b: a < b),
    "<=": _compared(lambda a, b: a <= b),
    ">": _compared(lambda a, b: a > b),
    ">=": _compared(lambda a, b: a >= b),
    "==": _compared(lambda a, b: a == b),
    "!=": _compared(lambda a, b: a != b),
}
BOUNDS: dict[str, Callable[[Interval, Interval], Bounds]] = {
    "+": _sum,
    "-": _difference,
    "*": _product,
    "/": _quotient,
    "^": _power,
    ">": _above,
    ">=": _not_below,
    "<": lambda left, right: _above(right, left),
    "<=": lambda left, right: _not_below(right, left),
    "==": _equal,
    "!=": _unequal,
}
FUNCTIONS_OF_ONE: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
}
