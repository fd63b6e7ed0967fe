"""Forms in which texts give secrets away: `data/secrets.tsv`, made up. A form is added as a line there.

A `¦` in an example is taken out: it parts what a scanner of repositories would take for a real secret. `\\n` and `\\t` stand for a line break and a tab.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

PLACE = Path(__file__).parents[1] / "data" / "secrets.tsv"


class SecretForm(NamedTuple):
    form: str
    example: str
    hidden: str  # what nobody but the owner may see


def secret_forms() -> list[SecretForm]:
    with PLACE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    forms = [SecretForm(row["form"], _read(row["example"]), _read(row["hidden"])) for row in rows]
    assert all(each.hidden and each.hidden in each.example for each in forms), "each example has what must be hidden"
    return forms


def _read(text: str) -> str:
    return text.replace("¦", "").replace("\\n", "\n").replace("\\t", "\t")
