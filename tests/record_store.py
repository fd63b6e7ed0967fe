"""Record a small store of today's schema version, which every later version must be able to read:

    python -m tests.record_store        writes tests/data/recorded/store/v<version>-{runs,machine}.sql

Once recorded, a version's files stay as they are.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from pathlib import Path

from collectors.records import (
    Event,
    Frame,
    LogLine,
    Offset,
    Points,
    ProgressBar,
    Record,
    RunInfo,
    Sample,
    SourceText,
    StackRecording,
    StackSpan,
    labels_of,
)
from collectors.store.engines import open_store
from collectors.store.sqlite import files, schema
from collectors.store.sqlite.chunks import ROWS

RECORDED = Path(__file__).parent / "data" / "recorded" / "store"
START_S = 1_764_000_000.0
HOST = labels_of(host="box")
GPU = labels_of(gpu=0, host="box", uuid="GPU-1")
PAGE = 64 * ROWS
STEPS = PAGE + ROWS + 20  # a page, a chunk, and rows in head
BAR = ProgressBar("a", "out.log", START_S, "45%|####")
SAMPLE = Sample("a", "val/answers", "text", "text/plain", START_S, 7, 1, b"forty-two")
SOURCE = SourceText("a", "/job/train.py", "9f86", "def main(): pass\n", START_S)


def run_records(start: int, stop: int) -> list[Record]:
    found: list[Record] = [
        Points("a", HOST, ("train/loss",), (float(step % 64),), START_S + step, step) for step in range(start, stop)
    ]
    return [
        *found,
        Offset("a/metrics.jsonl", "a", 1, 2**63 + 5, stop, stop, 1, 2, "line 3: not JSON", {"step": stop - 1}),
    ]


def write(data_dir: Path) -> None:
    """What `check_content` of tests/store/test_store_versions.py expects."""
    store = open_store(data_dir, write=True)
    store.append(
        [
            RunInfo("a", {"kind": "training"}),
            Event("a", "start", START_S, fields={"pid": 7}),
            *run_records(0, STEPS - 20),
        ]
    )
    while store.compact(1.0):
        pass
    store.append(
        [*run_records(STEPS - 20, STEPS), LogLine("a", "out.log", START_S, 40, "it went wrong"), BAR, SOURCE, SAMPLE]
    )
    stack = (Frame("main", "train.py", 1), Frame("load", "data.py", 88))
    sample = StackSpan(10**9, 10**9, 7, stack, True, 5 * 10**8)
    gpu = [Points(None, GPU, ("gpu/util",), (float(second),), START_S + second, None) for second in range(10)]
    store.append(
        [
            *gpu,
            StackRecording(
                "a", 0, 7, "main", "box", "native", 1.0, START_S, 10**9, 2 * 10**9, {7: "MainThread"}, [sample], 1
            ),
        ]
    )
    store.close()


def main() -> None:
    RECORDED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for path in files.all_files(Path(folder)):
            with contextlib.closing(sqlite3.connect(path)) as db:
                text = "\n".join([*db.iterdump(), f"PRAGMA user_version = {schema.VERSION};", ""])
            (RECORDED / f"v{schema.VERSION}-{path.stem.partition('-')[0]}.sql").write_text(text)


if __name__ == "__main__":
    main()
