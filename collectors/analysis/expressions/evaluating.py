"""Compute an expression on tracks (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...store.question import TooMuch, check
from . import arithmetic, changing
from .across import across
from .aligning import together
from .errors import ExpressionError, NoSeries
from .nodes import Across, Applied, ExpressionNode, Negative, Number, Operation, Overtime, Selected
from .pairing import pairs_of
from .rolling import over
from .selector import NAME, SeriesSelector, absent
from .tracks import Interval, Raster, SeriesColumns, Track, single, track_of

MOST_SERIES = 200  # of a selector
MOST_PLACES = 5_000_000  # of all that is computed, 32 bytes each
APART = (
    "the least and greatest values of two series need not fall together: min and max of the points lie between these"
)
TURNING = "values within a bucket reach across 0, where this function turns or ends: min and max of the points lie between these"
EQUAL = "whether values within a bucket are equal is not known: min and max of the points lie between these"
CHANGES = ("delta", "slope", "increase", "rate", "rise")


class Evaluation:
    """Of one expression, for these series."""

    def __init__(self, series: Sequence[SeriesColumns], raster: Raster) -> None:
        self._series, self._raster = series, raster
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
            case Number():
                return node.value
            case Selected():
                return self._selected(node)
            case Negative():
                value = self._value(node.value)
                if isinstance(value, float):
                    return -value
                return self._made(track.valued(arithmetic.negative(track.value)) for track in value)
            case Operation():
                return self._operation(node)
            case Overtime():
                width = self._width(node.width)
                return self._made(over(track, node.function, width, node.quantile) for track in self.tracks(node.value))
            case Across():
                return self._made(
                    across(self.tracks(node.value), node.function, node.keys, node.quantile, self._raster)
                )
            case Applied():
                return self._applied(node)

    def _made(self, tracks: Iterable[Track]) -> list[Track]:
        """One after the other, as long as there is room."""
        made = []
        for track in tracks:
            check()
            self._places += len(track.start)
            if self._places > MOST_PLACES:
                raise TooMuch(
                    f"the parts of the expression have more than {MOST_PLACES:,} places together; choose a shorter range or fewer series"
                )
            made.append(track)
        return made

    def _selected(self, node: Selected) -> list[Track]:
        selector = node.selector
        if selector not in self._kept:
            chosen = [series for series in self._series if series.clock] if selector.clock else []
            chosen += [
                series
                for series in self._series
                if not series.clock and selector.matches(series.run, series.name, series.labels)
            ]
            if not chosen:
                raise NoSeries(node.column, absent(selector, {series.name for series in self._series}))
            if len(chosen) > MOST_SERIES:
                raise ExpressionError(
                    node.column, f"{len(chosen):,} series match {selector}; at most {MOST_SERIES} may: name labels"
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

    def _operation(self, node: Operation) -> list[Track] | float:
        left, right = self._value(node.left), self._value(node.right)
        if isinstance(left, float) and isinstance(right, float):
            return float(arithmetic.operate(node.operator, _constant(left), _constant(right)).low)
        if isinstance(left, float):
            assert not isinstance(right, float)
            return self._made(self._beside(node.operator, _constant(left), track.value, track) for track in right)
        if isinstance(right, float):
            return self._made(self._beside(node.operator, track.value, _constant(right), track) for track in left)
        pairs = pairs_of(left, right, node.operator, node.column)
        return self._made(self._pair(node, pair.left, pair.right)._replace(labels=pair.labels) for pair in pairs)

    def _beside(self, operator: str, left: Interval, right: Interval, track: Track) -> Track:
        """A series and a number."""
        found = arithmetic.operate(operator, left, right)
        behind = track.value is left  # dividing by a number, and a number to a power, only rise or fall
        function = (
            "+" if (operator == "/" and behind) or (operator == "^" and not behind and left.low >= 0) else operator
        )
        exact = arithmetic.attained(
            function, track.value, found, float(right.low) if operator == "^" and behind else 0.5
        )
        return track.valued(found, "" if exact else EQUAL if operator in ("==", "!=") else TURNING)

    def _pair(self, node: Operation, left: Track, right: Track) -> Track:
        common = together([left, right], self._raster)
        value = arithmetic.operate(node.operator, *common.values)
        reason = common.reason or ("" if value.single and common.start is common.end else APART)
        return Track((), common.start, common.end, value, common.count, common.hold, reason)

    def _applied(self, node: Applied) -> list[Track] | float:
        if node.function == "if":
            return self._chosen(node)
        value = self._value(node.values[0])
        if isinstance(value, float):
            constant = _constant(value)
            found = self._each(node, constant)
            return float(found.low)
        if node.function in CHANGES:
            return self._made(changing.change(track, node.function) for track in value)
        if node.function in ("shift", "ema"):
            width = self._width(node.numbers[0])
            move = changing.shift if node.function == "shift" else changing.ema
            return self._made(move(track, width) for track in value)
        return self._made(self._applied_to(node, track) for track in value)

    def _applied_to(self, node: Applied, track: Track) -> Track:
        found = self._each(node, track.value)
        return track.valued(found, "" if arithmetic.attained(node.function, track.value, found) else TURNING)

    def _each(self, node: Applied, value: Interval) -> Interval:
        if node.function == "clamp":
            return arithmetic.clamp(value, node.numbers[0].value, node.numbers[1].value)
        return arithmetic.apply(node.function, value)

    def _chosen(self, node: Applied) -> list[Track] | float:
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
        common = together([condition, *others], self._raster)
        values = iter(common.values[1:])
        a, b = (_constant(side) if isinstance(side, float) else next(values) for side in (left, right))
        value = arithmetic.choose(common.values[0], a, b)
        reason = common.reason or ("" if value.single or not others else APART)
        return Track(condition.labels, common.start, common.end, value, common.count, common.hold, reason)

    def _width(self, number: Number) -> float:
        """On the axis. Raises ExpressionError where it is one of the other axis."""
        unit = "s" if self._raster.axis == "time" else "step"
        if number.unit not in (None, unit):
            other = "20 steps" if unit == "step" else "10 s"
            raise ExpressionError(
                number.column, f"the axis is {self._raster.axis}: a width is written as {other} there"
            )
        return number.value


def _constant(value: float) -> Interval:
    return single(np.asarray(value, np.float64))
