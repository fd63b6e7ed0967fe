"""FSDP2 (fully_shard) over gloo, two ranks by torchrun. Rank 0 logs, and writes its shard to disk after each step."""

import json
import os
import pickle
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from slowdown import slowed
from torch import nn
from torch.distributed.fsdp import fully_shard

UNIT_S = 0.1


def save_shard(path: Path, loss: float, slow: bool) -> None:
    with slowed(UNIT_S if slow else 0.0) as extra_s, path.open("wb") as file:
        file.write(pickle.dumps({"loss": loss, "weights": [0.0] * 1000}))
        time.sleep(0.004 + extra_s)  # as if the disk took its time


def main() -> None:
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    mesh = dist.device_mesh.init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    log = (folder / "metrics.jsonl").open("a") if rank == 0 else None
    for step in range(1_000_000):
        loss = model(torch.randn(4, 32)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(0.08)  # as if a GPU worked
        save_shard(Path(f"shard{rank}.pickle"), loss.item(), rank == 0)
        if log:
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}), file=log, flush=True)


if __name__ == "__main__":
    main()
