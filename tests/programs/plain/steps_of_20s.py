"""Steps of 20 s: a hundred beams are searched, then one update. One line a step."""

import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

BEAM_S = 0.15
BEAMS = 100


def search_beam(index: int) -> float:
    with slowed(BEAM_S) as extra_s:
        until_s = time.thread_time() + 0.02 + 0.3 * extra_s
        while time.thread_time() < until_s:
            best = max(value * index % 17 for value in range(100))
        time.sleep(0.13 + 0.7 * extra_s)
    return float(best)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, scores: list[float]) -> float:
    loss = model(torch.tensor(scores[:64])).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(5.0)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(64, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            scores = [search_beam(index) for index in range(BEAMS)]
            loss = update(model, optimizer, scores)
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss}), file=log, flush=True)


if __name__ == "__main__":
    main()
