"""One folder of the zoo for all tests of a run: what is converted is converted once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def zoo_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    patch = pytest.MonkeyPatch()
    place = tmp_path_factory.mktemp("zoo")
    patch.setenv("DEEPSEEK_MODELS_DIR", str(place))
    patch.setenv("HF_HUB_OFFLINE", "1")
    yield place
    patch.undo()
