"""`GET /metrics`, read by the official Prometheus client."""

from __future__ import annotations

import math

import pytest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from collectors import catalog
from collectors.records import labels_of
from collectors.store.store import LastPoint, Series, series_id
from dashboard.api import machine as openmetrics
from dashboard.machine import Machine, values_now

NOW_S = 1_764_000_000.0
GPU = {"index": 3, "uuid": "GPU-3", "name": 'NVIDIA "H100" \\ 80GB', "mig": None, "state": "ok"}


def series(name: str, **labels: object) -> Series:
    full = labels_of(host="box", **labels)
    return Series(series_id(None, name, full), None, name, full, 1, NOW_S, NOW_S, None, None)


def families(found: dict[Series, float], gpus: list[dict[str, object]], age_s: float = 1.0) -> dict[str, Family]:
    last = {one.id: LastPoint(NOW_S - age_s, None, value) for one, value in found.items()}
    machine = Machine("box", gpus, None, [], values_now(list(found), last, gpus, NOW_S))
    return {family.name: family for family in text_string_to_metric_families(openmetrics.render(machine))}


def test_a_gpu_carries_the_labels_of_dcgm_exporter_and_the_base_unit() -> None:
    told = families({series("gpu/power_w", uuid="GPU-3", gpu=3): 521.5}, [GPU])
    (sample,) = told["deepseek_gpu_power_watts"].samples
    labels = {"gpu": "3", "UUID": "GPU-3", "device": "nvidia3", "modelName": 'NVIDIA "H100" \\ 80GB', "Hostname": "box"}
    assert (sample.labels, sample.value) == (labels, 521.5)
    assert told["deepseek_gpu_power_watts"].unit == "watts"


@pytest.mark.parametrize(
    ("name", "value", "told_as", "told"),
    [
        ("gpu/utilization_pct", 57, "deepseek_gpu_utilization_ratio", 0.57),
        ("gpu/sm_clock_mhz", 1755, "deepseek_gpu_sm_clock_hertz", 1.755e9),
        ("gpu/memory_used_bytes", 85_899_345_920, "deepseek_gpu_memory_used_bytes", 85_899_345_920),
        ("gpu/pcie_rx_bytes_per_s", 3.4e9, "deepseek_gpu_pcie_rx_bytes_per_second", 3.4e9),
        ("gpu/temperature_c", math.nan, "deepseek_gpu_temperature_celsius", math.nan),
        ("host/load_1m", 1.25, "deepseek_host_load_1m", 1.25),
    ],
)
def test_units_are_the_formats_own(name: str, value: float, told_as: str, told: float) -> None:
    (sample,) = families({series(name, uuid="GPU-3", gpu=3): value}, [GPU])[told_as].samples
    assert sample.value == pytest.approx(told, nan_ok=True)


def test_what_only_rises_is_a_counter() -> None:
    family = families({series("gpu/energy_j", uuid="GPU-3", gpu=3): 5e6}, [GPU])["deepseek_gpu_energy_joules"]
    assert (family.type, family.samples[0].name) == ("counter", "deepseek_gpu_energy_joules_total")


def test_a_mig_instance_names_itself_beside_its_card() -> None:
    card, part = series("gpu/processes", uuid="GPU-3", gpu=3), series("gpu/processes", uuid="MIG-1", gpu=3, mig=1)
    samples = families({part: 1, card: 2}, [GPU])["deepseek_gpu_processes"].samples
    assert [(sample.labels["UUID"], sample.labels.get("GPU_I_ID")) for sample in samples] == [
        ("GPU-3", None),
        ("MIG-1", "1"),
    ]


def test_what_is_no_longer_read_is_absent_and_not_its_last_value() -> None:
    found = {series("gpu/power_w", uuid="GPU-3", gpu=3): 521.5, series("gpu/power_limit_w", uuid="GPU-3", gpu=3): 700}
    told = families(found, [GPU], age_s=20)
    assert "deepseek_gpu_power_watts" not in told  # read twice a second
    assert "deepseek_gpu_power_limit_watts" in told  # every 10 s


def test_a_lost_gpu_tells_that_it_is_lost_and_its_last_xid() -> None:
    found = {series("gpu/power_w", uuid="GPU-3", gpu=3): 521.5, series("gpu/xid", uuid="GPU-3", gpu=3): 79}
    told = families(found, [GPU | {"state": "lost"}], age_s=1)
    assert {name: family.samples[0].value for name, family in told.items()} == {
        "deepseek_gpu_up": 0,
        "deepseek_gpu_xid": 79,
    }


def test_a_machine_without_gpus_shows_the_host() -> None:
    assert set(families({series("host/cpu_pct"): 12}, [])) == {"deepseek_host_cpu_ratio"}


def test_every_metric_of_the_catalog_has_a_name_of_its_own() -> None:
    machine = [metric for metric, source in catalog.rows() if source.period_s]
    assert len({openmetrics.name_of(metric) for metric in machine}) == len(machine)
