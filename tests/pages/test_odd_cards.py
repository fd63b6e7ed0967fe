"""MIG, vGPU, WSL2, a container without pids, GeForce: what is known is shown, and nothing that is not known is 0%."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Page

from collectors.machine.inventory import HIDDEN_PROCESSES, NO_PROCESSES, Inventory
from collectors.machine.nvml import NvmlCollector
from collectors.records import Labels, Points
from collectors.store.engines import open_store
from dashboard.stacks.stacks import Stacks
from tests import fake_nvml
from tests.analysis.test_ledger import FED, MINUTES, T0, filled, ledger_of, shares
from tests.conftest import Ask, Dashboard, dashboard, wait_for
from tests.fake_nvml.odd_cards import INSTANCE_BUSY_PCT, NAMES, ODD_CARDS, OddCard, machine

EXPECTED_ERRORS = ("ERR_CONNECTION_REFUSED",)  # the server may end before the page
READ_S = 1.3  # twice the period of GPM, and every source of a second once
HEAT = '.lane[data-lane="gpu/utilization_pct"]'


class Known(NamedTuple):
    """What should be known of a card."""

    signal: str
    device: str
    busy_pct: float | None
    has: set[str]
    has_not: set[str]
    note: str


UTILIZATION, ACTIVE, ECC, NVLINK, POWER = (
    f"gpu/{name}"
    for name in ("utilization_pct", "graphics_active_pct", "ecc_corrected", "nvlink_tx_bytes_per_s", "power_w")
)
KNOWN: dict[OddCard, Known] = {
    "MIG": Known("MIG instance", "GPU", INSTANCE_BUSY_PCT, {ACTIVE, POWER}, {UTILIZATION}, HIDDEN_PROCESSES),
    "vGPU": Known("driver samples", "GPU", 97, {UTILIZATION}, {ACTIVE, POWER, ECC, NVLINK, "gpu/temperature_c"}, ""),
    "WSL2": Known("none", "host", None, {POWER}, {UTILIZATION, ACTIVE, "gpu/processes"}, NO_PROCESSES),
    "container": Known("driver samples", "GPU", 97, {UTILIZATION, ACTIVE, "gpu/processes"}, set(), HIDDEN_PROCESSES),
    "GeForce": Known("driver samples", "GPU", 97, {UTILIZATION, POWER}, {ACTIVE, ECC, NVLINK}, ""),
}


class Collected(NamedTuple):
    newest: dict[tuple[Labels, str], float]  # of each series
    inventory: Inventory


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[OddCard, Collected]]:
    """By kind of card, what a collector reads on a machine that has no other."""
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fake_nvml.environment(folder, "").items():
            patch.setenv(name, value)
        ctypes.CDLL(str(folder / fake_nvml.LIBRARY))
        yield {kind: collect(folder, kind) for kind in ODD_CARDS}


def collect(folder: Path, kind: OddCard) -> Collected:
    (folder / "trace").write_text(machine(kind))
    fake_nvml.Control(folder / "control")
    collector = NvmlCollector("box")
    newest: dict[tuple[Labels, str], float] = {}
    end_s = time.monotonic() + READ_S
    while time.monotonic() < end_s:
        for record in collector.collect():
            newest |= {(record.labels, name): value for name, value in zip(record.names, record.values, strict=True)}
        time.sleep(0.05)
    inventory = collector.inventory()
    collector.close()
    return Collected(newest, inventory)


@pytest.mark.parametrize("kind", ODD_CARDS)
def test_the_collector_reads_what_is_there_and_nothing_else(collected: dict[OddCard, Collected], kind: OddCard) -> None:
    found, known = collected[kind], KNOWN[kind]
    names = {name for _, name in found.newest}
    assert known.has <= names
    assert not known.has_not & names
    assert {gpu.state for gpu in found.inventory.gpus} == {"ok"}
    assert found.inventory.gpus[0].name == NAMES[kind]
    assert found.inventory.gpus[0].processes_note == known.note


@pytest.mark.parametrize("kind", ODD_CARDS)
def test_the_ledger_has_the_signal_that_the_card_gives(
    collected: dict[OddCard, Collected], kind: OddCard, tmp_path: Path
) -> None:
    """The collector's own series, held for minutes beside a training that waits for its data for 30% of its time."""
    known, store = KNOWN[kind], open_store(tmp_path / "logs" / ".deepseek", write=True)
    filled(store, FED)
    for (labels, name), value in collected[kind].newest.items():
        times = np.arange(T0, T0 + 60 * MINUTES, 2.0).tolist()
        store.append([Points(None, labels, (name,), (value,), time_s, None) for time_s in times])
    ledger = ledger_of(store)
    store.close()
    assert (ledger.signal, ledger.device) == (known.signal, known.device)
    assert sum(shares(ledger).values()) == pytest.approx(100, abs=0.1)
    if known.busy_pct is None:
        assert shares(ledger) == pytest.approx({"launch": 70, "data": 30}, abs=0.5), "rows of the host alone"
    else:
        assert shares(ledger)["busy"] == pytest.approx(known.busy_pct, abs=1)


def test_a_busy_instance_is_found_beside_an_idle_whole_card(
    collected: dict[OddCard, Collected], tmp_path: Path
) -> None:
    store = open_store(tmp_path / "logs" / ".deepseek", write=True)
    filled(store, FED)
    idle: Labels = (("gpu", "1"), ("host", "box"), ("uuid", "GPU-1"))
    for time_s in np.arange(T0, T0 + 60 * MINUTES, 2.0).tolist():
        store.append([Points(None, idle, (UTILIZATION,), (0.0,), time_s, None)])
        for (labels, name), value in collected["MIG"].newest.items():
            if name == ACTIVE:
                store.append([Points(None, labels, (name,), (value,), time_s, None)])
    ledger = Stacks(store).ledger("run", (T0 + 20, T0 + 140))
    store.close()
    assert ledger.signal == "MIG instance"
    assert shares(ledger)["busy"] == pytest.approx(INSTANCE_BUSY_PCT, abs=1)


@pytest.fixture(scope="module")
def odd_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """All of them in one machine."""
    folder = tmp_path_factory.mktemp("odd-machine")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in fake_nvml.environment(folder, machine(*ODD_CARDS)).items():
            patch.setenv(name, value)
        with dashboard(folder / "logs", "--no-profile") as running:
            patch.undo()
            yield running


def test_gpus_answers_what_is_known_of_each(odd_machine: Dashboard) -> None:
    def cards() -> dict[str, Any] | None:
        found = {f"{gpu['index']}.{gpu['mig']}": gpu for gpu in odd_machine.get("/api/v1/gpus")["gpus"]}
        notes = [found[f"{index}.None"]["processes_note"] for index in range(len(ODD_CARDS))] if found else []
        return found if notes == [KNOWN[kind].note for kind in ODD_CARDS] and ACTIVE in found["0.1"]["latest"] else None

    found = wait_for(cards, because="not all cards have their values and notes")
    for index, kind in enumerate(ODD_CARDS):
        assert not KNOWN[kind].has_not & set(found[f"{index}.None"]["latest"]), kind
    assert found["0.1"]["latest"][ACTIVE] == pytest.approx(INSTANCE_BUSY_PCT, abs=1)


def test_the_page_draws_a_row_for_each_that_has_a_counter(odd_machine: Dashboard, page: Page) -> None:
    page.goto(f"{odd_machine.address}/hosts")
    rows = page.locator(f"{HEAT} .row")
    wait_for(lambda: " ".join(rows.all_inner_texts()).count("%") == 5, because="not five rows with a value")
    text = " ".join(" ".join(rows.all_inner_texts()).split())
    assert "GPU 0.1 80%" in text and "GPU 0.2 0%" in text, "an instance that is known to be idle reads 0"
    assert "GPU 2" not in text, "WSL2 has no counter"
    wait_for(
        lambda: NO_PROCESSES in page.inner_text(".processes"), because="it does not say which processes are not named"
    )
    assert page.inner_text(".processes").count(HIDDEN_PROCESSES) == 1, "once for all cards"


def test_a_tile_stands_for_a_card_or_an_instance_and_says_unknown_where_nothing_is_known(
    odd_machine: Dashboard, page: Page
) -> None:
    page.goto(f"{odd_machine.address}/hosts")
    tiles = page.locator(".gpu-tile")

    def known() -> dict[str, tuple[str, str]]:
        """By its name, how busy it is and its power."""
        heads, busy, feet = (
            tiles.locator(part).all_inner_texts() for part in (".tile-head", ".tile-busy b", ".tile-foot")
        )
        return {
            head.split("\n")[0].strip(): (share, foot.split("\n")[-1].strip())
            for head, share, foot in zip(heads, busy, feet, strict=True)
        }

    wait_for(lambda: known().get("GPU 0.1", ("",))[0] == "80%", because="no tile of the instance")
    found = known()
    assert found["GPU 0.1"] == ("80%", "–") and found["GPU 0.2"] == ("0%", "–"), "power is the whole card's"
    assert found["GPU 1"] == ("97%", "–") and found["GPU 2"][0] == "–", "what the driver does not say is not 0"
    assert "GPU 0" not in found, "its instances stand for it"


def test_how_it_is_read_says_where_nothing_is_known(ask: Ask) -> None:
    code = """
    const { PollingNote } = await load("pages/gpus/page.js");
    const said = (latest) => {
      const note = new PollingNote();
      note.draw([{ sample_period_s: null, latest }], []);
      return note.element.querySelector("p").textContent;
    };
    return [said({}), said({ "gpu/graphics_active_pct": 3 }), said({ "gpu/utilization_pct": 3 })];"""
    unknown, own, polled = ask(code)
    assert unknown == "The driver does not say how busy these GPUs are."
    assert "own compute engine" in own
    assert "each poll" in polled
