"""How many types a newcomer meets: the documents say it, and the count is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.source_tree import ROOT
from tests.types_behind import PATHS, SCALAR, VERDICT, Route, types_behind

MOST = 40, 47  # behind a scalar, behind a verdict
A = """
from .b import Box, held
class Point: ...
class Error(Exception): ...
class _Own: ...
def entry(point: Point) -> None:
    box = Box()
    box.open().look()
    _Own()
    raise Error
def aside(box: "Box") -> None: ...
"""
B = """
from typing import Literal, NamedTuple
Kind = Literal["a", "b"]
class Kept: ...
class Never: ...
class Lid:
    def look(self) -> Kind: ...
    def other(self) -> Never: ...
class Box:
    kept: Kept
    def open(self) -> Lid: return Lid()
"""


@pytest.mark.parametrize(
    ("files", "types"),
    [
        (("trainer.a",), ["trainer.a.Point", "trainer.b.Box"]),
        (("trainer.a", "trainer.b"), ["trainer.a.Point", "trainer.b.Box", "trainer.b.Kind", "trainer.b.Lid"]),
    ],
)
def test_a_type_counts_where_a_function_on_the_path_names_or_builds_it(
    tmp_path: Path, files: tuple[str, ...], types: list[str]
) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/a.py").write_text(A)
    (tmp_path / "trainer/b.py").write_text(B)
    assert types_behind(Route(files, ("trainer.a:entry",)), tmp_path) == types


@pytest.mark.parametrize("route", PATHS.values(), ids=PATHS)
def test_every_file_of_a_path_is_there(route: Route) -> None:
    named = {file.replace(".", "/").removesuffix("/*") for file in route.files}
    assert [file for file in sorted(named) if not (ROOT / f"{file}.py").exists() and not (ROOT / file).is_dir()] == []


def test_there_are_few_and_the_documents_say_how_many() -> None:
    counts = len(types_behind(SCALAR)), len(types_behind(VERDICT))
    assert all(count <= most for count, most in zip(counts, MOST, strict=True)), counts
    assert "a newcomer meets {} public types, and {} between".format(*counts) in (ROOT / "docs/one-point.md").read_text()
    assert "| {}; {} |".format(*counts) in (ROOT / "docs/decisions/0150-rooms.md").read_text()
