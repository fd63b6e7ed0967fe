"""A run without a server, of more than one block of its file; read back by the package's own messages."""

import math
import os
import struct
import time
from pathlib import Path
from typing import Any

from telling import LOGS, half, tell

os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

import wandb
from wandb.proto import wandb_internal_pb2
from wandb.util import json

BLOCK_BYTES, HEADER_BYTES = 32 << 10, 7
CONFIG = {"lr": 1e-3, "layers": [2, 4], "nested": {"a": 1}}


def main() -> None:
    LOGS.mkdir(exist_ok=True)
    run = wandb.init(
        project="shop", name="small", dir=str(LOGS), config=CONFIG, settings=wandb.Settings(x_disable_stats=True)
    )
    for step in range(200):
        run.log(
            {"train/loss": 1 / (1 + step), "nested": {"lr": 0.1 * step}, "odd": math.nan if step % 2 else -math.inf}
        )
        if step == 149:
            half()
    run.log({"weights": wandb.Histogram([1, 2, 3]), "val/acc": 0.75, "long": "x" * 70_000}, step=1000)
    print("the program's last words")
    run.finish()
    (path,) = LOGS.glob("wandb/offline-run-*/*.wandb")
    while not wandb_internal_pb2.Record.FromString(([b"", *records(path.read_bytes())])[-1]).HasField("exit"):
        time.sleep(0.05)  # the last block is written by another process
    tell(
        {f"wandb/{path.parent.name}": read_back(path)},
        {f"wandb/{path.parent.name}": {"wandb": {"project": "shop", "name": "small"}, **CONFIG}},
    )


def read_back(path: Path) -> dict[str, list[tuple[int | None, float]]]:
    series: dict[str, list[tuple[int | None, float]]] = {}
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        items: dict[str, Any] = {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
        }
        for name, value in items.items():
            if isinstance(value, (int, float)) and not name.startswith("_"):
                series.setdefault(name, []).append((items["_step"], value))
    return series


def records(data: bytes) -> list[bytes]:
    found, at = [b""], HEADER_BYTES
    while at < len(data):
        room = BLOCK_BYTES - at % BLOCK_BYTES
        if room < HEADER_BYTES:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += HEADER_BYTES + length
        found[-1] += data[at - length : at]
        if kind in (1, 4):
            found.append(b"")
    return found[:-1]


if __name__ == "__main__":
    main()
