"""The collector process, which also writes down all that its store takes: python tapped_collector.py <file> <arguments of collectors>."""

import pickle
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import collector
from collectors.records import Record

TAPPED = Path(sys.argv[1]).open("ab")  # noqa: SIM115
LOCK = threading.Lock()
open_store = collector.open_store


def open_tapped(*arguments: Any, **options: Any) -> Any:
    store = open_store(*arguments, **options)
    append = store.append

    def tapped(records: Sequence[Record], *more: Any, **others: Any) -> Any:
        with LOCK:  # collectors have a thread each
            TAPPED.write(pickle.dumps(list(records)))
            TAPPED.flush()
        return append(records, *more, **others)

    store.append = tapped  # type: ignore[method-assign]
    return store


collector.open_store = open_tapped
sys.exit(collector.main(sys.argv[2:]))
