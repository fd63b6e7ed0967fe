"""What adapters make of odd names, folders that cannot be made, and trainings that raise."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.log.adapters import guard
from deepseek.log.adapters.late_log import plain_name


@given(
    st.text()
    | st.lists(st.sampled_from(["/", "..", ".", "a", ".b", " ", "\0", "x" * 300, "é" * 200, "\ud800"])).map("".join)
)
def test_a_plain_name_is_a_folder_inside_the_log_folder(name: str) -> None:
    plain = plain_name(name)
    parts = plain.split("/")
    assert all(part and not part.startswith(".") and part.isprintable() and len(part.encode()) <= 200 for part in parts)
    assert len(parts) <= 8 and plain_name(plain) == plain


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a", "a"),
        ("a/b", "a/b"),
        ("./out", "out"),
        ("/tmp/x/out", "out"),
        ("../out/", "out"),
        (".hidden", "hidden"),
        ("..", "run"),
    ],
)
def test_a_path_becomes_its_last_part(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_long_names_that_differ_stay_different() -> None:
    assert plain_name("x" * 300 + "a") != plain_name("x" * 300 + "b")


def test_a_second_different_failure_of_a_call_is_said_too(capfd: pytest.CaptureFixture[str]) -> None:
    @guard.guarded
    def fails(error: Exception) -> None:
        raise error

    for count in range(3):
        fails(KeyError(f"first {count}"))
        fails(ArithmeticError(f"second {count}"))
    lines = capfd.readouterr().err.splitlines()
    assert [("KeyError" in line, "ArithmeticError" in line) for line in lines] == [(True, False), (False, True)]


def events_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def trained(callback: Any, run_name: str | None, raises: bool = False) -> None:
    """What the Trainer calls; the end is missing where it raised."""
    arguments, state = SimpleNamespace(run_name=run_name, to_sanitized_dict=dict), SimpleNamespace(global_step=1)
    callback.on_train_begin(arguments, state, None)
    callback.on_step_begin(arguments, state, None)
    callback.on_step_end(arguments, state, None)
    if not raises:
        callback.on_train_end(arguments, state, None)


@pytest.mark.parametrize("run_name", ["/tmp/x/out", "../out", "x/../out", ".out", "out"])
def test_a_trainers_name_is_made_plain(tmp_path: Path, run_name: str) -> None:
    transformers = pytest.importorskip("deepseek.log.adapters.transformers")
    callback = transformers.RunLogCallback(tmp_path)
    trained(callback, run_name)
    callback.log.close()
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_training_that_raised_is_not_finished_when_it_is_started_again(tmp_path: Path) -> None:
    transformers = pytest.importorskip("deepseek.log.adapters.transformers")
    callback = transformers.RunLogCallback(tmp_path, run="run")
    for raises in (True, False, False):
        trained(callback, None, raises)
    callback.log.close()
    ends = [event["status"] for event in events_of(tmp_path / "run") if event["kind"] == "end"]
    assert ends == ["crashed", "finished", "finished"]
