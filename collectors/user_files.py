"""The files of the data folder in which users describe runs and add events to them: written by the web process, known to the collector.

`<data>/runs/<run, percent-encoded>.yaml` and `<data>/events/<run, percent-encoded>.jsonl`.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from .machine.run_state import OWN_LIFETIMES
from .provenance import RAN

ABOUT_FOLDER, ABOUT_SUFFIX = "runs", ".yaml"  # of the data folder; of its files
FOLDER, SUFFIX = "events", ".jsonl"
KEEP, FOREVER = "keep", "forever"  # how long a run is kept after its newest line: `keep: 30d`
PERIOD = re.compile(r"([1-9]\d{0,4})d")
DAY_S = 86400.0
LONGEST_FILE, PREFIX = 255, 180  # bytes of a file's name
ADDED_MOST_BYTES = 4 << 20  # of a file
RESERVED = frozenset(("start", "end", *OWN_LIFETIMES, RAN))  # kinds that runs and the collector write
OF_THE_COLLECTOR = RESERVED - {"start", "end"}  # a file of a run may not say what only we have seen


@lru_cache(maxsize=16384)
def file_name(run: str, suffix: str = ABOUT_SUFFIX) -> str:
    """`group/a -> group%2Fa.yaml`. No two runs share one; where it would be too long for a file system, it ends in a hash.

    What `quote` never writes marks what it does not make: `%` alone, `%-`.
    """
    name = quote(run, safe="", errors="surrogatepass") or "%"
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name) + len(suffix) > LONGEST_FILE:
        digest = hashlib.blake2b(run.encode(errors="surrogatepass"), digest_size=20).hexdigest()
        name = f"{name[:PREFIX]}%-{digest}"
    return name + suffix


def rename_about(data_dir: Path, run: str, new: str) -> None:
    """Give what users say about a run to its new name, unless they have described that one as well. Raises OSError."""
    old, to = (data_dir / ABOUT_FOLDER / file_name(name) for name in (run, new))
    if not os.path.lexists(to):
        with suppress(FileNotFoundError):
            old.rename(to)


def days_of(text: str) -> float | None:
    """`30d` -> 30; None for `forever`. Raises ValueError."""
    if text in ("", FOREVER):
        return None
    found = PERIOD.fullmatch(text)
    if found is None:
        raise ValueError(f"{KEEP}: a number of days such as 30d, or {FOREVER}")
    return float(found[1])
