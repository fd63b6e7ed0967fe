"""The lines of a log as they are written, and a disk that does not take them."""

from __future__ import annotations

import json
import math
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from deepseek.log.files import LogFile, number


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (7, "7"),
        (True, "true"),
        (0.1, "0.1"),
        (1 / 3, "0.3333333333333333"),
        (1e300, "1e+300"),
        (np.float32(0.1), "0.1"),
        (np.float32(1 / 3), "0.33333334"),
        (np.finfo(np.float32).max, "3.4028235e+38"),
        (np.float64(1 / 3), "0.3333333333333333"),
        (np.array([3], dtype=np.float32)[0], "3"),
        (np.bool_(True), "1"),
        (np.int64(3), "3"),
        (math.nan, '"NaN"'),
        (-math.inf, '"-Infinity"'),
    ],
)
def test_numbers_are_written_as_short_as_they_can_be(value: object, written: str) -> None:
    assert number(value) == written
    json.loads(written)


def test_tensors_are_written_like_numbers() -> None:
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(0.1), torch.tensor(1 / 3), torch.tensor(2.5, requires_grad=True), torch.tensor([3])]
    tensors += [torch.tensor(math.pi, dtype=torch.bfloat16)]
    assert [number(tensor) for tensor in tensors] == ["0.1", "0.33333334", "2.5", "3", "3.140625"]


def test_every_float32_is_read_back_and_every_float64_is_kept() -> None:
    random = np.random.default_rng(1)
    singles = random.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32)
    singles = singles[np.isfinite(singles)]
    read = np.array([float(number(single)) for single in singles], dtype=np.float64)
    assert np.array_equal(read.astype(np.float32), singles)
    doubles = random.random(1_000).tolist()
    assert [float(number(double)) for double in doubles] == doubles


def test_a_full_disk_stops_nothing_and_what_waits_is_written_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = LogFile(tmp_path / "metrics.jsonl")
    with full_disk(at_bytes=250):
        for count in range(100):
            file.add(f"line {count}")
            file.flush()
        assert (tmp_path / "metrics.jsonl").stat().st_size == 250, "the disk took half a line"
    file.close()
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [f"line {count}" for count in range(100)]
    (warning,) = capsys.readouterr().err.splitlines()
    assert "File too large" in warning


def test_a_file_that_can_never_be_written_keeps_the_newest_lines_and_says_what_it_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepseek.log.files.WAITING_LINES", 10)
    file = LogFile(tmp_path / "not yet" / "metrics.jsonl")
    for count in range(25):
        file.add(f"line {count}")
        file.flush()
    (tmp_path / "not yet").mkdir()
    file.close()
    assert (tmp_path / "not yet" / "metrics.jsonl").read_text().splitlines() == [
        f"line {count}" for count in range(15, 25)
    ]
    refused, lost = capsys.readouterr().err.splitlines()
    assert "No such file or directory" in refused
    assert "15 waiting lines are lost" in lost


class full_disk:
    """RLIMIT_FSIZE refuses what a full disk would, after taking what there is room for."""

    def __init__(self, at_bytes: int) -> None:
        self._at_bytes = at_bytes

    def __enter__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._at_bytes, self._limits[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        signal.signal(signal.SIGXFSZ, self._handler)
