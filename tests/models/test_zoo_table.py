"""The table of the zoo: what its rows state, and how fast it is listed; it needs no library of models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import ModelsError
from models.zoo import folder as lock
from models.zoo import table
from models.zoo.loaders.loading import MODULES
from models.zoo.table import ZooRow, megabytes
from tests.conftest import ROOT
from tests.support.cost import children_cpu_s, times

TASKS = {
    "image-classification",
    "segmentation",
    "detection",
    "text-generation",
    "embeddings",
    "text-classification",
    "language-detection",
    "speech-recognition",
    "ocr",
}
SHA256 = re.compile(r"[0-9a-f]{64}")


def listed(folder: Path, *words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "DEEPSEEK_MODELS_DIR": str(folder), "HF_HOME": str(folder / "hf")}
    command = [sys.executable, *(["-c", code] if code else ["-m", "models", "list", *words])]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=True)


def test_there_are_260_rows_of_many_tasks_and_each_name_is_one_row() -> None:
    rows = table.rows()
    assert len(rows) >= 260
    assert len({row.name for row in rows}) == len(rows)
    assert {row.task for row in rows} >= TASKS


def test_a_row_says_where_it_has_its_numbers_from() -> None:
    for row in table.whole_rows():
        check(row)


def check(row: ZooRow) -> None:
    assert row.name.startswith("deepseek/") and row.source in ("package", "hub", "url") and row.loader in MODULES
    assert row.parameters_from and row.licence_from and row.config_from
    assert row.parameters is None or row.parameters > 0
    if row.metric:
        assert set(row.metric) == {"name", "value", "unit", "data", "from"} and row.metric["from"]
    if row.source == "package":
        assert row.pinned and row.pinned["revision"] and "==" in row.id
        assert all(SHA256.fullmatch(file["sha256"]) and file["bytes"] > 0 for file in row.pinned["files"].values())
    else:
        assert row.pinned is None  # it was not read from the thing itself
    if row.loader == "transformers":
        assert row.config and row.config["model_type"]


def test_eleven_rows_come_from_packages() -> None:
    assert sum(row.source == "package" for row in table.rows()) == 11


def test_the_table_is_listed_in_a_moment_without_pytorch(tmp_path: Path) -> None:
    code = "import sys; from models.commands import main; main(['list']); print(*sys.modules, file=sys.stderr)"
    modules = set(listed(tmp_path, code=code).stderr.split())
    assert not modules & {"torch", "numpy", "transformers", "huggingface_hub", "timm", "onnxruntime"}
    assert times(lambda: listed(tmp_path), lambda: listed(tmp_path, code="pass"), clock=children_cpu_s) < 8


def test_a_list_is_filtered(tmp_path: Path) -> None:
    rows = json.loads(
        listed(tmp_path, "--task", "image-classification", "--max-mb", "20", "--licence", "apache-2.0", "--json").stdout
    )
    assert rows
    for row in rows:
        assert row["task"] == "image-classification" and row["licence"] == "apache-2.0"
        assert (megabytes(table.find(row["name"])) or 0) <= 20
    assert "were not timed on this host" in listed(tmp_path, "--max-ms", "5").stdout


def test_weights_that_forbid_commercial_use_are_hidden_unless_asked_for(tmp_path: Path) -> None:
    shown, whole = listed(tmp_path).stdout, listed(tmp_path, "--non-commercial").stdout
    forbidden = [row.name for row in table.rows() if table.is_non_commercial(row.licence)]
    assert forbidden and not [name for name in forbidden if f"{name} " in shown]
    assert all(f"{name} " in whole for name in forbidden)
    assert f"{len(forbidden)} more forbid commercial use" in shown


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [
        ("cc-by-nc-4.0", True),
        ("cc-by-nc-sa-4.0", True),
        ("apache-2.0", False),
        ("gemma", False),
        ("cc-by-sa-3.0", False),
        ("", False),
    ],
)
def test_which_licences_forbid_commercial_use(licence: str, forbids: bool) -> None:
    assert table.is_non_commercial(licence) is forbids


def test_an_unknown_name_is_one_sentence_with_similar_ones() -> None:
    with pytest.raises(ModelsError, match=r"no model 'deepseek/gpt2-medum'; similar: deepseek/gpt2-medium"):
        table.find("gpt2-medum")
    assert table.find("gpt2-medium") == table.find("deepseek/gpt2-medium")


def test_the_nearest_model_is_of_the_same_task() -> None:
    row = table.find("gpt2-medium")
    near = table.nearest(row, table.rows())
    assert near and near.task == row.task and near.name != row.name


def test_a_broken_lock_is_one_sentence(tmp_path: Path) -> None:
    for text in ("", "[]", '{"format": 2, "models": {}}', '{"format": 1, "models": {"a": 1}}'):
        (tmp_path / "zoo.lock").write_text(text)
        with pytest.raises(ModelsError, match=r"zoo\.lock (cannot be read|is not JSON)"):
            lock.read(tmp_path)


def test_two_processes_that_record_keep_both(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from models.zoo import folder as lock\n"
        "for place in range(20): lock.record(Path(sys.argv[1]), f'{sys.argv[2]}{place}', lock.LockedModel('a/b', 'c' * 40, {}, '', None, ''))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], cwd=ROOT) for name in ("a", "b")]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(lock.read(tmp_path)) == 40
