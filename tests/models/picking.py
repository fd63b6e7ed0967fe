"""The fastest runtime: timed beside the others, kept by model and host, and never one that computes something else."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest

from models.artifact import Artifact, write
from models.errors import CannotRun, ModelsError
from models.runtimes import installed, open_session
from models.runtimes import pick as picking
from models.runtimes.pick import pick, time_in_rounds
from tests.models.toys import INPUTS, WEIGHTS, manifest, toy, written


@pytest.fixture(autouse=True)
def short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "time_in_rounds", partial(time_in_rounds, rounds=2, round_s=0.01))


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    return written(tmp_path / "toy")


def test_every_runtime_is_timed_once_and_the_answer_is_kept(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pick(model, cache=tmp_path / "cache")
    assert {row.runtime for row in first.rows} == set(installed()) and not first.kept
    assert first.fastest.p50_ms == min(row.p50_ms for row in first.rows if not row.refused) > 0
    monkeypatch.setattr(picking, "_timed", None)  # a second timing would fail
    second = pick(model, cache=tmp_path / "cache")
    assert second.kept and second.rows == first.rows and second.fastest == first.fastest


def test_another_model_another_thread_count_and_again_time_anew(model: Artifact, tmp_path: Path) -> None:
    other = write(tmp_path / "other", toy(WEIGHTS * 2), manifest(name="other"), INPUTS)
    kept = [
        pick(model, cache=tmp_path / "c"),
        pick(model, cache=tmp_path / "c", threads=2),
        pick(other, cache=tmp_path / "c"),
    ]
    assert [picked.kept for picked in kept] == [False] * 3
    assert not pick(model, cache=tmp_path / "c", again=True).kept and pick(other, cache=tmp_path / "c").kept


def test_what_computes_something_else_is_refused(model: Artifact, tmp_path: Path) -> None:
    other = write(tmp_path / "other", toy(WEIGHTS * 2), manifest(name="other"), INPUTS)
    alike = write(tmp_path / "alike", toy(WEIGHTS * 1.01), manifest(name="alike"), INPUTS)
    rows = pick(model, other, alike, cache=tmp_path / "cache").rows
    assert {row.model for row in rows if row.refused} == {"other"}
    assert all("output 'y' differs by" in row.refused for row in rows if row.model == "other")


ROW = {"model": "a", "sha256": "b", "runtime": "c", "precision": "d"}
NO_ROWS = [{"p50_ms": "fast"}, {"p50_ms": float("nan")}, {"model": None}, {"refused": 3}]
BROKEN = ["", "{", "[]", "[" * 100_000, '{"rows": []}', '{"rows": [{"model": 1}], "host": "", "threads": 1}']


@pytest.mark.parametrize(
    "content",
    [
        *BROKEN,
        json.dumps({"rows": [ROW], "host": [], "threads": 1}),
        *(json.dumps({"rows": [{**ROW, **odd}], "host": "", "threads": 1}) for odd in NO_ROWS),
    ],
    ids=lambda content: content[:60],
)
def test_a_kept_answer_that_is_broken_is_timed_anew(model: Artifact, tmp_path: Path, content: str) -> None:
    pick(model, cache=tmp_path / "cache")
    (path,) = (tmp_path / "cache").iterdir()
    path.write_text(content)
    assert not pick(model, cache=tmp_path / "cache").kept
    assert pick(model, cache=tmp_path / "cache").kept


def test_a_cache_that_cannot_be_written_costs_only_time(model: Artifact) -> None:
    assert pick(model, cache=Path("/proc/nope")).fastest.runtime in installed()


def test_a_slower_call_is_slower_in_every_round() -> None:
    times = time_in_rounds(
        {"slow": lambda: time.sleep(0.002), "fast": lambda: time.sleep(0.0002)}, rounds=4, round_s=0.02
    )
    assert all(slow > fast for slow, fast in zip(times["slow"].rounds_ms, times["fast"].rounds_ms, strict=True))
    assert 2 <= times["slow"].p50_ms <= times["slow"].p99_ms
    assert times["slow"].cpu_ms < times["slow"].p50_ms, "it sleeps"


@pytest.mark.parametrize(
    ("runtime", "precision", "error", "sentence"),
    [
        ("tensorrt", "", ModelsError, "there is no runtime 'tensorrt'; there are onnxruntime, openvino"),
        ("onnxruntime", "bf16", CannotRun, "onnxruntime runs this model in fp32 on this host, not in bf16"),
    ],
)
def test_what_a_runtime_does_not_have_is_one_sentence(
    model: Artifact, runtime: str, precision: str, error: type[ModelsError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        open_session(model.model, runtime, precision)
