"""SHA-256 and size of a file: about a second per GB."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .manifest import ModelFile


def file_of(path: Path) -> ModelFile:
    """Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelFile(digest, path.stat().st_size)
