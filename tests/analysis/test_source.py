"""Which source lines a page may see, and of when."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from analysis.stacks.frames import KEPT, LIVE, Excerpt, SourceRefused, SourceTexts, inside, line_of, owner_of_folders
from collectors.records import SourceText
from collectors.sampler import sources
from collectors.sampler.sources import CHANGED, OF_A_CELL
from collectors.store.store import Store

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    job = tmp_path / "job"
    job.mkdir()
    (job / "train.py").write_text("".join(f"line {number}\n" for number in range(1, 31)))
    (tmp_path / "secret.py").write_text("password\n")
    return job


@pytest.fixture
def texts(store: Store) -> SourceTexts:
    return SourceTexts(store)


def excerpt(texts: SourceTexts, file: str, line: int, context: int, folder: Path | str) -> Excerpt:
    return texts.excerpt("a", file, line, context, str(folder))


def test_of_a_cell_it_is_said_that_its_text_is_nowhere(folder: Path, store: Store, texts: SourceTexts) -> None:
    file = "/tmp/ipykernel_4127/3391234.py"
    store.append([SourceText("a", file, "", "", 100.0, OF_A_CELL)])
    with pytest.raises(SourceRefused, match="notebook cell"):
        excerpt(texts, file, 3, 1, folder)


def test_lines_around_a_line_are_shown(folder: Path, texts: SourceTexts) -> None:
    found = excerpt(texts, str(folder / "train.py"), 10, 2, folder)
    assert (found.first, found.lines) == (8, [f"line {number}" for number in range(8, 13)])
    assert (found.kept, found.note) == (False, LIVE)
    assert excerpt(texts, str(folder / "train.py"), 1, 2, folder).lines == ["line 1", "line 2", "line 3"]
    assert excerpt(texts, str(folder / "train.py"), 30, 2, folder).lines == ["line 28", "line 29", "line 30"]
    assert excerpt(texts, "train.py", 3, 0, folder).lines == ["line 3"], (
        "as a frame of a script that was started in its folder"
    )


def test_after_an_edit_a_runs_lines_are_those_that_it_ran(folder: Path, store: Store, texts: SourceTexts) -> None:
    file = str(folder / "train.py")
    assert texts.line_of("a")(file, 1) == "line 1"
    store.append(
        [SourceText("a", file, "11", "import torch\nwork()\n", 100.0), SourceText("b", file, "22", "else\n", 100.0)]
    )
    for _ in range(2):
        found = excerpt(texts, file, 2, 1, "")
        assert (found.lines, found.kept, found.note) == (["import torch", "work()"], True, KEPT)
        (folder / "train.py").unlink(missing_ok=True)
    fresh = SourceTexts(store)
    assert [fresh.line_of(run)(file, 1) for run in ("a", "b", "c")] == ["import torch", "else", ""]


def test_a_file_that_changed_is_shown_as_it_is_today_with_a_word_of_it(
    folder: Path, store: Store, texts: SourceTexts
) -> None:
    file = str(folder / "train.py")
    store.append(
        [
            SourceText("a", file, "", "", 100.0, CHANGED),
            SourceText("a", "<ipython-input-1-x>", "", "", 100.0, "A cell."),
        ]
    )
    found = excerpt(texts, file, 2, 0, folder)
    assert (found.lines, found.kept, found.note) == (["line 2"], False, CHANGED)
    with pytest.raises(SourceRefused, match="A cell"):
        excerpt(texts, "<ipython-input-1-x>", 1, 0, folder)


@pytest.mark.parametrize("file", ["../secret.py", "/etc/passwd", "sub/../../secret.py", "link.py", "linked/secret.py"])
def test_what_leaves_the_folder_is_refused(folder: Path, texts: SourceTexts, file: str) -> None:
    (folder / "link.py").symlink_to(folder.parent / "secret.py")
    (folder / "linked").symlink_to(folder.parent)
    with pytest.raises(SourceRefused, match="working folder"):
        excerpt(texts, file, 1, 5, folder)


@pytest.mark.parametrize("where", ["", "/"])
def test_without_a_folder_nothing_is_shown(folder: Path, where: str) -> None:
    with pytest.raises(SourceRefused):
        inside(str(folder / "train.py"), where)


def test_a_working_folder_that_is_claimed_opens_nothing_of_the_kernel(store: Store, texts: SourceTexts) -> None:
    for folder, file in (
        ("/proc", "self/environ"),
        ("/sys", "kernel/notes"),
        ("/dev", "zero"),
        ("/proc/self", "status"),
    ):
        with pytest.raises(SourceRefused, match="cannot be read"):
            excerpt(texts, file, 1, 5, folder)
        assert texts.line_of("a")(f"{folder}/{file}", 1) == ""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can make files of others")
def test_a_run_shows_no_file_that_the_owner_of_its_folder_may_not_read(
    tmp_path: Path, folder: Path, store: Store
) -> None:
    """A dashboard of root, whose log folder nobody may write to: its runs are nobody's."""
    secret = folder / "train.py"
    secret.chmod(0o600)
    for name, owner in (("roots", 0), ("nobodys", NOBODY)):
        (tmp_path / "logs" / name).mkdir(parents=True)
        os.chown(tmp_path / "logs" / name, owner, owner)
    texts = SourceTexts(store, owner_of_folders(tmp_path / "logs"))
    assert texts.excerpt("roots", str(secret), 1, 0, str(folder)).lines == ["line 1"]
    assert texts.line_of("roots")(str(secret), 1) == "line 1"
    with pytest.raises(SourceRefused, match="cannot be read"):
        texts.excerpt("nobodys", str(secret), 1, 0, str(folder))
    assert texts.line_of("nobodys")(str(secret), 1) == ""


def test_what_is_no_text_cannot_be_read(folder: Path, texts: SourceTexts, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00")
    (folder / "large.py").write_text("x\n" * 100)
    os.mkfifo(folder / "pipe.py")
    monkeypatch.setattr(sources, "MAX_BYTES", 150)
    for name in ("broken.py", "large.py", "pipe.py", "missing.py", "."):
        with pytest.raises(SourceRefused, match="cannot be read"):
            excerpt(texts, name, 1, 5, folder)


def test_a_line_is_empty_where_there_is_none(folder: Path) -> None:
    assert line_of(str(folder / "train.py"), 3) == "line 3"
    assert [line_of(str(folder / "train.py"), line) for line in (0, -1, 31)] == ["", "", ""]
    assert line_of(str(folder / "missing.py"), 1) == ""
    assert line_of("<string>", 1) == ""


def test_links_that_lead_in_a_circle_are_no_source(folder: Path, texts: SourceTexts) -> None:
    (folder / "circle").symlink_to("circle")
    with pytest.raises(SourceRefused):
        texts.excerpt("a", str(folder / "circle" / "train.py"), 1, 8, str(folder))
