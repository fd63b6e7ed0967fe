"""Traces that PyTorch's profiler wrote: in a run's folder, and opened by a command."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.conftest import ROOT, Dashboard, dashboard, wait_for
from tests.support.axe import serious
from tests.support.torch_traces import TraceWriter

LOAD, MODEL = "train.py(12): <module>", "model.py(7): forward;train.py(14): <module>"
SECOND = 1_000_000


def three_steps() -> bytes:
    """Of 10 ms: 6 ms of waiting for data, 2 ms of a kernel of train.py:12, 1 ms of one of model.py:7."""
    writer, begin = TraceWriter(distributedInfo={"rank": 0, "world_size": 1}), 1_700_000_000 * SECOND
    for number in range(4):
        at = begin + number * 10_000
        writer.step(number, at, 10_000)
        writer.add("user_annotation", "enumerate(DataLoader)#x.__next__", at, 6_000)
        writer.launch(at + 6_000, at + 6_010, 2_000, "copy_kernel", stack=LOAD)
        writer.launch(at + 6_100, at + 8_010, 1_000, "gemm", stack=MODEL)
    return writer.data()


def shown(trace: dict[str, Any]) -> None:
    (card,) = trace["cards"]
    assert card["causes"][0]["cause"] == "data" and card["causes"][0]["share"] == pytest.approx(52, abs=3)
    assert [step["step"] for step in card["steps"]] == [0, 1, 2]
    for step in card["steps"]:
        causes = sum(cause["share"] for cause in step["causes"])
        assert causes == pytest.approx(step["idle"]) and step["compute"] == pytest.approx(100 - step["idle"])
        assert (
            step["seconds"] >= 0.0029 and step["launch_lead_s"] == pytest.approx(0.00096) and not step["tensor_cores"]
        )
    assert (card["late"][0]["file"], card["late"][0]["line"], card["late"][0]["cause"]) == ("train.py", 12, "data")
    lines = {(line["file"], line["line"]): line["seconds"] for line in trace["lines"]}
    assert lines["train.py", 12] == pytest.approx(0.002)
    assert sum(lines.values()) == pytest.approx(0.003)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    log_dir = tmp_path_factory.mktemp("traced") / "logs"
    for run in ("good", "bad", "none"):
        (log_dir / run).mkdir(parents=True)
        (log_dir / run / "train.log").write_text("step 1 loss 2.0\nstep 2 loss 1.0\n")
    (log_dir / "good" / "profile").mkdir()
    (log_dir / "good" / "profile" / "host_1.pt.trace.json.gz").write_bytes(gzip.compress(three_steps()))
    (log_dir / "bad" / "a.pt.trace.json.gz").write_bytes(gzip.compress(three_steps())[:-30])
    with dashboard(log_dir, "--no-profile") as found:
        wait_for(lambda: found.run("good") and found.run("bad") and found.run("none"))
        yield found


def test_a_trace_in_a_runs_folder_says_why_its_card_was_idle_and_which_line_launches_next(running: Dashboard) -> None:
    answer = running.get("/api/v1/trace?run=good")
    assert answer["state"] == "done"
    shown(answer["trace"])
    flame = running.get("/api/v1/flame?run=good&from=0&to=9e9&view=kernels")
    names = [flame["frames"][frame]["name"] for frame in flame["nodes"]["frame"]]
    assert {"forward", "gemm", "copy_kernel"} <= set(names)


def test_one_that_is_broken_is_a_sentence_and_none_says_what_is_needed(running: Dashboard) -> None:
    bad, none = (running.get(f"/api/v1/trace?run={run}") for run in ("bad", "none"))
    assert bad["trace"] is None and "is cut off or is no whole gzip file" in bad["sentence"]
    assert none["trace"] is None and "RunLog" in none["sentence"]


@contextmanager
def opened(*files: Path) -> Iterator[str]:
    """The address that is printed."""
    command = [sys.executable, str(ROOT / "app.py"), "open", *map(str, files), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            found = re.search(r"http://\S+", said)
            assert found, said + process.stdout.read()
            yield found[0]
        finally:
            process.terminate()
            process.stdout.read()


def test_traces_are_opened_without_a_run(tmp_path: Path) -> None:
    files = [tmp_path / "rank0.pt.trace.json", tmp_path / "rank1.json.gz"]
    files[0].write_bytes(three_steps())
    files[1].write_bytes(gzip.compress(three_steps()))
    with opened(*files) as address:
        assert "/flame?run=rank0&view=kernels&from=1700000000.000&to=1700000000.0" in address
        base = address.partition("/flame")[0]
        with urllib.request.urlopen(f"{base}/api/v1/trace?run=rank0") as answer:
            shown(json.load(answer)["trace"])


def rank_of_two(rank: int, arrival: float) -> bytes:
    """Of 10 ms: a kernel of a module, and a collective to which the rank comes at this time in us."""
    writer, begin = TraceWriter(distributedInfo={"rank": rank, "world_size": 2}), 1_700_000_000 * SECOND
    for number in range(4):
        at = begin + number * 10_000
        writer.step(number, at, 10_000)
        writer.add("python_function", "train.py(12): <module>", at, 9_000)
        writer.add("python_function", "nn.Module: GPT_0", at + 100, 800)
        writer.add("python_function", "nn.Module: Linear_3", at + 200, 500)
        writer.launch(at + 300, at + 400, 1_000, "sgemm")
        writer.launch(at + 2_000, at + arrival, 8_000 - arrival, "ncclDevKernel_AllReduce")
        writer.events[-1]["args"] |= {
            "Collective name": "allreduce",
            "Process Group Name": "0",
            "Process Group Ranks": "[0, 1]",
            "Seq": number,
        }
    return writer.data()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("pair")
    files = [folder / "rank0.pt.trace.json", folder / "rank1.pt.trace.json"]
    for rank, (file, arrival) in enumerate(zip(files, (3_000, 7_000), strict=True)):
        file.write_bytes(rank_of_two(rank, arrival))
        os.utime(file, (1_700_000_100, 1_700_000_100 + rank))
    with opened(*files) as address:
        yield address


def test_ranks_that_are_opened_together_stand_side_by_side(pair: str) -> None:
    base = pair.partition("/flame")[0]
    with urllib.request.urlopen(f"{base}/api/v1/trace/ranks?run=rank0") as answer:
        found = json.load(answer)
    assert (found["by"], found["matched"], found["sentences"]) == ("sequence", 4, [])
    first, second = found["rows"]
    assert (first["rank"], first["last"], second["rank"], second["last"]) == (0, 0, 1, 4)
    assert second["waited_for_s"] == pytest.approx(0.016) == first["waited_s"]
    assert first["exposed"] > second["exposed"] > 0 and first["overlapped"] == 0
    for row in found["rows"]:
        assert sum(cause["share"] for cause in row["causes"]) == pytest.approx(row["idle"])
        assert row["idle"] + row["compute"] + row["exposed"] == pytest.approx(100)


def test_of_more_ranks_than_are_read_the_others_are_counted(tmp_path: Path) -> None:
    files = [tmp_path / f"rank{rank}.pt.trace.json" for rank in range(10)]
    for rank, file in enumerate(files):
        file.write_bytes(rank_of_two(rank, 3_000))
    with opened(*files) as address:
        base = address.partition("/flame")[0]
        with urllib.request.urlopen(f"{base}/api/v1/trace/ranks?run=rank0") as answer:
            found = json.load(answer)
    assert len(found["rows"]) == 8 and found["sentences"][-1] == "2 older traces are not read."


def test_a_page_of_several_ranks_shows_each_and_its_steps_and_modules(pair: str, page: Page) -> None:
    page.goto(pair)
    box = page.locator("details.trace")
    box.get_by_text("Rank 1 was last at 4 of 4 collectives; others waited 16 ms for it.").wait_for()
    ranks = box.get_by_role("table", name="Ranks", exact=True)
    assert ranks.get_by_role("row").count() == 3
    assert "others waited 16 ms for it" in ranks.get_by_role("row").nth(2).inner_text()
    steps = box.get_by_role("table", name="Steps on GPU")
    assert [row.inner_text().split()[0] for row in steps.get_by_role("row").all()] == ["step", "0", "1", "2"]
    box.get_by_role("button", name="By module").click()
    modules = box.get_by_role("table", name="Kernels by module")
    assert "Linear_3 in GPT_0" in modules.get_by_role("row").nth(1).inner_text()
    ranks.get_by_role("button", name="0").click()
    box.get_by_text("Rank 0.", exact=False).first.wait_for()
    assert "kernels=module" in page.url and "traced=0" in page.url
    page.reload()
    box.get_by_text("Rank 0.", exact=False).first.wait_for()
    assert modules.is_visible()
    assert serious(page, "details.trace") == []


NESTED = b'{"traceEvents": [{"ph": "X", "ts": 1, "dur": 1, "pid": ' + b"[" * 9_000 + b"]" * 9_000 + b"}]}"
BOMB = gzip.compress(b'{"traceEvents": [' + b" " * (64 << 20))


@pytest.mark.parametrize("data", [b"{}", b"", b"\x1f\x8b\x08", b'{"traceEvents": [{}]}', NESTED, BOMB])
def test_what_is_no_trace_is_not_opened(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(data)
    command = [sys.executable, str(ROOT / "app.py"), "open", str(file), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "is not opened: it " in done.stderr
