"""torch.compile with inductor, and a mask that the host makes anew before each step."""

import json
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.05


def rebuild_mask(length: int) -> torch.Tensor:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.006 + extra_s
        while time.thread_time() < until_s:
            rows = [[1.0 if column <= row else 0.0 for column in range(length)] for row in range(length)]
    return torch.tensor(rows)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.relu(mask @ self.mix(x)).square().mean()


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = Tiny()
    compiled = torch.compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            mask = rebuild_mask(16)
            loss = compiled(torch.randn(16, 16), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(0.042)  # as if a GPU worked
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}), file=log, flush=True)


if __name__ == "__main__":
    main()
