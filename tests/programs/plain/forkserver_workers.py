"""A data loader whose workers come from a fork server. They tokenize."""

import json
import re
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn
from torch.utils.data import DataLoader, Dataset

UNIT_S = 0.05
WORKERS = 2
TEXT = "the quick brown fox jumps over the lazy dog " * 8
WORD = re.compile(r"\w+")


class Texts(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 1_000_000_000

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor(tokenize(TEXT))


def tokenize(text: str) -> list[int]:
    with slowed(UNIT_S) as extra_s:
        extra_s = (
            WORKERS * (UNIT_S + extra_s) if extra_s else 0.0
        )  # they work side by side, and beside the main process
        time.sleep(0.7 * extra_s)
        until_s = time.thread_time() + 0.008 + 0.3 * extra_s
        while time.thread_time() < until_s:
            tokens = [len(word) for word in WORD.findall(text)]
    return tokens


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Embedding(16, 16), nn.Linear(16, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    loader = DataLoader(Texts(), batch_size=1, num_workers=WORKERS, multiprocessing_context="forkserver")
    with (folder / "metrics.jsonl").open("a") as log:
        for step, tokens in enumerate(loader):
            loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            time.sleep(0.046)  # as if a GPU worked
            print(json.dumps({"step": step, "time_s": time.time(), "loss": loss.item()}), file=log, flush=True)


if __name__ == "__main__":
    main()
