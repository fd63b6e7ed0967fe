"""Real trainings on the CPU with a planted cause: each share beside the truth that the program logs. About ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.recording import Plan, Recording, best_sampler, recorded

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

PROGRAM = "accounted"
SECONDS, LED_IN_S = 68.0, 6.0
NEAR, NEAR_PHASE = 3.0, 2.0  # points
CAUSES = {
    "data": "data",
    "workers": "data",
    "gil": "gil",
    "log": "log",
    "checkpoint": "checkpoint",
    "validation": "validation",
    "lock": "lock",
    "cores": "cpu_taken",
}
KINDS = ("busy", "data", "python", "gil", "lock", "log", "checkpoint", "validation", "cpu_taken")
PHASES = ("data", "log", "checkpoint", "validation")


def truth(run: Recording, lo: float, hi: float) -> dict[str, float]:
    """Percent of the time from lo to hi."""
    found = {}
    known = {series.name for series in run.store.series(run.run)}
    for kind in KINDS:
        if f"truth/{kind}_s" in known:
            time_s, value = run.series(f"truth/{kind}_s")
            found[kind] = 100 * float(value[(time_s > lo) & (time_s <= hi)].sum()) / (hi - lo)
    return found


@pytest.mark.parametrize("cause", CAUSES)
def test_each_share_is_what_the_program_says(tmp_path: Path, cause: str) -> None:
    plan = Plan([PROGRAM], best_sampler(), SECONDS, 1e6, 1e6, environment=(("CAUSE", cause),))
    with recorded(tmp_path, plan) as runs:
        run = runs[PROGRAM]
        until_s = run.store.profiled_until(PROGRAM) or 0.0
        ends, _ = run.series("truth/lossy")
        lo, hi = (float(ends[ends <= at][-1]) for at in (until_s - 61.0, until_s))
        ledger = run.stacks.ledger(PROGRAM, (lo, hi))
        true = truth(run, lo, hi)
    found: dict[str, float] = {row.kind: row.share for row in ledger.rows}
    print(cause, f"{hi - lo:.0f} s", *(f"{kind} {found.get(kind, 0):.1f}/{true[kind]:.1f}" for kind in true))
    print({kind: round(share, 1) for kind, share in found.items()})
    assert sum(found.values()) == pytest.approx(100, abs=0.1)
    for kind, share in true.items():
        near = NEAR_PHASE if kind in PHASES else NEAR
        assert found.get(kind, 0.0) == pytest.approx(share, abs=near), kind
    losses = [row.kind for row in ledger.rows if row.kind != "busy"]
    assert CAUSES[cause] in losses[:2]
