"""Which source lines a page may see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dashboard.flame import source
from dashboard.flame.source import Refused, excerpt, inside, line_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    job = tmp_path / "job"
    job.mkdir()
    (job / "train.py").write_text("".join(f"line {number}\n" for number in range(1, 31)))
    (tmp_path / "secret.py").write_text("password\n")
    return job


def test_lines_around_a_line_are_shown(folder: Path) -> None:
    found = excerpt(str(folder / "train.py"), 10, 2, str(folder))
    assert (found.first, found.lines) == (8, [f"line {number}" for number in range(8, 13)])
    assert excerpt(str(folder / "train.py"), 1, 2, str(folder)).lines == ["line 1", "line 2", "line 3"]
    assert excerpt(str(folder / "train.py"), 30, 2, str(folder)).lines == ["line 28", "line 29", "line 30"]
    assert excerpt("train.py", 3, 0, str(folder)).lines == ["line 3"], "as a frame of a script that was started in its folder"


@pytest.mark.parametrize("file", ["../secret.py", "/etc/passwd", "sub/../../secret.py", "link.py", "linked/secret.py"])
def test_what_leaves_the_folder_is_refused(folder: Path, file: str) -> None:
    (folder / "link.py").symlink_to(folder.parent / "secret.py")
    (folder / "linked").symlink_to(folder.parent)
    with pytest.raises(Refused, match="working folder"):
        excerpt(file, 1, 5, str(folder))


@pytest.mark.parametrize("where", ["", "/"])
def test_without_a_folder_nothing_is_shown(folder: Path, where: str) -> None:
    with pytest.raises(Refused):
        inside(str(folder / "train.py"), where)


def test_what_is_no_text_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00")
    (folder / "large.py").write_text("x\n" * 100)
    os.mkfifo(folder / "pipe.py")
    monkeypatch.setattr(source, "MOST_BYTES", 150)
    for name in ("broken.py", "large.py", "pipe.py", "missing.py", "."):
        with pytest.raises(Refused, match="cannot be read"):
            excerpt(name, 1, 5, str(folder))


def test_a_line_is_empty_where_there_is_none(folder: Path) -> None:
    assert line_of(str(folder / "train.py"), 3) == "line 3"
    assert [line_of(str(folder / "train.py"), line) for line in (0, -1, 31)] == ["", "", ""]
    assert line_of(str(folder / "missing.py"), 1) == ""
    assert line_of("<string>", 1) == ""
