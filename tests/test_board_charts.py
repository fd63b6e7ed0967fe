"""What charts draw: the series that an entry chooses, in the store's buckets, with names that say how they differ; and the boards that come along."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings

from collectors.records import Points, Record, labels_of
from dashboard.api.boards import board_fields
from dashboard.boards.board import Board, BoardRow
from dashboard.boards.files import TEMPLATES, board_of
from dashboard.user_files.yaml_file import ODD_BREAK
from tests.board_texts import charts, texts
from tests.fake_nvml import BUSY
from tests.serving import Web, served_records, spiked

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


def asked(web: Web, *charts: Any, run: list[str] | str = "ddp", **more: Any) -> Any:
    answer = web.ask("/api/v1/charts", chart=[json.dumps(chart) for chart in charts], run=run, **more)
    assert answer.status == 200, answer.body
    return answer.json


def line(*series: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "line", "series": list(series), **more}


def labels(chart: Any) -> list[str]:
    return [curve["label"] for curve in chart["curves"]]


def test_series_are_chosen_by_name_glob_regex_and_expression(web: Web) -> None:
    by_name, by_glob, by_regex, by_expression = asked(
        web,
        line("gpu/power_w"),
        line({"glob": "phase/*_S"}),
        line({"regex": "^(train|val)/loss$"}),
        line("sum(gpu/power_w)"),
    )["charts"]
    assert labels(by_name) == [f"GPU {gpu}" for gpu in range(10)], (
        "GPU 9 comes before no GPU 10 by text, but after GPU 2"
    )
    assert len(by_glob["curves"]) == 6 and labels(by_glob)[:2] == [
        "phase/backward_s, rank 0",
        "phase/backward_s, rank 1",
    ]
    assert labels(by_regex) == ["train/loss", "val/loss"]
    (total,) = by_expression["curves"]
    assert set(total["last"]) == {10 * BUSY["power"]} and total["unit"] == "W"


def test_labels_and_runs_narrow_the_choice_and_names_say_how_curves_differ(web: Web) -> None:
    one, runs, several, odd, named = asked(
        web,
        line({"name": "gpu/power_w", "labels": {"gpu": "1*"}}),
        line({"name": "train/loss", "runs": ["A-*"]}),
        line("train/loss", {"name": "train/loss", "runs": ["a-1"]}),
        line({"name": "odd name {x}", "runs": ["a-1"]}),
        line({"name": "phase/data_s", "label": "{run}: rank {rank}, of {nothing}", "colour": 3}),
    )["charts"]
    assert [curve["labels"]["gpu"] for curve in one["curves"]] == ["1"]
    assert labels(runs) == ["a-1", "a-2"]
    assert labels(several) == ["ddp, rank 0", "a-1"] or labels(several) == ["ddp", "a-1"]
    assert labels(odd) == ["odd name {x}"]
    assert labels(named) == ["ddp: rank 0", "ddp: rank 1"] and named["curves"][0]["colour"] == 3


def test_a_series_that_is_not_there_is_one_sentence_and_costs_only_itself(web: Web) -> None:
    (chart, fine) = asked(
        web, line("gpu/power", "gpu/power_w", "sum(nothing/x)", {"glob": "xyz*"}), line("train/loss")
    )["charts"]
    assert len(chart["curves"]) == 10 and len(fine["curves"]) == 1
    reasons = {row["item"]: row["reason"] for row in chart["left_out"]}
    assert reasons[0] == "this machine and the run 'ddp' have no series gpu/power; is it gpu/power_w?"
    assert reasons[2].startswith("the expression finds no series nothing/x") and reasons[3].endswith(
        "no series that the glob xyz* finds"
    )


def test_a_spike_of_one_step_is_in_every_answer_and_the_range_is_kept(web: Web) -> None:
    for buckets in (1, 7, 300):
        (chart,) = asked(web, line("loss"), run="long", buckets=buckets)["charts"]
        assert max(chart["curves"][0]["max"]) == 234.5 and len(chart["curves"][0]["x"]) <= buckets
    part = asked(web, line("loss"), run="long", **{"from": T0 + 10, "to": T0 + 11}, buckets=2000)
    xs = part["charts"][0]["curves"][0]["x"]
    assert min(xs) >= T0 + 10 and max(xs) <= T0 + 11 and len(xs) == 101
    assert part["followed"] == [{"run": "long", "name": "loss"}]


def test_smoothing_is_that_of_the_expression(web: Web) -> None:
    (smooth,) = asked(web, line({"name": "train/loss", "runs": ["a-1"]}, smooth="10 s"))["charts"]
    same = web.ask("/api/v1/expression", expr="ema(train/loss, 10 s)", run="a-1", buckets=300).json["curves"][0]
    assert smooth["curves"][0]["mean"] == same["mean"] and smooth["curves"][0]["series"] == "train/loss"
    (wrong,) = asked(web, line("train/loss", smooth="10 steps"))["charts"]
    assert wrong["curves"] == [] and "the axis is time" in wrong["left_out"][0]["reason"]


def test_on_the_step_axis_a_newer_attempt_counts(web: Web) -> None:
    chart = asked(web, line({"name": "train/loss", "runs": ["a-2"]}), x="step")["charts"][0]
    found = dict(zip(chart["curves"][0]["x"], chart["curves"][0]["last"], strict=True))
    assert found[49] == 98 and found[50] == -1 and found[69] == -1


def test_a_chart_may_have_an_axis_of_its_own(web: Web) -> None:
    by_time, by_step = asked(web, line("train/loss"), line("train/loss", axis="step"))["charts"]
    assert by_time["curves"][0]["x"][0] == T0 and by_step["curves"][0]["x"][0] == 0


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.stem)
def test_each_board_that_comes_along_draws_on_a_described_node(web: Web, path: Any) -> None:
    """And on a host without GPUs each of its series is one sentence."""
    board = board_of(path.read_text())
    drawn = [chart for row in board_fields(board)["rows"] for chart in row["charts"] if "series" in chart]
    asking = {"run": RUN_OF.get(path.stem, "ddp"), "x": board.axis}
    for chart, answer in zip(drawn, asked(web, *drawn, **asking)["charts"], strict=True):
        assert answer["curves"] and not answer["left_out"], f"{chart.get('title')}: {answer['left_out']}"
        assert all(any(value is not None for value in curve["mean"]) for curve in answer["curves"]), chart.get("title")


@settings(max_examples=40)
@given(chart=charts())
def test_any_chart_is_answered(web: Web, chart: Any) -> None:
    fields = board_fields(Board(rows=(BoardRow((chart,)),)))["rows"][0]["charts"][0]
    text = ODD_BREAK.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(fields, ensure_ascii=False))
    answer = web.ask("/api/v1/charts", chart=text, run=["ddp", "a*", "nothing"])
    assert answer.status == 200, answer.body


@settings(max_examples=60)
@given(text=texts)
def test_no_text_of_a_chart_fails(web: Web, text: str) -> None:
    if "\ud800" <= max(text, default="") <= "\udfff":
        return
    answer = web.ask("/api/v1/charts", chart=text.encode("utf-8", "replace"))
    assert answer.status in (200, 400), answer.body
