"""Which files ask for a trace: odd ones are not followed, others are answered once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.log import RunLog, trace_requests, tracing
from deepseek.log.trace_requests import MAX_STEPS, REQUEST, OddRequest, parsed
from tests.support.logging_scripts import events_of
from tests.support.traced_script import Step, raising
from tests.support.traced_script import log as log  # a fixture
from tests.support.tracing import answered, look_at_once, request, steps_until


def as_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def as_second_name(path: Path) -> None:
    os.link(path, path.with_name("elsewhere"))


def as_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_ten_megabytes(path: Path) -> None:
    path.write_bytes(b" " * 10_000_000)


def as_garbage(path: Path) -> None:
    path.write_bytes(b"\xff{")


def as_everybodys(path: Path) -> None:
    path.chmod(0o666)


def in_everybodys_folder(path: Path) -> None:
    path.parent.chmod(0o777)


def in_a_linked_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "spoil",
    [
        as_link,
        as_second_name,
        as_fifo,
        as_folder,
        as_ten_megabytes,
        as_garbage,
        as_everybodys,
        in_everybodys_folder,
        in_a_linked_folder,
    ],
)
def test_an_odd_request_is_not_followed(
    spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = tracing.Tracing._find
    monkeypatch.setattr(tracing.Tracing, "_find", lambda _: None)
    with RunLog(tmp_path, "run") as log:
        path = request(log)
        spoil(path.parent / REQUEST)
        monkeypatch.setattr(tracing.Tracing, "_find", find)
        look_at_once(monkeypatch)
        log._tracing._next_look_s = 0.0
        steps_until(log, lambda: log._lines > 30)
        assert not path.exists() and log._tracing._trace is None
    assert capsys.readouterr().err.count("is ignored") == (0 if spoil is in_a_linked_folder else 1)


def test_another_users_request_is_not_followed(
    log: RunLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trace_requests.os, "geteuid", lambda: os.getuid() + 1)
    path = request(log)
    steps_until(log, lambda: log._lines > 30)
    assert not path.exists() and "belongs to another user" in capsys.readouterr().err


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "steps", "rank", "time_s"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_request_or_is_refused(value: object) -> None:
    try:
        found = parsed(json.dumps(value).encode(), 1_764_000_000.0)
    except OddRequest:
        return
    assert found is None or (1 <= found.steps <= MAX_STEPS and found.rank >= 0)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_are_refused(data: bytes) -> None:
    with suppress(OddRequest):
        parsed(data, 0.0)


def test_a_request_of_an_earlier_hour_and_one_for_another_rank_are_left_alone(log: RunLog) -> None:
    for fields in ({"time_s": time.time() - 3600}, {"rank": 1}):
        path = request(log, **fields)
        steps_until(log, lambda: log._lines > 20)
        assert not path.exists() and log._tracing._trace is None


def test_a_rank_answers_requests_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at_once(monkeypatch)
    with RunLog(tmp_path, "run", rank=1, world_size=2) as log:
        path = request(log, rank=1)
        steps_until(log, path.exists, Step())
    assert answered(path)["error"] == "" and answered(path)["rank"] == 1
    assert [event["text"] for event in events_of(tmp_path, "trace")] == ["3 steps traced"]


def test_a_request_that_cannot_be_taken_away_is_answered_once(
    log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = request(log)
    monkeypatch.setattr(trace_requests.os, "unlink", raising(PermissionError(1, "no")))
    steps_until(log, path.exists, Step())
    lines = log._lines
    steps_until(log, lambda: log._lines > lines + 50)
    assert (path.parent / REQUEST).exists()
    log.close()
    assert len(events_of(tmp_path, "trace")) == 1


def test_two_requests_one_after_the_other_are_both_answered(log: RunLog) -> None:
    for name in ("aaaaaaaa", "bbbbbbbb"):
        path = request(log, id=name, steps=1)
        steps_until(log, path.exists, Step())
        assert answered(path)["error"] == "" and answered(path)["first_step"] == answered(path)["last_step"]


def test_who_finds_the_answer_may_ask_again_at_once(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new request is there before anything follows the moment in which the answer can be seen."""
    write_whole, asked_again = trace_requests._write_whole, []

    def write_and_ask(*arguments: Any) -> None:
        write_whole(*arguments)
        if not asked_again:
            asked_again.append(request(log, id="bbbbbbbb", steps=1))

    monkeypatch.setattr(trace_requests, "_write_whole", write_and_ask)
    request(log, id="aaaaaaaa", steps=1)
    steps_until(log, lambda: asked_again and asked_again[0].exists(), Step())


def test_a_request_that_came_meanwhile_stays(log: RunLog) -> None:
    folder = trace_requests.TraceFolder(log.folder, log.run, 0)
    first = trace_requests.TraceRequest("aaaaaaaa", 1, 0)
    path = request(log, id="bbbbbbbb", rank=1)
    folder.answer(first, b"{}")
    assert (path.parent / REQUEST).exists() and (path.parent / "trace-aaaaaaaa.json").exists()
