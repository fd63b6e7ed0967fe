"""Out of memory: the message names a batch that fits, and it does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.support.trainings import events_of
from trainer import batch_size

MORE_BYTES = 600_000_000  # than the process has taken when it begins
LIMITED = """
import re, resource, sys
from pathlib import Path
from trainer.train import main
taken = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[1]), resource.RLIM_INFINITY))
sys.exit(main(sys.argv[2:]))
"""


def train_in_little_memory(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        LIMITED,
        str(MORE_BYTES),
        "--log-dir",
        str(folder / "logs"),
        "--device",
        "cpu",
    ]
    return subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.long
def test_a_batch_that_does_not_fit_gets_one_that_does(tmp_path: Path) -> None:
    answer = train_in_little_memory(tmp_path, "--run", "large", "--batch", "400", "--steps", "1")
    assert answer.returncode == 2
    found = re.fullmatch(
        r"deepseek-train: gpt tiny in fp32 runs out of memory with --batch 400: (\d+) fits; "
        r"the same number of samples a step is --batch \1 --accumulate (\d+), or try --checkpointing\n",
        answer.stderr,
    )
    assert found, answer.stderr
    batch, accumulate = int(found[1]), int(found[2])
    assert 20 < batch < 300
    assert batch * (accumulate - 1) < 400 <= batch * accumulate
    assert found[1] in events_of(tmp_path, "large", "end")[0]["reason"]
    assert train_in_little_memory(tmp_path, "--run", "right", "--batch", str(batch), "--steps", "1").returncode == 0


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_the_largest_batch_is_found_within_an_eighth_and_few_tries(too_large: int, largest: int) -> None:
    largest = min(largest, too_large - 1)
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= largest

    found = batch_size.largest_batch(too_large, fits)
    assert largest - max(1, largest // batch_size.PRECISE_SHARE) <= found <= largest
    assert 0 not in tried
    assert len(tried) <= 16


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:126] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
            ),
            True,
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_it_is_told_from_other_errors(error: RuntimeError, verdict: bool) -> None:
    assert batch_size.is_out_of_memory(error) is verdict
