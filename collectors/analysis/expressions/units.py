"""The unit of an expression: `J` per second is `W`, and `W / (token/s)` is `J/token`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

from ... import catalog
from ...store.protocol import Axis
from .errors import ExpressionError
from .functions import RISE
from .nodes import Across, Applied, ExpressionNode, Negative, Number, Operation, Overtime, Selected
from .selector import SeriesSelector

MOST_POWER = 12  # of a symbol; beyond that a unit says nothing
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


class KnownUnit(NamedTuple):
    """`powers` is None where the unit is not known; a `bare` number takes the unit of what stands beside it."""

    powers: Powers | None
    bare: bool = False


UNKNOWN, PLAIN, BARE = KnownUnit(None), KnownUnit(Powers(())), KnownUnit(Powers(()), bare=True)
SECOND, STEP = Powers((("s", Fraction(1)),)), Powers((("step", Fraction(1)),))


def unit_of_series(name: str) -> str:
    """That of the catalogue, and of counted things their own: `train/tokens_per_s -> token/s`."""
    unit = catalog.unit_of(name)
    counted = _COUNTED.search(name) if unit == "1/s" else None
    return f"{counted['thing']}/s" if counted else unit


def unit_of(node: ExpressionNode, lookup: UnitLookup, axis: Axis) -> str:
    """ "" where it cannot be known. Raises ExpressionError where unlike units are added, compared or chosen from."""
    return written(_unit(node, lookup, SECOND if axis == "time" else STEP))


def read(text: str) -> KnownUnit:
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
    return KnownUnit(Powers(tuple(sorted((symbol, power) for symbol, power in powers.items() if power))))


def written(unit: KnownUnit) -> str:
    """`J s^-1 token^-1 -> W/token`"""
    if unit.powers is None or any(abs(power) > MOST_POWER for _, power in unit.powers.of):
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


def _unit(node: ExpressionNode, lookup: UnitLookup, place: Powers) -> KnownUnit:
    match node:
        case Number():
            return BARE if node.unit is None else read(node.unit)
        case Selected():
            return KnownUnit(STEP) if node.selector.clock else read(lookup(node.selector))
        case Negative():
            return _unit(node.value, lookup, place)
        case Operation():
            return _of_operation(node, _unit(node.left, lookup, place), _unit(node.right, lookup, place))
        case Overtime() | Across():
            inner = _unit(node.value, lookup, place)
            return PLAIN if node.function == "count" else inner
        case Applied():
            return _of_function(node, [_unit(value, lookup, place) for value in node.values], place)


def _of_operation(node: Operation, left: KnownUnit, right: KnownUnit) -> KnownUnit:
    if node.operator in ("*", "/"):
        if left.powers is None or right.powers is None:
            return UNKNOWN
        sign = 1 if node.operator == "*" else -1
        return KnownUnit(left.powers.times(right.powers, sign), bare=left.bare and right.bare)
    if node.operator == "^":
        if left.powers is None or not isinstance(node.right, Number):
            return PLAIN if left == PLAIN else UNKNOWN
        return KnownUnit(left.powers.to(Fraction(node.right.value).limit_denominator(12)), bare=left.bare)
    alike = _alike(left, right, {"+": "add", "-": "subtract"}.get(node.operator, "compare"), node.column)
    return PLAIN if node.operator in COMPARISONS else alike


def _of_function(node: Applied, units: Sequence[KnownUnit], place: Powers) -> KnownUnit:
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
        return KnownUnit(first.powers.times(place, -1))
    if node.function == "sqrt":
        return KnownUnit(first.powers.to(Fraction(1, 2)))
    return PLAIN if not first.powers.of else UNKNOWN  # exp and logarithms


def _alike(left: KnownUnit, right: KnownUnit, verb: str, column: int) -> KnownUnit:
    if left.bare or right.bare:
        return right if left.bare else left
    if left.powers is None or right.powers is None:
        return UNKNOWN
    if left != right:
        shown = [written(unit) or "a number without a unit" for unit in (left, right)]
        raise ExpressionError(column, f"cannot {verb} {shown[0]} and {shown[1]}; the units differ")
    return left
