"""Texts that are read on after a restart, with what the store kept of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.store.batches import store_all
from tests.support.ingesting import Ingest, ingest

__all__ = ["ingest"]

PRINTED = {
    path.stem: path.read_bytes().splitlines(keepends=True)
    for path in sorted((Path(__file__).parents[1] / "data" / "printed").glob("*.log"))
}
PARTS = 5


def write(ingest: Ingest, texts: dict[str, list[bytes]]) -> None:
    """Append lines to each run's log, and read them."""
    for name, lines in texts.items():
        (ingest.root / name).mkdir(exist_ok=True)
        with (ingest.root / name / "train.log").open("ab") as log:
            log.writelines(lines)

    def waiting() -> list[str]:
        offsets = ingest.store.offsets()
        sizes = {
            f"{name}/train.log": (ingest.root / name / "train.log").read_bytes().rfind(b"\n") + 1 for name in texts
        }
        return [key for key, size in sizes.items() if key not in offsets or offsets[key].offset < size]

    ingest.until(lambda: not waiting(), lambda: f"not read: {waiting()}")


def test_a_restart_amid_any_text_costs_no_line(ingest: Ingest) -> None:
    for part in range(PARTS):
        write(
            ingest,
            {
                name: lines[part * len(lines) // PARTS : (part + 1) * len(lines) // PARTS]
                for name, lines in PRINTED.items()
            },
        )
        ingest.restart()
    offsets = ingest.store.offsets()
    for name, lines in PRINTED.items():
        offset = offsets[f"{name}/train.log"]
        assert not offset.trouble and "Error" not in offset.first_skip, (name, offset)
        if b"\r" not in b"".join(lines):  # states of a bar are no lines
            assert offset.lines_read + offset.lines_skipped == len(lines), name


@pytest.mark.parametrize(
    "state",
    [{"rate": [True, [[1.0], 0, 1.0, 1.0, 0.0, 0.0, 0]]}, {"items": [1]}, {"steps": 7}, {"held": [[1]]}, {"entry": {}}],
)
def test_a_state_that_cannot_be_understood_costs_no_line(ingest: Ingest, state: dict[str, object]) -> None:
    lines = [f"Train Epoch: 1 [{place}/64000 (1%)]\tLoss: 0.{place + 1}\n".encode() for place in range(0, 6400, 64)]
    write(ingest, {"a": lines[:40]})
    offset = ingest.store.offsets()["a/train.log"]
    store_all(ingest.store, [offset._replace(state={**offset.state, **state}, after=None)])
    ingest.restart()
    write(ingest, {"a": lines[40:]})
    offset = ingest.store.offsets()["a/train.log"]
    assert (offset.lines_read, offset.lines_skipped, offset.trouble) == (100, 0, "")
