"""The plan of jobs: what holds of every plan, for any jobs."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.replayed_cluster import ReplayedCluster, Submission
from benchmarks.replayed_policies import StrictFifo
from benchmarks.replayed_traces import Mix, drawn, with_mix
from jobs.fifo import Fifo, FifoEntry
from jobs.plan import (
    MAX_OUT_OF_MEMORY,
    NOTHING_USED,
    FamilyRecord,
    Job,
    PairSpeeds,
    PlannerState,
    PlanRules,
    Promise,
    QueueState,
    Slot,
    StartJob,
    Usage,
    after_out_of_memory,
    core_slots,
    plan,
)
from tests.support.cost import times
from tests.support.planned_jobs import (
    GIB,
    CheckedPlan,
    check,
    gpus,
    on_slots,
    queued,
    replayed,
    starts,
    state_of,
    stops,
    waits,
)

HOUR_S = 3600.0
SMALL = FamilyRecord(peak_mib=10 * GIB, activity=0.2, units_per_s=5.0, durations_s=(HOUR_S, HOUR_S))
LARGE = SMALL._replace(peak_mib=60 * GIB)
BUSY = SMALL._replace(activity=0.95)

submissions = st.builds(
    Submission,
    submit_s=st.floats(0, 20 * HOUR_S),
    duration_s=st.floats(1, 10 * HOUR_S),
    slots=st.sampled_from((1, 1, 1, 2, 3, 4)),
    family=st.sampled_from("abcdef"),
    high=st.booleans(),
    shares=st.booleans(),
    resumes=st.booleans(),
    peak_mib=st.floats(1 * GIB, 79 * GIB),
    declared_mib=st.none() | st.floats(1 * GIB, 80 * GIB),
    activity=st.floats(0.02, 1.0),
    data_bound=st.sampled_from((0.0, 0.5)),
    loader_cores=st.sampled_from((0.0, 40.0)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(submissions, min_size=1, max_size=40), st.integers(4, 6), st.integers(0, 3))
def test_any_jobs_end_and_every_plan_on_the_way_keeps_the_rules(jobs: list[Submission], slots: int, seed: int) -> None:
    checked = CheckedPlan()
    cluster = replayed(jobs, checked, slots, seed)
    assert not cluster.jobs and len(cluster.attempts) == len(jobs)
    most = checked.rules.most_stops
    preempted = [stop.job for stop in checked.stopped if stop.why == "preempted"]
    assert all(preempted.count(job) <= most for job in preempted), "no loops"
    assert all(attempt.ran_s + 1e-6 >= attempt.submission.duration_s for attempt in cluster.attempts.values())


some_jobs = st.builds(
    Job,
    id=st.just(0),
    family=st.sampled_from(("small", "large", "busy", "new")),
    slots=st.integers(1, 9),
    submitted_s=st.floats(0, 1000),
    high=st.booleans(),
    shares=st.booleans(),
    resumes=st.booleans(),
    declared_mib=st.none() | st.floats(1, 200 * GIB),
    state=st.sampled_from(("queued", "queued", "held")),
    waited_s=st.floats(0, 1e7),
    stops=st.integers(0, 5),
    needs_mib=st.none() | st.floats(1, 90 * GIB),
)
some_slots = st.builds(
    Slot,
    id=st.just(""),
    memory_mib=st.sampled_from((16 * GIB, 80 * GIB)),
    free_mib=st.none() | st.floats(0, 80 * GIB),
    foreign=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(some_jobs, max_size=12),
    st.lists(some_slots, min_size=1, max_size=8),
    st.lists(st.integers(0, 11), max_size=8),
)
def test_any_state_has_a_plan(jobs: list[Job], slots: list[Slot], running: list[int]) -> None:
    """Also jobs that no host of this size can take, cards that others use, and jobs that are on them nonetheless."""
    slots = [replace(slot, id=f"gpu-{number}") for number, slot in enumerate(slots)]
    jobs = [replace(job, id=number, queued_s=job.submitted_s) for number, job in enumerate(jobs)]
    for slot, number in zip(slots, running, strict=False):
        if number < len(jobs) and jobs[number].state == "queued":
            jobs[number] = replace(jobs[number], state="running", slots=1, on=(slot.id,), started_s=1000.0)
    records = {"small": SMALL, "large": LARGE, "busy": BUSY}
    state = state_of(jobs, slots, families=records, carried=PlannerState(Usage(5.0, 5.0, 1000.0)))
    made = plan(state, 2000.0)
    check(state, made)
    assert plan(state, 2000.0) == made


def test_a_job_waits_with_a_reason_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    running = on_slots(12, ["gpu-0", "gpu-1"], 0.0, family="hour")
    records = {"hour": FamilyRecord(durations_s=(HOUR_S,))}
    jobs = [
        running,
        queued(13, 2),
        queued(14, 1),
        queued(15, 3),
        queued(16, 1, state="held"),
        queued(17, 1, declared_mib=90 * GIB),
    ]
    made = plan(state_of(jobs, gpus(2), families=records), 1200.0)
    assert made.blocked == {15, 17}, "others begin when job 12 ends, or are on hold"
    assert made.reasons == {
        13: "waits for 2 GPUs; job 12 should end 01:00",
        14: "waits for 1 GPU behind 1 job; job 12 should end 01:00",
        15: "asks for 3 GPUs; this host has 2",
        16: "by its owner",
        17: "needs 90.0 GiB on 1 GPU; the largest has 80.0 GiB",
    }


def test_when_a_job_should_end_is_said_where_it_can_be_known() -> None:
    running, waiting = on_slots(1, ["gpu-0"], 0.0, family="hour"), queued(2, 1)

    def reason(now_s: float, **records: FamilyRecord) -> str:
        return plan(state_of([running, waiting], gpus(1), families=records), now_s).reasons[2].partition("; ")[2]

    hour = FamilyRecord(durations_s=(HOUR_S,))
    assert reason(600.0, hour=hour).startswith("job 1 should end ")
    assert reason(2 * HOUR_S, hour=hour) == "job 1 has to end, and has run longer than jobs like it"
    assert reason(600.0) == reason(600.0, other=hour) == "job 1 has to end, and no job like it has ended yet"


def test_cards_that_others_use_are_taken() -> None:
    slots = [replace(slot, foreign=number < 3) for number, slot in enumerate(gpus(4))]
    made = plan(state_of([queued(1, 2), queued(2, 1)], slots), 2000.0)
    assert starts(made) == {2: ("gpu-3",)}
    assert made.reasons[1].endswith("others use 3 of 4") and made.blocked == {1}


def test_a_host_without_gpus_has_core_slots() -> None:
    slots = core_slots(8, 4)
    share = {"shares": True, "resumes": True, "family": "small"}
    made = plan(state_of([queued(number, 1, **share) for number in range(3)], slots, families={"small": SMALL}), 2000.0)
    assert set(starts(made).values()) == {("cores-0",), ("cores-1",)}
    assert made.reasons[2].startswith("waits for 1 core slot;")


def test_two_jobs_share_a_gpu_only_where_both_say_so_and_everything_fits() -> None:
    slots = gpus(1)
    host = on_slots(1, ["gpu-0"], 0.0, family="small", shares=True)
    guest = queued(2, family="small", shares=True, resumes=True)
    records = {"small": SMALL, "large": LARGE, "busy": BUSY, "loader": SMALL._replace(data_bound=0.6, loader_cores=8.0)}

    def shared(host: Job, guest: Job, slot: Slot = slots[0], **more: object) -> bool:
        made = plan(state_of([host, guest], [slot], families=records, cores=4, **more), 1e3)
        return any(isinstance(action, StartJob) and action.beside == (1,) for action in made.actions)

    assert shared(host, guest)
    assert not shared(replace(host, shares=False), guest)
    assert not shared(host, replace(guest, shares=False))
    alone = replace(guest, resumes=False)
    assert not shared(host, alone), "neither could leave again"
    assert shared(replace(host, resumes=True), alone) and shared(host, alone, pairs={("small", "small"): (0.9, 0.9)})
    assert not shared(replace(host, family="new"), guest), "nothing is measured of the host"
    assert not shared(replace(host, family="large"), replace(guest, family="large")), "peaks"
    assert not shared(host, guest, replace(slots[0], free_mib=5 * GIB)), "the driver says otherwise"
    assert not shared(host, guest, replace(slots[0], free_mib=None))
    assert not shared(replace(host, family="busy"), replace(guest, family="busy")), "both too busy"
    assert not shared(host, replace(guest, family="loader")), "its loaders need cores"
    assert not shared(replace(host, needs_mib=20 * GIB), guest), "it ran out of memory before"
    assert not shared(host, guest, pairs={("small", "small"): (0.8, 0.99)}), "measured"
    assert shared(replace(host, high=True), guest) and not shared(
        replace(host, high=True), guest, pairs={("small", "small"): (0.92, 0.92)}
    )
    assert shared(host, guest, pairs={("small", "small"): (0.92, 0.92)})


def test_nothing_is_shared_while_a_gpu_is_free() -> None:
    host = on_slots(1, ["gpu-0"], 0.0, family="small", shares=True)
    made = plan(
        state_of([host, queued(2, family="small", shares=True, resumes=True)], gpus(2), families={"small": SMALL}), 1e3
    )
    assert starts(made) == {2: ("gpu-1",)}


@pytest.mark.parametrize(
    ("speed", "steps", "since_s", "leaves"),
    [(0.8, 60, 0, True), (0.9, 60, 0, False), (0.8, 20, 0, False), (0.8, 60, 800, False)],
)
def test_after_five_minutes_the_newer_of_a_pair_leaves_if_either_is_slow(
    speed: float, steps: int, since_s: float, leaves: bool
) -> None:
    beside = {"family": "small", "shares": True, "resumes": True, "shared_s": since_s, "steps": steps}
    older, newer = (
        on_slots(1, ["gpu-0"], -9e3, speed=speed, **beside),
        on_slots(2, ["gpu-0"], 0.0, speed=0.97, **beside),
    )
    made = plan(state_of([older, newer], gpus(1), families={"small": SMALL}), 1000.0)
    assert stops(made) == ({2: "rolled back"} if leaves else {})
    assert any(isinstance(action, PairSpeeds) for action in made.actions) == (steps == 60 and since_s == 0)


def test_the_high_class_takes_slots_back_from_jobs_that_can_resume_within_its_share() -> None:
    normal = [on_slots(number, [f"gpu-{number}"], 0.0, resumes=number < 6, family="small") for number in range(8)]
    high = [queued(10 + number, 2, 5000.0, high=True) for number in range(4)]
    state = state_of([*normal, *high], gpus(8), families={"small": SMALL._replace(durations_s=(99 * HOUR_S,))})
    made = plan(state, 5000.0)
    check(state, made)
    promises = [action for action in made.actions if isinstance(action, Promise)]
    assert [promise.job for promise in promises] == [10, 11], "floor(0.7 * 8) = 5 slots: two of two each"
    assert set(stops(made).values()) == {"preempted"} and set(stops(made)) <= set(range(6)) and len(stops(made)) == 4
    assert made.reasons[10].startswith("starts when jobs ") and made.reasons[12].startswith("waits for 2 GPUs")
    stopping = {job.id: replace(job, state="stopping") if job.id in stops(made) else job for job in state.jobs.values()}
    kept = {promise.job: replace(stopping[promise.job], promised=promise.slots) for promise in promises}
    again = plan(replace(state, jobs={**stopping, **kept}, carried=made.carried), 5001.0)
    assert again.actions == ()
    gone = {number: job for number, job in {**stopping, **kept}.items() if job.state != "stopping"}
    assert starts(plan(replace(state, jobs=gone), 5060.0)) == {promise.job: promise.slots for promise in promises}


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("classes", list(itertools.product((True, False), repeat=3)))
def test_an_idle_host_starts_a_job_in_its_first_plan(slots: int, classes: tuple[bool, ...]) -> None:
    """The first one's turn to let shorter ones pass must not make others keep free slots until the next turn."""
    jobs = [queued(number, 1, 1000.0 + number, high=high) for number, high in enumerate(classes)]
    made = plan(state_of(jobs, gpus(slots)), 1003.0)
    check(state_of(jobs, gpus(slots)), made)
    assert len(starts(made)) == min(slots, len(jobs))


def test_a_job_that_was_just_started_or_stopped_three_times_makes_no_room() -> None:
    for job in (
        on_slots(1, ["gpu-0"], 4900.0, resumes=True),
        on_slots(1, ["gpu-0"], 0.0, resumes=True, stops=3),
        on_slots(1, ["gpu-0"], 0.0, resumes=True, high=True),
    ):
        assert stops(plan(state_of([job, queued(2, 1, 5000.0, high=True)], gpus(1)), 5000.0)) == {}


def test_a_large_job_that_started_late_makes_no_room_for_a_small_one() -> None:
    large = on_slots(1, [f"gpu-{number}" for number in range(8)], 50_000.0, resumes=True, family="small")
    carried = PlannerState(fifo=Fifo(8, running={1: (20_000.0, 8)}, starts_s={1: 20_000.0}))
    for slots, stopped in ((1, {}), (4, {1: "preempted"})):
        high = queued(2, slots, 99_000.0, high=True)
        assert (
            stops(plan(state_of([large, high], gpus(8), families={"small": SMALL}, carried=carried), 99_000.0))
            == stopped
        )
    on_time = replace(large, started_s=20_000.0)
    high = queued(2, 1, 99_000.0, high=True)
    assert stops(plan(state_of([on_time, high], gpus(8), families={"small": SMALL}, carried=carried), 99_000.0)) == {
        1: "preempted"
    }


def test_an_overdue_job_lets_jobs_pass_that_are_much_shorter() -> None:
    """For a tenth of its own length from when it could start; then it starts."""
    families = {
        "long": SMALL._replace(durations_s=(100 * HOUR_S,) * 2),
        "short": SMALL._replace(durations_s=(HOUR_S,) * 2),
    }
    large, short, long = (
        queued(1, 8, 0.0, family="long"),
        queued(2, 1, 900.0, family="short"),
        queued(3, 1, 900.0, family="long"),
    )
    carried = PlannerState(fifo=Fifo(8, running={1: (500.0, 8)}, starts_s={1: 500.0}))
    state = state_of([large, short, long], gpus(8), families=families, carried=carried)
    made = plan(state, 1000.0)
    assert set(starts(made)) == {2} and made.carried.gate == (1, 1000.0)
    assert made.reasons[3] == made.reasons[3].strip() and "is kept for job 1" in made.reasons[3]
    later = replace(state, carried=made.carried._replace(gate=(1, 1000.0 - 11 * HOUR_S)))
    assert set(starts(plan(later, 1000.0))) == {1}
    assert set(starts(plan(replace(state, jobs={1: large, 3: long}), 1000.0))) == {1}, "none that is short enough"


def test_the_older_of_two_leaves_only_if_it_is_not_the_larger() -> None:
    guest = queued(2, family="small", shares=True)
    for slots, shared in ((1, True), (2, False)):
        host = on_slots(1, [f"gpu-{number}" for number in range(slots)], 0.0, family="small", shares=True, resumes=True)
        made = plan(state_of([host, guest], gpus(slots), families={"small": SMALL}), 1e3)
        assert bool(starts(made)) == shared


def test_while_both_classes_wait_they_get_70_and_30_percent() -> None:
    """Of slot-seconds, where jobs are of one slot and of one length; what one class does not want, the other has."""
    jobs = [_submission(0.0, 600.0, high=number % 2 == 0) for number in range(900)]
    cluster = replayed(jobs, CheckedPlan(PlanRules(overdue_share=9.0)), slots=8)
    both_s = min(max(_begun(cluster, high)) for high in (True, False))
    high, normal = (sum(begun < both_s for begun in _begun(cluster, which)) for which in (True, False))
    assert high / (high + normal) == pytest.approx(0.7, abs=0.03)
    alone = replayed([job for job in jobs if not job.high], CheckedPlan(), slots=8)
    assert max(each.ended_s for each in alone.attempts.values()) == pytest.approx(450 / 8 * 600, rel=0.05)


def _begun(cluster: ReplayedCluster, high: bool) -> list[float]:
    return [each.ended_s - each.ran_s for each in cluster.attempts.values() if each.submission.high == high]


def _submission(submit_s: float, duration_s: float, slots: int = 1, high: bool = False) -> Submission:
    return Submission(submit_s, duration_s, slots, f"{slots}-{duration_s:.0f}", high, False, False, 40 * GIB, None, 0.5)


def test_a_stream_of_small_jobs_does_not_keep_a_large_one_waiting() -> None:
    """Without a reservation it would wait until the stream ends: there is always a small job that fits."""
    stream = [_submission(number * 70.0, 600.0) for number in range(2000)]
    cluster = replayed([*stream, _submission(5000.0, 600.0, slots=8)], CheckedPlan())
    (large,) = [each for each in cluster.attempts.values() if each.submission.slots == 8]
    assert large.ended_s - 5000.0 < 2 * HOUR_S < stream[-1].submit_s


@pytest.mark.parametrize("seed", range(4))
def test_the_longest_wait_is_not_far_from_first_in_first_outs(seed: int) -> None:
    jobs = with_mix(drawn(seed, days=4.0, a_day=60.0), Mix(), 80 * GIB, seed)
    fifo = waits(replayed(jobs, StrictFifo(), seed=seed))  # type: ignore[arg-type]
    ours = waits(replayed(jobs, CheckedPlan(), seed=seed))
    assert max(ours) <= 1.5 * max(fifo)
    assert statistics.mean(ours) <= 0.6 * statistics.mean(fifo)


def test_the_virtual_first_in_first_out_is_the_real_one_where_lengths_are_known() -> None:
    jobs = with_mix(drawn(5, days=4.0, a_day=60.0), Mix(), 80 * GIB, 5)
    cluster = replayed(jobs, StrictFifo())  # type: ignore[arg-type]
    real = {number: each.ended_s - each.ran_s for number, each in cluster.attempts.items()}
    fifo, virtual = Fifo(8), dict[int, float]()
    known = [FifoEntry(job.submit_s, number, job.slots) for number, job in enumerate(cluster.submissions)]
    for end in range(1, len(known) + 1, 7):
        now_s = known[min(end, len(known) - 1)].submitted_s
        fifo = fifo.advanced(
            [entry for entry in known if entry.submitted_s <= now_s],
            lambda job: cluster.submissions[job].duration_s,
            now_s,
        )
        virtual |= fifo.starts_s
    fifo = fifo.advanced(known, lambda job: cluster.submissions[job].duration_s, 1e9)
    assert {**virtual, **fifo.starts_s} == pytest.approx(real)
    assert fifo.longest_s == pytest.approx(max(waits(cluster)))


def test_a_job_that_ran_out_of_memory_is_tried_alone_with_a_quarter_more_and_twice() -> None:
    job = on_slots(1, ["gpu-0"], 0.0, shares=True, resumes=True)
    first = after_out_of_memory(job, 40 * GIB, 10.0, 60 * GIB)
    assert first and first.needs_mib == 50 * GIB and first.waiting and first.on == ()
    second = after_out_of_memory(first, 50 * GIB, 20.0, 60 * GIB)
    assert second and second.needs_mib == 60 * GIB and second.out_of_memory == MAX_OUT_OF_MEMORY
    assert after_out_of_memory(second, 60 * GIB, 30.0, 60 * GIB) is None
    host = on_slots(2, ["gpu-0"], 0.0, family="small", shares=True)
    assert (
        starts(plan(state_of([host, replace(first, family="small")], gpus(1), families={"small": SMALL}), 100.0)) == {}
    )


def test_usage_forgets_half_in_an_hour() -> None:
    job, neighbour = on_slots(1, ["gpu-0", "gpu-1"], 0.0, high=True), on_slots(2, ["gpu-0"], 0.0)
    long = NOTHING_USED.at(0.0).using([job]).at(1e6)
    assert long.high_s == pytest.approx(2 * HOUR_S / 0.693147, rel=1e-3) and long.normal_s == 0
    assert long.using([]).at(1e6 + HOUR_S).high_s == pytest.approx(long.high_s / 2)
    both = NOTHING_USED.at(0.0).using([job, neighbour]).at(1.0)
    assert both.high_s == pytest.approx(3 * both.normal_s)


def test_a_plan_takes_time_in_proportion_to_the_jobs() -> None:
    """The budget itself is in `benchmarks/scheduler.py`."""
    many, few = crowded(1000), crowded(100)
    assert len(plan(many, 90_000.0).reasons) >= 990
    assert times(lambda: plan(many, 90_000.0), lambda: plan(few, 90_000.0)) < 40, (
        "10 is in proportion, 100 is quadratic"
    )


def crowded(jobs: int) -> QueueState:
    from benchmarks.scheduler import crowded_state

    return crowded_state(jobs)
