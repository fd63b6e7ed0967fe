"""`deepseek-dashboard report RUN`: a run, or a window of it, as one HTML file to be attached to an issue."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from access.program import Command, UsageError
from collectors.log_folders import LogFolders, add_place, place_of

from .why import moment, rank

if TYPE_CHECKING:
    from analysis.stacks.spans import Interval

PATIENCE = 4.0  # times the time that a page would wait for
MAX_NAME = 60  # characters of a run that name its file
LATEST_S = 1e11  # the year 5138


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run name, as shown by the dashboard")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="HTML file to write (default: ./<run>.html)")
    when = "Unix seconds, or a time such as 2026-11-26T14:30"
    parser.add_argument(
        "--from", dest="from_s", type=moment, metavar="TIME", help=f"{when} (default: the run's beginning)"
    )
    parser.add_argument("--to", dest="to_s", type=moment, metavar="TIME", help=f"{when} (default: the run's end)")
    parser.add_argument("--rank", type=rank, metavar="N", help="rank, if there are several (default: the lowest)")
    parser.add_argument("--against", metavar="RUN2", help="compare with this run: time ledger, versions and settings")
    add_place(parser)


def run(parsed: argparse.Namespace) -> int:
    from collectors.store.engines import maintenance
    from collectors.store.store import StoreError, TooMuch

    place = place_of(parsed)
    if not maintenance(place.data_dir).exists():
        raise UsageError(f"there is no store in {place.data_dir}; name its folder with --log-dir or --data-dir")
    name = parsed.run.strip("/").replace("/", "-").lstrip(".")[:MAX_NAME]
    target: Path = parsed.output or Path(f"{name or 'run'}.html")
    try:
        if target.exists():
            raise FileExistsError
        page = written(parsed, place)
        with target.open("xb") as file:
            file.write(page)
    except (StoreError, TooMuch) as error:
        raise UsageError(str(error)) from None
    except FileExistsError:
        raise UsageError(f"{target} is there already; choose another name with --output") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write {target} ({why}); choose another place with --output") from None
    print(f"{target}: {len(page) / 1e3:.0f} kB; it opens in any browser, without a network")
    return 0


def written(parsed: argparse.Namespace, place: LogFolders) -> bytes:
    """The file. Raises StoreError, UsageError."""
    from collectors.store.engines import open_store

    from ..queries import NotFound, Queries
    from ..report.contents import ReportQuery, gather
    from ..report.page import html_of

    with (
        closing(open_store(place.data_dir, write=False)) as store,
        closing(Queries(store, place.tree, place.data_dir)) as queries,
    ):
        query = ReportQuery(parsed.run, window_of(parsed), parsed.rank, parsed.against, PATIENCE)
        try:
            return html_of(gather(queries, query))
        except NotFound as error:
            raise UsageError(
                f"{str(error).partition(';')[0]}; `deepseek-dashboard` lists the runs on its page"
            ) from None


def window_of(parsed: argparse.Namespace) -> Interval | None:
    """None where neither end is named."""
    if parsed.from_s is None and parsed.to_s is None:
        return None
    lo, hi = parsed.from_s or 0.0, LATEST_S if parsed.to_s is None else parsed.to_s
    if not lo < hi:
        raise UsageError("--to must be later than --from")
    return lo, hi


COMMAND = Command("report", "Save a run, or a window of it, as one HTML file to attach to an issue.", arguments, run)
