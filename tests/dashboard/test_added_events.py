"""Events that users add: over HTTP, from the page and by hand; stored once, whatever becomes of store, file or collector."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page

from collectors.logs.formats import Tally
from collectors.logs.user_events import PREFIX, AddedEvents, events_of
from collectors.records import Event, Offset, Record
from collectors.store.engines import open_store
from dashboard.user_files.events import add_event, file_of
from tests.conftest import Dashboard, dashboard, drag, wait_for

NOTE = {"run": "a", "time_s": 5.0, "kind": "note", "text": "hi"}


def texts(records: list[Record]) -> list[str]:
    return [record.text for record in records if isinstance(record, Event)]


def newest(records: list[Record]) -> list[Offset]:
    return [record for record in records if isinstance(record, Offset)]


@pytest.mark.parametrize("run", ["a", "group/ä", "x" * 400, ".dots", "%", "a" * 250])
def test_what_is_added_is_read_once(tmp_path: Path, run: str) -> None:
    collector = AddedEvents(tmp_path, [])
    assert collector.collect() == []
    added = [
        add_event(tmp_path, run, {"text": "one\ntwo \u2028", "time_s": 5, "seconds": 2.5, "step": 7}),
        add_event(tmp_path, run, {"text": "now"}),
    ]
    records = collector.collect()
    assert [record for record in records if isinstance(record, Event)] == added
    assert collector.collect() == []
    again = AddedEvents(tmp_path, newest(records))
    assert again.collect() == []
    add_event(tmp_path, run, {"kind": "deployed"})
    assert [record.kind for record in again.collect() if isinstance(record, Event)] == ["deployed"]


def test_events_of_a_restored_run_come_back_whenever_the_tail_comes_to_it(tmp_path: Path) -> None:
    deleted = {"a"}
    add_event(tmp_path, "a", {"text": "one"})
    collector = AddedEvents(tmp_path, [], lambda run: run in deleted)
    assert collector.collect() == []
    collector.restore("a")
    assert collector.collect() == collector.collect() == [], "its tombstone still stands"
    deleted.clear()
    assert texts(collector.collect()) == ["one"] and collector.collect() == []


def test_a_renamed_run_takes_its_events_along(tmp_path: Path) -> None:
    for text in ("one", "two"):
        add_event(tmp_path, "a", {"text": text})
    with file_of(tmp_path, "a").open("a") as file:
        file.write('a note\n{"run": "other", "kind": "note", "time_s": 5, "text": "of another run"}\n')
    collector = AddedEvents(tmp_path, [])
    (before,) = newest(collector.collect())
    moves: dict[str, str] = {}

    def store(moved: Mapping[str, str]) -> bool:
        moves.update(moved)
        return True

    assert not collector.rename("a", "x/b", lambda moved: False) and file_of(tmp_path, "a").exists()
    assert collector.rename("a", "x/b", store) and moves == {before.path: f"{PREFIX}{file_of(tmp_path, 'x/b').name}"}
    assert not file_of(tmp_path, "a").exists() and collector.collect() == []
    add_event(tmp_path, "x/b", {"text": "three"})
    for again in (collector, AddedEvents(tmp_path, [before._replace(path=moves[before.path], run="x/b")])):
        records = again.collect()
        assert texts(records) == ["three"] and [offset.run for offset in newest(records)] == ["x/b"]
    read_anew = [(event.run, event.text) for event in AddedEvents(tmp_path, []).collect() if isinstance(event, Event)]
    assert read_anew == [("x/b", "one"), ("x/b", "two"), ("other", "of another run"), ("x/b", "three")]


def test_an_event_that_is_added_to_the_new_name_at_that_moment_is_not_lost(tmp_path: Path) -> None:
    add_event(tmp_path, "a", {"text": "one"})
    collector = AddedEvents(tmp_path, [])
    collector.collect()
    assert collector.rename("a", "b", lambda moved: bool(add_event(tmp_path, "b", {"text": "two"})))
    assert texts(collector.collect()) == ["two"] and texts(AddedEvents(tmp_path, []).collect()) == ["one", "two"]
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["b.jsonl"]


def test_where_both_names_have_events_each_file_stays(tmp_path: Path) -> None:
    for run in ("a", "b"):
        add_event(tmp_path, run, {"text": run})
    collector = AddedEvents(tmp_path, [])
    collector.collect()
    assert collector.rename("a", "b", lambda moved: not moved)
    assert file_of(tmp_path, "a").exists() and collector.collect() == []


def test_a_new_store_gets_them_all_and_an_edited_file_only_its_new_lines(tmp_path: Path) -> None:
    for text in ("one", "two"):
        add_event(tmp_path, "a", {"text": text})
    first = AddedEvents(tmp_path, []).collect()
    assert texts(first) == texts(AddedEvents(tmp_path, []).collect()) == ["one", "two"]
    path = file_of(tmp_path, "a")
    edited = path.read_text().replace("one", "1") + json.dumps({**NOTE, "text": "three"}) + "\n"
    path.with_suffix(".new").write_text(edited)
    path.with_suffix(".new").replace(path)
    again = AddedEvents(tmp_path, newest(first))
    assert texts(again.collect()) == ["three"]
    path.write_text("")
    assert again.collect() == []


def test_half_a_line_waits_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    add_event(tmp_path, "a", {"text": "one"})
    path = file_of(tmp_path, "a")
    with path.open("a") as file:
        file.write('{"run": "a", "kind": "no')
    collector = AddedEvents(tmp_path, [])
    assert texts(collector.collect()) == ["one"]
    add_event(tmp_path, "a", {"text": "two"})
    records = collector.collect()
    assert texts(records) == ["two"] and newest(records)[0].lines_skipped == 1


@pytest.mark.parametrize(
    "line",
    [
        {**NOTE, "kind": "start"}, {**NOTE, "kind": "exit"}, {**NOTE, "kind": "ran"}, {**NOTE, "run": 7}, {**NOTE, "run": ""}, {**NOTE, "run": "\ud800"},
        {**NOTE, "time_s": "today"}, {**NOTE, "kind": None}, [], "x",
    ],
)  # fmt: skip
def test_an_odd_line_is_counted_and_the_others_are_read(line: object) -> None:
    tally = Tally()
    assert texts(list(events_of([json.dumps(value).encode() for value in (NOTE, line, NOTE)], tally))) == ["hi", "hi"]
    assert (tally.lines_read, tally.lines_skipped) == (3, 1)


@given(st.lists(st.binary(max_size=200)))
def test_any_lines_give_events_that_a_store_takes_or_are_counted(lines: list[bytes]) -> None:
    tally = Tally()
    for event in events_of([line.replace(b"\n", b"") for line in lines], tally):
        assert event.run and event.kind
    assert tally.lines_read == len(lines)


def test_odd_files_cost_only_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "link.jsonl").symlink_to("/etc/passwd")
    (folder / "nothing.jsonl").symlink_to("/nowhere")
    (folder / "folder.jsonl").mkdir()
    (folder / "long.jsonl").write_bytes(b"x" * (5 << 20))
    (folder / "note.txt").write_text("no")
    add_event(tmp_path, "a", {"text": "good"})
    collector = AddedEvents(tmp_path, [])
    assert texts(collector.collect()) == ["good"]
    assert ".jsonl is " in collector.trouble() or "are not read" in collector.trouble()
    for name in ("pipe", "link", "folder"):
        with pytest.raises(Exception, match=r"regular file|cannot write"):
            add_event(tmp_path, name, {"text": "x"})
    assert Path("/etc/passwd").read_text().count("good") == 0


def test_a_full_file_takes_no_more(tmp_path: Path) -> None:
    add_event(tmp_path, "a", {"text": "one"})
    with file_of(tmp_path, "a").open("r+b") as file:
        file.truncate(4 << 20)
    with pytest.raises(ValueError, match="4 MiB of events"):
        add_event(tmp_path, "a", {"text": "two"})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    log_dir = tmp_path_factory.mktemp("added") / "logs"
    (log_dir / "a").mkdir(parents=True)
    lines = [json.dumps({"time_s": 1_764_000_000.0 + step, "step": step, "train/loss": 1.0}) for step in range(200)]
    (log_dir / "a" / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with dashboard(log_dir, "--no-profile") as running:
        wait_for(lambda: running.run("a").get("last_step") == 199)
        yield running


def notes(running: Dashboard) -> list[dict[str, Any]]:
    return [event for event in running.get("/api/v1/events?run=a")["events"] if event["kind"] == "note"]


def test_a_note_from_the_page_is_an_event_of_the_window_and_is_drawn(running: Dashboard, page: Page) -> None:
    page.goto(f"{running.address}/?run=a")
    wait_for(
        lambda: page.locator("#content section.lane:not(.waiting) canvas").count() > 0,
        because="Dash does not take the page over",
    )
    drag(page, 0.3, 0.6)
    wait_for(lambda: "from=" in page.url, because="no window is selected")
    page.keyboard.press("n")
    dialog = page.locator("dialog.note")
    wait_for(lambda: dialog.is_visible() and "Note on" in dialog.inner_text(), because="no dialog")
    page.keyboard.type("<b>warm-up</b> ends")
    page.keyboard.press("Enter")
    wait_for(lambda: not dialog.is_visible(), because="it is not sent")
    (note,) = wait_for(lambda: notes(running), because="it is not stored")
    assert (
        note["text"] == "<b>warm-up</b> ends"
        and note["seconds"] > 10
        and 1_764_000_000 < note["time_s"] < 1_764_000_200
    )
    wait_for(lambda: page.locator('.mark[title*="<b>warm-up</b> ends"]').count(), because="it is not drawn")
    assert PREFIX + "a.jsonl" in [file["path"] for file in running.get("/api/v1/files?run=a")["files"]]


def test_what_was_added_outlives_the_store(tmp_path: Path) -> None:
    add_event(tmp_path, "a", {"text": "kept"})
    for _ in range(2):
        store = open_store(tmp_path, write=True)
        store.append(AddedEvents(tmp_path, store.offsets().values()).collect())
        store.append(AddedEvents(tmp_path, store.offsets().values()).collect())
        assert [event.text for event in store.events("a")] == ["kept"]
        store.close()
        for path in tmp_path.glob("*.sqlite*"):
            path.unlink()
