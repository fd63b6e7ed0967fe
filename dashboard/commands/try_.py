"""`deepseek-dashboard try RUN -- python train.py --num-workers 4`: measures what a change gives, against the command of a run."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from access.program import Command, UsageError
from collectors.log_folders import LogFolders, add_place, place_of

from .command import ROOT

if TYPE_CHECKING:
    from analysis.trial import Comparison, Pace
    from analysis.units import Units
    from collectors.store.store import Store

NAME: Final = "trial"  # of the run in the fresh log folder
LOOK_S: Final = 1.0  # how often the steps of a turn are read
FIRST_STEP_S: Final = 300.0  # that a program has until its first steps: it loads, and may compile
LONGEST: Final = 4.0  # times --seconds that a turn is continued for a steady pace
WITHIN_PCT: Final = 2.0  # of a step, each way: a pace that is known this well needs no longer turn
BUSY_PCT: Final = 10.0  # of all cores, used by other programs
BUSY_S: Final = 1.0  # for which that is measured
LAST_LINES: Final = 8  # of a program that fails
UNSEEN: Final = ("--no-dashboard", "--quiet")  # of `run`
QUICK: Final = ("--no-profile", "--no-findings")  # of the collector: only steps are read
BATCH_SIZES: Final = ("batch_size", "train_batch_size", "per_device_train_batch_size", "micro_batch_size", "bs")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [options] RUN -- PROGRAM ..."
    parser.add_argument("run", metavar="RUN", help="run name, as shown by the dashboard; its command is A")
    parser.add_argument("--as", dest="before", metavar="COMMAND", help="command for A instead of the run's own")
    parser.add_argument(
        "--turns", type=_turns, default=1, metavar="N", help="runs of B, each between two runs of A (default: 1)"
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=20.0,
        metavar="S",
        help="minimum steady time per turn; a turn lasts at most four times as long (default: 20)",
    )
    parser.add_argument("--even-if-busy", action="store_true", help="measure even if other programs are busy")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_place(parser)
    parser.add_argument("words", nargs="+", metavar="PROGRAM", help="command for B, the one to try")


def _turns(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 20:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of turns (1-20)")
    return int(text)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds (1-3600)")
    return found


class Turn(NamedTuple):
    pace: Pace
    batch_size: float | None  # as its configuration or its command says


def run(parsed: argparse.Namespace) -> int:
    from analysis.trial import compare, sentence_of
    from collectors.message import text_of
    from deepseek.log.redaction import without_secrets

    from ..runs.trials import keep_trial

    after: list[str] = parsed.words[1:] if parsed.words[:1] == ["--"] else parsed.words
    place = place_of(parsed)
    before, folder, predicted = _of_run(parsed, place)
    if not parsed.even_if_busy:
        _refuse_busy()
    turns: dict[str, list[Turn]] = {"A": [], "B": []}
    for name in "A" + "BA" * parsed.turns:
        command = before if name == "A" else after
        turns[name].append(_measure(name, command, folder, place, parsed.seconds))
        _say(f"{name}: {_told(turns[name][-1].pace)}")
    sizes = turns["A"][0].batch_size, turns["B"][0].batch_size
    samples = (sizes[0], sizes[1]) if sizes[0] and sizes[1] and sizes[0] != sizes[1] else None
    found = compare([turn.pace for turn in turns["A"]], [turn.pace for turn in turns["B"]], samples)
    said = [text_of(sentence_of(found)), *_doubts(found), *predicted]
    result = {
        "run": parsed.run,
        "time_s": time.time(),
        "A": without_secrets(before),
        "B": without_secrets(after),
        "said": said,
        **found._asdict(),
        "tells": found.tells,
        "turns": {name: [turn.pace._asdict() for turn in its] for name, its in turns.items()},
    }
    try:
        keep_trial(place.data_dir, result)
    except OSError as error:
        _say(f"the result is not kept: cannot write to {place.data_dir} ({error.strerror})")
    print(json.dumps(result) if parsed.json else "\n".join(said))
    return 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _told(pace: Pace) -> str:
    return f"{1e3 * pace.step_s:.4g} ms per step, over {pace.steps:.0f} steps after {pace.warm_up_s:.1f} s of warm-up"


def _doubts(found: Comparison) -> list[str]:
    return [] if found.settled else ["A turn was not steady to its end: repeat it with more --seconds."]


def _of_run(parsed: argparse.Namespace, place: LogFolders) -> tuple[list[str], Path, list[str]]:
    """The command of A, its working folder, and what the ledger of the run predicts. Raises UsageError."""
    from collectors.store.engines import maintenance, open_store
    from collectors.store.store import StoreError, TooMuch

    if not maintenance(place.data_dir).exists():
        raise UsageError(f"there is no store in {place.data_dir}; name its folder with --log-dir or --data-dir")
    try:
        with closing(open_store(place.data_dir, write=False)) as store:
            about = _about(store, parsed.run)
            _refuse_living(store, place, parsed.run)
            predicted = _predicted(store, place, parsed.run)
    except (StoreError, TooMuch) as error:
        raise UsageError(str(error)) from None
    return _command_of(parsed, about), _folder_of(parsed, about), predicted


def _about(store: Store, run: str) -> dict[str, Any]:
    """What its run.json says, and before that what its process was seen to be."""
    from collectors.provenance import RAN

    row = store.run(run)
    if row is None:
        raise UsageError(f"there is no run {run!r}; `deepseek-dashboard` lists the runs on its page")
    seen = [event.fields for event in store.events(run, kinds=(RAN,)) if event.rank == 0]
    return {**row.info, **(seen[-1] if seen else {})}


def _command_of(parsed: argparse.Namespace, about: dict[str, Any]) -> list[str]:
    from deepseek.log.redaction import LEFT_OUT

    give = 'give it with --as "python train.py"'
    if parsed.before is not None:
        try:
            words = shlex.split(parsed.before)
        except ValueError as error:
            raise UsageError(f"--as is not a command ({error})") from None
        if not words:
            raise UsageError(f"--as names no command; {give}")
        return words
    argv = about.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        raise UsageError(f"the command of {parsed.run} is not known; {give}")
    if any(LEFT_OUT in word for word in argv):
        raise UsageError(f"the command of {parsed.run} has a secret, which is not stored; {give}")
    return argv


def _folder_of(parsed: argparse.Namespace, about: dict[str, Any]) -> Path:
    cwd = about.get("cwd")
    folder = Path(cwd) if isinstance(cwd, str) and cwd else Path.cwd()
    if not folder.is_dir():
        if parsed.before is None:
            raise UsageError(
                f"the working folder of {parsed.run}, {folder}, is not here; go to where it can run, and give its command with --as"
            )
        folder = Path.cwd()
    return folder.resolve()


def _refuse_living(store: Store, place: LogFolders, run: str) -> None:
    from ..runs.runs import ALIVE, Runs

    view = next((view for view in Runs(store, place.tree).views() if view.stored.name == run), None)
    if view is not None and view.state in ALIVE:
        raise UsageError(f"{run} is still at work, which would slow both down; wait for its end, or stop it")


def _predicted(store: Store, place: LogFolders, run: str) -> list[str]:
    """The largest saving that the ledger of the run predicts."""
    from analysis.ledger.prediction import spoken
    from analysis.ledger.text import label_of
    from analysis.ledger.text import place_of as place_of_line
    from collectors.message import text_of

    from ..stacks.stacks import Stacks
    from .why import READING_S

    stacks = Stacks(store, place.tree)
    extent = stacks.ledgers.profiled(run)
    if extent is None:
        return []
    ledger = stacks.ledger(run, extent, None, READING_S)
    found = [(row.prediction.saves, row, row.prediction) for row in ledger.rows if row.prediction is not None]
    if not found:
        return []
    _, row, best = max(found, key=lambda one: one[0])
    where = f" ({place_of_line(row.lines[0].place)})" if row.lines else ""
    return [f"The ledger of {run} predicts of {text_of(label_of(row.kind, ledger))}{where}: {text_of(spoken(best))}."]


def _refuse_busy() -> None:
    """Raises UsageError where other programs use a GPU, or more than `BUSY_PCT` of all cores."""
    import pynvml

    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        try:
            for number in range(pynvml.nvmlDeviceGetCount()):
                card = pynvml.nvmlDeviceGetHandleByIndex(number)
                if found := pynvml.nvmlDeviceGetComputeRunningProcesses(card):
                    raise UsageError(
                        f"process {found[0].pid} uses GPU {number}; wait for its end, or measure beside it with --even-if-busy"
                    )
        finally:
            pynvml.nvmlShutdown()
    begun = _core_ticks()
    time.sleep(BUSY_S)
    busy, whole = (now - then for now, then in zip(_core_ticks(), begun, strict=True))
    if 100 * busy > BUSY_PCT * whole:
        raise UsageError(
            f"other programs use {100 * busy / max(whole, 1):.0f}% of the cores; wait for their end, or measure beside them with --even-if-busy"
        )


def _core_ticks() -> tuple[int, int]:
    """Of all cores: busy, and in all."""
    user, nice, system, idle, waits, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    busy = user + nice + system + sum(others)
    return busy, busy + idle + waits


def _measure(name: str, command: Sequence[str], folder: Path, place: LogFolders, seconds: float) -> Turn:
    """Run the command until its pace is known. Raises UsageError."""
    from analysis.trial import is_enough, pace_of
    from collectors.store.engines import open_store
    from collectors.store.store import StoreError

    from ..sandbox import Inside, Sandbox, SandboxError

    with _fresh_folder() as shared:
        seen = place.log_dir.resolve()
        hidden = not folder.is_relative_to(seen)  # else the program itself would be
        log_dir, data_dir = (seen if hidden else shared / "logs"), shared / "data"
        at = ["--log-dir", str(log_dir)]
        inside = Inside(
            [sys.executable, str(ROOT / "app.py"), "run", *UNSEEN, *at, "--name", NAME, "--", *command],
            [sys.executable, str(ROOT / "collector.py"), *at, "--data-dir", str(data_dir), *QUICK],
            folder,
            shared,
            (shared / "logs", seen) if hidden else None,
        )
        try:
            sandbox = Sandbox(inside)
        except SandboxError as error:
            raise UsageError(str(error)) from None
        begun_s, pace = time.monotonic(), None
        with closing(sandbox):
            while True:
                try:
                    code = sandbox.exit_code()
                except SandboxError as error:
                    raise UsageError(str(error)) from None
                units: Units | None = None
                size: float | None = None
                with (
                    suppress(StoreError),
                    closing(open_store(data_dir, write=False)) as store,
                ):  # it may not be made yet
                    units, size = _steps(store, command)
                pace = pace_of(units) if units is not None else None
                if is_enough(pace, seconds, WITHIN_PCT):
                    break
                first_s = units.start_s[0] if units is not None and len(units.end_s) else None
                if first_s is not None and pace is not None and time.time() - first_s > LONGEST * seconds:
                    break
                if code is not None or (pace is None and time.monotonic() - begun_s > FIRST_STEP_S + LONGEST * seconds):
                    break
                time.sleep(LOOK_S)
        if code == 0:
            code = _signal_code(shared)
        if pace is None or code:
            raise UsageError(_why_none(f"{name} ({shlex.join(command)})", shared, code, units))
        return Turn(pace, size)


def _steps(store: Store, command: Sequence[str]) -> tuple[Units | None, float | None]:
    """Of the run that logs most steps, and its batch size."""
    from analysis.history import History
    from analysis.step_log import read
    from collectors.provenance.probe import config_of

    most: Units | None = None
    config: dict[str, Any] = {**config_of(list(command))}
    for row in store.runs():
        history = History(store, row.name)
        units = read(history, history.inside((0.0, time.time())), around_s=0.0).steps
        if units is not None and (most is None or len(units.end_s) > len(most.end_s)):
            most = units
        if isinstance(said := row.info.get("config"), dict):
            config |= said
    size = next((config[name] for name in BATCH_SIZES if isinstance(config.get(name), int | float)), None)
    return most, float(size) if size else None


def _signal_code(shared: Path) -> int:
    """128 and the number of the signal that ended the program, as a shell says it; 0 without one. Process 1 cannot end like that itself."""
    try:
        number = json.loads((shared / "logs" / NAME / "exit.json").read_text()).get("signal")
    except (OSError, ValueError):
        return 0
    return 128 + number if number else 0


def _why_none(what: str, shared: Path, code: int | None, units: Units | None) -> str:
    """One sentence, and the last lines that the program printed where they help."""
    from ..sandbox import SAID

    said = ""
    for file in (shared / "logs" / NAME / "errors.log", shared / "logs" / NAME / "output.log", shared / SAID):
        with suppress(OSError):
            said = said or file.read_text(errors="replace")
    lines = "".join(f"\n  {line}" for line in said.splitlines()[-LAST_LINES:])
    printed = f"; it printed:{lines}" if lines else ""
    if code:
        return f"{what} ended with exit code {code}, so nothing is compared{printed}"
    if units is None or not len(units.end_s):
        return f"{what} logs no steps that can be read: print a line for each, or use RunLog{printed}"
    return f"{what} logged {len(units.end_s)} times, too few for a pace: let it run longer, or log more often"


@contextmanager
def _fresh_folder() -> Iterator[Path]:
    """Holds the log folder and the store of a turn; it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="deepseek-try-")).resolve()
    try:
        for name in ("logs", "data"):
            (folder / name).mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


COMMAND = Command("try", "Measure a change: run a command (A), the changed one (B), and A again.", arguments, run)
