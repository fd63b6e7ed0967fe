"""A trace on the collector's side: which folder is believed, who may ask, and what an answer may hold."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ledger.shares import busy_parts, traced_lines
from analysis.traces import steps
from analysis.traces.steps import KERNEL_KINDS, MalformedTrace, StepTrace, parsed, read_answer
from collectors import trace_requests
from collectors.records import Frame
from collectors.trace_requests import NAMED, NoEntry, ask_for_trace, asked_ago_s, entry_of
from dashboard.stacks import step_traces as reading
from dashboard.stacks.step_traces import StepTraces, TraceReader
from deepseek.log import trace_requests as request
from deepseek.log.step_trace import summary_of
from tests.deepseek_log.test_trace_summary import Result
from tests.support.torch_traces import TraceWriter

ABOUT: dict[str, Any] = {"version": 1, "id": "0123abcd", "rank": 0, "torch": "2.13.0", "error": "", "device": "GPU"}
ABOUT |= {"with_stacks": True, "from_s": 1_764_000_010.0, "to_s": 1_764_000_011.0, "first_step": 4, "last_step": 6}
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)


def answer(**fields: Any) -> bytes:
    return json.dumps({**ABOUT, **summary_of(Result(), on_gpu=True), **fields}).encode()


def run_in(log_dir: Path, run: str = "run") -> Path:
    folder = log_dir / run
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_both_sides_mean_the_same_folder(parts: list[str]) -> None:
    run, log_dir = "/".join(parts), Path("/logs")
    named = request.named_in_info(run)
    assert NAMED.fullmatch(named)
    assert entry_of(log_dir, run, {"trace": named}) == request.TraceFolder(log_dir / run, run, 0).path
    assert entry_of(log_dir, run, {"trace": named}).parent == log_dir / ".deepseek" / "traces"


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=60) | st.integers() | st.none() | st.lists(st.text(max_size=3), max_size=2))
def test_any_claim_is_an_entry_of_a_followed_log_folder_or_refused(claim: object) -> None:
    try:
        entry = entry_of(Path("/home/anna/logs"), "a/b", {"trace": claim})
    except NoEntry:
        return
    assert entry.parts[-3:-1] == (".deepseek", "traces") and entry.is_relative_to("/home/anna/logs")


@pytest.mark.parametrize(
    ("run", "info", "words"),
    [
        (".remote/local/a", {"trace": "../.deepseek/traces/a"}, "another host"),
        ("a", {}, "does not use RunLog"),
        ("a", {"trace": "../../.deepseek/traces/a"}, "--log-dir"),
        ("a", {"trace": "/etc"}, "no folder of traces"),
        ("a", {"trace": "../.deepseek/traces/../../../.ssh"}, "no folder of traces"),
        ("a", {"trace": 7}, "no folder of traces"),
    ],
)
def test_a_run_that_cannot_be_asked_is_refused_with_the_reason(run: str, info: dict[str, Any], words: str) -> None:
    with pytest.raises(NoEntry, match=words):
        entry_of(Path("/logs"), run, info)


def test_a_request_is_one_that_run_log_follows(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    entry = tmp_path / ".deepseek" / "traces" / "run"
    name = ask_for_trace(entry, folder, 3, 0)
    assert request.TraceFolder(folder, "run", 0).look() == request.TraceRequest(name, 3, 0)
    assert request.TraceFolder(folder, "run", 1).look() is None
    assert {path.stat().st_mode & 0o77 for path in (entry, *entry.parents[:2], entry / "trace.request")} == {0}
    assert asked_ago_s(entry) < 60 and asked_ago_s(tmp_path) == float("inf")


def test_a_second_request_waits_for_the_first_until_that_is_old(tmp_path: Path) -> None:
    folder, entry = run_in(tmp_path), tmp_path / ".deepseek" / "traces" / "run"
    ask_for_trace(entry, folder, 3, 0)
    with pytest.raises(NoEntry, match="wait for that one"):
        ask_for_trace(entry, folder, 3, 0)
    os.utime(entry / "trace.request", (time.time() - 999, time.time() - 999))
    ask_for_trace(entry, folder, 3, 0)


def test_the_newest_answers_are_kept_and_other_files_are_left_alone(tmp_path: Path) -> None:
    folder, entry = run_in(tmp_path), tmp_path / ".deepseek" / "traces" / "run"
    entry.mkdir(parents=True, mode=0o700)
    for number in range(15):
        path = entry / f"trace-{number:08x}.json"
        path.write_bytes(answer())
        os.utime(path, (number, number))
    (entry / "notes.txt").write_text("mine")
    ask_for_trace(entry, folder, 3, 0)
    kept = sorted(path.name for path in entry.glob("trace-*"))
    assert (
        len(kept) == trace_requests.MAX_RESULTS - 1
        and kept[-1] == "trace-0000000e.json"
        and (entry / "notes.txt").exists()
    )


def linked(entry: Path) -> None:
    entry.parent.mkdir(parents=True, mode=0o700)
    (entry.parents[2] / "elsewhere").mkdir()
    entry.symlink_to(entry.parents[2] / "elsewhere")


def everybodys(entry: Path) -> None:
    entry.mkdir(parents=True, mode=0o700)
    entry.chmod(0o777)


def a_file(entry: Path) -> None:
    entry.parent.mkdir(parents=True, mode=0o700)
    entry.write_text("")


@pytest.mark.parametrize("spoil", [linked, everybodys, a_file])
def test_nothing_is_written_where_another_user_could_have_a_say(spoil: Any, tmp_path: Path) -> None:
    folder, entry = run_in(tmp_path), tmp_path / ".deepseek" / "traces" / "run"
    spoil(entry)
    with pytest.raises(NoEntry):
        ask_for_trace(entry, folder, 3, 0)
    assert not list(tmp_path.rglob("trace.request"))


def test_another_users_run_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_in(tmp_path)
    monkeypatch.setattr(trace_requests.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NoEntry, match="who alone may ask"):
        ask_for_trace(tmp_path / ".deepseek" / "traces" / "run", folder, 3, 0)


def test_an_answer_comes_back_as_it_was_written() -> None:
    trace = parsed(answer())
    assert (trace.steps, trace.device, trace.first_step) == (3, "GPU", 4) and not trace.error
    lines = traced_lines(trace, "/job")
    assert [(line.frame, line.backward, line.kernels[0].name) for line in lines if line.backward] == [
        (Frame("forward", "/job/model.py", 7), True, "sm90_gemm_backward")
    ]
    assert sum(line.seconds for line in lines) == pytest.approx(sum(kernel.seconds for kernel in trace.kernels))
    assert sum(part.share for part in busy_parts(trace, 61.0)) == pytest.approx(61.0)


def test_a_refusal_comes_back_with_its_reason() -> None:
    found = parsed(json.dumps({"id": "0123abcd", "rank": 0, "torch": "", "error": "no step ended"}).encode())
    assert found == StepTrace("0123abcd", 0, "no step ended", "")


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**64)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(KERNEL_KINDS),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([*ABOUT, "frames", "stacks", "kernels", "left_out", "busy"]), ANY)
def test_any_field_that_is_spoiled_costs_that_trace_alone(name: str, value: object) -> None:
    try:
        found = parsed(answer(**{name: value}))
    except MalformedTrace:
        return
    assert isinstance(found, StepTrace)
    traced_lines(found, "/job")
    assert sum(part.share for part in busy_parts(found, 50.0)) == pytest.approx(50.0) or not busy_parts(found, 50.0)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_trace_or_an_odd_one(data: bytes) -> None:
    for text in (data, answer()[: len(data) * 7]):
        with pytest.raises(MalformedTrace):
            parsed(text)


@pytest.fixture
def kept() -> Iterator[TraceReader]:
    kept = TraceReader()
    yield kept
    kept.close()


def test_files_that_are_no_answers_are_left_out(tmp_path: Path, kept: TraceReader) -> None:
    (tmp_path / "trace-00000001.json").write_bytes(answer())
    (tmp_path / "trace-00000002.json").write_bytes(b" " * (steps.MAX_BYTES + 1))
    (tmp_path / "trace-00000003.json").symlink_to("trace-00000001.json")
    (tmp_path / "trace-00000004.json").mkdir()
    os.mkfifo(tmp_path / "trace-00000005.json")
    (tmp_path / "trace-00000006.json").write_bytes(b"[" * 5000)
    (tmp_path / "trace-00000007.json").write_bytes(b"[" + b"[],{}," * (steps.MAX_BYTES // 6 - 1) + b"1]")
    (tmp_path / "other.json").write_bytes(answer())
    assert [trace.first_step for trace in kept.newest(tmp_path)] == [4]
    assert "larger than" in str(kept.answer(tmp_path, "00000002")) and kept.answer(tmp_path, "00000009") is None


def test_one_that_takes_too_long_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_WITHIN_S", 0.0)
    kept, path = TraceReader(), tmp_path / "trace-00000001.json"
    path.write_bytes(answer())
    assert kept.answer(tmp_path, "00000001") == f"{path} was not read within 0 s"
    kept.close()


def test_those_who_ask_at_the_same_time_share_one_reading(tmp_path: Path, kept: TraceReader) -> None:
    writer = TraceWriter()
    for number in range(300):
        writer.launch(1e9 * number, 1e9 * number + 10, 5.0)
    (tmp_path / "a.pt.trace.json").write_bytes(writer.data())
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: next(kept.profiles(tmp_path)), range(4)))
    assert not isinstance(found[0], str) and all(one is found[0] for one in found)


def test_what_was_read_is_remembered_until_its_file_changes(tmp_path: Path, kept: TraceReader) -> None:
    path = tmp_path / "trace-00000001.json"
    path.write_bytes(answer())
    first = kept.answer(tmp_path, "00000001")
    assert kept.answer(tmp_path, "00000001") is first
    path.write_bytes(answer(last_step=99))
    assert kept.answer(tmp_path, "00000001") == read_answer(path)


def test_of_a_window_the_newest_trace_inside_counts(tmp_path: Path) -> None:
    info = {"trace": "../.deepseek/traces/run"}
    entry = tmp_path / ".deepseek" / "traces" / "run"
    entry.mkdir(parents=True)
    for number, from_s in enumerate((100.0, 200.0, 300.0)):
        path = entry / f"trace-{number:08x}.json"
        path.write_bytes(answer(from_s=from_s, to_s=from_s + 1, rank=number // 2))
        os.utime(path, (from_s, from_s))
    traces = StepTraces(tmp_path)

    def begins(lo: float, hi: float, rank: int = 0) -> float | None:
        found = traces.within("run", info, rank, (lo, hi))
        return found.from_s if found else None

    assert [begins(0, 999), begins(0, 150), begins(0, 50), begins(0, 999, 1), begins(0, 999, 2)] == [
        200.0,
        100.0,
        None,
        300.0,
        None,
    ]


def test_a_request_is_found_once(tmp_path: Path) -> None:
    folder = run_in(tmp_path)
    entry = tmp_path / ".deepseek" / "traces" / "run"
    looks = request.TraceFolder(folder, "run", 0)
    first = ask_for_trace(entry, folder, 3, 0)
    found = [looks.look() for _ in range(3)]
    assert found == [request.TraceRequest(first, 3, 0), None, None], "its trace is under way until it is answered"
    assert found[0] is not None
    looks.answer(found[0], b"{}")
    second = ask_for_trace(entry, folder, 3, 0)
    assert looks.look() == request.TraceRequest(second, 3, 0)
