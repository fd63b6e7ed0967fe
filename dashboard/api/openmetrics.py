"""The machine as OpenMetrics text, for Prometheus: `GET /metrics`.

Names come from the catalog, with the base unit of the format as suffix: `gpu/power_w` -> `deepseek_gpu_power_watts`. The
labels of GPUs are those of dcgm-exporter, so that its dashboards and joins fit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from collectors.catalog import Metric

from ..machine import Machine, Value

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PREFIX = "deepseek_"


class Unit(NamedTuple):
    """How a unit of the catalog is written in this format."""

    ending: str  # of the catalog's names
    word: str
    factor: float = 1


UNITS = {
    "%": Unit("_pct", "ratio", 0.01),
    "B": Unit("_bytes", "bytes"),
    "B/s": Unit("_bytes_per_s", "bytes_per_second"),
    "W": Unit("_w", "watts"),
    "J": Unit("_j", "joules"),
    "°C": Unit("_c", "celsius"),
    "MHz": Unit("_mhz", "hertz", 1e6),
    "s": Unit("_s", "seconds"),
}
NO_UNIT = Unit("", "")
LABELS = {
    "gpu": "gpu",
    "uuid": "UUID",
    "mig": "GPU_I_ID",
    "host": "Hostname",
}  # ours -> dcgm-exporter's; others keep their name


def render(machine: Machine) -> str:
    """Current values only: silent or lost series are absent, because a scraper adds its own time stamp."""
    models = {gpu["uuid"]: gpu["name"] for gpu in machine.gpus}
    lines = [*_up(machine)]
    for metric, values in itertools.groupby(machine.values, key=lambda value: value.metric):
        lines += _family(metric, list(values), models)
    return "\n".join([*lines, "# EOF"]) + "\n"


def name_of(metric: Metric) -> str:
    """`gpu/sm_clock_mhz -> deepseek_gpu_sm_clock_hertz`; the family's name, without the `_total` of a counter's sample."""
    unit = UNITS.get(metric.unit, NO_UNIT)
    stem = metric.name.removesuffix(unit.ending).replace("/", "_")
    return PREFIX + "_".join(filter(None, [stem, unit.word]))


def _up(machine: Machine) -> Iterator[str]:
    """Whether each GPU answers: the one thing still known of a lost GPU."""
    if machine.gpus:
        yield from (f"# TYPE {PREFIX}gpu_up gauge", f"# HELP {PREFIX}gpu_up 0 while the GPU does not answer.")
    for gpu in machine.gpus:
        labels = {"gpu": gpu["index"], "uuid": gpu["uuid"], "mig": gpu["mig"], "host": machine.host}
        yield f"{PREFIX}gpu_up{_labels(labels, gpu['name'])} {int(gpu['state'] == 'ok')}"


def _family(metric: Metric, values: list[Value], models: Mapping[str, str]) -> Iterator[str]:
    unit, name = UNITS.get(metric.unit, NO_UNIT), name_of(metric)
    yield f"# TYPE {name} {'counter' if metric.counter else 'gauge'}"
    if unit.word:
        yield f"# UNIT {name} {unit.word}"
    yield f"# HELP {name} {_escaped(f'{metric.label}. {metric.description}.')}"
    for value in values:
        labels = _labels(value.labels, models.get(value.labels.get("uuid", "")))
        yield f"{name}{'_total' if metric.counter else ''}{labels} {_number(value.value * unit.factor)}"


def _labels(labels: Mapping[str, Any], model: str | None) -> str:
    known = {LABELS.get(name, name): value for name, value in labels.items() if value is not None}
    if "gpu" in labels:
        known |= {"device": f"nvidia{labels['gpu']}", "modelName": model or ""}
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in sorted(known.items())) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """15 digits: all of a byte count, none of what multiplying by 0.01 adds."""
    return f"{value:.15g}" if math.isfinite(value) else "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
