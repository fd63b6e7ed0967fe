"""What users say in files: it comes back as it was said, an odd file costs only itself, and nobody's words are written over."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from access.files import MAX_BYTES, Unwritable
from collectors import folders, yaml_tree
from collectors.user_files import file_name
from collectors.yaml_tree import MalformedFile
from dashboard.user_files import settings as settings_file
from dashboard.user_files.run_notes import (
    MAX_NAME,
    MAX_NOTE,
    MAX_TAG,
    MAX_TAGS,
    RunNotes,
    RunNotesReader,
    about_run,
    file_of,
    save_about,
)
from dashboard.user_files.settings import SETTINGS, Settings, retention_s, save_settings, settings_of
from dashboard.user_files.yaml_file import is_seen, parsed, read, written

TEXT = st.text(max_size=60) | st.sampled_from(
    ["no", "null", "~", "1e3", "2026-11-25", "- a", "# b", " a\n\n  b: c\n", "\n", "x: |", "😀", "\u2028", "\x85\n "]
)
RUNS = st.text(max_size=30) | st.sampled_from([".", "..", "", "a/b", "a%2Fb", "A", "a", ".new-a", "ü" * 200, "%", "%-"])


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=4), max_size=5))
def test_words_come_back_as_they_were_written(table: dict[str, str | list[str]]) -> None:
    assert parsed(written(table)) == table


@given(
    st.lists(
        RUNS | st.builds(lambda head, tail: head * 40 + tail, st.text(min_size=9, max_size=9), RUNS),
        unique=True,
        max_size=20,
    )
)
def test_every_run_has_a_file_of_its_own_whatever_its_name(runs: list[str]) -> None:
    names = [file_name(run) for run in runs]
    assert len(set(names)) == len(runs)
    assert all(len(name.encode()) <= 255 and "/" not in name and not name.startswith(".") for name in names)


def test_runs_with_undecodable_names_have_a_file_too(tmp_path: Path) -> None:
    runs = ["\udc80", "\udc81", "\udc80" * 300]
    for run in runs:
        save_about(tmp_path, run, {"name": str(len(run)), "note": repr(run)})
    assert [about_run(tmp_path, run).note for run in runs] == [repr(run) for run in runs]


@settings(deadline=None)
@given(
    name=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=MAX_NAME),
    note=st.text(max_size=300),
    archived=st.booleans(),
)
def test_what_is_said_is_read_again(name: str, note: str, archived: bool) -> None:
    assume(not name.strip() or is_seen(name))
    with tempfile.TemporaryDirectory() as folder:
        said = save_about(
            Path(folder),
            "a/b",
            {"name": name, "note": note, "archived": archived, "tags": ["x", "no"]},
        )
        assert about_run(Path(folder), "a/b") == said == RunNotes(name.strip(), ("x", "no"), note, archived)


@pytest.mark.parametrize("character", ["x", "\x01", "😀", "\U0010ffff", "\u2028", "'", "\n"])
def test_the_longest_that_may_be_said_fits_into_a_file(tmp_path: Path, character: str) -> None:
    line = character if character.isprintable() else "x"
    tags = [line * (MAX_TAG - 2) + f"{i:02}" for i in range(MAX_TAGS)]
    save_about(tmp_path, character * 4096, {"name": line * MAX_NAME, "note": character * MAX_NOTE, "tags": tags})
    assert about_run(tmp_path, character * 4096).note == character * MAX_NOTE


def test_only_the_fields_that_are_given_change(tmp_path: Path) -> None:
    save_about(tmp_path, "a", {"name": "wide", "tags": ["x"]})
    save_about(tmp_path, "a", {"archived": True})
    assert about_run(tmp_path, "a") == RunNotes("wide", ("x",), "", True)
    save_about(tmp_path, "a", {"name": ""})
    assert about_run(tmp_path, "a") == RunNotes("", ("x",), "", True)
    assert RunNotesReader(tmp_path).of(["a", "b"]) == {"a": RunNotes("", ("x",), "", True)}


def test_the_files_are_their_owners_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    save_about(tmp_path, "a", {"name": "x"})
    save_settings(tmp_path, {"currency": "EUR"})
    modes = {path.name: S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"runs": 0o700, "a.yaml": 0o600, "settings.yaml": 0o600}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path) -> None:
    target = path.parent / "elsewhere"
    target.write_text("name: x")
    path.symlink_to(target)


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    os.chdir(here)


def holding(data: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(data)


BOMB = b"a: &a [x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 122)
)
ODD: dict[str, Callable[[Path], Any]] = {
    "not YAML": holding(b"name: a: b"),
    "half a file": holding(b"name: 'a"),
    "a control character": holding(b"name: \x01"),
    "not UTF-8": holding(b"name: \xff\xfe"),
    "UTF-16": holding("name: a".encode("utf-16")),
    "a list": holding(b"- name"),
    "one word": holding(b"name"),
    "a table in a table": holding(b"name: {a: b}"),
    "a table as a key": holding(b"? {a: b}\n: x"),
    "nested deeply": holding(b"tags: " + b"[" * 60_000),
    "twice": holding(b"name: a\nname: b"),
    "two documents": holding(b"name: a\n---\nname: b"),
    "an alias": holding(b"name: &a x\nnote: *a"),
    "a bomb": holding(BOMB),
    "huge": holding(b"# " + b"x" * MAX_BYTES),
    "a hole": lambda path: (path.touch(), os.truncate(path, 1 << 30)),
    "an unknown key": holding(b"nmae: a"),
    "a FIFO": fifo,
    "a link": link,
    "a folder": lambda path: path.mkdir(),
    "a socket": listening,
}
ODD_ABOUT = {
    "tags that are text": b"tags: a, b",
    "an empty tag": b"tags: [a, '']",
    "too many tags": b"tags: [%s]" % b",".join(b"%d" % i for i in range(99)),
    "a list as name": b"name: [a]",
    "a long name": b"name: " + b"x" * 201,
    "two lines": b'name: "a\\nb"',
    "half archived": b"archived: perhaps",
}
ODD_SETTINGS = {"a price that is text": b"price_per_gpu_hour: dear", "no price": b"price_per_gpu_hour: .nan", "an endless price": b"price_per_gpu_hour: 1e999",
                "a list": b"currency: [EUR]", "a currency": b"currency: Euro", "a zone": b"time_zone: ../../etc/passwd", "a duration": b"retention: a month"}  # fmt: skip


@pytest.mark.parametrize("make", [*ODD.values(), *map(holding, ODD_ABOUT.values())], ids=[*ODD, *ODD_ABOUT])
def test_an_odd_file_about_a_run_costs_only_itself_and_is_not_written_over(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    save_about(tmp_path, "well", {"name": "well"})
    path = file_of(tmp_path, "odd")
    make(path)
    before = path.lstat()
    said = RunNotesReader(tmp_path).of(["well", "odd"])
    assert said["well"] == RunNotes("well")
    assert said["odd"] == RunNotes(trouble=said["odd"].trouble) == about_run(tmp_path, "odd")
    assert (
        str(path) in said["odd"].trouble
        and said["odd"].trouble.endswith("correct or delete it")
        and "\n" not in said["odd"].trouble
    )
    with pytest.raises(MalformedFile):
        save_about(tmp_path, "odd", {"name": "new"})
    assert (path.lstat().st_ino, path.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("make", [*ODD.values(), *map(holding, ODD_SETTINGS.values())], ids=[*ODD, *ODD_SETTINGS])
def test_beside_an_odd_file_of_settings_all_are_defaults(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / settings_file.FILE
    make(path)
    before = path.lstat()
    found = settings_of(tmp_path)
    assert found.values == {setting.key: setting.default for setting in SETTINGS}
    assert str(path) in found.trouble
    with pytest.raises(MalformedFile):
        save_settings(tmp_path, {"currency": "EUR"})
    assert (path.lstat().st_ino, path.lstat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@settings(max_examples=300)
@given(
    st.binary(max_size=200) | st.text(st.sampled_from("nametgs: -[]{}&*!|>'\"#?,\n\t~x0"), max_size=60).map(str.encode)
)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.yaml"
        path.write_bytes(data)
        try:
            assert isinstance(read(path, dict), dict)
        except MalformedFile as error:
            assert str(path) in str(error)


def test_what_users_write_by_hand_is_taken_as_they_mean_it(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    file_of(tmp_path, "a").write_text(
        "\ufeff# ours\nname: no\ntags: [1, 2026-11-25, yes]\nnote: >\n  two\n  lines\narchived: Yes\n"
    )
    assert about_run(tmp_path, "a") == RunNotes("no", ("1", "2026-11-25", "yes"), "two lines\n", True)
    (tmp_path / "settings.yaml").write_text('price_per_gpu_hour: "2.50"\nretention: 30d\n')
    found = settings_of(tmp_path)
    assert (found.values["price_per_gpu_hour"], retention_s(found), found.trouble) == (2.5, 30 * 86400.0, "")


@pytest.mark.parametrize(("word", "archived"), [("true", True), ("false", False)])
def test_a_run_that_an_older_version_hid_as_forgotten_is_archived(tmp_path: Path, word: str, archived: bool) -> None:
    (tmp_path / "runs").mkdir()
    file_of(tmp_path, "a").write_text(f"name: wide\narchived: false\nforgotten: {word}\n")
    assert about_run(tmp_path, "a") == RunNotes("wide", archived=archived)
    save_about(tmp_path, "a", {"archived": False})
    assert about_run(tmp_path, "a") == RunNotes("wide")


def test_an_edit_is_seen_at_the_next_look_also_one_that_leaves_size_and_time(tmp_path: Path) -> None:
    said = RunNotesReader(tmp_path)
    save_about(tmp_path, "a", {"name": "one"})
    path = file_of(tmp_path, "a")
    assert said.of(["a"])["a"].name == "one"
    times = path.stat()
    path.write_text(path.read_text().replace("one", "two"))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert said.of(["a"])["a"].name == "two"
    path.unlink()
    assert said.of(["a"]) == {}


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    monkeypatch.setattr(yaml_tree, "bytes_of", lambda path, **_: (reads.append(path), path.read_bytes())[1])
    said = RunNotesReader(tmp_path)
    for run in ("a", "b"):
        save_about(tmp_path, run, {"name": run})
        os.utime(file_of(tmp_path, run), (1e9, 1e9))
    reads.clear()
    for _ in range(3):
        assert len(said.of(["a", "b", "c"])) == 2
    assert len(reads) == 2
    save_about(tmp_path, "a", {"name": "x"})
    reads.clear()
    assert said.of(["a", "b"])["a"].name == "x"
    assert reads == [file_of(tmp_path, "a")]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_about(tmp_path, "a", {"name": "old"})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unwritable, match=r"a\.yaml \(No space left on device\)"):
        save_about(tmp_path, "a", {"name": "new"})
    assert about_run(tmp_path, "a").name == "old"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a.yaml"]


def test_where_the_folder_is_a_file_nothing_is_said_and_writing_says_why(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    assert RunNotesReader(tmp_path).of(["a"]) == {}
    with pytest.raises((Unwritable, MalformedFile), match="runs"):
        save_about(tmp_path, "a", {"name": "new"})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"price_per_gpu_hour": -1.0}, "price_per_gpu_hour: a number from 0"),
        ({"price_per_gpu_hour": float("nan")}, "price_per_gpu_hour: a number from 0"),
        ({"price_per_gpu_hour": "2"}, "price_per_gpu_hour: a number"),
        ({"currency": 2.0}, "currency: text"),
        ({"currency": "euro"}, "three capital letters"),
        ({"time_zone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"time_zone": "x" * 201}, "at most 200 characters"),
        ({"retention": "0d"}, "no duration such as 30d"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_wrong_setting_gets_one_sentence_and_changes_nothing(
    tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    save_settings(tmp_path, {"currency": "EUR"})
    with pytest.raises(ValueError, match=sentence):
        save_settings(tmp_path, {"retention": "30d", **given})
    assert settings_of(tmp_path) == Settings({**{one.key: one.default for one in SETTINGS}, "currency": "EUR"})


def test_every_setting_says_what_it_is() -> None:
    for setting in SETTINGS:
        setting.check(setting.default)
        assert setting.help.endswith(".") and setting.unit


def test_a_folder_with_what_users_say_is_still_ours_and_one_of_another_program_is_not(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir(mode=0o755)
        (folder / "runs").mkdir(mode=0o755)
    (ours / "runs.sqlite").touch()
    (ours / "settings.yaml").touch(0o644)
    for folder in (ours, theirs):
        folders.make_private(folder)
    assert [S_IMODE(path.stat().st_mode) for path in (ours, ours / "settings.yaml", theirs, theirs / "runs")] == [
        0o700,
        0o600,
        0o755,
        0o755,
    ]


@pytest.mark.parametrize("name", ["\u202e", "\u200b", "\u2800", "\u3164", "\ufe0f"])
def test_a_name_that_cannot_be_seen_is_refused(tmp_path: Path, name: str) -> None:
    for fields in ({"name": name}, {"tags": (name,)}):
        with pytest.raises(ValueError, match="that can be seen"):
            save_about(tmp_path, "a", fields)
    assert save_about(tmp_path, "a", {"name": "", "tags": ()}).name == ""
