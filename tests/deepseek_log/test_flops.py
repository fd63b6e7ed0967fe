"""Model FLOPs utilization, from what a run's configuration and its log say."""

from __future__ import annotations

import pytest

from deepseek.log.flops import mfu, peak_of, precision_of, utilization

H100 = "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4e12),
        ("NVIDIA H100 PCIe", "tf32", 378e12),
        ("NVIDIA H200", "fp32", 66.9e12),
        ("NVIDIA A100-SXM4-80GB", "fp16", 312e12),
        ("Tesla V100-SXM2-16GB", "fp16", 125e12),
        ("Tesla V100-SXM2-16GB", "bf16", None),
        ("Tesla T4", "tf32", None),
        ("NVIDIA L4", "bf16", 121e12),
        ("AMD Instinct MI300X OAM", "bf16", 1307.4e12),
        ("NVIDIA T400 4GB", "fp16", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", None),
    ],
)
def test_a_peak_is_told_for_known_cards_only(name: str, precision: str, peak: float | None) -> None:
    assert peak_of(name, precision) == (None if peak is None else pytest.approx(peak))


def test_utilization_is_unknown_where_the_peak_is() -> None:
    assert mfu(1e12, 0.5, None) is None
    assert mfu(1e12, 0.5, 8e12) == 0.25


@pytest.mark.parametrize(
    ("config", "steps_per_s", "tokens_per_s", "share"),
    [
        ({"flops_per_step": 989.4e12, "precision": "bf16"}, 2.0, None, 0.25),
        ({"model.flops_per_step": 989.4e12, "trainer.precision": "bf16-mixed"}, 2.0, None, 0.25),
        ({"flops_per_token": 989.4e8, "bf16": True}, None, 40_000.0, 0.5),
        (
            {"model.num_parameters": 7e9, "torch_dtype": "torch.bfloat16"},
            1.0,
            40_000.0,
            6 * 7e9 * 40_000 / (8 * 989.4e12),
        ),
        ({"num_parameters": 7e9, "mixed_precision": "fp16"}, 1.0, None, None),
        ({"flops_per_step": 989.4e12}, 2.0, None, None),
        ({"flops_per_step": 989.4e12, "precision": "int8"}, 2.0, None, None),
        ({"flops_per_step": "many", "precision": "bf16"}, 2.0, None, None),
        ({"flops_per_step": True, "precision": "bf16"}, 2.0, None, None),
        ({"flops_per_step": 989.4e12, "precision": "bf16"}, None, None, None),
        ({"flops_per_step": 989.4e14, "precision": "bf16"}, 2.0, None, None),
    ],
    ids=[
        "a step",
        "nested names",
        "a token",
        "parameters",
        "no tokens",
        "no precision",
        "no such peak",
        "no number",
        "a flag",
        "no rate",
        "more than the peak",
    ],
)
def test_it_is_known_where_flops_precision_rate_and_card_are(
    config: dict[str, object], steps_per_s: float | None, tokens_per_s: float | None, share: float | None
) -> None:
    found = utilization(config, f"8 x {H100}", 8, steps_per_s, tokens_per_s)
    assert found == (None if share is None else pytest.approx(share))


def test_cards_of_several_kinds_or_without_a_peak_have_none() -> None:
    config = {"flops_per_step": 1e14, "precision": "bf16"}
    assert utilization(config, f"4 x {H100}, 4 x NVIDIA A100-SXM4-80GB", 8, 1.0, None) is None
    assert utilization(config, "Unknown card", 1, 1.0, None) is None


@pytest.mark.parametrize(
    ("said", "precision"),
    [
        ("16-mixed", "fp16"),
        ("bf16-true", "bf16"),
        ("32-true", "fp32"),
        ("no", "fp32"),
        ("torch.float16", "fp16"),
        ("tf32", "tf32"),
        ("fp8", None),
        ("", None),
    ],
)
def test_a_precision_is_read_as_frameworks_write_it(said: str, precision: str | None) -> None:
    assert precision_of({"precision": said}) == precision
