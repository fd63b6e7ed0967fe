"""One card over time, whoever made it: which sources of the catalog are due, what they cost, what was read, and whether the card is lost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..catalog import GPU, Source, Timetable
from ..records import Labels, Points
from .inventory import Gpu, GpuProcess, PollCost

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


def looks_of(cards: Sequence[Mapping[str, SourceCost]]) -> tuple[PollCost, ...]:
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
        looks.append(PollCost(source.key, count, mean_ms, slowest_ms, sentence))
    return tuple(looks)


CardValues: TypeAlias = dict[str, float]
Reading: TypeAlias = tuple[float | None, CardValues]  # when, Unix seconds, or None for now; what, by name

LOST_RETRY_S = 5.0  # until a lost GPU is retried; doubles up to
LOST_RETRY_MOST_S = 60.0
XID_FRESH_S = 60.0  # an XID this near is taken for the cause of a loss


class PolledCard:
    """A card, or a share of one. A maker's own class says how it is opened and how a source is read."""

    def __init__(self, host: str, index: int, sources: tuple[Source, ...]) -> None:
        self.host = host
        self.index = index
        self.sources = sources
        self.uuid = self.name = ""
        self.mig: int | None = None
        self.labels: Labels = ()
        self.lost = False
        self.since_s: float | None = None
        self.cause = ""
        self.xid = 0
        self.xid_s = 0.0
        self.pause_s = 0.0
        self.retry_at_s = 0.0
        self._periods_s = {source.key: source.period_s for source in sources}
        self.forget()

    def forget(self) -> None:
        """What was read so far."""
        self.timetable = Timetable(self.sources)
        self.answered: set[str] = set()
        self.costs: dict[str, SourceCost] = {}
        self.latest: CardValues = {}
        self.gathered: dict[float, tuple[float, CardValues]] = {}  # by period: when, Unix seconds; what

    # Of each maker

    def read(self, key: str) -> list[Reading]:
        """One source; [] where it says nothing now. A card that fails is lost, and this does not raise for it."""
        raise NotImplementedError

    def revive(self) -> str:
        """Open a lost card anew; why it does not answer, or ""."""
        raise NotImplementedError

    def close(self) -> None: ...

    def sample_period_s(self) -> float | None:
        """Between two entries of the driver's utilization buffer, as measured; None without one."""
        return None

    def processes(self) -> tuple[GpuProcess, ...]:
        return ()

    def processes_note(self) -> str:
        return ""

    # Of all

    def look(self, key: str) -> list[Points]:
        """Read one source of the catalog; values wait for `rows`."""
        started_s = time.monotonic()
        readings = self.read(key)
        cost = self.costs.setdefault(key, SourceCost())
        cost.add(time.monotonic() - started_s)
        self.timetable.done(key, started_s, cost.rest_s)
        for time_s, values in readings:
            self.latest |= values
            if time_s is None and values:
                self.gathered.setdefault(self._periods_s[key], (time.time(), {}))[1].update(values)
        return [self._points(time_s, values) for time_s, values in readings if time_s is not None]

    def rows(self) -> list[Points]:
        """The values that `look` has read: a row for all sources of one period, which then share a commit's row and a chunk's axis."""
        gathered, self.gathered = self.gathered, {}
        return [self._points(time_s, values) for time_s, values in gathered.values()]

    def _points(self, time_s: float, values: CardValues) -> Points:
        return Points(None, self.labels, tuple(values), tuple(map(float, values.values())), time_s, None)

    def lose(self, cause: str) -> None:
        if not self.lost:
            self.lost, self.since_s, self.cause = True, time.time(), cause
            self.pause_s = LOST_RETRY_S
        self.retry_at_s = time.monotonic() + self.pause_s
        self.pause_s = min(2 * self.pause_s, LOST_RETRY_MOST_S)

    def heal(self, now_s: float) -> bool:
        """Retry a lost GPU when its pause is over; return whether it came back."""
        if not self.lost or now_s < self.retry_at_s:
            return False
        if cause := self.revive():
            self.lose(cause)
            return False
        self.lost, self.since_s = False, None
        return True

    def as_gpu(self) -> Gpu:
        memory_bytes, power_limit_w = self.latest.get("gpu/memory_total_bytes"), self.latest.get("gpu/power_limit_w")
        return Gpu(
            index=self.index,
            uuid=self.uuid,
            name=self.name,
            memory_total_bytes=None if memory_bytes is None else int(memory_bytes),
            power_limit_w=power_limit_w,
            mig=self.mig,
            state="lost" if self.lost else "ok",
            reason=self._reason(),
            since_s=self.since_s,
            sample_period_s=self.sample_period_s(),
            processes=() if self.lost else self.processes(),
            processes_note="" if self.lost else self.processes_note(),
        )

    def _reason(self) -> str:
        if self.since_s is None:
            return ""
        cause = f"XID {self.xid}" if abs(self.xid_s - self.since_s) < XID_FRESH_S else self.cause
        return f"GPU {self.index} stopped answering at {time.strftime('%H:%M:%S', time.localtime(self.since_s))} ({cause})."
