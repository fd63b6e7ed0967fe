"""Write `models/zoo/table.tsv` anew; takes ten minutes.

python -m benchmarks.models.zoo_table    in the environment of `python -m tests.models.environment long`

Every number is read here: parameters by making each model on the meta device, licences and tags from timm, accuracies from torchvision,
configurations from transformers, KerasNLP and LitGPT, hashes and sizes from the files of packages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from benchmarks.models.zoo_table import (
    embedding_rows,
    keras_rows,
    litgpt_rows,
    package_rows,
    timm_rows,
    torchvision_rows,
    transformers_rows,
)
from models.zoo.loaders import loading
from models.zoo.loaders.torch_models import parameters_of
from models.zoo.table import LISTED, TABLE, ZooRow

SOURCES: tuple[Callable[[], list[ZooRow]], ...] = (
    package_rows.rows,
    timm_rows.rows,
    torchvision_rows.rows,
    keras_rows.rows,
    litgpt_rows.rows,
    embedding_rows.rows,
    transformers_rows.rows,
)


def main() -> int:
    rows: dict[str, ZooRow] = {}
    for source in SOURCES:
        for row in source():
            if row.name in rows:
                continue  # an earlier source states more of it
            rows[row.name] = row if row.parameters is not None else counted(row)
    lines = [line_of(row) for row in sorted(rows.values(), key=lambda row: (row.task, row.name))]
    TABLE.write_text("\n".join(lines) + "\n")
    sys.stderr.write(f"{len(lines)} rows, {TABLE.stat().st_size / 1e3:.0f} kB\n")
    return 0


def line_of(row: ZooRow) -> str:
    whole = row._asdict()
    parts = LISTED, [name for name in row._fields if name not in LISTED]
    return "\t".join(json.dumps({name: whole[name] for name in part}) for part in parts)


def counted(row: ZooRow) -> ZooRow:
    sys.stderr.write(f"{row.name}\n")
    return row._replace(
        parameters=parameters_of(loading.on_meta(row)), parameters_from=f"counted in the model that {row.loader} makes"
    )


if __name__ == "__main__":
    sys.exit(main())
