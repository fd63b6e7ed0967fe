"""The catalog, its readers and `docs/metrics.md` say the same. `python -m tests.collectors.test_catalog` writes the page anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from collectors import catalog
from collectors.catalog import Source, Timetable, label_of, reasons_of, unit_of
from collectors.machine import gpu, host

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
TITLES = {"gpu": "GPUs", "host": "The machine", "log": "Runs"}
INTRODUCTION = """# Metrics

Every series that the dashboard knows, from `collectors/catalog.py`. Machine series carry the label `host`, GPU series also
`uuid`, `gpu` (the index) and, for MIG instances, `mig`; `host/cpu_core_pct` carries `core`, `host/run_*` carries `run` and
`rank`. Any other name that a run logs is shown as well; its ending gives its unit: `_s`, `_bytes`, `_pct`, `_w` and so on.

A call that takes longer than 20 ms twice in a row is made less often, for at most 1 % of the time; the page says so.

Of AMD's cards the amdgpu driver's files in `/sys` are read (`collectors/machine/amd.py`): busy and memory busy, memory, power and its
limit, energy, clocks, temperatures and their limits, fan, memory errors, PCIe link, and compute processes with their memory. What a card
does not tell is absent, never 0; a card that is powered down is not woken. A chip that is divided (`CPX`) is shown as a whole. No
AMD card was at hand: this was tested with described ones.
"""


def page() -> str:
    """The whole of docs/metrics.md."""
    parts = [INTRODUCTION]
    for prefix, title in TITLES.items():
        rows = [(metric, source) for metric, source in catalog.rows() if source.key.split(".")[0] == prefix]
        parts.append(
            f"## {title}\n\n| series | unit | what it is | read by | every | missing on |\n|---|---|---|---|---|---|"
        )
        for metric, source in rows:
            every = f"{source.period_s:g} s" if source.period_s else "line"
            what = f"**{metric.label}.** {metric.description}".replace("|", "\\|")
            parts.append(f"| `{metric.name}` | {metric.unit} | {what} | {source.call} | {every} | {source.absent} |")
        parts.append("")
    return "\n".join(parts)


def test_the_page_is_the_catalog() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m tests.collectors.test_catalog"


def test_every_source_has_a_reader_and_every_reader_a_source() -> None:
    assert set(gpu.READERS) == {source.key for source in catalog.GPU if source.key != "gpu.xid"}
    assert set(host.READERS) == {source.key for source in catalog.HOST}


def test_names_and_sources_stand_once() -> None:
    names = [metric.name for metric, _ in catalog.rows()]
    keys = [source.key for source in catalog.SOURCES]
    assert len(names) == len(set(names))
    assert len(keys) == len(set(keys))


def test_a_name_that_ends_in_a_unit_has_that_unit() -> None:
    for metric, _ in catalog.rows():
        if ending := re.search(r"_(bytes_per_s|per_s|bytes|pct|w|j|c|mhz|s)$", metric.name):
            assert metric.unit == unit_of(f"any{ending[0]}"), metric.name


@pytest.mark.parametrize(
    ("name", "unit", "label"),
    [
        ("gpu/power_w", "W", "Power"),
        ("phase/data_s", "s", "data"),
        ("gpu_phase/backward_s", "s", "backward"),
        ("train/loss", "", "Training loss"),
        ("my/copy_s", "s", "my/copy_s"),
        ("my/read_bytes_per_s", "B/s", "my/read_bytes_per_s"),
        ("accuracy", "", "accuracy"),
    ],
)
def test_unit_and_label_of_a_name(name: str, unit: str, label: str) -> None:
    assert (unit_of(name), label_of(name)) == (unit, label)


def test_clock_event_reasons_are_named() -> None:
    assert reasons_of(0x44) == ["power cap", "heat (hardware)"]
    assert reasons_of(0) == []


def test_deadlines_do_not_drift_when_looks_come_late() -> None:
    timetable = Timetable((Source("a", 0.5, 0, "", "", ()),))
    looks = []
    for tick in range(100):  # 0.07 s apart: each look comes up to 0.07 s late
        now_s = 100 + 0.07 * tick
        if timetable.due(now_s):
            timetable.done("a", now_s)
            looks.append(now_s)
    assert len(looks) == 14  # 7 s at 2 Hz


def test_missed_deadlines_are_not_made_up_for() -> None:
    timetable = Timetable((Source("a", 1, 0, "", "", ()),))
    timetable.done("a", 100.0)
    timetable.done("a", 200.0)
    assert not timetable.due(200.5)
    assert timetable.due(201.0)


def test_a_dropped_source_is_never_due() -> None:
    timetable = Timetable((Source("a", 1, 0, "", "", ()),))
    timetable.drop("a")
    timetable.done("a", 100.0)
    assert not timetable.due(1e9)


if __name__ == "__main__":
    PAGE.write_text(page())
