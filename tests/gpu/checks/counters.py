"""What NVML and GPM read: their periods and clocks, then an idle card, a full one, tiny kernels with gaps, and copies alone."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pynvml as nvml  # the package nvidia-ml-py

from collectors.machine.nvml import NvmlCollector
from tests.record_nvml import record

from ..lines import Report
from ..load import Loaded, Loads, loads
from ..plan import Setting
from ..recorder import GRAPHICS, SM, UTILIZATION, Recorder, Value, recording

PERIOD_S = (0.01, 1.1)  # of the driver's samples
LATE_S = (-0.05, 0.5)  # by how much the newest sample may be older than a period when it is read
GPM_READ = 0.9  # of the looks
IDLE_PCT, FULL_PCT, NEAR_PCT = 5.0, 95.0, 10.0
GAPS_US = (5, 20, 100)
EDGE_S = 0.4  # at both ends of a load, left out
FILE, DESCRIPTION = "counters.csv", "machine.nvml"


def check(setting: Setting, report: Report) -> None:
    try:
        with recording() as recorder:
            measure(setting, report, recorder)
            recorder.write(setting.folder / FILE)
        describe(setting, report)
    except nvml.NVMLError as error:
        report.line("FAIL", "driver", f"NVML answers: {error}.")


def measure(setting: Setting, report: Report, recorder: Recorder) -> None:
    try:
        with loads() as card:
            if card.has_card:
                under_loads(setting, report, recorder, card)
            else:
                skip_loads(report)
    except RuntimeError as error:  # what is read without a load is judged all the same
        report.line("FAIL", "loads", f"PyTorch cannot load the card: {error}.")
    time.sleep(setting.seconds(4.0, 2.0))
    of_buffer(report, recorder.values(UTILIZATION))
    of_gpm(report, len(recorder.values(SM)), recorder.looks, recorder.has_gpm)


def skip_loads(report: Report) -> None:
    for name in ("idle card", "full card", "start of a load", *map(gap_name, GAPS_US), "copies alone"):
        report.skip(name)


def under_loads(setting: Setting, report: Report, recorder: Recorder, card: Loads) -> None:
    seconds = setting.seconds(4.0, 1.5)
    read = {
        load: read_under(recorder, card, load, seconds)
        for load in ("idle", "full", *(f"gap {gap}" for gap in GAPS_US), "copies")
    }
    bounded(report, "idle card", read["idle"], 0.0, IDLE_PCT)
    bounded(report, "full card", read["full"], FULL_PCT, 100.0)
    edge(report, read["full"].loaded.begin_s, recorder.values(UTILIZATION))
    for gap in GAPS_US:
        of_gaps(report, gap, read[f"gap {gap}"])
    copies = read["copies"]
    report.line("PASS", "copies alone", f"Recorded: {copies.words}. Copies are no kernels.", copies.best)


class Read(NamedTuple):
    """Means over a load, percent; NaN where the card has no such counter."""

    loaded: Loaded
    utilization: float
    graphics: float
    sm: float

    @property
    def best(self) -> float:
        """What the ledger reads: utilization, and where there is none GPM."""
        return self.graphics if math.isnan(self.utilization) else self.utilization

    @property
    def words(self) -> str:
        names = (
            ("a kernel ran", self.loaded.busy_pct),
            ("utilization", self.utilization),
            ("GPM graphics", self.graphics),
            ("SM", self.sm),
        )
        return ", ".join(f"{name} {value:.1f} %" for name, value in names if not math.isnan(value))


def read_under(recorder: Recorder, card: Loads, load: str, seconds: float) -> Read:
    loaded = card.run(load, seconds)
    time.sleep(max(LATE_S))  # until the driver has written its last period
    lo_s, hi_s = loaded.begin_s + EDGE_S, loaded.end_s - EDGE_S / 4
    return Read(loaded, *(mean(recorder.values(name, lo_s, hi_s)) for name in (UTILIZATION, GRAPHICS, SM)))


def mean(values: Sequence[Value]) -> float:
    return statistics.fmean(value.value for value in values) if values else math.nan


def bounded(report: Report, what: str, read: Read, least: float, most: float) -> None:
    known = [value for value in (read.utilization, read.graphics) if not math.isnan(value)]
    good = bool(known) and all(least <= value <= most for value in known)
    report.judge(good, what, f"{read.words}; expected {least:.0f} to {most:.0f} %.", read.best, "%")


def edge(report: Report, begin_s: float, values: Sequence[Value]) -> None:
    """Whether the driver's clock is ours: the first period that is mostly busy ends one period after the load began, at most two."""
    period_s = period_of(values)
    first = next(
        (value.time_s for value in values if value.by_driver and value.value > 50 and value.time_s > begin_s - 1), None
    )
    if first is None or period_s is None:
        report.line("SKIP", "start of a load", "Skipped: the driver gives no samples with times.")
        return
    late_s = first - begin_s
    report.judge(
        -0.05 <= late_s <= 2 * period_s + 0.3,
        "start of a load",
        f"The first busy sample ends {late_s * 1e3:.0f} ms after the load began; its period is {period_s * 1e3:.0f} ms.",
        late_s * 1e3,
        "ms",
    )


def gap_name(gap_us: int) -> str:
    return f"gaps of {gap_us} us"


def of_gaps(report: Report, gap_us: int, read: Read) -> None:
    """Whether a counter that the ledger can use sees such gaps at all."""
    known = [value for value in (read.utilization, read.graphics, read.sm) if not math.isnan(value)]
    nearest = min((abs(value - read.loaded.busy_pct) for value in known), default=math.nan)
    good = abs(read.best - read.loaded.busy_pct) <= NEAR_PCT
    sees = (
        "seen"
        if good
        else f"not seen: a loop of such kernels reads as busy; the nearest counter is {nearest:.1f} points off"
    )
    report.judge(
        good, gap_name(gap_us), f"{read.words}: the gaps are {sees}.", read.best - read.loaded.busy_pct, "points"
    )


def of_buffer(report: Report, values: Sequence[Value]) -> None:
    timed = [value for value in values if value.by_driver]
    period_s = period_of(values)
    if period_s is None:
        polled = f"{len(values)} values by polling" if values else "no utilization either"
        report.skip("driver samples", f"Skipped: the driver's buffer is empty or missing, {polled}.")
        return
    report.judge(
        PERIOD_S[0] <= period_s <= PERIOD_S[1],
        "period of driver samples",
        f"{len(timed)} samples.",
        period_s * 1e3,
        "ms",
    )
    late_s = statistics.median(value.read_s - value.time_s for value in timed)
    report.judge(
        LATE_S[0] <= late_s <= period_s + LATE_S[1],
        "clock of driver samples",
        "So much later than its own time a sample is read, in the median.",
        late_s * 1e3,
        "ms",
    )
    inside = all(0 <= value.value <= 100 for value in timed)
    report.judge(
        inside, "range of driver samples", "All lie within 0 and 100 %.", max(value.value for value in timed), "%"
    )


def period_of(values: Sequence[Value]) -> float | None:
    times = sorted(value.time_s for value in values if value.by_driver)
    return statistics.median(b - a for a, b in pairwise(times)) if len(times) > 3 else None


def of_gpm(report: Report, count: int, looks: int, has_gpm: bool) -> None:
    if not has_gpm:
        report.skip("GPM", "Skipped: the card has no GPM (it is older than Hopper, or a share of a card).")
        return
    share = count / max(1, looks - 1)
    report.judge(share >= GPM_READ, "GPM", f"{count} of {looks} looks at 0.1 s gave values.", 100 * share, "%")


def describe(setting: Setting, report: Report) -> None:
    """A description of this machine that tests/fake_nvml replays."""
    collector = NvmlCollector("here")
    collector.collect()
    text = record(collector, setting.seconds(8.0, 1.0))
    collector.close()
    (setting.folder / DESCRIPTION).write_text(text)
    report.line("PASS", "description", f"{DESCRIPTION} replays this machine.", text.count("\n"), "lines")
