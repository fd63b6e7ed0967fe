"""The notebook of docs/client.md, in a real kernel over a folder without a dashboard."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.support.logged import write_logs

NOTEBOOK = ROOT / "docs" / "examples" / "notebook.ipynb"
CELLS = 10


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_kept_without_outputs() -> None:
    cells = read().cells
    assert len(cells) == CELLS
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert NOTEBOOK.stat().st_size < 8192


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of Jupyter's own
def test_it_runs_and_names_the_line_that_was_slow(tmp_path: Path) -> None:
    write_logs(tmp_path / "logs")
    notebook = read()
    client = NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    with ThreadPoolExecutor(1) as pool:  # Playwright's event loop runs in this thread once a browser was used
        pool.submit(asyncio.run, client.async_execute()).result()
    shown = [" ".join(str(output.get("data", {})) for output in cell.outputs) for cell in notebook.cells]
    assert all(cell.outputs for cell in notebook.cells), "each cell shows something"
    assert "group/a" in shown[2]
    assert "data.py" in shown[7] and "decode" in shown[7] and "<b>" in shown[7], "the verdict, with its sentence"
    assert shown[8].index("decode") < shown[8].index("forward"), "the line that lost most is the first"
