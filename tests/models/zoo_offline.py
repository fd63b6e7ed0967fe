"""Rows whose weights come from packages: each is opened, and computes what it computed when its golden file was made.

.models/bin/python -m tests.models.zoo_offline    writes the golden files of those that are installed anew (`--lacking`: only those that there is no file of)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artifact import Artifact, artifact
from models.errors import ModelsError
from models.zoo import local_files, table
from models.zoo.fetch import artifact_of
from models.zoo.folder import models_folder
from models.zoo.loaders import loading
from models.zoo.local_files import files_of
from models.zoo.table import ZooRow

GOLDEN = Path(__file__).parent / "golden"
KEPT = 512  # values of an output
SAME = 2e-3  # fp32 on another processor, as a share of the largest value
ROUNDING = 1e-6  # of fp32 beside 1, as in a sigmoid: all kept values may be near 0
OPT_IN = "deepseek/gemma-3-270m"  # under terms of its own, and 253 MB: `make test-long`
ROWS = [row for row in table.whole_rows() if row.source == "package"]
PARAMS = [pytest.param(row, id=row.name, marks=[pytest.mark.long] * (row.name == OPT_IN)) for row in ROWS]


@pytest.fixture(autouse=True)
def folder(zoo_folder: Path) -> Path:
    return zoo_folder


@pytest.mark.parametrize("row", PARAMS)
def test_a_row_computes_what_it_did(row: ZooRow) -> None:
    require_here(row)
    expected, found = artifact.load(place(row)).outputs, outputs(row)
    name, share = artifact.difference(expected, found)
    is_rounding = 0 < share < float("inf") and np.abs(expected[name] - found[name]).max() <= ROUNDING
    assert share <= SAME or is_rounding, f"{name} differs by {share:.2g} of its largest value"


@pytest.mark.parametrize("row", PARAMS)
def test_a_row_has_the_parameters_that_its_files_hold(row: ZooRow) -> None:
    require_here(row)
    if row.parameters is None:
        pytest.skip(row.parameters_from)
    module = loading.MODULES[row.loader]
    if row.loader in ("onnx", "gguf"):
        assert loading.counted_in(row, files_of(row, models_folder())) == row.parameters, module


@pytest.mark.parametrize("name", ["efficientnet-lite0", "magika"])
def test_a_fetched_model_becomes_an_artifact(name: str, tmp_path: Path) -> None:
    row = table.find(name)
    artifact_of(row, models_folder(), tmp_path / "made")
    opened = Artifact.open(tmp_path / "made")  # hashes and golden outputs
    assert opened.manifest.licence == "apache-2.0" and opened.manifest.parameters == row.parameters
    inputs = loading.example(row)
    own = loading.opened(row, files_of(row, models_folder())).run(inputs)
    found = opened.session().run(inputs)
    assert np.allclose(next(iter(own.values())), next(iter(found.values())), rtol=1e-3, atol=1e-3)


def test_what_has_no_form_as_an_artifact_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match="has no form as an artifact"):
        artifact_of(table.find("pp-ocrv6-small"), models_folder(), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def require_here(row: ZooRow) -> None:
    if row.name == OPT_IN and not local_files.is_here(row, models_folder()):
        pytest.skip(f"{row.id} is not installed")
    assert local_files.is_here(row, models_folder()), (
        f"{row.id} is installed by tests.models.environment, and has other files"
    )


def place(row: ZooRow) -> Path:
    return GOLDEN / f"{row.name.rpartition('/')[2]}.npz"


def outputs(row: ZooRow) -> dict[str, Any]:
    """The first values of each output for the row's example, and the largest of all."""
    found = loading.opened(row, files_of(row, models_folder())).run(loading.example(row))
    kept: dict[str, Any] = {}
    for name, value in found.items():
        array = np.asarray(value)
        kept[name] = array.ravel()[:KEPT]
        if array.dtype.kind == "f":
            kept[f"{name} of all"] = np.array([np.abs(array).max(), array.mean()], np.float32)
    return kept


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for row in ROWS:
        if local_files.is_here(row, models_folder()) and not (place(row).exists() and "--lacking" in sys.argv):
            artifact.save(place(row), {}, outputs(row))
            print(row.name, place(row).stat().st_size)
