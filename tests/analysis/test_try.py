"""`deepseek-dashboard try`: what a comparison of step times says, and that what is tried changes nothing here."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.trial import Comparison, Pace, compare, is_enough, pace_of, sentence_of
from analysis.units import Units
from collectors.arrays import Floats
from collectors.message import text_of
from tests.conftest import ROOT, wait_for

RANDOM = 7
STEPS = 400
TRAIN = """
import os, sys, time
pause, steps, fail = float(sys.argv[1]), int(sys.argv[2]), len(sys.argv) > 3
for step in range(1, steps + 1):
    time.sleep(pause)
    print(f"step {step} loss 1.0", flush=True)
    if step % 10 == 0:
        with open("checkpoint.pt", "w") as file:
            file.write(f"{pause} {step}")
if fail:
    print("no memory for this batch", flush=True)
    os.kill(os.getpid(), 9) if sys.argv[3] == "killed" else sys.exit(1)
"""


def units_of_seconds(seconds: Floats) -> Units:
    ends = np.cumsum(seconds)
    return Units(ends - seconds, ends, np.ones(len(seconds)), np.arange(1.0, len(seconds) + 1))


def steady(step_s: float, seed: int, count: int = STEPS) -> Floats:
    noise: Floats = np.random.default_rng(RANDOM + seed).normal(1.0, 0.05, count)
    return step_s * noise


def pace(seconds: Floats) -> Pace:
    found = pace_of(units_of_seconds(seconds))
    assert found is not None
    return found


def compared(first: Floats, tried: Floats, again: Floats) -> Comparison:
    return compare([pace(first), pace(again)], [pace(tried)])


def test_steady_turns_give_a_saving_within_its_interval() -> None:
    found = compared(steady(0.150, 0), steady(0.088, 1), steady(0.150, 2))
    assert found.tells and found.settled
    assert found.least < 100 * (1 - 88 / 150) < found.most and found.most - found.least < 6
    assert text_of(sentence_of(found)).startswith("B takes 41% less per step (")


def test_a_slower_command_takes_more() -> None:
    found = compared(steady(0.10, 0), steady(0.13, 1), steady(0.10, 2))
    assert found.tells and found.most < 0
    assert text_of(sentence_of(found)).startswith("B takes 30% more per step (")


def test_a_warm_up_is_left_out() -> None:
    slow = np.linspace(20.0, 1.0, 40)
    seconds = steady(0.05, 0)
    seconds[:40] *= slow
    found = pace(seconds)
    assert found.settled and found.warm_up_s > 10 and abs(found.step_s - 0.05) < found.margin_s + 0.0005


def test_what_drifts_to_the_end_is_not_steady() -> None:
    found = pace(steady(0.05, 0) * np.linspace(1.0, 1.6, STEPS))
    assert not found.settled and found.drift_pct > 10
    assert not is_enough(found, 1.0, 50.0)


def test_steps_of_two_lengths_have_the_pace_of_their_mean() -> None:
    seconds = steady(0.05, 0)
    seconds[::20] += 0.5  # a checkpoint each twenty steps
    found = pace(seconds)
    assert found.settled and abs(found.step_s - 0.075) < found.margin_s + 0.001


def test_nothing_is_said_where_a_differs_from_itself_by_more() -> None:
    found = compared(steady(0.100, 0), steady(0.105, 1), steady(0.120, 2))
    assert not found.tells
    assert "Nothing can be said" in text_of(sentence_of(found)) and "A against A differs by 18" in text_of(
        sentence_of(found)
    )


def test_batches_of_different_sizes_are_compared_per_sample() -> None:
    found = compare([pace(steady(0.1, 0))] * 2, [pace(steady(0.15, 1))], (32.0, 64.0))
    assert found.unit == "sample" and found.least < 25 < found.most


@pytest.mark.parametrize("run_sd", [0.0, 0.01, 0.03])
@pytest.mark.parametrize("turns", [1, 2])
def test_nine_in_ten_intervals_hold_the_saving(run_sd: float, turns: int) -> None:
    """Turns of one program differ by `run_sd`, have a warm-up, and a checkpoint each 25 steps. Of 300 trials 255 are 3 sigma below."""
    random = np.random.default_rng(RANDOM)

    def turn(step_s: float) -> Pace:
        seconds: Floats = step_s * (1 + run_sd * random.normal()) * random.normal(1.0, 0.1, 300)
        seconds[:30] *= np.linspace(5.0, 1.0, 30)
        seconds[::25] += 3 * step_s
        return pace(seconds)

    saves = [compare([turn(1.0) for _ in range(turns + 1)], [turn(0.6) for _ in range(turns)]) for _ in range(300)]
    assert sum(found.least <= 40 <= found.most for found in saves) >= 255


def test_too_few_steps_have_no_pace() -> None:
    assert pace_of(units_of_seconds(steady(1.0, 0, 5))) is None


# -- real programs -----------------------------------------------------------------------------------------------------


def sandboxed() -> bool:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return subprocess.run(["unshare", *user, "--mount", "--pid", "--fork", "true"], capture_output=True).returncode == 0


needs_sandbox = pytest.mark.skipif(not sandboxed(), reason="no namespaces here")


class Tried:
    """A folder with a script and a run of it, which is stored."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary = folder / "job", folder / "tmp"
        self.temporary.mkdir()
        self.folder.mkdir()
        (self.folder / "train.py").write_text(TRAIN)
        self.logs = self.folder / "logs"
        self.environment = {**os.environ, "TMPDIR": str(self.temporary)}
        words = [sys.executable, str(ROOT / "app.py"), "run", "--no-dashboard", "--quiet", "--log-dir", "logs"]
        command = [*words, "--name", "a", "--", *self.script(0.03, 200)]
        subprocess.run(command, cwd=self.folder, env=self.environment, check=True, capture_output=True)
        collect = [sys.executable, "-m", "collector", "--log-dir", str(self.logs), "--no-profile"]
        with subprocess.Popen(collect, cwd=ROOT, stderr=subprocess.DEVNULL) as collector:
            wait_for(self.stored)
            collector.terminate()

    def script(self, pause: float, steps: int = 100_000, *more: str) -> list[str]:
        return [sys.executable, "train.py", str(pause), str(steps), *more]

    def why(self) -> str:
        """What the command says of the run; "" before it is stored."""
        command = [sys.executable, str(ROOT / "app.py"), "why", "a", "--log-dir", str(self.logs)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def stored(self) -> bool:
        return bool(self.why())

    def command(self, *words: str, tried: list[str]) -> list[str]:
        own = [sys.executable, str(ROOT / "app.py"), "try", "a", "--log-dir", str(self.logs), "--even-if-busy"]
        return [*own, *words, "--", *tried]

    def files(self) -> dict[str, bytes]:
        found = {path for path in self.folder.rglob("*") if path.is_file() and ".deepseek" not in path.parts}
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def traces(self) -> list[str]:
        """What a trial has left: folders, mounts and processes."""
        left = [path.name for path in self.temporary.iterdir()]
        left += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.temporary) in line]
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            if str(self.temporary).encode() in words or (
                b"train.py" in words and str(self.folder).encode() in cwd_of(path)
            ):
                left.append(words.decode(errors="replace"))
        return left


def cwd_of(path: Path) -> bytes:
    try:
        return os.fsencode((path.parent / "cwd").readlink())
    except OSError:
        return b""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    yield Tried(tmp_path_factory.mktemp("try"))


@needs_sandbox
def test_a_trial_measures_and_changes_no_file(tried: Tried) -> None:
    before = tried.files()
    assert "checkpoint.pt" in before
    command = tried.command("--seconds", "2", "--json", tried=tried.script(0.015))
    done = subprocess.run(command, env=tried.environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["turns"]["A"]) == 2 and len(found["turns"]["B"]) == 1
    assert found["tells"] and 30 < found["saves"] < 60, found
    assert tried.files() == before and tried.traces() == []
    assert found["said"][0] in tried.why()


@needs_sandbox
@pytest.mark.parametrize(("how", "code"), [("failed", 1), ("killed", 137)])
def test_a_program_that_fails_shows_its_last_lines(tried: Tried, how: str, code: int) -> None:
    command = tried.command("--as", shlex.join(tried.script(0.001, 3, how)), tried=tried.script(0.01))
    done = subprocess.run(command, env=tried.environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "A (" in done.stderr and f"exit code {code}," in done.stderr
    assert "no memory for this batch" in done.stderr and tried.traces() == []


@needs_sandbox
def test_ctrl_c_leaves_nothing(tried: Tried) -> None:
    before = tried.files()
    command = tried.command("--seconds", "60", "--as", shlex.join(tried.script(0.01)), tried=tried.script(0.01))
    with subprocess.Popen(command, env=tried.environment, stdout=subprocess.DEVNULL) as trial:
        wait_for(lambda: any("train.py" in found for found in tried.traces() if "app.py" not in found))
        trial.send_signal(signal.SIGINT)
        trial.wait(30)
    wait_for(lambda: tried.traces() == [])
    assert tried.files() == before


def test_a_host_without_namespaces_is_told_what_to_install(tried: Tried) -> None:
    command = tried.command(tried=tried.script(0.01))
    environment = {**tried.environment, "PATH": str(tried.temporary)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "install util-linux" in done.stderr and tried.traces() == []
