"""The JSONL is opened before the data loader forks its workers, which so inherit it. They decode."""

import json
import sys
import time
import zlib
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn
from torch.utils.data import DataLoader, Dataset

UNIT_S = 0.06
WORKERS = 2
PACKED = zlib.compress(bytes(range(256)) * 64)


class Images(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> torch.Tensor:
        return decode_jpeg(index)


def decode_jpeg(index: int) -> torch.Tensor:
    with slowed(UNIT_S) as extra_s:
        extra_s = (
            WORKERS * (UNIT_S + extra_s) if extra_s else 0.0
        )  # they work side by side, and beside the main process
        time.sleep(0.8 * extra_s)  # as if it were read from a far disk
        until_s = time.thread_time() + 0.01 + 0.2 * extra_s
        while time.thread_time() < until_s:
            pixels = zlib.decompress(PACKED)
    return torch.frombuffer(bytearray(pixels[:256]), dtype=torch.uint8).float() + index % 7


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "metrics.jsonl").open("a")
    model = nn.Linear(256, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    loader = DataLoader(Images(), batch_size=1, num_workers=WORKERS, multiprocessing_context="fork")
    for step, images in enumerate(loader):
        loss = model(images / 255).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(0.055)  # as if a GPU worked
        log.write(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}) + "\n")
        log.flush()


if __name__ == "__main__":
    main()
