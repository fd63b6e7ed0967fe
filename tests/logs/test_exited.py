"""`exit.json`: how a program ended that a keeper has started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.keeper.output import last_lines_of
from collectors.logs.formats.run_json import ExitFile, end_state
from collectors.records import Event
from tests.support.running import ROOT

RAISED = ("step 1 loss 2.0", "Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "    main()")


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"code": 0}, "finished", ""),
        ({"code": 0, "stopped_by": 15}, "finished", "stopped by SIGTERM"),
        ({"code": 0, "stopped_by": 2}, "finished", ""),
        ({"code": 75, "stopped_by": 15}, "finished", "stopped by SIGTERM"),
        ({"code": 75}, "failed", "Exit code 75"),
        ({"code": 0, "stopped_by": "15"}, "finished", ""),
        ({"code": 3, "stopped_by": 15}, "failed", "Exit code 3"),
        ({"code": 3}, "failed", "Exit code 3"),
        ({"code": 1, "last_line": "ValueError: no"}, "failed", "ValueError: no (exit code 1)"),
        ({"code": 1, "last_lines": ["ValueError: no"]}, "failed", "ValueError: no (exit code 1)"),
        ({"code": 2, "last_lines": ["usage: a", "a: error: bad --lr"]}, "failed", "a: error: bad --lr (exit code 2)"),
        (
            {"code": 1, "last_lines": [*RAISED, "ValueError: " + "x" * 700]},
            "failed",
            f"{'ValueError: ' + 'x' * 287}… (exit code 1)",
        ),
        (
            {"code": 1, "last_lines": [*RAISED, "OSError: first", "of two", "wandb: done"]},
            "failed",
            "OSError: first (exit code 1)",
        ),
        ({"code": 1, "last_lines": [*RAISED, "ValueError: caught", "step 2 loss 1.9"]}, "failed", "Exit code 1"),
        ({"code": 3, "last_lines": [7, None, {"a": 1}]}, "failed", "Exit code 3"),
        ({"code": 3, "last_lines": "no list"}, "failed", "Exit code 3"),
        ({"code": None, "signal": 9}, "killed", "Ended by SIGKILL"),
        ({"code": None, "signal": 63}, "killed", "Ended by signal 63"),
    ],
)
def test_says_how_it_ended(fields: dict[str, Any], status: str, reason: str) -> None:
    assert end_state(fields) == (status, reason)


@pytest.mark.parametrize("word", ["nonsense", "x", "averyveryverylongword" * 5])
@pytest.mark.parametrize("lines", [[*RAISED, "ValueError: {}"], ["train.py: error: {}"]])
def test_a_long_reason_ends_with_a_whole_word_and_an_ellipsis(word: str, lines: list[str]) -> None:
    said = lines[-1].format(" ".join([word] * 400))
    printed = last_lines_of("\n".join([*lines[:-1], said]).encode())  # as the keeper writes it
    _, reason = end_state({"code": 1, "last_lines": printed})
    kept = reason.removesuffix(" (exit code 1)").removesuffix("…")
    assert reason.endswith("… (exit code 1)") and 150 < len(kept) < 300
    assert said.startswith(f"{kept} ")


def test_a_reason_that_fits_is_whole() -> None:
    said = "ValueError: " + "b" * 288
    assert end_state({"code": 1, "last_lines": last_lines_of("\n".join([*RAISED, said]).encode())}) == (
        "failed",
        f"{said} (exit code 1)",
    )


@pytest.mark.parametrize(
    "line",
    [
        "step 11 loss 0.083",
        "Epoch 3/10, batch 12: loss=0.31",
        "loss: 0.31 - accuracy: 0.98 - lr: 1e-4",
        "{'loss': '0.65', 'grad_norm': '1.2'}",
        " 43%|████▎     | 43/100 [00:04<00:05, 10.2it/s]",
        "100/100 ━━━━━━━━━━━━━━━━━━━━ 2s 3ms/step",
        "\r 12/40 [=====>....] loss 0.2\r 13/40 [=====>....] loss 0.2",
        "2026-11-30 10:00:00,123 INFO train: checkpoint written",
        "INFO:root:checkpoint written",
        "val_error=0.1 train_error=0.2 acc=0.9",
        "",
    ],
)
def test_progress_is_never_why_a_run_failed(line: str) -> None:
    assert end_state({"code": 3, "last_lines": [line, " "]}) == ("failed", "Exit code 3")


@pytest.mark.parametrize(
    "line",
    [
        "set DATA_DIR to the folder of the data",
        "bash: line 3: nvcc: command not found",
        "Error: size mismatch: a=3, b=4, c=5",
        "2026-11-30 10:00:00,123 ERROR train: no batch fits",
        "Cannot open step 3 of 10",
    ],
)
def test_what_a_program_says_last_is_why_it_failed(line: str) -> None:
    assert end_state({"code": 1, "last_lines": ["step 1 loss 2.0", line]}) == ("failed", f"{line} (exit code 1)")


def test_an_end_is_reported_once() -> None:
    data = json.dumps({"code": 0, "ended_s": 1764000000.5, "pid": 7}).encode()
    first = ExitFile("a", {})
    assert first.parse_whole(data) == [
        Event("a", "end", 1764000000.5, fields={"status": "finished", "reason": "", "pid": 7, "code": 0})
    ]
    assert first.parse_whole(data) == []
    assert ExitFile("a", first.state()).parse_whole(data) == []


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["code", "signal", "ended_s", "last_line", "last_lines", "pid", "ticks"]), ANY)


@given(st.binary(max_size=60) | (FIELDS | ANY).map(lambda value: json.dumps(value).encode()))
def test_odd_files_are_counted_and_never_fail(data: bytes) -> None:
    found = ExitFile("a", {})
    events = found.parse_whole(data)
    assert len(events) + found.tally.lines_skipped <= 1


KEPT = """
import sys, time
from pathlib import Path
from collectors.keeper import keeper
keeper.ASKED_S = float(sys.argv[3])
code = "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: print('saved', flush=True)); print('up', flush=True); signal.pause(); time.sleep(float(sys.argv[1]))"
folder = Path(sys.argv[1])
front = keeper.launch(keeper.Program([sys.executable, "-c", code, sys.argv[2]], {}, folder), None)
while not (folder / "output.log").exists() or "up" not in (folder / "output.log").read_text():
    time.sleep(0.02)
front.send(keeper.SIGNAL + keeper.NUMBER.pack(10))
while front.recv(64)[:1] != keeper.ENDED:
    pass
"""


@pytest.mark.parametrize(("longer_s", "asked_s", "stopped_by"), [("0", "60", 10), ("1.5", "0.5", None)])
def test_a_program_that_saves_at_a_signal_and_goes_on_ends_by_itself(
    longer_s: str, asked_s: str, stopped_by: int | None, tmp_path: Path
) -> None:
    """Ten minutes are half a second here, or a whole one."""
    subprocess.run(
        [sys.executable, "-c", KEPT, str(tmp_path), longer_s, asked_s],
        cwd=ROOT,
        check=True,
        timeout=60,
        capture_output=True,
    )
    ended = json.loads((tmp_path / "exit.json").read_text())
    assert (ended["code"], ended["stopped_by"]) == (0, stopped_by)
    assert end_state(ended) == ("finished", "stopped by SIGUSR1" if stopped_by else "")
    assert "saved" in (tmp_path / "output.log").read_text()
