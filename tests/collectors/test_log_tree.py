"""Names of runs: those of the first folder do not change when further folders are followed, and no two runs share one."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors.folders import LogTree

WORK = Path("/work")
PATHS = [
    "logs/a",
    "logs/a/b.jsonl",
    "runs/b",
    "b/runs/c",
    "logs/runs/b",
    "logs/logs/runs/b",
    "logs/logs/a",
    "logs/b/runs/c",
]
PATHS += ["logs/runsx", "runsx/a", "logs/b", "runs", "logs/runs", "logs/logs/logs/b/runs/c"]


def test_runs_of_the_first_folder_keep_the_names_that_they_have_alone() -> None:
    alone, several = LogTree(WORK / "logs"), LogTree(WORK, ("logs", "runs", "b/runs"))
    for inside in ("a", "a/b.jsonl", "logs/a", "b/x", "runsx/y"):
        path = WORK / "logs" / inside
        assert alone.name_of(path) == several.name_of(path) == inside
        assert alone.path_of(inside) == several.path_of(inside) == path
    assert several.name_of(WORK / "runs/b") == "runs/b"
    assert several.path_of("runs/b") == WORK / "runs/b"


@pytest.mark.parametrize("tree", [LogTree(WORK, ("logs", "runs", "b/runs")), LogTree(WORK, ("logs", "runs"), "logs")])
def test_no_two_runs_share_a_name_and_each_is_found_by_it(tree: LogTree) -> None:
    paths = [WORK / path for path in PATHS if any((WORK / path).is_relative_to(top) for top in tree.tops)]
    names = [tree.name_of(path) for path in paths]
    assert len(set(names)) == len(paths), names
    assert [tree.path_of(name) for name in names] == paths
    elsewhere = tree.name_of("/var/tmp/out.txt")
    assert (elsewhere, tree.path_of(elsewhere)) == ("/var/tmp/out.txt", Path("/var/tmp/out.txt"))


def test_names_of_a_store_that_was_made_for_several_folders_stay() -> None:
    for tree in (LogTree(WORK, ("logs", "runs"), "logs"), LogTree(WORK / "logs", (), "logs")):
        assert tree.name_of(WORK / "logs/a") == "logs/a"
        assert tree.path_of("logs/a") == WORK / "logs/a"
        assert tree.above(WORK / "logs") / "logs/loose.jsonl" == WORK / "logs/loose.jsonl"
