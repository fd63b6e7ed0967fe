"""Device activity: how busy the GPU was from moment to moment, what it copied and communicated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from collectors.arrays import Floats, Ints
from collectors.store.store import RawPoints, Series

from ..history import History
from ..stacks.spans import Interval
from . import kinds
from .kinds import AT_WORK, IDLE

Signal: TypeAlias = Literal["driver samples", "GPM", "MIG instance", "none"]


class DeviceUtilization(NamedTuple):
    """One entry a value of the counter, in order of time: the mean over the period that it stands for."""

    start_s: Floats
    end_s: Floats
    share: Floats  # 0 to 1
    signal: Signal

    def within(self, lo: float, hi: float) -> DeviceUtilization:
        """Those whose middle lies there."""
        middle = (self.start_s + self.end_s) / 2
        inside = (middle >= lo) & (middle < hi)
        return self._replace(start_s=self.start_s[inside], end_s=self.end_s[inside], share=self.share[inside])

    def without(self, stretches: Sequence[Interval]) -> DeviceUtilization:
        """As if it had been idle in these."""
        middle = (self.start_s + self.end_s) / 2
        inside = np.zeros(len(middle), bool)
        for lo, hi in stretches:
            inside |= (middle >= lo) & (middle <= hi)
        return self._replace(share=np.where(inside, 0.0, self.share))

    @property
    def idle_s(self) -> Floats:
        idle: Floats = (1 - self.share) * (self.end_s - self.start_s)
        return idle


class CopyShares(NamedTuple):
    """The share of each stretch in which the device copies, by the counters of its link."""

    start_s: Floats
    end_s: Floats
    share: Floats  # 0 to 1

    def seconds(self, bounds: Floats) -> Floats:
        """Between each two neighbouring bounds."""
        if not len(self.start_s):
            return np.zeros(len(bounds) - 1)
        edges = np.r_[self.start_s[0], self.end_s]
        sums = np.r_[0.0, np.cumsum(self.share * (self.end_s - self.start_s))]
        copied: Floats = np.diff(np.interp(bounds, edges, sums))
        return copied


NO_BUSY = DeviceUtilization(np.zeros(0), np.zeros(0), np.zeros(0), "none")


def periods(time_s: Floats) -> Floats:
    """How long before its time each value of a counter begins: the distance from the one before, the usual one after a hole."""
    if len(time_s) < 2:
        return np.full(len(time_s), 1 / 6)
    apart = np.diff(time_s)
    usual = float(np.median(apart))
    found: Floats = np.r_[usual, np.where(apart > 1.5 * usual, usual, apart)]
    return found


def block_of(busy: DeviceUtilization, block_s: float) -> Ints:
    """Number of the block of each value: Unix time / block."""
    numbers: Ints = np.floor((busy.start_s + busy.end_s) / 2 / block_s).astype(np.int64)
    return numbers


# How much of a GPU's busy time is probably communication: its link is near its rate while few of its multiprocessors work.
#
# A collective's kernel spins on a few multiprocessors until all ranks are there, and counts as busy.

SOME = 0.05  # of the link's rate: less is no collective


class Communication(NamedTuple):
    """Percent of the time; the truth lies between, if the link's rate is known."""

    least: float
    most: float


def communication(busy: Floats, sm_active: Floats, traffic: Floats) -> Communication:
    """Columns of equal length, one entry a moment, shares of 1; `traffic` is of the link's rate, to or from the GPU.

    Least: moments that show both signs. Most: besides, of moments with traffic, what is busy beyond the multiprocessors' own share.
    """
    if not len(busy):
        return Communication(0.0, 0.0)
    unfilled = np.clip(busy - sm_active, 0.0, 1.0)
    both = (100 * sm_active < kinds.SM_LOW.value) & (traffic >= kinds.LINK.value)
    least = np.where(both, np.minimum(unfilled, traffic), 0.0)
    most = np.where(traffic >= SOME, np.where(both, busy, unfilled), 0.0)
    return Communication(100 * float(least.mean()), 100 * float(np.maximum(least, most).mean()))


# Which counter says how busy a run's GPU is, and its values: the signals that drivers and cards offer, in order.

GPU: Final = "gpu/"
SIGNALS: Final[tuple[tuple[str, Signal], ...]] = (
    ("gpu/utilization_pct", "driver samples"),
    ("gpu/graphics_active_pct", "GPM"),
)
LANE_BYTES_PER_S: Final = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}  # by generation of PCIe
LOOKED_AT_S: Final = 600.0  # of a longer window, parts
FILLED: Final = "gpu/sm_active_pct"
RECEIVED, GENERATION, WIDTH = "gpu/pcie_rx_bytes_per_s", "gpu/pcie_generation", "gpu/pcie_width"


class GpuSeries(NamedTuple):
    """Of one rank of a run. `any` is whether the machine has a GPU at all."""

    any: bool
    signal: Signal
    busy: Series | None
    received: Series | None
    link_bytes_per_s: float
    filled: Series | None = None  # how many of its multiprocessors work


NO_CARDS: Final = GpuSeries(False, "none", None, None, 0.0)


def cards_of(history: History, window: Interval, rank: int) -> GpuSeries:
    """Ranks are taken to use the cards that are at work in the window, in their order."""
    machine = [series for series in history.machine_series() if series.name.startswith(GPU)]
    if not machine:
        return NO_CARDS
    idle: Signal = "none"
    for name, signal in SIGNALS:
        known = _in_parts_alone(sorted((series for series in machine if series.name == name), key=_index))
        at_work = _at_work(history, known, window)
        if not at_work:
            idle = idle if idle != "none" or not known else signal
            continue
        busy = at_work[rank % len(at_work)]
        mine = {series.name: series for series in machine if card_of(series) == card_of(busy)}
        link = _link(history, mine, window)
        in_parts = dict(busy.labels).get("mig") is not None
        return GpuSeries(
            True,
            "MIG instance" if in_parts else signal,
            busy,
            mine.get(RECEIVED) if link else None,
            link,
            mine.get(FILLED),
        )
    return GpuSeries(True, idle, None, None, 0.0)


def _in_parts_alone(known: Sequence[Series]) -> list[Series]:
    """Without the cards that are divided into MIG instances: what a whole card reads is its instances' work, on average."""
    divided = {dict(series.labels).get("gpu") for series in known if "mig" in dict(series.labels)}
    return [series for series in known if "mig" in dict(series.labels) or dict(series.labels).get("gpu") not in divided]


def busy_of(history: History, cards: GpuSeries, window: Interval) -> DeviceUtilization:
    if cards.busy is None:
        return NO_BUSY
    found = _values(history.points([cards.busy], window)[cards.busy.id])
    return DeviceUtilization(
        found.place - periods(found.place), found.place, np.clip(found.value / 100, 0, 1), cards.signal
    )


def copying_of(history: History, cards: GpuSeries, window: Interval) -> CopyShares | None:
    """None where nothing says what the link carries."""
    if cards.received is None or not cards.link_bytes_per_s:
        return None
    found = _values(history.points([cards.received], window)[cards.received.id])
    share = np.clip(found.value / cards.link_bytes_per_s, 0, 1)
    return CopyShares(found.place - periods(found.place), found.place, share) if len(share) else None


def communication_of(
    history: History, cards: GpuSeries, busy: DeviceUtilization, window: Interval
) -> Communication | None:
    """None where the card's multiprocessors or its link are not known."""
    if cards.filled is None or cards.received is None or not cards.link_bytes_per_s or not len(busy.share):
        return None
    found = history.points([cards.filled, cards.received], window)
    filled, received = _values(found[cards.filled.id]), _values(found[cards.received.id])
    if not len(filled.place) or not len(received.place):
        return None
    traffic = np.clip(_held(received, filled.place) / cards.link_bytes_per_s, 0, 1)
    value = np.clip(np.searchsorted(busy.end_s, filled.place), 0, len(busy.share) - 1)
    return communication(busy.share[value], np.clip(filled.value / 100, 0, 1), traffic)


def _held(points: RawPoints, moments: Floats) -> Floats:
    """The values that hold at these moments: each stands for the time before it."""
    held: Floats = points.value[np.clip(np.searchsorted(points.place, moments), 0, len(points.value) - 1)]
    return held


def _at_work(history: History, known: Sequence[Series], window: Interval) -> list[Series]:
    """Those that are not far below the busiest one; none where all are idle. A long window is judged by parts of it."""
    found = [history.points(known, part) for part in looked_at(window)]
    values = [np.concatenate([part[series.id].value for part in found]) for series in known]
    means = [float(np.nanmean(value)) if np.isfinite(value).any() else 0.0 for value in values]
    most = max(means, default=0.0)
    return [
        series for series, mean in zip(known, means, strict=True) if most >= IDLE.value and mean >= AT_WORK.value * most
    ]


def looked_at(window: Interval) -> list[Interval]:
    """The window, or three minutes of it: its first, its last, and one in the middle."""
    lo, hi = window
    if hi - lo <= LOOKED_AT_S:
        return [window]
    return [(at, at + 60.0) for at in (lo, (lo + hi) / 2 - 30.0, hi - 60.0)]


def _link(history: History, mine: dict[str, Series], window: Interval) -> float:
    """Bytes a second that its link carries; 0 where unknown. It slows down while a card is idle, so that the highest counts."""
    rows = [mine[name] for name in (GENERATION, WIDTH) if name in mine]
    if len(rows) < 2 or RECEIVED not in mine:
        return 0.0
    found = [history.points(rows, part) for part in looked_at((window[0] - 60.0, window[1]))]
    generation, width = (
        max((v for part in found for v in part[series.id].value.tolist()), default=0.0) for series in rows
    )
    return LANE_BYTES_PER_S.get(int(generation), 0.0) * width


def _values(points: RawPoints) -> RawPoints:
    known = np.isfinite(points.place) & np.isfinite(points.value)
    order = np.argsort(points.place[known], kind="stable")
    place, first = np.unique(points.place[known][order], return_index=True)
    value: Floats = points.value[known][order][first]
    return points._replace(place=place, value=value)


def _index(series: Series) -> tuple[int, str]:
    labels = dict(series.labels)
    index = labels.get("gpu", "0")
    return (int(index) if index.isdecimal() else 0, labels.get("mig", ""))


def card_of(series: Series) -> tuple[str | None, str | None]:
    """Equal for series of one card, or of one instance of it."""
    labels = dict(series.labels)
    return labels.get("uuid"), labels.get("mig")
