"""The rules of GPUs over described cards: each fault is found on 19 of 20 cards in time, and what is normal gives nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from analysis.findings import cards
from analysis.findings.rules import BY_NAME
from collectors.machine.inventory import Gpu
from collectors.records import Event, Record
from collectors.store.store import Store
from tests.support.judged import GIB, T0, JudgedRuns, PartHealth, card_labels, gpu, gpu_process, machine_point, point

CARDS, ENOUGH = 20, 19
Values = Callable[[int, float | None], dict[str, float]]
BUSY = {
    "gpu/utilization_pct": 95.0,
    "gpu/sm_clock_mhz": 1900.0,
    "gpu/sm_clock_max_mhz": 1980.0,
    "gpu/temperature_c": 60.0,
}


def planted(
    store: Store, rule: str, values: Values, *, gpus: list[Gpu] | None = None, warm_s: float = 70.0
) -> JudgedRuns:
    """`values` are those of a card and of the seconds since its fault; None before."""
    judged = JudgedRuns(store, gpus=gpus or [gpu(index) for index in range(CARDS)], stored=False)
    dice = random.Random(7)
    at = [T0 + warm_s + dice.uniform(0, 15) for _ in range(CARDS)]

    def second(now_s: float) -> Iterable[Record]:
        for index in range(CARDS):
            yield machine_point(
                now_s, card_labels(index), values(index, now_s - at[index] if now_s >= at[index] else None)
            )

    needs_s = BY_NAME[rule].needs_s + 5
    judged.go_on(warm_s + 15 + needs_s + 2, second)
    first: dict[str, float] = {}
    for found in judged.of(rule):
        uuid = str(found.fields["gpu"])
        first[uuid] = min(first.get(uuid, float("inf")), judged.first_s[found.id])
    late = {index: first.get(f"GPU-{index + 1}", float("inf")) - at[index] for index in range(CARDS)}
    assert all(seconds >= 0 for seconds in late.values()), late
    assert sum(seconds <= needs_s for seconds in late.values()) >= ENOUGH, late
    return judged


def test_heat_that_slows_a_card_is_found(store: Store) -> None:
    judged = planted(
        store,
        "throttle",
        lambda index, since_s: {**BUSY, "gpu/slowed_by_heat_s": 5.0 + (0.2 * since_s if since_s else 0.0)},
    )
    assert "slowed by heat" in judged.of("throttle")[0].sentence


def test_reasons_stand_in_for_counters_and_a_power_cap_is_normal(store: Store) -> None:
    judged = planted(
        store,
        "throttle",
        lambda index, since_s: {**BUSY, "gpu/clock_event_reasons": 64.0 if since_s is not None else 4.0},
    )
    assert judged.rules() == {"throttle"}


def test_an_xid_that_ends_a_cards_work_is_an_alert(store: Store) -> None:
    judged = planted(
        store,
        "xid",
        lambda index, since_s: {**BUSY, **({"gpu/xid": 79.0} if since_s is not None and since_s < 1 else {})},
    )
    assert len(judged.of("xid")) == CARDS
    assert {found.weight for found in judged.of("xid")} == {"alert"}
    assert "the GPU has fallen off the bus; the host has to be started again" in judged.of("xid")[0].sentence


def test_errors_of_memory_are_found(store: Store) -> None:
    judged = planted(
        store,
        "ecc",
        lambda index, since_s: {"gpu/ecc_uncorrected": 3.0 + (since_s is not None), "gpu/ecc_corrected": 40.0},
    )
    assert "1 new memory error (ECC)" in judged.of("ecc")[0].sentence


def test_a_row_that_waits_for_a_reset_is_found(store: Store) -> None:
    planted(
        store,
        "remapped_rows",
        lambda index, since_s: {"gpu/remap_pending": float(since_s is not None), "gpu/remap_failed": 0.0},
    )


def test_a_link_that_lost_lanes_is_found_under_load(store: Store) -> None:
    judged = planted(
        store,
        "pcie_link",
        lambda index, since_s: {
            **BUSY,
            "gpu/pcie_width": 8.0 if since_s is not None else 16.0,
            "gpu/pcie_generation": 5.0,
        },
    )
    assert "8 lanes of 16" in judged.of("pcie_link")[0].sentence


def test_an_idle_link_that_saves_power_is_normal(store: Store) -> None:
    judged = JudgedRuns(store, gpus=[gpu(0), gpu(1)], stored=False)
    judged.go_on(
        300,
        lambda now_s: [
            machine_point(
                now_s,
                card_labels(index),
                {"gpu/utilization_pct": 90.0 * busy, "gpu/pcie_generation": 5.0 if busy else 1.0},
            )
            for index, busy in ((0, int(now_s) % 120 < 60), (1, False))
        ],
    )
    assert not judged.found


def test_tensor_cores_that_do_nothing_are_found(store: Store) -> None:
    planted(
        store,
        "tensor_cores_idle",
        lambda index, since_s: {
            "gpu/sm_active_pct": 80.0,
            "gpu/tensor_active_pct": 0.2 if since_s is not None else 35.0,
        },
    )


def test_a_card_that_is_held_and_idle_is_found_after_half_an_hour(store: Store) -> None:
    gpus = [gpu(index, gpu_process(pid=90_000 + index, memory=10 * GIB)) for index in range(CARDS)]
    judged = planted(
        store,
        "held_and_idle",
        lambda index, since_s: {"gpu/utilization_pct": 0.0 if since_s is not None else 50.0},
        gpus=gpus,
    )
    assert "while python 90000 of ada hold 10 GiB" in judged.of("held_and_idle")[0].sentence


def test_a_lost_card_is_an_alert_at_once(store: Store) -> None:
    judged = JudgedRuns(store, gpus=[gpu(0), gpu(1)], stored=False)
    judged.go_on(20)
    judged.gpus[1] = gpu(1, lost="GPU 1 is lost: XID 79.")
    judged.go_on(BY_NAME["gpu_lost"].needs_s)
    assert [(found.sentence, found.weight) for found in judged.of("gpu_lost")] == [("GPU 1 is lost: XID 79.", "alert")]


def test_another_run_and_another_user_on_the_card_are_found(store: Store) -> None:
    judged = JudgedRuns(store, gpus=[gpu(0, gpu_process())], stored=False)
    judged.begin("run")
    step = {"loss": 1.0}
    judged.go_on(20, lambda now_s: [point("run", now_s, int(now_s - T0), step)])
    assert not judged.of("foreign_process")
    others = [gpu_process(pid=99_001, user="eve", memory=3 * GIB), gpu_process(pid=99_002, memory=GIB // 2)]
    judged.gpus[0] = gpu(0, gpu_process(), *others)
    judged.go_on(BY_NAME["foreign_process"].needs_s + 5, lambda now_s: [point("run", now_s, int(now_s - T0), step)])
    assert [found.sentence for found in judged.of("foreign_process")] == [
        "GPU 0 is also used by python 99001 of eve (3 GiB)."
    ]


def test_contexts_of_other_ranks_on_the_first_card_are_found(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.begin("run", 4)
    pids = [process.pid for process in judged.finder.processes["run"]]
    judged.gpus = [
        gpu(0, *(gpu_process(pid) for pid in pids)),
        *(gpu(index, gpu_process(pids[index])) for index in (1, 2, 3)),
    ]
    judged.go_on(
        BY_NAME["contexts_on_first"].needs_s + 5, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})]
    )
    assert "Ranks 1, 2, 3 also hold a context on GPU 0" in judged.of("contexts_on_first")[0].sentence


def test_an_xid_of_the_programs_own_making_is_said_with_its_crash(store: Store) -> None:
    judged = JudgedRuns(store, gpus=[gpu(0)], stored=False)
    judged.begin("run")
    judged.go_on(30, lambda now_s: [point("run", now_s, int(now_s - T0), {"loss": 1.0})])
    judged.take([machine_point(judged.now_s, card_labels(), {"gpu/xid": 31.0})])
    judged.take(
        [Event("run", "end", judged.now_s + 1, fields={"status": "failed", "reason": "RuntimeError: CUDA error"})]
    )
    judged.finder.processes.clear()
    judged.go_on(10)
    assert not judged.of("xid")
    assert [found.sentence for found in judged.of("crash")] == [
        "The run failed at step 30: RuntimeError: CUDA error; GPU 0 reported XID 31 then: "
        "a GPU memory page fault: the program accessed an address that is not mapped."
    ]


def test_a_part_of_the_collector_that_fails_is_found_after_a_minute(store: Store) -> None:
    judged = JudgedRuns(store, stored=False)
    judged.go_on(20)
    judged.health = [PartHealth("nvml", "failing", "no answer")]
    judged.go_on(BY_NAME["collector_trouble"].needs_s + 5)
    assert [found.sentence for found in judged.of("collector_trouble")] == [
        "The collector nvml has been in trouble for 56 s: no answer."
    ]
    judged.health = []
    judged.go_on(60)
    assert all(found.over for found in judged.of("collector_trouble"))


def test_odd_numbers_of_cards_raise_nothing(store: Store) -> None:
    odd = [float("nan"), float("inf"), -1.0, 0.0, 2.0**60]
    names = [
        "gpu/xid",
        "gpu/clock_event_reasons",
        "gpu/slowed_by_heat_s",
        "gpu/ecc_uncorrected",
        "gpu/remap_pending",
        *BUSY,
    ]
    names += ["gpu/pcie_width", "gpu/sm_active_pct", "gpu/tensor_active_pct", "gpu/memory_used_bytes"]
    judged = JudgedRuns(store, gpus=[gpu(0, gpu_process(memory=10 * GIB)), gpu(1, total=0)], stored=False)
    dice = random.Random(0)
    judged.begin("run")
    judged.go_on(
        400,
        lambda now_s: [
            machine_point(now_s, card_labels(index), {name: dice.choice(odd) for name in names if dice.random() < 0.8})
            for index in (0, 1, 2)
        ],
    )
    assert cards.IDLE_S > 0
