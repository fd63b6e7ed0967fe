"""A compiled expression: what it needs, its unit, and its values over columns of series.

compile("sum(gpu/power_w) by host / train/tokens_per_s").over(series) -> columns in "J/token", as W/(token/s) is
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from ...records import Labels
from ...store.protocol import Axis, Buckets
from .changing import REACH
from .evaluating import CHANGES, Evaluation
from .nodes import Applied, ExpressionNode, Overtime, Selected, children
from .parsing import parsed
from .selector import SeriesSelector
from .tracks import Raster, SeriesColumns, buckets_of
from .units import UnitLookup, unit_of

KEPT = 256  # compiled expressions


class Need(NamedTuple):
    """Series that an expression is about, and how far outside of a range it looks for them, in units of the axis.

    `neighbour` says that it also looks at the point before the first one.
    """

    selector: SeriesSelector
    before: float = 0.0
    after: float = 0.0
    neighbour: bool = False
    column: int = 1


class ExpressionColumns(NamedTuple):
    """A series of the result: `labels` are those that its series share, with `run` among them where they are of a run.

    Where `exact`, min and max of `buckets` are those of the points; `reason` says in one sentence why they are not.
    """

    labels: Labels
    unit: str
    exact: bool
    reason: str
    buckets: Buckets


class Expression:
    """May be used from many threads."""

    def __init__(self, text: str, root: ExpressionNode) -> None:
        self.text, self._root = text, root
        self.needs: tuple[Need, ...] = tuple(_needs(root, Need(SeriesSelector(""))))

    def unit(self, units: UnitLookup, axis: Axis = "time") -> str:
        """By the unit of each selector's series; "" where it cannot be known. Raises ExpressionError where unlike units meet."""
        return unit_of(self._root, units, axis)

    def over(self, series: Sequence[SeriesColumns], raster: Raster | None = None) -> list[ExpressionColumns]:
        """Its values from these series, from which the selectors choose. `needs` says how far beyond the raster they should reach.

        Raises ExpressionError, and the store's Ended and TooMuch.
        """
        raster = raster or Raster()

        def lookup(selector: SeriesSelector) -> str:
            return common_unit(
                found.unit
                for found in series
                if not found.clock and selector.matches(found.run, found.name, found.labels)
            )

        unit = self.unit(lookup, raster.axis)
        tracks = Evaluation(series, raster).tracks(self._root)
        return [
            ExpressionColumns(track.labels, unit, not track.reason, track.reason, buckets_of(track, raster))
            for track in tracks
        ]


@lru_cache(maxsize=KEPT)
def compile(text: str) -> Expression:
    """Raises ExpressionError, a ValueError with `column`."""
    return Expression(text, parsed(text))


def common_unit(units: Iterable[str]) -> str:
    """ "" where they differ."""
    found = set(units)
    return found.pop() if len(found) == 1 else ""


def _needs(node: ExpressionNode, above: Need) -> Iterable[Need]:
    """Of a part whose values are looked for as far as `above` says."""
    if isinstance(node, Selected):
        yield above._replace(selector=node.selector, column=node.column)
        return
    before, after, neighbour = above.before, above.after, above.neighbour
    if isinstance(node, Overtime):
        before += node.width.value
    elif isinstance(node, Applied) and node.function == "shift":
        width = node.numbers[0].value
        before, after = before + max(width, 0.0), after + max(-width, 0.0)
    elif isinstance(node, Applied) and node.function == "ema":
        before += REACH * node.numbers[0].value
    elif isinstance(node, Applied) and node.function in CHANGES:
        neighbour = True
    for child in children(node):
        yield from _needs(child, Need(above.selector, before, after, neighbour))
