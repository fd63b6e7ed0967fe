"""Steps of 60 s, each of two hundred rendered scenes and an update of ten seconds. One line a step."""

import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

SCENE_S = 0.25
SCENES = 200


def trace_rays(scene: int) -> float:
    with slowed(SCENE_S) as extra_s:
        time.sleep(0.02 + extra_s)  # as if another machine rendered
    return float(scene % 11)


def shade(value: float) -> float:
    time.sleep(0.228)
    return value / 11


def update(model: nn.Module, optimizer: torch.optim.Optimizer, scenes: list[float]) -> float:
    loss = model(torch.tensor(scenes[:64])).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(10.0)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Linear(64, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            scenes = [shade(trace_rays(scene)) for scene in range(SCENES)]
            loss = update(model, optimizer, scenes)
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss}), file=log, flush=True)


if __name__ == "__main__":
    main()
