"""All of it in one function, as a first script is: the slow part is some lines of the loop, and calls nothing of its own."""

import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.05


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    log = (folder / "metrics.jsonl").open("a")
    for step in range(1_000_000):
        inputs = torch.randn(128, 256)
        targets = torch.randint(0, 10, (128,))
        with slowed(UNIT_S) as extra_s:
            until_s = time.thread_time() + 0.002 + extra_s
            counts = [0] * 10
            while time.thread_time() < until_s:
                for target in targets.tolist():
                    counts[target] += 1
                counts.sort()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(0.043)  # as if a GPU worked
        log.write(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}) + "\n")
        log.flush()


if __name__ == "__main__":
    main()
