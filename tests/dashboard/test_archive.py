"""A run leaves in one file and opens elsewhere as it was."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings

from collectors.records import MAX_INLINE_BYTES, LogLine, Points, Record, RunInfo, Sample, StackRecording, StackSpan
from collectors.store.engines import open_store
from collectors.store.run_copy import IN_FILES, UnknownRun, copy_run
from collectors.store.store import SampleQuery
from dashboard.archive import UNPACKED, room_for, unpack, write_event_files, write_zip
from dashboard.user_files.run_notes import about_run, save_about
from tests.conftest import ROOT, wait_for
from tests.support.archived import FRAMES, RUN, T0, everything, records
from tests.support.archived import exported as exported  # a fixture
from tests.support.pictures import png


@settings(max_examples=15, deadline=None)
@given(records())
def test_a_copy_answers_every_question_as_the_store_does(
    tmp_path_factory: pytest.TempPathFactory, some: list[Record]
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    source = open_store(folder / "source", write=True)
    source.append(some)
    source.compact(10)
    target = folder / "run.zip"
    save_about(folder / "source", RUN, {"name": "wider", "tags": ["x"]})
    manifest = write_zip(source, folder / "source", RUN, target)
    (folder / "unpacked").mkdir()
    assert unpack(target, folder / "unpacked")._replace(about={}) == manifest._replace(about={})
    copy = open_store(folder / "unpacked", write=False)
    try:
        before, after = everything(source, RUN), everything(copy, RUN)
        assert after.pop("spans") == pytest.approx(before.pop("spans"), abs=1e-4)
        assert after.pop("spans of time") == pytest.approx(before.pop("spans of time"), abs=1e-3)
        assert after.pop("samples") == pytest.approx(before.pop("samples"), abs=20)
        for name, value in before.items():
            assert after[name] == value, name
        assert [found.name for found in copy.runs()] == [RUN], "of that run alone"
        assert about_run(folder / "unpacked", RUN).name == "wider"
        whole = source.series(None)
        if whole and manifest.from_s is not None:
            assert manifest.to_s is not None
            (there,) = source.points([whole[0].id], manifest.from_s, manifest.to_s).values()
            (here,) = (
                (found for found in copy.points([found.id for found in copy.series(None)], None, None).values())
                if copy.series(None)
                else (there,)
            )
            assert np.array_equal(here.value, there.value), "what the machine reported meanwhile"
    finally:
        copy.close()
        source.close()


@contextmanager
def ended_by_ctrl_c(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_run_leaves_one_dashboard_and_opens_in_another(tmp_path: Path) -> None:
    """By the commands, as users give them."""
    logs = tmp_path / "logs"
    logs.mkdir()
    store = open_store(logs / ".deepseek", write=True)
    samples = [StackSpan(at * 10**9, 10**9, 7, tuple(FRAMES[: 2 + (at % 10 > 6)])) for at in range(300)]
    store.append(
        [
            StackRecording(
                RUN, 0, 7, "main", "box", "native", 100.0, T0, 0, 300 * 10**9, {7: "MainThread"}, samples, 30000
            )
        ]
    )
    store.append(
        [Points(RUN, (("host", "box"),), ("loss",), (1 / (step + 1),), T0 + step, step) for step in range(300)]
    )
    store.append([RunInfo(RUN, {"run": RUN}), LogLine(RUN, "train.log", T0 + 5, 40, "broken")])
    store.close()
    command = [sys.executable, str(ROOT / "app.py")]
    done = subprocess.run(
        [*command, "export", RUN, "-o", "a.zip"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "open a.zip" in done.stdout
    again = subprocess.run(
        [*command, "export", RUN, "-o", "a.zip"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    unknown = subprocess.run([*command, "export", "group/b"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert RUN in unknown.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    opening = [*command, "open", "../a.zip", "--port", "0"]
    with (
        subprocess.Popen(opening, cwd=elsewhere, stdout=subprocess.PIPE, text=True) as process,
        ended_by_ctrl_c(process),
    ):
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        run = quote(RUN, safe="")

        def get(path: str) -> Any:
            with urllib.request.urlopen(found[0] + path) as answer:
                return json.load(answer)

        assert [row["run"] for row in get("/api/v1/runs")["runs"]] == [RUN]
        (curve,) = get(f"/api/v1/curves?run={run}&expr=loss")["curves"]
        assert curve["last"] == [1 / (step + 1) for step in range(300)]
        assert get(f"/api/v1/logs?run={run}&level=40")["lines"][0]["text"] == "broken"
        flame = get(f"/api/v1/flame?run={run}&from={T0}&to={T0 + 300}")
        assert flame["seconds"] == pytest.approx(300, abs=0.01)
        assert "decode" in {frame["name"] for frame in flame["frames"]}
        assert "A copy of" in get("/healthz")["problems"][0]
        request = urllib.request.Request(f"{found[0]}/api/v1/settings", b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        refused.value.close()
    assert not list(elsewhere.iterdir())


def test_a_full_disk_leaves_no_half_zip(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from collectors.store.engines import open_store
from collectors.records import Points
from dashboard.archive import write_zip
folder = Path(sys.argv[1])
store = open_store(folder / "store", write=True)
store.append([Points("a", (), ("loss",), (step ** 0.5,), 1764e6 + step, step) for step in range(20000)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    write_zip(store, folder / "store", "a", folder / "out" / "a.zip")
except Exception as error:
    print(type(error).__name__)
"""
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.strip() in ("OSError", "StoreError"), done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    store = open_store(tmp_path, write=True)
    with pytest.raises(UnknownRun):
        copy_run(store, store, "gone")
    with pytest.raises(UnknownRun):
        write_event_files(store, "gone", tmp_path / "x")
    store.close()
    assert not (tmp_path / "x").exists()


def test_an_export_that_is_ended_is_a_failure(tmp_path: Path) -> None:
    """A cron job must not take it for a copy."""
    (tmp_path / "logs").mkdir()
    store = open_store(tmp_path / "logs" / ".deepseek", write=True)
    store.append([Points("a", (), ("loss",), (float(step),), T0 + step, step) for step in range(200_000)])
    store.close()
    command = [sys.executable, str(ROOT / "app.py"), "export", "a"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: list(tmp_path.glob(".a.zip.*")) or process.poll() is not None)
        process.terminate()
        assert process.stderr is not None and "ended before a.zip was written" in process.stderr.read()
        assert process.wait(20) != 0
    assert {path.name for path in tmp_path.iterdir()} == {"logs"}


def test_what_a_killed_open_has_unpacked_is_removed_by_the_next_one(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = room_for(exported)
    dead = tmp_path / f"{UNPACKED}4000000-1-x"
    dead.mkdir()
    again = room_for(exported)
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, again.name}


def test_a_run_of_more_points_and_stacks_than_are_read_at_once_is_copied_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nearly all of them lie in one second, and where steps are negative or go back."""
    monkeypatch.setattr("collectors.store.run_copy.MAX_POINTS", 100)
    source = open_store(tmp_path / "source", write=True)
    for at in range(3000):
        time_s = T0 + (at / 3000 if at < 2900 else at)
        source.append(
            [
                Points(
                    RUN,
                    (),
                    ("loss", "lr"),
                    (float(at), 1.0),
                    time_s,
                    at - 50 if at < 1000 else at - 1000,
                    int(at >= 1000),
                )
            ]
        )
    source.append([Points("steps", (), ("loss",), (float(at),), None, at) for at in range(500)])
    samples = [StackSpan(at * 10**7, 10**7, 7, tuple(FRAMES[: 1 + at % 3])) for at in range(3000)]
    source.append(
        [StackRecording(RUN, 0, 7, "main", "box", "native", 100.0, T0, 0, 30 * 10**9, {7: "MainThread"}, samples, 3000)]
    )
    monkeypatch.setattr("collectors.store.sqlite.stacks.MAX_SPANS", 5000)
    for run in (RUN, "steps"):
        copy = open_store(tmp_path / run.replace("/", "-"), write=True)
        copy_run(source, copy, run)
        before, after = everything(source, run), everything(copy, run)
        assert after.pop("spans") == pytest.approx(before.pop("spans"), abs=1e-4)
        for name in ("run", "series", *(name for name in before if name.startswith(("time ", "step ")))):
            assert after[name] == before[name], name
        copy.close()
    assert write_event_files(source, RUN, tmp_path / "out").points == 6000
    source.close()


def test_small_files_of_samples_come_along_and_what_stays_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "a"
    folder.mkdir(parents=True)
    (folder / "small.png").write_bytes(png())
    (folder / "large.png").write_bytes(png() + bytes(MAX_INLINE_BYTES))
    store = open_store(tmp_path / "store", write=True)
    for name in ("small", "large"):
        path = folder / f"{name}.png"
        store.append([Sample("a", name, "image", "image/png", T0, 1, path=path.name, length=path.stat().st_size)])
    manifest = write_zip(store, tmp_path / "store", "a", tmp_path / "a.zip", tmp_path / "logs")
    store.close()
    assert manifest.left_out == [IN_FILES.format(1)]
    (tmp_path / "opened").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "opened")
    copy = open_store(tmp_path / "opened", write=False)
    found = {sample.name: sample for sample in copy.samples(SampleQuery("a", data=True))}
    copy.close()
    assert found["small"].data == png() and not found["small"].path and found["large"].path == "large.png"
