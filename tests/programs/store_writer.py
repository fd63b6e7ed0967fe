"""Appends numbered lines of three sources to a store, each with its offset, from where the store says it stopped, until killed.

    python tests/programs/store_writer.py <checkout> <data folder> <lines in a batch> <a file of one byte>

Compaction runs all the time in a thread of its own; while it changes the file, the byte is 1. After each commit one line tells the
source and the offset that are safe.
"""

import mmap
import os
import sys
import threading
from typing import Any

sys.path.insert(0, sys.argv[1])

from pathlib import Path

from collectors.records import LogLine, Offset, Points, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.sqlite import chunks, logs, rollups
from collectors.store.store import Store

START_S = 1_764_000_000.0
SOURCES = ("a/metrics.jsonl", "a/metrics.rank1.jsonl", "b/metrics.jsonl")


def lines(source: str, start: int, count: int) -> list[Record]:
    run = source.split("/")[0]
    labels = labels_of(host="box", rank=1 if "rank1" in source else None)
    found: list[Record] = []
    for step in range(start, start + count):
        names = ("loss", "lr", "norm") if step % 7 == 0 else ("loss", "lr")
        values = (float(step), step / 2, step / 3)[: len(names)]
        found.append(Points(run, labels, names, values, START_S + step / 10, step))
        if step % 3 == 0:
            found.append(LogLine(run, source, START_S + step / 10, 20, f"{source} {step}"))
    found.append(Offset(source, run, 1, 2, start + count, start + count, 0, 0, "", {}))
    return found


def mark(module: Any, name: str, inside: mmap.mmap) -> None:
    """Let one step of the compaction show that it is at work."""
    work = getattr(module, name)

    def marked(*arguments: object) -> object:
        inside[0] = 1
        result = work(*arguments)
        inside[0] = 0
        return result

    setattr(module, name, marked)


def compact(store: Store) -> None:
    while True:
        store.compact(1.0)


def main() -> None:
    with Path(sys.argv[4]).open("r+b") as file:
        inside = mmap.mmap(file.fileno(), 1)
    for module, name in ((chunks, "pack"), (chunks, "store"), (rollups, "store"), (logs, "replace")):
        mark(module, name, inside)
    store = open_store(Path(sys.argv[2]), write=True)
    threading.Thread(target=compact, args=(store,), daemon=True).start()
    offsets = {path: offset.offset for path, offset in store.offsets().items()}
    while True:
        for source in SOURCES:
            start = offsets.get(source, 0)
            store.append(lines(source, start, int(sys.argv[3])))
            offsets[source] = start + int(sys.argv[3])
            os.write(1, f"{source} {offsets[source]}\n".encode())


main()
