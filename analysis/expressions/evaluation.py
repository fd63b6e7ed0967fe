"""Computes an expression on aligned series (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from collectors.arrays import Floats
from collectors.records import Labels
from collectors.store.store import Axis, Buckets, TooMuch, check

from . import functions
from .functions import REACH, across, over
from .language import (
    NAME,
    Aggregation,
    BinaryOperation,
    ExpressionError,
    ExpressionNode,
    FunctionCall,
    Negation,
    NoSeries,
    NumberLiteral,
    RangeFunction,
    SelectorNode,
    SeriesSelector,
    UnitLookup,
    absent,
    children,
    parsed,
    unit_of,
)
from .values import (
    Raster,
    SeriesColumns,
    Track,
    align,
    apply,
    buckets_of,
    choose,
    operate,
    pairs_of,
    track_of,
)

MAX_SERIES = 200  # of a selector
MAX_PLACES = 5_000_000  # of all that is computed, at most 32 bytes each
CHANGES = ("delta", "slope", "increase", "rate", "rise")


class Evaluator:
    """Of one expression, for these series."""

    def __init__(self, chosen: Mapping[SeriesSelector, Sequence[SeriesColumns]], raster: Raster) -> None:
        self._chosen_by, self._raster = chosen, raster
        self._kept: dict[SeriesSelector, list[Track]] = {}
        self._places = 0  # of all tracks that were made

    def tracks(self, node: ExpressionNode) -> list[Track]:
        """Raises ExpressionError, and what the store raises for a question that takes too long or too much."""
        found = self._value(node)
        assert not isinstance(found, float), "an expression has a series"
        return found

    def _value(self, node: ExpressionNode) -> list[Track] | float:
        check()
        match node:
            case NumberLiteral():
                return node.value
            case SelectorNode():
                return self._selected(node)
            case Negation():
                value = self._value(node.value)
                if isinstance(value, float):
                    return -value
                return self._made(track._replace(value=-track.value) for track in value)
            case BinaryOperation():
                return self._operation(node)
            case RangeFunction():
                width = self._width(node.width)
                return self._made(over(track, node.function, width, node.quantile) for track in self.tracks(node.value))
            case Aggregation():
                return self._made(
                    across(self.tracks(node.value), node.function, node.keys, node.quantile, self._raster)
                )
            case FunctionCall():
                return self._applied(node)

    def _made(self, tracks: Iterable[Track]) -> list[Track]:
        """One after the other, as long as there is room."""
        made = []
        for track in tracks:
            check()
            self._places += len(track.start)
            if self._places > MAX_PLACES:
                raise TooMuch(
                    f"the parts of the expression have more than {MAX_PLACES:,} places together; choose a shorter range or fewer series"
                )
            made.append(track)
        return made

    def _selected(self, node: SelectorNode) -> list[Track]:
        selector = node.selector
        if selector not in self._kept:
            chosen = self._chosen_by[selector]
            if len(chosen) > MAX_SERIES:
                raise ExpressionError(
                    node.column, f"{len(chosen):,} series match {selector}; at most {MAX_SERIES} may: name labels"
                )
            tracks = [track_of(series, self._raster.axis) for series in chosen]
            if not selector.name:  # several names: each track says its own
                named = zip(tracks, chosen, strict=True)
                tracks = [
                    track._replace(labels=tuple(sorted((*track.labels, (NAME, series.name)))))
                    for track, series in named
                ]
            self._kept[selector] = tracks
        return self._kept[selector]

    def _operation(self, node: BinaryOperation) -> list[Track] | float:
        left, right = self._value(node.left), self._value(node.right)
        if isinstance(left, float) and isinstance(right, float):
            return float(operate(node.operator, np.asarray(left), np.asarray(right)))
        if isinstance(left, float):
            assert not isinstance(right, float)
            constant = np.asarray(left)
            return self._made(track._replace(value=operate(node.operator, constant, track.value)) for track in right)
        if isinstance(right, float):
            constant = np.asarray(right)
            return self._made(track._replace(value=operate(node.operator, track.value, constant)) for track in left)
        pairs = pairs_of(left, right, node.operator, node.column)
        return self._made(self._pair(node, pair.left, pair.right)._replace(labels=pair.labels) for pair in pairs)

    def _pair(self, node: BinaryOperation, left: Track, right: Track) -> Track:
        common = align([left, right], self._raster)
        return Track((), common.start, common.end, operate(node.operator, *common.values), common.count, common.hold)

    def _applied(self, node: FunctionCall) -> list[Track] | float:
        if node.function == "if":
            return self._chosen(node)
        value = self._value(node.values[0])
        if isinstance(value, float):
            return float(self._each(node, np.asarray(value)))
        if node.function in CHANGES:
            return self._made(functions.change(track, node.function) for track in value)
        if node.function in ("shift", "ema"):
            width = self._width(node.numbers[0])
            move = functions.shift if node.function == "shift" else functions.ema
            return self._made(move(track, width) for track in value)
        return self._made(track._replace(value=self._each(node, track.value)) for track in value)

    def _each(self, node: FunctionCall, value: Floats) -> Floats:
        if node.function == "clamp":
            return np.clip(value, node.numbers[0].value, node.numbers[1].value)
        return apply(node.function, value)

    def _chosen(self, node: FunctionCall) -> list[Track] | float:
        condition, left, right = (self._value(value) for value in node.values)
        assert not isinstance(condition, float), "a condition has a series"
        chosen: list[tuple[Track, list[Track]]] = [(track, []) for track in condition]
        for side in (left, right):
            if not isinstance(side, float):
                beside = {id(track): others for track, others in chosen}
                pairs = pairs_of([track for track, _ in chosen], side, "if", node.column)
                chosen = [
                    (pair.left._replace(labels=pair.labels), [*beside[id(pair.left)], pair.right]) for pair in pairs
                ]
        return self._made(self._choice(track, others, left, right) for track, others in chosen)

    def _choice(
        self, condition: Track, others: list[Track], left: list[Track] | float, right: list[Track] | float
    ) -> Track:
        common = align([condition, *others], self._raster)
        values = iter(common.values[1:])
        a, b = (np.asarray(side) if isinstance(side, float) else next(values) for side in (left, right))
        value = choose(common.values[0], a, b)
        return Track(condition.labels, common.start, common.end, value, common.count, common.hold)

    def _width(self, number: NumberLiteral) -> float:
        """On the axis. Raises ExpressionError where it is one of the other axis."""
        unit = "s" if self._raster.axis == "time" else "step"
        if number.unit not in (None, unit):
            other = "20 steps" if unit == "step" else "10 s"
            raise ExpressionError(
                number.column, f"the axis is {self._raster.axis}: a width is written as {other} there"
            )
        return number.value


# A compiled expression: what it needs, its unit, and its values over columns of series.
#
# compile("sum(gpu/power_w) by host / train/tokens_per_s").over(series) -> columns in "J/token", as W/(token/s) is

KEPT = 256  # compiled expressions


class SeriesRequirement(NamedTuple):
    """Series that an expression is about, and how far outside of a range it looks for them, in units of the axis.

    `neighbour` says that it also looks at the point before the first one.
    """

    selector: SeriesSelector
    before: float = 0.0
    after: float = 0.0
    neighbour: bool = False
    column: int = 1


class ExpressionColumns(NamedTuple):
    """A series of the result: `labels` are those that its series share, with `run` among them where they are of a run."""

    labels: Labels
    unit: str
    buckets: Buckets


class Expression:
    """May be used from many threads. `selector` is that of an expression which computes nothing; else None."""

    def __init__(self, text: str, root: ExpressionNode) -> None:
        self.text, self._root = text, root
        self.selector = root.selector if isinstance(root, SelectorNode) and not root.selector.clock else None
        self.needs: tuple[SeriesRequirement, ...] = tuple(_needs(root, SeriesRequirement(SeriesSelector(""))))

    def unit(self, units: UnitLookup, axis: Axis = "time") -> str:
        """By the unit of each selector's series; "" where it cannot be known. Raises ExpressionError where unlike units meet."""
        return unit_of(self._root, units, axis)

    def over(self, series: Sequence[SeriesColumns], raster: Raster | None = None) -> list[ExpressionColumns]:
        """Its values from these series, from which the selectors choose. `needs` says how far beyond the raster they should reach.

        Raises ExpressionError, and the store's QueryAborted and TooMuch.
        """
        chosen: dict[SeriesSelector, list[SeriesColumns]] = {}
        for need in self.needs:
            asked = need.selector
            chosen[asked] = [
                one
                for one in series
                if (one.clock if asked.clock else not one.clock and asked.matches(one.run, one.name, one.labels))
            ]
            if not chosen[asked]:
                raise NoSeries(need.column, absent(asked, {one.name for one in series}))
        return self.over_chosen(chosen, raster)

    def over_chosen(
        self, chosen: Mapping[SeriesSelector, Sequence[SeriesColumns]], raster: Raster | None = None
    ) -> list[ExpressionColumns]:
        """The same from the series that each selector has chosen, of each of them one or more."""
        raster = raster or Raster()
        unit = self.unit(lambda selector: common_unit(one.unit for one in chosen[selector]), raster.axis)
        tracks = Evaluator(chosen, raster).tracks(self._root)
        return [ExpressionColumns(track.labels, unit, buckets_of(track, raster)) for track in tracks]


@lru_cache(maxsize=KEPT)
def compile(text: str) -> Expression:
    """Raises ExpressionError, a ValueError with `column`."""
    return Expression(text, parsed(text))


def common_unit(units: Iterable[str]) -> str:
    """ "" where they differ."""
    found = set(units)
    return found.pop() if len(found) == 1 else ""


def _needs(node: ExpressionNode, above: SeriesRequirement) -> Iterable[SeriesRequirement]:
    """Of a part whose values are looked for as far as `above` says."""
    if isinstance(node, SelectorNode):
        yield above._replace(selector=node.selector, column=node.column)
        return
    before, after, neighbour = above.before, above.after, above.neighbour
    if isinstance(node, RangeFunction):
        before += node.width.value
    elif isinstance(node, FunctionCall) and node.function == "shift":
        width = node.numbers[0].value
        before, after = before + max(width, 0.0), after + max(-width, 0.0)
    elif isinstance(node, FunctionCall) and node.function == "ema":
        before += REACH * node.numbers[0].value
    elif isinstance(node, FunctionCall) and node.function in CHANGES:
        neighbour = True
    for child in children(node):
        yield from _needs(child, SeriesRequirement(above.selector, before, after, neighbour))
