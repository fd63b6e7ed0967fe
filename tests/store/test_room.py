"""How much of the disk a store may take where no --max-size was given."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectors import options
from collectors.options import CollectorOptions
from collectors.store.sqlite import files
from collectors.store.sqlite.files import apply_limits
from collectors.store.store import Limits
from tests.conftest import dashboard

GB = 10**9


@pytest.mark.parametrize(
    ("disk_bytes", "limit"), [(2000 * GB, 20 * GB), (400 * GB, 20 * GB), (100 * GB, 5 * GB), (64 * 10**6, 3_200_000)]
)
def test_the_default_is_20_gb_or_5_percent_of_the_disk(
    disk_bytes: int, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_blocks=disk_bytes // 4096, f_frsize=4096))
    found = options.default_limit(tmp_path)
    assert found.max_bytes == pytest.approx(limit, rel=1e-3)
    assert "--max-size" in found.sentence and str(tmp_path) in found.sentence


def test_a_store_that_is_larger_already_loses_nothing_to_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_blocks=1000, f_frsize=4096))
    with (tmp_path / "runs.sqlite").open("wb") as file:
        file.truncate(3 * GB + 5)  # a hole: it takes no room
    assert options.default_limit(tmp_path).max_bytes == 4 * GB


def test_a_disk_without_a_size_sets_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert options.default_limit(tmp_path / "gone").max_bytes is None
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_blocks=0, f_frsize=4096))
    assert options.default_limit(tmp_path).max_bytes is None


def test_beyond_the_default_machine_samples_go_and_runs_are_collected_all_the_same(tmp_path: Path) -> None:
    week = tmp_path / files.week_file(1_764_000_000.0)
    sizes = [(tmp_path / files.RUNS_FILE, 50), (week, 10)]
    assert apply_limits(sizes, Limits(max_bytes=40, pause=False), 1_800_000_000.0) == ([week], False)
    assert apply_limits(sizes, Limits(max_bytes=40), 1_800_000_000.0) == ([week], True)
    assert CollectorOptions(tmp_path, tmp_path, pause=False).flags()[-1] == "--no-pause"


def test_the_limit_is_printed_in_one_line_at_the_start_unless_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with dashboard(tmp_path / "logs") as running:
        said = running.errors.read_text()
    assert said.count("may take") == 1 and "change it with --max-size" in said
    with dashboard(tmp_path / "logs", "--max-size", "none") as running:
        assert "may take" not in running.errors.read_text()
