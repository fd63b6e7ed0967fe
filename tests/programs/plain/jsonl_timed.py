"""A loop with a JSONL of its own, each line with its time. The data set decodes in the main process."""

import json
import sys
import time
import zlib
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.05
PACKED = zlib.compress(bytes(range(256)) * 64)


def decode_image(index: int) -> torch.Tensor:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.01 + extra_s
        while time.thread_time() < until_s:
            pixels = zlib.decompress(PACKED)
    return torch.frombuffer(bytearray(pixels[:512]), dtype=torch.uint8).float() + index % 7


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, image: torch.Tensor) -> float:
    loss = model(image / 255).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.038)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            image = decode_image(step)
            loss = train_step(model, optimizer, image)
            log.write(json.dumps({"step": step, "time_s": time.time(), "loss": loss}) + "\n")
            log.flush()


if __name__ == "__main__":
    main()
