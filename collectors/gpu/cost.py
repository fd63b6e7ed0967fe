"""The cost of each source of the catalog on this machine, and the expensive ones that are polled less often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..catalog import GPU
from .inventory import Looks

SLOW_S = 0.02  # a call that takes longer, twice in a row, may take 1 % of the time at most


@dataclass
class SourceCost:
    """Of one source on one GPU."""

    looks: int = 0
    total_s: float = 0.0
    slowest_s: float = 0.0
    slow_in_a_row: int = 0
    rest_s: float = 0.0  # until the next call, where it is too slow for its period

    def add(self, took_s: float) -> None:
        self.looks += 1
        self.total_s += took_s
        self.slowest_s = max(self.slowest_s, took_s)
        self.slow_in_a_row = self.slow_in_a_row + 1 if took_s > SLOW_S else 0
        self.rest_s = 100 * took_s if self.slow_in_a_row > 1 else 0.0


def looks_of(cards: Sequence[Mapping[str, SourceCost]]) -> tuple[Looks, ...]:
    """The cost of each source over all cards; `cards` are the costs of one card each, by source."""
    looks = []
    for source in GPU:
        costs = [card[source.key] for card in cards if source.key in card]
        count = sum(cost.looks for cost in costs)
        if not count:
            continue
        rest_s = max(cost.rest_s for cost in costs)
        sentence = (
            f"A look takes {rest_s * 10:.0f} ms: one in {rest_s:.1f} s, not in {source.period_s:g} s." if rest_s else ""
        )
        mean_ms, slowest_ms = sum(c.total_s for c in costs) / count * 1e3, max(c.slowest_s for c in costs) * 1e3
        looks.append(Looks(source.key, count, mean_ms, slowest_ms, sentence))
    return tuple(looks)
