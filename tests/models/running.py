"""`deepseek-models` as a process of its own, in the suite's environment, with folders of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.integrations.environment import ROOT
from tests.models.environment import PYTHON

WITHIN_S = 120.0


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What the command says of its failure: a line, and no traceback."""
        assert self.code == 1 and "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("deepseek-models: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("deepseek-models: ")


class Home:
    """Folders of the zoo and of the hub's cache below one place."""

    def __init__(self, place: Path, endpoint: str = "http://127.0.0.1:9") -> None:
        self.data, self.cache = place / "data", place / "hf"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGINGFACE_", "DEEPSEEK_", "PYTHONPATH"))
        }
        self.environment = {
            **kept,
            "DEEPSEEK_MODELS_DIR": str(self.data),
            "HF_HOME": str(self.cache),
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
        }

    def command(self, *words: str, **environment: str) -> Answer:
        return self._run(["-m", "models", *words], environment)

    def python(self, code: str, **environment: str) -> Answer:
        return self._run(["-c", code], environment)

    def shell(self, line: str) -> Answer:
        """A line of bash."""
        return self._called(["bash", "-c", line], {})

    def _run(self, words: list[str], environment: dict[str, str]) -> Answer:
        return self._called([str(PYTHON), *words], environment)

    def _called(self, words: list[str], environment: dict[str, str]) -> Answer:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)
