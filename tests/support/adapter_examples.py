"""The examples of `docs/integrations.md`, one a library, as programs of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.running import ROOT, script

LIBRARIES = ("transformers", "lightning", "accelerate", "wandb")


def example_of_an_adapter_runs(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It logs to its end, without a word of an environment."""
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "integrations.md").read_text(), re.DOTALL)
    assert len(examples) == len(LIBRARIES)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DEEPSEEK_LOG_DIR", raising=False)
    with script(examples[number]) as process:
        assert process.wait(100) == 0
    (metrics,) = folder.glob("logs/*/metrics.jsonl")
    assert len(metrics.read_text().splitlines()) >= 4
    assert '"status":"finished"' in (metrics.parent / "events.jsonl").read_text()
