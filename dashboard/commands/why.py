"""`deepseek-dashboard why RUN`: where every second of a run went, in ten lines, and its goodput in one more."""

from __future__ import annotations

import argparse
import datetime
from contextlib import closing
from typing import TYPE_CHECKING

from access.program import Command, UsageError
from collectors.log_folders import LogFolders, add_place, place_of

if TYPE_CHECKING:
    from analysis.stacks.spans import Interval
    from collectors.store.store import Store

    from ..stacks.stacks import Stacks

READING_S = 0.5  # on minutes of stacks that nothing has added up yet


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run name, as shown by the dashboard")
    when = "Unix seconds, or a time such as 2026-11-26T14:30"
    parser.add_argument(
        "--from", dest="from_s", type=moment, metavar="TIME", help=f"{when} (default: the beginning of its profile)"
    )
    parser.add_argument(
        "--to", dest="to_s", type=moment, metavar="TIME", help=f"{when} (default: the end of its profile)"
    )
    parser.add_argument("--rank", type=rank, metavar="N", help="rank, if there are several (default: the lowest)")
    parser.add_argument("--against", metavar="RUN2", help="also explain the difference from this run")
    add_place(parser)


def moment(text: str) -> float:
    """`2026-11-26T14:30` is local time."""
    try:
        found = float(text)
    except ValueError:
        try:
            found = datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            raise argparse.ArgumentTypeError(
                f"{text!r} is neither Unix seconds nor a time such as 2026-11-26T14:30"
            ) from None
    if not 0 <= found < 1e11:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give Unix seconds, or a time such as 2026-11-26T14:30")
    return found


def rank(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no rank; it is a number from 0 on")
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    from collectors.store.engines import maintenance, open_store
    from collectors.store.store import StoreError, TooMuch

    place = place_of(parsed)
    if not maintenance(place.data_dir).exists():
        raise UsageError(f"there is no store in {place.data_dir}; name its folder with --log-dir or --data-dir")
    try:
        with closing(open_store(place.data_dir, write=False)) as store:
            print("\n".join(_lines(parsed, store, place)))
    except (StoreError, TooMuch) as error:
        raise UsageError(str(error)) from None
    return 0


def _lines(parsed: argparse.Namespace, store: Store, place: LogFolders) -> list[str]:
    from analysis.ledger.text import lines_of, run_line_of

    from ..runs.run_ledgers import RunLedgers
    from ..runs.trials import last_trial
    from ..stacks.stacks import Stacks, compare_windows

    stacks = Stacks(store, place.tree)
    whole = RunLedgers(store, stacks.ledgers, place.tree, place.data_dir).account(parsed.run).ledger
    tried = last_trial(place.data_dir, parsed.run)
    in_all = [*([run_line_of(whole)] if whole else []), *([tried] if tried else [])]
    if parsed.against is None and whole and stacks.ledgers.profiled(parsed.run) is None:
        return [f"{parsed.run}: no stacks of it are stored, so which lines took the time is not known.", *in_all]
    window = window_of(parsed, _profiled(stacks, parsed.run))
    if parsed.against is None:
        return [*lines_of(stacks.ledger(parsed.run, window, parsed.rank, READING_S), parsed.run), *in_all]
    _profiled(stacks, parsed.against)
    found = compare_windows(stacks, parsed.run, window, parsed.rank, parsed.against, READING_S)
    return [*lines_of(found.mine.ledger, parsed.run), *in_all, found.sentence]


def _profiled(stacks: Stacks, run: str) -> Interval:
    extent = stacks.ledgers.profiled(run)
    if extent is None:
        raise UsageError(f"no stacks of a run {run!r} are stored; `deepseek-dashboard` lists the runs on its page")
    return extent


def window_of(parsed: argparse.Namespace, extent: Interval) -> Interval:
    """From `--from` to `--to`, else to the ends of the extent."""
    lo = extent[0] if parsed.from_s is None else parsed.from_s
    hi = extent[1] if parsed.to_s is None else parsed.to_s
    if not lo < hi:
        raise UsageError("--to must be later than --from, and the window must touch the run's profile")
    return lo, hi


COMMAND = Command("why", "Explain in ten lines where the time of a run went.", arguments, run)
