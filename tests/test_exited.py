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

from collectors.logs.formats.exited import Exited, how
from collectors.records import Event
from tests.running import ROOT


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
        ({"code": None, "signal": 9}, "killed", "Ended by SIGKILL"),
        ({"code": None, "signal": 63}, "killed", "Ended by signal 63"),
    ],
)
def test_says_how_it_ended(fields: dict[str, Any], status: str, reason: str) -> None:
    assert how(fields) == (status, reason)


def test_an_end_is_reported_once() -> None:
    data = json.dumps({"code": 0, "ended_s": 1764000000.5, "pid": 7}).encode()
    first = Exited("a", {})
    assert first.parse_whole(data) == [
        Event("a", "end", 1764000000.5, fields={"status": "finished", "reason": "", "pid": 7, "code": 0})
    ]
    assert first.parse_whole(data) == []
    assert Exited("a", first.state()).parse_whole(data) == []


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["code", "signal", "ended_s", "last_line", "pid", "ticks"]), ANY)


@given(st.binary(max_size=60) | (FIELDS | ANY).map(lambda value: json.dumps(value).encode()))
def test_odd_files_are_counted_and_never_fail(data: bytes) -> None:
    found = Exited("a", {})
    events = found.parse_whole(data)
    assert len(events) + found.tally.lines_skipped <= 1


KEPT = """
import sys, time
from pathlib import Path
from collectors.process import keeper
keeper.ASKED_S = 0.5
code = "import signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: print('saved', flush=True)); print('up', flush=True); signal.pause(); time.sleep(float(sys.argv[1]))"
folder = Path(sys.argv[1])
front = keeper.launch(keeper.Program([sys.executable, "-c", code, sys.argv[2]], {}, folder), None)
while not (folder / "output.log").exists() or "up" not in (folder / "output.log").read_text():
    time.sleep(0.02)
front.send(keeper.SIGNAL + keeper.NUMBER.pack(10))
while front.recv(64)[:1] != keeper.ENDED:
    pass
"""


@pytest.mark.parametrize(("longer_s", "stopped_by"), [("0", 10), ("1.5", None)])
def test_a_program_that_saves_at_a_signal_and_goes_on_ends_by_itself(longer_s: str, stopped_by: int | None, tmp_path: Path) -> None:
    """Ten minutes are half a second here."""
    subprocess.run([sys.executable, "-c", KEPT, str(tmp_path), longer_s], cwd=ROOT, check=True, timeout=60, capture_output=True)
    ended = json.loads((tmp_path / "exit.json").read_text())
    assert (ended["code"], ended["stopped_by"]) == (0, stopped_by)
    assert how(ended) == ("finished", "stopped by SIGUSR1" if stopped_by else "")
    assert "saved" in (tmp_path / "output.log").read_text()
