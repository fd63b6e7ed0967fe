"""What the charts of a board ask for: an expression per entry, which is drawn like any other; and the built-in boards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from collectors.records import Points, Record, labels_of
from collectors.yaml_tree import tree_of
from dashboard.api.boards import exprs_of_board
from dashboard.boards.board import Board, BoardRow, exprs_of, series_of
from dashboard.boards.files import TEMPLATES, board_of
from tests.fake_nvml import BUSY
from tests.support.board_texts import charts
from tests.support.serving import Web, served_records, spiked

T0 = float(int(time.time()) - 3000)
HOST = labels_of(host="box")
GPU_NAMES = {
    "gpu/utilization_pct": "utilization",
    "gpu/memory_used_bytes": "memory_used",
    "gpu/power_w": "power",
    "gpu/temperature_c": "temperature",
    "gpu/sm_clock_mhz": "sm_clock",
    "gpu/tensor_active_pct": "tensor",
    "gpu/pcie_rx_bytes_per_s": "pcie_rx",
    "gpu/pcie_tx_bytes_per_s": "pcie_tx",
    "gpu/nvlink_rx_bytes_per_s": "nvlink_rx",
    "gpu/nvlink_tx_bytes_per_s": "nvlink_tx",
}
PHASES = ("phase/data_s", "phase/forward_s", "phase/backward_s")
TRAINED = {
    "train/loss": 2.0,
    "val/loss": 2.5,
    "train/grad_norm": 1.0,
    "train/grad_scale": 65536.0,
    "train/skipped_steps": 3.0,
    "train/tokens_per_s": 8000.0,
    "train/samples_per_s": 80.0,
    "memory/allocated_bytes": 3e10,
    "memory/reserved_bytes": 4e10,
    "memory/peak_bytes": 3.5e10,
}
CANDIDATE = tuple(
    f"candidate/{name}" for name in ("accuracy", "latency_ms", "p99_ms", "size_mb", "smaller", "faster", "kept")
)
SERVED = (
    *(f"service/{name}" for name in ("p50_s", "p99_s", "queue", "batch_rows", "rejected", "failed")),
    *(f"phase/{name}_s" for name in ("queue", "batch", "infer", "encode")),
    "units",
)
RUN_OF = {"compression": "small", "service": "served"}  # that a board is about; the others: ddp
OF_HOST = (
    "host/cpu_pct",
    "host/cpu_iowait_pct",
    "host/pressure_cpu_pct",
    "host/run_read_bytes_per_s",
    "host/run_cpu_pct",
    "host/run_memory_bytes",
)


def machine() -> Iterator[Record]:
    """Ten GPUs as the described node has them, twice a second for 100 s, and what counts up."""
    for tick in range(200):
        for gpu in range(10):
            labels = labels_of(gpu=gpu, host="box", uuid=f"GPU-{gpu}")
            values = [float(BUSY[key]) for key in GPU_NAMES.values()]
            counted = (5e6 + 300.0 * tick / 2, 0.0, float(gpu == 3), 0.0)
            names = (*GPU_NAMES, "gpu/energy_j", "gpu/ecc_uncorrected", "gpu/ecc_corrected", "gpu/xid")
            yield Points(None, labels, names, (*values, *counted), T0 + tick / 2, None)
        yield Points(None, HOST, OF_HOST, (50.0,) * len(OF_HOST), T0 + tick / 2, None)


def logged() -> Iterator[Record]:
    for step in range(200):
        for rank in (0, 1):
            labels = labels_of(host="box", rank=rank)
            yield Points("ddp", labels, PHASES, (0.01, 0.02, 0.03 + rank / 100), T0 + step / 2, step)
        yield Points("ddp", labels_of(host="box", rank=0), tuple(TRAINED), tuple(TRAINED.values()), T0 + step / 2, step)
    for step in range(100):
        yield Points("a-1", HOST, ("train/loss", "odd name {x}"), (float(step), 7.0), T0 + step, step)
        yield Points("a-2", HOST, ("train/loss",), (2.0 * step,), T0 + step, step)
    for step in range(50, 70):
        yield Points("a-2", HOST, ("train/loss",), (-1.0,), T0 + 200 + step, step, 1)
    for step in range(5):
        yield Points(
            "small", HOST, (*CANDIDATE, "phase/train_s"), (0.9, 1.0, 2.0, 3.0, 4.0, 5.0, 0.98, 60.0), T0 + step, step
        )
        yield Points(
            "served", HOST, SERVED, (0.01, 0.02, 1.0, 8.0, 0.0, 0.0, 0.2, 0.1, 0.05, 0.01, 40.0), T0 + step, step
        )
    yield Points("bare", HOST, ("other",), (1.0,), T0, 0)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with served_records(tmp_path_factory.mktemp("charts"), machine(), logged(), spiked(T0, 100)) as web:
        yield web


def drawn(web: Web, entry: str, **more: Any) -> list[tuple[str | None, str]]:
    """The runs and names of an entry's curves, in its own words."""
    exprs = exprs_of(series_of(tree_of(f"entry: {entry}").value["entry"]))  # type: ignore[index, call-overload]
    found = web.ask("/api/v1/curves", expr=exprs, **{"run": "ddp", **more}).json
    return [(curve["run"], curve["name"]) for curve in found["curves"]]


@pytest.mark.parametrize(
    ("entry", "exprs"),
    [
        ("gpu/power_w", ["gpu/power_w"]),
        ("sum(gpu/power_w) by host", ["sum(gpu/power_w) by host"]),
        ("{glob: phase/*_s}", ['{name=~"phase/*_s"}']),
        ("{regex: '^(train|val)/loss$'}", ['{name~="^(train|val)/loss$"}']),
        ("{name: gpu/power_w, labels: {gpu: 1*, host: box}}", ['gpu/power_w{gpu=~"1*", host="box"}']),
        ("{name: x, labels: {odd key: 1}}", ['x{"odd key"="1"}']),
        ("{name: train/loss, runs: [a-1, lr-*]}", ['train/loss{run="a-1"}', 'train/loss{run=~"lr-*"}']),
        ("{name: 'odd \"name\"'}", ['"odd \\"name\\""']),
    ],
)
def test_an_entry_is_an_expression_or_one_a_run(entry: str, exprs: list[str]) -> None:
    assert exprs_of(series_of(tree_of(f"entry: {entry}").value["entry"])) == exprs  # type: ignore[index, call-overload]


def test_series_are_chosen_by_name_glob_regex_and_expression(web: Web) -> None:
    assert drawn(web, "gpu/power_w") == [(None, "gpu/power_w")] * 10
    assert {name for _, name in drawn(web, "{glob: phase/*_S}")} == set(PHASES)
    assert {name for _, name in drawn(web, "{regex: '^(train|val)/loss$'}")} == {"train/loss", "val/loss"}
    assert drawn(web, "{name: gpu/power_w, labels: {gpu: 1*}}") == [(None, "gpu/power_w")]
    assert sorted(drawn(web, "{name: train/loss, runs: [A-*]}")) == [("a-1", "train/loss"), ("a-2", "train/loss")]
    assert drawn(web, "{name: 'odd name {x}', runs: [a-1]}") == [("a-1", "odd name {x}")]
    assert drawn(web, "{name: nothing/x}") == []
    (total,) = web.ask("/api/v1/curves", expr="sum(gpu/power_w)", run="ddp").json["curves"]
    assert set(total["last"]) == {10 * BUSY["power"]} and total["unit"] == "W"


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_built_in_board_draws_on_a_described_node(web: Web, path: Any) -> None:
    board = board_of(path.read_text())
    asked = exprs_of_board(board)
    question = {"expr": [row["expr"] for row in asked], "run": RUN_OF.get(path.stem, "ddp"), "x": board.axis}
    answer = web.ask("/api/v1/curves", **question).json
    by_expr: dict[int, list[Any]] = {}
    for curve in answer["curves"]:
        by_expr.setdefault(curve["expr"], []).append(curve)
    for place, row in enumerate(asked):
        missing = [left for left in answer["left_out"] if left["expr"] == place]
        assert by_expr.get(place) and not missing, f"{row}: {missing}"
        assert all(any(value is not None for value in curve["mean"]) for curve in by_expr[place]), row


@settings(max_examples=40)
@given(chart=charts())
def test_any_chart_is_answered(web: Web, chart: Any) -> None:
    exprs = [row["expr"] for row in exprs_of_board(Board(rows=(BoardRow((chart,)),)))]
    answer = web.ask("/api/v1/curves", expr=[*exprs, "train/loss"], run=["ddp", "a*", "nothing"])
    assert answer.status == 200, answer.body


def test_a_board_says_what_its_charts_ask_for(web: Web) -> None:
    answer = web.ask("/api/v1/boards/ranks").json
    asked = [(row["row"], row["chart"], row["item"]) for row in answer["exprs"]]
    rows = answer["board"]["rows"]
    for row, chart, item in asked:
        assert item < len(rows[row]["charts"][chart]["series"])
    assert asked == sorted(asked) and answer["exprs"][0]["expr"]
