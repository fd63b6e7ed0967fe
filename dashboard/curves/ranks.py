"""Which series of a run are the ranks of one (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from collectors.records import Labels
from collectors.store.protocol import Series

RankChoice: TypeAlias = Literal["mean", "each"]
RANK, HOST = "rank", "host"  # labels in which the ranks of a run differ


def bundles(series: Sequence[Series], ranks: RankChoice) -> dict[tuple[str, Labels], list[Series]]:
    """By name and the labels that all of a bundle share, in the order of the ranks."""
    found: dict[tuple[str, Labels], list[Series]] = {}
    for one_rank in sorted(series, key=rank_of):
        found.setdefault((one_rank.name, _shared(one_rank.labels, ranks)), []).append(one_rank)
    single = {(key[0], some[0].labels) if len(some) == 1 else key: some for key, some in found.items()}
    return dict(sorted(single.items(), key=lambda item: series.index(item[1][0])))


def rank_of(series: Series) -> int:
    rank = dict(series.labels).get(RANK, "0")
    return int(rank) if rank.isdecimal() else 0


def of_rank(series: Sequence[Series], labels: Labels) -> Series:
    """The one with the same labels, else that of the lowest rank."""
    return next((found for found in series if found.labels == labels), min(series, key=rank_of))


def _shared(labels: Labels, ranks: RankChoice) -> Labels:
    return labels if ranks == "each" else tuple(pair for pair in labels if pair[0] not in (RANK, HOST))
