"""Files of boards: whose counts, what is broken keeps its last good state, two editors lose nothing, and nothing is read or written elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access.files import Unwritable
from collectors.store.engines import open_store
from dashboard.boards.files import MAX_BOARDS, Boards, VersionConflict
from dashboard.queries import Queries
from tests.support.serving import Web, served

LINE = "title: {}\nrows:\n  - charts:\n      - {{kind: line, series: [gpu/power_w]}}\n"


@pytest.fixture
def boards(tmp_path: Path) -> Boards:
    (tmp_path / "data").mkdir()
    (tmp_path / "logs" / "boards").mkdir(parents=True)
    return Boards(tmp_path / "data", (tmp_path / "logs",))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    open_store(tmp_path / "data", write=True).close()
    queries = Queries(open_store(tmp_path / "data", write=False), tmp_path / "logs", tmp_path / "data")
    with served(queries) as web:
        yield web
    queries.close()


def post(web: Web, path: str, **body: Any) -> tuple[int, Any]:
    answer = web.ask(f"/api/v1/{path}", "POST", json.dumps(body).encode())
    return answer.status, answer.json


def title_of(boards: Boards, name: str) -> str:
    found = boards.named(name)
    assert found is not None and found.board is not None
    return found.board.title


def test_the_users_own_board_counts_then_the_log_folders_then_the_template(boards: Boards, tmp_path: Path) -> None:
    template = boards.named("gpus")
    assert template is not None and template.source == "template" and template.trouble == ""
    (tmp_path / "logs" / "boards" / "gpus.yaml").write_text(LINE.format("of the project"))
    assert title_of(boards, "gpus") == "of the project"
    found = boards.named("gpus")
    assert found is not None
    saved = boards.save("gpus", LINE.format("mine"), found.version)
    assert saved.source == "data" and title_of(boards, "gpus") == "mine"
    assert (tmp_path / "data" / "boards" / "gpus.yaml").read_text() == LINE.format("mine")
    behind = boards.delete("gpus", saved.version)
    assert behind is not None and behind.source == "log" and title_of(boards, "gpus") == "of the project"


def test_a_changed_file_is_taken_at_once_and_a_broken_one_keeps_its_last_good_state(
    boards: Boards, tmp_path: Path
) -> None:
    saved = boards.save("mine", LINE.format("one"), "")
    path = tmp_path / "data" / "boards" / "mine.yaml"
    path.write_text(LINE.format("two"))
    assert title_of(boards, "mine") == "two"
    path.write_text("title: three\nrows: [{charts: [{kind: lin}]}]")
    broken = boards.named("mine")
    assert broken is not None and broken.board is not None
    assert broken.board.title == "two" and broken.trouble.startswith("line 2: 'lin' is not one of ")
    assert broken.text.startswith("title: three") and broken.version != saved.version
    path.write_bytes(b"title: \xff")
    found = boards.named("mine")
    assert found is not None and found.trouble == "it is not UTF-8" and found.board == broken.board
    path.write_text(LINE.format("four"))
    assert title_of(boards, "mine") == "four"


def test_the_second_of_two_editors_is_refused_and_the_first_stays(boards: Boards) -> None:
    first = boards.save("mine", LINE.format("begun"), "")
    boards.save("mine", LINE.format("first"), first.version)
    with pytest.raises(VersionConflict, match="has been changed meanwhile; nothing is saved"):
        boards.save("mine", LINE.format("second"), first.version)
    with pytest.raises(VersionConflict, match="exists already"):
        boards.save("mine", LINE.format("new"), "")
    with pytest.raises(VersionConflict):
        boards.delete("mine", first.version)
    assert title_of(boards, "mine") == "first"
    with pytest.raises(VersionConflict, match="has been deleted"):
        boards.save("gone", LINE.format("x"), first.version)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a.b", "-a", "a" * 81, "é", "a\x00", "a\n", "%2e"])
def test_a_name_never_leaves_the_folder(boards: Boards, name: str) -> None:
    assert boards.named(name) is None
    with pytest.raises(ValueError, match="is no name of a board"):
        boards.save(name, LINE.format("x"), "")


def test_links_fifos_and_huge_files_are_sentences(boards: Boards, tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "boards"
    (tmp_path / "secret.yaml").write_text(LINE.format("secret"))
    (folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    os.mkfifo(folder / "fifo.yaml")
    (folder / "huge.yaml").write_text("# " + "x" * 70_000)
    (folder / "folder.yaml").mkdir()
    (folder / "fine.yaml").write_text(LINE.format("fine"))
    (folder / "no board.txt").write_text("x")
    found = {file.name: file.trouble for file in boards.all() if file.source == "log"}
    assert found == {
        "fine": "",
        "fifo": "it is not a regular file",
        "folder": "it is not a regular file",
        "huge": "it has more than 64 KiB",
        "link": "it is a link",
    }


def test_a_folder_that_is_a_link_is_neither_read_nor_written(boards: Boards, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.yaml").write_text(LINE.format("x"))
    (tmp_path / "data" / "boards").symlink_to(tmp_path / "elsewhere")
    assert boards.named("x") is None
    with pytest.raises(Unwritable, match="is a link or a file"):
        boards.save("y", LINE.format("y"), "")
    assert not (tmp_path / "elsewhere" / "y.yaml").exists()


def test_a_folder_has_so_many_boards(boards: Boards, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "boards"
    folder.mkdir()
    for i in range(MAX_BOARDS + 5):
        (folder / f"b{i:04}.yaml").write_text("title: x\n")
    assert sum(file.source == "data" for file in boards.all()) == MAX_BOARDS
    with pytest.raises(ValueError, match="delete one first"):
        boards.save("more", LINE.format("x"), "")


def test_boards_over_http(web: Web) -> None:
    rows = {row["name"]: row for row in web.ask("/api/v1/boards").json["boards"]}
    assert {"gpus", "mixed-precision", "data-loader", "ranks", "energy", "compression", "service"} <= rows.keys()
    made = rows.pop("overview")  # of what a run logs, and here there is nothing
    assert made["charts"] == 0 and made["source"] == "template"
    assert all(row["trouble"] == "" and row["charts"] > 4 for row in rows.values())
    status, saved = post(web, "boards/mine", text="# mine\n" + LINE.format("a"), version="")
    assert status == 200 and saved["board"]["title"] == "a" and saved["source"] == "data"
    read = web.ask("/api/v1/boards/mine").json
    assert read.pop("exprs") == [{**expr, "absent": True} for expr in saved["exprs"]], "nothing is measured here"
    assert read == {key: value for key, value in saved.items() if key != "exprs"}
    status, other = post(web, "boards/mine", text=LINE.format("b"), version="0")
    assert status == 409 and other["version"] == saved["version"] and other["error"].count("\n") == 0
    assert post(web, "boards/mine", text="rows: 1", version=saved["version"]) == (
        400,
        {"error": "line 1: rows is a list: each entry begins with a dash"},
    )
    status, edited = post(
        web,
        "board_edits",
        text=saved["text"],
        edits=[{"kind": "set", "place": ["rows", 0, "charts", 0, "unit"], "value": "W"}],
    )
    assert status == 200 and edited["text"] == "# mine\n" + LINE.format("a").replace("power_w]", "power_w], unit: W")
    assert post(web, "boards/mine/delete", version=saved["version"]) == (200, {"board": None})
    assert web.ask("/api/v1/boards/mine").status == 404
    assert web.ask("/api/v1/boards/..%2F..%2Fsettings").status == 404


def test_a_dashboard_that_only_reads_refuses_to_save(tmp_path: Path) -> None:
    open_store(tmp_path / "data", write=True).close()
    queries = Queries(
        open_store(tmp_path / "data", write=False), tmp_path, tmp_path / "data", lambda: "another one writes here"
    )
    with served(queries) as web:
        assert post(web, "boards/mine", text="title: x\n", version="") == (400, {"error": "another one writes here"})
        assert post(web, "board_edits", text="title: x\n")[0] == 200, "that changes nothing"
    queries.close()
