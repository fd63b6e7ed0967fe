"""Record this machine's GPUs as a description that the fake NVML replays: python -m tests.record_nvml FILE --seconds 60

The file opens with card, driver and date; keep it in tests/data/recorded/ under <card>_<date>.nvml.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import time
from itertools import pairwise
from pathlib import Path

import pynvml

from collectors.machine import nvml
from collectors.machine.nvml import NvmlCollector
from collectors.records import Points

# Which signal of the fake tells a metric, and which of its features the metric's source needs.
SIGNALS = {
    "gpu/utilization_pct": "utilization",
    "gpu/memory_utilization_pct": "memory_utilization",
    "gpu/memory_used_bytes": "memory_used",
    "gpu/memory_total_bytes": "memory_total",
    "gpu/memory_reserved_bytes": "memory_reserved",
    "gpu/power_instant_w": "power",
    "gpu/power_limit_w": "power_limit",
    "gpu/temperature_c": "temperature",
    "gpu/memory_temperature_c": "memory_temperature",
    "gpu/temperature_margin_c": "margin",
    "gpu/temperature_slowdown_c": "slowdown",
    "gpu/temperature_shutdown_c": "shutdown",
    "gpu/sm_clock_mhz": "sm_clock",
    "gpu/memory_clock_mhz": "memory_clock",
    "gpu/sm_clock_max_mhz": "sm_clock_max",
    "gpu/memory_clock_max_mhz": "memory_clock_max",
    "gpu/clock_event_reasons": "reasons",
    "gpu/performance_state": "pstate",
    "gpu/fan_pct": "fan",
    "gpu/encoder_pct": "encoder",
    "gpu/decoder_pct": "decoder",
    "gpu/sm_active_pct": "sm_active",
    "gpu/sm_occupancy_pct": "sm_occupancy",
    "gpu/tensor_active_pct": "tensor",
    "gpu/dram_active_pct": "dram",
    "gpu/pcie_tx_bytes_per_s": "pcie_tx",
    "gpu/pcie_rx_bytes_per_s": "pcie_rx",
    "gpu/nvlink_tx_bytes_per_s": "nvlink_tx",
    "gpu/nvlink_rx_bytes_per_s": "nvlink_rx",
    "gpu/pcie_generation": "pcie_generation",
    "gpu/pcie_width": "pcie_width",
    "gpu/pcie_replays": "pcie_replays",
    "gpu/ecc_corrected": "ecc_corrected",
    "gpu/ecc_uncorrected": "ecc_uncorrected",
    "gpu/remapped_rows_corrected": "remapped_corrected",
    "gpu/remapped_rows_uncorrected": "remapped_uncorrected",
}
FEATURES = {
    "gpu/sm_active_pct": "gpm",
    "gpu/power_w": "power",
    "gpu/power_instant_w": "power_instant",
    "gpu/energy_j": "energy",
    "gpu/power_limit_w": "power_limit",
    "gpu/temperature_margin_c": "margin",
    "gpu/temperature_slowdown_c": "thresholds",
    "gpu/memory_reserved_bytes": "memory_v2",
    "gpu/memory_temperature_c": "counters",
    "gpu/fan_pct": "fan",
    "gpu/encoder_pct": "video",
    "gpu/nvlink_tx_bytes_per_s": "nvlink",
    "gpu/ecc_corrected": "ecc",
    "gpu/remapped_rows_corrected": "remapped",
}


def record(collector: NvmlCollector, seconds: float) -> str:
    """The description of what the collector reads in that time; MIG instances are left out."""
    started_s, end_s = time.time(), time.monotonic() + seconds
    points: list[Points] = []
    while time.monotonic() < end_s:
        points += [record for record in collector.collect() if "mig" not in dict(record.labels)]
        time.sleep(collector.period_s)
    cards = [gpu for gpu in collector.inventory().gpus if gpu.mig is None]
    periods = [gpu.sample_period_s for gpu in cards if gpu.sample_period_s]
    lines = [f"gpus {len(cards)}", f"loop {seconds:g}", f"driver {pynvml.nvmlSystemGetDriverVersion()}"]
    lines += [f"period {periods[0]:.6g}"] if periods else []
    for card in cards:
        ours = [record for record in points if dict(record.labels)["gpu"] == str(card.index)]
        seen = {name for record in ours for name in record.names}
        lacks = [feature for name, feature in FEATURES.items() if name not in seen] + (
            [] if card.sample_period_s else ["samples"]
        )
        lines += [f"name {card.index} {card.name}", *([f"lacks {card.index} {' '.join(lacks)}"] if lacks else [])]
        lines += changes(card.index, ours, started_s, card.sample_period_s or 0.0)
    return "\n".join(lines) + "\n"


def changes(gpu: int, points: list[Points], started_s: float, sample_period_s: float) -> list[str]:
    """A buffered sample is the mean up to its time, so it holds from a period before; what does not change is not repeated."""
    found: dict[str, list[tuple[float, float]]] = {}
    for record in points:
        for name, value in zip(record.names, record.values, strict=True):
            at_s = (record.time_s or started_s) - started_s - (sample_period_s if name == "gpu/utilization_pct" else 0)
            if signal := SIGNALS.get(name):
                found.setdefault(signal, []).append((max(0.0, at_s), value))
    lines = []
    for signal, values in found.items():
        values[0] = (0.0, values[0][1])
        kept = [values[0], *(new for old, new in pairwise(values) if new[1] != old[1])]
        lines += [f"at {gpu} {at_s:.3f} {signal} {value:.10g}" for at_s, value in kept]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to record (default: 60)")
    options = parser.parse_args()
    collector = NvmlCollector("recorded")
    collector.collect()
    if note := collector.inventory().note:
        print(note, file=sys.stderr)
        return 2
    nvml.INVENTORY_S = 0.0
    description = record(collector, options.seconds)
    names = ", ".join(sorted({gpu.name for gpu in collector.inventory().gpus}))
    options.file.write_text(f"# {names}; recorded {datetime.date.today()}\n{description}")
    collector.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
