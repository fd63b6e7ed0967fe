"""A log folder with a recorded run, one with stacks, and odd ones: commas, per cents, blanks and no times; for the client and the MCP server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from collectors.records import Frame, StackRecording, StackSpan
from collectors.store.engines import open_store
from tests.conftest import ROOT

RECORDED = ROOT / "tests" / "data" / "recorded" / "run"
T0 = 1_764_000_000.0
STEPS = 1000
ODD = "a,b 100% %2F läuft & <i>;#+?"
ODD_SERIES = ("loss", "x,y", "π 50%", "a b&c=d", "<b>")
COUNT = 5  # runs
WINDOW = (T0 + 310, T0 + 370)


def write_logs(log_dir: Path) -> None:
    """All of it, and the store with the stacks; no dashboard may write there yet."""
    log_dir.mkdir()
    shutil.copytree(RECORDED, log_dir / "run")
    steps = [{"time_s": time_of(step), "step": step, "train/loss": 1.0, "other": step} for step in range(STEPS)]
    _metrics(log_dir / "group" / "a", [*steps, {"time_s": time_of(STEPS), "step": STEPS, "train/loss": float("nan")}])
    (log_dir / "group" / "a" / "train.log").write_text(
        "2025-11-24 16:00:00+00:00 INFO one\n2025-11-24 16:00:01+00:00 ERROR <b>two</b>\n"
    )
    (log_dir / "group" / "a" / "events.jsonl").write_text(
        '{"time_s": 1764000500.0, "kind": "checkpoint", "step": 500, "seconds": 0.25}\n'
    )
    job = log_dir.parent / "job"
    job.mkdir(exist_ok=True)
    (log_dir / "group" / "a" / "run.json").write_text(json.dumps({"run": "group/a", "cwd": str(job)}))
    (job / "data.py").write_text("def decode():\n    return 1\n")
    odd = [{"time_s": T0 + step, "step": step, **dict.fromkeys(ODD_SERIES, float(step))} for step in range(20)]
    odd += [
        {"time_s": T0 + 20 + place, "step": 20 + place, "loss": value}
        for place, value in enumerate(map(float, ("nan", "inf", "-inf")))
    ]
    odd += [{"time_s": T0 + 30 + step, "step": 10 + step, "loss": -float(step)} for step in range(5)]  # went back
    _metrics(log_dir / ODD, odd)
    _metrics(log_dir / "timeless", [{"step": step, "loss": step / 8} for step in range(30)])
    (log_dir / "text").mkdir()
    (log_dir / "text" / "train.log").write_text("hello\n" * 3)
    _profile(log_dir, job)


def time_of(step: int) -> float:
    """A step takes a second, from 300 to 400 s two."""
    return T0 + step + min(50, max(0, step - 300))


def _metrics(folder: Path, lines: list[dict[str, float]]) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _profile(log_dir: Path, job: Path) -> None:
    """Ten samples a second, all of them in `forward`; from 300 s on every other one in `decode`."""
    step, forward, decode = (
        Frame("step", str(job / "train.py"), 3),
        Frame("forward", str(job / "model.py"), 5),
        Frame("decode", str(job / "data.py"), 2),
    )
    tenths = range(1000, 4001)
    samples = [
        StackSpan((tenth - 1000) * 10**8, 10**8, 7, (step, decode if tenth >= 3000 and tenth % 2 else forward), False)
        for tenth in tenths
    ]
    about = ("group/a", 0, 7, "main", "box", "native", 10.0)
    store = open_store(log_dir / ".deepseek", write=True)
    store.append([StackRecording(*about, T0 + 100, 0, 3001 * 10**8, {7: "MainThread"}, samples, len(samples))])
    store.close()
