"""`deepseek-dashboard why RUN`: where every second of a run went, in ten lines."""

from __future__ import annotations

import argparse
import datetime
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from collectors.options import add_flags
from collectors.service import folders

from .command import Command, Mistake

if TYPE_CHECKING:
    from collectors.analysis.stacks.traces import Range
    from collectors.store.protocol import Store

READING_S = 0.5  # on minutes of stacks that nothing has added up yet


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="name of the run, as the dashboard shows it")
    when = "Unix seconds, or a time such as 2026-11-26T14:30"
    parser.add_argument(
        "--from", dest="from_s", type=moment, metavar="TIME", help=f"{when} (default: the beginning of its profile)"
    )
    parser.add_argument("--to", dest="to_s", type=moment, metavar="TIME", help=f"{when} (default: the end of its profile)")
    parser.add_argument("--rank", type=rank, metavar="N", help="of several ranks (default: the lowest)")
    add_flags(parser, ["log_dir", "data_dir"])


def moment(text: str) -> float:
    """`2026-11-26T14:30` is local time."""
    try:
        found = float(text)
    except ValueError:
        try:
            found = datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            raise argparse.ArgumentTypeError(f"{text!r} is neither Unix seconds nor a time such as 2026-11-26T14:30") from None
    if not 0 <= found < 1e11:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give Unix seconds, or a time such as 2026-11-26T14:30")
    return found


def rank(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no rank; it is a number from 0 on")
    return int(text)


def run(parsed: argparse.Namespace) -> int:
    from collectors.store.open import maintenance, open_store
    from collectors.store.protocol import StoreError
    from collectors.store.question import TooMuch

    data_dir: Path = (parsed.data_dir or folders.data_dir_of(parsed.log_dir)).resolve()
    if not maintenance(data_dir).exists():
        raise Mistake(f"there is no store in {data_dir}; name its folder with --log-dir or --data-dir")
    try:
        with closing(open_store(data_dir, write=False)) as store:
            print("\n".join(_lines(parsed, store)))
    except (StoreError, TooMuch) as error:
        raise Mistake(str(error)) from None
    return 0


def _lines(parsed: argparse.Namespace, store: Store) -> list[str]:
    from collectors.analysis.ledger.wording import lines_of

    from ..stacks import Stacks

    stacks = Stacks(store, parsed.log_dir)
    extent = stacks.ledgers.profiled(parsed.run)
    if extent is None:
        raise Mistake(f"no stacks of a run {parsed.run!r} are stored; `deepseek-dashboard` lists the runs on its page")
    window = _window(parsed, extent)
    return lines_of(stacks.ledger(parsed.run, window, parsed.rank, READING_S), parsed.run)


def _window(parsed: argparse.Namespace, extent: Range) -> Range:
    lo = extent[0] if parsed.from_s is None else parsed.from_s
    hi = extent[1] if parsed.to_s is None else parsed.to_s
    if not lo < hi:
        raise Mistake("--to must be later than --from, and the window must touch the run's profile")
    return lo, hi


COMMAND = Command("why", "Say in ten lines where every second of a run went, from what is stored.", arguments, run)
