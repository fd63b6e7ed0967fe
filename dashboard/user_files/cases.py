"""What findings of no use were judged from, kept as test cases for who mends the rule: `<data>/cases/<id>.json.gz`."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from access.files import write_bytes

FOLDER = "cases"
MAX_CASES = 500
ODD = re.compile(r"[^A-Za-z0-9_.-]")


def save_case(data_dir: Path, id_: str, case: Mapping[str, Any]) -> str:
    """Its path, relative to the data folder; of very many the oldest go. Raises Unwritable."""
    folder = data_dir / FOLDER
    path = folder / f"{ODD.sub('_', id_)[:200]}.json.gz"
    write_bytes(path, gzip.compress(json.dumps(case, default=str).encode(), 6))
    kept = sorted(folder.glob("*.json.gz"), key=lambda file: file.stat().st_mtime)
    for old in kept[:-MAX_CASES]:
        old.unlink(missing_ok=True)
    return f"{FOLDER}/{path.name}"
