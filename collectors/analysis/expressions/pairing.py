"""Which series of two sides of an operation belong together: by the labels that all of them have (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...records import Labels
from .errors import ExpressionError
from .tracks import Track

MOST_KEYS = 6  # in a sentence


class Pair(NamedTuple):
    left: Track
    right: Track
    labels: Labels


def pairs_of(left: Sequence[Track], right: Sequence[Track], operator: str, column: int) -> list[Pair]:
    """A single series goes with each of the other side; else those go together that agree in all labels that every series has.

    8 GPUs and one series of a run: 8 pairs. Raises ExpressionError where one goes with several of the other side both ways.
    """
    if len(left) == 1 or len(right) == 1:
        return [Pair(a, b, _joined(a, b)) for a in left for b in right]
    keys = (
        sorted(set.intersection(*({key for key, _ in track.labels} for track in (*left, *right))))
        if left and right
        else []
    )
    by_key: dict[Labels, list[Track]] = {}
    for track in right:
        by_key.setdefault(_shared(track, keys), []).append(track)
    pairs = [Pair(a, b, _joined(a, b)) for a in left for b in by_key.get(_shared(a, keys), [])]
    lefts, rights = len({id(pair.left) for pair in pairs}), len({id(pair.right) for pair in pairs})
    if len(pairs) > max(lefts, rights):
        shown = ", ".join(keys[:MOST_KEYS]) or "none"
        raise ExpressionError(
            column,
            f"{len(left)} series on the left of {operator} and {len(right)} on its right, and the labels that all of them have ({shown}) "
            f"do not say which go together; join those of a side, as in sum(...) by {keys[0] if keys else 'host'}",
        )
    return pairs


def _shared(track: Track, keys: Sequence[str]) -> Labels:
    labels = dict(track.labels)
    return tuple((key, labels[key]) for key in keys)


def _joined(left: Track, right: Track) -> Labels:
    """Of both; a label in which they differ is left out."""
    a, b = dict(left.labels), dict(right.labels)
    return tuple(sorted((key, value) for key, value in {**b, **a}.items() if a.get(key, value) == b.get(key, value)))
