"""Sequences of 200 to 600 tokens, whose number is logged: a long step is not a slow one. Scores each token in Python."""

import json
import random
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 0.08  # of 400 tokens
SHORTEST, LONGEST = 200, 600


def score_tokens(tokens: list[int]) -> float:
    with slowed(UNIT_S * len(tokens) / 400) as extra_s:
        until_s = time.thread_time() + 0.01 * len(tokens) / 400 + extra_s
        while time.thread_time() < until_s:
            score = sum(token % 7 for token in tokens) / len(tokens)
    return score


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer, tokens: list[int], score: float) -> float:
    loss = model(torch.tensor(tokens[:32])).square().mean() * score
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.068 * len(tokens) / 400)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            tokens = [random.randrange(100)] * random.randint(SHORTEST, LONGEST)
            loss = train_step(model, optimizer, tokens, score_tokens(tokens))
            row = {"step": step, "time_s": time.time(), "loss": loss, "train/tokens": len(tokens)}
            print(json.dumps(row), file=log, flush=True)


if __name__ == "__main__":
    main()
