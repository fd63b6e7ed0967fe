"""The native sampler where looks fail and memory is slow to read: a build of the tests' own, which makes both (native/faults.h)."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.sampler.build import FLAGS, BuildError, build, find_program
from tests.analysis.test_blame import TO_BLAME
from tests.analysis.test_blame_long import right
from tests.interpreters import Interpreter, every_python
from tests.sampler.test_native_truth import judged
from tests.support.native import NEEDS_SAMPLER, length_s, native, record, running, samples_of, target, time_by
from tests.support.recording import Plan, recorded

pytestmark = NEEDS_SAMPLER
HZ = 500.0
FIFTH_IN_BURSTS = "1 20 3 0"  # seed, percent of the looks, looks a burst, ns a block
SLOW = "1 0 1 1000"
FIFTH_AND_SLOW = "1 20 3 1000"
NEAR = 0.05


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("faulty") / "sampler"
    try:
        build(program, (*FLAGS, "-DFAULTS"))
    except BuildError as error:
        pytest.skip(str(error))
    return program


def test_shares_stay_right_where_a_fifth_of_the_looks_fails(faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLER_FAULTS", FIFTH_IN_BURSTS)
    with running("shares") as shares, native(faulty) as sampler:
        sampler.follow([target(shares.pid, hz=HZ)])
        profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 3)
        shares.terminate()
        assert shares.stdout is not None
        truth = float(shares.stdout.read())
    failed, taken = sum(profile.errors for profile in profiles), samples_of(profiles)
    assert 0.15 <= failed / (failed + taken) < 0.5  # bursts are longer where other programs hold the cores
    time_s = time_by(profiles, lambda stack: stack[-1].name)
    assert time_s["long_part"] / sum(time_s.values()) == pytest.approx(truth, abs=NEAR)


def test_a_process_that_does_not_answer_costs_only_itself(faulty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose memory or libraries lie on a file server that hangs."""
    monkeypatch.setattr("collectors.sampler.native.HANGS_AFTER_S", 0.5)
    with running("busy") as busy, running("busy") as hanging:
        monkeypatch.setenv("SAMPLER_FAULTS", f"1 0 1 0 {hanging.pid}")
        with native(faulty) as sampler:
            sampler.follow([target(busy.pid), target(hanging.pid)])
            first = sampler.pid
            record(sampler, lambda _: hanging.pid in sampler.troubles())
            profiles = record(sampler, lambda found: sum(map(length_s, found)) >= 1)
            assert sampler.pid != first and {profile.pid for profile in profiles} == {busy.pid}
            sentence = f"The native sampler does not come back from process {hanging.pid}: its memory or its files do not answer."
            assert sampler.troubles() == {hanging.pid: (sentence, "", False)}


def test_the_sampler_that_is_installed_has_no_faults() -> None:
    program = find_program()
    assert program
    assert b"SAMPLER_FAULTS" not in program.read_bytes()


@pytest.mark.long
@every_python()
def test_no_stack_is_wrong_where_memory_is_slow(
    python: Interpreter, faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPLER_FAULTS", SLOW)
    truth = judged(python.path, 10_000, tmp_path, faulty)
    print(f"{python.name}: {truth.samples} samples, {truth.errors} failed, {truth.cut} cut")
    assert truth.wrong == []


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("faults", [FIFTH_IN_BURSTS, FIFTH_AND_SLOW])
def test_logging_in_the_loop_is_named_where_a_fifth_of_the_looks_fails(
    faults: str, faulty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was recorded on an AMD EPYC, where 17 of 20 windows named the caller of `log_tensors`."""
    monkeypatch.setenv("SAMPLER_FAULTS", faults)
    program = "logging_in_the_loop"
    with recorded(tmp_path, Plan([program], "native", seconds=75, healthy_s=10, lossy_s=10, native=faulty)) as runs:
        assert right(runs[program], 3, 20, *TO_BLAME[program]) >= 19
        profiles = runs[program].store.stacks(0, 4e9, program)
        print(f"{profiles.samples} samples, {(~profiles.resolved).sum()} spans cut")
