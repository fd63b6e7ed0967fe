"""A data loader with spawned workers, which pad the sentences of a batch in their collate function."""

import json
import random
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn
from torch.utils.data import DataLoader, Dataset

UNIT_S = 0.08
WORKERS = 2


class Sentences(Dataset[list[int]]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> list[int]:
        return [index % 100] * random.randint(8, 32)


def pad_batch(sentences: list[list[int]]) -> torch.Tensor:
    longest = max(map(len, sentences))
    with slowed(UNIT_S) as extra_s:
        extra_s = (
            WORKERS * (UNIT_S + extra_s) if extra_s else 0.0
        )  # they work side by side, and beside the main process
        time.sleep(0.7 * extra_s)
        until_s = time.thread_time() + 0.012 + 0.3 * extra_s
        while time.thread_time() < until_s:
            padded = [sentence + [0] * (longest - len(sentence)) for sentence in sentences]
    return torch.tensor(padded)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Embedding(100, 16), nn.Linear(16, 100))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    loader = DataLoader(
        Sentences(), batch_size=4, num_workers=WORKERS, collate_fn=pad_batch, multiprocessing_context="spawn"
    )
    with (folder / "metrics.jsonl").open("a") as log:
        for step, tokens in enumerate(loader):
            loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(0.075)  # as if a GPU worked
            log.write(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}) + "\n")
            log.flush()


if __name__ == "__main__":
    main()
