"""A window's units and its baseline's: from the run's own steps, however far apart the two are."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.records import Points
from collectors.store.sqlite import SqliteStore
from dashboard.flame.lanes import Lanes
from dashboard.stacks import Stacks

T0, HOURS_S = 1_764_000_000.0, 2 * 3600


def test_a_baseline_hours_away_has_its_own_steps(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    store.append([Points("run", (("host", "box"),), ("train/loss",), (1.0,), T0 + step, step) for step in range(HOURS_S)])
    folded = Stacks(store).fold("run", (T0 + 7000.5, T0 + 7010.5), Lanes("joined"), baseline=(T0 + 10.5, T0 + 60.5))
    assert (folded.units, folded.baseline_units) == (pytest.approx(10), pytest.approx(50))
    store.close()
