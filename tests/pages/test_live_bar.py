"""The state of a progress bar is seen at once, is one row a file, and is never a line."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Page, Route

from collectors.logs import file as file_module
from collectors.logs.file import LiveBar
from collectors.store.store import LogQuery
from tests.conftest import Dashboard, dashboard, wait_for
from tests.support.ingesting import Ingest

STATES = [
    " 10%|#         | 1/10 [00:01<00:09]",
    "\x1b[32m 20%\x1b[0m|##",
    "",
    "   ",
    "loss=0.3, café",
    "\x1b[A\x1b[K 100%",
    "a" * 40,
]


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[Ingest]:
    ingest = Ingest(tmp_path / "logs")
    (ingest.root / "a").mkdir()
    yield ingest
    ingest.close()


def shown(ingest: Ingest, file: str = "train.log") -> str:
    return next((bar.text for bar in ingest.store.bars("a") if bar.file == file), "")


def lines(ingest: Ingest) -> list[str]:
    return [line.text for line in ingest.store.logs(LogQuery("a", limit=10_000)).lines]


def plain(state: str) -> str:
    return "".join(char for char in file_module.ANSI.sub("", state) if char >= " ").strip()


def expected_bar(text: str) -> str:
    half = text.rpartition("\n")[2]
    return plain(next((state for state in reversed(half.split("\r")) if state.strip()), "")) if "\r" in half else ""


def expected_lines(text: str) -> list[str]:
    whole = [
        next((state for state in reversed(line.split("\r")) if state.strip()), "") for line in text.split("\n")[:-1]
    ]
    return [line for line in whole if line]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_written_the_last_state_stands_and_every_line_comes_once(ingest: Ingest, seed: int) -> None:
    chance, text = random.Random(seed), ""
    path = ingest.root / "a/train.log"
    for _ in range(25):
        more = "".join(
            chance.choice(STATES) + chance.choice(["\r", "\r", "\r", "\n", ""]) for _ in range(chance.randrange(1, 6))
        )
        with path.open("ab") as file:
            file.write(more.encode())
        text += more
        if chance.random() < 0.2:
            ingest.restart()
        if chance.random() < 0.7:
            ingest.turn()
    ingest.until(lambda: (run := ingest.run("a")) and run.lines_read == text.count("\n"), "not all lines are read")
    ingest.until(lambda: shown(ingest) == expected_bar(text), "the bar is another")
    assert lines(ingest) == expected_lines(text)
    assert (run := ingest.run("a")) and run.lines_skipped == 0


def test_a_bar_is_gone_with_its_newline_also_if_that_comes_while_nobody_follows(ingest: Ingest) -> None:
    path = ingest.root / "a/train.log"
    path.write_bytes(b"begins\n\r 45%|####")
    ingest.until(lambda: shown(ingest) == "45%|####", "no bar")
    assert lines(ingest) == ["begins"]
    ingest.close()
    with path.open("ab") as file:
        file.write(b"\r100%|####\n")
    ingest.start()
    ingest.until(lambda: shown(ingest) == "", "the bar stays")
    assert lines(ingest) == ["begins", "100%|####"]


@pytest.mark.parametrize("again", [b"", b"other\n", b"\rother bar"])
def test_a_file_that_is_written_anew_has_its_own_bar(ingest: Ingest, again: bytes) -> None:
    path = ingest.root / "a/train.log"
    path.write_bytes(b"begins\n\r 45%|####")
    ingest.until(lambda: shown(ingest) == "45%|####", "no bar")
    path.write_bytes(again)
    ingest.until(lambda: shown(ingest) == expected_bar(again.decode()), "the bar stays")


def test_a_half_line_without_a_carriage_return_is_no_bar(ingest: Ingest) -> None:
    (ingest.root / "a/train.log").write_bytes(b"whole\nhalf")
    (ingest.root / "a/metrics.jsonl").write_bytes(b'{"loss": 1}\n\r{"loss": 2')
    ingest.until(lambda: (run := ingest.run("a")) and run.points == 1 and lines(ingest) == ["whole"], "not read")
    ingest.turn()
    assert ingest.store.bars("a") == []


def of_text(ingest: Ingest) -> list[tuple[int, float]]:
    """Step and value of each point of the one series that was found in the text."""
    found = [series for series in ingest.store.series("a") if series.name == "loss"]
    if not found:
        return []
    points = ingest.store.points([found[0].id], None, None, axis="step")[found[0].id]
    return list(zip(points.place.astype(int).tolist(), points.value.tolist(), strict=True))


def bar_state(step: int, loss: float, total: int = 400) -> str:
    return f"\rEpoch 1: {100 * step // total:3d}%|###       | {step}/{total} [00:0{step % 9}<00:30, 25.0it/s, loss={loss:.4f}]"


@pytest.mark.parametrize("seed", range(6))
def test_the_metrics_beside_a_bar_are_a_curve_while_it_grows_and_each_comes_once(ingest: Ingest, seed: int) -> None:
    """In whatever pieces it is written and read, and whoever restarts: tqdm draws its bar in one line for hours."""
    chance, text = random.Random(seed), ""
    told = [(step, round(2 / step + chance.random() / 10, 4)) for step in range(1, 60)]
    data = "begins\n" + "".join(bar_state(step, loss) for step, loss in told) + bar_state(60, 0.0)
    path = ingest.root / "a/train.log"
    while len(text) < len(data):
        more = data[len(text) : len(text) + chance.randrange(1, 700)]
        with path.open("a") as file:
            file.write(more)
        text += more
        if chance.random() < 0.15:
            ingest.restart()
        if chance.random() < 0.8:
            ingest.turn()
    ingest.until(lambda: of_text(ingest) == told, "not the curve")
    with path.open("a") as file:
        file.write("\n")
    ingest.until(lambda: of_text(ingest) == [*told, (60, 0.0)], "not the end of the curve")
    assert lines(ingest) == ["begins", bar_state(60, 0.0).removeprefix("\r")]


def test_a_bar_that_is_drawn_before_the_values_of_its_step_has_those_that_follow(ingest: Ingest) -> None:
    states = [bar_state(step, loss) for step in range(1, 20) for loss in (1 / step, 1 / (step + 1))]
    (ingest.root / "a/train.log").write_text("".join(states[1:]) + "\n")
    ingest.until(lambda: len(of_text(ingest)) == 19, "not the curve")
    assert of_text(ingest) == [(step, round(1 / (step + 1), 4)) for step in range(1, 20)]


def test_values_that_change_within_a_step_are_all_there(ingest: Ingest) -> None:
    """Micro batches of one step."""
    told = [(step, step + part / 10) for step in range(1, 20) for part in range(4)]
    (ingest.root / "a/train.log").write_text("".join(bar_state(step, loss) for step, loss in told) + "\n")
    ingest.until(lambda: len(of_text(ingest)) == len(told), "not the curve")
    assert of_text(ingest) == told


def test_a_bar_below_another_one_is_no_flood_of_lines_and_its_metrics_are_a_curve(ingest: Ingest) -> None:
    """As tqdm draws it: a line down, the state, a line up."""
    told = [(step, round(1 / step, 4)) for step in range(1, 40)]
    inner = "".join(f"\n{bar_state(step, loss)}\x1b[A" for step, loss in told)
    (ingest.root / "a/train.log").write_text(
        f"begins\n\rEpochs:  33%|###      | 1/3 [00:01<00:02]{inner}\n\x1b[A\rdone\n"
    )
    ingest.until(lambda: of_text(ingest) == told, "not the curve")
    assert [line.partition(":")[0] for line in lines(ingest)] == ["begins", "\rEpochs".strip(), "done"]


def test_hours_of_states_are_one_line_and_are_not_read_again(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the mebibyte that a line may have, followed and found."""
    monkeypatch.setattr(file_module, "BATCH_BYTES", 64 << 10)
    states = b"".join(b"\r%7d|%s" % (number, b"#" * 90) for number in range(25_000))
    for name in ("found.log", "followed.log"):
        (ingest.root / "a" / name).write_bytes(states if name == "found.log" else b"")
    for part in range(0, len(states), 300_000):
        with (ingest.root / "a/followed.log").open("ab") as file:
            file.write(states[part : part + 300_000])
        ingest.turn()
    for name in ("found.log", "followed.log"):
        ingest.until(lambda name=name: shown(ingest, name).startswith("24999|"), "not the last state")  # type: ignore[misc]
        with (ingest.root / "a" / name).open("ab") as file:
            file.write(b"\rdone\n")
    ingest.until(lambda: lines(ingest) == ["done", "done"], "not one line each")
    run = ingest.run("a")
    assert run is not None and (run.lines_read, run.lines_skipped) == (2, 0)


@pytest.mark.parametrize(
    "half", [b"\r" * (3 << 20), b"\r" + b"x" * (3 << 20), b"\r\x00\xff\x1b[" * 1000, b"\r\x1b[31m"]
)
def test_half_lines_that_are_no_bar_cost_only_themselves(ingest: Ingest, half: bytes) -> None:
    (ingest.root / "a/train.log").write_bytes(half)
    (ingest.root / "b").mkdir()
    (ingest.root / "b/train.log").write_bytes(b"fine\n")
    ingest.until(lambda: (run := ingest.run("b")) and run.lines_read == 1, "the other run is not read")
    with (ingest.root / "a/train.log").open("ab") as file:
        file.write(b"\nfine\n")
    ingest.until(lambda: lines(ingest)[-1:] == ["fine"], "what follows is not read")
    assert ingest.store.bars("a") == []


def test_at_most_five_states_a_second_are_stored_and_the_last_one_always(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(file_module.time, "monotonic", lambda: clock[0])
    bar, stored = LiveBar("a", "train.log"), []
    for number in range(1000):
        clock[0] += 0.01
        bar.take(b"\r%d" % number)
        stored += bar.news(clock[0])
    assert len(stored) <= 51 and bar.is_held
    clock[0] += file_module.GAP_S
    stored += bar.news(clock[0])
    assert stored[-1].text == "999" and not bar.is_held
    bar.take(b"")
    assert [gone.text for gone in bar.news(clock[0])] == [""], "at once"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Dashboard]:
    path = tmp_path / "logs/a/train.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"begins\n\r  0%|")
    with dashboard(tmp_path / "logs", "--no-profile") as running:
        wait_for(lambda: running.run("a").get("lines_read") == 1)
        yield running


@pytest.mark.parametrize("late", ["curves", "logs", "events"])
def test_whichever_answer_of_the_page_comes_late_nothing_is_lost_and_nothing_comes_twice(
    running: Dashboard, page: Page, late: str
) -> None:
    """Deltas continue the points; lines, bars and events are read beside them, sooner or later."""
    path = running.log_dir / "a/train.log"
    held: list[tuple[Route, APIResponse | None]] | None = []

    def hold(route: Route) -> None:
        """Ask later; or answer later, with what is there now."""
        if held is None:
            route.continue_()
        else:
            held.append((route, None if late == "curves" else route.fetch()))

    page.route(f"**/api/v1/{late}?*", hold)
    page.goto(f"{running.address}/?run=a")
    for _ in range(600):
        page.wait_for_timeout(100)
        if held and page.locator(".tail .bar").count() == (late != "logs"):
            break
    assert held
    with path.open("ab") as file:
        file.write(b"\r 45%|\rsecond\nthird\n\r50%|")
    wait_for(lambda: running.run("a")["lines_read"] == 3)
    page.wait_for_timeout(500)
    waiting, held = held, None
    for route, answer in waiting:
        if answer is None:
            route.continue_()
        else:
            route.fulfill(response=answer)
    wait_for(lambda: page.locator(".tail .bar .m").all_inner_texts() == ["50%|"])
    wait_for(lambda: page.locator(".tail .l:not(.bar) .m").all_inner_texts() == ["begins", "second", "third"])
    with path.open("ab") as file:
        file.write(b"\n")
    wait_for(lambda: page.locator(".tail .l:not(.bar) .m").all_inner_texts() == ["begins", "second", "third", "50%|"])
    assert page.locator(".tail .bar").count() == 0


def test_the_page_shows_it_below_the_lines_until_it_is_one(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=a")
    wait_for(lambda: page.locator(".tail .bar .m").all_inner_texts() == ["0%|"])
    with (running.log_dir / "a/train.log").open("ab") as file:
        file.write("\r 45%|\x1b[32m████\x1b[0m".encode())
        file.flush()
        wait_for(lambda: page.locator(".tail .bar .m").all_inner_texts() == ["45%|████"])
        assert [bar["text"] for bar in running.get("/api/v1/logs?run=a")["bars"]] == ["45%|████"]
        file.write(b"\r100%|\n")
    wait_for(lambda: page.locator(".tail .l .m").all_inner_texts() == ["begins", "100%|"])
    assert running.run("a")["lines_read"] == 2 and running.get("/api/v1/logs?run=a")["bars"] == []
    assert time.time() - running.run("a")["last_time_s"] < 60
